"""Commands through a service: the same output, byte for byte, for little; and what happens where none answers."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from fakes import FakeModel, clipped, colour_video
from serving import Client, served

from mmi_tvr import __version__
from mmi_tvr.cli import _client, _console, _libraries, _pools, facets, search
from mmi_tvr.cli import library as library_commands
from mmi_tvr.cli._resident import ResidentCommands
from mmi_tvr.cli.app import app
from mmi_tvr.library import Library
from mmi_tvr.serve import client as socket_client
from mmi_tvr.serve.address import SOCKET, identity, reachable
from mmi_tvr.serve.commands import Refused

PROGRAM = [sys.executable, "-m", "mmi_tvr.cli"]
# What a service does not do: the program as it is without one, with the model that the library was made with.
ALONE = """
import sys
sys.path.insert(0, {tests!r})
from fakes import FakeModel, clipped
from mmi_tvr.cli import _libraries
from mmi_tvr.cli.app import run
from mmi_tvr.library import Library
_libraries.Library = lambda path, settings=None: Library(path, FakeModel(), settings, clipped)
run()
"""
COMMANDS = [
    ["search", "red"],
    ["search", "red", "--json", "--top=2", "--min-relevance", "1"],
    ["search", "a beach without red"],
    ["search", "red", "--levels", "a=1"],
    ["search", "red", "--top", "0"],
    ["search", "红色 \U0001f697", "--json"],
    ["search", "red", "--in", "films", "--longer", "1", "--more", "2", "--not", "blue", "--json"],
    ["search", "-"],
    ["search", "--json"],
    ["status"],
    ["status", "--json"],
    ["facets"],
]


@pytest.fixture(scope="module")
def registered() -> None:
    """The commands are there, as when the program runs."""
    known = {command.callback for command in app.registered_commands}
    for module, command in (
        (library_commands, library_commands.status),
        (search, search.search),
        (facets, facets.facets),
    ):
        if command not in known:
            module.register(app)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, registered: None) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("commands")
    colour_video(folder / "films" / "red [bold]\x1b[31m.mp4", "red")
    colour_video(folder / "films" / "blue.mp4", "blue")
    with Library(folder / "library", FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
        with served(library) as one:
            yield one


@pytest.fixture
def folder(client: Client, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the library lies, where the test stands."""
    path = client.running.token_file.parent.parent
    monkeypatch.chdir(path)
    return path


def run(words: Sequence[str], program: Sequence[str] = PROGRAM, **env: str) -> tuple[int, bytes, bytes]:
    """Return exit code and output of a command, without what time it took."""
    done = subprocess.run(
        [*program, *words, "--library", "library"],
        input=b"red\nor blue\n",
        capture_output=True,
        env={**os.environ, **env},
        check=False,
        timeout=120,
    )
    return done.returncode, timeless(done.stdout), timeless(done.stderr)


def timeless(output: bytes) -> bytes:
    output = re.sub(rb'"seconds": \{[^}]*\}', b'"seconds": {}', output)
    return re.sub(rb"\d+ ms", b"N ms", output)


def alone(tests: Path) -> list[str]:
    return [sys.executable, "-c", ALONE.format(tests=str(tests))]


def in_this_process(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, bytes, bytes]:
    """Return what a command prints that runs here, as the program runs it without a service."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True) for _ in range(2)]
    with monkeypatch.context() as patched:
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patched.setattr(sys, name, stream)
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"red\nor blue\n")))
        patched.setattr(
            _libraries, "Library", lambda path, settings=None: Library(path, FakeModel(), settings, clipped)
        )
        patched.setattr(sys, "argv", ["mmi-tvr", *words, "--library", "library"])
        with pytest.raises(SystemExit) as end, _console.command():
            _console.invoke(app, app.info.name)
    contents = [timeless(stream.buffer.getvalue()) for stream in streams]  # type: ignore[attr-defined]
    return int(end.value.code or 0), contents[0], contents[1]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_output_is_the_same_byte_for_byte(
    folder: Path, client: Client, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a service refuses runs without it: in a process that may not, so that only the service can have answered."""
    arguments = [*words, "--library", "library"]
    answered: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def write(stream: str, content: bytes) -> None:
        answered[stream] += content

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"red\nor blue\n")))
    with monkeypatch.context() as patched:
        for name in ("stdout", "stderr"):
            patched.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        library = _client.library_of(arguments)
        assert library == Path("library")
        code = socket_client.run_command(library, _client._request(arguments, library), write)
    expected = in_this_process(words, monkeypatch)
    if code is None:
        assert expected[0] not in (0, 3)  # it fails, and says so in its own words
        assert answered == {"stdout": b"", "stderr": b""}
    else:
        assert (code, timeless(answered["stdout"]), timeless(answered["stderr"])) == expected


