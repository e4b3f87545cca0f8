"""Random checkpoints of the layouts of multimodal embedding models, with tokenizer and settings of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL += ["<|image_pad|>", "<|video_pad|>"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!'\"0123456789<>|_: \n"
HIDDEN = 32


def make(kind: str, folder: Path) -> Path:
    """Write a checkpoint of a model type into `folder`, and return that."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    ids = {token: number for number, token in enumerate([*SPECIAL, *CHARACTERS])}
    tokenizer = Tokenizer(tokenizer_models.WordLevel(ids, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=SPECIAL[0], additional_special_tokens=SPECIAL)
    fast.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_pictures(kind)))
    model = _MODELS[kind](ids)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def _pictures(kind: str) -> dict[str, Any]:
    patch = 16 if kind == "qwen3_vl" else 14
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": patch,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": (2 * patch) ** 2,
        "max_pixels": (8 * patch) ** 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }


def _text(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "vocab_size": len(ids), "hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096, "head_dim": 16,
    }  # fmt: skip


def _marks(ids: dict[str, int]) -> dict[str, int]:
    names = ("vision_start", "vision_end", "image", "video")
    return {f"{name}_token_id": ids[token] for name, token in zip(names, SPECIAL[3:], strict=True)}


def _rope() -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}


def _qwen2(ids: dict[str, int]) -> Any:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": HIDDEN, "num_heads": 2, "patch_size": 14}
    text = {**_text(ids), "rope_parameters": _rope()}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **_marks(ids)))


def _qwen2_5(ids: dict[str, int]) -> Any:
    vision = {
        "depth": 2, "hidden_size": 16, "out_hidden_size": HIDDEN, "intermediate_size": 24, "num_heads": 2,
        "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    text = {**_text(ids), "rope_parameters": _rope()}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_marks(ids)))


def _qwen3(ids: dict[str, int]) -> Any:
    vision = {
        "depth": 2, "hidden_size": 16, "out_hidden_size": HIDDEN, "intermediate_size": 24, "num_heads": 2,
        "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    text = {**_text(ids), "rope_parameters": {**_rope(), "mrope_interleaved": True}}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **_marks(ids)))


_MODELS = {"qwen2_vl": _qwen2, "qwen2_5_vl": _qwen2_5, "qwen3_vl": _qwen3}
