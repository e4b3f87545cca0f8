"""The small LLaVA: its architecture, its tokenizers, and its files in the layout of published checkpoints.

Decisions. Pictures have 48 pixels and patches 8, so a picture is 36 tokens. All widths are small enough that the whole
model, its two copies of the vision tower included (one inside LLaVA, one inside CLIP, as published checkpoints have
it), takes 15 MB in float16. Both tokenizers are byte-level BPE, learned on the captions, so any text can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from ...utils.files import write_atomically

IMAGE_SIZE, PATCH = 48, 8
WIDTH = 192  # D, of the space that pictures and texts share
VOCABULARY = 1024
TOKENS, REGIONS = 2, 3  # grids: visual tokens of a key image, regions of the spatial head
FEATURE_LAYER = -2  # of the vision tower that visual tokens are taken from, as in LLaVA
_VISION: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 576,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH,
    "hidden_act": "gelu",
    "projection_dim": WIDTH,
}
_TEXT: dict[str, Any] = {
    "hidden_size": 160,
    "intermediate_size": 480,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "hidden_act": "gelu",
    "projection_dim": WIDTH,
}
_LANGUAGE: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
_SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_PREPROCESSOR: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": IMAGE_SIZE},
    "do_center_crop": True,
    "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_convert_rgb": True,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_PROCESSOR: dict[str, Any] = {
    "processor_class": "LlavaProcessor",
    "patch_size": PATCH,
    "num_additional_image_tokens": 1,
    "vision_feature_select_strategy": "default",
}


def clip_tokenizer(texts: Iterable[str]) -> Any:
    """Return transformers' CLIPTokenizer with a vocabulary learned on these texts."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    untrained = CLIPTokenizer()
    raw = Tokenizer(BPE(end_of_word_suffix="</w>"))
    raw.normalizer = untrained.backend_tokenizer.normalizer
    raw.pre_tokenizer = untrained.backend_tokenizer.pre_tokenizer
    letters = pre_tokenizers.ByteLevel.alphabet()
    ends = [f"{letter}</w>" for letter in letters]
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - 2, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    learned = json.loads(raw.to_str())["model"]
    merges: Any = [tuple(merge) for merge in learned["merges"]]  # pairs, which transformers' annotation leaves out
    words = dict.fromkeys((*sorted(letters), *sorted(ends), *("".join(merge) for merge in merges)))
    tokens = [*words, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)


def language_tokenizer(texts: Iterable[str]) -> Any:
    """Return the language model's tokenizer, with its image token; every text starts with <s>."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    fast_tokenizer: Any = PreTrainedTokenizerFast  # its constructor has no annotations
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(_SPECIAL_TOKENS), initial_alphabet=letters, show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    start = _SPECIAL_TOKENS.index("<s>")
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), _SPECIAL_TOKENS[:4], strict=True))
    return fast_tokenizer(tokenizer_object=raw, **names, additional_special_tokens=["<image>"])


def new_clip(tokenizer: Any, image_size: int = IMAGE_SIZE) -> Any:
    """Return an untrained CLIPModel for pictures of so many pixels each way."""
    from transformers import CLIPConfig, CLIPModel

    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = _TEXT | ends | {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
    vision = _VISION | {"image_size": image_size}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)
    return CLIPModel(config)


def new_llava(clip: Any, tokenizer: Any) -> Any:
    """Return an untrained language model and projector, around the vision tower of this CLIP."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = LlavaConfig(
        vision_config=clip.vision_model.config,
        vision_feature_layer=FEATURE_LAYER,
        text_config=LlamaConfig(**_LANGUAGE, **ids, vocab_size=len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    return model


def save(folder: Path, clip: Any, clip_tokenizer: Any, llava: Any, tokenizer: Any) -> None:
    """Write both models in float16: the LLaVA into `folder`, the CLIP that it was built on into `folder/clip`.

    Args:
        folder: of the checkpoint.
        clip: a CLIPModel.
        clip_tokenizer: what it reads texts by.
        llava: a LlavaForConditionalGeneration.
        tokenizer: what that reads texts by.
    """
    save_clip(folder / "clip", clip, clip_tokenizer)
    half = _half(llava)
    half.pop("lm_head.weight")  # the embeddings, once more
    _save(folder, llava, half, tokenizer, _PREPROCESSOR)
    _write(folder / "processor_config.json", _PROCESSOR)


def save_clip(folder: Path, clip: Any, tokenizer: Any) -> None:
    """Write a CLIPModel and its tokenizer in float16."""
    side = clip.config.vision_config.image_size
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    _save(folder, clip, _half(clip), tokenizer, _PREPROCESSOR | sizes)


def _half(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to(torch.float16) for name, tensor in model.state_dict().items()}


def _save(
    folder: Path, model: Any, tensors: dict[str, torch.Tensor], tokenizer: Any, preprocessor: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = torch.float16
    model.save_pretrained(folder, state_dict=tensors)
    tokenizer.save_pretrained(folder)
    _write(folder / "preprocessor_config.json", preprocessor)


def _write(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())


def padded(tokenizer: Any, texts: Sequence[str], most: int) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask (B, L), cut at `most` tokens."""
    encoded = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=most)
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}
