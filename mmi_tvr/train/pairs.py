"""Captions and cached features as batches, twins together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..types import Features, Sample
from ..utils import distributed
from .protocol import Batch, BatchModel
from .sampler import TwinSampler
from .skeletons import SkeletonPairs


class PairBatches:
    """Batches of (caption, video): every video once an epoch, with one of its captions (decision).

    The captions drawn hang on seed, epoch, batch and process alone.

    Args:
        model: makes the network's input.
        samples: the whole data set.
        features: of every sample, by its number.
        usable: numbers of the samples that take part.
        groups: twins among all samples (`MovingShapes.groups`); None: no two are.
        batch: pairs of all processes together.
        seed: of order and captions.
        skeletons: pairs for L_s, drawn apart from these, as many in a batch as there are videos.
    """

    def __init__(
        self,
        model: BatchModel,
        samples: Sequence[Sample],
        features: Sequence[Features],
        usable: Sequence[int],
        groups: Sequence[Sequence[int]] | None,
        *,
        batch: int,
        seed: int,
        skeletons: SkeletonPairs | None = None,
    ) -> None:
        self._model, self._samples, self._features, self._seed = model, samples, features, seed
        self._skeletons = skeletons
        usable_groups = _usable_groups(usable, groups)
        self._sampler = TwinSampler(usable_groups, batch, seed, distributed.rank(), distributed.world_size())

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`, which are not loaded."""
        for batch_number, rows in enumerate(self._sampler.batches(number, skip), skip):
            dice = np.random.default_rng([self._seed, number, batch_number, distributed.rank()])
            samples = [self._samples[row] for row in rows]
            captions = [sample.captions[int(dice.integers(len(sample.captions)))] for sample in samples]
            batch: dict[str, Any] = {"ids": [sample.id for sample in samples]}
            batch |= self._model.batch(captions, [self._features[row] for row in rows], rows)
            if self._skeletons is not None:
                batch["skeletons"] = self._skeletons.draw(len(rows), dice)
            yield batch


def _usable_groups(usable: Sequence[int], groups: Sequence[Sequence[int]] | None) -> list[list[int]]:
    """Return the groups without the samples that cannot be used; without groups, every sample is one."""
    if groups is None:
        return [[number] for number in usable]
    numbers = set(usable)
    present = [[number for number in group if number in numbers] for group in groups]
    return [group for group in present if group]
