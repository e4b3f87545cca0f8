"""What `mmi-tvr desktop install` writes, removes and says; and the commands that open a file."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmi_tvr.cli import desktop
from mmi_tvr.desktop import installing, players
from mmi_tvr.desktop.names import BUS_NAME, CHINESE, OBJECT_PATH
from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.utils.strict_json import loads

FILES = {
    f"applications/{BUS_NAME}.desktop",
    f"dbus-1/services/{BUS_NAME}.service",
    f"gnome-shell/search-providers/{BUS_NAME}.ini",
    f"icons/hicolor/scalable/apps/{BUS_NAME}.svg",
    f"krunner/dbusplugins/{BUS_NAME}.desktop",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "data home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("MMI_TVR_LIBRARY", str(tmp_path / "of the environment"))
    return home


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def parsed(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path, "utf-8")
    return parser


def check() -> dict[str, object]:
    result = CliRunner().invoke(desktop.group, ["check", "--json"])
    document: dict[str, object] = loads(result.stdout)
    assert result.exit_code == (1 if document["problems"] else 0)
    return document


def test_installing_writes_below_the_data_home_alone_and_uninstalling_removes_it(home: Path, tmp_path: Path) -> None:
    assert check()["installed"] is False
    installing.install(None)
    assert files_below(tmp_path) == {f"data home/{name}" for name in FILES}
    document = check()
    assert document["installed"] is True
    assert [one["state"] for one in document["files"]] == ["ok"] * 5  # type: ignore[attr-defined]
    assert document["library"] == str(tmp_path / "of the environment")
    assert "no library is at" in document["problems"][0]  # type: ignore[index]
    installing.install(None)  # once more changes nothing
    assert len(installing.uninstall()) == 5
    assert files_below(tmp_path) == set()
    assert installing.uninstall() == []


def test_the_files_say_what_desktops_read(home: Path, tmp_path: Path) -> None:
    library = tmp_path / "my 100% 'films' $HOME"
    installing.install(library)
    activation = parsed(home / f"dbus-1/services/{BUS_NAME}.service")["D-BUS Service"]
    assert activation["Name"] == BUS_NAME
    words = [sys.executable, "-m", "mmi_tvr.cli", "desktop", "run", "--library", str(library)]
    assert shlex.split(activation["Exec"]) == words
    provider = parsed(home / f"gnome-shell/search-providers/{BUS_NAME}.ini")["Shell Search Provider"]
    assert (provider["BusName"], provider["ObjectPath"], provider["Version"]) == (BUS_NAME, OBJECT_PATH, "2")
    assert provider["DesktopId"] == f"{BUS_NAME}.desktop"
    runner = parsed(home / f"krunner/dbusplugins/{BUS_NAME}.desktop")["Desktop Entry"]
    assert (runner["X-Plasma-API"], runner["X-Plasma-DBusRunner-Service"]) == ("DBus", BUS_NAME)
    assert runner["X-Plasma-DBusRunner-Path"] == OBJECT_PATH
    application = parsed(home / f"applications/{BUS_NAME}.desktop")["Desktop Entry"]
    assert application["Name[zh]"] == CHINESE.title
    line = application["Exec"]  # the file format's escapes first, then the shell-like quotes, then fields
    assert shlex.split(line.replace("\\\\", "\\"))[-1].replace("\\$", "$").replace("%%", "%") == str(library)
    assert check()["library"] == str(library)


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_of_others_are_left_alone(home: Path, name: str) -> None:
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text("[Desktop Entry]\nName=of somebody else\n")
    with pytest.raises(UsageError, match="did not write it"):
        installing.install(None)
    states = {one["path"]: one["state"] for one in check()["files"]}  # type: ignore[attr-defined]
    assert states[str(home / name)] == "foreign"
    installing.uninstall()
    assert files_below(home) == {name}
    installing.install(None, force=True)
    assert check()["installed"] is True


def test_what_was_changed_since_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installing.install(None)
    monkeypatch.setattr(sys, "executable", "/elsewhere/python")  # another installation
    assert {one["state"] for one in check()["files"]} == {"ok", "different"}  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "executable", "/a\nb/python")
    with pytest.raises(UsageError, match="such characters"):
        installing.install(None)


def test_a_missing_extra_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installing.install(None)
    monkeypatch.setattr(installing, "installed", lambda module: False)
    assert "dbus_fast is not installed: " in check()["problems"][0]  # type: ignore[index]


def test_gnome_needs_one_file_more_and_that_is_said(home: Path, tmp_path: Path) -> None:
    installing.install(None)
    [note] = check()["notes"]  # type: ignore[misc]
    words = shlex.split(note.partition(": ")[2].partition(" (")[0])
    source, target = words[-2:]
    assert Path(source).is_file()
    system = tmp_path / "system" / Path(target).relative_to("/usr/local/share")
    system.parent.mkdir(parents=True)
    system.write_bytes(Path(source).read_bytes())
    assert check()["notes"] == []


def recording_programs(folder: Path, *names: str) -> None:
    for name in names:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\nprintf '%s\\n' {name} \"$@\" >> {shlex.quote(str(folder / 'log'))}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "second", "expected"),
    [
        (["mpv", "xdg-open"], 12.345, ["mpv", "--start=12.35", "--", "/films/-a #1.mp4"]),
        (["vlc", "xdg-open"], 12.345, ["vlc", "--start-time=12.35", "file:///films/-a%20%231.mp4"]),
        (["mpv", "xdg-open"], 0.0, ["xdg-open", "file:///films/-a%20%231.mp4"]),
        (["xdg-open"], 12.0, ["xdg-open", "file:///films/-a%20%231.mp4"]),
        (["gio"], 12.0, ["gio", "open", "file:///films/-a%20%231.mp4"]),
    ],
)
def test_a_file_is_opened_at_its_second_where_a_player_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], second: float, expected: list[str]
) -> None:
    recording_programs(tmp_path / "bin", *programs)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert players.open_command(Path("/films/-a #1.mp4"), second) == expected


def test_of_two_players_the_default_one_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_programs(tmp_path / "bin", "mpv", "vlc")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    for default, expected in (("vlc.desktop", "vlc"), ("io.mpv.Mpv.desktop", "mpv"), ("totem.desktop", "mpv")):
        script = tmp_path / "bin/xdg-mime"
        script.write_text(f"#!/bin/sh\necho {default}\n")
        script.chmod(0o755)
        assert players.open_command(Path("/a.mp4"), 1.0)[0] == expected


def test_without_any_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MmiTvrError, match="install mpv"):
        players.open_command(Path("/a.mp4"), 1.0)
    with pytest.raises(MmiTvrError, match="cannot be started"):
        players.launch(["no such program"])


def test_without_a_bus_it_says_how_to_get_one(tmp_path: Path) -> None:
    environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    command = [sys.executable, "-m", "mmi_tvr.cli", "desktop", "run", "--library", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no session bus is here")
    assert len(done.stderr.splitlines()) == 1
