"""The process that decodes for another one (`media.guarded`): requests come in, frames go out.

A request is one line of JSON. A reply is one line of JSON and, after it, the pixels as they lie in memory. Nothing
else crosses: what a damaged file may do to this process reaches the other one as numbers, never as objects.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import MediaError, UsageError
from ..types import Frames, Video
from .video import MediaInfo, sample_with_info

_GRACE = 5.0  # seconds behind the time limit: whoever asked is gone, or would have ended this process by then
_LEAST_MEMORY = 4 << 30

Work = Callable[[Video, float, int, int], tuple[MediaInfo, Frames]]


def main() -> None:
    serve(sample_with_info)


def serve(work: Work) -> None:
    """Answer requests until the asking process closes its end, dies, or kills this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; who asks decides when to stop
    replies = sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not stand between replies
    allowed = _limit_memory()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    _send(replies, {"ready": True})
    while True:
        request = json.loads(requests.get())
        # Ends a decoder that hangs and whose asker is gone, also where it never lets another thread run.
        faulthandler.dump_traceback_later(request["seconds"] + _GRACE, exit=True)
        header, pixels = _answer(work, request, allowed)
        faulthandler.cancel_dump_traceback_later()
        _send(replies, header, pixels)


def _listen(source: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        requests.put(line)
    os._exit(0)  # nobody is there any more, also in the middle of a file


def _answer(work: Work, request: dict[str, Any], allowed: int) -> tuple[dict[str, Any], memoryview | None]:
    video = Video(Path(request["path"]), request["start"], request["end"])
    try:
        info, frames = work(video, request["fps"], request["max_frames"], request["size"])
    except MediaError as error:
        return {"unusable": error.reason}, None
    except UsageError as error:
        return {"misused": str(error)}, None
    except OSError as error:
        return {"unusable": error.strerror or str(error)}, None
    except MemoryError:
        return {"unusable": f"needs more memory to decode than the {allowed >> 30} GB that are allowed"}, None
    except Exception as error:  # a mistake of ours about one file, which must not cost the others; it is reported
        return {"unusable": f"cannot be decoded ({type(error).__name__}: {error})"}, None
    said = {name: value for name, value in asdict(info).items() if name != "path"}
    header = {"info": said, "times": frames.times.tolist(), "shape": frames.pixels.shape}
    return header, frames.pixels.reshape(-1).data


def _send(replies: BinaryIO, header: dict[str, Any], pixels: memoryview | None = None) -> None:
    replies.write(json.dumps(header).encode() + b"\n")
    if pixels is not None:
        replies.write(pixels)
    replies.flush()


def _limit_memory() -> int:
    """Let no file take more than half of the machine's memory (or 4 GB): headers can claim any size. Returns bytes."""
    try:
        import resource

        allowed = max(_LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    except (ImportError, ValueError, OSError):  # not on Windows
        return _LEAST_MEMORY
    with suppress(ValueError, OSError):  # a stricter limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    return allowed
