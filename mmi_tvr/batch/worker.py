"""One worker: claims shards of a folder until all are finished. The same for every engine.

An item has two tries. The first is together with others (`Task.batch_size`), the second alone, so that an item which
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
from ..utils.wording import counted
from .folder import BatchFolder
from .inputs import Item
from .journal import TRIES, Journal, Outcome
from .leases import HEARTBEAT_SECONDS, STALE_SECONDS, Lease, LeaseLost, Leases
from .stopping import interruptible

Result = TypeVar("Result")

_POLL_SECONDS = 1.0  # between two looks at shards that others hold


class Task(Protocol):
    """What is done with items."""

    batch_size: int  # items that are tried together

    def begin(self) -> Mapping[str, str]:
        """Load what is needed; returns the names and fingerprints that all results depend on."""
        ...

    def run(self, items: Mapping[int, Item], workdir: Path) -> Iterator[dict[int, Outcome]]:
        """Yield outcomes, a batch at a time, durable in `workdir` by then; {"reason": ...} of a failed item.

        Raises MmiTvrError or OSError where nothing at all can be done; any other error is blamed on the items.
        """
        ...

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], workdir: Path
    ) -> Mapping[int, Outcome]:
        """Write the files of a shard, whole; the same again where a kill came in between.

        Args:
            shard: its name.
            items: its items by their number in the whole list.
            outcomes: what became of each.
            workdir: where `run` left what it made.
        Returns:
            What is noted of each item in `done/`.
        """
        ...

    def finish(self) -> None:
        """Write what is made of all shards, when all are finished. Several workers call this, one after the other."""
        ...


class WorkerFailed(MmiTvrError):
    """An unexpected error while items were worked on. It is noted; whoever started this worker starts another."""


class Worker:
    """Works on a folder. heartbeat, stale_after: seconds (`leases`), which only tests change."""

    def __init__(
        self,
        folder: BatchFolder,
        task: Task,
        heartbeat: float = HEARTBEAT_SECONDS,
        stale_after: float = STALE_SECONDS,
    ) -> None:
        self.folder, self.task = folder, task
        self._leases = Leases(folder.path / "leases", heartbeat, stale_after)
        self._ready = False

    def run(self, start: float = 0.0) -> None:
        """Work until every shard is finished, by this or another worker. start: share (0..1) of the open shards to
        begin behind, so that several workers seldom want the same one."""
        while shards := self.folder.open_shards():
            first = int(start * len(shards))
            attempts = [self._attempt(shard) for shard in (*shards[first:], *shards[:first])]
            if not any(attempts):
                _interruptible(lambda: time.sleep(_POLL_SECONDS))
        self.finish()

    def run_shard(self, shard: str) -> None:
        """Work until one shard is finished, by this or another worker."""
        while not self.folder.is_finished(shard):
            if not self._attempt(shard):
                _interruptible(lambda: time.sleep(_POLL_SECONDS))

    def finish(self) -> None:
        """Write what is made of all shards together."""
        self.folder.update_tallies()
        self.folder.remove_leftovers()
        with self.folder.lock():
            self.task.finish()

    def _attempt(self, shard: str) -> bool:
        """Work on a shard unless another worker does; returns whether the shard is finished."""
        if self.folder.is_finished(shard):
            return True
        self._begin()
        lease = self._leases.claim(shard)
        if lease is None:
            return False
        try:
            with lease:
                if not self.folder.is_finished(shard):
                    self._work(shard, lease)
        except LeaseLost:
            return False
        return True

    def _begin(self) -> None:
        if not self._ready:
            self.folder.bind(_interruptible(self.task.begin))
            self._ready = True

    def _work(self, shard: str, lease: Lease) -> None:
        """Try the items of a shard until each has an outcome, and publish them."""
        items, workdir = self.folder.items(shard), self.folder.workdir(shard)
        workdir.mkdir(parents=True, exist_ok=True)
        journal = Journal(workdir / "journal.jsonl")
        try:
            while numbers := _next_try(items, journal, self.task.batch_size):
                self._try({number: items[number] for number in numbers}, workdir, journal, lease)
            outcomes = {number: _final_outcome(number, journal) for number in items}
            lease.check()
            records = self.task.publish(shard, items, outcomes, workdir)
            lease.check()
            self.folder.publish(shard, items, records)
        except FileNotFoundError:
            lease.check()  # another worker has finished the shard and cleared its place
            raise
        shutil.rmtree(workdir, ignore_errors=True)

    def _try(self, items: Mapping[int, Item], workdir: Path, journal: Journal, lease: Lease) -> None:
        """Run the task on items, with everything noted in the journal before and after."""
        unfinished = dict.fromkeys(items)
        try:
            journal.begin(items)
            batches = iter(self.task.run(items, workdir))
            while (outcomes := _interruptible(lambda: next(batches, None))) is not None:
                lease.check()
                _note(outcomes, journal)
                for number in outcomes:
                    del unfinished[number]
        except LeaseLost:
            raise
        except (MmiTvrError, OSError, KeyboardInterrupt, SystemExit):
            with suppress(OSError):  # a full disk, for one: then the try counts
                journal.withdraw(unfinished)
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            journal.fail(dict.fromkeys(unfinished, reason))
            raise WorkerFailed(f"{_spelled(items)}: {reason}") from error


def _note(outcomes: Mapping[int, Outcome], journal: Journal) -> None:
    succeeded = {number: outcome for number, outcome in outcomes.items() if "reason" not in outcome}
    failed = {number: outcome["reason"] for number, outcome in outcomes.items() if "reason" in outcome}
    if succeeded:
        journal.finish(succeeded)
    if failed:
        journal.fail(failed)


def _next_try(items: Mapping[int, Item], journal: Journal, batch_size: int) -> Sequence[int]:
    """Return what to try next: the untried together, then one of those that failed; empty at the end."""
    unfinished = [number for number in items if number not in journal.outcomes]
    untried = [number for number in unfinished if not journal.tries.get(number)]
    if untried:
        return untried[:batch_size]
    return [number for number in unfinished if journal.tries[number] < TRIES][:1]


def _interruptible(work: Callable[[], Result]) -> Result:
    with interruptible():
        return work()


def _final_outcome(number: int, journal: Journal) -> Outcome:
    """Return an item's result, or why there is none."""
    if number in journal.outcomes:
        return journal.outcomes[number]
    return {"reason": journal.reasons[number], "tries": journal.tries[number]}


def _spelled(items: Mapping[int, Item]) -> str:
    names = [str(item["id"]) for item in items.values()]
    return names[0] if len(names) == 1 else f"{counted(len(names), 'item')} from {names[0]}"
