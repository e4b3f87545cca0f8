"""Ranks from blocks against a naive full-matrix reference; recalls, intervals and every refusal."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr.errors import MetricsError
from mmi_tvr.evaluation import metrics, score_blocks
from mmi_tvr.evaluation.bootstrap import share_with_ends
from mmi_tvr.utils.intervals import wilson


def naive_rank(scores, right):
    """Sort with the wrong ones first at a tie; the place of the first right one among wrong ones."""
    order = sorted(range(len(scores)), key=lambda each: (-scores[each], each in right))
    first = next(place for place, each in enumerate(order) if each in right)
    return 1 + sum(each not in right for each in order[:first])


def rows_of_columns(ground_truth, columns):
    """Column -> the rows that it is right for."""
    return {column: {row for row, right in enumerate(ground_truth) if column in right} for column in columns}


def cut(matrix, heights):
    """The matrix in consecutive blocks of the given heights, over and over."""
    start, number = 0, 0
    while start < len(matrix):
        height = heights[number % len(heights)]
        yield matrix[start : start + height]
        start, number = start + height, number + 1


# Few distinct values, so that ties are everywhere.
VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf])


@st.composite
def tasks(draw):
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    line = st.lists(VALUES, min_size=columns, max_size=columns)
    matrix = np.array(draw(st.lists(line, min_size=rows, max_size=rows)))
    if draw(st.booleans()):
        matrix[:, -1] = matrix[:, 0]  # two copies of one candidate
    right = st.sets(st.integers(0, columns - 1), min_size=1, max_size=3)
    ground_truth = draw(st.lists(right, min_size=rows, max_size=rows))
    kind = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    return matrix.astype(kind), ground_truth, draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))


def naive_precision(scores, right):
    """Go down the list, in which wrong ones stand before right ones of an equal score."""
    order = sorted(range(len(scores)), key=lambda column: (-scores[column], column in right))
    places = [place for place, column in enumerate(order, start=1) if column in right]
    return 100 * sum(number / place for number, place in enumerate(places, start=1)) / len(places)


@given(tasks())
def test_average_precision_equals_the_naive_reference(task):
    matrix, ground_truth, heights = task
    expected = [naive_precision(list(row), right) for row, right in zip(matrix, ground_truth, strict=True)]
    assert metrics.average_precision(cut(matrix, heights), ground_truth) == pytest.approx(expected)


def test_a_tolerance_makes_ties_of_what_rounding_set_apart():
    scores = [np.array([[0.5, 0.5 - 1e-9, 0.4]])]
    assert metrics.average_precision(scores, [{0, 2}]).tolist() == [pytest.approx(100 * (1 + 2 / 3) / 2)]
    assert metrics.average_precision(scores, [{0, 2}], 1e-6).tolist() == [pytest.approx(100 * (1 / 2 + 2 / 3) / 2)]
    assert metrics.average_precision(scores, [{0, 1}], 1e-6).tolist() == [100]  # right ones are never ahead


@pytest.mark.parametrize("measure", [metrics.ranks, metrics.average_precision])
@pytest.mark.parametrize(
    ("scores", "ground_truth", "message"),
    [
        ([[0.1, np.nan]], [{0}], "NaN"),
        ([[0.1, 0.2]], [set()], "no right candidate"),
        ([[0.1, 0.2]], [{2}], "does not exist"),
        ([[0.1, 0.2]], [{0}, {1}], "each needs one row"),
    ],
)
def test_what_cannot_be_measured_is_one_line(measure, scores, ground_truth, message):
    with pytest.raises(MetricsError, match=message):
        measure([np.array(scores)], ground_truth)


@given(tasks())
def test_rows_equal_the_naive_reference(task):
    matrix, ground_truth, heights = task
    expected = [naive_rank(list(row), right) for row, right in zip(matrix, ground_truth, strict=True)]
    assert metrics.ranks(cut(matrix, heights), ground_truth).tolist() == expected


def test_blocks_are_ranked_in_their_own_precision_and_half_precision_in_single() -> None:
    closer_than_single = np.array([[1.0, 1.0 + 1e-9]])
    assert metrics.ranks([closer_than_single], [{1}]).tolist() == [1]
    apart = np.array([[0.5, 0.5 - 2**-11]], dtype=np.float16)  # more than the tolerance, by less than half a step
    assert metrics.ranks([apart], [{0}], tolerance=0.0004).tolist() == [1]


@given(tasks())
def test_both_directions_equal_the_naive_reference(task):
    matrix, ground_truth, heights = task
    ranked = metrics.both_directions(lambda: cut(matrix, heights), ground_truth)
    assert ranked.t2v.tolist() == metrics.ranks([matrix], ground_truth).tolist()
    owners = {
        column: {row for row, right in enumerate(ground_truth) if column in right} for column in range(matrix.shape[1])
    }
    ranked_columns = [column for column, rows in owners.items() if rows]
    assert ranked.columns.tolist() == ranked_columns
    assert ranked.v2t.tolist() == [naive_rank(list(matrix[:, column]), owners[column]) for column in ranked_columns]


@settings(max_examples=30)
@given(tasks())
def test_transposed_blocks_give_the_column_ranks_too(task):
    matrix, ground_truth, heights = task
    ranked = metrics.both_directions(lambda: cut(matrix, heights), ground_truth)
    owners = [{row for row, right in enumerate(ground_truth) if column in right} for column in ranked.columns]
    assert metrics.ranks(cut(matrix.T[ranked.columns], heights), owners).tolist() == ranked.v2t.tolist()


def test_equal_scores_count_against_us_but_right_ones_never():
    assert metrics.ranks([np.ones((1, 5))], [{2}]).tolist() == [5]
    assert metrics.ranks([np.ones((1, 5))], [{1, 2, 3}]).tolist() == [3]


def test_infinities_are_ordinary_numbers_in_the_order():
    inf = np.inf
    assert metrics.ranks([np.array([[inf, inf, 0.0], [-inf, -inf, 0.0], [-inf, -inf, -inf]])], [{0}] * 3).tolist() == [
        2,
        3,
        3,
    ]


def test_several_captions_take_the_best_ranked_in_video_to_text():
    # Rows: captions 0 and 1 of video 0, caption 2 of video 1.
    scores = np.array([[0.9, 0.3], [0.1, 0.2], [0.5, 0.4]])
    ranked = metrics.both_directions(lambda: [scores], [{0}, {0}, {1}])
    assert ranked.t2v.tolist() == [1, 2, 2]
    assert ranked.v2t.tolist() == [1, 1]


@given(tasks())
def test_tolerance_widens_the_ties(task):
    matrix, ground_truth, heights = task
    ranked = metrics.both_directions(lambda: cut(matrix, heights), ground_truth, tolerance=0.5)
    owners = {
        column: {row for row, right in enumerate(ground_truth) if column in right} for column in ranked.columns.tolist()
    }

    def rank(scores, right):
        best = max(scores[each] for each in right)
        return 1 + sum(score >= best - 0.5 for each, score in enumerate(scores) if each not in right)

    assert ranked.t2v.tolist() == [rank(row, right) for row, right in zip(matrix.tolist(), ground_truth, strict=True)]
    assert ranked.v2t.tolist() == [rank(matrix[:, column].tolist(), rows) for column, rows in owners.items()]
    assert metrics.ranks(cut(matrix, heights), ground_truth, tolerance=0.5).tolist() == ranked.t2v.tolist()


def test_a_large_block_is_looked_at_in_slices(monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((50, 20)).round(1)
    ground_truth = [{int(column)} for column in rng.integers(0, 20, 50)]
    in_one_slice = metrics.both_directions(lambda: [scores], ground_truth)
    assert len(in_one_slice.t2v) == 50
    monkeypatch.setattr(score_blocks, "CELLS", 60)
    for one, other in zip(metrics.both_directions(lambda: [scores], ground_truth), in_one_slice, strict=True):
        assert one.tolist() == other.tolist()


def test_memory_stays_far_below_the_full_matrix():
    count = 4000
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, count, 8), dtype=np.float32)
    tracemalloc.start()
    metrics.both_directions(
        lambda: (left[start : start + 100] @ right.T for start in range(0, count, 100)),
        [{each} for each in range(count)],
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count * count * 4 / 4


REFUSED = [
    ([np.array([[0.0, 1.0], [0.5, np.nan]])], [{0}, {0}], "query 1, candidate 1: the similarity is NaN"),
    ([np.zeros((1, 2))], [set()], "query 0 has no right candidate"),
    ([np.zeros((2, 2))], [{0}, {2}], "query 1: candidate 2 does not exist, there are 2"),
    ([np.zeros((1, 2))], [{-1}], "candidate -1 does not exist"),
    ([np.zeros((1, 2))], [{0}, {1}], "the blocks have 1 row for 2 queries"),
    ([np.zeros((3, 2))], [{0}, {1}], "more rows than the 2 queries"),
    ([np.zeros((1, 2)), np.zeros((1, 2))], [{0}], "more rows than the 1 query"),
    ([np.zeros((1, 2)), np.zeros((1, 3))], [{0}, {1}], "blocks of 2 and of 3 candidates"),
    ([np.zeros(2)], [{0}], "a block is a matrix"),
    ([np.zeros((1, 2), dtype=complex)], [{0}], "not 2-dimensional complex128"),
    ([], [], "no queries"),
]


@pytest.mark.parametrize(("blocks", "ground_truth", "message"), REFUSED)
def test_what_cannot_be_ranked_is_refused(blocks, ground_truth, message):
    with pytest.raises(MetricsError, match=message):
        metrics.ranks(blocks, ground_truth)
    with pytest.raises(MetricsError, match=message):
        metrics.both_directions(lambda: blocks, ground_truth)


def test_an_exhausted_generator_is_noticed_in_the_second_pass():
    once = iter([np.zeros((1, 2))])
    with pytest.raises(MetricsError, match="the blocks have 0 rows"):
        metrics.both_directions(lambda: once, [{0}])


RANKS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


@given(RANKS, st.randoms(use_true_random=False))
def test_summary_equals_numpy_on_the_ranks(query_ranks, random):
    random.shuffle(query_ranks)
    summary = metrics.summary(query_ranks, resamples=20)
    values = np.array(query_ranks)
    for name, depth in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
        assert summary.values()[name] == pytest.approx(100 * (values <= depth).mean())
    assert summary.mdr == np.median(values)
    assert summary.mnr == pytest.approx(values.mean())
    assert summary.n == len(query_ranks)
    assert all(low <= high for low, high in summary.ci95.values())


@settings(max_examples=30)
@given(RANKS, st.integers(0, 5))
def test_intervals_equal_a_naive_bootstrap(query_ranks, seed):
    """The same draws, taken one at a time with lists."""
    groups = [each % 7 for each in range(len(query_ranks))]
    members = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(query_ranks[place])
    pools = list(members.values())
    draws = np.random.default_rng(seed).integers(len(pools), size=(50, len(pools)))
    drawn = [[rank for group in draw for rank in pools[group]] for draw in draws]
    naive = {
        "R@1": [100 * np.mean(np.array(each) <= 1) for each in drawn],
        "R@10": [100 * np.mean(np.array(each) <= 10) for each in drawn],
        "R@5": [100 * np.mean(np.array(each) <= 5) for each in drawn],
        "MdR": [np.median(each) for each in drawn],
        "MnR": [np.mean(each) for each in drawn],
    }
    summary = metrics.summary(query_ranks, groups, resamples=50, seed=seed).ci95
    for name, values in naive.items():
        share = np.mean(np.array(query_ranks) <= int(name[2:])) if name.startswith("R@") else 0.5
        expected = tuple(np.percentile(values, [2.5, 97.5]))
        if name.startswith("R@") and expected[1] - expected[0] < 1e-9:
            expected = wilson(share, len(pools))
        assert summary[name] == pytest.approx(expected)


def test_the_interval_of_nothing_or_all_is_wilsons():
    """Every resample of 40 first ranks is 100 %, which says nothing; z² / (n + z²) of the share is left open."""
    certain = metrics.summary([1] * 40).ci95
    assert certain["R@1"] == certain["R@10"] == (pytest.approx(100 * 40 / (40 + 1.959964**2)), 100)
    assert metrics.summary([11] * 40).ci95["R@5"] == (0, pytest.approx(100 * 1.959964**2 / (40 + 1.959964**2)))
    by_video = metrics.summary([1] * 40, groups=[number // 10 for number in range(40)]).ci95
    assert by_video["R@1"] == (pytest.approx(100 * 4 / (4 + 1.959964**2)), 100)
    assert certain["MdR"] == certain["MnR"] == (1, 1)


def test_the_interval_of_groups_that_all_say_the_same_is_wilsons():
    """One group, or several of the same recall: a resample of them is what they are."""
    for query_ranks, groups in (([1, 30] * 3, "aaaaaa"), ([1, 30] * 3, "aabbcc"), ([1, 20, 30] * 3, "aaabbbbbb")):
        of_groups = metrics.summary(query_ranks, groups=list(groups))
        assert of_groups.ci95["R@1"] == pytest.approx(wilson(of_groups.r1 / 100, len(set(groups))))
        hits = [rank == 1 for rank in query_ranks]
        share = share_with_ends(hits, list(groups))
        assert share == pytest.approx((of_groups.r1, *of_groups.ci95["R@1"]))
    assert metrics.summary([1, 30] * 3, groups=["a"] * 6).ci95["MnR"] == metrics.summary([1, 30] * 3).ci95["MnR"]


def test_one_group_is_no_evidence_of_a_difference():
    baseline, contender = [9] * 20, [1] * 20
    assert metrics.paired_bootstrap(baseline, contender, ["a"] * 20)["R@1"] == (100, 100, 100, 1)
    assert metrics.paired_bootstrap(baseline, contender)["R@1"].p < 0.001


def test_intervals_do_not_depend_on_how_resamples_are_blocked(monkeypatch):
    query_ranks = np.random.default_rng(0).integers(1, 40, size=30)
    in_one_block = metrics.summary(query_ranks)
    monkeypatch.setattr(metrics, "CELLS", 8 * 100)
    assert metrics.summary(query_ranks).ci95 == in_one_block.ci95


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        low, high = metrics.summary(rng.choice([1, 20], size=200, p=[0.4, 0.6]), resamples=300, seed=seed).ci95["R@1"]
        covered += low <= 40 <= high
    assert 180 <= covered <= 199


def test_captions_of_one_video_widen_the_interval():
    """20 captions that rise and fall together are one observation, not 20."""
    query_ranks = np.repeat([1, 30] * 10, 20)
    alone = metrics.summary(query_ranks).ci95["R@1"]
    together = metrics.summary(query_ranks, groups=np.repeat(np.arange(20), 20).tolist()).ci95["R@1"]
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])


def test_groups_of_unequal_size_weigh_by_their_queries():
    assert metrics.summary([1, 1, 1, 50], groups=["a", "a", "a", "b"]).r1 == 75.0


def test_as_dict_has_the_contract_s_names():
    plain = metrics.summary([1, 2, 30]).as_dict()
    assert list(plain) == ["R@1", "R@5", "R@10", "MdR", "MnR", "ci95"]
    assert list(plain["ci95"]) == ["R@1", "R@5", "R@10", "MdR", "MnR"]
    assert all(len(interval) == 2 and type(interval) is list for interval in plain["ci95"].values())
    assert metrics.summary([1, 2], resamples=0).ci95 == {}


def test_sum_of_recalls():
    assert metrics.sum_of_recalls(metrics.summary([1]), metrics.summary([7])) == 400.0


@pytest.mark.parametrize("query_ranks", [[], [0, 1], [1.5], [[1, 2]]])
def test_ranks_that_are_none_are_refused(query_ranks):
    with pytest.raises(MetricsError):
        metrics.summary(query_ranks)


def test_groups_must_match_the_ranks():
    with pytest.raises(MetricsError, match="2 groups for 1 rank"):
        metrics.summary([1], groups=["a", "b"])


def test_each_direction_is_ranked_by_blocks_of_its_own():
    right_first, right_last = np.eye(3), 1 - np.eye(3)
    ground_truth = [{0}, {1}, {2}]
    blocks = metrics.DirectionBlocks(lambda: [right_first], lambda: [right_last[:2], right_last[2:]])
    ranked = metrics.ranks_of_directions(blocks, ground_truth)
    assert (ranked.t2v.tolist(), ranked.v2t.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert ranked.columns.tolist() == [0, 1, 2]
    assert metrics.ranks_of_directions(blocks, ground_truth, tolerance=1.0).t2v.tolist() == [3, 3, 3]


@pytest.mark.parametrize(("resamples", "p"), [(99, 0.02), (199, 0.01)])
def test_the_observed_sample_counts_as_one_of_the_resamples(resamples, p):
    """A difference that no resample contradicts has p = 2 (0 + 1) / (resamples + 1), and never 0."""
    baseline, contender = [9] * 20, [1] * 20
    for one, other in ((baseline, contender), (contender, baseline)):
        assert metrics.paired_bootstrap(one, other, resamples=resamples)["R@1"].p == pytest.approx(p)


def test_few_videos_that_all_agree_are_little_evidence():
    """p is no less than a sign test's, however many queries each video has."""
    for videos, p in ((1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625)):
        groups = list(range(videos)) * 4
        differences = metrics.paired_bootstrap([9] * len(groups), [1] * len(groups), groups)
        assert differences["R@1"].p == p


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=30), st.integers(0, 5))
def test_paired_differences_equal_a_naive_bootstrap(pairs, seed):
    """The same draws, taken one at a time with lists; groups are drawn for both runs at once."""
    groups = [number % 5 for number in range(len(pairs))]
    members = [[pair for pair, label in zip(pairs, groups, strict=True) if label == group] for group in range(5)]
    members = [group for group in members if group]
    draws = np.random.default_rng(seed).integers(len(members), size=(40, len(members)))
    drawn = [np.array([pair for group in draw for pair in members[group]]) for draw in draws]

    def recall(ranks):
        return 100 * np.mean(ranks <= 1)

    gaps = np.array([recall(sample[:, 1]) - recall(sample[:, 0]) for sample in drawn])
    baseline, contender = ([pair[side] for pair in pairs] for side in (0, 1))
    difference = metrics.paired_bootstrap(baseline, contender, groups, resamples=40, seed=seed)["R@1"]
    assert difference.value == pytest.approx(recall(np.array(contender)) - recall(np.array(baseline)))
    assert (difference.low, difference.high) == pytest.approx(tuple(np.percentile(gaps, [2.5, 97.5])))
    # A gap that is 0 in exact arithmetic may be a hair off in one of the two ways of computing it.
    if np.abs(gaps[gaps != 0]).min(initial=np.inf) > 1e-9:
        below, above = 1 + np.count_nonzero(gaps <= 0), 1 + np.count_nonzero(gaps >= 0)
        p = max(2 * min(below, above) / 41, 2 * 0.5 ** len(members))
        assert difference.p == pytest.approx(min(1.0, p))
