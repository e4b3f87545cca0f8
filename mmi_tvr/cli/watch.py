"""`watch`: take in new files of folders in spare time; pause, resume and look at a watcher from any other process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .. import config
from ..errors import UsageError
from ..library import Library
from ..library.catalogue import Catalogue
from ..library.catalogue_file import CATALOGUE
from ..library.pausing import pause, resume
from ..utils.installation import require
from ..utils.printable import printable
from ..utils.wording import counted, library_option, time_span
from ._console import (
    ConfigOption,
    JsonOption,
    LibraryOption,
    ProgressBars,
    ProgressLines,
    SetOption,
    out,
    print_json,
    print_line,
    say,
    show_progress,
)

if TYPE_CHECKING:
    from ..watch.watcher import Audience

_ACTIONS = ("pause", "resume", "status")
_ON_CHANGE = ("added", "changed", "moved", "copies")

WhatArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DIR... | pause | resume | status",
        help="folders, none: all known; or what a watcher shall do (a folder of that name: ./pause)",
    ),
]
OnceOption = Annotated[bool, typer.Option("--once", help="do all that there is to do now, and end")]
IdleOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="work when nobody touched the machine so long; 0: always")
]
BatteryOption = Annotated[bool | None, typer.Option("--battery/--no-battery", help="work on battery, too")]
LoadOption = Annotated[
    float | None, typer.Option(metavar="SHARE", help="work while others use no more of the processors; 1: always")
]
BudgetHourOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="CPU seconds within any hour; 0: any number")
]
BudgetDayOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="CPU seconds within any 24 hours; 0: any number")
]
SettleOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="since the last write of a file that is taken in")
]
RescanOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="from one look at all folders to the next")]
ThreadsOption = Annotated[int | None, typer.Option(metavar="N", help="threads of the model, processes that decode")]
PriorityOption = Annotated[str | None, typer.Option(metavar="idle|normal", help="of the work; idle: behind all")]
MinutesOption = Annotated[float | None, typer.Option(min=0.01, help="pause: so long; default: until resume")]
InstallOption = Annotated[
    bool, typer.Option("--install", help="have this start with your sessions, and say what was written")
]
UninstallOption = Annotated[bool, typer.Option("--uninstall", help="remove what --install wrote")]


def register(app: typer.Typer) -> None:
    app.command()(watch)


def watch(
    what: WhatArgument = None,
    *,
    library: LibraryOption,
    once: OnceOption = False,
    idle: IdleOption = None,
    battery: BatteryOption = None,
    load: LoadOption = None,
    budget_hour: BudgetHourOption = None,
    budget_day: BudgetDayOption = None,
    settle: SettleOption = None,
    rescan: RescanOption = None,
    threads: ThreadsOption = None,
    priority: PriorityOption = None,
    minutes: MinutesOption = None,
    install: InstallOption = False,
    uninstall: UninstallOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in new files of DIR... in spare time: when nobody is there, on mains, within a budget. Ends with Ctrl-C.

    `watch pause`, `watch resume` and `watch status` are about the watcher of a library, from any other process.
    """
    words = what or []
    values = {
        "idle": idle, "battery": battery, "load": load, "budget_hour": budget_hour, "budget_day": budget_day,
        "settle": settle, "rescan": rescan, "threads": threads, "priority": priority,
    }  # fmt: skip
    chosen = {name: value for name, value in values.items() if value is not None}
    if minutes is not None and words != ["pause"]:
        raise UsageError("--minutes goes with watch pause")
    if words and words[0] in _ACTIONS:
        if len(words) > 1 or once or install or uninstall or chosen:
            raise UsageError(f"watch {words[0]} takes --library and --json alone; a folder of that name: ./{words[0]}")
        _act(words[0], library, minutes, as_json)
        return
    if sum((once, install, uninstall)) > 1:
        raise UsageError("--once, --install and --uninstall: one of them")
    if uninstall:
        _say_files("removed", _uninstall(library), as_json)
        return
    overrides = [*(set_ or ()), *(f"watch.{name}={str(value).lower()}" for name, value in chosen.items())]
    options = config.load(settings, overrides)
    folders = [Path(word) for word in words]
    if install:
        _say_files("written", _install(library, folders, settings, overrides, options.watch.priority), as_json)
        return
    if not once:
        require("watchdog", "watch")
    from ..watch.running import run

    audience: Audience = _JsonLines() if as_json else _Lines(library)
    with Library(library, settings=options) as opened:
        run(opened, options, folders, audience, once)


def _act(action: str, library: Path, minutes: float | None, as_json: bool) -> None:
    """Pause, resume or show the watcher of a library."""
    from ..watch.status import is_watched, status_document

    if not is_watched(library):  # else it is being made
        Catalogue.require_file(library / CATALOGUE)
    if action == "pause":
        pause(library, None if minutes is None else minutes * 60)
    elif action == "resume":
        resume(library)
    document = status_document(library)
    if as_json:
        print_json(document)
    else:
        _print_status(document)


