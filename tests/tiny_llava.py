"""A random LLaVA of the real layout with a real tokenizer, and the CLIP whose vision tower it is built on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from mmi_tvr.encoders import llava, lora
from mmi_tvr.encoders.options import LlavaOptions, LoraOptions

IMAGE_SIZE, PATCH = 32, 8
SIDE = IMAGE_SIZE // PATCH
VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": IMAGE_SIZE, "patch_size": PATCH,
}  # fmt: skip
LANGUAGE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
WORDS = ["a", "red", "blue", "circle", "square", "moves", "left", "right", "then", "grows", "yes", "no"]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True, "size": {"shortest_edge": IMAGE_SIZE},
    "do_center_crop": True, "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip


def make(folder: Path, seed: int = 0) -> Path:
    """Write the LLaVA into `folder`, and its CLIP into `folder/clip`. Returns `folder`."""
    torch.manual_seed(seed)
    clip = _clip(folder / "clip")
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    language = LlamaConfig(**LANGUAGE, vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    config = LlavaConfig(
        vision_config=clip.vision_model.config, text_config=language, image_token_index=SPECIAL.index("<image>"),
        image_seq_length=SIDE**2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # a fresh model is nearly linear and its norms are all 1: give every part a say
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
    processor = {"processor_class": "LlavaProcessor", "patch_size": PATCH, "num_additional_image_tokens": 1}
    processor["vision_feature_select_strategy"] = "default"
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def make_adapter(checkpoint: Path, folder: Path) -> Path:
    """Write an adapter of every layer that changes something into `folder`, as peft saves it. Returns `folder`."""
    options = LlavaOptions(checkpoint=str(checkpoint), lora=LoraOptions(rank=4, alpha=8, dropout=0.0))
    model, generator = llava.load(options, device="cpu", trainable=True), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    lora.save(model.model, folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip


def _clip(folder: Path) -> CLIPModel:
    letters = sorted({letter for word in WORDS for letter in word})
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": len(vocabulary), "max_position_embeddings": 32, **ends,
    }  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24))
    with torch.no_grad():
        for parameter in model.vision_model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
    return model
