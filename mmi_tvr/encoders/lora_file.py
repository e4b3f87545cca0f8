"""A saved adapter of a language model, read without peft: for texts alone, which no projector takes part in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound
from . import hub

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
PROJECTOR = "multi_modal_projector"
_NAME = re.compile(r"base_model\.model\.model\.language_model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_TASKS = (None, "CAUSAL_LM")  # other tasks bring layers of their own
_INSIDE = "model.language_model."  # where a LLaVA has its language model
# Settings that change nothing of what an adapter adds to a linear layer, or are read here. Decision: an adapter with
# any other that is set is left to peft, which knows more kinds from year to year.
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
}


@dataclass(frozen=True, slots=True)
class SavedAdapter:
    """What LoRA adds to linear layers: B A x, scaled."""

    pairs: dict[str, tuple[Tensor, Tensor]]  # A (rank, in) and B (out, rank) of a module, by its name
    scaling: float

    def add(self, module: str, inputs: Tensor, result: Tensor) -> Tensor:
        """Return the result of a module with what is added to it; computed in float32, as peft does."""
        from torch.nn.functional import linear

        if module not in self.pairs:
            return result
        down, up = self.pairs[module]
        return (result + linear(linear(inputs.to(down), down), up) * self.scaling).to(result)


def read(folder: Path, device: Any) -> SavedAdapter | None:
    """Return the adapter in a folder; None where it is of a kind that peft alone reads, or is not there."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if not _is_plain(settings):
            return None
        tensors = hub.read_tensors(folder / WEIGHTS)
        scaling = settings["lora_alpha"] / settings["r"]
        sides: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = _NAME.fullmatch(name)
            if match is not None and _is_target(match["module"], settings["target_modules"]):
                sides.setdefault(match["module"], {})[match["side"]] = tensor.to(device).float()
            elif f".{PROJECTOR}." not in name:
                return None
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError, re.error, ModelNotFound):
        return None
    if any(side.keys() != {"A", "B"} for side in sides.values()):
        return None
    if any((len(side["A"]), side["B"].shape[-1]) != (settings["r"], settings["r"]) for side in sides.values()):
        return None
    return SavedAdapter({module: (side["A"], side["B"]) for module, side in sides.items()}, scaling)


def _is_plain(settings: Mapping[str, Any]) -> bool:
    """Return whether settings say that B A x, scaled by alpha / r, is all that is added."""
    is_set = {name for name, value in settings.items() if value is not None and value is not False and value != {}}
    if settings.get("peft_type") != "LORA" or settings.get("bias") != "none" or not is_set - {"bias"} <= _HARMLESS:
        return False
    if settings.get("init_lora_weights", True) is not True:  # some of the other ways change the layer below
        return False
    return settings.get("task_type") in _TASKS and settings.get("modules_to_save") in (None, [], [PROJECTOR])


def _is_target(module: str, targets: str | Sequence[str]) -> bool:
    """Return whether peft adapts a module of the language model where its settings name these."""
    name = _INSIDE + module
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)
