"""Key images from the middles of equal stretches of the video, whatever happens in it: the plain alternative."""

from __future__ import annotations

import numpy as np

from ..types import Frames, KeyImage
from ..utils.hashing import digest
from ._common import SamplingOptions, check, tile


class Options(SamplingOptions):
    """Equal stretches."""


def build(options: Options) -> Uniform:
    return Uniform(options)


class Uniform:
    """`count` runs of equally many frames; the middle frame of each is its key image."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.fps = options.fps
        self.max_frames = options.max_frames

    def choose(self, frames: Frames, duration: float) -> list[KeyImage]:
        """Return key images in order of time; their segments tile [0, duration]. A short video gives fewer."""
        check(frames)
        runs = np.array_split(np.arange(len(frames)), min(self._options.count, len(frames)))
        starts = [int(run[0]) for run in runs]
        middles = [int(run[len(run) // 2]) for run in runs]
        return tile(frames, starts, middles, duration)

    def fingerprint(self) -> str:
        return digest("uniform", self._options.model_dump())
