"""Captions and cached features as batches, twins together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..types import Features, Sample
from ..utils import distributed
from .labels import PairLabels
from .options import DISTILL, UNPAIRED, Captions
from .protocol import Batch, BatchModel
from .sampler import TwinSampler
from .skeletons import SkeletonPairs
from .teacher import Teacher


class PairBatches:
    """Batches of (caption, video): in an epoch every video once with one of its captions (decision), or every pair.

    The captions drawn hang on seed, epoch, batch and process alone.

    Args:
        model: makes the network's input.
        samples: the whole data set.
        features: of every sample, by its number.
        usable: numbers of the samples that take part.
        groups: twins among all samples (`MovingShapes.groups`); None: no two are.
        batch: pairs of all processes together.
        seed: of order and captions.
        captions: "one" of each video in an epoch, drawn anew each time; "all" (HANet), where the first captions of
            twins come together, then the second ones.
        skeletons: pairs for L_s, drawn apart from these, as many in a batch as there are videos.
        labels: of the pairs, as the model reads them; None: it reads none.
        unpaired: numbers of further samples, of which as many captions and videos as there are pairs come with each
            batch, drawn apart from each other.
        teacher: of captions and candidates that are drawn apart from the pairs, as many rows in a batch; None: nobody
            teaches.
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
        captions: Captions = "one",
        skeletons: SkeletonPairs | None = None,
        labels: PairLabels | None = None,
        unpaired: Sequence[int] = (),
        teacher: Teacher | None = None,
    ) -> None:
        self._model, self._samples, self._features, self._seed = model, samples, features, seed
        self._skeletons, self._labels, self._unpaired, self._teacher = skeletons, labels, unpaired, teacher
        sample_groups = usable_groups(usable, groups)
        self._pairs = None if captions == "one" else [(row, place) for row in usable for place in self._places(row)]
        if self._pairs is not None:
            sample_groups = _pair_groups(sample_groups, self._pairs)
        self._sampler = TwinSampler(sample_groups, batch, seed, distributed.rank(), distributed.world_size())

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`, which are not loaded."""
        for batch_number, numbers in enumerate(self._sampler.batches(number, skip), skip):
            dice = np.random.default_rng([self._seed, number, batch_number, distributed.rank()])
            if self._pairs is None:
                rows = numbers
                places = [int(dice.integers(len(self._samples[row].captions))) for row in rows]
            else:
                rows, places = map(list, zip(*(self._pairs[pair] for pair in numbers), strict=True))
            samples = [self._samples[row] for row in rows]
            captions = [sample.captions[place] for sample, place in zip(samples, places, strict=True)]
            batch: dict[str, Any] = {"ids": [sample.id for sample in samples]}
            batch |= self._model.batch(captions, [self._features[row] for row in rows], rows)
            if self._labels is not None:
                batch["labels"] = self._labels.batch(rows, places)
            if self._skeletons is not None:
                batch["skeletons"] = self._skeletons.draw(len(rows), dice)
            if self._unpaired:
                batch[UNPAIRED] = self._drawn_apart(len(rows), dice)
            if self._teacher is not None:
                batch[DISTILL] = self._taught(self._teacher, len(rows), dice)
            yield batch

    def _drawn_apart(self, count: int, dice: np.random.Generator) -> Batch:
        """Return so many captions and as many videos of the unpaired samples."""
        of_texts, rows = (
            [self._unpaired[place] for place in dice.integers(len(self._unpaired), size=count)] for _ in range(2)
        )
        captions = [self._samples[row].captions for row in of_texts]
        texts = [choices[int(dice.integers(len(choices)))] for choices in captions]
        return self._model.batch(texts, [self._features[row] for row in rows], rows)

    def _taught(self, teacher: Teacher, count: int, dice: np.random.Generator) -> Batch:
        """Return so many rows of a caption, a candidate and the teacher's logit (`nn.distillation`)."""
        texts, rows, logits = teacher.draw(count, dice)
        return {**self._model.batch(texts, [self._features[row] for row in rows], rows), **logits}

    def _places(self, row: int) -> range:
        return range(len(self._samples[row].captions))


def usable_groups(usable: Sequence[int], groups: Sequence[Sequence[int]] | None) -> list[list[int]]:
    """Return the groups without the samples that cannot be used; without groups, every sample is one."""
    if groups is None:
        return [[number] for number in usable]
    numbers = set(usable)
    present = [[number for number in group if number in numbers] for group in groups]
    return [group for group in present if group]


def _pair_groups(groups: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the groups of samples as groups of pairs: the pairs of a group's samples with captions of one place.

    pairs: (sample, place of the caption) by number.

    >>> _pair_groups([[4, 5]], [(4, 0), (4, 1), (5, 0)])
    [[0, 2], [1]]
    """
    numbers = {pair: number for number, pair in enumerate(pairs)}
    most = max((place for _, place in pairs), default=-1) + 1
    by_place = [
        [numbers[row, place] for row in group if (row, place) in numbers] for group in groups for place in range(most)
    ]
    return [group for group in by_place if group]
