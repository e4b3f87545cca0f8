"""Key images: the few pictures, each with its stretch of time, that stand for a video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..media.video import MediaInfo, sample_with_info
from ..protocols import KeyImageMethod
from ..types import Frames, KeyImage, Video
from ._common import SamplingOptions, tile

__all__ = ["Sample", "SamplingOptions", "from_frames", "from_video", "tile"]

Sample = Callable[[Video, float, int, int], tuple[MediaInfo, Frames]]


def from_video(
    video: Video, method: KeyImageMethod, size: int, sample: Sample = sample_with_info
) -> tuple[MediaInfo, list[KeyImage]]:
    """Probe a video, or a span of one, and choose its key images, with one open of the file.

    Args:
        video: a file, or a span of one.
        method: how key images are chosen.
        size: the shorter side of the pictures in pixels (never enlarged).
        sample: may be that of `media.guarded.DecoderPool`, which decodes in another process.

    Returns:
        What the file holds, and its key images. Their times are those of the file, and their segments tile what of the
        span has pictures: a film that begins after its sound has its first moment later, too.

    Raises:
        MediaError: with the reason, where the file cannot be used.
    """
    info, frames = sample(video, method.fps, method.max_frames, size)
    return info, from_frames(video, info, frames, method)


def from_frames(video: Video, info: MediaInfo, frames: Frames, method: KeyImageMethod) -> list[KeyImage]:
    """Return the key images of a video, or of a span of one, of which these frames were sampled (as `from_video`)."""
    end = info.duration if video.end is None else min(video.end, info.duration)
    start = max(video.start, info.start) if info.start < end else video.start
    # A frame that is on screen at the start of a span may have come up before it.
    inside = Frames((frames.times - start).clip(min=0.0), frames.pixels)
    return [
        replace(image, start=image.start + start, end=image.end + start, time=image.time + start)
        for image in method.choose(inside, end - start)
    ]
