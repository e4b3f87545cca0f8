"""The faces of a film: it is decoded a stretch at a time, the next one while faces are looked for in this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from ..media.video import MediaInfo
from ..protocols import FaceEncoder
from ..types import Face, FloatArray, Frames, Pixels, Video
from . import upright
from .tracks import FaceTrack, tracks_of

# Decisions: two pictures a second are enough for tracks (who is in the picture for less is nobody that one looks for),
# and pictures of 480 have the faces that can be told apart, of 20 pixels and more.
FPS, SIDE = 2.0, 480
_STRETCH = 30.0  # seconds that are decoded together: 75 MB of pictures of 16 : 9
_MAX_FACES = 32  # of one picture, the largest: a crowd has no people whom one looks for
MAX_TRACKS = 1000  # of one film, the longest


class SampleFrames(Protocol):
    """Decodes evenly spread frames of a stretch of a file (`media.guarded.DecoderPool.sample`)."""

    def __call__(self, video: Video, fps: float, max_frames: int, size: int, /) -> tuple[MediaInfo, Frames]: ...


@dataclass(frozen=True, slots=True)
class FilmFaces:
    """The face tracks of a film, the earliest first, and the sides (width, height) of the pictures that their boxes are
    in; `seconds` is how long the film is. The picture of a photo was turned to the left by `quarters` for that."""

    tracks: tuple[FaceTrack, ...]
    sides: tuple[int, int]
    seconds: float
    quarters: int = 0


def film_faces(video: Video, encoder: FaceEncoder, sample: SampleFrames, fps: float = FPS) -> FilmFaces:
    """Return who is to be seen in a film, looked at `fps` times a second, or in a photo.

    MediaError where it cannot be used.

    Decision: a photo is looked at larger, and read as `people add` reads it, upright. A film is looked at as it lies.
    """
    if video.picture:
        info, frames = sample(video, 1.0, 2, upright.SIDE)
        if len(frames.pixels) == 1:
            return _photo_faces(frames.pixels[0], encoder, info.duration)
    pictures = _FilmPictures(video, sample, fps)
    tracks = sorted(tracks_of(iter(pictures), _LargestFaces(encoder)), key=lambda track: track.start - track.end)
    longest = sorted(tracks[:MAX_TRACKS], key=lambda track: (track.start, track.box))
    return FilmFaces(tuple(longest), pictures.sides, pictures.seconds)


def _photo_faces(picture: Pixels, encoder: FaceEncoder, seconds: float) -> FilmFaces:
    turned, _, quarters = upright.upright(picture, encoder)
    tracks = sorted(tracks_of(iter([(0.0, turned)]), _LargestFaces(encoder)), key=lambda track: track.box)
    return FilmFaces(tuple(tracks), (turned.shape[1], turned.shape[0]), seconds, quarters)


class _FilmPictures:
    """The pictures of a film with their times, and what is known of it once the first has come."""

    def __init__(self, video: Video, sample: SampleFrames, fps: float) -> None:
        self._video = video
        self._sample = sample
        self._fps = fps
        self.sides = (1, 1)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[float, Pixels]]:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="faces") as pool:
            upcoming: Future[tuple[MediaInfo, Frames]] | None = pool.submit(self._stretch, 0.0)
            start, latest = 0.0, -1.0
            while upcoming is not None:
                info, frames = upcoming.result()
                self.seconds = info.duration
                start += _STRETCH
                more = start < info.duration and not self._video.picture
                upcoming = pool.submit(self._stretch, start) if more else None
                for time, picture in zip(frames.times.tolist(), frames.pixels, strict=True):
                    if time > latest:  # a picture that stays on screen for two stretches comes once
                        latest, self.sides = time, (picture.shape[1], picture.shape[0])
                        yield time, picture.copy()  # a track holds pictures, and a view would hold the whole stretch

    def _stretch(self, start: float) -> tuple[MediaInfo, Frames]:
        video = self._video if self._video.picture else replace(self._video, start=start, end=start + _STRETCH)
        return self._sample(video, self._fps, round(self._fps * _STRETCH), SIDE)


class _LargestFaces:
    """A face encoder that detects no more than the largest faces of a picture (`protocols.FaceEncoder`)."""

    def __init__(self, encoder: FaceEncoder) -> None:
        self._encoder = encoder
        self.name, self.width, self.threshold = encoder.name, encoder.width, encoder.threshold

    def detect(self, picture: Pixels) -> list[Face]:
        return self._encoder.detect(picture)[:_MAX_FACES]

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        return self._encoder.describe(picture, faces)

    def fingerprint(self) -> str:
        return self._encoder.fingerprint()
