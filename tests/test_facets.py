"""Facets from end to end, with a model that reads hues and brightness off videos: stored, listed, searched by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import typer
from fakes import COLOURS, FakeBlockModel, FakeModel, clipped, colour_video
from typer.testing import CliRunner

from mmi_tvr import Query
from mmi_tvr.batch import infer
from mmi_tvr.cli import _libraries
from mmi_tvr.cli import facets as facets_command
from mmi_tvr.cli import search as search_command
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.attributes import VideoAttributes
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.protocols import ModelWithAttributes
from mmi_tvr.report import search_page
from mmi_tvr.types import Attributes, Embeddings, FacetCalibration, FacetThreshold, Features
from mmi_tvr.utils.hashing import digest

SURE = FacetThreshold(0.6, 0.95, 120, True)
CALIBRATION = FacetCalibration(
    0.9,
    "colours, 500 videos",
    {"hue": dict.fromkeys(set(COLOURS) - {"cyan"}, SURE), "brightness": {}},
    {"hue": FacetThreshold(0.8, 0.7, 10), "brightness": FacetThreshold(0.9)},
    {"hue": dict.fromkeys(COLOURS, SURE)},
)


class FacetModel(FakeBlockModel):
    """Says which colours a video shows in any key image, and how bright it is."""

    def __init__(self, calibration: FacetCalibration | None = CALIBRATION, head: int = 0) -> None:
        super().__init__("colour facets", head=head)
        self.calibration = calibration
        self.texts_read = 0

    def attribute_names(self):
        return {"hue": tuple(COLOURS), "brightness": ("bright", "dark")}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        plain = super().embed_videos(features)
        attributes = [self._shown(video.arrays["mean"]) for video in features]
        return [Embeddings(e.video, e.moments, e.segments, a) for e, a in zip(plain, attributes, strict=True)]

    def _shown(self, means: np.ndarray) -> Attributes:
        hues = {
            name: float(np.exp(-np.linalg.norm(means - np.array(colour), axis=1).min() / 60))
            for name, colour in COLOURS.items()
        }
        bright = float(means.mean() / 255)
        return {"hue": hues, "brightness": {"bright": bright, "dark": 1 - bright}}

    def query_attributes(self, queries: Sequence[Query]) -> list[Attributes]:
        self.texts_read += len(queries)
        return [{"hue": {name: 0.9 for name in COLOURS if name in query.text.split()}} for query in queries]

    def query_remarks(self, query: Query) -> list[str]:
        return [] if set(query.text.split()) & set(COLOURS) else ["it names no colour"]

    def facet_calibration(self) -> FacetCalibration | None:
        return self.calibration

    def fingerprint(self) -> str:
        return digest(super().fingerprint(), "facets")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in COLOURS:
        colour_video(folder / f"{name}.mp4", name, seconds=1)
    colour_video(folder / "red and blue.mp4", "red", "blue", seconds=2)
    shutil.copy(folder / "green.mp4", folder / "green again.mp4")
    return folder


@pytest.fixture(scope="module")
def library(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with Library(tmp_path_factory.mktemp("facets") / "library", model=FacetModel(), relevance=clipped) as opened:
        opened.index(videos)
        yield opened


def names(result) -> set[str]:
    return {hit.path.stem for hit in result}


def counts(library: Library) -> dict[str, int]:
    return {name: facet["videos"] for name, facet in library.facets().as_dict()["hue"].items()}


def test_a_library_lists_what_its_videos_show(library: Library) -> None:
    assert isinstance(FacetModel(), ModelWithAttributes)
    report = library.facets()
    assert (report.videos, report.missing) == (9, 0)
    assert counts(library) == {**dict.fromkeys(COLOURS, 1), "red": 2, "blue": 2}
    assert [facet.name for facet in report.levels["hue"][:3]] == ["blue", "red", "black"]  # the most frequent first
    document = report.as_dict()
    assert document["hue"]["red"] == {"videos": 2, "threshold": 0.6, "precision": 0.95, "n": 120, "reliable": True}
    assert document["hue"]["cyan"]["reliable"] is False
    assert document["brightness"]["dark"] == {
        "videos": 1, "threshold": 0.9, "precision": None, "n": 0, "reliable": False,
    }  # fmt: skip


def test_a_search_looks_among_the_videos_that_show_all_of_it(library: Library) -> None:
    def search(where, **options):
        return library.search("blue", top=10, min_relevance=0, where=where, **options)

    assert names(search({"hue": "red"})) == {"red", "red and blue"}
    assert names(search({"hue": ["red", "blue"]})) == {"red and blue"}
    assert names(search({"hue": {"Red"}, "brightness": ["dark"]})) == set()
    assert names(search({"brightness": ["dark"]})) == {"black"}
    assert names(search({})) == names(search(None)) == names(library.search("blue", top=10, min_relevance=0))
    result = search({"hue": ["red"]}, exact=True, levels={"hue": 5})
    assert result.exact
    assert result.levels["hue"] == pytest.approx(1.5)
    assert names(result) == {"red", "red and blue"}
    assert [(facet.level, facet.name, facet.videos) for facet in result.facets] == [("hue", "red", 2)]
    nothing = search({"hue": ["red", "green"]})
    assert (len(nothing), nothing.is_found, nothing.closest) == (0, False, None)
    assert nothing.decision.reason == "no video counts as showing all of hue=green (1 video), hue=red (2 videos)"
    assert nothing.coverage.searched == 9


def test_queries_of_a_list_may_be_restricted_otherwise(library: Library) -> None:
    queries = [Query("blue", where={"hue": {"red"}}), "blue", Query("red", where={"hue": "cyan"}), Query("white")]
    results = library.search(queries, top=10, min_relevance=0)
    assert [len(result) for result in results] == [2, 9, 1, 9]
    assert [result.query.text for result in results] == ["blue", "blue", "red", "white"]
    narrowed = library.search(queries[:2], top=10, min_relevance=0, where={"hue": ["blue"]})
    assert [names(result) for result in narrowed] == [{"red and blue"}, {"blue", "red and blue"}]
    assert names(library.search(Query("red without blue", where={"hue": "red"}), top=5, min_relevance=0)) == {
        "red", "red and blue",
    }  # fmt: skip


def test_facets_restrict_the_videos_that_the_caller_allows(library: Library) -> None:
    catalogue = library._reader.catalogue()
    searcher = library._reader.searcher(catalogue)
    both = [number for number, entry in catalogue.entries(catalogue.searchable()).items() if "blue" in str(entry.paths)]
    result = searcher.search(Query("red", where={"hue": "red"}), top=9, min_relevance=0, videos=frozenset(both))
    assert names(result) == {"red and blue"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "where: there is no level 'colour'; there are: hue, brightness"),
        ({"hue": "rde"}, "where: no hue is called 'rde'; nearest: red"),
        ({"hue": "bright"}, "where: no hue is called 'bright'; nearest: brightness=bright"),
        ({"hue": "Bright"}, "where: no hue is called 'Bright'; nearest: brightness=bright"),
        ({"hue": "xyzzy"}, "no hue is called 'xyzzy'; mmi-tvr facets --library .* lists those that there are"),
        ({"hue": 5}, r"where maps levels to names of classes, such as \{'action': \['spins'\]\}, not \{'hue': 5\}"),
        ({"hue": [5]}, "where maps levels"),
        ("hue=red", "where maps levels"),
        ({5: "red"}, "where maps levels"),
    ],
)
def test_what_cannot_be_is_one_line(library: Library, where, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        library.search("red", where=where)


def test_hits_name_what_query_and_video_share(library: Library) -> None:
    result = library.search("red and blue and cyan", top=10, min_relevance=0)
    labels = {hit.path.stem: dict(hit.labels) for hit in result}
    assert set(labels["red and blue"]["hue"]) == {"red", "blue"}
    assert labels["red"] == {"hue": ("red",)}
    assert labels["cyan"] == {}  # its threshold is not reliable
    assert labels["green again"] == labels["white"] == {}
    page = search_page(result)
    assert "whole " in page
    assert "hue " in page
    assert "(red)" in page or "(blue)" in page


def test_a_video_shows_a_class_from_its_threshold_on(library: Library) -> None:
    with closing(Catalogue(library.path / CATALOGUE)) as catalogue:
        attributes = VideoAttributes(catalogue)
        numbers = catalogue.searchable()
        threshold = min(shown["hue"]["red"] for shown in attributes.of(numbers).values())
        assert attributes.videos("hue", "red", threshold) == frozenset(numbers)
        assert attributes.counts({("hue", "red"): threshold}) == {("hue", "red"): len(numbers)}
        above = float(np.nextafter(threshold, 1))
        assert attributes.counts({("hue", "red"): above})["hue", "red"] == len(attributes.videos("hue", "red", above))
        assert len(attributes.videos("hue", "red", above)) < len(numbers)


def test_facets_follow_what_is_indexed_removed_and_rebuilt(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("red", "red and blue"):
        shutil.copy(videos / f"{name}.mp4", folder)
    with Library(tmp_path / "library", model=FacetModel(), relevance=clipped) as library:
        library.index(folder)
        assert counts(library) == {"red": 2, "blue": 1}
        shutil.copy(videos / "blue.mp4", folder)
        library.index()
        assert counts(library) == {"blue": 2, "red": 2}
        (folder / "red and blue.mp4").unlink()
        library.index()
        assert counts(library) == {"blue": 1, "red": 1}
        library.remove(folder / "red.mp4")
        assert counts(library) == {"blue": 1}
        assert names(library.search("red", min_relevance=0, where={"hue": "red"})) == set()
        database = library._reader.catalogue().connection
        assert database.execute("SELECT COUNT(DISTINCT content) FROM attributes").fetchone() == (1,)
        library.index(model=FacetModel(head=1), rebuild=True)
    with Library(tmp_path / "library", model=FacetModel(head=1), relevance=clipped) as library:
        assert counts(library) == {"blue": 1, "red": 1}  # what was forgotten is in an indexed folder


def test_a_library_of_before_says_that_it_knows_nothing(videos: Path, tmp_path: Path) -> None:
    with Library(tmp_path / "library", model=FacetModel(), relevance=clipped) as library:
        library.index([videos / "red.mp4", videos / "blue.mp4"])
        database = library._reader.catalogue().connection
        database.execute("DELETE FROM attributes WHERE content = 1")
        assert (library.facets().missing, library.facets().videos) == (1, 2)
        database.execute("DELETE FROM attributes")
        assert library.facets().as_dict() == {"hue": {}, "brightness": {}}
        with pytest.raises(UsageError, match=r"was indexed before facets were stored; once more: .* --rebuild"):
            library.search("red", where={"hue": "red"})
        library.index(model=FacetModel(), rebuild=True)
        assert counts(library) == {"blue": 1, "red": 1}


def test_a_model_without_facets_is_one_line(videos: Path, tmp_path: Path) -> None:
    for model in (FakeModel(), FakeBlockModel()):
        with Library(tmp_path / model.name, model=model, relevance=clipped) as library:
            library.index(videos / "red.mp4")
            with pytest.raises(UsageError, match=f"{model.name} offers no facets"):
                library.facets()
            with pytest.raises(UsageError, match=f"where: {model.name} does not say what is in videos; leave it out"):
                library.search("red", where={"hue": "red"})
            assert library.search("red")[0].labels == {}


def test_what_nobody_measured_counts_from_one_half_on_and_explains_nothing(videos: Path, tmp_path: Path) -> None:
    model = FacetModel(calibration=None)
    with Library(tmp_path / "library", model=model, relevance=clipped) as library:
        library.index([videos / "red.mp4", videos / "blue.mp4"])
        report = library.facets()
        assert report.calibration is None
        assert report.as_dict()["hue"]["red"] == {
            "videos": 1, "threshold": 0.5, "precision": None, "n": 0, "reliable": False,
        }  # fmt: skip
        assert library.search("red", where={"hue": "red"})[0].labels == {}
        assert model.texts_read == 0


# The command line, and batches


def run(command, library: Library, *words: str, model: FakeModel | None = None):
    app = typer.Typer()
    command.register(app)

    def opened(path, settings=None):
        return Library(path, model=model or FacetModel(), settings=settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_libraries, "Library", opened)
        return CliRunner().invoke(app, [*words, "--library", str(library.path)])


def test_the_command_lists_facets_with_what_they_are_worth(library: Library) -> None:
    document = json.loads(run(facets_command, library, "--json").stdout)
    assert document == library.facets().as_dict()
    done = run(facets_command, library, "--top", "3")
    assert "thresholds keep a precision of 90 %, measured on colours, 500 videos" in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1] == ["blue", "2", "precision", "95", "%", "(120", "of", "the", "validation", "data)"]
    assert "and 5 more (--top)" in done.stdout
    assert lines[-1] == ["dark", "1", "precision", "not", "measured", "*"]
    assert "nobody measured how often these are right" in run(facets_command, library, model=FacetModel(None)).stderr


def test_the_command_searches_among_facets(library: Library) -> None:
    words = ("red", "--where", "hue=red", "--where", "hue = blue", "--min-relevance", "0")
    document = json.loads(run(search_command, library, *words, "--json").stdout)
    [hit] = document["hits"]
    assert Path(hit["path"]).stem == "red and blue"
    assert hit["labels"] == {"hue": ["red"]}
    assert document["levels"] == {"whole": 0.5, "hue": 0.3, "brightness": 0.2}
    assert [(one["level"], one["name"], one["videos"]) for one in document["where"]] == [
        ("hue", "blue", 2), ("hue", "red", 2),
    ]  # fmt: skip
    done = run(search_command, library, *words)
    assert "only hue=red: 2 videos, precision 95 % (120 of the validation data)" in done.stderr
    line = done.stdout.splitlines()[2]
    assert line.startswith("   whole .")
    assert "hue .95 (red)" in line or "(red)" in line
    second = run(search_command, library, "red", "--min-relevance", "0").stdout.splitlines()[4]
    assert "; behind the first by " in second
    note = run(search_command, library, "a stripe", "--min-relevance", "0")
    assert "note: it names no colour" in note.stderr
    assert json.loads(run(search_command, library, "a stripe", "--json").stdout)["remarks"] == ["it names no colour"]
    bad = run(search_command, library, "red", "--where", "hue:red")
    assert "a class is written LEVEL=NAME" in str(bad.exception)


def test_a_batch_is_restricted_as_a_whole_and_query_by_query(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "queries.jsonl"
    table.write_text('{"query": "red", "where": {"hue": "red"}}\n{"query": "blue"}\n')
    monkeypatch.setattr(infer, "Library", lambda path, settings=None: Library(path, FacetModel(), settings, clipped))

    def found_by(output: str, **options) -> list[set[str]]:
        folder = infer.create(tmp_path / output, table, library.path, **options)
        task = infer.InferTask(folder, "cpu")
        task.begin()
        outcomes: dict = {}
        items = dict(enumerate(infer.queries(table)))
        for part in task.run(items, tmp_path):
            outcomes |= part
        task.finish()
        return [{Path(row["path"]).stem for row in outcomes[number]["hits"]} for number in items]

    assert found_by("plain") == [{"red", "red and blue"}, names(library.search("blue", top=10, min_relevance=0))]
    both = found_by("blue alone", where={"hue": ["blue"]})
    assert both == [{"red and blue"}, {"blue", "red and blue"}]
    (tmp_path / "wrong.jsonl").write_text('{"query": "red", "where": {"hue": 3}}\n')
    with pytest.raises(UsageError, match=r"wrong\.jsonl, line 1: where maps levels to names"):
        infer.queries(tmp_path / "wrong.jsonl")
    (tmp_path / "places.csv").write_text("query,where\nred,Paris\n")
    assert infer.queries(tmp_path / "places.csv") == [{"id": "1", "text": "red"}]
