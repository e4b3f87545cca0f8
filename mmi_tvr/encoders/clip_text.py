"""CLIP's text tower alone, from its tensors: a search reads one sentence, and need not wait for the rest.

Importing transformers' CLIP takes longer than all else, and reading a whole checkpoint takes the vision tower's weights
along. Held to transformers' tower by a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .clip_layers import ClipLayers, layer_shapes, read_tower

_TOWER = "text_model"
_HEAD = "text_projection.weight"
_LEGACY_END = 2  # what older settings say of the end token, which is the largest number then


class ClipTextTower:
    """Token ids -> projected states of the end token."""

    def __init__(self, tensors: dict[str, Any], config: Any, device: Any) -> None:
        """Take over the tensors of `text_model` and `text_projection`, and a checkpoint's text settings."""
        self._layers = ClipLayers(tensors, config, device, _TOWER)
        self._config = config

    @classmethod
    def read(cls, folder: Path, config: Any, device: Any) -> ClipTextTower | None:
        """Return the text tower of a checkpoint in one safetensors file.

        None where transformers has to read it, ModelNotFound where the file cannot be read (`read_tower`).
        """
        if config.model_type != "clip":
            return None
        text = config.text_config
        shapes = _shapes(text, config.projection_dim)
        tensors = read_tower(folder, config, text, ("text_",), shapes)
        return None if tensors is None else cls(tensors, text, device)

    def __call__(self, input_ids: Any, attention_mask: Any = None) -> Any:
        """Return the projected states (N, D) of token ids (N, L). What stands behind the end token is never looked at,
        so padding needs no mask."""
        import torch

        layers = self._layers
        states = layers.part("embeddings.token_embedding.weight")[input_ids]  # (N, L, d)
        states = states + layers.part("embeddings.position_embedding.weight")[: input_ids.shape[1]]
        *_, states = layers(states, is_causal=True)
        if self._config.eos_token_id == _LEGACY_END:
            ends = input_ids.argmax(dim=-1)
        else:
            ends = (input_ids == self._config.eos_token_id).int().argmax(dim=-1)
        rows = torch.arange(len(input_ids), device=states.device)
        return layers.norm("final_layer_norm", states)[rows, ends] @ layers.tensors[_HEAD].T


def _shapes(text: Any, joint_width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a text tower and its projection, by name."""
    width = text.hidden_size
    parts = {
        "embeddings.token_embedding.weight": (text.vocab_size, width),
        "embeddings.position_embedding.weight": (text.max_position_embeddings, width),
        "final_layer_norm.weight": (width,),
        "final_layer_norm.bias": (width,),
        **layer_shapes(text.num_hidden_layers, width, text.intermediate_size),
    }
    return {_HEAD: (joint_width, width), **{f"{_TOWER}.{name}": shape for name, shape in parts.items()}}
