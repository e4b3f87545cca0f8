"""Key images from the shots that PySceneDetect cuts a video into (extra `scenes`): what others do, as a baseline.

Its ContentDetector looks at the frames that were sampled: a cut is where hue, saturation and luma change by more than
`threshold` on average (0..255). Cuts that follow each other faster than `min_length` are one, where a calmer stretch
follows, so that a video that is cut all the time is one shot. The middle frame of each shot is its key image. Decision:
of more shots than `count`, the strongest cuts stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from ..types import FloatArray, Frames, KeyImage
from ..utils.hashing import digest
from ..utils.installation import require
from ._common import SamplingOptions, check, tile

_EXTRA = "scenes"
_CHANGE = "content_val"  # what the detector calls its measure
_TICKS = 1_000_000  # of a second: the frame rate that the detector is told, so that its frame numbers are times
_VERSION = 2  # of the choice itself; part of the fingerprint


class Options(SamplingOptions):
    """Shots."""

    threshold: float = Field(27.0, ge=0, le=255, description="mean change of a pixel that is a cut (0..255)")
    min_length: float = Field(1.0, ge=0, description="no shot but the last one is shorter, in seconds (about)")


def build(options: Options) -> Scenes:
    return Scenes(options)


class Scenes:
    """A key image for each shot, at most `count`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.fps = options.fps
        self.max_frames = options.max_frames

    def choose(self, frames: Frames, duration: float) -> list[KeyImage]:
        """Return key images in order of time; their segments tile [0, duration]. MissingExtra without PySceneDetect."""
        check(frames)
        changes = self._cuts(frames, duration)
        strongest = sorted(changes, key=lambda frame: (-changes[frame], frame))[: self._options.count - 1]
        starts = [0, *sorted(strongest)]
        ends = [*starts[1:], len(frames)]
        middles = [(start + end) // 2 for start, end in zip(starts, ends, strict=True)]
        return tile(frames, starts, middles, duration)

    def fingerprint(self) -> str:
        return digest("scenes", _VERSION, self._options.model_dump())

    def _cuts(self, frames: Frames, duration: float) -> dict[int, float]:
        """Return by how much the picture changes at each cut, by the number of the frame that begins the shot."""
        require("cv2", _EXTRA)  # PySceneDetect can be installed without it
        scenedetect = require("scenedetect", _EXTRA)
        manager = require("scenedetect.stats_manager", _EXTRA).StatsManager()
        detector: Any = scenedetect.ContentDetector(
            threshold=self._options.threshold, min_scene_len=self._shortest(frames.times, duration)
        )
        detector.stats_manager = manager
        ticks = [round(seconds * _TICKS) for seconds in frames.times.tolist()]
        numbers = {tick: number for number, tick in enumerate(ticks)}
        times = [scenedetect.FrameTimecode(tick, fps=float(_TICKS)) for tick in ticks]
        cuts = [
            cut
            for time, picture in zip(times, frames.pixels, strict=True)
            for cut in detector.process_frame(time, picture[..., ::-1].copy())  # it reads blue first
        ]
        cuts += detector.post_process(times[-1])
        changes = {numbers[cut.frame_num]: manager.get_metrics(cut, [_CHANGE])[0] or 0.0 for cut in cuts}
        return {number: change for number, change in changes.items() if number > 0}

    def _shortest(self, times: FloatArray, duration: float) -> int:
        """Return the ticks of the shortest shot, as near to `min_length` as frames at these seconds (N,) come.

        Where some of them stay on screen for long, the usual step between two is far below the mean one.
        """
        step = min(float(np.median(np.diff(times, prepend=0.0))), duration / len(times))
        return max(1, round((self._options.min_length - step / 2) * _TICKS))
