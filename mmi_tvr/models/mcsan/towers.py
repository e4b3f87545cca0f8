"""What MCSAN stands on: who makes vectors of key images, and of whole sentences for the global level. All are frozen.

A checkpoint of the CLIP layout has both. Beside a ResNet, and beside features that data sets bring along, whole
sentences are read by multilingual E5, which the package carries (decision: the paper has a frozen sentence encoder, of
768 numbers, and does not say which).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ...encoders import e5, hub
from ...encoders.clip_tokens import ClipTokenTowers
from ...encoders.resnet import MODEL_TYPE as RESNET
from ...encoders.resnet import ResNetTower
from ...errors import UsageError
from ...types import Pixels, PrecomputedFeatures
from ...utils.hashing import digest
from .network import TowerWidths
from .options import Options


class Towers(Protocol):
    """Pictures and sentences -> vectors. `text_version` is of all that changes those of sentences."""

    image_size: int
    text_version: str

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return the vectors (N, D) of pictures. UsageError where it sees none."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (N, E) of sentences."""
        ...

    def token_states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors of sentences (N, E), the states of their tokens (N, M, F), and which of these are tokens
        (N, M). UsageError where there are none."""
        ...

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, are read."""
        ...

    def fingerprint(self) -> str:
        """Return the hash of all that changes the vectors of pictures."""
        ...

    def widths(self) -> TowerWidths:
        """Return what a network on top reads."""
        ...


def load(options: Options, device: str) -> Towers:
    """Return the towers of a model's options. ModelNotFound where `vision` is no checkpoint that it can stand on."""
    if options.reads_features:
        return FeaturesAndE5(options.precomputed.record())
    folder = hub.locate(options.vision)
    if hub.model_type(folder) == RESNET:
        return ResNetAndE5(folder, device)
    return ClipPair(folder, device)


class ClipPair(ClipTokenTowers):
    """Both towers of a CLIP layout: unit vectors of one space."""

    def __init__(self, folder: Path, device: str) -> None:
        super().__init__(folder, device)

    def fingerprint(self) -> str:
        return digest("clip vectors", self.digest)

    def widths(self) -> TowerWidths:
        return TowerWidths(self.joint_width, self.joint_width, self.text_width)

    def token_states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        states, mask = self.text_states(texts)
        return normalize(self.project_texts(states[:, 0]), dim=-1), states[:, 1:], mask[:, 1:]


class _E5Sentences:
    """Whole sentences by E5."""

    text_version = e5.NAME

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return e5.encode(texts)

    def token_states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        raise UsageError("graph: tokens reads the tokens of a CLIP text tower, and there is none beside this vision")

    def characters_read(self, text: str) -> int:
        return e5.read_length(text)


class ResNetAndE5(_E5Sentences):
    """Pictures by a ResNet."""

    def __init__(self, folder: Path, device: str) -> None:
        self._tower = ResNetTower(folder, device)
        self.image_size = self._tower.image_size

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        return self._tower.embed_images(images)

    def fingerprint(self) -> str:
        return digest("resnet vectors", self._tower.digest)

    def widths(self) -> TowerWidths:
        return TowerWidths(self._tower.width, e5.WIDTH, 0, unit_images=False)


class FeaturesAndE5(_E5Sentences):
    """No pictures: the vectors of frames come with the data set."""

    image_size = 0

    def __init__(self, features: PrecomputedFeatures) -> None:
        self._features = features

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        raise UsageError(f"this model reads {self._features}, and no pictures")

    def fingerprint(self) -> str:
        return str(self._features)

    def widths(self) -> TowerWidths:
        return TowerWidths(self._features.width, e5.WIDTH, 0, unit_images=False)
