"""CLIP's text tower alone, from its tensors: a search reads one sentence, and need not wait for the rest.

Importing transformers' CLIP takes two seconds more than torch and its tokenizers, and reading a whole checkpoint takes
the vision tower's weights along. Held to transformers' tower by a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, one_line

_EMBEDDINGS = "text_model.embeddings"
_FINAL = "text_model.final_layer_norm"
_HEAD = "text_projection.weight"
_LEGACY_END = 2  # what older settings say of the end token, which is the largest number then
_ACTIVATIONS = ("quick_gelu", "gelu")


class ClipTextTower:
    """Token ids -> projected states of the end token."""

    def __init__(self, tensors: dict[str, Any], config: Any, device: Any) -> None:
        """Take over the tensors of `text_model` and `text_projection`, and a checkpoint's text settings."""
        import torch

        self._torch = torch
        self._tensors = {name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}
        self._config = config

    @classmethod
    def read(cls, folder: Path, config: Any, device: Any) -> ClipTextTower | None:
        """Return the text tower of a checkpoint in one safetensors file.

        None where it is of another layout, or in several files: transformers reads those. ModelNotFound where the file
        cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / "model.safetensors"
        if config.model_type != "clip" or config.text_config.hidden_act not in _ACTIVATIONS or not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as stream:
                names = [name for name in stream.keys() if name.startswith("text_")]  # noqa: SIM118
                tensors = {name: stream.get_tensor(name) for name in names}
        except (OSError, SafetensorError) as error:
            raise ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}") from error
        needed = {f"{_EMBEDDINGS}.token_embedding.weight", f"{_FINAL}.weight", _HEAD}
        return cls(tensors, config.text_config, device) if needed <= tensors.keys() else None

    def __call__(self, input_ids: Any, attention_mask: Any = None) -> Any:
        """Return the projected states (N, D) of token ids (N, L). What stands behind the end token is never looked at,
        so padding needs no mask."""
        torch, config = self._torch, self._config
        states = self._tensors[f"{_EMBEDDINGS}.token_embedding.weight"][input_ids]  # (N, L, d)
        states = states + self._tensors[f"{_EMBEDDINGS}.position_embedding.weight"][: input_ids.shape[1]]
        for layer in range(config.num_hidden_layers):
            name = f"text_model.encoder.layers.{layer}"
            states = states + self._attention(f"{name}.self_attn", self._norm(f"{name}.layer_norm1", states))
            hidden = self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.layer_norm2", states))
            if config.hidden_act == "quick_gelu":
                hidden = hidden * torch.sigmoid(1.702 * hidden)
            else:
                hidden = torch.nn.functional.gelu(hidden)
            states = states + self._linear(f"{name}.mlp.fc2", hidden)
        if config.eos_token_id == _LEGACY_END:
            ends = input_ids.argmax(dim=-1)
        else:
            ends = (input_ids == config.eos_token_id).int().argmax(dim=-1)
        rows = torch.arange(len(input_ids), device=states.device)
        return self._norm(_FINAL, states)[rows, ends] @ self._tensors[_HEAD].T

    def _attention(self, name: str, states: Any) -> Any:
        """Return causal self-attention of states (N, L, d)."""
        count, length, width = states.shape
        heads = self._config.num_attention_heads
        query, key, value = (
            self._linear(f"{name}.{side}_proj", states).view(count, length, heads, width // heads).transpose(1, 2)
            for side in ("q", "k", "v")
        )
        attend = self._torch.nn.functional.scaled_dot_product_attention
        mixed = attend(query, key, value, is_causal=True)  # (N, heads, L, d / heads)
        return self._linear(f"{name}.out_proj", mixed.transpose(1, 2).reshape(count, length, width))

    def _norm(self, name: str, states: Any) -> Any:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return self._torch.nn.functional.layer_norm(states, weight.shape, weight, bias, self._config.layer_norm_eps)

    def _linear(self, name: str, states: Any) -> Any:
        return self._torch.nn.functional.linear(states, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])
