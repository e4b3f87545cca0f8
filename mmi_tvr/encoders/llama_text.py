"""A LLaVA's language model on texts alone, from its tensors: what a search needs of it.

Importing transformers' LLaVA and peft takes three seconds more than torch, and reading a whole LLaVA takes a vision
tower along. Held to both by a test: states are equal to the last bit.

Source of the layers: Touvron et al., "LLaMA", 2023; of the adapter: Hu et al., "LoRA", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu, softmax

from ..utils.device import resolve
from . import hub, lora_file
from .llava import DTYPES, check_length
from .options import LlavaOptions
from .quoting import quote
from .tokenizer_file import FileTokenizer

_PREFIXES = ("language_model.model.", "model.language_model.")  # of the published layout, and of transformers' own
# Decision: a checkpoint whose settings name anything but these is left to transformers, which knows more from year to
# year (quantisation, other files of weights, kinds of attention).
_LLAVA_SETTINGS = frozenset(
    {
        "architectures",
        "dtype",
        "ignore_index",
        "image_seq_length",
        "image_token_id",
        "image_token_index",
        "model_type",
        "multimodal_projector_bias",
        "pad_token_id",
        "projector_hidden_act",
        "text_config",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "vision_config",
        "vision_feature_layer",
        "vision_feature_select_strategy",
    }
)
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_READ = frozenset({*_SIZES, "model_type", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_parameters"})
_ROPE = {"rope_type", "rope_theta"}
_OFF = ("attention_bias", "mlp_bias")
_TEXT_SETTINGS = frozenset(
    {
        *_READ,
        *_OFF,
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "head_dim",
        "initializer_range",
        "num_key_value_heads",
        "pad_token_id",
        "pretraining_tp",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_KERNELS = ("sdpa", "eager")
_BATCH = 64  # texts that are read at once


class LlamaTexts:
    """Texts -> the state of their last token, as `Llava.encode` returns it for texts without pictures."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        adapter: lora_file.SavedAdapter | None,
        settings: Mapping[str, Any],
        tokenizer: FileTokenizer,
        attention: str = "sdpa",
    ) -> None:
        """Take over weights.

        Args:
            tensors: of the language model, by their names in it.
            adapter: what is added to its layers.
            settings: of the language model (`text_config`).
            tokenizer: of the checkpoint.
            attention: which kernel, "sdpa" or "eager".
        """
        self.width = int(settings["hidden_size"])  # d_lm
        self._tensors = tensors
        self._adapter = adapter
        self._settings = settings
        self._tokenizer = tokenizer
        self._attend = _sdpa if attention == "sdpa" else _eager
        self._head_width = _head_width(settings)

    @classmethod
    def read(cls, options: LlavaOptions, adapter: Path | None, device: str) -> LlamaTexts | None:
        """Return the language model of a LLaVA in one safetensors file.

        None where it, its tokenizer or the saved adapter is of another kind, is quantised, or wants another kernel of
        attention: `encoders.llava.load` reads those.
        """
        folder = hub.locate(options.checkpoint)
        values = hub.settings(folder)
        settings, path = values.get("text_config"), folder / "model.safetensors"
        if options.bits or options.attention not in _KERNELS or not _is_llava(values) or not isinstance(settings, dict):
            return None
        if not _is_llama(settings) or not path.is_file() or (folder / lora_file.SETTINGS).exists():
            return None
        tokenizer = FileTokenizer.read(folder)
        saved = None if adapter is None else lora_file.read(adapter, resolve(device))
        if tokenizer is None or not tokenizer.is_a_token(_image_token(values)) or (adapter is not None and not saved):
            return None
        tensors, shapes = hub.read_tensors(path, _PREFIXES), _shapes(settings)
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes or (
            saved is not None and not _fits(saved, shapes)
        ):
            return None
        if any(tensor.dtype not in DTYPES.values() for tensor in tensors.values()):
            return None
        place, dtype = resolve(device), DTYPES[options.dtype]
        placed = {name: tensor.to(place, dtype) for name, tensor in tensors.items()}
        return cls(placed, saved, settings, tokenizer, options.attention)

    def quote(self, text: str, limit: int) -> str:
        """Return a person's text as part of a prompt, as `Llava.quote` does."""
        return quote(text, limit, self._tokenizer.special_tokens, self._tokenizer.first_tokens)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the states (B, d_lm) of the last tokens of B texts, in batches of like lengths.

        UsageError where one is longer than the model reads.
        """
        lengths = [len(ids) for ids in self._tokenizer.ids(texts)]
        check_length(max(lengths), self._settings["max_position_embeddings"])
        order = sorted(range(len(texts)), key=lambda row: lengths[row])
        parts = []
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            inputs = self._tokenizer.padded([texts[row] for row in rows])
            states = self._states(inputs["input_ids"], inputs["attention_mask"])
            parts.append(states[torch.arange(len(rows)), torch.tensor([lengths[row] - 1 for row in rows])])
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, L, d_lm) behind the final norm, of ids and mask (B, L), padded on the right."""
        table = self._tensors["embed_tokens.weight"]
        ids, mask = ids.to(table.device), mask.to(table.device).bool()
        states = embedding(ids, table)
        visible = None if mask.all() else mask[:, None, None] & _causal(states)
        rotation = self._rotation(mask.cumsum(dim=1) - 1)
        for layer in range(self._settings["num_hidden_layers"]):
            name = f"layers.{layer}"
            normed = self._norm(f"{name}.input_layernorm", states)
            states = states + self._attention(f"{name}.self_attn", normed, visible, rotation)
            normed = self._norm(f"{name}.post_attention_layernorm", states)
            gated = silu(self._linear(f"{name}.mlp.gate_proj", normed)) * self._linear(f"{name}.mlp.up_proj", normed)
            states = states + self._linear(f"{name}.mlp.down_proj", gated)
        return self._norm("norm", states)

    def _attention(self, name: str, states: Tensor, visible: Tensor | None, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Return causal self-attention of states (B, L, d_lm); `visible` (B, 1, L, L) is None where nothing is
        padding."""
        count, length, _ = states.shape
        query, key, value = (
            self._linear(f"{name}.{side}_proj", states).view(count, length, -1, self._head_width).transpose(1, 2)
            for side in ("q", "k", "v")
        )
        query, key = _rotated(query, *rotation), _rotated(key, *rotation)
        groups = query.shape[1] // key.shape[1]
        key, value = (side.repeat_interleave(groups, dim=1) if groups > 1 else side for side in (key, value))
        mixed = self._attend(query, key, value, visible)  # (B, heads, L, d_lm / heads)
        return self._linear(f"{name}.o_proj", mixed.transpose(1, 2).reshape(count, length, -1))

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (B, 1, L, head width) of positions (B, L)."""
        width, base = self._head_width, self._settings["rope_parameters"]["rope_theta"]
        frequencies = 1.0 / (base ** (torch.arange(0, width, 2, dtype=torch.float) / width))
        angles = positions[..., None].float() * frequencies.to(positions.device)
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        dtype = self._tensors["norm.weight"].dtype
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def _norm(self, name: str, states: Tensor) -> Tensor:
        wide = states.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._settings["rms_norm_eps"])
        return self._tensors[f"{name}.weight"] * wide.to(states.dtype)

    def _linear(self, name: str, states: Tensor) -> Tensor:
        result = linear(states, self._tensors[f"{name}.weight"])
        return result if self._adapter is None else self._adapter.add(name, states, result)


