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
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MediaError, MmiTvrError, UsageError
from ..types import Frames, Pixels, Video
from .video import MediaInfo, sample_with_info

SECONDS = "MMI_TVR_DECODE_SECONDS"
WORKERS = "MMI_TVR_DECODE_WORKERS"
PROGRAM = "mmi_tvr.media._worker"  # the module whose `main` a worker runs
_RUN = "import importlib, sys; name, *sys.path = sys.argv[1:]; importlib.import_module(name).main()"
_BYTES_A_SECOND = 10e6  # added to the limit: a file without an index is read whole, maybe from a slow disk
_TRIES = 2  # a worker may have been killed by accident
_START_SECONDS = 120.0
_IDLE_SECONDS = 30.0
_PIPE = 1 << 20  # bytes, where the system can: fewer turns between the two processes

Reply = tuple[dict[str, Any], Pixels]  # the header, and pixels (N, H, W, 3) where there are any


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` that one file may take, beside a second for every 10 MB of it; `workers`: how many processes.

    Without workers, files are decoded in this process, and nothing guards it.
    """

    seconds: float = 60.0
    workers: int = 1


def limits() -> Limits:
    """What the environment says; else a minute, and two to four workers: one for every two processors.

    Decoders use several threads themselves, and the model needs processors, too; but short files keep no decoder busy
    for long. Raises UsageError for no numbers.
    """
    usual = min(4, max(2, (os.cpu_count() or 2) // 2))
    found = Limits(_number(SECONDS, 60.0), int(_number(WORKERS, usual)))
    if found.seconds <= 0:
        raise UsageError(f"{SECONDS}: must be above 0")
    return found


def _number(variable: str, usual: float) -> float:
    said = os.environ.get(variable) or usual
    try:
        found = float(said)
    except ValueError:
        found = -1.0
    if not 0 <= found < threading.TIMEOUT_MAX:
        raise UsageError(f"{variable}: must be a number, 0 or more, not {said!r}")
    return found


class Decoders:
    """Samples videos in worker processes, one for each thread that calls `sample` at the same time.

    After `stop` they are at the disposal of the next user.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._free: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._stopped = False

    def sample(self, video: Video, fps: float, max_frames: int, size: int) -> tuple[MediaInfo, Frames]:
        """As `media.video.sample_with_info`; MediaError also for a file that hangs or crashes its decoder."""
        if not self.limits.workers:
            return sample_with_info(video, fps, max_frames, size)
        seconds = self.limits.seconds + _bytes(video) / _BYTES_A_SECOND
        request = {
            **{"path": str(video.path), "start": video.start, "end": video.end},
            **{"fps": fps, "max_frames": max_frames, "size": size, "seconds": seconds},
        }
        reason = "interrupted"
        for _ in range(_TRIES):
            if self._stopped:
                break
            worker = self._take()
            try:
                header, pixels = worker.ask(request, seconds)
            except _Late:
                reason = f"took longer than {seconds:.0f} s to decode ({SECONDS} allows more)"
                break
            except _Died as death:
                reason = f"crashes the decoder ({death})"
            else:
                return _result(video, header, pixels)
            finally:
                self._give_back(worker)
        raise MediaError(video.path, reason)

    def stop(self) -> None:
        """Let go of the workers. Those at work are killed; whoever waits for them gets a MediaError at once."""
        with self._lock:
            self._stopped = True
            for worker in self._busy:
                worker.kill()
            while self._free:
                _idle.put(self._free.pop())

    def _take(self) -> _Worker:
        with self._lock:
            worker = self._free.pop() if self._free else None
        worker = worker or _idle.take() or _Worker(PROGRAM)
        with self._lock:
            self._busy.add(worker)
            if self._stopped:
                worker.kill()
        return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.alive and not self._stopped:
                self._free.append(worker)
                return
        if worker.alive:
            _idle.put(worker)
        else:
            worker.close()


class _Late(Exception):
    """The time limit is over."""


class _Died(Exception):
    """The worker ended in the middle; says how."""


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self, program: str) -> None:
        command = [sys.executable, "-c", _RUN, program, *sys.path]
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows
        self.alive = True
        self._late = False
        advice = f"try {WORKERS}=0, which decodes in this process, unguarded"
        try:
            self._process = subprocess.Popen(
                command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, pipesize=_PIPE, creationflags=flags
            )
        except OSError as error:
            raise MmiTvrError(f"no process for decoding can be started ({error}); {advice}") from error
        try:
            self._read(_START_SECONDS)  # it says that it is ready
        except (_Late, _Died) as error:
            self.close()
            raise MmiTvrError(f"a process for decoding does not start ({error or 'it hangs'}); {advice}") from error

    def ask(self, request: dict[str, Any], seconds: float) -> Reply:
        """The reply to a request. Raises _Late or _Died, after which this worker is of no more use."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # it is gone; reading finds out how
            pass
        return self._read(seconds)

    def kill(self) -> None:
        self.alive = False
        self._process.kill()

    def close(self) -> None:
        """End the process if it has not ended, and forget it."""
        if self.alive:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                assert pipe is not None
                pipe.close()
            except OSError:  # what was not written has no reader
                pass
        self._process.wait()

    def disown(self) -> None:
        """In a fork of the process that started it: this worker is not ours to wait for."""
        self._process.returncode = 0

    def _read(self, seconds: float) -> Reply:
        """One reply; a timer that kills the process ends the wait for it on every system alike."""
        timer = threading.Timer(seconds, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            header = json.loads(line) if line.endswith(b"\n") else {}  # else it was cut off
            pixels = np.empty(header.get("shape", 0), np.uint8)
            whole = bool(header) and self._process.stdout.readinto(pixels) == pixels.nbytes  # type: ignore[attr-defined]
        finally:
            timer.cancel()
        if whole:
            return header, pixels
        self.alive = False
        status = self._process.wait()
        raise _Late if self._late else _Died(_ending(status))

    def _give_up(self) -> None:
        self._late = True
        self.kill()


class _Idle:
    """Workers without work, for whoever needs one next."""

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


_idle = _Idle()


def _after_fork() -> None:
    """A fork has no part in the workers of its parent."""
    global _idle
    _idle.disown()
    _idle = _Idle()


atexit.register(lambda: _idle.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _result(video: Video, header: dict[str, Any], pixels: Pixels) -> tuple[MediaInfo, Frames]:
    if "misused" in header:
        raise UsageError(header["misused"])
    if "unusable" in header:
        raise MediaError(video.path, header["unusable"])
    said = {**header["info"], "streams": tuple(header["info"]["streams"])}
    return MediaInfo(path=video.path, **said), Frames(np.array(header["times"]), pixels)


def _bytes(video: Video) -> int:
    try:
        return video.path.stat().st_size
    except OSError:
        return 0  # the worker will say why


def _ending(status: int) -> str:
    """How a process ended, from its exit status."""
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"exit status {status}"
