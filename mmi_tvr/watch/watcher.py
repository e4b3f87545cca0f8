"""The loop of a watcher: what has changed, whether work may go on now, and one job at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..config import WatchSection
from ..errors import MmiTvrError
from .budget import BudgetLedger
from .changes import Changes
from .conditions import Condition, Objection, first_objection
from .folders import How
from .job import IndexWorker, Job
from .status import stamp

State = Literal["watching", "waiting", "working"]
STEP_SECONDS = 1.0  # from one look to the next while a job runs: how soon it hears that somebody came back
WAIT_SECONDS = 5.0  # while something is to be done and may not be
CHECK_SECONDS = 10.0  # from one look at what is mounted to the next
_GRACE_SECONDS = 60.0  # for the file that is being worked on, before an urgent reason ends its process
_IDLE_WORKER_SECONDS = 60.0  # after so long without a job, its process ends, and with it the model in memory
_BUSY_SECONDS = 20.0  # until the next try where another process writes to the library
_FAILED_SECONDS = (60.0, 3600.0)  # until the next try after a crash or an error: first, and at most
_SCAN_SHARE = 20.0  # a run is followed by so many times its own duration without another, up to a rescan
_STATUS_SECONDS = 5.0  # from one report of progress in the status file to the next


class Folders(Protocol):
    """The folders that are watched (`folders.WatchedFolders`)."""

    @property
    def only_rescans(self) -> bool: ...

    def check(self) -> None: ...

    def states(self) -> Mapping[Path, How]: ...

    def present(self) -> Sequence[Path]: ...


class Audience(Protocol):
    """Hears what a watcher does: a terminal, a log."""

    def state(self, state: State, reason: str | None) -> None: ...

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None: ...

    def report(self, report: Mapping[str, Any], cpu_seconds: float) -> None:
        """Take the report of a run (`IndexReport.as_dict`) and what it cost."""
        ...

    def end_run(self, reason: str) -> None:
        """Take that a run ended before it was done, and why."""
        ...


@dataclass(slots=True)
class _RunningJob:
    """A job that is under way."""

    job: Job
    begun: float
    cpu_seconds: float = 0.0
    stage: str = ""
    done: int = 0
    total: int = 0
    stopped: Objection | None = None
    stopped_at: float = 0.0


@dataclass(frozen=True, slots=True)
class WatcherParts:
    """What a watcher works with.

    Args:
        library: its folder.
        options: when and how much it works.
        settings: of the library, those that were set explicitly.
        folders: that it watches.
        changes: what is noted of them.
        conditions: whether work may go on; with none, it always may.
        ledger: counts what it uses.
        worker: does the jobs.
        audience: hears what it does.
        write_status: takes what other processes may read.
        writer: who writes to the library at present, with what it does; None: nobody.
        idle_source: who says for how long nobody touched the machine; None: nobody.
        monotonic: a clock that only goes forward, that of `changes`.
        now: the time of day.
    """

    library: Path
    options: WatchSection
    settings: Mapping[str, Any]
    folders: Folders
    changes: Changes
    conditions: Sequence[Condition]
    ledger: BudgetLedger
    worker: IndexWorker
    audience: Audience
    write_status: Callable[[Mapping[str, Any]], object]
    writer: Callable[[], str | None] = lambda: None
    idle_source: Callable[[], str | None] = lambda: None
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time


class Watcher:
    """Follows folders. `step` does what is to be done now and says when the next one is due.

    `runs` counts jobs that were done to their end; `last_problem` is what went wrong since the last of them.
    """

    def __init__(self, parts: WatcherParts) -> None:
        self.runs = 0
        self.last_problem: str | None = None
        self._parts = parts
        self._failures = 0
        self._run: _RunningJob | None = None
        self._state: State | None = None
        self._reason: str | None = None
        self._since = 0.0
        self._last_run: Mapping[str, Any] | None = None
        self._next_look = self._next_check = self._next_rescan = self._not_before = float("-inf")
        self._status_at = float("-inf")
        self._worker_since: float | None = None  # since when its process has had nothing to do, if it is there

    @property
    def waits_for(self) -> str | None:
        """Return why what is to be done has to wait; None where nothing waits."""
        return self._reason if self._state == "waiting" else None

    @property
    def is_up_to_date(self) -> bool:
        """Return whether nothing is left to be done: no job, no folder that is due or not quiet yet."""
        return self._run is None and self._parts.changes.next_due(self._parts.monotonic()) is None

    def step(self) -> float:
        """Do what is to be done now, and return in how many seconds the next step is due at the latest."""
        now = self._parts.monotonic()
        if now >= self._next_check:
            self._parts.folders.check()
            self._next_check = now + CHECK_SECONDS
        if now >= self._next_rescan:
            self._parts.changes.note_all(self._parts.folders.present())
            self._next_rescan = now + self._rescan_seconds()
        for reply in self._parts.worker.replies():
            self._take(reply, now)
        if self._run is None:
            return self._step_without_run(now)
        if now >= self._next_look:  # replies come more often than that
            self._next_look = now + STEP_SECONDS
            self._run.cpu_seconds += self._count_cpu()
            self._look_at_run(self._run, now)
        return self._next_look - now

    def close(self, wait: Callable[[float], bool], seconds: float) -> None:
        """End: have the worker stop, kill it where `wait` says that it did not end in so many seconds, and count."""
        self._parts.worker.stop()
        if not wait(seconds):
            self._parts.worker.kill()
        self._parts.ledger.add(self._parts.worker.cpu_seconds())
        self._parts.ledger.save()

    # A run

    def _look_at_run(self, run: _RunningJob, now: float) -> None:
        """Stop a run that may not go on, and end it where it does not stop."""
        if run.stopped is None or not run.stopped.urgent:  # what is urgent may come behind what is not
            objection = first_objection(self._parts.conditions)
            if objection is not None and (run.stopped is None or objection.urgent):
                run.stopped, run.stopped_at = objection, now
                self._parts.worker.stop()
                self._enter("waiting", objection.reason)
        elif now - run.stopped_at >= _GRACE_SECONDS:
            self._parts.worker.kill()
            self._end_run(run, run.stopped.reason)
        if now - self._status_at >= _STATUS_SECONDS:
            self._publish()

    def _start(self, now: float) -> None:
        present = set(self._parts.folders.present())
        folders = tuple(folder for folder in self._parts.changes.take(now) if folder in present)
        if not folders:  # they went away meanwhile, and are due when they come back
            return
        job = Job(self._parts.library, folders, self._parts.options.settle, self._parts.settings)
        try:
            self._parts.worker.start(job)
        except MmiTvrError as error:
            self._parts.changes.note_all(folders)
            self._fail(str(error), now)
            return
        self._run, self._worker_since = _RunningJob(job, now), now
        self._next_look = now + STEP_SECONDS
        self._enter("working", None)

    def _take(self, reply: Mapping[str, Any], now: float) -> None:
        """Take one reply of the worker."""
        run = self._run
        if "ended" in reply:
            self._worker_since = None
        if run is None:
            return
        if "begin" in reply:
            run.stage, run.total, run.done = reply["begin"], reply["total"], 0
            self._parts.audience.begin(run.stage, run.total)
        elif "advance" in reply:
            run.done += reply["advance"]
            self._parts.audience.advance(reply["advance"])
        elif "say" in reply:
            self._parts.audience.say(reply["say"])
        elif "report" in reply:
            self._finish(run, reply["report"], now)
        elif "busy" in reply:
            self._end_run(run, reply["busy"])  # it came before us
            self._not_before = now + _BUSY_SECONDS
        elif "error" in reply:
            self._end_run(run, reply["error"])
            self._fail(reply["error"], now)
        elif "ended" in reply:
            problem = f"the indexing process ended: {reply['ended'] or 'without a reason'}"
            self._end_run(run, run.stopped.reason if run.stopped else problem)
            if run.stopped is None:
                self._fail(problem, now)

    def _finish(self, run: _RunningJob, report: Mapping[str, Any], now: float) -> None:
        """Take the report of a run that is done."""
        run.cpu_seconds += self._count_cpu()
        self._run = None
        self.runs, self._failures, self.last_problem = self.runs + 1, 0, None
        self._last_run = {"at": stamp(self._parts.now()), "cpu_seconds": round(run.cpu_seconds, 2), **report}
        for path in report.get("unsettled", ()):
            for folder in run.job.folders:
                if Path(path).is_relative_to(folder):
                    self._parts.changes.note(folder, path, now)
        pause = min(self._parts.options.rescan, _SCAN_SHARE * report["seconds"] if not report["embedded"] else 0.0)
        self._not_before = now + pause
        self._next_rescan = max(self._next_rescan, now + pause)
        self._parts.audience.report(report, run.cpu_seconds)
        self._worker_since = now
        self._publish()

    def _end_run(self, run: _RunningJob, reason: str) -> None:
        """Take that a run ended before it was done: its folders are still to be looked at."""
        run.cpu_seconds += self._count_cpu()
        self._run = None
        self._parts.changes.note_all(run.job.folders)
        self._parts.audience.end_run(reason)

    def _fail(self, problem: str, now: float) -> None:
        """Take that something went wrong, and wait longer each time."""
        first, most = _FAILED_SECONDS
        self._not_before = now + min(most, first * 2 ** min(self._failures, 10))
        self._failures += 1
        if problem != self.last_problem:
            self._parts.audience.say(problem)
        self.last_problem = problem

    def _count_cpu(self) -> float:
        used = self._parts.worker.cpu_seconds()
        self._parts.ledger.add(used)
        return used

    # Without a run

    def _step_without_run(self, now: float) -> float:
        if self._worker_since is not None and now - self._worker_since >= _IDLE_WORKER_SECONDS:
            self._parts.worker.stop()
            self._worker_since = None
        if not self._parts.changes.is_due(now):
            self._enter("watching", None)
            return self._seconds_to_next(now)
        if now < self._not_before:
            if self.last_problem is not None:
                self._enter("waiting", self.last_problem)
            return min(WAIT_SECONDS, self._not_before - now)
        objection = first_objection(self._parts.conditions)
        reason = self._parts.writer() if objection is None else objection.reason
        if reason is not None:
            self._enter("waiting", reason)
            return WAIT_SECONDS
        self._start(now)
        return STEP_SECONDS

    def _seconds_to_next(self, now: float) -> float:
        """Return when something will be to do, if nothing happens until then."""
        next_due = self._parts.changes.next_due(now)
        times = [self._next_check - now, self._next_rescan - now]
        if next_due is not None:
            times.append(next_due)
        return max(0.05, min(times))

    def _rescan_seconds(self) -> float:
        """Return the time to the next rescan; without events, it is all there is."""
        return min(self._parts.options.rescan, 60.0) if self._parts.folders.only_rescans else self._parts.options.rescan

    # What others see

    def _enter(self, state: State, reason: str | None) -> None:
        if state == self._state and _kind(reason) == _kind(self._reason):
            return
        self._state, self._reason, self._since = state, reason, self._parts.now()
        self._parts.audience.state(state, reason)
        self._publish()

    def _publish(self) -> None:
        """Write what other processes may read."""
        self._status_at = self._parts.monotonic()
        run = self._run
        self._parts.write_status(
            {
                "state": self._state,
                "reason": self._reason,
                "since": stamp(self._since),
                "folders": [{"path": str(path), "by": how} for path, how in self._parts.folders.states().items()],
                "progress": None if run is None else {"stage": run.stage, "done": run.done, "total": run.total},
                "last_run": self._last_run,
                "idle_by": self._parts.idle_source(),
                "budget": {"hour": self._parts.options.budget_hour, "day": self._parts.options.budget_day},
            }
        )


def _kind(reason: str | None) -> str | None:
    """Return a reason without its numbers, which change all the time."""
    return None if reason is None else "".join(letter for letter in reason if not (letter.isdigit() or letter in ",."))
