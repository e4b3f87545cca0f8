"""SIGINT and SIGTERM end a process only where that leaves nothing half done.

Elsewhere they are kept until such a place is reached. So leases are given back, tries that were cut short are taken
back, and what is being written is written.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the exit code
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    asked = False  # a signal has come
    allowed = False


@contextmanager
def installed() -> Iterator[None]:
    """Inside, this holds; only in a process's main thread, elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _State.asked = False


@contextmanager
def allowed() -> Iterator[None]:
    """Inside, the process may end at any moment: SystemExit is raised where a signal comes or has come."""
    if _State.asked:
        raise SystemExit(INTERRUPTED)
    _State.allowed = True
    try:
        yield
    finally:
        _State.allowed = False


def _note(number: int, frame: object) -> None:
    _State.asked = True
    if _State.allowed:
        _State.allowed = False  # once: what comes while the process stops is ignored
        raise SystemExit(INTERRUPTED)
