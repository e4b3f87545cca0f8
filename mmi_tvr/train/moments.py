"""Sentences with their spans for the term `moments`, from any data set that has them (`protocols.MomentDataset`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..protocols import MomentDataset
from ..types import DescribedMoment, Features
from .protocol import BatchModel

_TRIES = 1000  # of finding a moment in a video that can be used


class MomentPairs:
    """Moments of all sets together, drawn apart from the captions of a batch, as many as there are videos in it.

    Args:
        moments: sets of sentences with their spans, by name.
        features: of every sample, by its number.
        usable: numbers of the samples that take part.
    """

    def __init__(
        self,
        moments: Mapping[str, Sequence[DescribedMoment]],
        features: Sequence[Features],
        usable: Collection[int],
    ) -> None:
        self._sets = [described for described in moments.values() if len(described)]
        self._ends = np.cumsum([len(described) for described in self._sets])
        self._features, self._usable = features, frozenset(usable)

    def draw(self, model: BatchModel, count: int, dice: np.random.Generator) -> dict[str, Any]:
        """Return so many moments as a batch: what the model makes of sentences and videos (`batch`), and in seconds
        "segments" (B, K, 3), "spans" (B, 2) and "events" (B, E, 2), NaN where a sentence has fewer."""
        drawn = [self._one(dice) for _ in range(count)]
        features = [self._features[moment.sample] for moment in drawn]
        events = [moment.events or ((moment.start, moment.end),) for moment in drawn]
        spans = torch.tensor([(moment.start, moment.end) for moment in drawn], dtype=torch.float32)
        batch = model.batch([moment.text for moment in drawn], features, [moment.sample for moment in drawn])
        return {
            **batch,
            "segments": _padded([video.segments for video in features], 0.0),
            "spans": spans,
            "events": _padded([np.array(stretches) for stretches in events], np.nan),
        }

    def _one(self, dice: np.random.Generator) -> DescribedMoment:
        """Return a moment of a video that can be used."""
        for _ in range(_TRIES):
            number = int(dice.integers(self._ends[-1]))
            chosen = int(np.searchsorted(self._ends, number, side="right"))
            moment = self._sets[chosen][number - int(self._ends[chosen])]  # counted from the set's end
            if moment.sample in self._usable:
                return moment
        raise UsageError("hardly any moment of the training data is in a video that can be used")


def moments_of(dataset: object, name: str) -> Mapping[str, Sequence[DescribedMoment]]:
    """Return the moments of a data set called `name`. UsageError where it knows none."""
    moments = dataset.moments() if isinstance(dataset, MomentDataset) else {}
    if any(len(described) for described in moments.values()):
        return moments
    raise UsageError(
        f"{name} does not say when in its videos things happen: leave the term `moments` out of the stages"
    )


def _padded(arrays: Sequence[np.ndarray[Any, Any]], padding: float) -> torch.Tensor:
    """Return arrays (n, ...) of different n side by side: (B, most, ...)."""
    most = max(len(array) for array in arrays)
    rows = np.full((len(arrays), most, *arrays[0].shape[1:]), padding, dtype=np.float32)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(rows)
