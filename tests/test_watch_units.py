"""Units of systemd, autostart files, and the priority of work in spare time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmi_tvr.errors import UsageError
from mmi_tvr.watch.priority import lower_priority
from mmi_tvr.watch.units import UnitFiles, autostart_word, config_home, install, uninstall, unit_word


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


ODD = ("/a b", "/50%", '/"q"', "/back\\slash", "/$HOME", "/`x`", "/ü 写真", "/a;b'c", "/-dash")


def test_units_are_written_and_removed_under_the_config_folder_alone(home: Path, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(home)}
    written = install(tmp_path / "a library", ["watch", "/my films"])
    files = UnitFiles.of(tmp_path / "a library")
    assert written == [files.unit, files.link, files.autostart]
    assert all(path.is_relative_to(home) for path in written)
    assert files.link.resolve() == files.unit
    text = files.unit.read_text()
    assert '"watch" "/my films"' in text
    for line in ("CPUSchedulingPolicy=idle", "IOSchedulingClass=idle", "CPUWeight=1", "IOWeight=1", "Nice=19"):
        assert line in text.splitlines()
    assert UnitFiles.of(tmp_path / "other").unit != files.unit
    assert install(tmp_path / "a library", ["watch"], spare_time=False) == written  # replaces its own
    assert "idle" not in files.unit.read_text()
    assert uninstall(tmp_path / "a library") == [files.link, files.unit, files.autostart]
    assert uninstall(tmp_path / "a library") == []
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(home)} == before


def test_files_of_others_are_not_replaced(home: Path, tmp_path: Path) -> None:
    files = UnitFiles.of(tmp_path)
    files.autostart.parent.mkdir(parents=True)
    files.autostart.write_text("[Desktop Entry]\n")
    with pytest.raises(UsageError, match="did not write it"):
        install(tmp_path, ["watch"])
    assert not files.unit.exists()
    assert uninstall(tmp_path) == []
    assert files.autostart.exists()


@pytest.mark.parametrize("path", ["/a\nb", "/a\tb", "/\udce9", "/\x1b[0m", "/\u2028"])
def test_what_cannot_stand_in_a_unit_is_refused(path: str, home: Path) -> None:
    for word in (unit_word, autostart_word):
        with pytest.raises(UsageError, match="cannot stand in a unit file"):
            word(path)
    with pytest.raises(UsageError):
        install(Path(path), ["watch"])
    assert not home.exists()


def test_a_unit_takes_neither_specifiers_nor_variables() -> None:
    assert [unit_word(path) for path in ("/50%h", "/$HOME", '/"q"', "/back\\slash")] == [
        '"/50%%h"', '"/$$HOME"', '"/\\"q\\""', '"/back\\\\slash"',
    ]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
def test_a_desktop_reads_back_the_words_of_an_autostart_file(path: str) -> None:
    """By the rules of the desktop entry specification: the text's escapes first, then the quotes'."""
    text = autostart_word(path).replace("\\\\", "\0").replace("\0", "\\")
    assert (text[0], text[-1]) == ('"', '"')
    word, letters = "", iter(text[1:-1])
    for letter in letters:
        word += next(letters) if letter == "\\" else letter
    assert word.replace("%%", "%") == path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_reads_the_unit(home: Path, tmp_path: Path) -> None:
    install(tmp_path / ODD[0][1:], ["watch", *ODD, "--library", "/l"])
    unit = UnitFiles.of(tmp_path / ODD[0][1:]).unit
    command = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert unit.name not in answer.stderr + answer.stdout, answer.stderr


def test_the_config_folder_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert config_home() == Path.home() / ".config"


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_work_in_spare_time_stands_behind_all_others() -> None:
    begin, end = os.pipe()
    child = os.fork()
    if not child:
        lower_priority()
        os.close(begin)
        os.write(end, b"!")
        signal.pause()
    try:
        assert os.read(begin, 1) == b"!"
        assert os.sched_getscheduler(child) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, child) == 19
        if shutil.which("ionice"):
            answer = subprocess.run(["ionice", "-p", str(child)], capture_output=True, text=True, check=True)
            assert answer.stdout.strip() == "idle"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begin)
        os.close(end)
