"""Videos as data: what a file holds (`probe`), evenly sampled frames (`sample`), and the frame at a time (`frames_at`).

Each call opens and closes the file; `open_video` keeps it open for several. All pictures are RGB, upright (what the
file says about turning and mirroring is applied), of square pixels, opaque (over black) and of standard dynamic range.
Where the size changes midway, pictures that come as one array have the size of the first; the others are scaled to fit
into it, with black around them, as in a player's window. Times are the stream's own presentation times, in seconds from
the stream's start. A file that cannot be used raises MediaError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import MediaError, UsageError
from ..types import Frames, Pixels, Video
from ._picture import Converter, Orientation, bounded, displayed_size, fitted, orientation_of, padded
from ._reader import Reader
from .tracks import Track, tracks_of

Sides = Callable[[int, int], tuple[int, int]]  # a frame's displayed width and height -> those of its picture


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a video file holds."""

    path: Path
    container: str  # FFmpeg's name of the format
    duration: float  # seconds
    start: float  # seconds: when the first picture comes up, on a player's clock
    width: int  # as displayed: rotation and pixel aspect applied
    height: int
    rotation: int  # degrees counter-clockwise (0, 90, 180, 270), already applied to every picture
    mirrored: bool  # left and right changed places before that; already applied, too
    fps: float  # the average rate, 0.0 where unknown
    codec: str
    frames: int | None  # an estimate
    audio: bool
    tracks: tuple[Track, ...]


@contextmanager
def open_video(path: str | Path) -> Iterator[OpenVideo]:
    """Open a video file for several calls. Raises MediaError with the reason where it is not usable."""
    video = OpenVideo(Path(path))
    try:
        yield video
    finally:
        video.close()


def probe(path: str | Path) -> MediaInfo:
    """Say what a file holds; its first frame is decoded, so a file that passes has at least one. Raises MediaError."""
    with open_video(path) as video:
        return video.info


def sample(video: Video, fps: float, max_frames: int, size: int) -> Frames:
    """Return evenly spread frames of a video or of a span of one: see `OpenVideo.sample`."""
    return sample_with_info(video, fps, max_frames, size)[1]


def sample_with_info(video: Video, fps: float, max_frames: int, size: int) -> tuple[MediaInfo, Frames]:
    """Return what the file holds, and `sample` of it, with one open of the file."""
    with open_video(video.path) as opened:
        frames = opened.sample(fps, max_frames, size, video.start, video.end)
        return opened.info, frames


def frames_at(path: str | Path, times: Sequence[float], size: int | None = None, exact: bool = True) -> Frames:
    """Return the frames on screen at these times: see `OpenVideo.frames_at`."""
    with open_video(path) as opened:
        return opened.frames_at(times, size, exact)


