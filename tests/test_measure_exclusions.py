"""The script that compares ways to exclude, on scores that are known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from test_query_scripts import script

from mmi_tvr.datasets.moving_shapes import PASSING
from mmi_tvr.errors import UsageError
from mmi_tvr.queries.negation import QueryParts
from mmi_tvr.types import Labels, PartialQuery

QUERIES = [
    PartialQuery("a red star", 0, (0, 1, 2, 3)),
    PartialQuery("the star spins.", 0, (0, 1, 2, 3, 4)),
    PartialQuery("There is a star. It spins.", 0, (0, 1, 2, 3)),  # two clauses
    PartialQuery("红色的星星", 0, (0, 1, 2, 3)),
    PartialQuery("a black star", 0, (0, 1)),  # in too few videos
]
LABELS = [
    Labels(("red", "star", "red star", "two"), ("spins",)),
    Labels(("star", "ring"), ("spins", "flashes")),
    Labels(("star", "ring"), ("flashes",)),
    Labels(("star",), ("grows",)),
    Labels(("star", "ring"), ("spins",)),
]


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_exclusions")


def test_right_is_what_has_the_one_and_not_the_other(measure: ModuleType) -> None:
    exclusions = measure.draw_exclusions(QUERIES, LABELS, count=20)
    assert {one.sentence: set(one.right) for one in exclusions} == {
        "a red star, but no ring": {0, 3},
        "a red star, but nothing spins": {2, 3},
        "a red star, but nothing flashes white": {0, 3},
        "the star spins, but no ring": {0, 3},
        "the star spins, but nothing spins": {2, 3},
        "the star spins, but nothing flashes white": {0, 3, 4},
    }
    parts = {one.sentence: one.parts for one in exclusions}
    assert parts["a red star, but no ring"] == QueryParts("a red star", ("ring",))
    assert parts["a red star, but nothing spins"] == QueryParts("a red star", ("something spins",))
    assert len(measure.draw_exclusions(QUERIES, LABELS, count=4)) == 4
    with pytest.raises(UsageError, match="among 1 videos nothing can be excluded; take more"):
        measure.draw_exclusions([PartialQuery("a red star", 0, (0,))], LABELS[:1], count=20)


def test_a_search_splits_every_sentence_as_it_is_meant(measure: ModuleType) -> None:
    labels = [Labels(("star", "red star"), PASSING)] * 6
    queries = [PartialQuery("a blue cross", 0, tuple(range(6)))]
    written = [clause for clause, _ in measure._absent(labels)]
    assert len(written) == 2 + len(PASSING)
    with pytest.raises(UsageError):  # all videos show all of it, so none is right
        measure.draw_exclusions(queries, labels, count=9)
    some = [*labels[:2], *[Labels()] * 4]
    assert {one.sentence for one in measure.draw_exclusions(queries, some, count=99)} == {
        f"a blue cross, {clause}" for clause in written
    }


def test_ways_order_videos_as_they_say(measure: ModuleType) -> None:
    def scores(row: list[float], vector: list[float]) -> object:
        return measure.TextScores(np.array([vector]), np.array([row]), np.array([row]))

    exclusion = measure.Exclusion("a, but no b", QueryParts("a", ("b",)), frozenset({0, 1}), frozenset({1}))
    whole, target, excluded = (
        scores([0.7, 0.2, 0.3], [0.0, 1.0]),
        scores([0.9, 0.8, 0.1], [0.6, 0.8]),
        scores([0.8, 0.1, 0.0], [1.0, 0.0]),
    )
    split = measure.SplitScores([exclusion], whole, target, excluded, lambda queries: queries)
    expected = {
        measure.WHOLE: [0.7, 0.2, 0.3],
        "what is looked for alone": [0.9, 0.8, 0.1],
        "score less score": [0.5, 0.75, 0.1],
        "left out from a relevance on": [-8.1, 0.8, 0.1],
        "relevance x (1 - relevance)": [0.18, 0.72, 0.1],
        "projected out of the vector": [0.0, 0.8],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(measure.WAYS[name][0](split, 0 if "alone" in name else 0.5), [values], atol=1e-9)
    assert measure.precisions(split, measure.less_score(split, 0.5)) == [100]
    assert measure.precisions(split, measure.less_score(split, 0)) == [50]
    rows = {row[0]: row[1:] for row in measure.table(split, split)}
    assert rows["mAP"][1:] == ["validation (n=1)", "test (n=1)", "less the whole sentence (test)"]
    assert rows[measure.WHOLE] == ["", "33.3 [33.3, 33.3]", "33.3 [33.3, 33.3]", ""]
    assert rows["score less score"] == ["0.25", "100.0 [100.0, 100.0]", "100.0 [100.0, 100.0]", "+66.7 [+66.7, +66.7]"]


def test_sentences_about_one_thing_are_drawn_together(measure: ModuleType) -> None:
    one, other = frozenset({0, 1}), frozenset({2})
    exclusions = [measure.Exclusion("", QueryParts(""), showing, showing) for showing in (one, one, one, other)]
    split = measure.SplitScores(exclusions, None, None, None, None)
    assert measure._with_interval(split, np.array([10.0, 20.0, 30.0, 20.0])) == "20.0 [20.0, 20.0]"


def test_products_that_underflow_go_by_what_is_looked_for(measure: ModuleType) -> None:
    target = measure.TextScores(np.zeros((1, 2)), np.array([[0.1, 0.2]]), np.zeros((1, 2)))
    excluded = measure.TextScores(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)))
    [[worse, better]] = measure.relevance_product(measure.SplitScores([], target, target, excluded, None), 1)
    assert worse < better
