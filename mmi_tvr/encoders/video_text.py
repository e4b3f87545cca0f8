"""A space-time tower and a DistilBERT, as a module: pixels and tokens in, the states of both towers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..errors import UsageError
from ..types import Pixels
from ..utils.hashing import digest
from .options import VideoTowerOptions
from .sentences import SentenceReader
from .space_time import SpaceTimeTower

Trained = Literal["frozen", "tokenizers", "all"]


@dataclass(frozen=True, slots=True)
class TowerSizes:
    """What the modules of both towers are made from. `text` is a transformers `DistilBertConfig`; `projection` is the
    width of the common space, None where there is none."""

    video: VideoTowerOptions
    text: Any
    projection: int | None


class VideoTextTowers(nn.Module):
    """Both towers. With `joint`, states are taken into the common space, as Frozen compares them: videos by a linear
    layer, texts by a ReLU and a linear layer.

    Module and parameter names are the keys of trained weights: they stay as they are.

    Args:
        sizes: of the modules.
        joint: whether states are those of the common space.
        trained: which parameters require a gradient: none; `tokenizers`, the embeddings of patches and words; all.
            Where not all do, dropout is off.
    """

    def __init__(self, sizes: TowerSizes, *, joint: bool, trained: Trained) -> None:
        super().__init__()
        from transformers import DistilBertModel

        self.video, self.text = SpaceTimeTower(sizes.video), DistilBertModel(sizes.text)
        self._joint, self._all = joint, trained == "all"
        if sizes.projection is not None:
            self.video_projection = nn.Linear(sizes.video.width, sizes.projection)
            self.text_projection = nn.Linear(sizes.text.dim, sizes.projection)
        elif joint:
            raise UsageError("these towers have no common space: set space: hidden, or new_towers.projection")
        self.requires_grad_(self._all)
        if trained == "tokenizers":
            self.video.patch_embed.requires_grad_(True)
            self.text.embeddings.word_embeddings.requires_grad_(True)

    def train(self, mode: bool = True) -> VideoTextTowers:
        """Switch dropout on or off; it stays off where not all is trained."""
        super().train(mode and self._all)
        return self

    def video_states(self, pixels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (B, 1 + K N, D) of B videos, [CLS] first, and their mask (B, 1 + K N).

        Args:
            pixels: (B, K, S, S, 3), uint8; behind a video's own pictures there is padding, which is not looked at.
            counts: of each video's own pictures, (B,).
        """
        states: dict[int, Tensor] = {}
        for count in sorted(set(counts.tolist())):  # the tower reads videos of one length together
            rows = (counts == count).nonzero()[:, 0]
            states |= zip(rows.tolist(), self.video(pixels[rows, :count]), strict=True)
        padded = nn.utils.rnn.pad_sequence([states[row] for row in range(len(counts))], batch_first=True)
        lengths = 1 + counts * self.video.patches
        mask = torch.arange(padded.shape[1], device=counts.device) < lengths[:, None]
        return (self.video_projection(padded) if self._joint else padded), mask

    def text_states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (B, L, D) of B sentences, [CLS] first, and their mask (B, L), from token ids and mask."""
        states: Tensor = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        return (self.text_projection(states.relu()) if self._joint else states), mask.bool()


class PixelReader:
    """What is made of pictures and sentences before the towers see them, on the processor."""

    def __init__(self, image_size: int, tokenizer: Path, text: Any) -> None:
        """Load the tokenizer.

        Args:
            image_size: side of the square that is cut out of each picture, in pixels.
            tokenizer: folder of a checkpoint.
            text: the text tower's settings.
        """
        self.image_size = image_size
        self._sentences = SentenceReader(tokenizer, text)
        self.text_version = self._sentences.rules.version

    def pixels(self, images: Sequence[Pixels]) -> NDArray[np.uint8]:
        """Return the centre squares of N pictures of any size, (N, S, S, 3)."""
        return np.stack([_centre_square(image, self.image_size) for image in images])

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return `ids` and `mask` (B, L) of B sentences."""
        inputs = self._sentences(texts)
        return {"ids": inputs["input_ids"], "mask": inputs["attention_mask"]}

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self._sentences.characters_read(text)

    def vision_fingerprint(self) -> str:
        """Return the hash of all that changes `pixels`."""
        return digest("centre squares", self.image_size)


def _centre_square(image: Pixels, size: int) -> NDArray[np.uint8]:
    """Return the largest square around a picture's centre, as (size, size, 3)."""
    picture = Image.fromarray(image)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
