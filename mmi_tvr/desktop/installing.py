"""The files by which a desktop knows of the service, all below $XDG_DATA_HOME, and what else a desktop needs.

Each carries a mark; what others wrote is left alone.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..utils.desktop_files import exec_word, xdg_folder
from ..utils.environment import default_library
from ..utils.files import is_ours, write_output
from ..utils.installation import install_extra, installed
from .names import BUS_NAME, CHINESE, ENGLISH, OBJECT_PATH

_MARK = b"made by: mmi-tvr desktop install"
_GNOME_FILE = f"gnome-shell/search-providers/{BUS_NAME}.ini"
_APPLICATION = f"applications/{BUS_NAME}.desktop"
_ACTIVATION = f"dbus-1/services/{BUS_NAME}.service"
_KRUNNER = f"krunner/dbusplugins/{BUS_NAME}.desktop"
_ICON = f"icons/hicolor/scalable/apps/{BUS_NAME}.svg"
_SYSTEM_DATA = "/usr/local/share:/usr/share"  # what an empty $XDG_DATA_DIRS means
FileState = Literal["ok", "missing", "different", "foreign"]

_SVG = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><!-- {_MARK.decode()} -->
<rect x="4" y="12" width="56" height="40" rx="6" fill="#1f3a5f"/>
<path d="M10 18h6v5h-6zM10 29h6v5h-6zM10 40h6v5h-6zM48 18h6v5h-6zM48 29h6v5h-6zM48 40h6v5h-6z" fill="#fff"/>
<circle cx="31" cy="30" r="9" fill="none" stroke="#f5b301" stroke-width="4"/>
<path d="M38 37l8 8" stroke="#f5b301" stroke-width="5" stroke-linecap="round"/>
</svg>
"""


def data_home() -> Path:
    """Return $XDG_DATA_HOME, or what it is where it is not set."""
    return xdg_folder("XDG_DATA_HOME", ".local/share")


def contents(library: Path | None) -> dict[str, str]:
    """Return the files by their paths below $XDG_DATA_HOME.

    library: what the service searches; None: what $MMI_TVR_LIBRARY says when it is started, or the default one.

    Raises UsageError where the path of this Python cannot stand in such files.
    """
    option = [] if library is None else ["--library", os.path.abspath(library)]
    program = [sys.executable, "-m", "mmi_tvr.cli", "desktop"]
    _check_words([*program, *option])
    mark = f"# {_MARK.decode()}\n"
    names = (
        f"Name={ENGLISH.title}\nName[zh]={CHINESE.title}\nComment={ENGLISH.comment}\nComment[zh]={CHINESE.comment}\n"
    )
    return {
        _ACTIVATION: f"[D-BUS Service]\n{mark}Name={BUS_NAME}\nExec={shlex.join([*program, 'run', *option])}\n",
        _APPLICATION: (
            f"[Desktop Entry]\n{mark}Type=Application\n{names}Icon={BUS_NAME}\n"
            f"Exec={' '.join(map(exec_word, [*program, 'show', *option]))}\n"
            "Terminal=false\nCategories=AudioVideo;Utility;\n"
        ),
        _GNOME_FILE: (
            f"[Shell Search Provider]\n{mark}DesktopId={BUS_NAME}.desktop\nBusName={BUS_NAME}\n"
            f"ObjectPath={OBJECT_PATH}\nVersion=2\n"
        ),
        _KRUNNER: (
            f"[Desktop Entry]\n{mark}Type=Service\n{names}Icon={BUS_NAME}\n"
            "X-KDE-ServiceTypes=Plasma/Runner\n"
            f"X-KDE-PluginInfo-Name={BUS_NAME}\nX-KDE-PluginInfo-EnabledByDefault=true\n"
            "X-KDE-PluginInfo-License=Apache-2.0\n"
            f"X-Plasma-API=DBus\nX-Plasma-DBusRunner-Service={BUS_NAME}\nX-Plasma-DBusRunner-Path={OBJECT_PATH}\n"
            "X-Plasma-Request-Actions-Once=true\nX-Plasma-Runner-Min-Letter-Count=2\n"
        ),
        _ICON: _SVG,
    }


