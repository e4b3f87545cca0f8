"""The layers that both of CLIP's towers are made of, from a checkpoint's tensors and without transformers.

Importing transformers' CLIP takes four seconds more than torch: twice as long as a search, or as the first pictures of
a library. Both towers are held to transformers' by tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, one_line
from . import lora_file

_ACTIVATIONS = ("quick_gelu", "gelu")
_OTHER_WEIGHTS = ("quantization_config", "transformers_weights")  # settings by which the file is not all that is read
_COUNTED = ".position_ids"  # 0, 1, 2 ...: older files have it
_SMALLEST = 2  # bytes of a number that is not quantised


class ClipLayers:
    """States of tokens -> their states behind each layer, in float32."""

    def __init__(self, tensors: Mapping[str, Any], config: Any, device: Any, name: str) -> None:
        """Take over the tensors of a tower.

        Args:
            tensors: under their names in the checkpoint.
            config: the tower's settings.
            device: where to keep the tensors.
            name: of the tower in the names of its tensors.
        """
        import torch

        self._torch = torch
        self._config = config
        self._name = name
        self.tensors = {name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}

    def __call__(self, states: Any, *, is_causal: bool) -> Iterator[Any]:
        """Yield the states (N, L, d) behind each layer."""
        torch, config = self._torch, self._config
        for layer in range(config.num_hidden_layers):
            name = f"encoder.layers.{layer}"
            states = states + self._attention(
                f"{name}.self_attn", self.norm(f"{name}.layer_norm1", states), is_causal=is_causal
            )
            hidden = self._linear(f"{name}.mlp.fc1", self.norm(f"{name}.layer_norm2", states))
            if config.hidden_act == "quick_gelu":
                hidden = hidden * torch.sigmoid(1.702 * hidden)
            else:
                hidden = torch.nn.functional.gelu(hidden)
            states = states + self._linear(f"{name}.mlp.fc2", hidden)
            yield states

    def part(self, name: str) -> Any:
        """Return a tensor by its name in the tower."""
        return self.tensors[f"{self._name}.{name}"]

    def norm(self, name: str, states: Any) -> Any:
        """Return the layer norm of states."""
        weight, bias = self.part(f"{name}.weight"), self.part(f"{name}.bias")
        return self._torch.nn.functional.layer_norm(states, weight.shape, weight, bias, self._config.layer_norm_eps)

    def _attention(self, name: str, states: Any, *, is_causal: bool) -> Any:
        """Return self-attention of states (N, L, d)."""
        count, length, width = states.shape
        heads = self._config.num_attention_heads
        query, key, value = (
            self._linear(f"{name}.{side}_proj", states).view(count, length, heads, width // heads).transpose(1, 2)
            for side in ("q", "k", "v")
        )
        attend = self._torch.nn.functional.scaled_dot_product_attention
        mixed = attend(query, key, value, is_causal=is_causal)  # (N, heads, L, d / heads)
        return self._linear(f"{name}.out_proj", mixed.transpose(1, 2).reshape(count, length, width))

    def _linear(self, name: str, states: Any) -> Any:
        return self._torch.nn.functional.linear(states, self.part(f"{name}.weight"), self.part(f"{name}.bias"))


def read_tower(
    folder: Path, config: Any, tower: Any, prefixes: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any] | None:
    """Return the tensors of a tower by name, from a checkpoint of CLIP in one safetensors file.

    Args:
        folder: of the checkpoint.
        config: its settings.
        tower: the part of them that is about this tower.
        prefixes: how the names of the tower's tensors begin.
        shapes: of all tensors of the tower, by name.

    Returns:
        None where it is in several files, quantised, or has other tensors: transformers knows what to make of these, or
        says what is wrong.

    Raises:
        ModelNotFound: where the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / "model.safetensors"
    if not path.is_file() or (folder / lora_file.SETTINGS).exists():
        return None
    if tower.hidden_act not in _ACTIVATIONS or any(vars(config).get(name) for name in _OTHER_WEIGHTS):
        return None
    try:
        with safe_open(path, "pt") as stream:
            names = [name for name in stream.keys() if name.startswith(prefixes)]  # noqa: SIM118
            tensors = {name: stream.get_tensor(name) for name in names if not name.endswith(_COUNTED)}
    except (OSError, SafetensorError) as error:
        raise ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}") from error
    is_whole = {name: tuple(tensor.shape) for name, tensor in tensors.items()} == shapes
    is_plain = all(tensor.is_floating_point() and tensor.element_size() >= _SMALLEST for tensor in tensors.values())
    return tensors if is_whole and is_plain else None


def layer_shapes(layers: int, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of so many layers, by their names in a tower, in transformers' order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        name = f"encoder.layers.{layer}"
        for part, out, into in (
            *((f"self_attn.{side}_proj", width, width) for side in ("k", "v", "q", "out")),
            ("layer_norm1", width, None),
            ("mlp.fc1", hidden, width),
            ("mlp.fc2", width, hidden),
            ("layer_norm2", width, None),
        ):
            shapes[f"{name}.{part}.weight"] = (out,) if into is None else (out, into)
            shapes[f"{name}.{part}.bias"] = (out,)
    return shapes
