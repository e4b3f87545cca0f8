"""Writing files so that, at any moment and after a power cut, they are the old ones or the new ones, whole."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write or replace a file. Its folder must exist."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def publish(draft: Path, path: Path) -> None:
    """Give a finished draft its final name, durably."""
    sync(draft)
    os.replace(draft, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file (or a folder's list of names) is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
