"""The service of a desktop's search box, on a bus of the test: started by the bus, called raw, and killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fakes import FakeModel, clipped, colour_video
from PIL import Image
from serving import served

from mmi_tvr.desktop import installing
from mmi_tvr.desktop.names import BUS_NAME, OBJECT_PATH
from mmi_tvr.library import Library
from mmi_tvr.library.pausing import current_pause
from mmi_tvr.utils.addresses import file_uri

pytest.importorskip("dbus_fast")
from session_bus import Caller, calling, script, session_bus

from mmi_tvr.desktop.connection import SessionBus

needs_bus = pytest.mark.skipif(
    shutil.which("dbus-run-session") is None and os.environ.get("DESKTOP_TESTS") != "required",
    reason="no dbus-run-session (apt: dbus)",
)
GNOME, KRUNNER = "org.gnome.Shell.SearchProvider2", "org.kde.krunner1"
ODD = os.fsdecode(b"red \xff\n<b>.mp4")
# The program, with the model that knows colours, and takes longer for a film than the service between two looks at it.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fakes import FakeModel, clipped
from mmi_tvr.cli import desktop
from mmi_tvr.cli.app import run
from mmi_tvr.library import Library
desktop.Library = lambda path: Library(path, FakeModel(delay=1.0), None, clipped)
run()
"""
RECORDING = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
"""
Answer = TypeVar("Answer")


@dataclass
class Session:
    """A session with a library in it, and programs that write down what they are to open."""

    address: str
    folder: Path

    @property
    def library(self) -> Path:
        return self.folder / "library"

    def call(self, work: Callable[[Caller], Awaitable[Answer]]) -> Answer:
        return calling(self.address, BUS_NAME, OBJECT_PATH, work)

    def opened(self) -> list[list[str]]:
        """Return what was opened since the last look, waiting for it."""
        log = self.folder / "opened"
        deadline = time.monotonic() + 20
        while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
            time.sleep(0.02)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        return lines


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("desktop")
    for name, colour in (("blue.mp4", "blue"), (ODD, "red"), ("green.mp4", "green")):
        colour_video(folder / "films" / name, colour)
    with Library(folder / "library", FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
    for program in ("mpv", "xdg-open"):
        script(folder / "bin" / program, RECORDING.format(python=sys.executable, log=str(folder / "opened")))
    program = script(folder / "program.py", PROGRAM.format(tests=str(Path(__file__).parent)))
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MMI_TVR_LIBRARY": str(folder / "library"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "LANG": "zh_CN.UTF-8",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", environment["XDG_DATA_HOME"])
        installing.install(None)
    activation = folder / "data/dbus-1/services" / f"{BUS_NAME}.service"
    text = activation.read_text()
    assert "-m mmi_tvr.cli desktop run" in text
    activation.write_text(text.replace("-m mmi_tvr.cli", str(program)))
    with session_bus(environment) as address:
        yield Session(address, folder)


@needs_bus
def test_a_call_starts_the_service_and_it_answers(session: Session) -> None:
    async def work(caller: Caller) -> tuple[int, Any, Any]:
        before = await caller.owner()
        answer = await caller.call(BUS_NAME, "Search", "su", "red", 5)
        return before, answer, await caller.call(BUS_NAME, "Status")

    before, (is_found, reason, results), status = session.call(work)
    assert before == 0
    assert is_found
    assert reason
    first = {key: value.value for key, value in results[0].items()}
    assert first["uri"] == file_uri(session.folder / "films" / ODD)
    assert first["name"] == "red \\xff\\n<b>.mp4"
    assert first["end"] > first["start"] >= 0
    assert first["relevance"] > 0.9
    assert {key: status[key].value for key in ("exists", "served", "videos", "pending", "indexing")} == {
        "exists": True, "served": False, "videos": 3, "pending": 0, "indexing": "idle",
    }  # fmt: skip


@needs_bus
def test_thumbnails_are_those_of_the_desktop(session: Session) -> None:
    """One that is missing is made, by their specification, and once."""

    async def work(caller: Caller) -> tuple[Any, Any]:
        first = await caller.call(BUS_NAME, "Search", "su", "blue", 1)
        await asyncio.sleep(0)
        return first, await caller.call(BUS_NAME, "Search", "su", "blue", 1)

    deadline = time.monotonic() + 30  # a slow machine makes it for the next time
    while "thumbnail" not in (result := session.call(work)[1][2][0]):
        assert time.monotonic() < deadline
    thumbnail = Path(result["thumbnail"].value)
    assert thumbnail.is_relative_to(session.folder / "cache/thumbnails/large")
    assert stat.S_IMODE(thumbnail.stat().st_mode) == 0o600
    assert stat.S_IMODE(thumbnail.parent.stat().st_mode) == 0o700
    film = session.folder / "films/blue.mp4"
    with Image.open(thumbnail) as picture:
        assert picture.info["Thumb::URI"] == file_uri(film)
        assert picture.info["Thumb::MTime"] == str(int(film.stat().st_mtime))
        assert max(picture.size) <= 256
        assert picture.convert("RGB").getpixel((5, 5))[2] > 200  # blue
    written = thumbnail.stat().st_mtime_ns
    session.call(work)
    assert thumbnail.stat().st_mtime_ns == written


@needs_bus
def test_gnome_gets_results_and_opens_one_at_its_second(session: Session) -> None:
    async def work(caller: Caller) -> dict[str, Any]:
        first = await caller.call(GNOME, "GetInitialResultSet", "as", ["red"])
        metas = await caller.call(GNOME, "GetResultMetas", "as", [*first, "99@1.00", "x", "1@1.00; rm"])
        later = await caller.call(GNOME, "GetSubsearchResultSet", "asas", first, ["blue"])
        empty = [await caller.call(GNOME, "GetInitialResultSet", "as", terms) for terms in ([], ["", " "], ["a"])]
        await caller.call(GNOME, "ActivateResult", "sasu", first[0], ["red"], 0)
        unknown = await caller.error(GNOME, "ActivateResult", "sasu", "99@1.00", [], 0)
        return {"first": first, "metas": metas, "later": later, "empty": empty, "unknown": unknown}

    answers = session.call(work)
    assert len(answers["metas"]) == len(answers["first"]) == len({meta["id"].value for meta in answers["metas"]})
    meta = answers["metas"][0]
    assert meta["id"].value == answers["first"][0]
    assert meta["name"].value == "red \\xff\\n<b>.mp4"
    assert str(session.folder / "films") in meta["description"].value
    assert "icon" in meta or meta["gicon"].value == "video-x-generic"
    assert answers["later"][0] != answers["first"][0]
    assert answers["empty"] == [[], [], []]
    assert "99" in answers["unknown"][1]
    [arguments] = session.opened()
    assert arguments == [file_uri(session.folder / "films" / ODD)]  # its second is 0: the default application


@needs_bus
def test_krunner_matches_and_runs(session: Session) -> None:
    async def work(caller: Caller) -> dict[str, Any]:
        matches = await caller.call(KRUNNER, "Match", "s", "green")
        await caller.call(KRUNNER, "Teardown")
        await caller.call(KRUNNER, "Run", "ss", matches[0][0], "folder")
        return {"matches": matches, "actions": await caller.call(KRUNNER, "Actions")}

    answers = session.call(work)
    _, text, icon, kind, relevance, properties = answers["matches"][0]
    assert (text, icon, kind) == ("green.mp4", "video-x-generic", 30)
    assert 0.9 < relevance <= 1.0
    assert properties["urls"].value == [file_uri(session.folder / "films/green.mp4")]
    assert properties["category"].value == "视频片段搜索"
    assert [*map(list, answers["actions"])] == [["folder", "在文件夹中显示", "document-open-folder"]]
    assert session.opened() == [[file_uri(session.folder / "films")]]


HOSTILE = [
    "", " ", "\x01\x1b[31m\n\r\t", "红" * 5000, "a" * 200_000, "' OR 1=1 --", "[", "[[anna]", "${HOME} `id` $(id)",
    "../../etc/passwd",
    "<b>&amp;</b>", "\u202egnp.exe", "👩‍👩‍👧", "NOT \"red\" NEAR/2 *", "-1", "%s%n",
]  # fmt: skip


@needs_bus
def test_hostile_calls_are_answered_and_cost_nothing(session: Session) -> None:
    async def work(caller: Caller) -> tuple[list[Any], int, int]:
        await caller.call(BUS_NAME, "Status")
        before = await caller.owner()
        replies = []
        for text in HOSTILE:
            replies.append(await caller.send(BUS_NAME, "Search", "su", text, 4_000_000_000))
            await caller.call(GNOME, "GetInitialResultSet", "as", text.split(" "))
            await caller.call(KRUNNER, "Match", "s", text)
            await caller.send(KRUNNER, "Run", "ss", text[:1000], text[:1000])
            await caller.send(BUS_NAME, "Open", "s", text[:1000])
        assert await caller.call(GNOME, "GetResultMetas", "as", ["x"] * 10_000) == []
        for signature, body in (("", []), ("u", [1]), ("ss", ["red", "5"]), ("a{sv}", [{}])):
            replies.append(await caller.error(BUS_NAME, "Search", signature, *body))
        replies.append(await caller.error(BUS_NAME, "NoSuchMethod"))
        replies.append(await caller.error("no.such.Interface", "Search"))
        assert await caller.call("org.freedesktop.DBus.Introspectable", "Introspect")
        return replies, before, await caller.owner()

    replies, before, after = session.call(work)
    assert before == after
    assert [reply.body for reply in replies[:2]] == [[False, "nothing is looked for", []]] * 2
    assert len(replies) == len(HOSTILE) + 6


@needs_bus
def test_who_types_on_gets_the_last_results_and_disturbs_nobody_else(session: Session) -> None:
    async def work(caller: Caller) -> tuple[list[Any], Any]:
        await caller.call(BUS_NAME, "Status")
        bus = await SessionBus(session.address).connect()
        texts = [f"red {number:x}" for number in range(100, 140)]
        letters = [caller.call(GNOME, "GetInitialResultSet", "as", [text]) for text in texts]
        other = Caller(bus, BUS_NAME, OBJECT_PATH).call(GNOME, "GetInitialResultSet", "as", ["blue"])
        *typed, of_other = await asyncio.gather(*letters, other)
        bus.disconnect()
        return typed, of_other

    typed, of_other = session.call(work)
    assert typed[-1]
    assert sum(map(bool, typed)) < 10
    assert of_other


@needs_bus
def test_a_thousand_calls_at_once(session: Session) -> None:
    async def work(caller: Caller) -> tuple[list[Any], int, int, int]:
        await caller.call(BUS_NAME, "Search", "su", "red", 5)
        owner = await caller.owner()
        before = resident(owner)
        calls = []
        for number in range(250):
            calls += [
                caller.call(BUS_NAME, "Search", "su", ("red", "blue", "green")[number % 3], 3) if number % 5 == 0
                else caller.call(BUS_NAME, "Status"),
                caller.call(GNOME, "GetInitialResultSet", "as", [f"red {number}"]),
                caller.call(GNOME, "GetResultMetas", "as", ["1@0.00"]),
                caller.call(KRUNNER, "Match", "s", "blue"),
            ]  # fmt: skip
        answers = await asyncio.gather(*calls)
        assert await caller.owner() == owner
        return answers, before, resident(owner), owner

    answers, before, after, _ = session.call(work)
    assert len(answers) == 1000
    assert all(len(meta) == 1 for meta in answers[2::4])
    assert after - before < 60 << 20


def resident(pid: int) -> int:
    """Return the memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_bus
