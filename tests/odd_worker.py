"""A decoding worker that misbehaves as the name of a file says; all others it decodes as the real one does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from mmi_tvr.media._worker import serve
from mmi_tvr.media.video import MediaInfo, sample_with_info
from mmi_tvr.types import Frames, Video


def main() -> None:
    serve(work)


def work(video: Video, fps: float, max_frames: int, size: int) -> tuple[MediaInfo, Frames]:
    """Sample, or do what the file's name says."""
    Path(os.environ.get("ODD_WORKER_PID", os.devnull)).write_text(str(os.getpid()))
    misdeed = video.path.stem
    if misdeed == "hangs":
        time.sleep(600)
    elif misdeed == "hangs and lets no thread run":
        ctypes.PyDLL(None).sleep(600)
    elif misdeed == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif misdeed == "exits":
        os._exit(3)
    elif misdeed == "dies once" and not (mark := video.path.with_suffix(".mark")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif misdeed == "asks for all memory":
        bytearray(1 << 50)
    elif misdeed == "is a mistake of ours":
        [][0]
    elif misdeed == "prints":
        sys.stdout.write("a stray line\n")
    return sample_with_info(video, fps, max_frames, size)
