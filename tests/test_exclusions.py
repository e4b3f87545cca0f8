"""What is not to be there, said apart from the sentence (--not)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel, colour_video
from PIL import Image

from mmi_tvr import Library
from mmi_tvr.batch import infer
from mmi_tvr.errors import UnreadableQuery, UsageError


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("exclusions")
    for colours in (("red",), ("red", "blue"), ("red", "green"), ("yellow",)):
        colour_video(folder / "films" / f"{' '.join(colours)}.mp4", *colours)
    Image.new("RGB", (40, 30), (250, 10, 5)).save(folder / "red.png")
    model = FakeModel()
    model.reads = frozenset({"text", "pictures"})
    with Library(folder / "library", model=model) as opened:
        opened.index(folder / "films")
        yield opened


def names(hits: Sequence[Any]) -> list[str]:
    return [hit.path.stem for hit in hits]


def test_it_counts_as_without_in_the_sentence(library: Library) -> None:
    apart = library.search("red", without="blue", min_relevance=0)
    inside = library.search("red without blue", min_relevance=0)
    assert [(hit.id, hit.score) for hit in apart] == [(hit.id, hit.score) for hit in inside]
    assert apart.without == inside.without == ("blue",)
    both = library.search("red without blue", without=["blue", "green"], min_relevance=0)
    assert both.without == ("blue", "green")
    assert names(both)[0] == "red"
    literal = library.search("red", without="blue", literal=True, min_relevance=0)
    assert [hit.score for hit in literal] == [hit.score for hit in apart]


def test_it_counts_against_what_is_like_an_example(library: Library) -> None:
    picture = library.path.parent / "red.png"
    plain = library.search("", like=picture, min_relevance=0)
    apart = library.search("", like=picture, without="blue", min_relevance=0)
    inside = library.search("without blue", like=picture, min_relevance=0)
    assert names(plain)[:3] != names(apart)[:3]
    assert names(apart).index("red blue") > names(apart).index("red")
    assert [(hit.id, hit.score) for hit in apart] == [(hit.id, hit.score) for hit in inside]
    assert inside.without == ("blue",)
    assert all(np.isfinite(hit.score) for hit in apart)


@pytest.mark.parametrize(
    ("text", "without", "error", "words"),
    [
        ("red", "Red", UnreadableQuery, "is what the query looks for"),
        ("red without blue", "red", UnreadableQuery, "is what the query looks for"),
        ("red", "no blue", UsageError, "is said without a no"),
        ("red", "  ", UsageError, "is empty"),
        ("red", ["a", "b", "c", "d", "e"], UsageError, "at most 4 things"),
        ("red without blue", ["a", "b", "c", "d"], UnreadableQuery, "at most 4 things"),
        ("red", 5, UsageError, "a sentence or a list"),
        ("", "blue", UsageError, "the query is empty"),
    ],
)
def test_what_is_refused(library: Library, text: str, without: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        library.search(text, without=without)


def test_queries_of_a_batch_exclude_it_too(library: Library, tmp_path: Path) -> None:
    table = tmp_path / "queries.txt"
    table.write_text("red\n")
    work = infer.create(tmp_path / "out", table, library.path, without=["blue"])
    assert work.settings["without"] == ["blue"]