def test_a_killed_service_is_started_again(session: Session) -> None:
    async def work(caller: Caller) -> tuple[int, int, Any]:
        await caller.call(BUS_NAME, "Status")
        first = await caller.owner()
        pending = asyncio.ensure_future(caller.send(BUS_NAME, "Search", "su", "red", 5))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        await pending  # answered before, or an error of the bus
        answer = await caller.call(GNOME, "GetInitialResultSet", "as", ["red"])
        return first, await caller.owner(), answer

    first, second, answer = session.call(work)
    assert first != second
    assert answer


@needs_bus
def test_a_library_is_rebuilt_meanwhile(session: Session) -> None:
    """Every call is answered, and whoever listens hears that something changed."""

    async def work(caller: Caller) -> tuple[list[Any], list[str]]:
        signals = await caller.signals(BUS_NAME)
        await caller.call(BUS_NAME, "Status")

        def rebuild() -> None:
            with Library(session.library, FakeModel(head=1), relevance=clipped) as library:
                library.index(rebuild=True)
            with Library(session.library, FakeModel(), relevance=clipped) as library:
                library.index(rebuild=True)

        work = asyncio.get_running_loop().run_in_executor(None, rebuild)
        answers = []
        while not work.done():
            answers.append(await caller.send(BUS_NAME, "Search", "su", "red", 5))
        await work
        answers.append(await caller.call(BUS_NAME, "Search", "su", "red", 5))
        deadline = time.monotonic() + 10
        while "Changed" not in signals and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return answers, signals

    answers, signals = session.call(work)
    assert answers[-1][0]
    assert "Changed" in signals


