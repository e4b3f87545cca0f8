"""The process that decodes for another one (`media.guarded`): requests come in, frames go out.

A request is one line of JSON. A reply is one line of JSON with the shapes of its arrays and, after it, their pixels as
they lie in memory. Nothing else crosses: what a damaged file may do to this process reaches the other one as numbers,
never as objects.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import MediaError, UnreadableFile, UsageError
from ..types import Frames, Pixels, Video
from .facts import read_facts
from .file_report import PictureOptions, report_on
from .sound import SoundPiece, read_sound
from .video import MediaInfo, sample_with_info

_GRACE = 5.0  # seconds behind the time limit: the parent is gone, or would have ended this process by then
_MIN_MEMORY = 4 << 30  # bytes
BUFFER = 1 << 16  # bytes, so that a small reply is one turn between the two processes

Sample = Callable[[Video, float, int, int], tuple[MediaInfo, Frames]]
Reply = tuple[dict[str, Any], list[Pixels]]


def main() -> None:
    serve(sample_with_info)


def serve(sample: Sample) -> None:
    """Answer requests until the parent closes its end, dies, or kills this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides when to stop
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whatever the caller ignores
    replies = os.fdopen(sys.stdout.fileno(), "wb", buffering=BUFFER, closefd=False)
    sys.stdout = sys.stderr  # a stray print must not stand between replies
    memory_limit = _limit_memory()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    _send(replies, {"ready": True})
    recording = _Recording()
    while True:
        request = json.loads(requests.get())
        _end_after(request["seconds"] + _GRACE)
        header, arrays = _reply(sample, recording, request, memory_limit)
        _end_after(None)
        _send(replies, header, arrays)


def _listen(source: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        requests.put(line)
    os._exit(0)  # the parent closed its end, maybe in the middle of a file


def _end_after(seconds: float | None) -> None:
    """End this process after so many seconds (None: do not), also where a decoder never lets another thread run.

    For a decoder that hangs and whose parent is gone.
    """
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds or 0)  # no thread, as the other one needs for every file
    elif seconds is None:
        faulthandler.cancel_dump_traceback_later()
    else:
        faulthandler.dump_traceback_later(seconds, exit=True)


def _reply(sample: Sample, recording: _Recording, request: dict[str, Any], memory_limit: int) -> Reply:
    """The header of the reply, and pixels or samples where there are any."""
    try:
        if request["task"] == "sound":
            return recording.next_piece(Path(request["path"]), request["start"])
        recording.close()
        if request["task"] == "facts":
            return {"facts": asdict(read_facts(Path(request["path"])))}, []
        return _report(request) if request["task"] == "report" else _sample(sample, request)
    except MediaError as error:
        return {"media_error": error.reason, "unreadable": isinstance(error, UnreadableFile)}, []
    except UsageError as error:
        return {"usage_error": str(error)}, []
    except OSError as error:
        return {"media_error": error.strerror or str(error), "unreadable": True}, []
    except MemoryError:
        return {"media_error": f"needs more memory to decode than the {memory_limit >> 30} GB that are allowed"}, []
    except Exception as error:  # a mistake of ours about one file, which must not cost the others; it is reported
        return {"media_error": f"cannot be decoded ({type(error).__name__}: {error})"}, []


class _Recording:
    """The recording whose sound is being handed out, held open from one piece to the next."""

    def __init__(self) -> None:
        self._pieces: Iterator[SoundPiece] = iter(())
        self._path: Path | None = None  # None: no recording is open
        self._end = 0.0  # seconds: where the piece that was handed out last ends

    def next_piece(self, path: Path, start: float) -> Reply:
        """Reply with the first piece that begins at a second or later; without an array where there is none."""
        if path != self._path or start != self._end:
            self._pieces, self._path = read_sound(path, start), path
        try:
            piece = next(self._pieces, None)
        except BaseException:
            self.close()
            raise
        if piece is None:
            self.close()
            return {"start": None}, []
        self._end = piece.end
        return {"start": piece.start}, [piece.samples.view(np.uint8)]

    def close(self) -> None:
        """Let go of the file."""
        self._pieces, self._path = iter(()), None


def _sample(sample: Sample, request: dict[str, Any]) -> Reply:
    video = Video(Path(request["path"]), request["start"], request["end"], request["picture"])
    info, frames = sample(video, request["fps"], request["max_frames"], request["size"])
    return {"info": _fields(info), "times": frames.times.tolist()}, [frames.pixels]


def _report(request: dict[str, Any]) -> Reply:
    options = PictureOptions(**request["pictures"]) if request["pictures"] else None
    report = report_on(Path(request["path"]), options)
    header = {
        "kind": report.kind,
        "info": _fields(report.info) if report.info else None,
        "facts": report.facts.as_dict() if report.facts else None,
        "container": report.container,
        "tracks": [asdict(track) for track in report.tracks],
        "times": [time for time, _ in report.pictures],
        "error": report.error,
    }
    return header, [pixels for _, pixels in report.pictures]


def _fields(info: MediaInfo) -> dict[str, Any]:
    return {name: value for name, value in asdict(info).items() if name != "path"}


def _send(replies: BinaryIO, header: dict[str, Any], arrays: Sequence[Pixels] = ()) -> None:
    shapes = [array.shape for array in arrays]
    replies.write(json.dumps({**header, "shapes": shapes}).encode() + b"\n")
    for array in arrays:
        replies.write(array.reshape(-1).data)
    replies.flush()


def _limit_memory() -> int:
    """Let no file take more than half of the machine's memory (or 4 GB), and return that in bytes.

    Headers can claim any size.
    """
    try:
        import resource

        limit = max(_MIN_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    except (ImportError, ValueError, OSError):  # not on Windows
        return _MIN_MEMORY
    with suppress(ValueError, OSError):  # a stricter limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit
