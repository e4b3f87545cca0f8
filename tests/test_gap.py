"""The modality gap: means against loops over all pairs, spaces of blocks, what is left out, command and page."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from fakes import FakeModel, colour_video
from test_blocks import MCSAN, stored
from test_evaluate import samples_of
from typer.testing import CliRunner

from mmi_tvr import models
from mmi_tvr.cli import gap as command
from mmi_tvr.errors import MediaError, MetricsError, MissingExtra, UsageError
from mmi_tvr.evaluation import gap
from mmi_tvr.models.lat import Lat, Options
from mmi_tvr.report import gap as page
from mmi_tvr.types import Block, Embeddings, Query, Sample, Scoring
from mmi_tvr.utils import files

WHOLE = (Block("all", 6),)
WIDE = (Block("video", 5), Block("text", 3))
EVEN = (Block("video", 4), Block("text", 4))
SIDES = {"video": "text", "text": "video"}


class Pairs:
    """A model whose captions have vectors by their row; a translating one where it has sides."""

    name = "pairs"

    def __init__(self, queries, videos, blocks=(), sides=None):
        self.queries, self.videos, self.scoring = queries, videos, Scoring(blocks=blocks)
        if sides is not None:
            self.translated_sides = lambda: sides
        self.captions = []

    def embed_queries(self, queries: list[Query]):
        self.captions = [query.text for query in queries]
        return self.queries[: len(queries)]

    def embed(self, videos):
        rows = iter(self.videos)
        segments = np.zeros((1, 3))
        return [Embeddings(row, row[None], segments) for row, _ in zip(rows, videos, strict=False)]


def world(count: int, blocks=WHOLE, seed: int = 0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    videos = stored(rng, count, blocks)
    return videos + noise * stored(rng, count, blocks) + 0.3, videos


def cosine(left, right) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def test_means_are_those_of_all_pairs() -> None:
    queries, videos = world(9)
    model = Pairs(queries, videos)
    report = gap.modality_gap(model, samples_of([1] * 9), model.embed, pairs=2, dataset="toy")
    [space] = report.spaces
    [distance] = space.distances
    assert (distance.first, distance.second, space.name, report.n, space.n) == ("T", "V", "common", 9, 9)
    assert distance.same_pair.mean == pytest.approx(np.mean([cosine(queries[i], videos[i]) for i in range(9)]))
    other = [(i, j) for i, j in product(range(9), range(9)) if i != j]
    assert distance.different_pairs.mean == pytest.approx(np.mean([cosine(queries[i], videos[j]) for i, j in other]))
    for name, rows in (("T", queries), ("V", videos)):
        assert space.within[name].mean == pytest.approx(np.mean([cosine(rows[i], rows[j]) for i, j in other]))
    squared = sum(estimate.mean for estimate in space.within.values()) - 2 * distance.different_pairs.mean
    assert distance.centroid_distance.mean == pytest.approx(np.sqrt(max(0, squared)))
    for estimate in (distance.same_pair, distance.different_pairs, *space.within.values()):
        assert estimate.low < estimate.mean < estimate.high
    assert space.labels == ("T1", "T2", "V1", "V2")  # the first pair and the last one
    assert report.chosen == ("caption 0 0", "caption 8 0")
    assert space.cosines[0, 3] == pytest.approx(cosine(queries[0], videos[8]))
    assert np.allclose(space.cosines, space.cosines.T)
    assert np.allclose(np.diag(space.cosines), 1)


def test_intervals_cover_what_they_estimate() -> None:
    """Of 60 samples of one world, about 95 % have the mean of all within their interval."""
    queries, videos = world(1200, seed=1)
    texts, pictures = gap._unit(queries), gap._unit(videos)
    truth = gap._means(texts, pictures, np.ones((1, 1200)))[0]
    inside = np.zeros(2)
    for start in range(0, 1200, 20):
        rows = slice(start, start + 20)
        for number, estimate in enumerate(gap._estimates(texts[rows], pictures[rows])[:2]):
            inside[number] += estimate.low <= truth[number] <= estimate.high
    assert (inside >= 50).all()


def test_the_distance_of_centroids_does_not_depend_on_how_many_pairs_there_are() -> None:
    rng = np.random.default_rng(0)
    direction, count = np.eye(1, 24)[0], 4000
    texts, pictures = (gap._unit(rng.standard_normal((count, 24)) + side * direction) for side in (2, -2))
    truth = np.linalg.norm(texts.mean(axis=0) - pictures.mean(axis=0))
    few = [gap._means(texts[i : i + 8], pictures[i : i + 8], np.ones((1, 8)))[0, 2] for i in range(0, count, 8)]
    assert np.mean(few) == pytest.approx(truth, abs=0.02)


def test_resamples_do_not_pair_a_video_with_itself() -> None:
    vectors = gap._unit(np.eye(3))
    assert gap._means(vectors, vectors, np.array([[2, 1, 0]]))[0, 1] == pytest.approx(0)
    assert np.isnan(gap._means(vectors, vectors, np.array([[3, 0, 0]]))[0, 1])


@pytest.mark.parametrize(
    ("blocks", "sides", "clouds"),
    [
        (WIDE, SIDES, [("video", "GT V"), ("text", "T FV")]),
        (EVEN, SIDES, [("common", "T V GT FV")]),
        (EVEN, {}, [("video", "T V"), ("text", "T V")]),
        (WIDE[:1], {"video": "text"}, [("common", "V GT")]),
        (MCSAN, None, [(block.name, "T V") for block in MCSAN]),
    ],
)
def test_each_block_is_a_space_unless_translations_share_one(blocks, sides, clouds) -> None:
    queries, videos = world(5, blocks)
    model = Pairs(queries, videos, blocks, sides)
    report = gap.modality_gap(model, samples_of([1] * 5), model.embed)
    assert [(space.name, " ".join(space.within)) for space in report.spaces] == clouds
    document = json.loads(json.dumps(report.as_dict()))
    assert [space["clouds"] for space in document["spaces"]] == [names.split() for _, names in clouds]
    assert all(name in report.table() for _, names in clouds for name in names.split())


def test_a_translation_is_compared_in_the_space_that_it_leads_to() -> None:
    queries, videos = world(6, EVEN)
    model = Pairs(queries, videos, EVEN, SIDES)
    [space] = gap.modality_gap(model, samples_of([1] * 6), model.embed).spaces
    means = {distance.first + distance.second: distance.same_pair.mean for distance in space.distances}
    pairs = range(6)
    assert means["VGT"] == pytest.approx(np.mean([cosine(queries[i, :4], videos[i, :4]) for i in pairs]))
    assert means["TFV"] == pytest.approx(np.mean([cosine(queries[i, 4:], videos[i, 4:]) for i in pairs]))
    assert means["TV"] == pytest.approx(np.mean([cosine(queries[i, 4:], videos[i, :4]) for i in pairs]))


def test_a_side_without_a_vector_is_left_out_of_its_space_alone() -> None:
    queries, videos = world(5, MCSAN)
    queries[2, -3:] = 0  # a sentence without a relation
    model = Pairs(queries, videos, MCSAN)
    report = gap.modality_gap(model, samples_of([1] * 5), model.embed)
    assert [space.n for space in report.spaces] == [5, 5, 5, 4]
    assert "4 pairs: the others have no vector here" in report.table()
    queries[:, -3:] = 0
    with pytest.raises(MetricsError, match="relation: fewer than 2 pairs"):
        gap.modality_gap(model, samples_of([1] * 5), model.embed)


def test_a_video_counts_once_and_with_its_first_caption() -> None:
    queries, videos = world(4)
    model = Pairs(queries, videos)
    first, second, third = samples_of([2, 0, 1])
    again = Sample("again", first.video, ("another caption",))
    report = gap.modality_gap(model, [first, second, again, third], model.embed)
    assert (report.n, model.captions) == (2, ["caption 0 0", "caption 2 0"])


def test_unreadable_videos_are_named_and_too_many_refused() -> None:
    queries, videos = world(4)
    model = Pairs(queries, videos)

    def embed(chosen, broken):
        return [
            MediaError(video.path, "no picture") if video.path.name in broken else result
            for video, result in zip(chosen, model.embed(chosen), strict=True)
        ]

    report = gap.modality_gap(model, samples_of([1] * 4), lambda chosen: embed(chosen, {"2.mp4"}))
    assert (report.n, report.failures) == (3, {"2.mp4": "no picture"})
    with pytest.raises(MetricsError, match=r"unreadable: 2 of 4 videos, .* \(the first: 2.mp4: no picture\); repair"):
        gap.modality_gap(model, samples_of([1] * 4), lambda chosen: embed(chosen, {"2.mp4", "3.mp4"}))
    with pytest.raises(UsageError, match="embed gave 3 results for 4 videos"):
        gap.modality_gap(model, samples_of([1] * 4), lambda chosen: model.embed(chosen)[:3])
    with pytest.raises(MetricsError, match="at least 2 videos with captions, not on 1"):
        gap.modality_gap(model, samples_of([1, 0]), model.embed)
    with pytest.raises(MetricsError, match="not on 0"):
        gap.modality_gap(model, [], model.embed)
    with pytest.raises(UsageError, match="at least 1 pair"):
        gap.modality_gap(model, samples_of([1] * 4), model.embed, pairs=0)


@pytest.mark.parametrize(
    ("options", "sides"),
    [({}, SIDES), ({"retrieval": "t2v"}, {"video": "text"}), ({"translator": {"kind": "none"}}, {})],
)
def test_lat_says_which_sides_it_translates(options, sides) -> None:
    lat = Lat(Options(checkpoint="none", **options))
    lat.towers = SimpleNamespace(image_width=4, text_width=3, widths=(4, 3))
    assert lat.translated_sides() == sides


def test_the_map_keeps_distances_and_is_the_same_every_time() -> None:
    square = gap._unit(np.array([[1.0, 0, 1], [0, 1, 1], [-1, 0, 1], [0, -1, 1]]))
    first, second = (gap._places({"T": square, "V": square}) for _ in range(2))
    assert np.allclose(first["T"], first["V"], atol=1e-3)
    between = np.linalg.norm(first["T"][:, None] - first["T"][None], axis=-1)
    assert np.allclose(between, np.linalg.norm(square[:, None] - square[None], axis=-1), atol=0.02)
    assert np.array_equal(first["V"], second["V"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command, on a folder of coloured videos with captions."""
    colours = ("red", "green", "blue")
    for colour in colours:
        colour_video(tmp_path / "videos" / f"{colour}.mp4", colour, seconds=0.5)
    rows = "".join(f"{colour}.mp4\ta {colour} <scene>\n" for colour in colours)
    (tmp_path / "videos" / "captions.tsv").write_text("file\tcaption\n" + rows)
    monkeypatch.setattr(models, "make", lambda chosen, device="auto": FakeModel())
    app = typer.Typer()
    command.register(app)

    def invoke(*words: object):
        done = CliRunner().invoke(app, ["label_bridge", str(tmp_path / "videos"), *map(str, words)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return invoke


def test_the_command_prints_numbers_and_writes_a_page(run, tmp_path, monkeypatch) -> None:
    output = tmp_path / "gap.html"
    done = run("--json", "--output", output)
    document = json.loads(done.stdout)
    assert (document["model"], document["n"], document["config"]["target"]) == (
        "label_bridge",
        3,
        str(tmp_path / "videos"),
    )
    [space] = document["spaces"]
    assert space["pairs"][0]["same_pair"]["mean"] > 0.99 > 0.5 > space["pairs"][0]["different_pairs"]["mean"]
    text = output.read_text()
    assert files.PAGE_MARK.decode() in text
    assert "a red &lt;scene&gt;" in text
    assert "data:image/png;base64," in text
    printed = run("--pairs", 2).stdout
    assert "3 pairs; mean cosines" in printed
    assert "T - V" in printed
    output.write_text("mine")
    with pytest.raises(UsageError, match="did not write it"):
        run("--output", output)

    def missing(*names: str) -> None:
        raise MissingExtra("matplotlib", "plots", "pip install matplotlib")

    monkeypatch.setattr(page, "require", missing)
    assert "the page has no map" in run("--output", output, "--force").stderr
    assert "data:image" not in output.read_text()