def install(library: Path | None, force: bool = False) -> list[Path]:
    """Write the files, and return their paths. Raises UsageError where one of others is in the way, and OSError."""
    written = []
    for name, content in contents(library).items():
        path = data_home() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_output(path, content.encode("utf-8", "surrogateescape"), _MARK, force)
        written.append(path)
    return written


def uninstall() -> list[Path]:
    """Remove those of the files that are there and that `install` wrote; return their paths."""
    removed = []
    for name in contents(None):
        path = data_home() / name
        if path.is_file() and is_ours(path, _MARK):
            path.unlink()
            removed.append(path)
    return removed


@dataclass(frozen=True, slots=True)
class DesktopCheck:
    """What is installed: the state of each file, the library that would be searched, and what is still to be done.

    `problems` keep the service from working; `notes` say what one desktop or another needs besides.
    """

    files: Mapping[Path, FileState]
    library: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether all files are there as `install` writes them."""
        return all(state == "ok" for state in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr desktop check --json`)."""
        return {
            "installed": self.is_installed,
            "library": str(self.library),
            "files": [{"path": str(path), "state": state} for path, state in self.files.items()],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def searched_library() -> Path:
    """Return the library that the service searches: the one that `install` was told, else that of the environment."""
    return _installed_library() or default_library()


def check(has_library: bool) -> DesktopCheck:
    """Return what is installed, and what is missing. has_library: whether what would be searched is there."""
    home = data_home()
    states = {home / name: _state(home / name, content) for name, content in contents(_installed_library()).items()}
    searched = searched_library()
    problems = []
    if not installed("dbus_fast"):
        problems.append(f"dbus_fast is not installed: {install_extra('desktop')}")
    if any(state != "ok" for state in states.values()):
        problems.append("not installed here, or another installation wrote the files: mmi-tvr desktop install")
    if not has_library:
        problems.append(f"no library is at {searched}: mmi-tvr index DIR --library {shlex.quote(str(searched))}")
    return DesktopCheck(states, searched, tuple(problems), tuple(_notes(home)))


def _notes(home: Path) -> list[str]:
    """Return what GNOME needs besides: it reads search providers of system folders alone."""
    folders = (os.environ.get("XDG_DATA_DIRS") or _SYSTEM_DATA).split(":")
    if any((Path(folder) / _GNOME_FILE).is_file() for folder in folders if os.path.isabs(folder)):
        return []
    provider = shlex.quote(str(home / _GNOME_FILE))
    return [
        "GNOME Shell reads search providers of system folders alone: "
        f"sudo install -Dm644 {provider} /usr/local/share/{_GNOME_FILE} (then log in again)"
    ]


def _installed_library() -> Path | None:
    """Return the library that the activation file names; None where it names none, or is not there."""
    try:
        text = (data_home() / _ACTIVATION).read_text("utf-8", "surrogateescape")
        line = next(line for line in text.splitlines() if line.startswith("Exec="))
        words = shlex.split(line.removeprefix("Exec="))
        return Path(words[words.index("--library") + 1])
    except (OSError, ValueError, StopIteration, IndexError):
        return None


def _state(path: Path, content: str) -> FileState:
    try:
        if path.read_bytes() == content.encode("utf-8", "surrogateescape"):
            return "ok"
        return "different" if is_ours(path, _MARK) else "foreign"
    except OSError:
        return "missing"


def _check_words(words: list[str]) -> None:
    """Raise UsageError for a word that the lines of such files cannot hold."""
    for word in words:
        if any(ord(character) < 0x20 for character in word):
            raise UsageError(f"{word!r}: no desktop can start a program by a path with such characters; use another")
