"""Searching by an example: a picture, a video, or the moment of one, of the library or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import COLOURS, FakeBlockModel, FakeModel, colour_video
from PIL import Image

from mmi_tvr import Library, Query
from mmi_tvr.batch import infer
from mmi_tvr.batch.inputs import queries
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.library.items import ItemMissing
from mmi_tvr.scoring.examples import LEAST, MIN_RELEVANCE, example_law
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, ItemMoment, Pixels, QueryExample, Scoring
from mmi_tvr.utils.seconds import parse_seconds


class SeeingModel(FakeModel):
    """Knows colours in words and in pictures."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reads = frozenset({"text", "pictures"})


class SeeingBlockModel(FakeBlockModel):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reads = frozenset({"text", "pictures"})


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for name in sorted(COLOURS):
        colour_video(folder / "films" / f"{name}.mp4", name)
    colour_video(folder / "films" / "blue then red.mp4", "blue", "red")
    colour_video(folder / "elsewhere.mp4", "yellow", "green")
    Image.new("RGB", (60, 40), (235, 20, 15)).save(folder / "red.png")
    (folder / "text.txt").write_text("a red picture")
    (folder / "cut.png").write_bytes((folder / "red.png").read_bytes()[:60])
    return folder


@pytest.fixture(scope="module", params=[SeeingModel, SeeingBlockModel])
def seeing(request: pytest.FixtureRequest, films: Path) -> Iterator[Library]:
    with Library(films / request.param.__name__, model=request.param()) as library:
        library.index(films / "films")
        yield library


@pytest.fixture(scope="module")
def library(films: Path) -> Iterator[Library]:
    with Library(films / "library", model=SeeingModel()) as opened:
        opened.index(films / "films")
        yield opened


def names(hits: Sequence[Any]) -> list[str]:
    return [hit.path.stem for hit in hits]


def test_a_picture_finds_what_is_like_it_and_the_moment(seeing: Library, films: Path) -> None:
    result = seeing.search("", like=films / "red.png", top=3, min_relevance=0)
    assert set(names(result[:2])) == {"red", "blue then red"}
    [late] = [hit for hit in result if hit.path.stem == "blue then red"]
    assert late.start > 1.5  # where it is red
    assert result.as_dict()["like"] == {"name": str(films / "red.png"), "second": None, "id": None}
    assert result[0].scores["example"] == pytest.approx(result[0].score)
    assert "video" not in result[0].scores  # no sentence was compared


def test_a_moment_of_a_file_outside_the_library(seeing: Library, films: Path) -> None:
    early = seeing.search("", like=f"{films / 'elsewhere.mp4'}@0.2", top=1, min_relevance=0)
    late = seeing.search("", like=f"{films / 'elsewhere.mp4'}@0:03.5", top=1, min_relevance=0)
    assert names(early) == ["yellow"]
    assert names(late) == ["green"]
    both = seeing.search("", like=films / "elsewhere.mp4", top=2, min_relevance=0)
    assert set(names(both)) == {"yellow", "green"}


def test_a_file_of_the_library_is_found_by_its_stored_vectors(library: Library, films: Path) -> None:
    library.search("red")
    latest = library._models.latest
    assert latest is not None
    assert isinstance(latest.model, FakeModel)
    before = latest.model.images_encoded
    path = films / "films" / "blue then red.mp4"
    result = library.search("", like=f"{path}@3.5", top=3, min_relevance=0)
    assert latest.model.images_encoded == before
    assert set(names(result[:2])) == {"blue then red", "red"}
    number = next(hit.id for hit in result if hit.path == path)
    assert result.query.example is not None
    assert result.query.example.item == number
    by_number = library.search("", like=ItemMoment(number or 0, 3.5), top=3, min_relevance=0)
    assert [(hit.id, hit.score) for hit in by_number] == [(hit.id, hit.score) for hit in result]


