"""The script that compares ways to exclude, on scores that are known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from test_query_scripts import script

from mmi_tvr.errors import UsageError
from mmi_tvr.types import PartialQuery

TEXTS, VIDEOS = ("red", "ball", "rare"), ((0, 1, 2, 3, 9), (2, 3, 4, 5), (0,))


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_exclusions")


def test_right_is_what_has_the_one_and_not_the_other(measure: ModuleType) -> None:
    queries = [PartialQuery(text, 0, videos) for text, videos in zip(TEXTS, VIDEOS, strict=True)]
    texts, exclusions = measure.draw_exclusions(queries, limit=8, count=20)
    assert texts == ["red", "ball"]
    assert {(texts[one.target], texts[one.excluded], one.right) for one in exclusions} == {
        ("red", "ball", frozenset({0, 1})),
        ("ball", "red", frozenset({4, 5})),
    }
    assert len(exclusions) == 20
    with pytest.raises(UsageError, match="--limit 1: among so few videos nothing can be excluded; take more"):
        measure.draw_exclusions(queries, limit=1, count=20)


def test_ways_order_videos_as_they_say(measure: ModuleType) -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.8, 0.1, 0.0]])
    vectors = np.array([[0.6, 0.8], [1.0, 0.0]])
    split = measure.SplitScores(
        [measure.Exclusion(0, 1, frozenset({1}))], vectors, scores, scores, scores[:1], lambda queries: queries
    )
    expected = {
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
