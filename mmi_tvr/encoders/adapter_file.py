"""LoRA adapters in PEFT's files, added to the weights of a model: VLM2Vec-V2 is published so, without its base.

    adapter_config.json        base_model_name_or_path, lora_alpha, use_rslora, use_dora, ...
    adapter_model.safetensors  base_model.model.LAYER.lora_A.weight, .lora_B.weight; of DoRA, .lora_magnitude_vector

Sources: Hu et al., "LoRA", ICLR 2022: W + alpha / rank B A; Liu et al., "DoRA", ICML 2024: its rows scaled to learned
lengths. PEFT itself wants the layers by the names that they had when the adapter was trained, and transformers has
named those of Qwen2-VL anew since: of an adapter that fits nowhere PEFT would warn, and go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, one_line
from . import hub

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PARTS = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_magnitude_vector": "lengths",
    ".lora_magnitude_vector.weight": "lengths",
}
_UNKNOWN = ("modules_to_save", "alpha_pattern", "rank_pattern", "layers_pattern", "fan_in_fan_out")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter, and no model."""
    return (folder / SETTINGS).is_file() and {path.name for path in folder.glob("*.safetensors")} <= {_WEIGHTS}


def base_name(folder: Path) -> str:
    """Return the checkpoint that an adapter was trained on, as its settings name it.

    Raises:
        ModelNotFound: they name none, or say what is not known here.
    """
    settings = _settings(folder)
    base = settings.get("base_model_name_or_path")
    if settings.get("peft_type") != "LORA" or not isinstance(base, str):
        raise ModelNotFound(f"{folder / SETTINGS}: not a LoRA adapter that names its base")
    if known := [name for name in _UNKNOWN if settings.get(name)]:
        raise ModelNotFound(f"{folder / SETTINGS}: {known[0]} is not known here; merge the adapter into its base first")
    return base


def add(model: Any, folder: Path) -> None:
    """Add an adapter to the weights of the model that it was trained on.

    Args:
        model: changed in place.
        folder: of the adapter.

    Raises:
        ModelNotFound: it cannot be read, or has layers that the model has not, or of other sizes.
    """
    import torch

    settings = _settings(folder)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in hub.read_tensors(folder / _WEIGHTS, (_PREFIX,)).items():
        ending = next((ending for ending in _PARTS if name.endswith(ending)), None)
        if ending is None:
            raise ModelNotFound(f"{folder / _WEIGHTS}: {name} is no part of a LoRA adapter")
        layers.setdefault(name.removesuffix(ending), {})[_PARTS[ending]] = tensor.float()
    if not layers:
        raise ModelNotFound(f"{folder / _WEIGHTS}: holds no LoRA adapter")
    modules = dict(model.named_modules())
    for name, parts in layers.items():
        layer = _layer(modules, name)
        if layer is None:
            raise ModelNotFound(f"{folder / _WEIGHTS}: the model has no layer {name}")
        try:
            with torch.no_grad():
                layer.weight.copy_(_adapted(layer.weight.float(), parts, settings))
        except (KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelNotFound(f"{folder / _WEIGHTS}: {name} does not fit the model: {one_line(error)}") from error


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{folder / SETTINGS}: cannot be read: {one_line(error)}") from error
    return settings if isinstance(settings, dict) else {}


def _layer(modules: Mapping[str, Any], name: str) -> Any:
    """Return the linear layer of a name, as it is today or was in former versions of transformers; None without."""
    import torch

    bare = name.removeprefix("model.")
    for spelling in (name, bare, f"language_model.{bare}"):
        if isinstance(modules.get(spelling), torch.nn.Linear):
            return modules[spelling]
    return None


def _adapted(weight: Tensor, parts: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Tensor:
    """Return a weight (outputs, inputs) with the parts of an adapter in it."""
    rank = len(parts["down"])
    scale = float(settings["lora_alpha"]) / (rank**0.5 if settings.get("use_rslora") else rank)
    adapted = weight + scale * (parts["up"] @ parts["down"]).to(weight.device)
    if settings.get("use_dora"):
        adapted = adapted * (parts["lengths"].to(weight.device) / adapted.norm(dim=1))[:, None]
    return adapted