def test_a_client_prints_what_the_program_prints_and_loads_little(folder: Path) -> None:
    """In processes of their own; in a terminal, with colours and a width, too."""
    code, stdout, stderr = run(["search", "red"])
    assert (code, b"red [bold]" in stdout, stderr) == (0, True, b"N ms\n")
    watched = [sys.executable, "-X", "importtime", *PROGRAM[1:]]
    *_, imports = run(["search", "red"], watched)
    modules = {line.rpartition(b"|")[2].strip().partition(b".")[0] for line in imports.splitlines()}
    assert not modules & {b"numpy", b"torch", b"rich", b"typer", b"pydantic", b"http", b"email", b"asyncio", b"inspect"}
    tests = Path(__file__).parent
    assert in_a_terminal(["search", "red"], PROGRAM) == in_a_terminal(["search", "red"], alone(tests))


def in_a_terminal(words: Sequence[str], program: Sequence[str]) -> bytes:
    """Return what a command shows in a terminal of 60 columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with subprocess.Popen(
        [*program, *words, "--library", "library"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color"},
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while block := os.read(leader, 1 << 16):
                shown += block
        except OSError:  # how a terminal ends
            pass
        assert process.wait(120) == 0
    os.close(leader)
    assert b"\x1b[" in shown
    return timeless(shown)


def test_options_for_a_service_are_those_of_the_commands(registered: None) -> None:
    """Each option is one of the command's, with as many values, and none names a file or changes settings."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, options in _client.OPTIONS.items():
        parameters = {
            spelling: parameter
            for parameter in commands[name].params
            for spelling in (*parameter.opts, *parameter.secondary_opts)
        }
        for option, values in options.items():
            parameter = parameters[option]
            assert values == (0 if parameter.is_flag else 1), option
        for option in ("--html", "--config", "--set", "--force"):
            assert option not in options


@pytest.mark.parametrize(
    ("words", "library"),
    [
        (["search", "red"], "default"),
        (["search", "red", "-l", "x"], "x"),
        (["search", "red", "--library=x y"], "x y"),
        (["search", "--top", "3", "red", "--library", "x", "--json"], "x"),
        (["search", "--", "-l", "x"], "default"),
        (["search", "-l"], None),
        (["search", "red", "-lx"], None),
        (["search", "red", "--html", "p"], None),
        (["search", "red", "--json=1"], None),
        (["search", "red", "--set", "a=b"], None),
        (["search", "--help"], None),
        (["index", "x"], None),
        ([], None),
    ],
)
def test_which_commands_are_for_a_service(
    words: list[str], library: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMI_TVR_LIBRARY", "default")
    assert _client.library_of(words) == (None if library is None else Path(library))


def request(path: Path, **changes: Any) -> dict[str, Any]:
    stream = {"encoding": "utf-8", "is_terminal": False}
    return {
        "version": __version__,
        "library": identity(path),
        "arguments": ["status", "--library", str(path)],
        "folder": "/",
        "size": [80, 25],
        "environment": {},
        "stdin": "",
        "stdout": stream,
        "stderr": stream,
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "0.0.1"},
        {"library": [1, 2]},
        {"library": None},
        {"arguments": ["index", "films"]},
        {"arguments": []},
        {"arguments": [1]},
        {"arguments": ["search"]},
        {"stdout": {"encoding": "no such", "is_terminal": False}},
        {"stdout": 1},
        {"size": "x"},
        {"stdin": "\u1234"},
    ],
)
def test_what_is_not_for_this_service_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    printed: list[bytes] = []
    library = folder / "library"
    answer = socket_client.run_command(library, request(library, **changes), lambda stream, text: printed.append(text))
    assert (answer, printed) == (None, [])
    assert socket_client.run_command(library, request(library), lambda stream, text: None) == 0


