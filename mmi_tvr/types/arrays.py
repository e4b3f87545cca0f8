"""Arrays by what they hold, and ids of vectors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["video", "moment"]  # what a vector of an index stands for
Direction = Literal["t2v", "v2t"]  # who asks: a text looks for videos, or a video for texts
Side = Literal["text", "video"]  # of a pair
FloatArray = NDArray[np.floating[Any]]
IdArray = NDArray[np.int64]
Pixels = NDArray[np.uint8]  # (H, W, 3), RGB, rotation applied
MOMENT_BITS = 12
MAX_MOMENTS = (1 << MOMENT_BITS) - 1
UNIT_TOLERANCE = 1e-3  # by which the length of a stored vector may differ from 1: float16 rounds by at most as much


def row_ids(video: int, moments: int) -> IdArray:
    """Ids of one video's vectors in an index: the video's own first, then its key images'. Shape (1 + moments,).

    The id carries video and key image (decision), so an index needs no second table and an upsert is idempotent.

    >>> row_ids(3, 2)
    array([12288, 12289, 12290])
    """
    if not 0 <= moments < MAX_MOMENTS:
        raise ValueError(f"a video may have at most {MAX_MOMENTS - 1} key images, not {moments}")
    ids: IdArray = (np.int64(video) << MOMENT_BITS) + np.arange(moments + 1, dtype=np.int64)
    return ids


def video_of(ids: IdArray) -> IdArray:
    """Return the video number inside each id."""
    numbers: IdArray = ids >> MOMENT_BITS
    return numbers


def moment_of(ids: IdArray) -> IdArray:
    """Return the key image number inside each id; -1 for the vector of the whole video.

    >>> moment_of(np.array([12288, 12289, 12290]))
    array([-1,  0,  1])
    """
    moments: IdArray = (ids & MAX_MOMENTS) - 1
    return moments
