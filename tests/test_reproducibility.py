"""Numbers that may not move: hand-derived answers to small matrices, and the golden run of the bundled model.

`data/golden.json` is written by `tests/golden.py`, after the bundled model was made anew.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest

from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import metrics
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.types import Embeddings, Sample, Scoring, Video

DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "similarities.json").read_text(encoding="utf-8"))["cases"]
FEW = 6  # clips of the golden run that a changed stage is tried on


# Similarity matrices


@pytest.fixture(params=CASES, ids=[case["name"] for case in CASES])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    named_case: dict[str, Any] = request.param
    return named_case


def ground_truth(case: dict[str, Any]) -> list[set[int]]:
    files = case["files"]
    return [{column for column, file in enumerate(files) if file == files[owner]} for owner in case["owners"]]


def naive(scores: list[float], right: set[int]) -> int:
    """The place of the best right candidate in the sorted list, equal wrong ones first, other right ones taken out."""
    best = max(scores[column] for column in right) - metrics.SCORE_TOLERANCE
    candidates = [(-score, 0) for column, score in enumerate(scores) if column not in right] + [(-best, 1)]
    return sorted(candidates).index((-best, 1)) + 1


def test_the_answers_are_those_of_a_naive_ranking(case: dict[str, Any]) -> None:
    right = ground_truth(case)
    assert [naive(*query) for query in zip(case["scores"], right, strict=True)] == case["t2v"]
    v2t = []
    for column in range(len(case["files"])):
        if rows := {row for row, columns in enumerate(right) if column in columns}:
            v2t.append(naive([scores[column] for scores in case["scores"]], rows))
    assert v2t == case["v2t"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("height", [1, 2, 100])
def test_ranks(case: dict[str, Any], height: int, dtype: Any) -> None:
    scores = np.array(case["scores"], dtype=dtype)
    blocks = [scores[first : first + height] for first in range(0, len(scores), height)]
    assert metrics.ranks(blocks, ground_truth(case), metrics.SCORE_TOLERANCE).tolist() == case["t2v"]
    ranks = metrics.both_directions(lambda: blocks, ground_truth(case), metrics.SCORE_TOLERANCE)
    assert (ranks.t2v.tolist(), ranks.v2t.tolist()) == (case["t2v"], case["v2t"])


def test_summary(case: dict[str, Any]) -> None:
    for side in ("t2v", "v2t"):
        summary = metrics.summary(case[side])
        assert summary.values() == pytest.approx(case["metrics"][side], abs=1e-5)
        for name, (low, high) in summary.ci95.items():
            assert low <= summary.values()[name] <= high
            if len(set(case[side])) == 1 and name in ("MdR", "MnR"):
                assert low == high  # all of one rank: nothing to be unsure of, but for the shares (Wilson's interval)


@pytest.mark.parametrize("block", [1, 256])
def test_evaluate(case: dict[str, Any], block: int) -> None:
    """Videos are the axes of the space and captions the rows of the matrix, so that their products are the matrix."""
    width = len(case["files"])
    samples = [
        Sample(f"s{at}", Video(Path(file)), tuple(f"c{row}" for row, owner in enumerate(case["owners"]) if owner == at))
        for at, file in enumerate(case["files"])
    ]
    axes = np.eye(width, dtype=np.float32)
    videos = [Embeddings(axis, axis[None], np.array([[0.0, 1.0, 0.5]])) for axis in axes]
    report = evaluate(samples, videos, np.array(case["scores"], np.float32), Scoring(), block)
    assert report.details is not None
    assert (report.details.t2v_ranks.tolist(), report.details.v2t_ranks.tolist()) == (case["t2v"], case["v2t"])
    document = report.as_dict()
    for side, expected in case["metrics"].items():
        assert {name: document[side][name] for name in metrics.NAMES} == pytest.approx(expected, abs=1e-5)
    recalls = [case["metrics"][side][name] for side in ("t2v", "v2t") for name in ("R@1", "R@5", "R@10")]
    assert document["SumR"] == pytest.approx(sum(recalls), abs=1e-4)


# The golden run


@pytest.fixture(scope="module")
def record() -> golden.Record:
    return golden.read(DATA / "golden.json")


@pytest.fixture(scope="module")
def parts() -> Any:
    return golden.parts()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return golden.samples(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def golden_run(parts: Any, clips: Any) -> golden.Record:
    return golden.run(*parts, clips)


def test_the_golden_run_has_not_moved(record: golden.Record, golden_run: golden.Record) -> None:
    assert len(golden_run["clips"]) == golden.CLIPS == 40
    assert golden.differences(record, golden_run) == []
    for side, expected in record["metrics"].items():
        assert golden_run["metrics"][side]["R@1"] == pytest.approx(expected["R@1"], abs=5.0)  # two unclear clips of 40


@contextmanager
def other_mean(model: Any, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pictures normalised with CLIP's mean instead of the checkpoint's own."""
    patch.setattr(model.towers._processor, "image_mean", [0.4815, 0.4578, 0.4082])
    yield


