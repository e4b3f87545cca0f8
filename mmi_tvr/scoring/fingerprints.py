"""How alike two pictures, or films, are to the eye, whatever a model makes of them: perceptual fingerprints.

A picture is averaged down to 8 x 8 pixels of three colours, and two are compared by the correlation of these numbers:
1 for the same picture at another size, in another format or a little brighter. Of a film there are pictures at equal
shares of its length, without the black that a letterbox puts around them. Two films are laid over one another at every
offset that leaves most of the longer one in common; at the best of them nearly all pictures are alike, so twins that
differ in what happens for a tenth of the time are told apart.

Decisions: LEAST, FOLDED, and that a tenth of the pictures may differ more (a cut falls between two of them): chosen on
one half of 38 real clips and their copies, and measured on the other (docs/search.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..types import Frames, Pixels

MOST_PICTURES = 64  # of a film
LEAST = 0.93  # from which two pictures, or films, count as one
FOLDED = 0.99  # from which a search shows two films as one
_SIDE = 8  # pixels
_FLAT = 2.0  # standard deviation of the numbers of a picture without anything in it
_SHADE = 40.0  # by which the colours of two such pictures may differ
_CUT_OFF = 0.2  # of a film, or a second, may be missing in its copy,
_CUT_OFF_SHORT = 0.4  # or this share of a film that is so short that a second is most of it
_MAY_DIFFER = 0.1  # share of the pictures of a film
_BLACK = 40  # brightness below which pixels are those of a border, where they stay so
_SPECKS = 0.02  # of the pixels of a border may be brighter: what compression leaves there
_LOOKED_AT = 8  # pictures, in which borders are looked for
_STEPS = 2  # offsets at which films are compared, between two pictures


def fingerprint(picture: Pixels, box: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """Return the fingerprint (192,) of a picture (H, W, 3), or of a part of it: left, top, right, bottom."""
    small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX, box)
    return np.asarray(small, np.uint8).reshape(-1)


def video_fingerprints(frames: Frames, seconds: float) -> NDArray[np.uint8]:
    """Return the fingerprints (P, 192) of a film at equal shares of its length, or of a still (1, 192).

    Args:
        frames: of the whole video; at most `MOST_PICTURES` of them count.
        seconds: its length.
    """
    if len(frames) == 1:
        return fingerprint(frames.pixels[0])[None]
    count = min(len(frames), MOST_PICTURES)
    middles = (np.arange(count) + 0.5) * seconds / count
    shown = np.maximum(np.searchsorted(frames.times, middles + 1e-3, side="right") - 1, 0)
    box = _without_borders(frames.pixels[:: max(1, len(frames) // _LOOKED_AT)])
    return np.stack([fingerprint(frames.pixels[number], box) for number in shown])


def _without_borders(pixels: Pixels) -> tuple[int, int, int, int]:
    """Return what is not black in all pictures (N, H, W, 3) of a film: left, top, right, bottom."""
    brightest = pixels.max(axis=0).max(axis=2)  # (H, W)
    height, width = brightest.shape
    top, bottom = _bright(brightest)
    left, right = _bright(brightest.T)
    if bottom - top < height / 4 or right - left < width / 4:  # a dark film
        return 0, 0, width, height
    return left, top, right, bottom


def _bright(lines: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the first line of pixels that is bright, and the one behind the last; specks do not count."""
    bright = np.flatnonzero((lines >= _BLACK).mean(axis=1) > _SPECKS)
    return (int(bright[0]), int(bright[-1]) + 1) if len(bright) else (0, 0)


def may_be_copies(seconds: float, other_seconds: float) -> bool:
    """Return whether one film is long enough to be a copy of the other.

    >>> may_be_copies(100, 80), may_be_copies(100, 79), may_be_copies(4.0, 3.1), may_be_copies(1.5, 0.6)
    (True, False, True, False)
    """
    return abs(seconds - other_seconds) <= _cut_off(max(seconds, other_seconds))