@needs_bus
def test_indexing_is_paused_and_resumed(session: Session) -> None:
    colour_video(session.folder / "films/yellow.mp4", "yellow")

    async def work(caller: Caller) -> tuple[bool, list[str], Any]:
        signals = await caller.signals(BUS_NAME)
        assert await caller.call(BUS_NAME, "Pause")
        assert current_pause(session.library)
        assert not await caller.call(BUS_NAME, "Pause")
        began = await caller.call(BUS_NAME, "Resume")
        assert not current_pause(session.library)
        await caller.call(BUS_NAME, "Pause")
        deadline = time.monotonic() + 60
        while (status := await caller.call(BUS_NAME, "Status"))["videos"].value < 4:
            if status["indexing"].value != "running":
                await caller.call(BUS_NAME, "Resume")
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        return began, signals, await caller.call(BUS_NAME, "Search", "su", "yellow", 1)

    began, signals, (is_found, _, [result]) = session.call(work)
    assert began
    assert "Progress" in signals
    assert is_found
    assert result["name"].value == "yellow.mp4"


@needs_bus
def test_a_running_service_holds_the_model(session: Session) -> None:
    async def work(caller: Caller) -> Any:
        await caller.call(GNOME, "LaunchSearch", "asu", ["红", "a&b #1"], 0)
        return await caller.call(BUS_NAME, "Status"), await caller.call(BUS_NAME, "Search", "su", "cyan red", 2)

    with Library(session.library, FakeModel(), relevance=clipped) as library, served(library) as client:
        status, answer = session.call(work)
        assert session.opened() == [[f"{client.running.url}/?q=%E7%BA%A2%20a%26b%20%231"]]  # all results, on the page
    assert status["served"].value
    assert answer[2]


