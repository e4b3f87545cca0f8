"""Running a watcher: what it watches, when it ends."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from ..config import Settings
from ..errors import LibraryBusy, LibraryReadOnly, MmiTvrError, UsageError
from ..library import Library
from ..library.catalogue_file import CATALOGUE
from ..library.lock import writer
from ..library.pausing import current_pause
from ..library.scan import real_path
from ..library.write_access import library_place
from ..utils.interruption import Interrupted, signal_handler
from ..utils.sqlite import is_writable
from ..utils.wording import counted, library_option
from .budget import BudgetLedger
from .bus import DesktopBus
from .changes import Changes
from .conditions import Condition, NotPaused, conditions_of
from .folders import ScannedFolders, WatchedFolders
from .idle import IdleTime
from .job import WorkerProcess
from .power import Power
from .status import only_watcher, write_status
from .watcher import Audience, Folders, Watcher, WatcherParts

_END_SECONDS = 1.0  # for the step that is under way, when a watcher ends
_WAKE_SECONDS = 0.1  # events of so long are taken together: thousands come at once
_WRITER_SECONDS = 60.0  # a single pass waits so long for another process that writes, as `mmi-tvr index` does


def folders_to_watch(library: Library, paths: Sequence[Path]) -> list[Path]:
    """Return the real paths of what is to be watched: these folders, or all that the library knows.

    A folder below another one of them is left out. One that is known may be away: its disk may be plugged in later.

    Raises UsageError for a file, for a folder that is neither here nor known, and where there is nothing to watch.
    """
    known = [root.path for root in library.status().roots] if library.exists else []
    folders = []
    for path in paths:
        folder = real_path(path)
        if folder.is_file():
            raise UsageError(f"{path}: a file; watch takes folders")
        if not folder.is_dir() and folder not in known:
            raise UsageError(f"{path}: no such folder")
        folders.append(folder)
    if not paths:
        folders = known
    if not folders:
        command = f"mmi-tvr watch DIR {library_option(library.path)}"
        raise UsageError(f"nothing to watch: {library.path} knows no folder yet; name one: {command}")
    return [folder for folder in dict.fromkeys(folders) if not set(folder.parents) & set(folders)]


def run(
    library: Library,
    settings: Settings,
    paths: Sequence[Path],
    audience: Audience,
    once: bool = False,
) -> None:
    """Watch folders until SIGTERM or Ctrl-C, or look at them once.

    Args:
        library: is brought up to date; it need not be there yet.
        settings: of the library, and how its watcher works.
        paths: folders; none: all that the library knows.
        audience: hears what happens.
        once: do all that there is to do now, and end. Nothing but a pause holds that up, and the priority stays as it
            is (decision): whoever starts it has chosen the time.

    Raises:
        UsageError: as `folders_to_watch`, or something else is in the library's folder.
        LibraryBusy: another process watches; with `once`, another one writes for a minute.
        LibraryReadOnly: nothing can be written where the library lies.
        MissingExtra: watchdog is not installed.
        MmiTvrError: with `once`, what went wrong.
    """
    folder = Path(os.path.abspath(library.path))
    watched = folders_to_watch(library, paths)
    with library_place(folder):
        if not is_writable(folder / CATALOGUE):
            raise LibraryReadOnly(folder, "a read-only disk, or missing permissions")
        with only_watcher(folder):
            _watch(folder, settings, watched, audience, once)


def _watch(folder: Path, settings: Settings, watched: Sequence[Path], audience: Audience, once: bool) -> None:
    """Watch folders (arguments and errors as of `run`), as the one watcher of the library in `folder`."""
    wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # signal handlers may put into it at any moment

    def wake() -> None:
        wakeups.put(None)

    options = settings.watch
    ledger, changes = BudgetLedger(folder), Changes(options.settle)
    worker = WorkerProcess(options.threads, wake, spare_time=options.priority == "idle" and not once)
    with ExitStack() as stack:
        session = stack.enter_context(closing(DesktopBus("session")))
        system = stack.enter_context(closing(DesktopBus("system")))
        idle_time = IdleTime(session)
        folders: Folders
        conditions: Sequence[Condition]
        if once:
            folders, conditions = ScannedFolders(watched), [NotPaused(folder)]
        else:
            folders = stack.enter_context(closing(WatchedFolders(watched, folder, changes, wake, audience.say)))
            conditions = conditions_of(options, folder, ledger, idle_time, Power(system))
            audience.say(f"watching {counted(len(watched), 'folder')}, until Ctrl-C: {', '.join(map(str, watched))}")
        parts = WatcherParts(
            library=folder,
            options=options,
            settings=_explicit(settings),
            folders=folders,
            changes=changes,
            conditions=conditions,
            ledger=ledger,
            worker=worker,
            audience=audience,
            write_status=lambda document: write_status(folder, document),
            writer=lambda: _writer(folder),
            idle_source=lambda: idle_time.source,
        )
        watcher = Watcher(parts)
        stack.callback(watcher.close, worker.wait, _END_SECONDS)
        _loop(watcher, wakeups, wake, partial(_until_done, folder) if once else None)


def _loop(
    watcher: Watcher,
    wakeups: queue.SimpleQueue[None],
    wake: Callable[[], None],
    is_done: Callable[[Watcher, float], bool] | None,
) -> None:
    """Step until a signal comes, or until a single pass is done. Raises Interrupted where that is cut short."""
    signals: list[int] = []
    begun = time.monotonic()

    def end(number: int, frame: object) -> None:
        signals.append(number)
        wake()

    with signal_handler(end, signal.SIGINT, signal.SIGTERM):
        while not signals:
            seconds = watcher.step()
            if is_done is not None and is_done(watcher, begun):
                return
            try:
                wakeups.get(timeout=seconds)
                time.sleep(_WAKE_SECONDS)
                while True:
                    wakeups.get_nowait()
            except queue.Empty:
                continue
    if is_done is not None:
        raise Interrupted


def _until_done(library: Path, watcher: Watcher, begun: float) -> bool:
    """Return whether a single pass is done: twice where files were still being written. Raises MmiTvrError."""
    if watcher.last_problem is not None:
        raise MmiTvrError(watcher.last_problem)
    reason = watcher.waits_for
    if reason is not None and current_pause(library) is None and time.monotonic() - begun > _WRITER_SECONDS:
        raise LibraryBusy(f"{library}: {reason}; try again when it is done")
    is_paused = reason is not None and current_pause(library) is not None
    return is_paused or watcher.is_up_to_date or watcher.runs >= 2


def _writer(folder: Path) -> str | None:
    """Return who writes to a library, with what it does; None: nobody."""
    name = writer(folder)
    return None if name is None else f"{name} is writing"


def _explicit(settings: Settings) -> dict[str, Any]:
    """Return the settings that were set, without those of the watcher itself."""
    return settings.model_dump(mode="json", exclude_unset=True, exclude={"watch", "data", "train"})