class OpenVideo:
    """A video file held open. Use it through `open_video`, which closes it.

    `info.duration` is what the header says until a sampling finds less (a file that was cut off), then what is there.
    """

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._converter = Converter()
        try:
            self.info = self._describe()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.close()

    def sample(self, fps: float, max_frames: int, size: int, start: float = 0.0, end: float | None = None) -> Frames:
        """Return frames from the middles of equal slices of [start, end).

        Decision: a sample may lie up to a quarter of a step beside its slice's middle where a key frame stands there,
        and takes the last reference frame before that middle, because the others cost decoding and no sample needs
        them. Times ascend strictly: a frame that stays on screen for several slices comes once.

        Args:
            fps: frames per second of the span.
            max_frames: at most so many.
            size: the shorter side of the pictures in pixels, or as it is where the video is smaller (decision: never
                enlarged; the longer side is at most 16 times `size`).
            start: of the span, in seconds.
            end: of the span, in seconds; None is the end of the file.

        Raises:
            UsageError: where the numbers make no sense.
            MediaError: where the span lies outside the video.
        """
        _check_sampling(fps, max_frames, size)
        canvas = self._canvas(size)
        pictures = self._sampled(fps, max_frames, self._inside(canvas), start, end)
        return Frames(np.array(pictures.times), pictures.stack(canvas))

    def pictures(self, fps: float, max_frames: int, size: int) -> list[tuple[float, Pixels]]:
        """Return the pictures of `sample` for the whole file with their seconds, where each has its own size."""
        _check_sampling(fps, max_frames, size)
        pictures = self._sampled(fps, max_frames, partial(bounded, size=size), 0.0, None)
        return list(zip(pictures.times, pictures.pixels, strict=True))

    def frames_at(self, times: Sequence[float], size: int | None = None, exact: bool = True) -> Frames:
        """Return the frame on screen at each of `times`; the result's times are the frames' own.

        Before the first frame that is the first, after the last the last.

        Args:
            times: seconds, in any order.
            size: the shorter side of the pictures in pixels (never enlarged); None: as they are.
            exact: False: a reference frame shortly before will do, which is quicker.
        """
        if len(times) == 0:
            raise UsageError("frames_at needs at least one time")
        order = np.argsort(np.asarray(times, dtype=np.float64), kind="stable")
        targets = [min(max(0.0, times[place]), self.info.duration) for place in order]
        canvas = self._canvas(size)
        pictures = self._collect(targets, self._inside(canvas), skip=not exact)
        which = np.array(pictures.of_target)[np.argsort(order)]
        return Frames(np.array(pictures.times)[which], pictures.stack(canvas)[which])

    def _targets(self, fps: float, max_frames: int, start: float, end: float | None) -> tuple[list[float], float]:
        """The middles of equal slices of a span, and the length of a slice (seconds)."""
        duration = self.info.duration
        if end is not None and end <= start:
            raise UsageError(f"a span ends after it starts, not {start:g}-{end:g} s")
        if start < 0 or (start > 0 and start >= duration):
            raise MediaError(self.info.path, f"has no second {start:g}: it is {duration:.2f} s long")
        length = (duration if end is None else min(end, duration)) - start
        count = min(max(1, round(length * fps)), max_frames)
        return [start + (number + 0.5) * length / count for number in range(count)], length / count

    def _sampled(self, fps: float, max_frames: int, sides: Sides, start: float, end: float | None) -> _Pictures:
        targets, step = self._targets(fps, max_frames, start, end)
        pictures = self._around(targets, step, sides)
        if pictures.times[-1] < targets[-1] - step and self._shorten():
            targets, step = self._targets(fps, max_frames, start, end)
            pictures = self._around(targets, step, sides)
        return pictures

    def _around(self, targets: list[float], step: float, sides: Sides) -> _Pictures:
        """Pictures close to the targets; without skipping where skipping leaves too little to choose from."""
        pictures = self._collect(targets, sides, step / 4, skip=True)
        last = self._reader.reached  # behind it there is nothing to choose from
        pairs = zip(targets, pictures.of_target, strict=True)
        ages = [target - pictures.times[number] for target, number in pairs if target <= last]
        if any(age > step for age in ages):
            pictures = self._collect(targets, sides, step / 4)
        return pictures

    def _collect(self, targets: list[float], sides: Sides, tolerance: float = 0.0, skip: bool = False) -> _Pictures:
        """The distinct pictures at ascending times, converted as they come, so that no decoded frame is held."""
        pictures = _Pictures()
        for time, frame in self._reader.walk(targets, tolerance, skip):
            if not pictures.times or time > pictures.times[-1]:
                orientation = orientation_of(frame)
                width, height = sides(*self._displayed_size(frame, orientation))
                pictures.times.append(time)
                pictures.pixels.append(self._converter.convert(frame, width, height, orientation))
            pictures.of_target.append(len(pictures.times) - 1)
        if not pictures.times:
            raise MediaError(self.info.path, "none of its frames can be decoded (damaged or cut off)")
        return pictures

    def _displayed_size(self, frame: VideoFrame, orientation: Orientation) -> tuple[int, int]:
        """Width and height by a frame's own size, which may change midway, and then the aspect of its pixels, too."""
        stream, first = self._reader.stream, self._reader.first
        changed = (frame.width, frame.height) != (first.width, first.height)
        aspect = stream.codec_context.sample_aspect_ratio if changed else stream.sample_aspect_ratio
        return displayed_size(frame, float(aspect or 1), orientation)

    def _canvas(self, size: int | None) -> tuple[int, int]:
        """Width and height of all pictures that come as one array."""
        return bounded(self.info.width, self.info.height, size)

    def _inside(self, canvas: tuple[int, int]) -> Sides:
        whole = self.info.width, self.info.height
        return lambda width, height: canvas if (width, height) == whole else fitted(width, height, canvas)

    def _shorten(self) -> bool:
        """Correct the duration of a file that ends before its header says; False where it does not."""
        measured = self._reader.measure()
        if not 0 < measured < self.info.duration:
            return False
        self.info = replace(self.info, duration=measured)
        return True

    def _describe(self) -> MediaInfo:
        reader, stream, first = self._reader, self._reader.stream, self._reader.first
        orientation = orientation_of(first)
        width, height = self._displayed_size(first, orientation)
        duration = reader.header_duration() or reader.measure() or (1 / reader.rate if reader.rate else 0.0)
        container = reader.container
        return MediaInfo(
            path=reader.path,
            container=container.format.name,
            duration=duration,
            start=_start(stream, container),
            width=width,
            height=height,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            fps=reader.rate,
            codec=stream.codec_context.name,
            frames=stream.frames or round(duration * reader.rate) or None,
            audio=bool(container.streams.audio),
            tracks=tracks_of(container, stream.index),
        )


@dataclass
class _Pictures:
    """Pictures as they are gathered: `of_target` has for each target the number of its picture."""

    times: list[float] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    of_target: list[int] = field(default_factory=list)

    def stack(self, canvas: tuple[int, int]) -> Pixels:
        """Return the pictures as one array (N, H, W, 3)."""
        return np.stack([padded(pixels, canvas) for pixels in self.pixels])


def _check_sampling(fps: float, max_frames: int, size: int) -> None:
    if fps <= 0 or max_frames < 1 or size < 1:
        raise UsageError(f"fps, max_frames and size must be positive, not {fps}, {max_frames} and {size}")


def _start(stream: VideoStream, container: InputContainer) -> float:
    """Seconds from the container's start, which is a player's 0:00, to the first picture."""
    if stream.start_time is None or container.start_time is None or stream.time_base is None:
        return 0.0
    return max(0.0, float(stream.start_time * stream.time_base) - container.start_time / av.time_base)