def video_likeness(
    left: NDArray[np.uint8], right: NDArray[np.uint8], left_seconds: float, right_seconds: float
) -> float:
    """Return how alike two videos are, -1..1.

    Pictures of one shade alone have nothing to be compared but that: they are alike by 1 or by 0.

    Args:
        left: fingerprints (P, 192) of one, as `video_fingerprints` returns them.
        right: fingerprints (Q, 192) of the other.
        left_seconds: length of the one.
        right_seconds: length of the other.

    >>> grey, dark = np.full((1, 192), 128, np.uint8), np.full((1, 192), 20, np.uint8)
    >>> video_likeness(grey, grey, 0, 0), video_likeness(grey, dark, 0, 0)
    (1.0, 0.0)
    """
    if len(left) == len(right) == 1:
        return float(still_likenesses(left, right)[0])
    if left_seconds > right_seconds:
        left, right, left_seconds, right_seconds = right, left, right_seconds, left_seconds
    right_seconds = max(right_seconds, 0.1)
    likenesses = _picture_likenesses(left, right)  # (P, Q)
    times = (np.arange(len(left)) + 0.5) * left_seconds / len(left)
    step = max(left_seconds / len(left), right_seconds / len(right)) / _STEPS
    most = _cut_off(right_seconds)
    best = -1.0
    for offset in step * np.arange(-math.floor(most / step), math.floor(most / step) + 1):
        common = min(left_seconds + offset, right_seconds) - max(offset, 0.0)
        places = (times + offset) / right_seconds * len(right) - 0.5  # among the pictures of the other
        rows = np.flatnonzero((places >= -0.5) & (places <= len(right) - 0.5))
        if common < right_seconds - most - 1e-6 or not len(rows):
            continue
        before = np.clip(np.floor(places[rows]).astype(np.int64), 0, len(right) - 1)
        nearest = likenesses[rows, before], likenesses[rows, np.minimum(before + 1, len(right) - 1)]
        best = max(best, float(np.quantile(np.maximum(*nearest), _MAY_DIFFER)))
    return best


def still_likenesses(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how alike the two stills of each of N pairs are, -1..1, as `video_likeness`.

    Args:
        left: fingerprints (N, 192), one of each pair.
        right: fingerprints (N, 192), the other of each.
    """
    one, other = left.astype(np.float64), right.astype(np.float64)
    apart = np.abs(one - other).mean(axis=1)
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    spread, other_spread = one.std(axis=1), other.std(axis=1)
    return _correlations(np.einsum("nd,nd->n", one, other) / one.shape[1], spread, other_spread, apart)


def _correlations(
    products: NDArray[np.float64], spread: NDArray[np.float64], other_spread: NDArray[np.float64], apart: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the correlations of pictures; those of one shade alone are alike by 1 or by 0.

    Args:
        products: means of the products of their numbers, whose means are taken away.
        spread, other_spread: standard deviations, and
        apart: mean distances of their colours; of shapes that go together with the products'.
    """
    flat = (spread < _FLAT) & (other_spread < _FLAT)
    correlations = products / np.maximum(spread * other_spread, _FLAT**2)
    likenesses: NDArray[np.float64] = np.where(flat, (apart <= _SHADE).astype(np.float64), correlations)
    return likenesses


def _cut_off(seconds: float) -> float:
    """Return the seconds that may be missing in a copy of a film: a second at least, of short ones less."""
    return max(_CUT_OFF * seconds, min(1.0, _CUT_OFF_SHORT * seconds))


def _picture_likenesses(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how alike each picture of one (P, 192) is to each of the other (Q, 192), (P, Q)."""
    one, other = left.astype(np.float64), right.astype(np.float64)
    apart = np.abs(one[:, None] - other[None]).mean(axis=2)
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    spread, other_spread = one.std(axis=1)[:, None], other.std(axis=1)[None]
    return _correlations(one @ other.T / one.shape[1], spread, other_spread, apart)
