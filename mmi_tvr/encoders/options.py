"""Options of the towers. Kept apart from the code, so that a settings file is checked without loading torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..plugins import BaseOptions

Dtype = Literal["float32", "bfloat16", "float16"]


class LoraOptions(BaseOptions):
    """Low-rank adaptation of the language model (Hu et al., ICLR 2022); defaults as QLoRA's, all linear layers."""

    rank: int = Field(16, ge=1, description="rank of the update")
    alpha: float = Field(32, gt=0, description="the update is scaled by alpha / rank")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the update while training")
    targets: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="linear layers of the language model, by the last part of their names",
    )
    projector: bool = Field(True, description="train the projector whole, and save it with the adapter")


class VideoTowerOptions(BaseOptions):
    """Sizes of a space-time tower; the defaults are Frozen's, which is a ViT-B/16."""

    image_size: int = Field(224, ge=1, description="side in pixels of the square that is cut out of each picture")
    patch_size: int = Field(16, ge=1, description="side of a patch in pixels; must divide the picture's")
    width: int = Field(768, ge=1, description="of the states")
    layers: int = Field(12, ge=1, description="blocks of attention over time and over space")
    heads: int = Field(12, ge=1, description="attention heads; must divide the width")
    expansion: int = Field(4, ge=1, description="hidden width of the feed-forward parts, in widths")
    frames: int = Field(4, ge=1, description="pictures of a video that have a position of their own")
    longer: Literal["zeros", "interpolate"] = Field(
        "zeros", description="positions in time beyond the trained ones: zero, or in between the trained ones"
    )
    time_start: Literal["zeros", "random"] = Field(
        "zeros", description="attention over time starts without effect (a ViT picture by picture), or at random"
    )

    @model_validator(mode="after")
    def _whole_parts(self) -> VideoTowerOptions:
        if self.image_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} pixels do not tile a picture of {self.image_size}")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} attention heads cannot share the width {self.width}")
        return self


class TextTowerOptions(BaseOptions):
    """Sizes of a DistilBERT; the defaults are those of the published one."""

    width: int = Field(768, ge=1, description="of the states")
    layers: int = Field(6, ge=1, description="transformer layers")
    heads: int = Field(12, ge=1, description="attention heads; must divide the width")
    expansion: int = Field(4, ge=1, description="hidden width of the feed-forward parts, in widths")
    tokens: int = Field(512, ge=3, description="tokens of a sentence that are read")
    dropout: float = Field(0.1, ge=0, lt=1, description="inside the layers while the tower is trained")

    @model_validator(mode="after")
    def _whole_heads(self) -> TextTowerOptions:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} attention heads cannot share the width {self.width}")
        return self


class NewTowersOptions(BaseOptions):
    """A space-time tower and a DistilBERT to be trained: from other checkpoints, or from nothing at these sizes."""

    vit: str | None = Field(
        None,
        description="a ViT of transformers' or timm's layout, as folder or hub name: where the video tower starts",
    )
    distilbert: str | None = Field(None, description="folder or hub name: where the text tower starts")
    tokenizer: str | None = Field(None, description="checkpoint whose tokenizer is used; default: that of `distilbert`")
    video: VideoTowerOptions = Field(VideoTowerOptions(), description="sizes of the video tower; `vit` has its own")
    text: TextTowerOptions = Field(TextTowerOptions(), description="sizes of the text tower; `distilbert` has its own")
    projection: int | None = Field(
        None, ge=1, description="width of a common space, into which each tower has a linear layer; null: none"
    )

    @model_validator(mode="after")
    def _words(self) -> NewTowersOptions:
        if not (self.tokenizer or self.distilbert):
            raise ValueError("who splits sentences into tokens? Name a tokenizer, or a distilbert")
        return self


class LlavaOptions(BaseOptions):
    """A LLaVA checkpoint of the Hugging Face layout, and how it is loaded."""

    checkpoint: str = Field(description="a folder, or a hub name, of a LLaVA checkpoint")
    clip: str | None = Field(
        None, description="the CLIP checkpoint whose vision tower it was built on; default: the folder `clip` inside it"
    )
    dtype: Dtype = Field("float32", description="of the language model; the vision tower stays float32")
    bits: Literal[4, 8] | None = Field(None, description="quantise the frozen language model (4: NF4, QLoRA; 8: int8)")
    attention: Literal["sdpa", "flash_attention_2", "eager"] = Field("sdpa", description="attention kernel")
    checkpointing: bool = Field(False, description="gradient checkpointing: recompute layers, and spare their memory")
    grid: int = Field(2, ge=1, description="a key image becomes grid x grid visual tokens")
    lora: LoraOptions | None = Field(LoraOptions(), description="how it is fine-tuned; null: not at all")

    @model_validator(mode="after")
    def _flash_needs_half(self) -> LlavaOptions:
        if self.attention == "flash_attention_2" and self.dtype == "float32":
            raise ValueError("flash_attention_2 needs dtype bfloat16 or float16")
        return self
