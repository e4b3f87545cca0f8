"""The faces of people whom pictures show, and queries with these faces in them (`protocols.QueryDataset`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..media.video import sample_with_info
from ..protocols import FaceEncoder
from ..types import EvaluationQuery, Face, FloatArray, Person, PersonPicture, Pixels
from ..utils.progress import Progress, Silent
from .faces._common import LANDMARKS
from .tracks import MIN_OVERLAP, overlap

PersonCue = Literal["name", "face", "both"]
_SIDE = 1440  # pixels of the shorter side at which pictures are looked at


@dataclass(frozen=True, slots=True)
class Portraits:
    """What pictures show of people: `faces` maps handles to descriptors (n, F), n >= 1, of the encoder `maker`;
    `problems` maps pictures that show no usable face to the reason."""

    faces: Mapping[str, FloatArray]
    maker: str
    problems: Mapping[Path, str]


def portraits(
    pictures: Mapping[str, Sequence[PersonPicture]], encoder: FaceEncoder, progress: Progress | None = None
) -> Portraits:
    """Return what an encoder sees in the pictures of people; one without any usable picture is left out."""
    progress = progress or Silent()
    progress.begin("faces", sum(map(len, pictures.values())))
    faces: dict[str, FloatArray] = {}
    problems: dict[Path, str] = {}
    for handle, of_person in pictures.items():
        descriptors = []
        for picture in of_person:
            try:
                pixels, face = read_face(picture, encoder)
                descriptors.append(encoder.describe(pixels, [face]))
            except MediaError as error:
                problems[picture.video.path] = error.reason
            progress.advance()
        if descriptors:
            faces[handle] = np.concatenate(descriptors)
    return Portraits(faces, encoder.fingerprint(), problems)


def read_face(picture: PersonPicture, encoder: FaceEncoder) -> tuple[Pixels, Face]:
    """Return a picture (H, W, 3), and the face in it that is meant.

    That is the largest one, or the one that overlaps the picture's box most; where none does, the box itself (decision:
    who gave it knows that there is a face), with the eyes, nose and mouth where they usually are.

    Raises:
        MediaError: The picture cannot be read, or nothing says where a face is.
    """
    info, frames = sample_with_info(picture.video, fps=1, max_frames=1, size=_SIDE)
    pixels = frames.pixels[0]
    detected = encoder.detect(pixels)
    if picture.box is None:
        if not detected:
            raise MediaError(picture.video.path, "shows no face")
        return pixels, detected[0]
    box = np.array(picture.box) * (pixels.shape[1] / info.width)
    return pixels, _face_in_box(box, detected)


def _face_in_box(box: NDArray[np.float64], detected: Sequence[Face]) -> Face:
    """Return the detected face that overlaps a box most; one in the box where none overlaps it."""
    if detected:
        overlaps = overlap(box[None], np.array([face.box for face in detected]))[0]
        if overlaps.max() > MIN_OVERLAP:
            return detected[int(overlaps.argmax())]
    left, top, right, bottom = box.tolist()
    landmarks = box[:2] + LANDMARKS * (box[2:] - box[:2])
    return Face((left, top, right, bottom), landmarks.astype(np.float32), 1.0)


def with_faces(queries: Sequence[EvaluationQuery], seen: Portraits, cue: PersonCue = "both") -> list[EvaluationQuery]:
    """Return queries whose persons have faces.

    Args:
        queries: of a data set.
        seen: the faces of the people in them; a person who is not among them keeps the name alone.
        cue: what a query says of a person: the name, the face, or both. Without a face a name stays.
    """

    def person_of(handle: str, person: Person) -> Person:
        if cue == "name" or handle not in seen.faces:
            return person
        return Person(seen.faces[handle], seen.maker, "" if cue == "face" else person.name)

    return [
        replace(
            query,
            query=replace(
                query.query,
                persons={handle: person_of(handle, person) for handle, person in query.query.persons.items()},
            ),
        )
        for query in queries
    ]
