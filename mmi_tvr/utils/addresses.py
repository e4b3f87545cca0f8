"""Addresses of files (URI), whatever bytes their names have."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

_SAFE = "!$&'()*+,/:=@~"  # in a path, as GLib writes it: desktops make the names of thumbnails of such addresses


def file_uri(path: Path) -> str:
    """Return the address of a file.

    >>> file_uri(Path("/films/a b#1.mp4"))
    'file:///films/a%20b%231.mp4'
    """
    whole = path.absolute().as_posix()  # a link and .. stay: without it, .. may lead elsewhere
    return ("file://" if whole.startswith("/") else "file:///") + quote(os.fsencode(whole), safe=_SAFE)
