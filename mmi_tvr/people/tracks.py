"""Faces through a film: detections of one face in following pictures become a track, with one descriptor.

Source: CLIP-PAD's data (Korbar and Zisserman, BMVC 2022) and Brown et al., "Automated Video Labelling", ICMI 2021: the
boxes of one track overlap (IoU > 0.4) and are at most five pictures apart; a cut ends all tracks; the five sharpest
faces of a track are described, and their mean is the track's descriptor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..protocols import FaceEncoder
from ..types import Face, FloatArray, Pixels
from .quality import FaceQuality, quality_of

MIN_OVERLAP, MAX_GAP, DESCRIBED = 0.4, 5, 5
_CUT = 0.5  # histograms of two pictures that agree in less than this share are of two shots
_BINS = 4  # of each colour channel


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """One face from `start` to `end`, seconds on a player's clock, best seen at `time` in `box`.

    `descriptor` (F,) is a unit vector; None where no face of the track was good enough to be described. `frames`
    counts the pictures with the face.
    """

    start: float
    end: float
    time: float
    box: tuple[float, float, float, float]
    frames: int
    quality: FaceQuality
    descriptor: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A face in one picture, with the picture around it kept until it is described."""

    time: float
    face: Face
    quality: FaceQuality
    picture: Pixels


@dataclass(slots=True)
class _OpenTrack:
    """A track that may go on: its last box and picture number, and the best faces so far."""

    start: float
    end: float
    last: int
    box: tuple[float, float, float, float]
    frames: int = 1
    best: list[_Sighting] = field(default_factory=list)

    def add(self, sighting: _Sighting) -> None:
        """Keep the sharpest faces that are good enough; the first face where none is."""
        self.best.append(sighting)
        self.best.sort(key=lambda one: (one.quality.problem is not None, -one.quality.sharpness))
        del self.best[DESCRIBED:]


def tracks_of(frames: Iterator[tuple[float, Pixels]], encoder: FaceEncoder) -> Iterator[FaceTrack]:
    """Yield the face tracks of pictures in order of time, each when it has ended.

    Args:
        frames: seconds and picture (H, W, 3), evenly spread (4 a second is enough); they are not held, but for the
            five best of each track that goes on.
        encoder: finds and describes faces.
    """
    open_tracks: list[_OpenTrack] = []
    before: FloatArray | None = None
    for number, (time, picture) in enumerate(frames):
        histogram = _histogram(picture)
        if before is not None and is_cut(before, histogram):
            yield from (_closed(track, encoder) for track in open_tracks)
            open_tracks = []
        before = histogram
        ended = [track for track in open_tracks if number - track.last > MAX_GAP]
        open_tracks = [track for track in open_tracks if number - track.last <= MAX_GAP]
        yield from (_closed(track, encoder) for track in ended)
        _extend(open_tracks, number, time, picture, encoder.detect(picture))
    yield from (_closed(track, encoder) for track in open_tracks)


def _extend(tracks: list[_OpenTrack], number: int, time: float, picture: Pixels, faces: list[Face]) -> None:
    """Join the faces of a picture to tracks, best overlaps first over all, and open tracks for the others."""
    pairs = _pairs([track.box for track in tracks], [face.box for face in faces])
    for place, face in enumerate(faces):
        sighting = _Sighting(time, face, quality_of(picture, face), picture)
        if place in pairs:
            track = tracks[pairs[place]]
            track.end, track.last, track.box, track.frames = time, number, face.box, track.frames + 1
        else:
            track = _OpenTrack(time, time, number, face.box)
            tracks.append(track)
        track.add(sighting)


def _pairs(
    tracks: list[tuple[float, float, float, float]], faces: list[tuple[float, float, float, float]]
) -> dict[int, int]:
    """The number of a face -> that of the track it goes on with."""
    if not tracks or not faces:
        return {}
    from scipy.optimize import linear_sum_assignment  # at use: a search would wait for it

    overlaps = overlap(np.array(faces), np.array(tracks))  # (faces, tracks)
    rows, columns = linear_sum_assignment(-overlaps)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if overlaps[r, c] > MIN_OVERLAP}


def overlap(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4): left, top, right, bottom.

    >>> overlap(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[1.0, 0.333, 0.0]]
    """
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    opposite = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0), axis=-1)
    areas, other_areas = (np.prod(rows[:, 2:] - rows[:, :2], axis=-1) for rows in (boxes, others))
    union = areas[:, None] + other_areas[None] - shared
    result: FloatArray = shared / np.maximum(union, 1e-12)
    return result


def is_cut(histogram: FloatArray, other: FloatArray) -> bool:
    """Return whether two colour histograms, each of sum 1, are of two shots: they share less than half."""
    return float(np.minimum(histogram, other).sum()) < _CUT


def _histogram(picture: Pixels) -> FloatArray:
    """The colour histogram (64,) of a picture, of sum 1; every fourth pixel is enough."""
    bins = (picture[::4, ::4].astype(np.int64) * _BINS) >> 8
    numbers = bins @ np.array([_BINS * _BINS, _BINS, 1])
    counts = np.bincount(numbers.ravel(), minlength=_BINS**3)
    histogram: FloatArray = counts / max(1, counts.sum())
    return histogram


def _closed(track: _OpenTrack, encoder: FaceEncoder) -> FaceTrack:
    best = track.best[0]
    return FaceTrack(
        track.start, track.end, best.time, best.face.box, track.frames, best.quality, _descriptor(track.best, encoder)
    )


def _descriptor(sightings: list[_Sighting], encoder: FaceEncoder) -> NDArray[np.float32] | None:
    """The mean of what the encoder says of the good faces, as a unit vector.

    Decision: only those count that agree with the best one by the encoder's own threshold, because where two people
    change places within a gap, the boxes overlap and the faces do not.
    """
    good = [one for one in sightings if one.quality.problem is None]
    if not good:
        return None
    vectors = np.concatenate([encoder.describe(one.picture, [one.face]) for one in good])
    mean = vectors[vectors @ vectors[0] >= encoder.threshold].mean(0)
    unit: NDArray[np.float32] = (mean / max(1e-12, float(np.linalg.norm(mean)))).astype(np.float32)
    return unit
