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
