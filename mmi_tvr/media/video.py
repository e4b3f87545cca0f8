"""Videos as data: what a file holds (`probe`), evenly sampled frames (`sample`), and the frame at a time (`frames_at`).

Each call opens and closes the file; `open_video` keeps it open for several. All pictures are RGB, upright (what the
file says about turning and mirroring is applied), of square pixels, opaque (over black) and of standard dynamic range.
Where the size changes midway, pictures that come as one array have the size of the first; the others are scaled to fit
into it, with black around them, as in a player's window. Times are presentation times in seconds on a player's clock:
0:00 is the start of the container, be it with sound or with a picture (`_packets` says more). A file that cannot be
used raises MediaError with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from ..errors import MediaError, UsageError
from ..types import Frames, Pixels, Video
from ._picture import Converter, Orientation, bounded, displayed_size, fitted, orientation_of, padded
from ._reader import Reader
from ._slices import STILL, Slices, even, over_pictures
from .picture_facts import PictureFacts
from .signatures import is_picture
from .tracks import Track, tracks_of

_BEHIND = 1.0  # seconds: pictures may go on behind what the header promises for so long without being counted
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
    if video.picture:
        return _picture_with_info(video, fps, max_frames, size)
    with open_video(video.path) as opened:
        frames = opened.sample(fps, max_frames, size, video.start, video.end)
        return opened.info, frames


def check_usable(video: Video) -> None:
    """Decode the first frame. Raises MediaError where there is none."""
    if video.picture:
        _picture_with_info(video, fps=1.0, max_frames=1, size=1)
    else:
        probe(video.path)


def _picture_with_info(video: Video, fps: float, max_frames: int, size: int) -> tuple[MediaInfo, Frames]:
    from .pictures import open_still  # here: most workers never see a picture

    with open_still(video.path) as picture:
        frames = picture.sample(fps, max_frames, size, video.start, video.end)
        return picture_info(video.path, picture.facts(), picture.orientation), frames


def picture_info(path: Path, facts: PictureFacts, orientation: Orientation) -> MediaInfo:
    """Return what a picture file holds in the terms of a film."""
    return MediaInfo(
        path=path,
        container=facts.format,
        duration=facts.seconds,
        start=0.0,
        width=facts.width,
        height=facts.height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        fps=facts.frames / facts.seconds if facts.frames > 1 else 0.0,
        codec=facts.format,
        frames=facts.frames,
        audio=False,
        tracks=(),
    )


def frames_at(path: str | Path, times: Sequence[float], size: int | None = None, exact: bool = True) -> Frames:
    """Return the frames on screen at these times: see `OpenVideo.frames_at`. The file may be a picture, too."""
    path = Path(path)
    if path.is_file() and is_picture(path):
        from .pictures import open_still  # here: most processes never see a picture

        with open_still(path) as picture:
            return picture.frames_at(times, size)
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
        targets = [min(max(0.0, times[place]), self.info.duration + _BEHIND) for place in order]
        canvas = self._canvas(size)
        pictures = self._collect(targets, self._inside(canvas), skip=not exact)
        which = np.array(pictures.of_target)[np.argsort(order)]
        return Frames(np.array(pictures.times)[which], pictures.stack(canvas)[which])

    def _span(self, start: float, end: float | None) -> tuple[float, float]:
        """What of a span has pictures, in seconds; the whole span where the first picture comes up behind it."""
        duration = self.info.duration
        if end is not None and end <= start:
            raise UsageError(f"a span ends after it starts, not {start:g}-{end:g} s")
        if start < 0 or (start > 0 and start >= duration):
            raise MediaError(self.info.path, f"has no second {start:g}: it is {duration:.2f} s long")
        last = duration if end is None else min(end, duration)
        return (max(start, self.info.start) if self.info.start < last else start), last

    def _sampled(self, fps: float, max_frames: int, sides: Sides, start: float, end: float | None) -> _Pictures:
        span = self._span(start, end)
        slices = even(*span, fps, max_frames)
        pictures = self._around(slices, sides)
        if pictures.times[-1] < slices.middles[-1] - slices.step and self._shorten():
            span = self._span(start, end)
            slices = even(*span, fps, max_frames)
            pictures = self._around(slices, sides)
        if max(self._ages(slices, pictures), default=0.0) > max(STILL, slices.step):
            pictures = self._around(over_pictures(self._reader.times(), *span, fps, max_frames), sides)
        return pictures

    def _around(self, slices: Slices, sides: Sides) -> _Pictures:
        """Pictures close to the middles; without skipping where skipping leaves too little to choose from."""
        pictures = self._collect(slices.middles, sides, slices.step / 4, skip=True)
        if any(age > slices.step for age in self._ages(slices, pictures)):
            pictures = self._collect(slices.middles, sides, slices.step / 4)
        return pictures

    def _ages(self, slices: Slices, pictures: _Pictures) -> list[float]:
        """For how long each picture had been on screen, where there is something to choose from behind it."""
        pairs = zip(slices.middles, pictures.of_target, strict=True)
        return [middle - pictures.times[number] for middle, number in pairs if middle <= self._reader.packets.reached]

    def _collect(self, targets: Iterable[float], sides: Sides, tolerance: float = 0.0, skip: bool = False) -> _Pictures:
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
        stream, first = self._reader.packets.film, self._reader.first
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
        packets, first = self._reader.packets, self._reader.first
        film, container = packets.film, packets.container
        orientation = orientation_of(first)
        width, height = self._displayed_size(first, orientation)
        duration = packets.duration() or packets.start + (1 / packets.rate if packets.rate else 0.0)
        return MediaInfo(
            path=packets.path,
            container=container.format.name,
            duration=duration,
            start=packets.start,
            width=width,
            height=height,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            fps=packets.rate,
            codec=film.codec_context.name,
            frames=film.frames or round(duration * packets.rate) or None,
            audio=bool(container.streams.audio),
            tracks=tracks_of(container, packets.choice),
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
