"""A watcher with a clock that stands still until it is moved: what it works with is faked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmi_tvr.config import WatchSection
from mmi_tvr.errors import MmiTvrError
from mmi_tvr.watch.budget import BudgetLedger
from mmi_tvr.watch.changes import Changes
from mmi_tvr.watch.conditions import Condition, Objection
from mmi_tvr.watch.folders import How
from mmi_tvr.watch.job import Job
from mmi_tvr.watch.watcher import Watcher, WatcherParts


@dataclass
class FakeWorker:
    """A worker whose files are numbers: each takes `seconds` of the clock, and as much CPU."""

    clock: Callable[[], float]
    pending: int = 0
    seconds: float = 10.0
    jobs: list[Job] = field(default_factory=list)
    runs: bool = False
    stopping: bool = False
    alive: bool = False
    hangs: bool = False
    refuses: str | None = None
    crash: str | None = None
    busy: str | None = None
    unsettled: list[str] = field(default_factory=list)
    used: float = 0.0
    at: float = 0.0
    done: int = 0
    kills: int = 0

    def start(self, job: Job) -> None:
        if self.refuses:
            raise MmiTvrError(self.refuses)
        self.jobs.append(job)
        self.runs, self.alive, self.at, self.done = True, True, self.clock(), 0

    def replies(self) -> list[Mapping[str, Any]]:
        if not self.runs:
            ended, self.stopping = self.stopping and self.alive, False
            self.alive = self.alive and not ended
            return [{"ended": ""}] if ended else []
        if self.crash is not None:
            self.runs = self.alive = False
            return [{"ended": self.crash}]
        if self.busy is not None:
            self.runs = False
            return [{"busy": self.busy}]
        replies: list[Mapping[str, Any]] = []
        while not self.hangs and self.pending and self.clock() - self.at >= self.seconds:
            self.at += self.seconds
            self.pending, self.done, self.used = self.pending - 1, self.done + 1, self.used + self.seconds
            replies.append({"advance": 1})
            if self.stopping:
                break
        if self.stopping and not self.hangs:
            self.runs = self.alive = self.stopping = False
            return [*replies, {"ended": ""}]
        if not self.pending:
            self.runs = False
            names = ("added", "changed", "moved", "copies")
            report = dict.fromkeys(names, 0) | {"removed": [], "quarantined": [], "seconds": 0.1}
            report |= {"added": self.done, "embedded": self.done, "unsettled": self.unsettled}
            replies.append({"report": report})
        return replies

    def cpu_seconds(self) -> float:
        used, self.used = self.used, 0.0
        return used

    def stop(self) -> None:
        self.stopping = True

    def kill(self) -> None:
        self.runs = self.alive = self.stopping = False
        self.kills += 1


@dataclass
class FakeFolders:
    folders: tuple[Path, ...]
    only_rescans: bool = False

    def check(self) -> None: ...

    def states(self) -> dict[Path, How]:
        return dict.fromkeys(self.folders, "events")

    def present(self) -> Sequence[Path]:
        return self.folders


@dataclass
class Log:
    """Notes what a watcher says, with the clock's time."""

    clock: Callable[[], float]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def _note(self, text: str) -> None:
        self.lines.append((self.clock(), text))

    def state(self, state: str, reason: str | None) -> None:
        self._note(f"{state}: {reason}" if reason else state)

    def begin(self, stage: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        self._note(message)

    def report(self, report: Mapping[str, Any], cpu_seconds: float) -> None:
        self._note(f"report: {report['added']} added, {cpu_seconds:.0f} s")

    def end_run(self, reason: str) -> None:
        self._note(f"ended: {reason}")

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


@dataclass
class Reason:
    """A condition that says what it is told to."""

    objecting: Objection | None = None

    def objection(self) -> Objection | None:
        return self.objecting


class World:
    """A watcher with a clock that stands still until it is moved."""

    def __init__(self, tmp_path: Path, **options: float) -> None:
        self.now = 0.0
        self.folder = tmp_path / "films"
        self.worker = FakeWorker(self.clock)
        self.log = Log(self.clock)
        self.options = WatchSection(**{"rescan": 600.0, **options})
        self.changes = Changes(self.options.settle)
        self.ledger = BudgetLedger(tmp_path, self.clock)
        self.folders = FakeFolders((self.folder,))
        self.reason = Reason()
        self.documents: list[Mapping[str, Any]] = []
        self.writes: str | None = None
        self.conditions: list[Condition] = [self.reason]
        parts = WatcherParts(
            library=tmp_path,
            options=self.options,
            settings={},
            folders=self.folders,
            changes=self.changes,
            conditions=self.conditions,
            ledger=self.ledger,
            worker=self.worker,
            audience=self.log,
            write_status=self.documents.append,
            writer=lambda: self.writes,
            monotonic=self.clock,
            now=self.clock,
        )
        self.watcher = Watcher(parts)

    def clock(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        """Step for so many seconds, as often as the watcher says."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + self.watcher.step())

    def arrive(self, count: int) -> None:
        """Have so many files arrive."""
        self.worker.pending += count
        self.changes.note(self.folder, f"{self.now}", self.now)