def test_commands_come_over_the_socket_alone(client: Client, folder: Path) -> None:
    body = json.dumps(request(folder / "library")).encode()
    assert client.request("POST", "/command", body).status == 404


def test_the_socket_of_a_killed_service_is_passed_over(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as left_over:
        left_over.bind(str(tmp_path / SOCKET))
    assert stat.S_ISSOCK((tmp_path / SOCKET).stat().st_mode)
    assert not socket_client.is_alive(tmp_path)
    assert socket_client.run_command(tmp_path, {}, lambda stream, text: None) is None
    (tmp_path / SOCKET).unlink()
    (tmp_path / SOCKET).write_text("no socket")
    assert socket_client.run_command(tmp_path, {}, lambda stream, text: None) is None


@contextmanager
def answering(folder: Path, content: bytes) -> Iterator[None]:
    """Whatever a client asks over the socket of a folder gets these bytes."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with closing(connection):
                connection.recv(1 << 16)
                connection.sendall(content)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        thread.join(10)


OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}",
        OK,
        OK + b'{"accepted": 1}\n',
        OK + b'{"accepted": 1}\n{"refused": "x"}\n',
        OK + b'{"accepted": 1}\n{"exit"',
        b"\xff\xfe\n\n",
    ],
)
def test_a_service_that_ends_before_it_printed_anything_is_none(tmp_path: Path, content: bytes) -> None:
    with answering(tmp_path, content):
        assert socket_client.run_command(tmp_path, {}, lambda stream, text: None) is None


def test_a_service_that_ends_in_the_middle_says_so(tmp_path: Path) -> None:
    with answering(tmp_path, OK + b'{"accepted": 1}\n{"stdout": "half"}\n'), pytest.raises(socket_client.ServiceEnded):
        socket_client.run_command(tmp_path, {}, lambda stream, text: None)


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", (404, b"{}")),
        (OK + b"all of it", (200, b"all of it")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", None),
        (b"nonsense", None),
        (b"", None),
    ],
)
def test_the_reply_of_a_route_is_all_of_it_or_none(
    tmp_path: Path, content: bytes, reply: tuple[int, bytes] | None
) -> None:
    with answering(tmp_path, content):
        assert socket_client.request(tmp_path, "GET", "/healthz") == reply


def test_the_path_of_a_socket_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        with reachable(folder / SOCKET) as path:
            listener.bind(path)
        listener.listen()
        assert socket_client.is_alive(folder)


def test_pools_of_the_client_s_folder_are_those_that_are_not_read(
    folder: Path, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note about the folder in which the person stands, not about that of the service."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "text.yaml").write_text("")
    printed: list[tuple[str, bytes]] = []
    asked_for = request(folder / "library", folder=str(tmp_path), arguments=["search", "red", "--rerank"])
    with Library(folder / "library", FakeModel(), relevance=clipped) as library, pytest.raises(Refused):
        ResidentCommands(app, library)(asked_for, lambda stream, text: printed.append((stream, text)))
    assert printed == []  # it cannot re-rank, and says nothing before its client does
    terminal = SimpleNamespace(folder=tmp_path)
    monkeypatch.setattr(_pools, "working_folder", lambda: terminal.folder)
    lines: list[str] = []
    monkeypatch.setattr(_pools, "say", lines.append)
    _pools.say_unread_pools(folder / "library")
    assert "not read any more: prompts/text.yaml" in lines[0]