def _print_status(document: Mapping[str, Any]) -> None:
    """Print what a watcher does."""
    paused = document["paused"]
    state = document["state"] + (f": {document['reason']}" if document["reason"] else "")
    rows = {"watcher": state if document["running"] else "none runs"}
    if document["running"]:
        rows["watcher"] += f" (process {document['pid']})"
    if paused is not None:
        rows["paused"] = f"since {paused['since']}" + (f", until {paused['until']}" if paused["until"] else "")
    folders = [f"{folder['path']} ({folder['by']})" for folder in document["folders"]]
    if document["running"]:
        rows["idle by"] = document["idle_by"] or "nobody's word: pressure on the processors counts"
    if folders:
        rows["folders"] = ", ".join(folders)
    progress = document["progress"]
    if progress is not None and progress["total"]:
        rows["progress"] = f"{progress['stage']}: {progress['done']:,} of {progress['total']:,}"
    if document["last_run"] is not None:
        rows["last run"] = f"{document['last_run']['at']}: {_changes(document['last_run'])}"
    used, budget = document["cpu_seconds"], document["budget"]
    rows["CPU"] = ", ".join(
        f"{used[name]:,.0f} s in the last {label}" + (f" of {budget[name]:,.0f}" if budget and budget[name] else "")
        for name, label in (("hour", "hour"), ("day", "24 hours"))
    )
    for name, value in rows.items():
        out.print(f"{name:<12} {printable(str(value))}", markup=False)


def _install(
    library: Path, folders: list[Path], settings: Path | None, overrides: list[str], priority: str
) -> list[Path]:
    """Write the files that start this watcher with a session.

    Args:
        library: its folder.
        folders: that are watched; none: all that the library knows.
        settings: file of them.
        overrides: settings besides, as --set has them.
        priority: that the work has.
    """
    from ..watch import units
    from ..watch.running import folders_to_watch

    absolute = Path(os.path.abspath(library))
    folders_to_watch(Library(library), folders)  # says what is wrong with them
    arguments = ["watch", *(os.path.abspath(folder) for folder in folders), "--library", str(absolute)]
    if settings is not None:
        arguments += ["--config", os.path.abspath(config.find("configs", settings))]
    for override in overrides:
        arguments += ["--set", override]
    return units.install(absolute, arguments, spare_time=priority == "idle")


def _uninstall(library: Path) -> list[Path]:
    """Remove the files that start the watcher of a library."""
    from ..watch import units

    return units.uninstall(Path(os.path.abspath(library)))


def _say_files(verb: str, files: list[Path], as_json: bool) -> None:
    """Say which files were written or removed, and how to go on."""
    if as_json:
        print_json({verb: [str(path) for path in files]})
        return
    for path in files:
        out.print(f"{verb} {printable(str(path))}", markup=False)
    units = [path.name for path in files if path.suffix == ".service"]
    if not files:
        say("nothing of a watcher of this library was installed")
    elif verb == "written":
        say(f"it starts with your next session; now: systemctl --user daemon-reload; systemctl --user start {units[0]}")
    elif units:
        say(f"one that runs ends with its session; now: systemctl --user stop {units[0]}")


class _Lines:
    """Says what a watcher does to a person (`watch.watcher.Audience`)."""

    def __init__(self, library: Path) -> None:
        self._library = library
        self._progress: ProgressBars | ProgressLines | None = None
        self._before: dict[str, Any] = {"quarantined": [], "unsettled": []}  # of the report before

    def state(self, state: str, reason: str | None) -> None:
        if state == "waiting" and reason:
            self._end_progress()
            say(f"waiting: {escape(printable(reason))}")

    def begin(self, stage: str, total: int) -> None:
        if self._progress is None:
            self._progress = show_progress()
        self._progress.begin(stage, total)

    def advance(self, steps: int) -> None:
        if self._progress is not None:
            self._progress.advance(steps)

    def say(self, message: str) -> None:
        say(escape(printable(message)))

    def report(self, report: Mapping[str, Any], cpu_seconds: float) -> None:
        self._end_progress()
        if any(report[name] for name in _ON_CHANGE) or report["removed"]:
            say(f"{_changes(report)} in {time_span(report['seconds'])}, {time_span(cpu_seconds)} of CPU")
        news = {name: report.get(name, []) for name in self._before}
        before, self._before = self._before, news
        if news["quarantined"] and news["quarantined"] != before["quarantined"]:
            command = f"mmi-tvr status {library_option(self._library)}"
            say(f"[yellow]{counted(len(report['quarantined']), 'file')} set aside[/]: {escape(command)} says why")
        if news["unsettled"] and news["unsettled"] != before["unsettled"]:
            say(f"{counted(len(report['unsettled']), 'file')} written just now: left to the next look")

    def end_run(self, reason: str) -> None:
        self._end_progress()

    def _end_progress(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.__exit__()


class _JsonLines:
    """Prints what a watcher does as lines of JSON (`watch.watcher.Audience`)."""

    def state(self, state: str, reason: str | None) -> None:
        self._print(event="state", state=state, reason=reason)

    def begin(self, stage: str, total: int) -> None:
        self._print(event="begin", stage=stage, total=total)

    def advance(self, steps: int) -> None:
        self._print(event="advance", steps=steps)

    def say(self, message: str) -> None:
        self._print(event="message", message=message)

    def report(self, report: Mapping[str, Any], cpu_seconds: float) -> None:
        self._print(event="report", cpu_seconds=round(cpu_seconds, 2), **report)

    def end_run(self, reason: str) -> None:
        self._print(event="interrupted", reason=reason)

    def _print(self, **document: Any) -> None:
        print_line({"at": round(time.time(), 3), **document})


def _changes(report: Mapping[str, Any]) -> str:
    """Return what a run changed: '3 added, 1 moved'."""
    counts = {name: report[name] for name in _ON_CHANGE} | {"removed": len(report["removed"])}
    words = {name: "copy" if name == "copies" and count == 1 else name for name, count in counts.items()}
    return ", ".join(f"{count:,} {words[name]}" for name, count in counts.items() if count) or "nothing new"