def test_a_sentence_and_an_example_count_together(library: Library, films: Path) -> None:
    example = library.search("", like=films / "red.png", top=9, min_relevance=0)
    both = library.search("yellow", like=films / "red.png", top=9, min_relevance=0)
    assert set(names(example)[:2]) == {"blue then red", "red"}
    assert {"yellow", "red"} == set(names(both)[:2])
    for hit in both:
        parts = hit.scores["example"] + 0.5 * hit.scores["video"] + 0.5 * hit.scores["moment"]
        assert hit.score == pytest.approx(parts, abs=1e-5)


def test_queries_with_and_without_examples_go_together(library: Library, films: Path) -> None:
    red = np.full((8, 8, 3), (250, 5, 5), np.uint8)
    queries = [Query("green"), Query("", example=QueryExample("a picture", (red,))), "yellow"]
    results = library.search(queries, top=2)
    assert [names(result)[0] for result in results] == ["green", "blue then red", "yellow"]
    alone = library.search(queries[1], top=2)
    assert [hit.score for hit in results[1]] == [hit.score for hit in alone]


def test_relevance_says_whether_something_is_like_it(library: Library, films: Path) -> None:
    def result_of(colour: tuple[int, int, int]) -> Any:
        picture = np.full((8, 8, 3), colour, np.uint8)
        return library.search(Query("", example=QueryExample("picture", (picture,))))

    assert result_of((255, 0, 0)).is_found
    grey = result_of((127, 128, 127))
    assert not grey.is_found
    assert grey.closest is not None
    assert not len(grey)
    assert f"{MIN_RELEVANCE:.2f}" in grey.decision.reason


