"""What Ctrl-C and SIGTERM do, in one place.

| where | Ctrl-C (SIGINT) | SIGTERM | what is lost |
|---|---|---|---|
| any command | KeyboardInterrupt at the line that runs; one message, exit code 130 | Interrupted there; the same | \
what was not yet committed: `index` goes on with the file it was at |
| training, pretraining | as any command; `train` names `--resume` | the step is finished and saved; `train` \
ends as any command | Ctrl-C: the steps since the newest checkpoint; SIGTERM: nothing |
| batches (`batch.stopping`) | both wait for a place where nothing is half done, then exit code 130 | the same | \
at most the items that were being tried |
| a service (`serve.running`), a watcher (`watch.running`) | it ends within seconds, exit code 0 | the same | \
the step that an indexing run was at |
| decoder processes (`media`) | ignored: the process that asked decides | they end, and are started again | nothing |

The message is printed by `cli._console.command`; a program that uses the library has no handler of ours.
A loop that can stop between two steps asks `stop_event`, and says by `Interrupted` that its work is not done. With
several processes, one of them may be told alone: the loop has to agree with the others about when to stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 130  # of a process that was interrupted, as shells have it


class Interrupted(SystemExit):
    """Raise it where work stopped on request, is saved, and goes on when it is started again. Exits with 130.

    `advice` says how it goes on, where the same command again is not the way.
    """

    def __init__(self, advice: str = "") -> None:
        self.advice = advice
        super().__init__(EXIT_CODE)


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Raise Interrupted at the line that runs when SIGTERM comes, as Python raises KeyboardInterrupt on Ctrl-C.

    So files are closed, locks are given back and temporary files go. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    handler = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def stop_event(*signals: signal.Signals) -> Iterator[threading.Event]:
    """Yield an event that these signals set, instead of ending the process; the former handlers come back behind.

    Python runs signal handlers in the main thread alone, so in any other thread nothing changes and the event stays
    unset.
    """
    requested = threading.Event()
    with signal_handler(lambda number, frame: requested.set(), *signals):
        yield requested


@contextmanager
def signal_handler(handler: Callable[[int, object], object], *signals: signal.Signals) -> Iterator[None]:
    """Have a function called at these signals; the former handlers come back behind. Main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, former in handlers.items():
            signal.signal(number, former)
