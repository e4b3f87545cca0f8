"""Who a face is, of the people that somebody named: the nearest one, where they are near enough and alone so near.

Source: the margin is that of Brown et al., "Automated Video Labelling", ICMI 2021: the nearest person must be a tenth
nearer than the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Naming:
    """Who a face is: `name` is None where nobody is near enough, or two are about as near.

    `similarity` is the cosine with the nearest face of the nearest person, who is `nearest` (None: nobody is known).
    """

    name: str | None
    similarity: float
    nearest: str | None


def name_faces(
    descriptors: FloatArray,
    gallery: Mapping[str, NDArray[np.float32]],
    threshold: float,
    margin: float = MARGIN,
) -> list[Naming]:
    """Return who the faces are.

    Args:
        descriptors: (N, F) unit vectors.
        gallery: name -> descriptors (n, F) of that person; the nearest counts (people age, and wear glasses).
        threshold: cosine of one person, at least (`protocols.FaceEncoder.threshold`).
        margin: the distance (1 - cosine) to the second nearest person is larger by this share, at least.
    """
    names = [name for name, faces in gallery.items() if len(faces)]
    if not names:
        return [Naming(None, 0.0, None)] * len(descriptors)
    similarities = np.stack([(descriptors @ gallery[name].T).max(1) for name in names], axis=1)  # (N, people)
    return [_naming(row, names, threshold, margin) for row in similarities]


def _naming(similarities: FloatArray, names: list[str], threshold: float, margin: float) -> Naming:
    order = np.argsort(-similarities, kind="stable")
    best = float(similarities[order[0]])
    clear = len(order) == 1 or 1 - best <= (1 - margin) * (1 - float(similarities[order[1]]))
    nearest = names[int(order[0])]
    return Naming(nearest if best >= threshold and clear else None, best, nearest)


def likeness(descriptors: FloatArray, faces: FloatArray) -> NDArray[np.float32]:
    """Return the cosine (N,) of descriptors (N, F) with the nearest face of one person (n, F)."""
    nearest: NDArray[np.float32] = (faces @ descriptors.T).max(axis=0)  # whole rows of memory
    return nearest
