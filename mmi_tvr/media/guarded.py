"""Decoding in processes of their own, each file within a time limit.

Broken files can make a decoder hang, crash or ask for any amount of memory. Here that costs a worker process, never
the one that indexes: the file gets a MediaError with the reason, and a new worker takes the next one. Workers load
numpy and PyAV, nothing else (no torch); they start when there is something to decode, are used again, and end after
half a minute without work, or with the process that started them, however that ends.

They are started as plain programs rather than by `multiprocessing` (decision): that would run the caller's script
again in each of them unless it is guarded by `if __name__ == "__main__"`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import MediaError, MmiTvrError, UnreadableFile, UsageError
from ..types import Frames, MediaFacts, Pixels, Video
from ..utils.environment import DECODE_SECONDS, DECODE_WORKERS
from ._deadlines import Deadlines
from ._worker import BUFFER
from .facts import read_facts
from .file_report import FileReport, PictureOptions, report_on
from .picture_facts import PictureFacts
from .sound import SoundPiece, read_sound
from .tracks import Track
from .video import MediaInfo, sample_with_info

PROGRAM = "mmi_tvr.media._worker"  # the module whose `main` a worker runs
_BOOTSTRAP = "import importlib, sys; name, *sys.path = sys.argv[1:]; importlib.import_module(name).main()"
_BYTES_PER_SECOND = 10e6  # added to the limit: a file without an index is read whole, maybe from a slow disk
_TRIES = 2  # a worker may be killed by accident
_START_SECONDS = 120.0
_IDLE_SECONDS = 30.0
_PIPE_SIZE = 1 << 20  # bytes, where the system can: fewer turns between the two processes
if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NO_WINDOW
else:
    _CREATION_FLAGS = 0

Reply = tuple[dict[str, Any], list[Pixels]]  # the header, and arrays where there are any: pixels, or bytes of sound


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a file may take, and how many processes decode."""

    seconds: float = 60.0  # that one file may take, and one more for every 10 MB of it
    workers: int = 1  # processes; without any, files are decoded in this process, and nothing guards it


