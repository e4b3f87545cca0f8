"""Options of the heads. Kept apart from the modules, so that a settings file is checked without loading torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..plugins import BaseOptions


class HeadOptions(BaseOptions):
    """Switches and sizes; the switches are the rows of the paper's table 3 that need no knowledge module."""

    temporal: bool = Field(True, description="temporal attention over the key images")
    spatial: bool = Field(True, description="spatial attention over the regions of a key image")
    plain: bool = Field(False, description="plain self-attention: H and G are left out, and nothing else changes")
    changes: bool = Field(True, description="add what changed since the last key image to the temporal head's input")
    key_images: int = Field(12, ge=1, description="most key images of a video (the size of H)")
    grid: int = Field(3, ge=1, description="regions of a key image form a grid x grid square (G is grid**2 wide)")
    heads: int = Field(8, ge=1, description="attention heads; must divide the embedding width")
    layers: int = Field(2, ge=1, description="attention layers of each head module")
    expansion: int = Field(2, ge=1, description="hidden width of the feed-forward parts, in embedding widths")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the heads while training")


class QueryHeadOptions(BaseOptions):
    """Sizes of a head that reads a query and a video together (`nn.query_encoder`)."""

    width: int = Field(128, ge=1, description="width of the head's states")
    layers: int = Field(3, ge=1, description="its transformer layers")
    heads: int = Field(4, ge=1, description="its attention heads; must divide its width")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the head while training")


class TranslatorOptions(BaseOptions):
    """Options of a translator. The defaults are the paper's, which pre-trains on millions of videos."""

    kind: Literal["decoder", "transformer", "linear", "none"] = Field(
        "decoder",
        description="decoder: learned queries ask the tokens; transformer, linear: token by token; none: as they are",
    )
    depth: int = Field(3, ge=1, description="layers")
    width: int | None = Field(None, ge=1, description="of the states inside; null: that of the target's tokens")
    heads: int = Field(8, ge=1, description="attention heads")
    feed_forward: int = Field(2048, ge=1, description="hidden width of the feed-forward parts, and of kind linear")
    dropout: float = Field(0.1, ge=0, le=1, description="inside the layers while training")
    norm: Literal["post", "pre"] = Field("post", description="layer norm behind each part (DETR), or before it")
    start: Literal["random", "identity"] = Field(
        "random", description="identity: the translation begins as the source's own tokens; needs equal widths"
    )
