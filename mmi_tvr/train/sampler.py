"""Which samples train together.

Random negatives never ask what twins ask: a model that has never seen "A, then B" beside "B, then A" in one batch has
no reason to look at order. So twins (`groups` of a data set: samples that differ in one thing) share a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError


@dataclass
class TwinSampler:
    """Batches of sample numbers, with the members of a group side by side in one batch (`feed.Sampler`).

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
            raise UsageError(f"rank {self.rank} does not exist among {self.world} processes")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise UsageError(f"a batch of {self.batch_size} cannot be shared equally by {self.world} processes")
        if not len(self):
            raise UsageError(f"{self._total()} samples do not fill one batch of {self.batch_size}")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._total() // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Which epoch iterating goes through, as torch's samplers have it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return self.batches(self.epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """This process's part of each batch of an epoch, from batch number `start` on (to resume)."""
        line = self._line(epoch)
        part = self.batch_size // self.world
        for number in range(start, len(self)):
            first = number * self.batch_size + self.rank * part
            yield line[first : first + part]

    def _line(self, epoch: int) -> list[int]:
        """All samples in a row: cut at every multiple of the batch size, it leaves groups whole as far as possible."""
        line: list[int] = []
        waiting: deque[Sequence[int]] = deque()  # groups that did not fit behind those before them
        for number in self._shuffled(epoch):
            waiting.append(self.groups[number])
            self._place(line, waiting)
        while waiting:
            self._cut(line, waiting)
            self._place(line, waiting)
        return line

    def _place(self, line: list[int], waiting: deque[Sequence[int]]) -> None:
        """Move the groups that fit into the open batch, those that wait longest first."""
        while waiting:
            fitting = [group for group in waiting if len(group) <= self._room(line)]
            if fitting:
                waiting.remove(fitting[0])
                line += fitting[0]
            elif sum(map(len, waiting)) >= self.batch_size:  # nothing small is in sight
                self._cut(line, waiting)
            else:
                return

    def _cut(self, line: list[int], waiting: deque[Sequence[int]]) -> None:
        """Fill the open batch with a part of the group that waits longest."""
        group, room = waiting.popleft(), self._room(line)
        line += group[:room]
        if len(group) > room:
            waiting.appendleft(group[room:])

    def _room(self, line: list[int]) -> int:
        return self.batch_size - len(line) % self.batch_size

    def _shuffled(self, epoch: int) -> list[int]:
        """The groups in random order, from raw bits: the one stream that numpy promises never to change (NEP 19)."""
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, epoch])).random_raw(len(self.groups))
        return [int(number) for number in np.argsort(bits, kind="stable")]

    def _total(self) -> int:
        return sum(map(len, self.groups))
