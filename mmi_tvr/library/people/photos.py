"""Photos of a person: the face in each, and why another photo cannot stand for them. Photos are read and never kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, UsageError
from ...media.guarded import DecoderPool, limits
from ...media.listing import STOPS, visible
from ...media.names import PICTURE_SUFFIXES
from ...people.clustering import cluster
from ...people.quality import quality_of
from ...people.upright import SIDE, upright
from ...protocols import FaceEncoder
from ...types import Face, Pixels, Video
from ...utils.names import SpelledPaths
from ...utils.progress import Progress
from ...utils.wording import counted

# Two faces are of one picture, in another size or format, from this share of the way on between the threshold of one
# person and 1. Measured with sface (0.92): two photos of one person reach 0.89 (37 photos of 6 people), and copies of
# two thirds of the size have at least 0.92 (38 of 38).
_SAME_PICTURE = 0.875
_MAX_DESCRIBED = 5  # faces that a message describes


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo file. `was_named`: itself, and not a folder that it is in."""

    path: Path
    was_named: bool


@dataclass(frozen=True, eq=False, slots=True)
class PhotoFace:
    """The face of a photo, with the unit vector (F,) that describes it."""

    photo: Photo
    descriptor: NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class SeenPhoto:
    """A photo, upright (H, W, 3), with its faces from left to right; of one that cannot be read a `problem` instead."""

    path: Path
    picture: Pixels | None
    faces: Sequence[Face]
    problem: str = ""


@dataclass(slots=True)
class ReadPhotos:
    """What was read: `faces` of photos with one face (or the chosen one), `candidates` of photos with several, from
    left to right, and `problems` of the others."""

    faces: list[PhotoFace] = field(default_factory=list)
    candidates: list[tuple[Photo, list[NDArray[np.float32]], str]] = field(default_factory=list)
    problems: dict[Photo, str] = field(default_factory=dict)

    def copy(self) -> ReadPhotos:
        """Return the same, of which a change changes nothing here."""
        return ReadPhotos([*self.faces], [*self.candidates], {**self.problems})

    def set_aside(self, reasons: Mapping[Photo, str]) -> None:
        """Move faces that are not to be added unasked to the problems."""
        self.faces = [face for face in self.faces if face.photo not in reasons]
        self.problems |= {photo: f"{reason}; --anyway adds it" for photo, reason in reasons.items()}


def list_photos(paths: Sequence[Path]) -> list[Photo]:
    """Return the photos that files and folders (and what is below them) mean, each once, in order.

    Raises UsageError where a path is not there, or a folder holds no photo.
    """
    photos: dict[Path, Photo] = {}
    for path in map(SpelledPaths().find, paths):
        if not os.path.lexists(path):
            raise UsageError(f"{path}: no such file or folder")
        if path.is_dir():
            below = sorted(_pictures_below(path))
            if not below:
                raise UsageError(f"{path}: no photo is in this folder (.jpg, .png, .webp and the like)")
            for file in below:
                photos.setdefault(file, Photo(file, was_named=False))
        else:
            photos[path] = Photo(path, was_named=True)
    return list(photos.values())


def _pictures_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        marks = STOPS if Path(parent) == folder else ()  # a folder that was named is meant
        shown = set(visible({*folders, *names}.difference(marks)))
        folders[:] = [name for name in folders if name in shown]
        for path in (Path(parent, name) for name in names if name in shown):
            if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
                yield path


def read_photos(photos: Sequence[Photo], encoder: FaceEncoder, face: int | None, progress: Progress) -> ReadPhotos:
    """Look for the face in each photo.

    Args:
        photos: the files.
        encoder: finds and describes faces.
        face: of photos with several faces, the number of the one that is meant, from the left, from 1.
        progress: hears how far the work is.
    """
    result = ReadPhotos()
    progress.begin("photos", len(photos))
    with DecoderPool(limits()) as pool:
        for photo in photos:
            _read_photo(photo, encoder, face, pool, result)
            progress.advance()
    return result


def see_photos(photos: Sequence[Photo], encoder: FaceEncoder, progress: Progress) -> list[SeenPhoto]:
    """Return all faces of each photo, for a person to choose from."""
    progress.begin("photos", len(photos))
    seen = []
    with DecoderPool(limits()) as pool:
        for photo in photos:
            try:
                seen.append(SeenPhoto(photo.path, *_faces_of(photo, encoder, pool)))
            except MediaError as error:
                seen.append(SeenPhoto(photo.path, None, (), error.reason))
            progress.advance()
    return seen


def _faces_of(photo: Photo, encoder: FaceEncoder, pool: DecoderPool) -> tuple[Pixels, list[Face]]:
    """Return a photo, upright, and its faces from left to right. MediaError where it cannot be read."""
    _, frames = pool.sample(Video(photo.path, picture=True), 1.0, 1, SIDE)
    picture, faces, _ = upright(frames.pixels[0], encoder)
    return picture, sorted(faces, key=lambda face: face.box[0])


