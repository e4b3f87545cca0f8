"""A model of several blocks in a library, from end to end: exact searches, levels, hits, relevance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from fakes import COLOURS, FakeBlockModel, FakeModel, clipped, colour_video
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import _libraries
from mmi_tvr.cli import search as cli
from mmi_tvr.encoder import Encoder
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.protocols import LocatingModel, TextLimitedModel
from mmi_tvr.scoring.blocks import block_scores, reweighted, similarities
from mmi_tvr.types import MatchLaw, ScoreLaw

LEVELS = ["whole", "hue", "brightness"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of each colour, and two that change theirs."""
    folder = tmp_path_factory.mktemp("videos")
    for name in COLOURS:
        colour_video(folder / f"{name}.mp4", name, seconds=1)
    colour_video(folder / "red then blue.mp4", "red", "blue", seconds=3)
    colour_video(folder / "blue then green.mp4", "blue", "green", seconds=3)
    return folder


@pytest.fixture(scope="module")
def library(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with Library(tmp_path_factory.mktemp("blocks") / "library", model=FakeBlockModel()) as opened:
        opened.index(videos)
        yield opened


def best_names(result) -> list[str]:
    return [hit.path.stem for hit in result]


def test_a_search_ranks_by_blocks_and_names_them(library: Library, videos: Path) -> None:
    for colour in COLOURS:
        result = library.search(colour, top=10, min_relevance=0)
        assert result[0].path.stem == colour
        assert not result.exact
        assert result.candidates == 10
        assert list(result[0].scores) == [*LEVELS, "moment"]
    encoder = Encoder(library._reader.searcher(library._reader.catalogue()).model, _method(library))
    result = library.search("red", top=10, min_relevance=0)
    names = [str(hit.path) for hit in result]
    [scores] = encoder.similarity(encoder.encode_query(["red"]), encoder.embed(names))
    np.testing.assert_allclose([hit.score for hit in result], scores, atol=1e-5)
    assert [hit.score for hit in result] == sorted(scores.tolist(), reverse=True)
    vectors = encoder.encode_video(names)
    parts = block_scores(encoder.encode_query(["red"]), vectors, encoder.model.scoring)
    for level in LEVELS:
        np.testing.assert_allclose([hit.scores[level] for hit in result], parts[level][0], atol=1e-5)
    np.testing.assert_allclose(encoder.similarity(encoder.encode_query("red"), vectors)[0], scores, atol=1e-5)


def _method(library: Library):
    return library._reader.components(library._reader.catalogue()).load().key_image_method


def test_a_hit_is_at_the_moment_whose_blocks_say_most(library: Library) -> None:
    [hit] = [hit for hit in library.search("green", top=10, min_relevance=0) if hit.path.stem == "blue then green"]
    assert hit.time > 3
    assert hit.scores["moment"] > hit.score
    [hit] = [hit for hit in library.search("blue", top=10, min_relevance=0) if hit.path.stem == "blue then green"]
    assert hit.time < 3


def test_an_exact_search_gives_the_same_and_says_so(library: Library) -> None:
    for text in ("red", "white and cyan"):
        plain, exact = library.search(text, top=3, min_relevance=0), library.search(text, 3, 0, exact=True)
        assert best_names(plain) == best_names(exact)
        assert (plain.exact, exact.exact) == (False, True)
        assert 3 <= exact.candidates <= 10
    several = library.search(["red", "blue"], top=1, min_relevance=0, exact=True)
    assert [best_names(result) for result in several] == [["red"], ["blue"]]
    with pytest.raises(UsageError, match="exact is True or False, not 1"):
        library.search("red", exact=1)  # type: ignore[call-overload]


def test_levels_count_as_much_as_somebody_says(library: Library) -> None:
    usual = library.search("black", top=10, min_relevance=0)
    levels = {"whole": 0, "brightness": 0, "hue": 10}
    by_hue = library.search("black", top=10, min_relevance=0, levels=levels)
    for result, weights in ((usual, (0.5, 0.3, 0.2)), (by_hue, (0.0, 3.0, 0.0))):
        for hit in result:
            parts = [hit.scores[level] for level in LEVELS]
            assert hit.score == pytest.approx(np.dot(weights, parts), abs=1e-5)
    assert [hit.scores["hue"] for hit in by_hue] == sorted((hit.scores["hue"] for hit in usual), reverse=True)
    assert 0 <= by_hue[0].relevance <= 1
    exact = library.search(
        "black", top=10, min_relevance=0, levels={"whole": 0, "brightness": 0, "hue": 10}, exact=True
    )
    assert best_names(exact) == best_names(by_hue)
    assert best_names(library.search("black", top=10, min_relevance=0)) == best_names(usual)


def test_relevance_is_calibrated_with_the_levels_that_count(library: Library) -> None:
    """Scores that are ten times as large say nothing more."""
    usual = library.search("red", top=10, min_relevance=0)
    tenfold = library.search("red", top=10, min_relevance=0, levels=dict.fromkeys(LEVELS, 10))
    np.testing.assert_allclose([hit.score for hit in tenfold], [10 * hit.score for hit in usual], rtol=1e-5)
    np.testing.assert_allclose([hit.relevance for hit in tenfold], [hit.relevance for hit in usual], atol=1e-3)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"relation": 2}, "fake blocks has no level 'relation'; it has: whole, hue, brightness"),
        ({"hue": -1}, "level hue is multiplied by a number, 0 or more, not -1.0"),
        ({"hue": float("nan")}, "level hue is multiplied by a number"),
        ({"hue": float("inf")}, "level hue is multiplied by a number"),
        (dict.fromkeys(LEVELS, 0), "no level is left that counts"),
        ({"hue": "2"}, r"levels maps names to numbers, such as \{'relation': 2\}"),
        ({"hue": True}, "levels maps names to numbers"),
        ("hue=2", "levels maps names to numbers"),
    ],
)
def test_levels_that_cannot_be_are_one_line(library: Library, levels, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        library.search("red", levels=levels)


def test_models_that_compare_vectors_as_a_whole_have_no_levels(videos: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(videos)
        with pytest.raises(UsageError, match="fake has no levels: it compares vectors as a whole; leave out levels"):
            library.search("red", levels={"hue": 2})
        assert library.search("red", top=2, exact=True).exact
        assert library.search("red", levels={})[0].path.stem == "red"


def test_a_reweighted_model_keeps_what_it_can_and_leaves_the_other_alone() -> None:
    class Locating(FakeBlockModel):
        def locate(self, queries, videos):
            return None

    model = Locating()
    twin = reweighted(model, {"hue": 2})
    assert isinstance(twin, LocatingModel)
    assert isinstance(twin, TextLimitedModel)
    assert twin.fingerprint() == model.fingerprint()
    assert [block.t2v for block in twin.scoring.blocks] == [0.5, 0.6, 0.2]
    assert [block.v2t for block in twin.scoring.blocks] == [block.v2t for block in model.scoring.blocks]
    assert model.scoring == FakeBlockModel().scoring


def test_a_law_goes_with_the_levels_that_it_was_measured_with() -> None:
    model = FakeBlockModel()
    model.scoring = replace(model.scoring, score_law=ScoreLaw(0.5, 20.0), match_law=MatchLaw(0.0, 1.0))
    scoring = reweighted(model, {"hue": 2}).scoring
    assert (scoring.score_law, scoring.match_law) == (None, None)


def test_an_index_of_others_is_asked_with_probes(videos: Path) -> None:
    encoder = Encoder(FakeBlockModel(), plugins.build("keyimages", "uniform", {"count": 4}))
    vectors = encoder.encode_video(sorted(videos.glob("*.mp4")))
    probes = encoder.encode_query(list(COLOURS), index=True)
    scores = similarities(encoder.encode_query(list(COLOURS)), vectors, encoder.model.scoring)
    assert (probes @ vectors.T).argmax(axis=1).tolist() == scores.argmax(axis=1).tolist()


# The command line


def search(library: Library, *words: str, model: FakeModel | None = None):
    app = typer.Typer()
    cli.register(app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_libraries, "Library", lambda path, settings=None: Library(path, model=model or FakeBlockModel()))
        return CliRunner().invoke(app, [*words, "--library", str(library.path), "--min-relevance", "0"])


def test_the_command_certifies_and_counts_levels_otherwise(library: Library) -> None:
    result = json.loads(search(library, "black", "--json").stdout)
    assert (result["exact"], result["candidates"]) == (False, 10)
    assert list(result["hits"][0]["scores"]) == [*LEVELS, "moment"]
    words = ("black", "--exact", "--levels", "whole=0,brightness=0", "--levels", "hue=10", "--top", "10")
    result = json.loads(search(library, *words, "--json").stdout)
    assert result["exact"]
    assert all(hit["score"] == pytest.approx(3 * hit["scores"]["hue"], abs=1e-5) for hit in result["hits"])
    assert "exact: 10 videos scored" in search(library, *words).stderr
    excluding = search(library, "red without blue", "--exact", "--json")
    assert not json.loads(excluding.stdout)["exact"]
    assert "not certified: what a query excludes changes the order" in excluding.stderr
    assert json.loads(search(library, "red without blue", "--exact", "--literal", "--json").stdout)["exact"]


@pytest.mark.parametrize("words", ["relation", "relation=", "=2", "hue=two", "hue=1,hue=2", "hue=1,,"])
def test_levels_that_cannot_be_read_are_one_line(library: Library, words: str) -> None:
    result = search(library, "red", "--levels", words)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("--levels takes NAME=X, such as relation=2, once a name; not '")
