"""SIGINT and SIGTERM end a batch only where that leaves nothing half done.

Elsewhere they are kept until such a place is reached. So leases are given back, tries that were cut short are taken
back, and what is being written is written. What signals do in the rest of the package: `utils.interruption`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..utils.interruption import Interrupted, signal_handler


class _Signals:
    """Of this process: a signal goes to its main thread, whatever object is at work there."""

    received = False
    interruptible = False


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Inside, signals wait for a part that is `interruptible`. In other threads than the main one nothing changes."""
    try:
        with signal_handler(_receive, signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        if threading.current_thread() is threading.main_thread():  # what came is over with
            _Signals.received = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the process may end at any moment: Interrupted is raised where a signal comes or has come."""
    if _Signals.received:
        raise Interrupted
    _Signals.interruptible = True
    try:
        yield
    finally:
        _Signals.interruptible = False


def _receive(number: int, frame: object) -> None:
    _Signals.received = True
    if _Signals.interruptible:
        _Signals.interruptible = False  # once: what comes while the process stops is ignored
        raise Interrupted