def _read_photo(photo: Photo, encoder: FaceEncoder, number: int | None, pool: DecoderPool, result: ReadPhotos) -> None:
    try:
        picture, faces = _faces_of(photo, encoder, pool)
    except MediaError as error:
        result.problems[photo] = error.reason
        return
    if not faces:
        result.problems[photo] = "no face is in it that can be recognised (best is a photo from the front, upright)"
        return
    if number is not None and len(faces) > 1:
        if number > len(faces):
            result.problems[photo] = f"has {counted(len(faces), 'face')}, no number {number}"
            return
        faces = [faces[number - 1]]
    if len(faces) == 1:
        problem = quality_of(picture, faces[0]).problem
        if problem is not None:
            result.problems[photo] = f"its face is {problem}"
        else:
            result.faces.append(PhotoFace(photo, _descriptors(encoder, picture, faces)[0]))
    else:
        described = _described(faces, picture.shape[1])
        result.candidates.append((photo, _descriptors(encoder, picture, faces), described))


def _descriptors(encoder: FaceEncoder, picture: Pixels, faces: list[Face]) -> list[NDArray[np.float32]]:
    return list(encoder.describe(picture, faces).astype(np.float32))


def _described(faces: Sequence[Face], width: int) -> str:
    """Return where the faces of a picture are: '1 (left, 56 pixels), 2 (middle, 40 pixels)'."""
    places = []
    for number, face in enumerate(faces[:_MAX_DESCRIBED], start=1):
        middle = (face.box[0] + face.box[2]) / 2 / width
        side = "left" if middle < 1 / 3 else "right" if middle > 2 / 3 else "middle"
        places.append(f"{number} ({side}, {face.size:.0f} pixels)")
    if len(faces) > _MAX_DESCRIBED:
        places.append(f"and {len(faces) - _MAX_DESCRIBED} more")
    return ", ".join(places)


def choose_among_several(photos: ReadPhotos, known: NDArray[np.float32] | None, threshold: float) -> None:
    """Decide photos with several faces by the person's other faces: where one of them is theirs, and no other is.

    Args:
        photos: in which what is decided moves to `faces`, and the rest to `problems`.
        known: (n, F) descriptors of the person, where somebody has the name already.
        threshold: cosine of one person, at least.
    """
    sure = [face.descriptor for face in photos.faces]
    sure += [] if known is None else list(known)
    for photo, descriptors, described in photos.candidates:
        theirs = [one for one in descriptors if sure and max(float(one @ other) for other in sure) >= threshold]
        if len(theirs) == 1:
            photos.faces.append(PhotoFace(photo, theirs[0]))
        else:
            photos.problems[photo] = (
                f"has {len(descriptors)} faces, from the left: {described}; say which is meant: --face N "
                "(--show DIR writes a page with their numbers)"
            )
    photos.candidates.clear()


def doubtful(
    faces: Sequence[PhotoFace], name: str, known: Mapping[str, NDArray[np.float32]], threshold: float
) -> dict[Photo, str]:
    """Return why faces should not be added to a person unasked: they look like somebody else's.

    Args:
        faces: of the photos.
        name: of the person, as it is known, if it is.
        known: name -> descriptors (n, F) of all who are known.
        threshold: cosine of one person, at least.
    """
    reasons: dict[Photo, str] = {}
    if name in known:
        reasons |= _unlike_known(faces, known[name], name, threshold)
    else:
        reasons |= _unlike_each_other(faces, threshold)
    others = {other: descriptors for other, descriptors in known.items() if other != name}
    for face in faces:
        closest = max(others, key=lambda other: float((others[other] @ face.descriptor).max()), default=None)
        if closest is not None:
            similarity = float((others[closest] @ face.descriptor).max())
            theirs = float((known[name] @ face.descriptor).max()) if name in known else 0.0
            if similarity >= threshold and similarity > theirs:
                reasons[face.photo] = f"its face is that of {closest}, who is known already ({similarity:.2f})"
    return reasons


def copies(faces: Sequence[PhotoFace], known: NDArray[np.float32] | None, threshold: float) -> dict[Photo, str]:
    """Return why faces add nothing: they are of pictures that are there, or that came before among these.

    Args:
        faces: of the photos.
        known: (n, F) descriptors of the person, where somebody has the name already.
        threshold: cosine of one person, at least.
    """
    same = threshold + _SAME_PICTURE * (1 - threshold)
    seen = [] if known is None else list(known)
    reasons: dict[Photo, str] = {}
    for face in faces:
        if seen and max(float(face.descriptor @ other) for other in seen) >= same:
            reasons[face.photo] = "nearly the same picture as one that is there"
        else:
            seen.append(face.descriptor)
    return reasons


def _unlike_known(
    faces: Sequence[PhotoFace], known: NDArray[np.float32], name: str, threshold: float
) -> dict[Photo, str]:
    reasons = {}
    for face in faces:
        similarity = float((known @ face.descriptor).max())
        if similarity < threshold:
            reasons[face.photo] = (
                f"another face than the {counted(len(known), 'face')} of {name} that "
                f"{'is' if len(known) == 1 else 'are'} known ({similarity:.2f}, of one person at least {threshold:.2f})"
            )
    return reasons


def _unlike_each_other(faces: Sequence[PhotoFace], threshold: float) -> dict[Photo, str]:
    """Of a new person's photos, those that are not of the face that most of them show."""
    if len(faces) < 2:
        return {}
    groups = cluster(np.stack([face.descriptor for face in faces]), threshold)
    largest = int((groups == 0).sum())
    if int((groups == 1).sum()) == largest:
        return {face.photo: "shows another face than the other photos do, and none comes most often" for face in faces}
    return {
        face.photo: f"another face than {counted(largest, 'photo')} of the {len(faces)} show"
        for face, group in zip(faces, groups, strict=True)
        if group
    }
