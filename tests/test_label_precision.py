"""Average precision of labels against its definition, and which labels count as rare."""

from __future__ import annotations

import numpy as np
import pytest

from mmi_tvr.errors import MetricsError
from mmi_tvr.evaluation.label_precision import average_precisions, mean_precisions, rare_half


def naive(scores: np.ndarray, truth: np.ndarray) -> float:
    """Go down the list, in which wrong ones stand before right ones of an equal score."""
    order = sorted(range(len(scores)), key=lambda video: (-scores[video], truth[video]))
    places = [place for place, video in enumerate(order, start=1) if truth[video]]
    return 100 * sum(number / place for number, place in enumerate(places, start=1)) / len(places)


def test_average_precision_is_its_definition_with_ties_against_it() -> None:
    random = np.random.default_rng(0)
    scores, truth = random.integers(0, 6, (40, 12)) / 5, random.random((40, 12)) < 0.2
    truth[:, 3] = False
    precisions = average_precisions(scores, truth)
    assert np.isnan(precisions[3])
    for label in set(range(12)) - {3}:
        assert precisions[label] == pytest.approx(naive(scores[:, label], truth[:, label]))
    assert average_precisions(np.array([[0.5], [0.5]]), np.array([[True], [False]])).tolist() == [50]


def test_what_has_no_rank_is_one_line() -> None:
    with pytest.raises(MetricsError, match="shape"):
        average_precisions(np.zeros((2, 3)), np.zeros((2, 2), bool))
    with pytest.raises(MetricsError, match="NaN"):
        average_precisions(np.array([[np.nan]]), np.array([[True]]))


def test_the_rare_half_is_that_of_the_training_data() -> None:
    counts = {"entity": {"ring": 90, "star": 5, "cross": 40, "heart": 1}, "action": {"spins": 3}}
    truth = [{"entity": {"ring", "star"}, "action": {"spins"}}, {"entity": {"ring"}}, {"entity": {"star", "cross"}}]
    scores = {
        "entity": np.array([[0.9, 0.2, 0.1, 0.5], [0.8, 0.4, 0.2, 0.5], [0.1, 0.9, 0.9, 0.5]]),
        "action": np.array([[0.1], [0.9], [0.2]]),
    }
    assert rare_half([*counts["entity"].values()]).tolist() == [False, True, False, True]
    means = mean_precisions(scores, truth, counts)
    star = 100 * (1 + 2 / 3) / 2
    assert means["entity"]["rare"] == pytest.approx(star)  # no video shows a heart
    assert means["entity"]["all"] == pytest.approx((100 + star + 100) / 3)
    assert means["action"]["all"] == pytest.approx(100 / 3)
    assert np.isnan(means["action"]["rare"])  # half of one label is none
