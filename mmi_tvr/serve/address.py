"""Where a service of a library can be reached: the names of its files, and paths of sockets that are not too long.

Imports little, because the command line's client does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# In the folder of a library, all for its owner alone.
SOCKET = "service.sock"
LOCK = "service.lock"  # held while a service runs; a kill gives it back
TOKEN = "service.token"

_LONGEST = 100  # bytes of a socket's path that every system takes


def identity(folder: Path) -> list[int]:
    """Return what tells a folder from another one of the same name. OSError where there is none."""
    status = os.stat(folder)
    return [status.st_dev, status.st_ino]


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield a path by which a socket can be bound or connected to, however long its own is.

    Raises OSError where this system has no shorter way to it.
    """
    text = os.path.abspath(path)
    if len(os.fsencode(text)) <= _LONGEST:
        yield text
        return
    if not sys.platform.startswith("linux"):
        raise OSError(f"{text}: too long for the path of a socket")
    folder = os.open(os.path.dirname(text), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(text)}"
    finally:
        os.close(folder)