def test_a_law_needs_some_videos_and_holds_for_larger_collections() -> None:
    generator = np.random.default_rng(0)

    def gallery(count: int) -> Gallery:
        vectors = generator.normal(size=(count, 3, 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        segments = np.array([(k, k + 1, k + 0.5) for k in range(3)], float)
        return Gallery.pack([Embeddings(rows[0], rows, segments) for rows in vectors])

    model = SeeingModel(scoring=Scoring())
    few = example_law(model, gallery(LEAST - 1), LEAST - 1, with_text=False)
    assert few.relevance(np.array([-0.5, 0.4]), np.zeros(16)).tolist() == [0.0, pytest.approx(0.4)]
    sample = gallery(200)
    law, larger = (example_law(model, sample, size, with_text=False) for size in (200, 20_000))
    unrelated = gallery(200).moments[::3]
    best = sample.score(unrelated, Scoring(1.0)).max(axis=1)
    assert 0.4 < float(np.mean(law.relevance(best, unrelated[0]) < 0.5)) < 0.6
    assert (larger.relevance(best, unrelated[0]) < law.relevance(best, unrelated[0])).all()


def test_an_example_is_neither_reranked_nor_certified(library: Library, films: Path) -> None:
    with pytest.raises(UsageError, match="leave out one of both"):
        library.search("red", like=films / "red.png", rerank=True)
    assert not library.search("red", like=films / "red.png", exact=True, min_relevance=0).exact
    assert library.search("red", exact=True, min_relevance=0).exact


@pytest.mark.parametrize(
    ("like", "error", "words"),
    [
        ("nowhere.png", UsageError, "nowhere.png: no such file"),
        ("nowhere.mp4@3", UsageError, "nowhere.mp4: no such file"),
        ("elsewhere.mp4@soon", UsageError, "a second such as 12.5 or 1:30"),
        ("elsewhere.mp4@99", MediaError, "has no second 99: it is 4.0"),
        ("films/red.mp4@99", MediaError, "has no second 99: it is 2.0"),
        ("red.png@3", MediaError, "is a picture, which has no second 3"),
        ("films", UsageError, "is a folder"),
        ("text.txt", MediaError, "like takes a picture or a video"),
        ("cut.png", MediaError, "cut.png: "),
        ("", UsageError, "names no file"),
    ],
)
def test_what_cannot_be_an_example_is_one_line(
    library: Library, films: Path, like: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as raised:
        library.search("", like=str(films / like) if like else "")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_more_wrong_examples(library: Library, films: Path) -> None:
    with pytest.raises(ItemMissing, match="has the number 4711"):
        library.search("", like=ItemMoment(4711))
    with pytest.raises(UsageError, match="the query is empty"):
        library.search("")
    with pytest.raises(UsageError, match="expand"):
        library.search("", like=films / "red.png", expand=2)
    for wrong in (3, b"red.png", ItemMoment(1, -1.0)):
        with pytest.raises(UsageError):
            library.search("", like=wrong)  # type: ignore[arg-type]
    picture: Pixels = np.zeros((4, 4, 3), np.uint8)
    for options in ({}, {"pictures": (picture,), "vectors": np.ones((1, 4))}, {"pictures": (picture[0],)}):
        with pytest.raises(UsageError, match=r"an example|a picture of"):
            QueryExample("wrong", **options)  # type: ignore[arg-type]


def test_a_model_that_reads_no_pictures_says_so(films: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "blind", model=FakeModel()) as blind:
        blind.index(films / "films" / "red.mp4")
        with pytest.raises(UsageError, match="fake compares no pictures with videos: it reads text"):
            blind.search("", like=films / "red.png")


def test_a_name_that_ends_like_a_second_is_a_name(library: Library, films: Path) -> None:
    odd = films / "red@3.png"
    odd.write_bytes((films / "red.png").read_bytes())
    assert names(library.search("", like=odd, top=1, min_relevance=0))[0] in ("red", "blue then red")


def test_queries_of_a_batch_may_have_examples(tmp_path: Path) -> None:
    table = tmp_path / "queries.jsonl"
    rows = [
        {"query": "red"},
        {"query": "blue", "like": "a.png"},
        {"query": "", "like": "gone.mp4@3"},
        {"like": "a.png"},
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = queries(table)
    assert [item["text"] for item in items] == ["red", "blue", "", ""]
    assert [item.get("like") for item in items] == [
        None,
        *(str(tmp_path / name) for name in ("a.png", "gone.mp4@3", "a.png")),
    ]
    searched: list[tuple[int, str | None]] = []

    def search(some: Sequence[Query], like: str | None) -> list[dict[str, Any]]:
        searched.append((len(some), like))
        if like is not None and "gone" in like:
            raise UsageError("gone.mp4: no such file")
        return [{"hits": []} for _ in some]

    task = infer.InferTask.__new__(infer.InferTask)
    task._search = search
    outcomes = task._outcomes(
        {number: {"text": "green"} if number == 9 else items[number] for number in (0, 1, 2, 3, 9)}
    )
    assert list(outcomes) == [0, 1, 2, 3, 9]
    assert outcomes[2] == {"reason": "gone.mp4: no such file"}
    assert (2, None) in searched  # those without an example go together
    table.write_text(json.dumps({"query": "red", "like": "1,204"}) + "\n")
    assert "like" not in queries(table)[0]  # so many people like it
    table.write_text(json.dumps({"query": " ", "like": " "}) + "\n")
    with pytest.raises(UsageError, match="is empty or no text"):
        queries(table)


@pytest.mark.parametrize("text", ["1:2:3:4", "-1", "1e3", "nan", "1:60", ""])
def test_seconds_that_are_none(text: str) -> None:
    assert parse_seconds(text) is None


def test_the_picture_itself_is_found_among_pictures_that_are_all_alike() -> None:
    generator = np.random.default_rng(1)
    segments = np.array([(0.0, 1.0, 0.5)])
    rows = np.ones((40, 1, 16)) + 0.02 * generator.normal(size=(40, 1, 16))
    rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)
    crowd = Gallery.pack([Embeddings(one[0], one, segments) for one in rows])
    law = example_law(SeeingModel(scoring=Scoring()), crowd, 100_000, with_text=False)
    assert law.relevance(np.array([1.0]), rows[0, 0])[0] >= 0.95
    twins = Gallery.pack([Embeddings(rows[0, 0], rows[0], segments)] * 40)
    law = example_law(SeeingModel(scoring=Scoring()), twins, 40, with_text=False)
    assert law.relevance(np.array([1.0]), rows[0, 0])[0] >= 0.95
