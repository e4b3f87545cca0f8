"""Described videos: what is stored of what they answered, and how searches look at it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBlockModel, FakeModel, clipped, colour_video

from mmi_tvr import config
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.descriptions import Description, Descriptions
from mmi_tvr.scoring.descriptions import description_changes
from mmi_tvr.types import DescriptionMatch, Query
from mmi_tvr.utils.description_words import indexed_words, query_words

DESCRIPTIONS = {
    "blue": "the sea at night; waves",
    "green": "a red parrot on a branch",
    "red": "two dogs play; 一只狗在跑",
    "yellow": "a lemon",
}


@pytest.fixture
def described(folder: Path, tmp_path: Path) -> Iterator[Library]:
    """Four videos of one colour each, described as something else."""
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder)
        describe(library, DESCRIPTIONS)
        yield library


def describe(library: Library, texts: dict[str, str], maker: str | None = None) -> None:
    model = FakeModel()
    with_numbers = {hit.path.stem: hit for hit in library.search("red", top=9, min_relevance=0)}
    assert set(texts) <= set(with_numbers)
    catalogue = Catalogue(library.path / CATALOGUE)
    numbers = {catalogue.entries([number])[number].paths[0].stem: number for number in catalogue.searchable()}
    maker = maker or catalogue.meta("fingerprint")
    vectors = model.embed_queries([Query(text) for text in texts.values()])
    rows = {
        numbers[name]: Description(text, maker, vector)
        for (name, text), vector in zip(texts.items(), vectors, strict=True)
    }
    Descriptions(catalogue, maker).put(rows)
    catalogue.close()


def stored(library: Library) -> list[DescriptionMatch | None]:
    return [hit.description for hit in library.search("parrot", top=9, min_relevance=0)]


def names(library: Library, text: str, **more: object) -> list[str]:
    return [hit.path.stem for hit in library.search(text, top=9, min_relevance=0, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dogs, dogs!", ("dog",)),
        ("the cat and a bus", ("cat", "bus")),
        ("红色圆形", ("红色", "色圆", "圆形")),
        ("狗", ("狗",)),
        ("a", ()),
        ('"; OR *', ()),
    ],
)
def test_words_of_a_query(text: str, words: tuple[str, ...]) -> None:
    assert query_words(text) == words
    assert set(words) <= set(indexed_words(text))


def test_descriptions_count_by_meaning_and_by_words(described: Library) -> None:
    result = described.search("parrots", top=9, min_relevance=0)
    by_name = {hit.path.stem: hit for hit in result}
    parrot = by_name["green"].description
    assert parrot is not None
    assert (parrot.text, parrot.words) == (DESCRIPTIONS["green"], ("parrot",))
    cosines = {name: by_name[name].description.cosine for name in DESCRIPTIONS}  # type: ignore[union-attr]
    mean = np.mean(list(cosines.values()))
    for name in DESCRIPTIONS:
        expected = 0.3 * (cosines[name] - mean) + 0.02 * (name == "green")
        assert by_name[name].scores["description"] == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)


def test_chinese_words_match(described: Library) -> None:
    [dog] = [hit for hit in described.search("一只狗", top=9, min_relevance=0) if hit.path.stem == "red"]
    assert dog.description is not None
    assert dog.description.words == ("一只", "只狗")


def test_descriptions_change_an_order_and_not_the_relevance(described: Library) -> None:
    settings = config.load(None, ["search.descriptions=0"])
    with Library(described.path, model=FakeModel(), relevance=clipped, settings=settings) as pictures:
        plain = {hit.path.stem: hit for hit in pictures.search("red", top=9, min_relevance=0)}
    both = {hit.path.stem: hit for hit in described.search("red", top=9, min_relevance=0)}
    assert both["green"].score > plain["green"].score  # a red parrot was seen in it
    assert {name: hit.relevance for name, hit in both.items()} == {name: hit.relevance for name, hit in plain.items()}
    assert all("description" not in hit.scores and hit.description is None for hit in plain.values())
    exact = described.search("red", top=9, min_relevance=0, exact=True)
    assert [hit.score for hit in exact] == [plain[hit.path.stem].score for hit in exact]


def test_descriptions_do_not_count_where_vectors_have_blocks(folder: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeBlockModel(), relevance=clipped) as library:
        library.index(folder)
        describe(library, DESCRIPTIONS)
        hits = library.search("red", top=9, min_relevance=0)
    assert [hit.description for hit in hits] == [None] * len(DESCRIPTIONS)


def test_a_video_is_a_candidate_by_its_description_alone(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    with catalogue.transaction():
        numbers = [catalogue.content_number(f"{at:064}") for at in range(8)]
    vectors = np.eye(8, dtype=np.float32)
    texts = {number: f"thing{at}" for at, number in enumerate(numbers)}
    source = Descriptions(catalogue, "maker")
    source.put({number: Description(texts[number], "maker", vectors[at]) for at, number in enumerate(numbers)})
    assert source.nearest("thing3", vectors[5] * 2, 1) == {numbers[3], numbers[5]}
    assert source.nearest("nothing", vectors[5], 20) == set(numbers)
    match = source.matches("thing3", vectors[3] * 2, numbers)[numbers[3]]
    assert (match.cosine, match.words, match.word_score > 0) == (1, ("thing3",), True)
    other = Descriptions(catalogue, "other")
    assert (other.count(), other.nearest("thing3", vectors[5], 5), other.matches("thing3", vectors[5], numbers)) == (
        0, frozenset(), {},
    )  # fmt: skip
    # Again with other words: the old ones go. What is emptied goes, and so does what goes with its content.
    source.put({numbers[3]: Description("sea", "maker", vectors[3])}, emptied=[numbers[0]])
    assert source.nearest("thing3 thing0", vectors[5], 0) == set()
    assert source.nearest("sea", vectors[5], 1) == {numbers[3], numbers[5]}
    with catalogue.transaction():
        catalogue.drop_contents([numbers[3]])
    source = Descriptions(catalogue, "maker")
    assert (source.count(), source.nearest("sea", vectors[5], 1)) == (6, {numbers[5]})
    catalogue.close()


def test_removed_videos_take_their_descriptions_along(described: Library, folder: Path) -> None:
    described.remove([folder / "part1" / "green.mp4"])
    catalogue = Catalogue(described.path / CATALOGUE)
    assert Descriptions(catalogue, catalogue.meta("fingerprint")).count() == 3
    catalogue.close()
    assert "green" not in names(described, "a red parrot")


def test_descriptions_count_while_nearly_all_have_one(described: Library, folder: Path) -> None:
    colour_video(folder / "new.mp4", "cyan")
    described.index(folder)
    assert stored(described) == [None] * 5
    described.remove([folder / "new.mp4"])
    assert len(stored(described)) == 4
    assert None not in stored(described)
    described.index(folder, model=FakeModel(head=3), rebuild=True)  # another model: they have to be described again
    with Library(described.path, model=FakeModel(head=3), relevance=clipped) as rebuilt:
        assert stored(rebuilt) == [None] * 5


def test_a_sqlite_without_full_text_search_costs_the_words_alone(tmp_path: Path) -> None:
    class NoFts(sqlite3.Connection):
        def execute(self, sql, *values):  # type: ignore[no-untyped-def]
            if "fts5" in sql:
                raise sqlite3.OperationalError("no such module: fts5")
            return super().execute(sql, *values)

    catalogue = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    with catalogue.transaction():
        number = catalogue.content_number("0" * 64)
    plain, catalogue._db = catalogue._db, sqlite3.connect(catalogue.path, isolation_level=None, factory=NoFts)
    plain.close()
    source = Descriptions(catalogue, "maker")
    source.put({number: Description("a dog", "maker", np.float32([1, 0]))})
    assert source.nearest("dog", np.float32([1, 0]), 3) == {number}
    assert source.matches("dog", np.float32([1, 0]), [number]) == {
        number: DescriptionMatch("a dog", ("dog",), 1.0, 0.0)
    }
    catalogue.close()


def test_a_library_without_descriptions_searches_as_ever(folder: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(folder)
        hits = library.search("red", top=9, min_relevance=0)
        assert len(hits) == 4
        assert all("description" not in hit.scores for hit in hits)


def test_nobody_gains_by_not_being_described() -> None:
    some = [DescriptionMatch("a", (), 0.2), None, DescriptionMatch("b", (), 0.2)]
    assert description_changes(some).tolist() == [0, 0, 0]
    assert description_changes([None]).tolist() == [0]


def test_two_colours_described(tmp_path: Path) -> None:
    """A query of words that no picture shows finds the video that was described with them."""
    for name in ("red", "blue"):
        colour_video(tmp_path / "videos" / f"{name}.mp4", name)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "videos")
        describe(library, {"blue": "the harbour of Genoa", "red": "a desert"})
        assert names(library, "Genoa harbour")[0] == "blue"


def test_a_library_that_cannot_be_written_is_searched_by_descriptions(described: Library) -> None:
    described.close()
    catalogue = Catalogue(described.path / CATALOGUE, read_only=True)
    source = Descriptions(catalogue, catalogue.meta("fingerprint"))
    [vector] = FakeModel().embed_queries([Query("parrot")])
    numbers = source.nearest("parrots", vector, 1)
    assert any("parrot" in match.words for match in source.matches("parrots", vector, numbers).values())
    catalogue.close()
