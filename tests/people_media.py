"""Small films with drawn faces: squares of one colour, whom the fake face encoder tells apart by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from media_files import make_video

from mmi_tvr.types import Pixels

COLOURS = {"anna": (230, 20, 20), "ben": (20, 230, 20), "carl": (20, 20, 230), "dora": (230, 230, 20)}
_SIDE = 32


def drawn(*people: str, ground: int = 128, shift: int = 0) -> Pixels:
    """Return a picture with the faces of people side by side."""
    pixels = np.full((96, 160, 3), ground, np.uint8)
    for place, name in enumerate(people):
        left, top = 8 + shift + 48 * place, 24
        pixels[top : top + _SIDE, left : left + _SIDE] = COLOURS[name]
        pixels[top + 8 : top + 10, left + 6 : left + 26 : 2] = 0  # something to be sharp
    return pixels


def film(path: Path, *scenes: Sequence[str], seconds: float = 2.0, fps: int = 4) -> Path:
    """Make a film of scenes, each with people, on grounds that tell them apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grounds = [60 + 150 * (number % 2) for number in range(len(scenes))]
    pictures = [
        drawn(*people, ground=ground, shift=step % 3)
        for people, ground in zip(scenes, grounds, strict=True)
        for step in range(int(seconds * fps))
    ]
    return make_video(path, fps=fps, pictures=pictures, options={"qp": "0"})
