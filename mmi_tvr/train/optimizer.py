"""AdamW, and Muon where it is asked for, over named parameter groups, each with a learning rate of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from packaging.version import Version
from torch import nn

from ..errors import UsageError
from .options import TrainOptions

_MUON_SINCE = "2.9"  # of torch


def build(groups: Mapping[str, Iterable[nn.Parameter]], options: TrainOptions) -> list[torch.optim.Optimizer]:
    """Return AdamW (Loshchilov and Hutter 2019), and Muon (Jordan et al. 2024, scaled to AdamW's updates as in Liu et
    al. 2025) for the matrices of the groups in `muon`. Beside each group's `lr` stand its `name` and its `peak` rate.

    Matrices decay; biases, norms and scalars (fewer than two axes) do not. Raises UsageError where the groups and
    `learning_rates` do not name the same things, and where `muon` names another one.
    """
    _check_names(set(groups), options)
    for_adamw: list[dict[str, Any]] = []
    for_muon: list[dict[str, Any]] = []
    for name, members in groups.items():
        parameters = list(members)
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        by_muon = [parameter for parameter in parameters if parameter.ndim == 2 and name in options.muon]
        matrices = [parameter for parameter in parameters if parameter.ndim > 2]
        if name not in options.muon:
            matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        rate = options.learning_rates[name]
        for destination, part, decay in (
            (for_muon, by_muon, options.weight_decay),
            (for_adamw, matrices, options.weight_decay),
            (for_adamw, vectors, 0.0),
        ):
            if part:
                destination.append({"name": name, "params": part, "lr": rate, "peak": rate, "weight_decay": decay})
    optimizers: list[torch.optim.Optimizer] = []
    if for_adamw:
        optimizers.append(torch.optim.AdamW(for_adamw, betas=options.betas))
    if for_muon:
        check_torch(options)
        optimizers.append(torch.optim.Muon(for_muon, adjust_lr_fn="match_rms_adamw"))
    if not optimizers:
        raise UsageError("the model has nothing to train: no parameter group holds a parameter")
    return optimizers


def check_torch(options: TrainOptions) -> None:
    """Raise UsageError where the options name what this torch does not have."""
    if options.muon and Version(torch.__version__) < Version(_MUON_SINCE):
        raise UsageError(f"train.muon needs torch {_MUON_SINCE} or newer, and this is {torch.__version__}")


def _check_names(groups: set[str], options: TrainOptions) -> None:
    """Raise UsageError where options speak of other groups than the model has."""
    known = ", ".join(sorted(groups))
    if groups != set(options.learning_rates):
        configured = ", ".join(sorted(options.learning_rates))
        raise UsageError(f"learning_rates are for {configured}, and the model's groups are {known}")
    if unknown := set(options.muon) - groups:
        raise UsageError(f"muon: the model's groups are {known}, not {', '.join(sorted(unknown))}")


def check_groups(model: nn.Module, groups: Mapping[str, Iterable[nn.Parameter]]) -> None:
    """Raise UsageError unless every parameter that requires a gradient stands in exactly one group, and no other."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    problems = {
        "in no group": trainable - set(grouped),
        "in a group, but frozen or not the model's": set(grouped) - trainable,
        "in two groups": {parameter for parameter, count in Counter(grouped).items() if count > 1},
    }
    listed = [
        f"{problem}: {', '.join(names.get(parameter, '?') for parameter in parameters)}"
        for problem, parameters in problems.items()
        if parameters
    ]
    if listed:
        raise UsageError("parameter_groups: " + "; ".join(listed))


def rates(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, float]:
    """Return the learning rate of each group by name."""
    return {group["name"]: group["lr"] for optimizer in optimizers for group in optimizer.param_groups}


def set_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Bring every group to this share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
