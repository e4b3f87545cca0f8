"""A torch Dataset as batches in a fixed order (`protocol.EpochDataLoader`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from .protocol import Batch


class EpochSampler(Protocol):
    """Lists the items of each of this process's batches. Its order depends on its seed and the epoch alone."""

    def set_epoch(self, epoch: int) -> None: ...

    def __iter__(self) -> Iterator[Sequence[int]]: ...


class DatasetLoader:
    """Batches of `dataset[i]` for the i of each of the sampler's batches, put together by `collate`.

    Items that draw random numbers must draw them from (seed, epoch, i): worker processes start with every epoch and
    with every resumed run, so a generator's state in a worker is not part of a checkpoint.

    Args:
        dataset: a torch Dataset of items.
        sampler: lists the items of each batch.
        collate: items -> a batch.
        workers: processes that load items (0: this one loads them).
    """

    def __init__(
        self, dataset: Any, sampler: EpochSampler, collate: Callable[[list[Any]], Batch], workers: int = 0
    ) -> None:
        self._dataset, self._sampler, self._collate, self._workers = dataset, sampler, collate, workers

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`, which are not loaded."""
        self._sampler.set_epoch(number)
        batches: Iterable[Sequence[int]] = list(self._sampler)[skip:]
        generator = torch.Generator().manual_seed(number)  # else the loader would draw from the run's own generator
        yield from DataLoader(
            self._dataset,
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=self._collate,
            num_workers=self._workers,
            generator=generator,
            pin_memory=torch.cuda.is_available(),
        )
