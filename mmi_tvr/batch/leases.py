"""Who works on which shard, on a folder that many machines share.

A lease is a file that names its holder; the holder touches it every `beat` seconds. Another worker takes it over where
the holder is a dead process of this machine, or where the file has not been touched for `stale` seconds as measured by
the one who waits: so no two clocks are ever compared. A holder that was only suspended notices (`Lease.check`) before
it writes anything more. Claims are made under one file lock, which a killed process cannot leave behind.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from ..utils.files import write_atomically

BEAT = 10.0  # seconds between two touches
STALE = 90.0  # seconds without a touch after which a holder counts as dead; file attributes may be cached for 60
LOCK_SECONDS = 600.0


class LeaseLost(Exception):
    """Another worker has taken this shard over: whoever held it leaves it alone."""


@dataclass(frozen=True)
class Holder:
    """A process, wherever it runs, and one of its leases."""

    token: str
    pid: int
    machine: str

    def dead(self) -> bool:
        """Whether this is a process of this machine that is no more."""
        if self.machine != machine() or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _zombie(self.pid)


def machine() -> str:
    """The name of what process numbers belong to: host and, where there are such, the container."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{platform.node()} {space}".strip()


class Leases:
    """The leases of a folder, as one worker sees them."""

    def __init__(self, folder: Path, beat: float = BEAT, stale: float = STALE) -> None:
        self.folder = folder
        self.beat, self.stale = beat, stale
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "claim.lock", timeout=LOCK_SECONDS)
        self._seen: dict[str, tuple[object, float]] = {}  # name -> what its file looked like, and since when

    def claim(self, name: str) -> Lease | None:
        """The lease of this name, or None where a living worker holds it."""
        path = self.folder / f"{name}.json"
        if not self._free(path):
            return None
        with self._lock:
            if not self._free(path):
                return None
            mine = Holder(secrets.token_hex(8), os.getpid(), machine())
            write_atomically(path, json.dumps(mine.__dict__).encode())
        return Lease(path, mine, self.beat, self._lock)

    def _free(self, path: Path) -> bool:
        holder, look = _read(path)
        if look is None or (holder is not None and holder.dead()):
            return True
        known, since = self._seen.get(path.name, (None, 0.0))
        if known != look:
            self._seen[path.name] = look, time.monotonic()
            return False
        return time.monotonic() - since > self.stale


class Lease:
    """A shard that is ours. A context: the heart beats inside, and the lease is given back at the end."""

    def __init__(self, path: Path, holder: Holder, beat: float, lock: FileLock) -> None:
        self.path, self.holder = path, holder
        self._beat, self._lock = beat, lock
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._live, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()
        with self._lock:
            if self._ours():
                self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise LeaseLost unless the shard is still ours."""
        if not self._ours():
            raise LeaseLost(self.path.stem)

    def _live(self) -> None:
        while not self._over.wait(self._beat):
            with suppress(OSError):  # a server that is away for a moment
                if not self._ours():
                    return
                os.utime(self.path)

    def _ours(self) -> bool:
        holder, _ = _read(self.path)
        return holder is not None and holder.token == self.holder.token


def _read(path: Path) -> tuple[Holder | None, object]:
    """The holder, and what the file looks like; (None, None) where there is none."""
    try:
        with path.open("rb") as stream:  # opening makes a network file system ask its server
            look = os.fstat(stream.fileno()).st_mtime_ns
            text = stream.read()
    except FileNotFoundError:
        return None, None
    try:
        return Holder(**json.loads(text)), (look, text)
    except (ValueError, TypeError):
        return None, (look, text)


def _zombie(pid: int) -> bool:
    """Whether a process has ended and only its parent has not looked yet (where /proc tells)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
