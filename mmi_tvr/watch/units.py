"""What starts a watcher by itself: a systemd user unit, and an autostart file for desktops without systemd.

Both are written, under $XDG_CONFIG_HOME alone (decision): which of them a desktop reads is not to be known beforehand,
and where both start a watcher, the second one ends by itself. Nothing is started here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..utils.desktop_files import exec_word, xdg_folder
from ..utils.files import is_ours, write_atomically
from ..utils.hashing import digest

_UNIT = """\
# Written by mmi-tvr watch --install; mmi-tvr watch --uninstall removes it.
[Unit]
Description=mmi-tvr: take in new media of {library} in spare time

[Service]
ExecStart={command}
{priority}TimeoutStopSec=10
Restart=on-abnormal
RestartSec=60

[Install]
WantedBy=default.target
"""
_IDLE = """\
Nice=19
CPUSchedulingPolicy=idle
IOSchedulingClass=idle
CPUWeight=1
IOWeight=1
Slice=background.slice
"""
_AUTOSTART = """\
# Written by mmi-tvr watch --install; mmi-tvr watch --uninstall removes it.
[Desktop Entry]
Type=Application
Name=mmi-tvr watch
Comment=Takes in new media in spare time
Exec={command}
NoDisplay=true
X-systemd-skip=true
"""
_MARK = b"Written by mmi-tvr watch --install"


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """Where the files of a library's watcher lie: a unit, the link that enables it, an autostart file."""

    unit: Path
    link: Path
    autostart: Path

    @classmethod
    def of(cls, library: Path) -> UnitFiles:
        """Return the files of the library in a folder; another library has others."""
        name = f"mmi-tvr-watch-{digest(os.fsencode(library).hex())[:8]}"
        home = config_home()
        units = home / "systemd" / "user"
        unit = units / f"{name}.service"
        return cls(unit, units / "default.target.wants" / unit.name, home / "autostart" / f"{name}.desktop")


def config_home() -> Path:
    """Return $XDG_CONFIG_HOME, where that is an absolute path, else ~/.config."""
    return xdg_folder("XDG_CONFIG_HOME", ".config")


def install(library: Path, arguments: Sequence[str], spare_time: bool = True) -> list[Path]:
    """Write the files that start a watcher, and return them.

    Args:
        library: absolute path of its folder.
        arguments: of `mmi-tvr`; paths among them are absolute.
        spare_time: whether the unit has the lowest priority.

    Raises:
        UsageError: a path cannot stand in such files, or a file of this name is not ours.
        OSError: a file cannot be written.
    """
    files = UnitFiles.of(library)
    words = [*_program(), *arguments]
    unit = _UNIT.format(
        library=unit_word(str(library)),
        command=" ".join(map(unit_word, words)),
        priority=_IDLE if spare_time else "",
    )
    autostart = _AUTOSTART.format(command=" ".join(map(autostart_word, words)))
    for path in (files.unit, files.autostart):
        if path.exists() and not is_ours(path, _MARK):
            raise UsageError(f"{path}: is there, and mmi-tvr watch --install did not write it; move it away first")
    for path, text in ((files.unit, unit), (files.autostart, autostart)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    files.link.parent.mkdir(parents=True, exist_ok=True)
    files.link.unlink(missing_ok=True)
    files.link.symlink_to(f"../{files.unit.name}")
    return [files.unit, files.link, files.autostart]


def uninstall(library: Path) -> list[Path]:
    """Remove those of the files that start the watcher of a library that `install` wrote, and return them."""
    files = UnitFiles.of(library)
    removed = []
    for path in (files.link, files.unit, files.autostart):
        if path.is_symlink() or (path.is_file() and is_ours(path, _MARK)):
            path.unlink()
            removed.append(path)
    for folder in (files.link.parent, files.autostart.parent):
        with suppress(OSError):  # others have files in it
            folder.rmdir()
    return removed


def unit_word(text: str) -> str:
    r"""Return an argument as the command of a systemd unit takes it: quoted, with no specifier and no variable in it.

    >>> print(unit_word('/my "50 %" $films'))
    "/my \"50 %%\" $$films"

    Raises UsageError for what cannot stand there.
    """
    escaped = _checked(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def autostart_word(text: str) -> str:
    """Return an argument as an autostart file takes it (`exec_word`). Raises UsageError for what cannot stand there."""
    return exec_word(_checked(text))


def _checked(text: str) -> str:
    """Return a text that has one line of printable characters. Raises UsageError."""
    with suppress(UnicodeEncodeError):
        text.encode()
        if all(letter.isprintable() or letter == " " for letter in text):
            return text
    raise UsageError(f"{text!r}: such a path cannot stand in a unit file; rename it, or link to it by another name")


def _program() -> list[str]:
    """Return the words that start this program, whatever the working folder is."""
    program = Path(sys.executable).with_name("mmi-tvr")
    return [str(program)] if program.is_file() else [sys.executable, "-m", "mmi_tvr"]
