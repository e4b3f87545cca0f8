"""What the key-image methods share: the options of sampling, and segments from the frames that start them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ..plugins import BaseOptions
from ..types import Frames, KeyImage


class SamplingOptions(BaseOptions):
    """How many frames a method looks at, and how many key images it may choose."""

    fps: float = Field(2.0, gt=0, description="frames per second to choose from")
    max_frames: int = Field(64, ge=1, description="at most so many, evenly spread where the video is longer")
    count: int = Field(12, ge=1, description="at most so many key images (K)")


def check(frames: Frames) -> None:
    """Raise ValueError where there are no frames: choosing from nothing is a mistake of the caller."""
    if not len(frames):
        raise ValueError("key images are chosen from at least one frame")


def tile(frames: Frames, starts: Sequence[int], chosen: Sequence[int], duration: float) -> list[KeyImage]:
    """Return key images whose segments tile [0, duration].

    A segment starts at the time of its first frame (decision: that frame surely shows it), the first one at 0. The
    last ends at `duration`, or at the last frame where a header promised too little.

    Args:
        frames: N frames.
        starts: the number of each segment's first frame, ascending from 0.
        chosen: the number of each segment's key image.
        duration: seconds.
    """
    cuts = [float(frames.times[start]) for start in starts[1:]]
    end = max(float(duration), float(frames.times[-1]))
    bounds = [0.0, *cuts, end]
    return [
        # A copy, so that one key image does not keep all frames in memory.
        KeyImage(start, stop, float(frames.times[number]), frames.pixels[number].copy())
        for start, stop, number in zip(bounds[:-1], bounds[1:], chosen, strict=True)
    ]
