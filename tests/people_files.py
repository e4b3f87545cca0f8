"""People for tests: unit vectors that are one person's or another's, and what a library holds of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmi_tvr.library.people import Sighting
from mmi_tvr.people.quality import FaceQuality

WIDTH = 16
GOOD = FaceQuality(60.0, 40.0, 0.1)


def face(person: int, picture: int = 0) -> NDArray[np.float32]:
    """A descriptor: those of one person have a cosine of about 0.95, those of two of about 0."""
    vector = np.zeros(WIDTH, np.float32)
    vector[person] = 1
    vector += 0.1 * np.random.default_rng(100 * person + picture).normal(size=WIDTH).astype(np.float32)
    unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


def faces(person: int, count: int) -> NDArray[np.float32]:
    return np.stack([face(person, picture) for picture in range(count)])


def sighting(person: int, start: float = 0.0, name: str | None = None, picture: int = 7) -> Sighting:
    box = (0.25, 0.125, 0.75, 0.5)
    return Sighting(start, start + 2, start + 1, box, GOOD, face(person, picture), name, 0.9 if name else 0.0)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
