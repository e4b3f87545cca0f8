"""SENet-50 of VGGFace2 with 128 features: the face encoder of CLIP-PAD's paper, by its published layout (torch).

Sources: Cao et al., "VGGFace2", FG 2018 (squeeze-and-excitation ResNet-50, features of 128); the names of the tensors
are those of the released `senet50_128.pth`, read with `weights_only`. No package carries these weights, so a file is
named. Faces are found by YuNet, as in `sface`; the crop is the release's: the box and 0.3 of it, 224 pixels, BGR minus
its mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ...plugins import BaseOptions
from ...types import Face, FloatArray, Pixels
from ...utils.hashing import digest, file_digest
from ...utils.loading import late_property
from . import sface
from ._common import opencv, square_crop, unit_rows

if TYPE_CHECKING:
    from ._senet import SENet50

_MARGIN = 0.3  # of the longer side of the box
_SHORT_SIDE, _SIDE = 256, 224  # pixels: scaled to the first, cut to the second
_MEAN = np.array([91.4953, 103.8827, 131.0912], np.float32)  # blue, green, red


class Options(BaseOptions):
    """Where the weights are."""

    weights: Path = Field(description="the released file senet50_128.pth, or a safetensors file of the same tensors")
    threshold: float = Field(0.5, gt=0, lt=1, description="cosine above which two faces are one person's")
    detector: sface.Options = Field(sface.Options(), description="how faces are looked for")


def build(options: Options) -> SENetFaces:
    return SENetFaces(options)


class SENetFaces:
    """Faces as unit vectors of 128 numbers."""

    name = "senet50"
    width = 128

    def __init__(self, options: Options) -> None:
        self._options = options
        self.threshold = options.threshold
        self._detector = sface.build(options.detector)
        from ._senet import checked_weights

        checked_weights(options.weights)

    @late_property
    def _network(self) -> SENet50:
        from ._senet import load

        return load(self._options.weights)

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the faces of a picture (H, W, 3), the largest first."""
        return self._detector.detect(picture)

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, 128) of faces in a picture (H, W, 3), unit rows."""
        import torch

        if not faces:
            return unit_rows([], self.width)
        crops = np.stack([prepared(picture, face) for face in faces])
        with torch.inference_mode():
            features = self._network(torch.from_numpy(crops))
        return unit_rows(list(features.numpy()), self.width)

    def fingerprint(self) -> str:
        return digest(self.name, file_digest(self._options.weights))


def prepared(picture: Pixels, face: Face) -> FloatArray:
    """Return the crop that the network reads: (3, 224, 224), BGR minus its mean."""
    cv2 = opencv()
    crop = square_crop(picture, face, _MARGIN)
    scaled = cv2.resize(crop, (_SHORT_SIDE, _SHORT_SIDE), interpolation=cv2.INTER_LINEAR)
    edge = (_SHORT_SIDE - _SIDE) // 2
    middle = scaled[edge : edge + _SIDE, edge : edge + _SIDE, ::-1].astype(np.float32) - _MEAN
    return np.ascontiguousarray(middle.transpose(2, 0, 1))
