"""mAP and nDCG by degree: against their definitions written out, against scikit-learn, and against each other.

The plain average precision is held against scikit-learn here, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from mmi_tvr.errors import MediaError, MetricsError
from mmi_tvr.evaluation import graded
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.evaluation.folds import fold_metrics
from mmi_tvr.evaluation.graded import graded_metrics, precision_and_gain
from mmi_tvr.evaluation.metrics import DirectionBlocks, average_precision, ranks_of_directions
from mmi_tvr.types import Embeddings, FloatArray, IdArray, Sample, Scoring, Video

DEGREES = (0.0, 1 / 6, 0.25, 0.5, 0.75, 1.0)


def in_blocks(scores: FloatArray, height: int = 2) -> DirectionBlocks:
    def blocks() -> list[FloatArray]:
        return [scores[start : start + height] for start in range(0, len(scores), height)]

    return DirectionBlocks(blocks, blocks)


def degrees(matrix: FloatArray) -> Callable[[IdArray, IdArray], FloatArray]:
    return lambda rows, columns: matrix[np.ix_(rows, columns)]


def naive(scores: list[float], relevance: list[float]) -> tuple[float, float]:
    """The two numbers as they are defined, one candidate after the other; of equal scores the less relevant first."""
    ranked = [fit for _, fit in sorted(zip(scores, relevance, strict=True), key=lambda pair: (-pair[0], pair[1]))]
    precisions = [sum(ranked[:rank]) / rank for rank, fit in enumerate(ranked, start=1) if fit == 1]
    counted = sum(fit > 0 for fit in relevance)

    def gain(order: list[float]) -> float:
        return sum(fit / math.log2(rank + 1) for rank, fit in enumerate(order[:counted], start=1))

    return sum(precisions) / len(precisions), gain(ranked) / gain(sorted(relevance, reverse=True))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_numbers_are_those_of_their_definitions_whatever_the_ties(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    scores = data.draw(st.lists(st.sampled_from((-0.5, 0.0, 0.25, 1.0)), min_size=count, max_size=count))
    relevance = data.draw(st.lists(st.sampled_from(DEGREES), min_size=count, max_size=count))
    measured = precision_and_gain(np.array([scores], np.float32), np.array([relevance]))[0]
    if 1.0 in relevance:
        assert measured == pytest.approx(naive(scores, relevance))
    else:
        assert np.isnan(measured).all()


def test_what_others_compute_without_ties() -> None:
    rng = np.random.default_rng(0)
    scores, relevance = rng.permuted(np.arange(240.0).reshape(8, 30), axis=1), rng.choice(DEGREES, (8, 30))
    full = (relevance == 1).astype(float)
    precision = [average_precision_score(right, row) for right, row in zip(full, scores, strict=True)]
    assert precision_and_gain(scores, full)[:, 0] == pytest.approx(precision)  # relevance 0 and 1: the usual mAP
    always = np.maximum(relevance, 1 / 6)  # every candidate counts, so that none is cut off
    assert precision_and_gain(scores, always)[:, 1] == pytest.approx(
        [ndcg_score(fit[None], row[None]) for fit, row in zip(always, scores, strict=True)]
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_of_full_and_no_matches_it_is_the_average_precision_of_ranks(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    scores = np.array([data.draw(st.lists(st.sampled_from((-0.5, 0.0, 1.0)), min_size=count, max_size=count))])
    right = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    full = np.isin(np.arange(count), list(right))[None].astype(float)
    assert 100 * precision_and_gain(scores, full)[0, 0] == pytest.approx(average_precision([scores], [right])[0])


def test_scores_of_copies_tie_up_to_rounding() -> None:
    """A copy that is a hair below, or above, does not help."""
    relevance = np.array([[1.0, 0.0, 0.5]])
    for hair in (-1e-7, 0.0, 1e-7):
        scores = np.array([[0.5 + hair, 0.5, 0.1]], np.float32)
        assert precision_and_gain(scores, relevance, tolerance=1e-6)[0, 0] == 0.5
    assert precision_and_gain(np.array([[0.5 + 1e-5, 0.5, 0.1]]), relevance, tolerance=1e-6)[0, 0] == 1.0


def test_both_directions_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores, relevance = rng.normal(size=(7, 9)), rng.choice(DEGREES, (7, 9))
    relevance[:, 4] = 0.5  # a column that no row fits fully has no rank
    relevance[range(7), range(7)] = 1.0
    whole = graded_metrics(in_blocks(scores), degrees(relevance), range(7), range(9))
    monkeypatch.setattr(graded, "_CELLS", 14)
    monkeypatch.setattr(graded, "_HEIGHT", 2)
    assert graded_metrics(in_blocks(scores), degrees(relevance), range(7), range(9)) == whole
    assert whole.t2v.n == 7
    columns = precision_and_gain(scores.T, relevance.T)
    assert whole.v2t.n == (~np.isnan(columns[:, 0])).sum() < 9
    assert whole.v2t.mean_ap == pytest.approx(100 * np.nanmean(columns[:, 0]))
    assert whole.mean()["nDCG"] == pytest.approx((whole.t2v.ndcg + whole.v2t.ndcg) / 2)
    low, high = whole.t2v.ci95["mAP"]
    assert low < whole.t2v.mean_ap < high


def test_nothing_that_fits_fully_and_no_numbers_are_errors() -> None:
    half = degrees(np.full((2, 2), 0.5))
    with pytest.raises(MetricsError, match="no query has a full match"):
        graded_metrics(in_blocks(np.eye(2)), half, range(2), range(2))
    with pytest.raises(MetricsError, match="NaN"):
        precision_and_gain(np.array([[np.nan, 1.0]]), np.array([[1.0, 0.0]]))


def embedded(direction: int) -> Embeddings:
    vector = np.eye(4, dtype=np.float32)[direction]
    return Embeddings(vector, vector[None], np.array([[0.0, 1.0, 0.5]]))


def test_an_evaluation_by_degree_counts_full_matches_as_right() -> None:
    """Sample 1 has no caption and fits that of 0 as well; 3 cannot be read, and is the first candidate no longer."""
    captions = [("cut",), (), ("wash",), ("peel",)]
    samples = [Sample(f"s{number}", Video(Path(f"{number}.mp4")), texts) for number, texts in enumerate(captions)]
    relevance = np.array([[1.0, 1.0, 0.5, 0.0], [0.5, 0.5, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    embeddings = [*(embedded(number) for number in range(3)), MediaError(Path("3.mp4"), "gone")]
    queries = np.eye(4, dtype=np.float32)[[1, 2, 3]]  # "cut" is nearest to the sample without a caption
    report = evaluate(samples, embeddings, queries, Scoring(), relevance=degrees(relevance))
    assert report.t2v.r1 == 100.0
    assert report.details is not None
    assert [list(right) for right in report.details.ground_truth] == [[0, 1], [2]]
    assert report.graded is not None
    assert (report.graded.t2v.n, report.graded.v2t.n) == (2, 3)
    assert report.as_dict()["graded"]["mean"] == report.graded.mean()
    assert "by degree" in report.table()
    alone = evaluate(samples, embeddings, queries, Scoring())
    assert alone.t2v.r1 == 50.0
    assert alone.graded is None


def test_folds_are_ranked_alone_and_summarised_together() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(12, 6))  # two captions a video
    truth = [[row // 2] for row in range(12)]
    folds = [[0, 1, 2], [4, 3]]  # 5 is in none
    measured = fold_metrics(in_blocks(scores, 5), truth, folds, [row // 2 for row in range(12)], range(6))
    ranks = []
    for fold in folds:
        rows = [row for row in range(12) if row // 2 in fold]
        part = scores[np.ix_(rows, fold)]
        ranks.append(ranks_of_directions(in_blocks(part), [[fold.index(row // 2)] for row in rows]))
    assert measured.directions.t2v.mnr == pytest.approx(np.concatenate([part.t2v for part in ranks]).mean())
    assert measured.directions.v2t.mnr == pytest.approx(np.concatenate([part.v2t for part in ranks]).mean())
    assert (measured.directions.t2v.n, measured.directions.v2t.n) == (10, 5)
    assert measured.title == "2 folds of 3"


def test_a_row_that_is_right_in_two_folds_is_ranked_in_both() -> None:
    scores = np.array([[0.9, 0.1, 0.2, 0.8], [0.3, 0.7, 0.1, 0.2], [0.1, 0.2, 0.6, 0.3]])
    measured = fold_metrics(in_blocks(scores), [[0, 3], [1], [2]], [[0, 1], [2, 3]], range(3), range(4))
    assert (measured.directions.t2v.n, measured.directions.v2t.n) == (4, 4)
    assert measured.directions.t2v.r1 == 100.0


def test_average_precision_is_that_of_scikit_learn_without_ties_and_never_above_it():
    random = np.random.default_rng(0)
    truth = random.random((30, 50)) < 0.2
    truth[:, 7] = True
    ground_truth = [set(np.flatnonzero(row).tolist()) for row in truth]
    for scores, has_ties in ((random.random((30, 50)), False), (random.integers(0, 5, (30, 50)) / 4, True)):
        ours = average_precision([scores[:11], scores[11:]], ground_truth)
        theirs = [100 * average_precision_score(*pair) for pair in zip(truth, scores, strict=True)]
        assert (ours < np.array(theirs) - 1e-9).any() == has_ties
        assert (ours <= np.array(theirs) + 1e-9).all()
