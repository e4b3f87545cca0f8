"""What the files of a desktop have in common: where they lie, and how they hold a word of a command."""

from __future__ import annotations

import os
from pathlib import Path


def xdg_folder(variable: str, default: str) -> Path:
    """Return a folder of the XDG Base Directory Specification, which counts absolute paths alone.

    Args:
        variable: $XDG_CONFIG_HOME, say.
        default: what it is where it is not set, below the home folder.
    """
    folder = os.environ.get(variable, "")
    return Path(folder) if os.path.isabs(folder) else Path.home() / default


def exec_word(text: str) -> str:
    r"""Return an argument as the Exec key of a desktop entry takes it: quoted, and escaped once more as a text.

    >>> print(exec_word('/my "50 %" $films'))
    "/my \\"50 %%\\" \\$films"
    """
    quoted = "".join(f"\\{letter}" if letter in '"`$\\' else letter for letter in text)
    escaped = quoted.replace("\\", "\\\\").replace("%", "%%")
    return f'"{escaped}"'
