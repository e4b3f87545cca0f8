"""Running a service: where it listens, its token, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout

from ..errors import MmiTvrError, UsageError
from ..library import Library
from ..utils.interruption import signal_handler
from ..utils.sqlite import is_writable
from .address import LOCK, SOCKET, TOKEN, reachable
from .app import make_app
from .commands import CommandRunner
from .connections import TimedConnection
from .security import Access
from .service import Service

_CONNECTIONS = 512  # at the same time
_HEAD_BYTES = 32 << 10  # of a request
_END_SECONDS = 0.3  # for answers that are under way, and for an indexing run, when the service ends


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Where a service listens, and after how many seconds without a request it ends by itself (None: never)."""

    host: str = "127.0.0.1"
    port: int = 0
    idle_exit: float | None = None


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that listens.

    `token_file` holds the token, `needs_token` says whether requests must carry it; `has_socket` says whether the
    command line can use it. `stop` ends it, from any thread.
    """

    url: str
    token_file: Path
    pid: int
    needs_token: bool
    has_socket: bool
    stop: Callable[[], None]

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON (a documented contract: `mmi-tvr serve --json`)."""
        return {"url": self.url, "token_file": os.path.abspath(self.token_file), "pid": self.pid}


def run(
    library: Library,
    options: ServiceOptions,
    run_command: CommandRunner,
    ready: Callable[[RunningService], object],
) -> None:
    """Serve a library until SIGTERM, Ctrl-C, or the end of an idle time.

    Args:
        library: what is served; it need not be there yet.
        options: where, and how long.
        run_command: runs commands of the command line's clients.
        ready: called once requests are taken.

    Raises:
        UsageError: a service of this library runs already.
        MmiTvrError: nothing can listen at this address.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listening(options))
        folder = library.path if library.exists and is_writable(library.path / LOCK) else None
        sockets = [listener]
        if folder is not None:
            stack.enter_context(_only_service(folder))
            with suppress(OSError):  # a system without such sockets, or a path that is too long: commands work alone
                sockets.append(stack.enter_context(_command_socket(folder)))
        token = secrets.token_urlsafe(32)
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmi-tvr-")))
        token_file = stack.enter_context(_token_file(folder, token))
        service = Service(library, Access(options.host, token), run_command)
        stack.callback(service.close, _END_SECONDS)
        service.url = _url(options.host, listener)
        server = _Server(service, options, lambda: ready(running))
        running = RunningService(
            service.url,
            token_file,
            os.getpid(),
            service.access.needs_token,
            len(sockets) > 1,
            server.stop,
        )
        service.warm_up()
        asyncio.run(server.serve(sockets))


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it listens, ends where nobody asks any more, and leaves signals at that."""

    def __init__(self, service: Service, options: ServiceOptions, ready: Callable[[], object]) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what others send is no news; we log mistakes
        config = uvicorn.Config(
            make_app(service),
            http=TimedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._service = service
        self._idle_exit = options.idle_exit
        self._ready = ready
        self._busy_at = time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        if self._service.in_flight or self._service.indexing.is_running:
            self._busy_at = time.monotonic()
        self._busy_at = max(self._busy_at, self._service.last_request)
        idle = self._idle_exit is not None and time.monotonic() - self._busy_at > self._idle_exit
        return idle or await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at a signal, and do not raise it once more, as uvicorn does: this is how a service ends."""
        with signal_handler(lambda number, frame: self.stop(), signal.SIGINT, signal.SIGTERM):
            yield

    def stop(self) -> None:
        """End at the next tick."""
        self.should_exit = True


@contextmanager
def _listening(options: ServiceOptions) -> Iterator[socket.socket]:
    """Yield a socket of the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host {options.host}: {error.strerror or error}") from error
    with closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            place = f"{options.host}:{options.port}"
            raise MmiTvrError(f"{place}: {error.strerror}; --port 0 takes any that is free") from error
        yield listener


@contextmanager
def _only_service(folder: Path) -> Iterator[None]:
    """Hold the lock of a library's service. Raises UsageError where another one holds it."""
    lock = FileLock(folder / LOCK, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: a service of this library is running already") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _command_socket(folder: Path) -> Iterator[socket.socket]:
    """Yield a socket in a library's folder, for its owner alone. Whoever holds the lock may take the place of one that
    was left over after a kill."""
    path = folder / SOCKET
    path.unlink(missing_ok=True)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        former = os.umask(0o177)  # its mode from the start
        try:
            with reachable(path) as address:
                listener.bind(address)
        finally:
            os.umask(former)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _token_file(folder: Path, token: str) -> Iterator[Path]:
    """Yield a file with the token, for its owner alone, which goes with the service."""
    path = folder / TOKEN
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(token + "\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _url(host: str, listener: socket.socket) -> str:
    """Return the address of the page; one that means every address is this machine's own here."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
