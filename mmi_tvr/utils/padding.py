"""Arrays of different lengths as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def padded(arrays: Sequence[NDArray[Any]], padding: float = 0.0) -> NDArray[np.float32]:
    """Return arrays (n, ...), at least one, of different n side by side: (B, most, ...), with padding behind.

    >>> padded([np.array([1, 2]), np.array([3])]).tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    most = max(map(len, arrays))
    rows = np.full((len(arrays), most, *arrays[0].shape[1:]), padding, dtype=np.float32)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return rows
