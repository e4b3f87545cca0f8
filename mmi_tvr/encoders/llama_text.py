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
from .llava import DTYPES
from .options import LlavaOptions
from .quoting import quote
from .tokenizer_file import FileTokenizer

_PREFIXES = ("language_model.model.", "model.language_model.")  # of the published layout, and of transformers' own
_SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "rms_norm_eps", "max_position_embeddings")
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
        self._head_width = int(settings.get("head_dim") or self.width // settings["num_attention_heads"])

    @classmethod
    def read(cls, options: LlavaOptions, adapter: Path | None, device: str) -> LlamaTexts | None:
        """Return the language model of a LLaVA in one safetensors file.

        None where it, its tokenizer or the saved adapter is of another kind, is quantised, or wants another kernel of
        attention: `encoders.llava.load` reads those.
        """
        folder = hub.locate(options.checkpoint)
        settings = hub.settings(folder).get("text_config")
        path = folder / "model.safetensors"
        if (
            options.bits
            or options.attention not in _KERNELS
            or not isinstance(settings, dict)
            or not _is_llama(settings)
        ):
            return None
        tokenizer = FileTokenizer.read(folder)
        saved = None if adapter is None else lora_file.read(adapter, resolve(device))
        if tokenizer is None or not path.is_file() or (adapter is not None and saved is None):
            return None
        place, dtype = resolve(device), DTYPES[options.dtype]
        tensors = {name: tensor.to(place, dtype) for name, tensor in hub.read_tensors(path, _PREFIXES).items()}
        modules = {name.removesuffix(".weight") for name in tensors}
        if "norm.weight" not in tensors or (saved is not None and not saved.pairs.keys() <= modules):
            return None
        return cls(tensors, saved, settings, tokenizer, options.attention)

    def quote(self, text: str, limit: int) -> str:
        """Return a person's text as part of a prompt, as `Llava.quote` does."""
        return quote(text, limit, self._tokenizer.special_tokens, self._tokenizer.first_tokens)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the states (B, d_lm) of the last tokens of B texts, in batches of like lengths."""
        lengths = [len(ids) for ids in self._tokenizer.ids(texts)]
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


def _is_llama(settings: Mapping[str, Any]) -> bool:
    """Return whether settings name everything that is read here, and nothing that is not done here."""
    rope = settings.get("rope_parameters")
    is_plain = settings.get("model_type") == "llama" and settings.get("hidden_act") == "silu"
    if not is_plain or settings.get("attention_bias") or settings.get("mlp_bias") or not isinstance(rope, dict):
        return False
    return settings.keys() >= set(_SIZES) and rope.get("rope_type") == "default" and "rope_theta" in rope


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
