"""One worker: claims shards of a folder until all are finished. The same for every engine.

An item has two tries. The first is together with others (`Task.together`), the second alone, so that an item which
kills its worker takes no other with it. Noted on disk before each try, an item is quarantined after the second, with
its reason. A try that is interrupted from outside (Ctrl-C, SIGTERM) does not count.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import MmiTvrError
from . import stopping
from .folder import TRIES, Folder, Journal, Outcome
from .inputs import Item
from .leases import BEAT, STALE, Lease, LeaseLost, Leases

Out = TypeVar("Out")

_POLL = 1.0  # seconds between two looks at shards that others hold


class Task(Protocol):
    """What is done with items."""

    together: int  # items that are tried together

    def begin(self) -> Mapping[str, str]:
        """Load what is needed; returns the names and fingerprints that all results depend on."""
        ...

    def run(self, items: Mapping[int, Item], place: Path) -> Iterator[dict[int, Outcome]]:
        """Outcomes, a batch at a time, durable in `place` when they are yielded; {"reason": ...} of a failed item.

        Raises MmiTvrError or OSError where nothing at all can be done; any other error is blamed on the items.
        """
        ...

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], place: Path
    ) -> Mapping[int, Outcome]:
        """Write the files of a shard, whole; the same again where a kill came in between. Returns what is noted of
        each item."""
        ...

    def finish(self) -> None:
        """Every shard is there: write what is made of all. Called by several workers, one after the other."""
        ...


class WorkerFailed(MmiTvrError):
    """An unexpected error while items were worked on. It is noted; whoever started this worker starts another."""


class Worker:
    """Works on a folder. `claims` are tuned by tests only."""

    def __init__(self, folder: Folder, task: Task, beat: float = BEAT, stale: float = STALE) -> None:
        self.folder, self.task = folder, task
        self._leases = Leases(folder.path / "leases", beat, stale)
        self._ready = False

    def run(self, share: float = 0.0) -> None:
        """Until every shard is finished, by this or another worker; begins at a share (0..1) of the open ones."""
        while shards := self.folder.open_shards():
            first = int(share * len(shards))
            worked = [self._attempt(shard) for shard in (*shards[first:], *shards[:first])]
            if not any(worked):
                _interruptible(lambda: time.sleep(_POLL))
        self.finish()

    def shard(self, shard: str) -> None:
        """One shard, until it is finished by this or another worker."""
        while not self.folder.is_done(shard):
            if not self._attempt(shard):
                _interruptible(lambda: time.sleep(_POLL))

    def finish(self) -> None:
        """What is made of all shards together."""
        self.folder.settle()
        self.folder.tidy()
        with self.folder.lock():
            self.task.finish()

    def _attempt(self, shard: str) -> bool:
        """Work on a shard if nobody else does; whether it was ours."""
        if self.folder.is_done(shard):
            return True
        self._begin()
        lease = self._leases.claim(shard)
        if lease is None:
            return False
        try:
            with lease:
                if not self.folder.is_done(shard):
                    self._work(shard, lease)
        except LeaseLost:
            return False
        return True

    def _begin(self) -> None:
        if not self._ready:
            self.folder.bind(_interruptible(self.task.begin))
            self._ready = True

    def _work(self, shard: str, lease: Lease) -> None:
        items, place = self.folder.items(shard), self.folder.work(shard)
        place.mkdir(parents=True, exist_ok=True)
        journal = Journal(place / "journal.jsonl")
        try:
            while numbers := _next(items, journal, self.task.together):
                self._try({number: items[number] for number in numbers}, place, journal, lease)
            outcomes = {number: _outcome(number, journal) for number in items}
            lease.check()
            noted = self.task.publish(shard, items, outcomes, place)
            lease.check()
            self.folder.publish(shard, items, noted)
        except FileNotFoundError:
            lease.check()  # another worker has finished the shard and cleared its place
            raise
        shutil.rmtree(place, ignore_errors=True)

    def _try(self, items: Mapping[int, Item], place: Path, journal: Journal, lease: Lease) -> None:
        left = dict.fromkeys(items)
        try:
            journal.begin(items)
            batches = iter(self.task.run(items, place))
            while (outcomes := _interruptible(lambda: next(batches, None))) is not None:
                lease.check()
                good = {number: outcome for number, outcome in outcomes.items() if "reason" not in outcome}
                bad = {number: outcome["reason"] for number, outcome in outcomes.items() if "reason" in outcome}
                if good:
                    journal.finish(good)
                if bad:
                    journal.fail(bad)
                for number in outcomes:
                    del left[number]
        except LeaseLost:
            raise
        except (MmiTvrError, OSError, KeyboardInterrupt, SystemExit):
            with suppress(OSError):  # a full disk, for one: then the try counts
                journal.withdraw(left)
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            journal.fail(dict.fromkeys(left, reason))
            raise WorkerFailed(f"{_named(items)}: {reason}") from error


def _next(items: Mapping[int, Item], journal: Journal, together: int) -> Sequence[int]:
    """What to try next: the untried together, then one of those that failed; empty at the end."""
    left = [number for number in items if number not in journal.outcomes]
    fresh = [number for number in left if not journal.tries.get(number)]
    return fresh[:together] or [number for number in left if journal.tries[number] < TRIES][:1]


def _interruptible(work: Callable[[], Out]) -> Out:
    with stopping.allowed():
        return work()


def _outcome(number: int, journal: Journal) -> Outcome:
    """What the journal says at the end: a result, or why there is none."""
    if number in journal.outcomes:
        return journal.outcomes[number]
    return {"reason": journal.reasons[number], "tries": journal.tries[number]}


def _named(items: Mapping[int, Item]) -> str:
    names = [str(item["id"]) for item in items.values()]
    return names[0] if len(names) == 1 else f"{len(names)} items from {names[0]}"
