"""The loop of a watcher: what has changed, whether work may go on now, and one job at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
class _Run:
    """A job that is under way."""

    job: Job
    begun: float
    cpu_seconds: float = 0.0
    stage: str = ""
    done: int = 0
    total: int = 0
    stopped: Objection | None = None
    stopped_at: float = 0.0


@dataclass(slots=True)
class Watcher:
    """Follows folders. `step` does what is to be done now and says when the next one is due.

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
    runs: int = field(default=0, init=False)  # that were done to their end
    failures: int = field(default=0, init=False)
    last_problem: str | None = field(default=None, init=False)
    _run: _Run | None = field(default=None, init=False)
    _state: State | None = field(default=None, init=False)
    _reason: str | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)
    _last_run: Mapping[str, Any] | None = field(default=None, init=False)
    _next_check: float = field(default=float("-inf"), init=False)
    _next_rescan: float = field(default=float("-inf"), init=False)
    _not_before: float = field(default=float("-inf"), init=False)
    _worker_since: float | None = field(default=None, init=False)
    _status_at: float = field(default=float("-inf"), init=False)

    @property
    def waits_for(self) -> str | None:
        """Return why what is to be done has to wait; None where nothing waits."""
        return self._reason if self._state == "waiting" else None

    @property
    def is_up_to_date(self) -> bool:
        """Return whether nothing is left to be done: no job, no folder that is due or not quiet yet."""
        return self._run is None and self.changes.next_due(self.monotonic()) is None

    def step(self) -> float:
        """Do what is to be done now, and return in how many seconds the next step is due at the latest."""
        now = self.monotonic()
        if now >= self._next_check:
            self.folders.check()
            self._next_check = now + CHECK_SECONDS
        if now >= self._next_rescan:
            self.changes.note_all(self.folders.present())
            self._next_rescan = now + self._rescan_seconds()
        for reply in self.worker.replies():
            self._take(reply, now)
        used = self.worker.cpu_seconds()
        self.ledger.add(used)
        if self._run is not None:
            self._run.cpu_seconds += used
            return self._step_of_run(self._run, now)
        return self._step_without_run(now)

    def close(self, wait: Callable[[float], bool], seconds: float) -> None:
        """End: have the worker stop, kill it where `wait` says that it did not end in so many seconds, and count."""
        self.worker.stop()
        if not wait(seconds):
            self.worker.kill()
        self.ledger.add(self.worker.cpu_seconds())
        self.ledger.save()

    # A run

    def _step_of_run(self, run: _Run, now: float) -> float:
        """Stop a run that may not go on, and end it where it does not stop."""
        if run.stopped is None:
            run.stopped = first_objection(self.conditions)
            if run.stopped is not None:
                run.stopped_at = now
                self.worker.stop()
                self._enter("waiting", run.stopped.reason)
        elif run.stopped.urgent and now - run.stopped_at >= _GRACE_SECONDS:
            self.worker.kill()
            self._end_run(run, run.stopped.reason)
        if now - self._status_at >= _STATUS_SECONDS:
            self._publish()
        return STEP_SECONDS

    def _start(self, now: float) -> None:
        folders = tuple(self.changes.take(now))
        job = Job(self.library, folders, self.options.settle, self.settings)
        try:
            self.worker.start(job)
        except MmiTvrError as error:
            self.changes.note_all(folders)
            self._fail(str(error), now)
            return
        self._run, self._worker_since = _Run(job, now), now
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
            self.audience.begin(run.stage, run.total)
        elif "advance" in reply:
            run.done += reply["advance"]
            self.audience.advance(reply["advance"])
        elif "say" in reply:
            self.audience.say(reply["say"])
        elif "report" in reply:
            self._finish(run, reply["report"], now)
        elif "busy" in reply:
            self._end_run(run, reply["busy"])  # it came before us
            self._not_before = now + _BUSY_SECONDS
        elif "error" in reply:
            self._end_run(run, reply["error"])
            self._fail(reply["error"], now)
        elif "ended" in reply:
            problem = reply["ended"]
            self._end_run(run, run.stopped.reason if run.stopped else f"the indexing process ended: {problem}")
            if run.stopped is None:
                self._fail(f"the indexing process ended: {problem or 'without a reason'}", now)

    def _finish(self, run: _Run, report: Mapping[str, Any], now: float) -> None:
        """Take the report of a run that is done."""
        run.cpu_seconds += self._count_cpu()
        self._run = None
        self.runs, self.failures, self.last_problem = self.runs + 1, 0, None
        self._last_run = {"at": stamp(self.now()), "cpu_seconds": round(run.cpu_seconds, 2), **report}
        for path in report.get("unsettled", ()):
            for folder in run.job.folders:
                if Path(path).is_relative_to(folder):
                    self.changes.note(folder, path, now)
        pause = min(self.options.rescan, _SCAN_SHARE * report["seconds"] if not report["embedded"] else 0.0)
        self._not_before = now + pause
        self._next_rescan = max(self._next_rescan, now + pause)
        self.audience.report(report, run.cpu_seconds)
        self._worker_since = now
        self._publish()

    def _end_run(self, run: _Run, reason: str) -> None:
        """Take that a run ended before it was done: its folders are still to be looked at."""
        run.cpu_seconds += self._count_cpu()
        self._run = None
        self.changes.note_all(run.job.folders)
        self.audience.end_run(reason)

    def _fail(self, problem: str, now: float) -> None:
        """Take that something went wrong, and wait longer each time."""
        first, most = _FAILED_SECONDS
        self._not_before = now + min(most, first * 2**self.failures)
        self.failures += 1
        if problem != self.last_problem:
            self.audience.say(problem)
        self.last_problem = problem

    def _count_cpu(self) -> float:
        used = self.worker.cpu_seconds()
        self.ledger.add(used)
        return used

    # Without a run

    def _step_without_run(self, now: float) -> float:
        if self._worker_since is not None and now - self._worker_since >= _IDLE_WORKER_SECONDS:
            self.worker.stop()
            self._worker_since = None
        if not self.changes.is_due(now):
            self._enter("watching", None)
            return self._seconds_to_next(now)
        if now < self._not_before:
            if self.last_problem is not None:
                self._enter("waiting", self.last_problem)
            return min(WAIT_SECONDS, self._not_before - now)
        objection = first_objection(self.conditions)
        reason = self.writer() if objection is None else objection.reason
        if reason is not None:
            self._enter("waiting", reason)
            return WAIT_SECONDS
        self._start(now)
        return STEP_SECONDS

    def _seconds_to_next(self, now: float) -> float:
        """Return when something will be to do, if nothing happens until then."""
        next_due = self.changes.next_due(now)
        times = [self._next_check - now, self._next_rescan - now]
        if next_due is not None:
            times.append(next_due)
        return max(0.05, min(times))

    def _rescan_seconds(self) -> float:
        """Return the time to the next rescan; without events, it is all there is."""
        return min(self.options.rescan, 60.0) if self.folders.only_rescans else self.options.rescan

    # What others see

    def _enter(self, state: State, reason: str | None) -> None:
        if state == self._state and _kind(reason) == _kind(self._reason):
            return
        self._state, self._reason, self._since = state, reason, self.now()
        self.audience.state(state, reason)
        self._publish()

    def _publish(self) -> None:
        """Write what other processes may read."""
        self._status_at = self.monotonic()
        run = self._run
        self.write_status(
            {
                "state": self._state,
                "reason": self._reason,
                "since": stamp(self._since),
                "folders": [{"path": str(path), "by": how} for path, how in self.folders.states().items()],
                "progress": None if run is None else {"stage": run.stage, "done": run.done, "total": run.total},
                "last_run": self._last_run,
                "idle_by": self.idle_source(),
                "budget": {"hour": self.options.budget_hour, "day": self.options.budget_day},
            }
        )


def _kind(reason: str | None) -> str | None:
    """Return a reason without its numbers, which change all the time."""
    return None if reason is None else "".join(letter for letter in reason if not (letter.isdigit() or letter in ",."))
