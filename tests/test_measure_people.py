"""The script that measures how sure "anna is there, but not so" is, on scores that are known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel
from test_query_scripts import script

from mmi_tvr.errors import UsageError
from mmi_tvr.types import Embeddings, Query
from mmi_tvr.utils.progress import Silent

NAMES = ("red", "green", "blue", "white")


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_people")


def test_what_is_lost_and_what_is_rejected_rightly(measure: ModuleType) -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.1, 0.2, 0.4], [0.3, 0.2, 0.9]])
    queries = measure.NamedQueries(["a", "b", "c", "d"], np.eye(4), [0, 1, 2, 2], scores)
    law = ClippedScore()
    outcomes = measure.rejections(queries, [0, 1], lambda text: law, 0.25)
    assert outcomes == {True: [(0, False)], False: [(2, True), (2, False)]}  # "b" is about a video that comes second
    assert measure.rejections(queries, [1, 2], lambda text: law, 0.5)[True] == [(1, True), (2, True), (2, False)]


def test_shares_have_as_many_trials_as_videos(measure: ModuleType) -> None:
    cell = measure.Rejections([4, 4, 5, 5], [True, False, True, False]).cell()
    assert cell == "50.0 [9.5, 90.5], n = 2"


def test_a_table_of_all_sizes(measure: ModuleType) -> None:
    model = FakeModel()
    vectors = model.embed_queries([Query(name) for name in NAMES])
    embeddings = [Embeddings(vector, vector[None], np.array([[0.0, 1.0, 0.5]])) for vector in vectors]
    captions = [(name, row) for row, name in enumerate(NAMES)]
    header, _, one, three = measure.measured(model, embeddings, captions, [1, 3], 8, Silent())
    assert header.count("lost by the law of") == header.count("told by the law of") == 2
    assert one.startswith("| 1 ")
    assert three.count("n = ") == 4
    with pytest.raises(UsageError, match="--sizes 4: of 4 videos, one at least has to be without anna"):
        measure.measured(model, embeddings, captions, [1, 4], 1, Silent())
