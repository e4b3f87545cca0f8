"""Low-rank adapters on the language model of a LLaVA: attach, save, load, merge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, UsageError, one_line
from ..utils.installation import require
from .lora_file import PROJECTOR, WEIGHTS
from .options import LoraOptions

if TYPE_CHECKING:
    from torch import nn

_SEARCH, _JUDGE = "default", "judge"  # what the two adapters are called in a PeftModel


def pattern(targets: tuple[str, ...]) -> str:
    """Return the regular expression of the layers to adapt.

    A list of names would also hit the vision tower, whose attention has q_proj, k_proj and v_proj too.

    >>> bool(re.fullmatch(pattern(("q_proj",)), "model.language_model.layers.0.self_attn.q_proj"))
    True
    >>> bool(re.fullmatch(pattern(("q_proj",)), "model.vision_tower.encoder.layers.0.self_attn.q_proj"))
    False
    """
    return rf".*\blanguage_model\.(?:.*\.)?(?:{'|'.join(map(re.escape, targets))})"


def attach(model: nn.Module, options: LoraOptions) -> Any:
    """Freeze `model`, and add a new adapter that changes nothing yet; return the PeftModel around it.

    A model on the meta device stays there, so parameters can be counted without memory. UsageError where a target is
    no layer of the language model: peft would ignore it as long as another one exists.
    """
    peft = require("peft", "train")
    names = [name for name, _ in model.named_modules()]
    for target in options.targets:
        if not any(re.fullmatch(pattern((target,)), name) for name in names):
            raise UsageError(f"lora.targets: the language model has no layer called {target!r}")
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=pattern(options.targets),
        modules_to_save=[PROJECTOR] if options.projector else None,
    )
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    return _in_float32(peft.get_peft_model(model, config, low_cpu_mem_usage=on_meta))


def load(model: nn.Module, folder: Path, *, trainable: bool = False) -> Any:
    """Put a saved adapter, and its projector, onto `model`; return the PeftModel around it.

    ModelNotFound where the folder holds no adapter in safetensors (pickled ones are not read), or one of other layers.
    """
    peft = require("peft", "train")
    with _adapter_errors(folder):
        return _in_float32(peft.PeftModel.from_pretrained(model, folder, is_trainable=trainable))


def attach_copy(model: nn.Module, options: LoraOptions, folder: Path) -> Any:
    """Return `attach` with a new adapter that begins as the saved one in `folder`, its projector left out."""
    from safetensors.torch import load_file

    peft = require("peft", "train")
    adapted = attach(model, options.model_copy(update={"projector": False}))
    saved = {name: weight for name, weight in load_file(folder / WEIGHTS).items() if PROJECTOR not in name}
    peft.set_peft_model_state_dict(adapted, saved)
    return adapted


def add_judge(model: Any, folder: Path) -> None:
    """Put a saved adapter beside the one of a PeftModel, which stays the active one; `judging` makes it judge.

    ModelNotFound where the folder holds no adapter in safetensors, or one of other layers.
    """
    with _adapter_errors(folder):
        model.load_adapter(folder, _JUDGE)
    _in_float32(model)


@contextmanager
def judging(model: Any) -> Iterator[None]:
    """Have the judge's adapter of a PeftModel take the place of the other one; that one where there is no judge's."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and _JUDGE in module.lora_A]
    _activate(layers, _JUDGE)
    try:
        yield
    finally:
        _activate(layers, _SEARCH)


def save(model: Any, folder: Path) -> None:
    """Write the adapter and the trained projector, in safetensors. The embeddings are never trained, so not written."""
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False, selected_adapters=[_SEARCH])


def merge(model: Any) -> Any:
    """Return the plain model with the adapter added into its weights and the trained projector in its place."""
    return model.merge_and_unload(safe_merge=True)


def trainable(model: nn.Module) -> dict[str, int]:
    """Count the numbers that training changes, in the adapter and in the projector."""
    counts = {"lora": 0, "projector": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts["projector" if PROJECTOR in name else "lora"] += parameter.numel()
    return counts


@contextmanager
def _adapter_errors(folder: Path) -> Iterator[None]:
    """Raise what is wrong with a saved adapter as ModelNotFound."""
    from safetensors import SafetensorError

    if not (folder / WEIGHTS).is_file():
        raise ModelNotFound(f"{folder}: no adapter here ({WEIGHTS} is missing)")
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, re.error, SafetensorError) as error:
        raise ModelNotFound(f"{folder}: not an adapter of this model: {one_line(error)}") from error


def _activate(layers: Sequence[Any], name: str) -> None:
    """Have these layers use the adapter of a name. Decision: layer by layer, because peft would switch the trained
    projector, too, of which the judge's adapter has none."""
    for layer in layers:
        layer.set_adapter(name)
        layer.requires_grad_(False)


def _in_float32(model: Any) -> Any:
    """Trained parameters in float32 whatever the base is: a step of 1e-5 is lost in bfloat16's 8 bits.

    peft does so for the adapter, not for the projector.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or f"{PROJECTOR}.modules_to_save" in name:
            parameter.data = parameter.data.float()
    return model
