"""Where the weights of a space-time tower and its text tower come from: a converted folder, or other checkpoints.

What `data convert-frozen` writes is a checkpoint of its own kind:

    config.json         model_type frozen_in_time; the sizes of both towers and of the common space
    model.safetensors   video.*, text.* (names of transformers' DistilBertModel), video_projection.*, text_projection.*
    tokenizer files
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from ..errors import ModelNotFound, UsageError, one_line
from ..utils.hashing import digest
from ..utils.loading import late_property
from . import hub, pretrained, vit
from .options import NewTowersOptions, VideoTowerOptions
from .quiet import quiet_loading
from .video_text import PixelReader, TowerSizes, Trained, VideoTextTowers

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPE = "frozen_in_time"
WEIGHTS = "model.safetensors"
_OF_TIME = re.compile(r"^temporal_embed$|\.timeattn\.|\.norm3\.")  # tensors that no ViT has


class TowerSource(Protocol):
    """Knows how large the towers are, and makes them."""

    @property
    def sizes(self) -> TowerSizes:
        """How large the towers are."""
        ...

    def reader(self) -> PixelReader:
        """Return what prepares pictures and sentences. ModelNotFound where the tokenizer cannot be read."""
        ...

    def module(self, *, joint: bool, trained: Trained) -> VideoTextTowers:
        """Return the towers with their weights, arguments as of `VideoTextTowers`."""
        ...

    def version(self) -> str:
        """Return the hash of all that the towers start from."""
        ...


class ConvertedTowers:
    """The towers of a folder that `data convert-frozen` wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes = read_sizes(folder)

    def reader(self) -> PixelReader:
        return PixelReader(self.sizes.video.image_size, self._folder, self.sizes.text)

    def module(self, *, joint: bool, trained: Trained) -> VideoTextTowers:
        """Return the towers. ModelNotFound where their weights are damaged, or of another size."""
        towers = VideoTextTowers(self.sizes, joint=joint, trained=trained)
        _load(towers, hub.read_tensors(self._folder / WEIGHTS), self._folder / WEIGHTS)
        return towers

    def version(self) -> str:
        return hub.checkpoint_digest(self._folder)


class NewTowers:
    """Towers that are to be trained: from a ViT and a DistilBERT, or from nothing.

    What no checkpoint has is drawn from torch's generator.
    """

    def __init__(self, options: NewTowersOptions) -> None:
        self._options = options
        self._vit = hub.locate(options.vit) if options.vit else None
        self._distilbert = hub.locate(options.distilbert) if options.distilbert else None

    @late_property
    def sizes(self) -> TowerSizes:
        options = self._options
        video = options.video
        if self._vit:
            time = video.model_dump(include={"frames", "longer", "time_start"})
            video = vit.sizes(self._vit_weights, self._vit, vit.heads(self._vit), time)
        return TowerSizes(video, self._text_config(), options.projection)

    def reader(self) -> PixelReader:
        return PixelReader(self.sizes.video.image_size, self._tokenizer, self.sizes.text)

    def module(self, *, joint: bool, trained: Trained) -> VideoTextTowers:
        """Return the towers. UsageError where some of them start from nothing and not all are trained."""
        options = self._options
        if trained != "all" and (not (self._vit and self._distilbert) or options.projection):
            raise UsageError("towers, or projections, that start from nothing are trained: set towers: all")
        towers = VideoTextTowers(self.sizes, joint=joint, trained=trained)
        if self._vit:
            start = {name: value for name, value in towers.video.state_dict().items() if _OF_TIME.search(name)}
            _load(towers.video, {**start, **self._vit_weights}, self._vit)
        if self._distilbert:
            _load(towers.text, _text_tensors(self._distilbert), self._distilbert)
        return towers

    def version(self) -> str:
        folders = [folder for folder in (self._vit, self._distilbert, self._tokenizer) if folder]
        return digest([hub.checkpoint_digest(folder) for folder in folders], as_dict(self.sizes))

    @late_property
    def _vit_weights(self) -> dict[str, Tensor]:
        assert self._vit is not None
        return vit.read(self._vit)

    @property
    def _tokenizer(self) -> Path:
        if self._options.tokenizer:
            return hub.locate(self._options.tokenizer)
        assert self._distilbert is not None
        return self._distilbert

    def _text_config(self) -> Any:
        from transformers import DistilBertConfig

        if self._distilbert:
            if (kind := hub.model_type(self._distilbert)) != DistilBertConfig.model_type:
                raise ModelNotFound(f"{self._distilbert}: a {kind or 'folder without a'} checkpoint; not a DistilBERT")
            return DistilBertConfig.from_pretrained(self._distilbert, **hub.LOCAL)
        sizes = self._options.text
        words = len(pretrained.tokenizer(self._tokenizer))
        return DistilBertConfig(
            vocab_size=words,
            max_position_embeddings=sizes.tokens,
            n_layers=sizes.layers,
            n_heads=sizes.heads,
            dim=sizes.width,
            hidden_dim=sizes.expansion * sizes.width,
            dropout=sizes.dropout,
            attention_dropout=sizes.dropout,
            pad_token_id=None,  # of CLIP's tokenizers it is the end token, which would stay zero
        )


def as_dict(sizes: TowerSizes) -> dict[str, Any]:
    """Return plain values for `config.json`."""
    return {
        "model_type": MODEL_TYPE,
        "video": sizes.video.model_dump(mode="json"),
        "text": sizes.text.to_diff_dict(),
        "projection": sizes.projection,
    }


def read_sizes(folder: Path) -> TowerSizes:
    """Return what `config.json` of a converted folder says. ModelNotFound where it is none, or damaged."""
    from transformers import DistilBertConfig

    values = hub.settings(folder)
    if values.get("model_type") != MODEL_TYPE:
        raise ModelNotFound(
            f"{folder}: not what data convert-frozen writes: no {hub.CONFIG} of model_type {MODEL_TYPE}"
        )
    try:
        projection = None if values["projection"] is None else int(values["projection"])
        return TowerSizes(VideoTowerOptions(**values["video"]), DistilBertConfig(**values["text"]), projection)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ModelNotFound(f"{folder / hub.CONFIG}: damaged ({one_line(error)}); convert it once more") from error


def _text_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a DistilBERT, without the heads that it may have been trained with."""
    tensors = hub.checkpoint_tensors(folder)
    named = {name.removeprefix("distilbert."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in named.items() if name.startswith(("embeddings.", "transformer."))}


@quiet_loading()
def _load(module: Any, tensors: Mapping[str, Tensor], place: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelNotFound(f"{place}: not the weights of these towers: {one_line(error)}") from error
