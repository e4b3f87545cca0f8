"""dlib's face detector, its landmarks at five points, and its residual network, with the weights of the package
`face-recognition-models` (King, "Dlib-ml", JMLR 10, 2009). On all 703 pairs of 38 photos of 7 people as right as
`sface`, and four times as slow.

Decision: the predictor of 68 points in the same package excludes commercial use and is not read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ...plugins import BaseOptions
from ...types import Face, FloatArray, Pixels
from ...utils.hashing import digest, file_digest
from ...utils.installation import packaged_file, require
from ...utils.loading import late_property
from ._common import shrunk, unit_rows

EXTRA = "dlib"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_ENCODER = "dlib_face_recognition_resnet_model_v1.dat"


class Options(BaseOptions):
    """How faces are looked for."""

    confidence: float = Field(0.0, description="of the detector, at least, for a face (it has no upper bound)")
    side: int = Field(960, ge=32, description="pixels of the longer side at which pictures are searched for faces")
    enlarged: int = Field(1, ge=0, le=3, description="how often pictures are doubled first: smaller faces, more time")


def build(options: Options) -> Dlib:
    return Dlib(options)


class Dlib:
    """Faces as unit vectors of 128 numbers (the network's own are not of unit length)."""

    name = "dlib"
    width = 128
    threshold = 0.916  # cosine of one person: chosen on those pairs, of which it errs in none

    def __init__(self, options: Options) -> None:
        self._options = options
        self._turn = threading.Lock()  # dlib's detector keeps its picture, and lets other threads run meanwhile
        self._files = [
            packaged_file("face_recognition_models", "models", name, extra=EXTRA) for name in (_LANDMARKS, _ENCODER)
        ]

    @late_property
    def _networks(self) -> tuple[Any, Any, Any, Any]:
        """The module, its detector, its landmarks and its encoder."""
        dlib = require("dlib", EXTRA)
        landmarks, encoder = map(str, self._files)
        return (
            dlib,
            dlib.get_frontal_face_detector(),
            dlib.shape_predictor(landmarks),
            dlib.face_recognition_model_v1(encoder),
        )

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the faces of a picture (H, W, 3), the largest first."""
        smaller, scale = shrunk(picture, self._options.side)
        smaller = np.ascontiguousarray(smaller)
        _, detector, predictor, _ = self._networks
        with self._turn:
            boxes, scores, _ = detector.run(smaller, self._options.enlarged, self._options.confidence)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            points = [(point.x, point.y) for point in predictor(smaller, box).parts()]
            edges = (box.left(), box.top(), box.right(), box.bottom())
            left, top, right, bottom = (edge / scale for edge in edges)
            confidence = float(1 / (1 + np.exp(-score)))
            faces.append(Face((left, top, right, bottom), _five(np.array(points) / scale), confidence))
        return sorted(faces, key=lambda face: -face.size)

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, 128) of faces in a picture (H, W, 3), unit rows."""
        dlib, _, predictor, encoder = self._networks
        whole = np.ascontiguousarray(picture)
        vectors = []
        for face in faces:
            shape = predictor(whole, dlib.rectangle(*(round(edge) for edge in face.box)))
            vectors.append(np.array(encoder.compute_face_descriptor(whole, shape)))
        return unit_rows(vectors, self.width)

    def fingerprint(self) -> str:
        return digest(self.name, [file_digest(path) for path in self._files])


def _five(points: FloatArray) -> Any:
    """dlib's points (both corners of both eyes, and the base of the nose) as the landmarks of `types.Face`.

    The corners of the mouth, which dlib does not place, are put below the eyes as in an upright face (decision): they
    serve the measure of pose alone, which does not read them.
    """
    right_eye, left_eye, nose = points[2:4].mean(0), points[0:2].mean(0), points[4]
    down = nose - (right_eye + left_eye) / 2
    landmarks = [right_eye, left_eye, nose, right_eye + 2 * down, left_eye + 2 * down]
    return np.array(landmarks, np.float32)
