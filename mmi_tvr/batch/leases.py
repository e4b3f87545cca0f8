"""Who works on which shard, on a folder that many machines share.

A lease is a file that names its holder; the holder touches it every `heartbeat` seconds. Another worker takes it over
where the holder is a dead process of this machine, or where the file has not been touched for `stale_after` seconds as
measured by the one who waits: so no two clocks are ever compared. A holder that was only suspended notices
(`Lease.check`) before it writes anything more. Claims are made under one file lock, which a killed process cannot leave
behind.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from ..utils.files import write_atomically

HEARTBEAT_SECONDS = 10.0  # between two touches
STALE_SECONDS = 90.0  # without a touch a holder counts as dead; file attributes may be cached for 60
LOCK_SECONDS = 600.0


class LeaseLost(Exception):
    """Another worker has taken this shard over: whoever held it leaves it alone."""


@dataclass(frozen=True)
class Holder:
    """A process, wherever it runs, and one of its leases. Its fields are the keys of a lease's file."""

    token: str
    pid: int
    machine: str

    def is_dead(self) -> bool:
        """Return whether this is a process of this machine that has ended; False where that cannot be known."""
        if self.machine != machine() or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _is_zombie(self.pid)


def machine() -> str:
    """Return the name of what process numbers belong to: host and, where there are such, the container."""
    namespace = ""
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return f"{platform.node()} {namespace}".strip()


@dataclass(frozen=True)
class _LeaseFile:
    """What a lease's file says and looks like; `holder` is None where it cannot be read."""

    holder: Holder | None
    modified: int  # nanoseconds
    content: bytes


@dataclass(frozen=True)
class _Observation:
    """What a lease's file looked like, and since when it has, by the clock of this process."""

    file: _LeaseFile
    since: float


class Leases:
    """The leases of a folder, as one worker sees them."""

    def __init__(self, folder: Path, heartbeat: float = HEARTBEAT_SECONDS, stale_after: float = STALE_SECONDS) -> None:
        self.folder = folder
        self.heartbeat, self.stale_after = heartbeat, stale_after
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "claim.lock", timeout=LOCK_SECONDS)
        self._observations: dict[str, _Observation] = {}  # by the file's name

    def claim(self, name: str) -> Lease | None:
        """Return the lease of this name, or None where a living worker holds it."""
        path = self.folder / f"{name}.json"
        if not self._is_free(path):
            return None
        with self._lock:
            if not self._is_free(path):
                return None
            holder = Holder(secrets.token_hex(8), os.getpid(), machine())
            write_atomically(path, json.dumps(asdict(holder)).encode())
        return Lease(path, holder, self.heartbeat, self._lock)

    def _is_free(self, path: Path) -> bool:
        """Return whether nobody holds this file: not there, its holder dead, or untouched for too long."""
        file = _read(path)
        if file is None or (file.holder is not None and file.holder.is_dead()):
            return True
        last = self._observations.get(path.name)
        if last is None or last.file != file:
            self._observations[path.name] = _Observation(file, time.monotonic())
            return False
        return time.monotonic() - last.since > self.stale_after


class Lease:
    """The right to work on a shard. A context: it is touched regularly inside, and given back at the end."""

    def __init__(self, path: Path, holder: Holder, heartbeat: float, lock: FileLock) -> None:
        self.path, self.holder = path, holder
        self._heartbeat, self._lock = heartbeat, lock
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._touch_regularly, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()
        with self._lock:
            if self._is_held():
                self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise LeaseLost unless this process still holds the shard."""
        if not self._is_held():
            raise LeaseLost(self.path.stem)

    def _touch_regularly(self) -> None:
        while not self._released.wait(self._heartbeat):
            with suppress(OSError):  # a server that is away for a moment
                if not self._is_held():
                    return
                os.utime(self.path)

    def _is_held(self) -> bool:
        file = _read(self.path)
        return file is not None and file.holder is not None and file.holder.token == self.holder.token


def _read(path: Path) -> _LeaseFile | None:
    """Read a lease's file; None where there is none."""
    try:
        with path.open("rb") as stream:  # opening makes a network file system ask its server
            modified = os.fstat(stream.fileno()).st_mtime_ns
            content = stream.read()
    except FileNotFoundError:
        return None
    try:
        return _LeaseFile(Holder(**json.loads(content)), modified, content)
    except (ValueError, TypeError):
        return _LeaseFile(None, modified, content)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and its parent has not collected it yet (where /proc tells)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