def _is_llava(values: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint's settings are those of a LLaVA, and name nothing that is not known here."""
    return values.get("model_type") == "llava" and values.keys() <= _LLAVA_SETTINGS and _image_token(values) >= 0


def _image_token(values: Mapping[str, Any]) -> int:
    """Return the id of the token that stands for a picture; -1 where settings do not say it once."""
    named = [values[name] for name in ("image_token_id", "image_token_index") if name in values]
    return named[0] if len(named) == 1 and type(named[0]) is int else -1


def _is_llama(settings: Mapping[str, Any]) -> bool:
    """Return whether settings name everything that is read here, and nothing that is not done here."""
    rope = settings.get("rope_parameters")
    if not _READ <= settings.keys() <= _TEXT_SETTINGS or any(settings.get(name) for name in _OFF):
        return False
    if settings["model_type"] != "llama" or settings["hidden_act"] != "silu" or not isinstance(rope, dict):
        return False
    sizes = [settings[name] for name in (*_SIZES, "max_position_embeddings")]
    sizes += [settings[name] for name in ("head_dim", "num_key_value_heads") if settings.get(name) is not None]
    if not all(type(size) is int and size > 0 for size in sizes) or not isinstance(settings["rms_norm_eps"], float):
        return False
    if settings["hidden_size"] % settings["num_attention_heads"] or settings["num_attention_heads"] % _pairs(settings):
        return False
    return rope.keys() == _ROPE and rope["rope_type"] == "default" and type(rope["rope_theta"]) in (int, float)


def _pairs(settings: Mapping[str, Any]) -> int:
    """Return how many heads have keys and values of their own."""
    return int(settings.get("num_key_value_heads") or settings["num_attention_heads"])


def _head_width(settings: Mapping[str, Any]) -> int:
    return int(settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"])


def _shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a language model, by name."""
    words, width, hidden, layers, heads = (settings[name] for name in _SIZES)
    query, key = heads * _head_width(settings), _pairs(settings) * _head_width(settings)
    layer = {
        "input_layernorm": (width,),
        "self_attn.q_proj": (query, width),
        "self_attn.k_proj": (key, width),
        "self_attn.v_proj": (key, width),
        "self_attn.o_proj": (width, query),
        "post_attention_layernorm": (width,),
        "mlp.gate_proj": (hidden, width),
        "mlp.up_proj": (hidden, width),
        "mlp.down_proj": (width, hidden),
    }
    shapes = {f"layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in layer.items()}
    return {"embed_tokens.weight": (words, width), "norm.weight": (width,), **shapes}


def _fits(adapter: lora_file.SavedAdapter, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether all that an adapter adds to are layers of these shapes."""
    return all(
        shapes.get(f"{module}.weight") == (up.shape[0], down.shape[1]) for module, (down, up) in adapter.pairs.items()
    )


def _sdpa(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
    """Return causal attention of (B, heads, L, width) by torch's kernel."""
    scale = query.shape[-1] ** -0.5
    return scaled_dot_product_attention(query, key, value, visible, is_causal=visible is None, scale=scale)


def _eager(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
    """Return causal attention of (B, heads, L, width) step by step, as transformers' kernel of that name does."""
    if visible is None:
        visible = _causal(query)
    hidden = torch.zeros_like(visible, dtype=query.dtype).masked_fill(~visible, torch.finfo(query.dtype).min)
    weights = torch.matmul(query, key.transpose(2, 3)) * query.shape[-1] ** -0.5 + hidden
    return torch.matmul(softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype), value)


def _causal(states: Tensor) -> Tensor:
    """Return which of the L places of states (..., L, width) see which, (L, L)."""
    length = states.shape[-2]
    return torch.ones(length, length, dtype=torch.bool, device=states.device).tril()


def _rotated(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Return states (B, heads, L, width) turned by their positions."""
    half = states.shape[-1] // 2
    turned = torch.cat((-states[..., half:], states[..., :half]), dim=-1)
    return (states * cosines) + (turned * sines)
