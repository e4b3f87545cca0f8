"""The script that measures other wordings, on videos of which a model sees the colour alone."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from fakes import FakeModel
from test_query_scripts import script

from mmi_tvr.errors import UsageError
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, Query

SEEN = ("red", "green", "blue")


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_wordings")


def test_wordings_are_of_the_same_video_or_of_one_that_is_no_twin(measure: ModuleType) -> None:
    captions = [(*(f"{video}{number}" for number in range(5)), f"甲{video}", f"乙{video}") for video in "abcd"]
    right, wrong, chinese = measure.reworded(captions)
    assert (right.name, right.title) == ("English captions", "3 paraphrases and Chinese")
    assert right.queries == wrong.queries == ["a0", "b0", "c0", "d0"]
    assert right.wordings[1] == ["b1", "b2", "b3", "甲b"]
    assert wrong.wordings == [["c1"], ["d1"], ["a1"], ["b1"]]
    assert (chinese.queries[3], chinese.wordings[3]) == ("甲d", ["d0"])
    with pytest.raises(UsageError, match="--limit 3: at least 4"):
        measure.reworded(captions[:3])


def test_the_share_of_the_query_decides_what_a_wrong_wording_costs(measure: ModuleType) -> None:
    model = FakeModel()
    vectors = model.embed_queries([Query(colour) for colour in SEEN])
    gallery = Gallery.pack([Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors])
    others = [[colour] for colour in (*SEEN[1:], SEEN[0])]
    wrong = measure.RewordedQueries("English captions", "others", SEEN, others)
    results = measure.trials(model, gallery, [wrong], (0.25, 0.7))
    assert {name: trial.ranks.tolist() for name, trial in results.items()} == {
        "English captions": [1, 1, 1],
        "English captions, with others, share 0.25": [2, 2, 2],
        "English captions, with others, share 0.7": [1, 1, 1],
    }
    assert {trial.baseline for trial in results.values()} == {None, "English captions"}
