"""Thresholds of facets that keep a precision, how often they are right, and which level loses a caption its video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBlockModel, FakeModel
from test_block_evaluation import OWNERS, UNEVEN, world
from test_blocks import naive
from test_evaluate import samples_of

from mmi_tvr import models, plugins
from mmi_tvr.cli import _facet_evaluation
from mmi_tvr.cli._evaluation_data import EvaluationModel
from mmi_tvr.config import Settings
from mmi_tvr.errors import MediaError, MetricsError, ModelNotFound, UsageError
from mmi_tvr.evaluation import facets
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.report import evaluation_page
from mmi_tvr.scoring.attributes import shared_labels
from mmi_tvr.types import (
    Block,
    Embeddings,
    FacetCalibration,
    FacetThreshold,
    Labels,
    Sample,
    Scoring,
    Triplet,
    Video,
)
from mmi_tvr.utils.intervals import wilson
from mmi_tvr.utils.progress import Silent


def videos_of(count: int, seed: int = 0):
    """Attributes of videos, and what they show: p says how often "sure" is true, of "noise" it says nothing."""
    rng = np.random.default_rng(seed)
    attributes, truth = [], []
    for sure, noise in rng.uniform(size=(count, 2)):
        shown = {"sure"} if rng.uniform() < sure else set()
        shown |= {"noise"} if rng.uniform() < 0.5 else set()
        attributes.append({"entity": {"sure": float(sure), "noise": float(noise)}, "action": {"rare": float(sure)}})
        truth.append({"entity": shown, "action": ["rare"] if sure > 0.99 else []})
    return attributes, truth


def test_a_threshold_is_the_lowest_that_keeps_the_precision() -> None:
    attributes, truth = videos_of(1000)
    calibration = facets.calibrate(attributes, truth, 0.8, "made")
    chosen = calibration.threshold("entity", "sure")
    assert chosen.is_reliable
    counted = [(a["entity"]["sure"], "sure" in t["entity"]) for a, t in zip(attributes, truth, strict=True)]

    def low(threshold: float) -> float:
        right = [is_right for p, is_right in counted if p >= threshold]
        return wilson(sum(right) / len(right), len(right))[0]

    assert low(chosen.threshold) >= 80
    assert all(low(p) < 80 for p, _ in counted if p < chosen.threshold)
    above = [is_right for p, is_right in counted if p >= chosen.threshold]
    assert (chosen.n, chosen.precision) == (len(above), pytest.approx(sum(above) / len(above)))
    noise, unknown = calibration.threshold("entity", "noise"), calibration.threshold("entity", "never seen")
    assert noise == unknown
    assert not noise.is_reliable
    assert noise.precision < 0.8
    rare = calibration.threshold("action", "rare")
    assert (rare.is_reliable, rare.precision) == (False, 1.0)  # always right, ten times: no evidence
    assert rare.threshold > 0.99
    assert calibration.threshold("relation", "any") == FacetThreshold()


def test_equally_likely_ones_are_taken_together() -> None:
    attributes = [{"entity": {"a": 0.5}}] * 200 + [{"entity": {"a": 0.25}}] * 10
    truth = [{"entity": ["a"]}] * 190 + [{}] * 10 + [{"entity": ["a"]}] * 10
    chosen = facets.calibrate(attributes, truth, 0.9, "made").threshold("entity", "a")
    assert (chosen.threshold, chosen.n) == (0.25, 210)
    chosen = facets.calibrate(attributes, truth, 0.93, "made").threshold("entity", "a")
    assert (chosen.is_reliable, chosen.n % 10) == (False, 0)


def test_precision_is_measured_on_other_videos() -> None:
    calibration = facets.calibrate(*videos_of(1000), 0.8, "made")
    attributes, truth = videos_of(1500, seed=1)
    names = {"entity": ["sure", "noise"], "action": ["rare"]}
    rows = facets.measure(attributes, truth, names, calibration)
    assert [(row.level, row.reliable, row.classes) for row in rows] == [
        ("entity", True, 1), ("entity", False, 1), ("action", False, 1),
    ]  # fmt: skip
    sure = rows[0]
    threshold = calibration.threshold("entity", "sure").threshold
    right = ["sure" in t["entity"] for a, t in zip(attributes, truth, strict=True) if a["entity"]["sure"] >= threshold]
    value, low, high = sure.precision
    assert (sure.n, value) == (len(right), pytest.approx(100 * np.mean(right)))
    assert 75 < low < value < high < 100
    assert sure.recall == pytest.approx(100 * sum(right) / sum("sure" in t["entity"] for t in truth))
    lines = facets.table(rows)
    assert lines[1].startswith("entity, reliable")
    assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in lines[1]
    nothing = facets.measure([{}], [{}], {"entity": ["x"]}, calibration)
    assert nothing[0].as_dict() == {"classes": 1, "n": 0, "precision": None, "ci95": None, "recall": None}


def test_shared_labels_are_reliable_on_both_sides() -> None:
    reliable = {name: FacetThreshold(0.5, 0.95, 99, True) for name in "abcde"}
    queries = {name: FacetThreshold(0.45, 0.95, 99, True) for name in "abcdz"} | {"e": FacetThreshold(0.1, 0.8, 9)}
    calibration = FacetCalibration(0.9, "x", {"entity": reliable}, {}, {"entity": queries})
    query = {"entity": {"a": 0.9, "b": 0.8, "c": 0.4, "d": 0.7, "e": 0.6, "z": 0.9}, "action": {"x": 1.0}}
    video = {"entity": {"a": 0.6, "b": 0.9, "c": 0.9, "d": 0.3, "e": 0.9, "z": 1.0}}
    assert shared_labels(query, video, calibration) == {"entity": ("b", "a")}
    assert shared_labels({}, video, calibration) == shared_labels(query, {}, calibration) == {}


# The command


class LabellingModel(FakeBlockModel):
    """Reads off every video what its number says; its weights are in `weights`."""

    label_source = "exact"
    parses = None

    def __init__(self, weights: Path | None, wrong: bool = False) -> None:
        super().__init__("labelling")
        self.weights = None if weights is None else str(weights)
        self.wrong = wrong

    def attribute_names(self):
        return {"entity": ("dog", "cat"), "action": ("run",), "relation": ("dog run",)}

    def query_attributes(self, queries):
        return [{"entity": {"dog": 0.8 if query.text == "a dog runs" else 0.3}} for query in queries]

    def facet_calibration(self):
        return models._facets.read_facets(Path(self.weights), self.fingerprint()) if self.weights else None

    def prepare(self, captions, labels): ...

    def label_batch(self, captions, videos): ...


class LabelledVideos:
    def samples(self) -> Sequence[Sample]:
        texts = ("a dog runs", "a cat")
        return [Sample(str(n), Video(Path(f"{n}.mp4")), (texts[1 - n % 2],)) for n in range(90)]

    def video_labels(self, number: int) -> Labels:
        return Labels(("dog",), ("run",), (Triplet("dog", "run", ""),)) if number % 2 else Labels(("cat",))

    def caption_labels(self, number: int) -> Sequence[Labels]:
        return [self.video_labels(number)]


def system_of(model, unreadable: Sequence[int] = ()):
    def embed(videos):
        results = []
        for number, video in enumerate(videos):
            shown = {"dog": 0.9, "cat": 0.1} if number % 2 or (model.wrong and number % 5 == 0) else {"cat": 0.9}
            runs = {"run": 0.8} if number % 2 else {}
            relations = {"dog run": 0.7} if number % 2 else {}
            one = Embeddings(
                np.ones(1), np.ones((1, 1)), np.zeros((1, 3)), {"entity": shown, "action": runs, "relation": relations}
            )
            results.append(MediaError(video.path, "damaged") if number in unreadable else one)
        return results

    class System(EvaluationModel):
        def embed(self, videos, progress):
            return embed(videos)

    return System(Settings(), model, plugins.build("keyimages", "uniform", {}))


def test_thresholds_go_to_the_model_and_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.json").write_text('{"name": "mcsan", "options": {}}')
    model = LabellingModel(tmp_path)
    system = system_of(model, unreadable=[3])
    with pytest.raises(UsageError, match=r"nobody has measured .* --split val --calibrate"):
        _facet_evaluation.measured(system, LabelledVideos(), "made val", None, Silent())
    document, text = _facet_evaluation.measured(system, LabelledVideos(), "made val", 0.9, Silent())
    assert "(the same videos: look at others, too)" in text
    assert document["facets"]["entity"]["reliable"]["n"] == 89
    calibration = model.facet_calibration()
    assert calibration is not None
    assert calibration.data == "made val, 89 videos"
    assert calibration.threshold("relation", "dog run") == FacetThreshold(0.7, 1.0, 44, True)
    assert calibration.queries == {"entity": {"dog": FacetThreshold(0.8, 1.0, 44, True)}}
    wrong = LabellingModel(tmp_path, wrong=True)
    document, text = _facet_evaluation.measured(system_of(wrong), LabelledVideos(), "made test", None, Silent())
    measured = document["facets"]["entity"]["reliable"]
    assert measured["precision"] == pytest.approx(100 * 81 / 90)
    assert json.loads(json.dumps(document))["data"] == "made val, 89 videos"
    assert f"{tmp_path}: facets of 90 videos, thresholds for a precision of 90 % on made val, 89 videos" in text
    assert "thresholds: " in capsys.readouterr().err


def test_a_calibration_is_of_the_weights_that_it_was_measured_of(tmp_path: Path) -> None:
    calibration = FacetCalibration(0.9, "x", {"entity": {"dog": FacetThreshold(0.5, 1.0, 40, True)}}, {})
    models.write_facets(tmp_path, calibration, "these")
    read = models._facets.read_facets
    assert read(tmp_path, "these") == calibration
    assert read(tmp_path, "others") is None
    assert read(tmp_path / "none", "these") is None
    for damage in ("{", "[]", '{"model": "these"}', '{"model": "these", "classes": 5}'):
        (tmp_path / models.FACETS).write_text(damage)
        with pytest.raises(ModelNotFound, match="damaged; copy it once more"):
            read(tmp_path, "these")


def test_what_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    def measured(model, precision=None, **options):
        return _facet_evaluation.measured(system_of(model, **options), LabelledVideos(), "x", precision, Silent())

    plain = FakeModel()
    plain.wrong = False
    with pytest.raises(UsageError, match="fake offers no facets: it reads no classes off videos"):
        measured(plain)
    with pytest.raises(UsageError, match="labelling has no trained weights beside which thresholds could be written"):
        measured(LabellingModel(None), 0.9)
    (tmp_path / "model.json").write_text('{"name": "mcsan", "options": {}}')
    with pytest.raises(MetricsError, match="none of the videos can be read"):
        measured(LabellingModel(tmp_path), 0.9, unreadable=range(90))


# Levels


def test_a_failure_is_lost_by_the_level_that_is_furthest_behind() -> None:
    scoring = Scoring(blocks=UNEVEN)
    videos, queries = world(UNEVEN, 2.5)
    report = evaluate(samples_of([1, 2, 1, 3, 1, 1, 2, 1, 1, 1]), videos, queries, scoring)

    def alone(query, video, block: Block) -> float:
        only = tuple(Block(b.name, b.width, float(b == block), 0.0, b.squash) for b in UNEVEN)
        return naive(query, video, Scoring(blocks=only), "t2v")

    expected = dict.fromkeys(["a", "b"], 0)
    for query, owner in zip(queries, OWNERS, strict=True):
        scores = [naive(query, video.video, scoring, "t2v") for video in videos]
        best = max((n for n in range(len(videos)) if n != owner), key=lambda n: scores[n])
        if scores[best] > scores[owner]:
            losses = {
                b.name: b.t2v * (alone(query, videos[best].video, b) - alone(query, videos[owner].video, b))
                for b in UNEVEN
            }
            expected[max(losses, key=losses.__getitem__)] += 1
    assert report.lost_levels == expected
    assert sum(expected.values()) == (report.details.t2v_ranks > 1).sum() > 0
    assert report.as_dict()["lost_levels"] == expected
    assert "by the level that fell furthest behind: " in report.table()
    page = evaluation_page(report, {})
    assert page.count('class="lost"') == sum(expected.values())
    assert "By the level that fell furthest behind: " in page
    without = evaluate(samples_of([1, 2, 1, 3, 1, 1, 2, 1, 1, 1]), videos, queries, Scoring())
    assert without.lost_levels == {}
    assert "furthest behind" not in evaluation_page(without, {})
