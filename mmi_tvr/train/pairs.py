"""Captions and cached features as batches, twins together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..types import Features, Sample
from ..utils import distributed
from .protocol import Batch
from .sampler import TwinSampler
from .skeletons import SkeletonPairs


class Packer(Protocol):
    """What a model makes of texts and features, so that its network can read them (`models.mmi.Mmi.batch`)."""

    def batch(
        self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]
    ) -> Mapping[str, Any]: ...


class PairBatches:
    """Batches of (caption, video): every video once an epoch, with one of its captions (decision).

    kept: numbers of the samples that take part. groups: twins among all samples (`MovingShapes.groups`); None: no two
    are. The captions drawn hang on seed, epoch, batch and process alone. skeletons: pairs for L_s, drawn apart from
    these, as many in a batch as there are videos.
    """

    def __init__(
        self,
        model: Packer,
        samples: Sequence[Sample],
        features: Sequence[Features],
        kept: Sequence[int],
        groups: Sequence[Sequence[int]] | None,
        *,
        batch: int,
        seed: int,
        skeletons: SkeletonPairs | None = None,
    ) -> None:
        self._model, self._samples, self._features, self._seed = model, samples, features, seed
        self._skeletons = skeletons
        here = set(kept)
        together = [[each for each in group if each in here] for group in groups or [(number,) for number in kept]]
        self._sampler = TwinSampler(
            [group for group in together if group], batch, seed, distributed.rank(), distributed.world()
        )

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """This process's batches of one epoch, without the first `skip`, which are not loaded."""
        for at, rows in enumerate(self._sampler.batches(number, skip), skip):
            dice = np.random.default_rng([self._seed, number, at, distributed.rank()])
            chosen = [self._samples[row] for row in rows]
            texts = [sample.captions[int(dice.integers(len(sample.captions)))] for sample in chosen]
            made = self._model.batch(texts, [self._features[row] for row in rows], rows)
            judged = {"skeletons": self._skeletons.draw(len(rows), dice)} if self._skeletons else {}
            yield {"ids": [sample.id for sample in chosen], **made, **judged}
