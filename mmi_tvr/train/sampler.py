"""Which samples train together.

Random negatives do not ask what twins ask: a model that has never seen "A, then B" beside "B, then A" in one batch has
no reason to look at order. So twins (`groups` of a data set: samples that differ in one thing) share a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..utils.wording import counted


@dataclass
class TwinSampler:
    """Batches of sample numbers, with the members of a group side by side in one batch (`dataloader.EpochSampler`).

    groups: every sample's number once, twins together (`MovingShapes.groups`); groups of one are fine.
    batch_size: of all processes together. Each of the `world` processes gets an equal part, this one that of `rank`.
    seed: with the epoch's number, it fixes the order on every machine.

    Every epoch has `len(self)` batches, all of them full; what is left over (less than a batch) differs from epoch to
    epoch. Where sizes leave no other way, a group is cut, at most one for each batch.
    """

    groups: Sequence[Sequence[int]]
    batch_size: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise UsageError(f"rank {self.rank} does not exist among {counted(self.world, 'process', 'processes')}")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise UsageError(
                f"a batch of {self.batch_size} cannot be shared equally by "
                f"{counted(self.world, 'process', 'processes')}"
            )
        if len(self) == 0:
            raise UsageError(f"{counted(self._sample_count(), 'sample')}: too few for one batch of {self.batch_size}")

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._sample_count() // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set which epoch iterating goes through, as torch's samplers have it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return self.batches(self.epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """Yield this process's part of each batch of an epoch, from batch number `start` on (to resume)."""
        samples = self._order(epoch)
        part = self.batch_size // self.world
        for number in range(start, len(self)):
            first = number * self.batch_size + self.rank * part
            yield samples[first : first + part]

    def _order(self, epoch: int) -> list[int]:
        """Return all samples in a row that, cut at every multiple of the batch size, leaves groups whole as far as
        possible."""
        placed: list[int] = []
        waiting: deque[Sequence[int]] = deque()  # groups that did not fit into the batch that was open
        for number in self._shuffled(epoch):
            waiting.append(self.groups[number])
            self._place(placed, waiting)
        while waiting:
            self._place_part(placed, waiting)
            self._place(placed, waiting)
        return placed

    def _place(self, placed: list[int], waiting: deque[Sequence[int]]) -> None:
        """Move the groups that fit into the open batch, those that wait longest first."""
        while waiting:
            fitting = [group for group in waiting if len(group) <= self._room(placed)]
            if fitting:
                waiting.remove(fitting[0])
                placed += fitting[0]
            elif sum(map(len, waiting)) >= self.batch_size:  # no small group came for a whole batch
                self._place_part(placed, waiting)
            else:
                return

    def _place_part(self, placed: list[int], waiting: deque[Sequence[int]]) -> None:
        """Fill the open batch with a part of the group that waits longest."""
        group, room = waiting.popleft(), self._room(placed)
        placed += group[:room]
        if len(group) > room:
            waiting.appendleft(group[room:])

    def _room(self, placed: list[int]) -> int:
        """Return how many samples the open batch still takes, 1 to `batch_size`."""
        return self.batch_size - len(placed) % self.batch_size

    def _shuffled(self, epoch: int) -> list[int]:
        """Return the groups in random order, from raw bits: the one stream that numpy promises never to change
        (NEP 19)."""
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, epoch])).random_raw(len(self.groups))
        return [int(number) for number in np.argsort(bits, kind="stable")]

    def _sample_count(self) -> int:
        return sum(map(len, self.groups))
