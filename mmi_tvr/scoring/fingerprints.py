"""How alike two pictures are to the eye, whatever a model makes of them: a perceptual fingerprint.

A picture is averaged down to 8 x 8 pixels of three colours, and two are compared by the correlation of these numbers:
1 for the same picture at another size, in another format or a little brighter. A film is as alike another as the worst
of PICTURES pairs of pictures at the same shares of their lengths, so twins that differ in what happens are told apart.

Decision: LEAST. On 19 of 38 real clips, 1,539 pairs of pictures of different clips reach 0.63 at most; on the other 19
it is 0.88, and pictures that were saved again (JPEG at quality 30, half the size, both, 15 % brighter, squeezed by a
tenth, 3 % cropped off each side) have 0.945 and more (docs/search.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..types import Frames, Pixels

PICTURES = 5  # of a film
LEAST = 0.93  # from which two pictures count as one
_SIDE = 8  # pixels
_FLAT = 2.0  # standard deviation of the numbers of a picture without anything in it
_SHADE = 40.0  # by which the colours of two such pictures may differ


def fingerprint(picture: Pixels) -> NDArray[np.uint8]:
    """Return the fingerprint (192,) of a picture (H, W, 3)."""
    small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).reshape(-1)


def video_fingerprints(frames: Frames, seconds: float) -> NDArray[np.uint8]:
    """Return the fingerprints (P, 192) of the pictures that are shown at equal shares of a video; P is PICTURES, or 1
    where there is one picture alone.

    Args:
        frames: of the whole video.
        seconds: its length.
    """
    if len(frames) == 1:
        return fingerprint(frames.pixels[0])[None]
    middles = (np.arange(PICTURES) + 0.5) * seconds / PICTURES
    shown = np.maximum(np.searchsorted(frames.times, middles + 1e-3, side="right") - 1, 0)
    return np.stack([fingerprint(frames.pixels[row]) for row in shown])


def picture_likeness(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Return how alike two pictures, or films, are, -1..1, by their fingerprints (P, 192), of as many pictures each (or
    of one on one side).

    Pictures of one shade alone have nothing to be compared but that: they are alike by 1 or by 0.

    >>> grey, dark = np.full((1, 192), 128, np.uint8), np.full((1, 192), 20, np.uint8)
    >>> picture_likeness(grey, grey), picture_likeness(grey, dark)
    (1.0, 0.0)
    """
    one, other = left.astype(np.float64), right.astype(np.float64)
    apart = np.abs(one - other).mean(axis=1)
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    spread, other_spread = one.std(axis=1), other.std(axis=1)
    flat = (spread < _FLAT) & (other_spread < _FLAT)
    products = (one * other).mean(axis=1) / np.maximum(spread * other_spread, _FLAT**2)
    likenesses = np.where(flat, (apart <= _SHADE).astype(np.float64), products)
    return float(likenesses.min())
