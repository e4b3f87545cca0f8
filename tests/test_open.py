"""Opening a hit of the last search, and hits as playlists, timelines and paths, also of files with odd names."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
import typer
from click.testing import Result
from fakes import FakeModel, clipped, colour_video
from typer.testing import CliRunner

from mmi_tvr.cli import _libraries, search
from mmi_tvr.cli import open as opening
from mmi_tvr.errors import MissingExtra
from mmi_tvr.library import Library
from mmi_tvr.report.playlist import playlist
from mmi_tvr.report.timeline import edit_decision_list, timeline
from mmi_tvr.types import Hit, HitMoment
from mmi_tvr.utils.addresses import file_uri

ODD = os.fsdecode(b"-red \xff\n#1 [b].mp4")
PROGRAM = """#!{python}
import os, sys
with open({log!r}, "ab") as log:
    log.write(b"\\0".join(map(os.fsencode, sys.argv)) + b"\\0\\0")
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open")
    for name, colour in ((ODD, "red"), ("blue.mp4", "blue")):
        colour_video(folder / "films" / name, colour)
    with Library(folder / "library", FakeModel(), relevance=clipped) as library:
        library.index(folder / "films")
    return folder / "films"


class Commands:
    """Runs `search` and `open` in a folder of their own."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder = folder
        self.library = library
        self.app = typer.Typer()
        search.register(self.app)
        opening.register(self.app)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(self.app, [*words, "--library", str(self.library)])

    def state_files(self) -> list[Path]:
        return [path for path in (self.folder / "state").rglob("*") if path.is_file()]


@pytest.fixture
def commands(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setattr(
        _libraries, "Library", lambda path, settings=None: Library(path, FakeModel(), settings, clipped)
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "bin").mkdir()
    for name in ("mpv", "xdg-open"):
        program = tmp_path / "bin" / name
        program.write_text(PROGRAM.format(python=sys.executable, log=str(tmp_path / "log")))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path, films.parent / "library")


def test_a_hit_is_opened_and_what_is_remembered_is_the_users_alone(commands: Commands, films: Path) -> None:
    assert commands.run("search", "red").exit_code == 0
    [state] = commands.state_files()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    assert b"query" not in state.read_bytes()
    assert commands.run("open", "1").exit_code == 0
    log, deadline = commands.folder / "log", time.monotonic() + 20
    while not log.exists() or not log.read_bytes().endswith(b"\0\0"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert log.read_bytes().split(b"\0")[1:2] == [file_uri(films / ODD).encode()]  # its second is 0


def test_the_command_is_printed(commands: Commands, films: Path) -> None:
    commands.run("search", "red")
    assert shlex.split(commands.run("open", "1", "--print").stdout) == ["xdg-open", file_uri(films / ODD)]
    [state] = commands.state_files()
    document = json.loads(state.read_text())
    document["hits"][0]["second"] = 5.875
    state.write_text(json.dumps(document))
    words = shlex.split(commands.run("open", "1", "--print").stdout)
    assert words == ["mpv", "--start=5.88", "--", file_uri(films / ODD)]  # a name that no line can show
    assert not (commands.folder / "log").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["open", "9"], "there is no hit 9"), (["open"], "which hit"), (["open", "1", "--forget"], "leave out N")],
)
def test_wrong_numbers_are_one_line(commands: Commands, words: list[str], message: str) -> None:
    commands.run("search", "red")
    assert message in str(commands.run(*words).exception)


def test_what_was_forgotten_or_is_away_is_told(commands: Commands, films: Path) -> None:
    assert "nothing was searched for" in str(commands.run("open", "1").exception)
    commands.run("search", "blue", "--top", "1")
    hidden = films / "blue.mp4"
    hidden.rename(films / "moved.mp4")
    try:
        assert "this file is away" in str(commands.run("open", "1").exception)
    finally:
        (films / "moved.mp4").rename(hidden)
    [state] = commands.state_files()
    state.write_text("{")
    assert "search again" in str(commands.run("open", "1").exception)
    assert commands.run("open", "--forget").exit_code == 0
    assert commands.state_files() == []


def test_a_search_works_where_nothing_can_be_remembered(commands: Commands) -> None:
    (commands.folder / "state").write_text("a file is in the way")
    assert commands.run("search", "red").exit_code == 0


def test_paths_for_xargs(commands: Commands, films: Path) -> None:
    result = commands.run("search", "red", "--export", "paths0", "--min-relevance", "0")
    paths = result.stdout_bytes.split(b"\0")
    assert paths[0] == os.fsencode(films / ODD)
    assert paths[-1] == b""
    assert len(paths) == 3
    listed = subprocess.run(
        ["/usr/bin/xargs", "-0", "/bin/ls", "-d", "--"], input=result.stdout_bytes, capture_output=True
    )
    assert listed.returncode == 0


def test_a_playlist_names_every_file(commands: Commands, films: Path) -> None:
    assert commands.run("search", "red", "--export", "hits.m3u8", "--min-relevance", "0").exit_code == 0
    lines = (commands.folder / "hits.m3u8").read_text("utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    entries = [line for line in lines if not line.startswith("#")]
    assert entries == [file_uri(films / ODD), str(films / "blue.mp4")]
    assert path_of(entries[0]) == os.fsencode(films / ODD)
    assert commands.run("search", "red", "--export", "hits.m3u8").exit_code == 0  # ours is written over
    (commands.folder / "hits.m3u8").write_text("#EXTM3U\n/of/somebody/else.mp4\n")
    assert "did not write it" in str(commands.run("search", "red", "--export", "hits.m3u8").exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--export", "hits.txt"], "ends in .m3u"), (["--export", "paths0", "--json"], "both print"),
     (["--export", "no/hits.m3u"], "folder does not exist")],
)  # fmt: skip
def test_wrong_exports_are_told_before_the_search(
    commands: Commands, words: Sequence[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Library, "search", None)
    assert message in str(commands.run("search", "red", *words).exception)


def path_of(uri: str) -> bytes:
    return unquote_to_bytes(urlsplit(uri).path)


def hits() -> list[Hit]:
    return [
        Hit(Path("/films") / ODD, 5.875, 7.722, 6.0, 0.4, 0.9),
        Hit(Path("/films/照片.jpg"), 0.0, 0.0, 0.0, 0.4, 0.5),
        Hit(Path("/films/c.mp4"), 3599.99, 3600.01, 3600.0, 0.4, 0.1),
    ]


def test_a_playlist_has_the_seconds_of_each_moment() -> None:
    lines = playlist(hits()).decode().splitlines()
    assert lines[2:5] == [
        "#EXTINF:1.847,-red \\xff\\n#1 [b].mp4",
        "#EXTVLCOPT:start-time=5.875",
        "#EXTVLCOPT:stop-time=7.722",
    ]
    assert lines[6:8] == ["#EXTINF:-1,照片.jpg", "/films/照片.jpg"]  # a still has none


def test_a_hit_of_several_moments_is_several_entries() -> None:
    """Those of `search --more`, in the order of time; two channels may have the same one."""
    moments = (HitMoment(8.0, 9.0), HitMoment(1.0, 2.0, "heard", "hello"), HitMoment(8.0, 9.0, "read", "hello"))
    hit = Hit(Path("/a.mp4"), 8.0, 9.0, 8.5, 0.4, 0.9, moments=moments)
    lines = playlist([hit]).decode().splitlines()
    assert [line for line in lines if "start-time" in line] == [
        "#EXTVLCOPT:start-time=1.000", "#EXTVLCOPT:start-time=8.000",
    ]  # fmt: skip
    assert lines.count("/a.mp4") == 2


def test_a_timeline_is_read_by_its_own_package() -> None:
    otio = pytest.importorskip("opentimelineio")
    document = otio.adapters.read_from_string(timeline(hits(), "red\n\x1b").decode(), "otio_json")
    clips = list(document.tracks[0])
    assert [path_of(clip.media_reference.target_url) for clip in clips] == [os.fsencode(hit.path) for hit in hits()]
    spans = [(clip.source_range.start_time.to_seconds(), clip.source_range.duration.to_seconds()) for clip in clips]
    for (start, duration), expected in zip(spans, [(5.875, 1.847), (0.0, 4.0), (3599.99, 0.04)], strict=True):
        assert abs(start - expected[0]) <= 0.021
        assert abs(duration - expected[1]) <= 0.021
        assert duration > 0


def test_an_edit_decision_list_is_read_again() -> None:
    otio = pytest.importorskip("opentimelineio")
    pytest.importorskip("otio_cmx3600_adapter")
    text = edit_decision_list(hits(), "red\nTITLE: x").decode()
    assert text.startswith("TITLE: mmi-tvr: red")
    assert text.count("TITLE:") <= 2
    assert len([line for line in text.splitlines() if line[:3].isdigit()]) == 3
    again = otio.adapters.read_from_string(text, "cmx_3600", rate=25)
    assert len(list(again.tracks[0])) == 3
    files = [line.partition("FROM FILE: ")[2] for line in text.splitlines() if "FROM FILE" in line]
    assert [path_of(uri) for uri in files] == [os.fsencode(hit.path) for hit in hits()]


def test_a_timeline_names_what_is_to_be_installed(monkeypatch: pytest.MonkeyPatch, commands: Commands) -> None:
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    assert isinstance(commands.run("search", "red", "--export", "hits.otio").exception, MissingExtra)
