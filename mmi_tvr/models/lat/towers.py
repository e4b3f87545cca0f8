"""The two kinds of towers that LaT translates between: frozen ones of the CLIP layout, and those that read pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...encoders import hub
from ...encoders.clip_tokens import ClipTokenTowers
from ...errors import UsageError
from ...types import Pixels
from ...utils.hashing import digest
from .network import of_length_sqrt_width

if TYPE_CHECKING:
    from ...encoders.tower_sources import TowerSource
    from ...encoders.video_text import Trained, VideoTextTowers
    from .model import Options

Inputs = dict[str, Tensor]
_STILL = 1e-3  # a change that is so small beside the mean is rounding


class LatTowers(Protocol):
    """What the model needs of its towers. Inputs are what the network reads, (B, ...), on the processor."""

    image_size: int
    text_version: str  # hash of what the text tower does to sentences, and of whatever `vision_fingerprint` leaves out
    widths: tuple[int, int]  # of a video's tokens, and of a text's

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return the features of N pictures, one array."""
        ...

    def video_inputs(self, videos: Sequence[Mapping[str, NDArray[Any]]]) -> Inputs:
        """Return the inputs of B videos, from the features of their key images."""
        ...

    def text_inputs(self, texts: Sequence[str]) -> Inputs:
        """Return the inputs of B sentences."""
        ...

    def module(self) -> VideoTextTowers | None:
        """Return the towers as a part of the network; None where the inputs are tokens already."""
        ...

    def characters_read(self, text: str) -> int: ...

    def vision_fingerprint(self) -> str: ...


class ClipLayout:
    """Frozen towers of the CLIP layout, whose states are the network's inputs.

    Tokens. Of a video: the mean of its key images as [CLS], and each key image. Of a text: the state that its tower
    reads the sentence out of as [CLS], and those of all its tokens. The mean is one of unit vectors, as in `clip4clip`.

    A mean knows no order. With `changes` a second [CLS] stands behind it: the sum of the key images, weighed from -1
    (the first) to 1 (the last), which leaves out what stays as it is. Where nothing changes it is the mean.
    """

    def __init__(
        self, folder: Path, space: Literal["hidden", "joint"], device: str, batch: int, changes: bool = False
    ) -> None:
        self._towers = towers = ClipTokenTowers(folder, device, batch)
        self._joint, self._changes = space == "joint", changes
        self.image_size, self.text_version = towers.image_size, towers.text_version
        widths = (towers.image_width, towers.text_width)
        self.widths = (towers.joint_width, towers.joint_width) if self._joint else widths

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"state": (N, D)}, the image tower's states before its projection, float32."""
        return {"state": self._towers.image_states(images)}

    def video_inputs(self, videos: Sequence[Mapping[str, NDArray[Any]]]) -> Inputs:
        """Return `states` (B, S + K, D) and `mask`: S summaries and the key images."""
        tokens = []
        for states in (torch.from_numpy(video["state"]).float() for video in videos):
            images = of_length_sqrt_width(self._towers.project_images(states) if self._joint else states)
            summaries = [images.mean(dim=0, keepdim=True)]
            if self._changes:
                summaries.append(_change(images))
            tokens.append(torch.cat([of_length_sqrt_width(torch.cat(summaries)), images]))
        lengths = torch.tensor([len(video) for video in tokens])
        padded = pad_sequence(tokens, batch_first=True)
        return {"states": padded, "mask": torch.arange(padded.shape[1]) < lengths[:, None]}

    def text_inputs(self, texts: Sequence[str]) -> Inputs:
        """Return `states` (B, 1 + L, D) and `mask`: [CLS] and the tokens."""
        states, mask = self._towers.text_states(texts)
        if self._joint:
            states = self._towers.project_texts(states)
        return {"states": of_length_sqrt_width(states), "mask": mask}

    def module(self) -> None:
        return None

    def characters_read(self, text: str) -> int:
        return self._towers.characters_read(text)

    def vision_fingerprint(self) -> str:
        return self._towers.vision_fingerprint()


def _change(images: Tensor) -> Tensor:
    """Return how states (K, D) change from the first to the last, (1, D); their mean, where they do not."""
    weights = torch.linspace(-1, 1, len(images)) if len(images) > 1 else torch.zeros(1)
    change = weights @ images
    mean = images.mean(dim=0)
    return torch.where(change.norm() > _STILL * mean.norm(), change, mean)[None]


class PixelLayout:
    """Towers that the network holds, and that may be trained: a video is read whole, from the pixels of its key images.

    Tokens are all states of both towers, behind the last layer norm, [CLS] first.
    """

    def __init__(self, source: TowerSource, space: Literal["hidden", "joint"], trained: Trained) -> None:
        self._source, self._joint, self._trained = source, space == "joint", trained
        self._reader = source.reader()
        self.image_size = self._reader.image_size
        self.text_version = digest(source.version(), self._reader.text_version)
        sizes = source.sizes
        widths = (sizes.video.width, sizes.text.dim)
        self.widths = (sizes.projection or 0,) * 2 if self._joint else widths

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"pixels": (N, S, S, 3)}, the pictures' centre squares, uint8."""
        return {"pixels": self._reader.pixels(images)}

    def video_inputs(self, videos: Sequence[Mapping[str, NDArray[Any]]]) -> Inputs:
        """Return `pixels` (B, K, S, S, 3), uint8, padded behind the `counts` (B,) of each video's pictures."""
        pictures = [torch.from_numpy(np.asarray(video["pixels"])) for video in videos]
        counts = torch.tensor([len(video) for video in pictures])
        return {"pixels": pad_sequence(pictures, batch_first=True), "counts": counts}

    def text_inputs(self, texts: Sequence[str]) -> Inputs:
        """Return token `ids` and their `mask`, (B, L)."""
        return self._reader.tokens(texts)

    def module(self) -> VideoTextTowers:
        return self._source.module(joint=self._joint, trained=self._trained)

    def characters_read(self, text: str) -> int:
        return self._reader.characters_read(text)

    def vision_fingerprint(self) -> str:
        return self._reader.vision_fingerprint()


def make(options: Options, device: str) -> LatTowers:
    """Return the towers that the options name. UsageError where those of a CLIP layout are to be trained."""
    from ...encoders.tower_sources import MODEL_TYPE, ConvertedTowers, NewTowers

    if options.changes and (
        options.new_towers is not None or hub.model_type(hub.locate(options.checkpoint or "")) == MODEL_TYPE
    ):
        raise UsageError("changes: of towers that read a picture at a time; these read videos whole")
    if options.new_towers is not None:
        return PixelLayout(NewTowers(options.new_towers), options.space, options.towers)
    assert options.checkpoint is not None
    folder = hub.locate(options.checkpoint)
    if hub.model_type(folder) == MODEL_TYPE:
        return PixelLayout(ConvertedTowers(folder), options.space, options.towers)
    if options.towers != "frozen":
        raise UsageError(f"{options.checkpoint}: towers of the CLIP layout stay frozen here: set towers: frozen")
    return ClipLayout(folder, options.space, device, options.batch, options.changes)
