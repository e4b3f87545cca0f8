"""CLIP's text tower alone, from its tensors: a search reads one sentence, and need not wait for the rest.

Importing transformers' CLIP takes two seconds more than torch and its tokenizers, and reading a whole checkpoint takes
the vision tower's weights along. Held to transformers' tower by a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, one_line
from . import lora_file

_EMBEDDINGS = "text_model.embeddings"
_FINAL = "text_model.final_layer_norm"
_HEAD = "text_projection.weight"
_LEGACY_END = 2  # what older settings say of the end token, which is the largest number then
_ACTIVATIONS = ("quick_gelu", "gelu")
_OTHER_WEIGHTS = ("quantization_config", "transformers_weights")  # settings by which the file is not all that is read
_COUNTED = ".position_ids"  # 0, 1, 2 ...: older files have it
_SMALLEST = 2  # bytes of a number that is not quantised


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

        path, text = folder / "model.safetensors", config.text_config
        if config.model_type != "clip" or not path.is_file() or (folder / lora_file.SETTINGS).exists():
            return None
        if text.hidden_act not in _ACTIVATIONS or any(vars(config).get(name) for name in _OTHER_WEIGHTS):
            return None
        try:
            with safe_open(path, "pt") as stream:
                names = [name for name in stream.keys() if name.startswith("text_")]  # noqa: SIM118
                tensors = {name: stream.get_tensor(name) for name in names if not name.endswith(_COUNTED)}
        except (OSError, SafetensorError) as error:
            raise ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}") from error
        sizes = _shapes(text, config.projection_dim)
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != sizes or any(
            not tensor.is_floating_point() or tensor.element_size() < _SMALLEST for tensor in tensors.values()
        ):
            return None
        return cls(tensors, text, device)

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


def _shapes(text: Any, joint_width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a text tower and its projection, by name."""
    width, hidden = text.hidden_size, text.intermediate_size
    linear = {f"self_attn.{side}": (width, width) for side in ("q_proj", "k_proj", "v_proj", "out_proj")}
    linear |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
    shapes = {
        f"{_EMBEDDINGS}.token_embedding.weight": (text.vocab_size, width),
        f"{_EMBEDDINGS}.position_embedding.weight": (text.max_position_embeddings, width),
        f"{_FINAL}.weight": (width,),
        f"{_FINAL}.bias": (width,),
        _HEAD: (joint_width, width),
    }
    for layer in range(text.num_hidden_layers):
        for name, shape in {**linear, "layer_norm1": (width,), "layer_norm2": (width,)}.items():
            module = f"text_model.encoder.layers.{layer}.{name}"
            shapes |= {f"{module}.weight": shape, f"{module}.bias": shape[:1]}
    return shapes
