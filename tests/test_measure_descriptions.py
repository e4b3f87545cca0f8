"""The script that measures descriptions, on videos that look alike and are described by their colours."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel
from numpy.typing import NDArray
from test_query_scripts import script

from mmi_tvr.types import Embeddings, Query

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_descriptions")


class ListeningModel(FakeModel):
    """Remembers what it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        self.texts += [query.text for query in queries]
        return super().embed_queries(queries)


def ranks(
    measure: ModuleType, model: FakeModel, texts: tuple[str, ...], weights: tuple[float, ...]
) -> dict[str, list[int]]:
    [black] = model.embed_queries([Query("black")])
    alike = [Embeddings(black, black[None], np.array([[0.0, 1.0, 0.5]])) for _ in texts]
    results = measure.trials(model, alike, texts, COLOURS, weights)
    assert all((trial.baseline is None) == (name == measure.ALONE) for name, trial in results.items())
    return {name: trial.ranks.tolist() for name, trial in results.items()}


def test_videos_are_told_apart_by_what_they_are_described_as(measure: ModuleType) -> None:
    assert ranks(measure, FakeModel(), COLOURS, (0.1, 0.3)) == {
        "pictures alone": [1, 2, 2, 2],  # the first of equals
        "with descriptions, weight 0.1": [1, 1, 1, 1],
        "with descriptions, weight 0.3": [1, 1, 1, 1],
        "with descriptions of every second video, weight 0.3": [1, 2, 1, 2],
    }


def test_a_video_that_answered_nothing_is_not_described(measure: ModuleType) -> None:
    model = ListeningModel()
    results = ranks(measure, model, ("red", "", "blue", ""), (0.3,))
    assert results["with descriptions, weight 0.3"] == [1, 2, 1, 2]
    assert "blue" in model.texts
    assert "" not in model.texts
