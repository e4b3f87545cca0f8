"""Random checkpoints of every layout of towers, with tokenizers and settings as the published ones have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import (
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    DistilBertConfig,
    DistilBertModel,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTModel,
)

SIZE, PATCH = 64, 16
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!'\"一只红狗"
_LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {**_LAYERS, "image_size": SIZE, "patch_size": PATCH}
_CLIP_COLOURS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_GREY = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_SQUARE = {"height": SIZE, "width": SIZE}
BILINEAR, BICUBIC = 2, 3


def make(layout: str, folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint of a layout into `folder`, and return that."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = {**LAYOUTS, **PARTS}[layout](folder)
    with torch.no_grad():  # a fresh model is nearly linear and its norms are all 1: give every part a say
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def _clip(folder: Path) -> Any:
    letters = [letter for letter in CHARACTERS if letter.isascii()]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    _pictures(folder, "CLIPImageProcessor", {"shortest_edge": SIZE}, BICUBIC, crop=True, **_CLIP_COLOURS)
    text = {**_LAYERS, "vocab_size": len(vocabulary), "max_position_embeddings": 77, **ends}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24))


def _siglip(folder: Path) -> Any:
    """google/siglip-base-patch16-224, with the tokenizer.json that it was given later: padding is </s>, 1."""
    ids = _unigram(folder, ["<pad>", "</s>", "<unk>"], "$A </s>")
    _tokenizer_config(folder, "SiglipTokenizer", do_lower_case=True, eos_token="</s>", pad_token="</s>")
    _pictures(folder, "SiglipImageProcessor", _SQUARE, BICUBIC, **_GREY)
    text = {**_LAYERS, "vocab_size": len(ids), "projection_size": 32, "bos_token_id": 0, "eos_token_id": 1}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))


def _siglip2(folder: Path) -> Any:
    """google/siglip2-base-patch16-224: called siglip in its settings; Gemma's tokenizer, which folds no case."""
    return SiglipModel(SiglipConfig(text_config=_gemma(folder), vision_config=_VISION))


def _siglip2_naflex(folder: Path) -> Any:
    """google/siglip2-base-patch16-naflex: pictures keep their shape, as a number of patches."""
    text = _gemma(folder)
    settings = {"do_resize": True, "patch_size": PATCH, "max_num_patches": 16, "resample": BILINEAR, **_GREY}
    _write(folder / "preprocessor_config.json", {"image_processor_type": "Siglip2ImageProcessor", **settings})
    vision = {**_LAYERS, "patch_size": PATCH, "num_patches": 16}
    return Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))


def _chinese_clip(folder: Path) -> Any:
    """OFA-Sys/chinese-clip-vit-base-patch16: a vocabulary is all it has of a tokenizer; 512 places, 52 of them used."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{letter}" for letter in CHARACTERS)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    _pictures(folder, "ChineseCLIPImageProcessor", _SQUARE, BICUBIC, **_CLIP_COLOURS)
    text = {**_LAYERS, "vocab_size": len(words), "max_position_embeddings": 512}
    return ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24))


def _metaclip2(folder: Path) -> Any:
    """facebook/metaclip-2-worldwide-*: XLM-R's tokenizer, whose end token is 2."""
    ids = _unigram(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>")
    ends = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    _tokenizer_config(folder, "XLMRobertaTokenizer", mask_token="<mask>", **ends)
    _pictures(folder, "CLIPImageProcessor", {"shortest_edge": SIZE}, BICUBIC, crop=True, **_CLIP_COLOURS)
    text = {**_LAYERS, "vocab_size": len(ids), "bos_token_id": None, "pad_token_id": None, "eos_token_id": 2}
    return MetaClip2Model(MetaClip2Config(text_config=text, vision_config=_VISION, projection_dim=24))


def _vit(folder: Path) -> Any:
    """google/vit-base-patch16-224-in21k."""
    return ViTModel(ViTConfig(**_VISION))


def _distilbert(folder: Path) -> Any:
    """distilbert/distilbert-base-uncased."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS.lower(), *(f"##{c}" for c in CHARACTERS.lower())]
    words = list(dict.fromkeys(words))
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    ends = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "DistilBertTokenizer", "unk_token": "[UNK]", "do_lower_case": True, **ends},
    )
    sizes = {"dim": 24, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 32}
    return DistilBertModel(DistilBertConfig(vocab_size=len(words), dropout=0.0, attention_dropout=0.0, **sizes))


PARTS: dict[str, Callable[[Path], Any]] = {"vit": _vit, "distilbert": _distilbert}
LAYOUTS: dict[str, Callable[[Path], Any]] = {
    "clip": _clip,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "siglip2_naflex": _siglip2_naflex,
    "chinese_clip": _chinese_clip,
    "metaclip2": _metaclip2,
}


def _gemma(folder: Path) -> dict[str, Any]:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    ids = {token: number for number, token in enumerate([*special, *CHARACTERS, "▁"])}
    tokenizer = Tokenizer(tokenizer_models.BPE(vocab=ids, merges=[], unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    # No padding_side: the class pads on the left, SigLIP 2 was trained on the right.
    named = {f"{token[1:-1]}_token": token for token in special}
    _tokenizer_config(folder, "GemmaTokenizer", add_bos_token=False, add_eos_token=True, **named)
    _pictures(folder, "SiglipImageProcessor", _SQUARE, BILINEAR, **_GREY)
    return {**_LAYERS, "vocab_size": len(ids), "projection_size": 32, "bos_token_id": 2, "eos_token_id": 1}


def _unigram(folder: Path, special: list[str], template: str) -> dict[str, int]:
    """Write a SentencePiece-like tokenizer, a token a character; return the ids of its tokens."""
    pieces = [(token, 0.0) for token in special] + [(character, -1.0) for character in f"{CHARACTERS}▁"]
    ids = {token: number for number, (token, _) in enumerate(pieces)}
    tokenizer = Tokenizer(tokenizer_models.Unigram(pieces, unk_id=ids["<unk>"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    ends = [(token, ids[token]) for token in special if token in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    return ids


def _tokenizer_config(folder: Path, kind: str, **settings: Any) -> None:
    _write(folder / "tokenizer_config.json", {"tokenizer_class": kind, "unk_token": "<unk>", **settings})


def _pictures(
    folder: Path, kind: str, size: dict[str, int], resample: int, *, crop: bool = False, **colours: Any
) -> None:
    settings = {"do_resize": True, "size": size, "resample": resample, "do_center_crop": crop, "crop_size": _SQUARE}
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    _write(folder / "preprocessor_config.json", {"image_processor_type": kind, **settings, **scale, **colours})


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
