"""Opening a file with a program of the user's: at its second where a player can, else with its default application.

Decision: mpv and VLC can be told the second, so one of them opens a film although another program is its default; of
two, the one that is the default. What stands for no moment (a picture, second 0) goes to the default application.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import MmiTvrError
from ..utils.addresses import file_uri

_PLAYERS = ("mpv", "vlc")
_DEFAULT_SECONDS = 3.0  # that the desktop has to say what its default player is


def open_command(path: Path, second: float = 0.0) -> list[str]:
    """Return the command that opens a file.

    Args:
        path: the file.
        second: where a player is to begin; 0 or less: at the beginning, with the default application.

    Raises:
        MmiTvrError: no program is here that could.
    """
    path = Path(os.path.abspath(path))
    player = _player() if second > 0 else None
    if player == "mpv":
        return ["mpv", f"--start={second:.2f}", "--", str(path) if str(path).isprintable() else file_uri(path)]
    if player == "vlc":
        return ["vlc", f"--start-time={second:.2f}", file_uri(path)]
    return default_command(file_uri(path))


def default_command(uri: str) -> list[str]:
    """Return the command that opens an address with the default application. Raises MmiTvrError where none is here."""
    for program in ("open",) if sys.platform == "darwin" else ("xdg-open", "gio"):
        if shutil.which(program):
            return [program, "open", uri] if program == "gio" else [program, uri]
    raise MmiTvrError("nothing here opens files: install mpv, VLC, or xdg-utils (xdg-open)")


def launch(command: Sequence[str]) -> None:
    """Start a program of the user's, which outlives this one, and says nothing here. Raises MmiTvrError."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise MmiTvrError(f"{command[0]}: cannot be started ({error.strerror})") from error
    threading.Thread(target=process.wait, name="player", daemon=True).start()  # no zombie is left of it


def _player() -> str | None:
    """Return the player that can be told a second: of several the default one; None where there is none."""
    players = [name for name in _PLAYERS if shutil.which(name)]
    if len(players) < 2:
        return players[0] if players else None
    default = ""
    with suppress(OSError, subprocess.SubprocessError):
        query = ["xdg-mime", "query", "default", "video/mp4"]
        default = subprocess.run(query, capture_output=True, text=True, timeout=_DEFAULT_SECONDS).stdout.lower()
    return next((name for name in players if name in default), players[0])
