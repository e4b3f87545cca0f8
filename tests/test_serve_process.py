"""A service as a process: what it prints, leaves behind, and keeps others from; when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video
from model_server import wait_for
from serving import Client, colour_films, served

from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.serve.address import LOCK, SOCKET, TOKEN
from mmi_tvr.serve.client import is_alive
from mmi_tvr.serve.running import ServiceOptions, run


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_films(tmp_path_factory.mktemp("serve") / "films")


@contextmanager
def killed(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no process behind, whatever fails."""
    try:
        yield
    finally:
        process.kill()


def test_a_service_from_start_to_sigterm(films: Path, tmp_path: Path) -> None:
    """With the bundled model: what is printed, a search, files with the right modes, and the end within 2 seconds."""
    folder = tmp_path / "library"
    with Library(folder, model="moving-shapes") as library:
        library.index(films / "red.mp4")
        alone = library.search("a red circle", min_relevance=0)
    command = [sys.executable, "-m", "mmi_tvr.cli", "serve", "--library", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, killed(process):
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert document["pid"] == process.pid
        for path in (Path(document["token_file"]), folder / "service.sock"):
            assert path.stat().st_mode & 0o777 == 0o600
        running: Any = SimpleNamespace(url=document["url"])
        token = Path(document["token_file"]).read_text(encoding="ascii").strip()
        reply = Client(running).get("/api/search?q=a+red+circle&min_relevance=0", Authorization=f"Bearer {token}")
        assert reply.json()["hits"][0]["path"] == str(alone[0].path)
        assert reply.json()["hits"][0]["score"] == pytest.approx(alone[0].score, abs=1e-5)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.wait(30)
        assert time.monotonic() - started < 2
        assert process.returncode == 0
    assert not (folder / "service.sock").exists()
    assert not Path(document["token_file"]).exists()


def test_what_a_killed_service_leaves_is_in_nobodys_way(films: Path, tmp_path: Path) -> None:
    """Its files are a library's: a folder with nothing else is empty, and the next service takes their place."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in (LOCK, TOKEN):
        (folder / name).write_text("left over")
    with closing(socket.socket(socket.AF_UNIX)) as left_over:
        left_over.bind(str(folder / SOCKET))
    with Library(folder, FakeModel(), relevance=clipped) as library:
        library.index(films / "red.mp4")
        with served(library) as client:
            assert client.running.has_socket
            assert client.running.token_file.read_text() != "left over"
        assert not {SOCKET, TOKEN} & set(os.listdir(folder))
    (folder / "service.sock.txt").mkdir()  # of somebody else, who chose an unlucky name: not deleted
    Library(folder, FakeModel(), relevance=clipped).index()
    assert (folder / "service.sock.txt").is_dir()


def test_a_second_service_of_a_library_says_so(tmp_path: Path) -> None:
    """Also over another path to the same folder; the first one goes on, with its token and its socket."""
    folder, link = tmp_path / "library", tmp_path / "the same"
    colour_video(tmp_path / "films" / "red.mp4", "red")
    with Library(folder, FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "films")
        with served(library) as client:
            token = client.running.token_file.read_text()
            link.symlink_to(folder)
            for path in (folder, link):
                with pytest.raises(UsageError, match=f"{path}: a service of this library is running already"):
                    run(Library(path), ServiceOptions(), lambda request, write: 0, lambda service: None)
            assert client.running.token_file.read_text() == token
            assert is_alive(folder)
            assert client.get("/api/search?q=red").status == 200


def test_it_ends_when_nobody_asks_any_more(tmp_path: Path) -> None:
    with served(Library(tmp_path / "none"), idle_exit=0.3) as client:
        assert client.get("/healthz").status == 200
        wait_for(lambda: not client.running.token_file.exists(), 15)