def limits(workers: int | None = None) -> Limits:
    """Return the limits of the environment.

    workers: the processes where the environment says nothing; None: as below.

    The default is a minute, and a worker for every two processors, two to four: a decoder uses several threads itself,
    and the model needs processors, too; but short files keep no decoder busy for long.

    Raises UsageError for no numbers.
    """
    default_workers = workers or min(4, max(2, (os.cpu_count() or 2) // 2))
    from_environment = Limits(_number(DECODE_SECONDS, 60.0), int(_number(DECODE_WORKERS, default_workers)))
    if from_environment.seconds <= 0:
        raise UsageError(f"{DECODE_SECONDS}: must be above 0")
    return from_environment


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable) or default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < threading.TIMEOUT_MAX:
        raise UsageError(f"{variable}: must be a number, 0 or more, not {text!r}")
    return number


class DecoderPool:
    """Samples videos in worker processes, one for each thread that calls `sample` at the same time.

    After `stop`, which also the end of a `with` calls, they are at the disposal of the next user.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._free: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._stopped = False

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def sample(self, video: Video, fps: float, max_frames: int, size: int) -> tuple[MediaInfo, Frames]:
        """Return `media.video.sample_with_info`; MediaError also for a file that hangs or crashes its decoder."""
        if not self.limits.workers:
            return sample_with_info(video, fps, max_frames, size)
        request = {
            "task": "sample",
            "path": str(video.path),
            "start": video.start,
            "end": video.end,
            "picture": video.picture,
            "fps": fps,
            "max_frames": max_frames,
            "size": size,
        }
        header, (pixels,) = self._request(video.path, request)
        return _info(video.path, header["info"]), Frames(np.array(header["times"]), pixels)

    def report(self, path: Path, options: PictureOptions | None = None) -> FileReport:
        """Return `media.file_report.report_on`; a file that hangs or crashes its decoder says so."""
        if not self.limits.workers:
            return report_on(path, options)
        request = {"task": "report", "path": str(path), "pictures": asdict(options) if options else None}
        try:
            header, arrays = self._request(path, request)
        except MediaError as error:
            return FileReport(path, error=error.reason)
        return FileReport(
            path=path,
            kind=header["kind"],
            info=_info(path, header["info"]) if header["info"] else None,
            facts=PictureFacts.from_dict(header["facts"]) if header["facts"] else None,
            container=header["container"],
            tracks=_tracks(header["tracks"]),
            pictures=list(zip(header["times"], arrays, strict=True)),
            error=header["error"],
        )

    def facts(self, path: Path) -> MediaFacts:
        """Return `media.facts.read_facts`; MediaError also for a file that hangs or crashes its decoder."""
        if not self.limits.workers:
            return read_facts(path)
        header, _ = self._request(path, {"task": "facts", "path": str(path)})
        return MediaFacts(**header["facts"])

    def sound(self, path: Path, start: float = 0.0) -> Iterator[SoundPiece]:
        """Yield the pieces of `media.sound.read_sound`; MediaError also for a file that hangs or crashes its decoder.

        A worker holds the recording open from one piece to the next. Where another took its place meanwhile, it reads
        over what lies before.
        """
        if not self.limits.workers:
            yield from read_sound(path, start)
            return
        position = start
        while True:
            header, arrays = self._request(path, {"task": "sound", "path": str(path), "start": position})
            if header["start"] is None:
                return
            piece = SoundPiece(header["start"], arrays[0].view(np.int16))
            yield piece
            position = piece.end

    def _request(self, path: Path, request: dict[str, Any]) -> Reply:
        """The reply of a worker. Raises MediaError or UsageError with what it met, or with how it ended."""
        seconds = self.limits.seconds + _size(path) / _BYTES_PER_SECOND
        reason = "interrupted"
        for _ in range(_TRIES):
            if self._stopped:
                break
            worker = self._acquire()
            try:
                header, arrays = worker.request({**request, "seconds": seconds}, seconds)
            except _TimedOut:
                reason = f"took longer than {seconds:.0f} s to decode ({DECODE_SECONDS} allows more)"
                break
            except _Crashed as crash:
                reason = f"crashes the decoder ({crash})"
            else:
                if "usage_error" in header:
                    raise UsageError(header["usage_error"])
                if "media_error" in header:
                    kind = UnreadableFile if header.get("unreadable") else MediaError
                    raise kind(path, header["media_error"])
                return header, arrays
            finally:
                self._release(worker)
        raise MediaError(path, reason)

    def stop(self) -> None:
        """Release the workers. Busy ones are killed; a thread that waits for one gets a MediaError at once."""
        with self._lock:
            self._stopped = True
            for worker in self._busy:
                worker.kill()
            while self._free:
                _idle.put(self._free.pop())

    def _acquire(self) -> _Worker:
        with self._lock:
            worker = self._free.pop() if self._free else None
        worker = worker or _idle.take() or _Worker(PROGRAM)
        with self._lock:
            self._busy.add(worker)
            if self._stopped:
                worker.kill()
        return worker

    def _release(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.alive and not self._stopped:
                self._free.append(worker)
                return
        if worker.alive:
            _idle.put(worker)
        else:
            worker.close()


class _TimedOut(Exception):
    """A worker took longer than its time limit."""


class _Crashed(Exception):
    """A worker ended in the middle; the message says how."""


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self, program: str) -> None:
        command = [sys.executable, "-c", _BOOTSTRAP, program, *sys.path]
        self.alive = True
        self._timed_out = False
        advice = f"try {DECODE_WORKERS}=0, which decodes in this process, unguarded"
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=BUFFER,
                pipesize=_PIPE_SIZE,
                creationflags=_CREATION_FLAGS,
            )
        except OSError as error:
            raise MmiTvrError(f"no process for decoding can be started ({error}); {advice}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._replies = cast(BufferedReader, self._process.stdout)
        try:
            self._read(_START_SECONDS)  # the reply that it is ready
        except (_TimedOut, _Crashed) as error:
            self.close()
            raise MmiTvrError(f"a process for decoding does not start ({error or 'it hangs'}); {advice}") from error

    def request(self, request: dict[str, Any], seconds: float) -> Reply:
        """Return the reply to a request. Raises _TimedOut or _Crashed, after which this worker is of no more use."""
        with suppress(OSError):  # the process has ended; reading says how
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        return self._read(seconds)

    def kill(self) -> None:
        self.alive = False
        self._process.kill()

    def close(self) -> None:
        """End the process if it has not ended, and forget it."""
        if self.alive:
            self.kill()
        for pipe in (self._requests, self._replies):
            with suppress(OSError):  # what was not written has no reader
                pipe.close()
        self._process.wait()

    def disown(self) -> None:
        """Forget the process in a fork of its parent, which alone can wait for it."""
        self._process.returncode = 0

    def _read(self, seconds: float) -> Reply:
        """One reply; a deadline that kills the process ends the wait for it on every system alike."""
        with _deadlines.within(seconds, self._time_out):
            line = self._replies.readline()
            header = json.loads(line) if line.endswith(b"\n") else {}  # else it was cut off
            arrays = [np.empty(shape, np.uint8) for shape in header.get("shapes", ())]
            complete = bool(header) and all(self._replies.readinto(array.data) == array.nbytes for array in arrays)
        if complete:
            return header, arrays
        self.alive = False
        status = self._process.wait()
        if self._timed_out:
            raise _TimedOut
        raise _Crashed(_ending(status))

    def _time_out(self) -> None:
        self._timed_out = True
        self.kill()


class _IdleWorkers:
    """Workers without work, for the next pool that needs one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._timer: threading.Timer | None = None

    def take(self) -> _Worker | None:
        with self._lock:
            return self._workers.pop() if self._workers else None

    def put(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.append(worker)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(_IDLE_SECONDS, self.close)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            while self._workers:
                self._workers.pop().close()

    def disown(self) -> None:
        for worker in self._workers:
            worker.disown()


_idle = _IdleWorkers()
_deadlines = Deadlines()


def _after_fork() -> None:
    """Leave the parent its workers, and its thread."""
    global _idle, _deadlines
    _idle.disown()
    _idle, _deadlines = _IdleWorkers(), Deadlines()


def _at_exit() -> None:
    _idle.close()


atexit.register(_at_exit)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


def _info(path: Path, fields: dict[str, Any]) -> MediaInfo:
    return MediaInfo(path=path, **{**fields, "tracks": _tracks(fields["tracks"])})


def _tracks(fields: list[dict[str, Any]]) -> tuple[Track, ...]:
    return tuple(Track(**{**track, "flags": tuple(track["flags"])}) for track in fields)  # JSON knows lists alone


def _size(path: Path) -> int:
    """Bytes of the file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the worker will say why


def _ending(status: int) -> str:
    """How a process ended, from its exit status."""
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"exit status {status}"