@contextmanager
def other_pooling(model: Any, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of a video's vector is the plain mean of its key images."""
    embed_videos = model.embed_videos

    def mixed(features: Any) -> list[Embeddings]:
        results = []
        for embeddings in embed_videos(features):
            mean = embeddings.moments.mean(axis=0)
            video = 0.9 * embeddings.video + 0.1 * mean / np.linalg.norm(mean)
            results.append(Embeddings(video / np.linalg.norm(video), embeddings.moments, embeddings.segments))
        return results

    patch.setattr(model, "embed_videos", mixed)
    yield


@contextmanager
def other_prompt(model: Any, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """One word less in the prompt that stands around a sentence."""
    patch.setattr("mmi_tvr.models.mmi.network.TEXT_PROMPT", "Represent this text: {text}")
    yield


CHANGES = [(other_mean, "vision"), (other_pooling, "video"), (other_prompt, "query")]


@pytest.mark.parametrize(("change", "stage"), CHANGES, ids=[stage for _, stage in CHANGES])
def test_a_changed_stage_fails_and_is_named(
    record: golden.Record, parts: Any, clips: Any, monkeypatch: pytest.MonkeyPatch, change: Any, stage: str
) -> None:
    model, method = parts
    with change(model, monkeypatch):
        moved = golden.differences(record, golden.run(model, method, clips[:FEW]))
    assert moved
    assert moved[0].startswith(f"{stage}:"), moved  # and nothing that comes before it


def test_noise_passes_and_what_is_more_does_not(record: golden.Record) -> None:
    """Of the comparison alone: the smallest step of a picture's values was measured to move numbers by so much."""
    rng = np.random.default_rng(0)
    noise = {"vision": 0.00005, "video": 0.001, "query": 1e-6, "score": 0.001}
    now = copy.deepcopy(record)
    for row in now["clips"]:
        for stage, size in noise.items():
            row[stage] += rng.uniform(-size, size)
    assert golden.differences(record, now) == []
    for stage in golden.TOLERANCES:
        one, all_of_them = copy.deepcopy(record), copy.deepcopy(record)
        one["clips"][3][stage] += 1.1 * golden.TOLERANCES[stage]
        for row in all_of_them["clips"]:
            row[stage] -= 1.1 * golden.MEANS[stage]
        assert [line.split(":")[0] for line in golden.differences(record, one)] == [stage]
        assert [line.split(":")[0] for line in golden.differences(record, all_of_them)] == [stage]


def test_ranks_that_change_are_named_unless_they_are_close(record: golden.Record) -> None:
    now = copy.deepcopy(record)
    clear = max(range(40), key=lambda at: now["clips"][at]["t2v"]["margin"])
    now["clips"][clear]["t2v"]["rank"] = 2
    assert len(golden.differences(record, now)) >= 1
    assert now["clips"][clear]["id"] in golden.differences(record, now)[0]
    now = copy.deepcopy(record)
    for row in now["clips"][:9]:
        row["times"] = [*row["times"][:-1], 99.0]
    assert golden.differences(record, now)[0].startswith("key images: 9 of 40")


def test_other_clips_and_other_weights_are_said(record: golden.Record, tmp_path: Path) -> None:
    assert "not on record" in golden.differences(record, {"clips": [{"id": "test00099"}]})[0]
    (tmp_path / "golden.json").write_text(golden.dumps({**record, "weights": "of-yesterday"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"tests/golden\.py"):
        golden.read(tmp_path / "golden.json")


def test_a_record_is_read_back_as_it_was(record: golden.Record, golden_run: golden.Record, tmp_path: Path) -> None:
    (tmp_path / "golden.json").write_text(golden.dumps(golden_run), encoding="utf-8")
    again = golden.read(tmp_path / "golden.json")
    assert again == golden_run
    assert again.keys() == record.keys()
