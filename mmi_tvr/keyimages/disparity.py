"""Key images by notable disparities (MMI-TVR, section 4.1): a video is cut where its pictures change most.

The paper cuts where consecutive frames differ "notably" and leaves open how that is measured. Decisions:

- A frame is a vector x: its 16 x 16 thumbnail in luma and colour (YCbCr about mid-grey), and one constant entry, so
  that grey pictures have a direction too. Disparity of two frames is 1 - cos of their vectors, in 0..2.
- The K-1 strongest disparities between neighbours are the cuts, as far as they exceed `floor` (what noise and small
  motion make) and leave every segment `min_length` seconds. A still video has one key image.
- Change that is slow at every step has no such peak. While there are fewer than K segments, the one that strays
  furthest from its first frame, and further than `floor`, is cut half-way there.
- The key image of a segment is its medoid, the frame with the least disparity to all others, among those that have
  at least half the contrast of the segment's best: so no black frame and no blank of a fade.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from ..types import Frames, KeyImage
from ..utils.hashing import digest
from ._common import SamplingOptions, check, tile

_THUMBNAIL = 16  # pixels of a side
_CONSTANT = 16.0  # the constant entry, in grey levels per thumbnail entry
_LEAST_CONTRAST = 0.5  # of a key image, as a share of its segment's best
_VERSION = 1  # of the choice itself; part of the fingerprint


class Options(SamplingOptions):
    """Cuts at the strongest changes."""

    min_length: float = Field(1.0, ge=0, description="no segment is shorter, in seconds (but for a shorter video)")
    floor: float = Field(0.02, ge=0, le=2, description="change below this is none (1 - cos of thumbnails, 0..2)")


def build(options: Options) -> Disparity:
    return Disparity(options)


class Disparity:
    """The default: few key images where little happens, more where much does, at most `count`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.fps = options.fps
        self.max_frames = options.max_frames

    def choose(self, frames: Frames, duration: float) -> list[KeyImage]:
        """Return key images in order of time; their segments tile [0, duration]. Deterministic."""
        check(frames)
        thumbnails = _thumbnails(frames.pixels)  # (N, 16, 16, 3)
        disparities = _disparities(thumbnails)  # (N, N)
        starts = [0]
        self._cut_at_peaks(starts, disparities, frames.times, duration)
        self._cut_where_it_drifts(starts, disparities, frames.times, duration)
        contrast = thumbnails[..., 0].std(axis=(1, 2))  # (N,)
        chosen = [
            start + _medoid(disparities[start:stop, start:stop], contrast[start:stop])
            for start, stop in _segments(starts, len(frames))
        ]
        return tile(frames, starts, chosen, duration)

    def fingerprint(self) -> str:
        return digest("disparity", _VERSION, self._options.model_dump())

    def _cut_at_peaks(
        self, starts: list[int], disparities: NDArray[np.float32], times: NDArray[np.float64], duration: float
    ) -> None:
        """Add to `starts` the frames that differ most from the one before."""
        steps = np.diagonal(disparities, offset=1)  # of each frame with the one before it; (N - 1,)
        for frame in 1 + np.argsort(-steps, kind="stable"):
            if len(starts) == self._options.count or steps[frame - 1] <= self._options.floor:
                return
            if self._fits(int(frame), starts, times, duration):
                starts.append(int(frame))
                starts.sort()

    def _cut_where_it_drifts(
        self, starts: list[int], disparities: NDArray[np.float32], times: NDArray[np.float64], duration: float
    ) -> None:
        """Add to `starts` the middle of the drift of the segment that strays furthest, as long as there is one."""
        while len(starts) < self._options.count:
            drifts = []  # (disparity, minus the frame: ties go to the earlier)
            for start, stop in _segments(starts, len(times)):
                furthest = start + int(disparities[start, start:stop].argmax())
                cuts = [frame for frame in range(start + 1, furthest + 1) if self._fits(frame, starts, times, duration)]
                if cuts and disparities[start, furthest] > self._options.floor:
                    halfway = _halfway(cuts, disparities[start], disparities[furthest])
                    drifts.append((disparities[start, furthest], -halfway))
            if not drifts:
                return
            starts.append(-max(drifts)[1])
            starts.sort()

    def _fits(self, frame: int, starts: Sequence[int], times: NDArray[np.float64], duration: float) -> bool:
        """Whether a cut at this frame leaves `min_length` to the cuts and ends around it."""
        bounds = [0.0, *(times[start] for start in starts[1:]), duration]
        return all(abs(times[frame] - bound) >= self._options.min_length for bound in bounds)


def _thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (N, H, W, 3) as small pictures about mid-grey (N, 16, 16, 3), luma first."""
    small = [Image.fromarray(picture).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX) for picture in pixels]
    return np.stack([np.asarray(picture.convert("YCbCr"), np.float32) for picture in small]) - 128


def _disparities(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - cos of every two thumbnails, (N, N); rounded, so that no tie hangs on the last bit of a sum."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    vectors = np.pad(flat, ((0, 0), (0, 1)), constant_values=_CONSTANT * flat.shape[1] ** 0.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    disparities: NDArray[np.float32] = np.round(1 - vectors @ vectors.T, 5)
    return disparities


def _halfway(frames: Sequence[int], from_first: NDArray[np.float32], from_last: NDArray[np.float32]) -> int:
    """The frame that differs most equally from both ends of a drift; the earlier of equals."""
    return min(frames, key=lambda frame: abs(from_first[frame] - from_last[frame]))


def _segments(starts: Sequence[int], count: int) -> list[tuple[int, int]]:
    """The first frame of each segment and the one behind its last, of `count` frames."""
    return list(zip(starts, [*starts[1:], count], strict=True))


def _medoid(disparities: NDArray[np.float32], contrast: NDArray[np.float32]) -> int:
    """The frame of a segment with the least disparity to all others, among those of enough contrast; the earlier of
    equals."""
    costs = disparities.sum(axis=1, dtype=np.float64)
    return int(np.where(contrast >= _LEAST_CONTRAST * contrast.max(), costs, np.inf).argmin())
