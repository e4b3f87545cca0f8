"""Persons of queries as vectors, and who describes them: a face encoder, or the image tower for things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import plugins
from ...config import Section
from ...encoders.clip_words import ClipWordTowers
from ...errors import UsageError
from ...protocols import FaceEncoder
from ...types import Face, FloatArray, Person, Pixels
from ..clip4clip import vision_fingerprint

THINGS = "things"  # in place of a face encoder


class ThingEncoder:
    """The image tower as a `protocols.FaceEncoder` of things, which have no face: the whole picture counts for one."""

    name = THINGS
    threshold = 0.8  # decision: of two pictures of one thing; nobody is named by it

    def __init__(self, towers: ClipWordTowers) -> None:
        self._towers = towers
        self.width = towers.joint_width

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the whole picture."""
        height, width = picture.shape[:2]
        corners = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.3, 0.7], [0.7, 0.7]], np.float32)
        return [Face((0.0, 0.0, float(width), float(height)), corners * np.array([width, height], np.float32), 1.0)]

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the vectors (n, D) of what is in the boxes of a picture."""
        crops = []
        for face in faces:
            left, top, right, bottom = (max(0, round(side)) for side in face.box)
            crops.append(np.ascontiguousarray(picture[top : max(bottom, top + 1), left : max(right, left + 1)]))
        return self._towers.embed_images(crops) if crops else np.zeros((0, self.width), np.float32)

    def fingerprint(self) -> str:
        return vision_fingerprint(self._towers)


def encoder_of(section: Section, towers: ClipWordTowers) -> FaceEncoder:
    """Return what a section names: `things`, or a face encoder with its options."""
    if section.name != THINGS:
        encoder: FaceEncoder = plugins.build("people.faces", section.name, section.options)
        return encoder
    if section.options:
        raise UsageError(f"faces: {THINGS} has no options, such as {next(iter(section.options))}")
    return ThingEncoder(towers)


def person_vector(person: Person, handle: str, encoder: FaceEncoder) -> FloatArray:
    """Return the mean of a person's unit descriptors, a unit vector again (F,).

    Raises:
        UsageError: another encoder made them, or there are none that can be used.
    """
    if person.maker != encoder.fingerprint():
        raise UsageError(
            f"[{handle}] was described by another encoder ({person.maker or 'none'}) than this model reads, "
            f"{encoder.name} ({encoder.fingerprint()}): describe the pictures once more with that"
        )
    faces = np.asarray(person.faces, np.float32)
    if faces.ndim != 2 or not len(faces) or faces.shape[1] != encoder.width or not np.isfinite(faces).all():
        raise UsageError(
            f"[{handle}] has descriptors of the shape {faces.shape}; this model reads one or more of "
            f"{encoder.width} finite numbers"
        )
    lengths = np.linalg.norm(faces, axis=1, keepdims=True)
    mean: FloatArray = (faces / np.maximum(lengths, 1e-12)).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise UsageError(f"[{handle}]: the descriptors cancel each other out; take pictures of one person")
    return mean / length
