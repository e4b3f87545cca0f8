"""Faces of the generated data set moving faces: two small networks (torch) that know drawn faces and nothing else.

`scripts/pretrain_faces.py` makes their weights. Photos have no faces for them, or wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ...errors import UsageError, one_line
from ...plugins import BaseOptions
from ...types import Face, FloatArray, Pixels
from ...utils.hashing import digest, file_digest
from ._common import unit_rows

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.drawn_faces import DrawnFaceNetworks

# Where eyes, nose and mouth are in a drawn face that is not turned (`datasets/_moving_faces/head.py`), as shares of its
# box.
_LANDMARKS = np.array([[0.3, 0.44], [0.7, 0.44], [0.5, 0.57], [0.4, 0.78], [0.6, 0.78]], np.float32)


class Options(BaseOptions):
    """Where the weights are."""

    weights: Path = Field(description="safetensors file that scripts/pretrain_faces.py makes")
    confidence: float = Field(0.2, gt=0, lt=1, description="of the detector, at least, for a face")
    threshold: float = Field(0.53, gt=0, lt=1, description="cosine above which two faces are one person's")


def build(options: Options) -> DrawnFaces:
    return DrawnFaces(options)


class DrawnFaces:
    """Drawn faces of about 20 to 32 pixels as unit vectors of 128 numbers."""

    name = "drawn"
    width = 128

    def __init__(self, options: Options) -> None:
        self._options = options
        self.threshold = options.threshold
        self._networks = _loaded(options.weights)

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the faces of a picture (H, W, 3), the largest first."""
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            logits, boxes = self._networks.cells(_tensor(picture))
            likely = logits.sigmoid()
            peaks = functional.max_pool2d(likely[:, None], 5, 1, 2)[:, 0]
            chosen = (likely == peaks) & (likely >= self._options.confidence)
        faces = []
        height, width = picture.shape[:2]
        for box, confidence in zip(boxes[chosen].numpy(), likely[chosen].tolist(), strict=True):
            box = np.clip(box, 0, [width, height] * 2)
            left, top, right, bottom = map(float, box)
            corner, size = box[:2], box[2:] - box[:2]
            faces.append(Face((left, top, right, bottom), (corner + _LANDMARKS * size).astype(np.float32), confidence))
        return sorted(faces, key=lambda face: -face.size)

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, 128) of faces in a picture (H, W, 3), unit rows."""
        import torch

        if not faces:
            return unit_rows([], self.width)
        with torch.inference_mode():
            pictures = _tensor(picture).expand(len(faces), -1, -1, -1)
            vectors = self._networks.describe(pictures, torch.tensor([face.box for face in faces]))
        return unit_rows(list(vectors.numpy()), self.width)

    def fingerprint(self) -> str:
        return digest(self.name, file_digest(self._options.weights))


def _tensor(picture: Pixels) -> Tensor:
    """Return a picture as the networks read it, (1, 3, H, W), -1 to 1."""
    import torch

    return torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def _loaded(path: Path) -> DrawnFaceNetworks:
    """Read both networks from a safetensors file. UsageError where it is not one of them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from ...nn.drawn_faces import DrawnFaceNetworks

    networks = DrawnFaceNetworks()
    try:
        networks.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UsageError(
            f"{path}: not the face networks that scripts/pretrain_faces.py makes: {one_line(error)}"
        ) from error
    return networks.eval().requires_grad_(False)