@needs_bus
def test_it_ends_when_nobody_calls_and_says_so_where_there_is_no_library(session: Session, tmp_path: Path) -> None:
    """By the program itself, as it is installed."""
    environment = {
        **os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "MMI_TVR_LIBRARY": str(tmp_path / "no library"),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", environment["XDG_DATA_HOME"])
        installing.install(None)
    activation = tmp_path / "data/dbus-1/services" / f"{BUS_NAME}.service"
    activation.write_text(activation.read_text().replace("desktop run", "desktop run --idle-exit 3"))

    async def work(caller: Caller) -> tuple[Any, Any, Any, int]:
        error = await caller.error(BUS_NAME, "Search", "su", "red", 5)
        status = await caller.call(BUS_NAME, "Status")
        typed = await caller.call(GNOME, "GetInitialResultSet", "as", ["red"])
        pid = await caller.owner()
        deadline = time.monotonic() + 30
        while await caller.owner() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return error, status, typed, pid

    with session_bus(environment) as address:
        error, status, typed, pid = calling(address, BUS_NAME, OBJECT_PATH, work)
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not os.path.exists(f"/proc/{pid}")
    assert error[0] == f"{BUS_NAME}.Error.LibraryMissing"
    assert "no library is here; make one: mmi-tvr index DIR" in error[1]
    assert not status["exists"].value
    assert "no library is here" in status["error"].value
    assert typed == []
