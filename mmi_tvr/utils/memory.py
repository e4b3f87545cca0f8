"""Memory that is freed and needed again: kept by this process meanwhile, where the C library is glibc."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of malloc.h: larger blocks are mapped; more freed at the end goes back
_KEPT, _USUAL = 1 << 29, 1 << 25  # bytes; glibc's own thresholds rise up to the latter

_lock = threading.Lock()
_users = 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """Have what is freed here be used again rather than given back to the system at once; it is given back at the end.

    A model's layers free and need tens of megabytes many times a second. By default each of these blocks is mapped anew
    and cleared by the system page by page: of the 20 CPU seconds of indexing 38 clips that was 8. Any number of threads
    may be in here.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _enter(library)
    try:
        yield
    finally:
        _leave(library)


def _enter(library: Any) -> None:
    global _users
    with _lock:
        _users += 1
        _set_thresholds(library, _KEPT)


def _leave(library: Any) -> None:
    global _users
    with _lock:
        _users -= 1
        if not _users:
            _set_thresholds(library, _USUAL)
            library.malloc_trim(0)


def _set_thresholds(library: Any, size: int) -> None:
    if not library.mallopt(_MMAP_THRESHOLD, size):
        library.mallopt(_MMAP_THRESHOLD, min(size, _USUAL))  # older versions take no more
    library.mallopt(_TRIM_THRESHOLD, 2 * size)


@cache
def _glibc() -> Any:
    """Return the C library with glibc's own functions; None where it is another one."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        library = ctypes.CDLL(None)
        _ = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):  # musl has neither
        return None
    return library
