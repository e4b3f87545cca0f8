"""AdamW, and Muon where it is asked for, over named parameter groups, each with a learning rate of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from ..errors import UsageError
from .options import TrainOptions


def build(groups: Mapping[str, Iterable[nn.Parameter]], options: TrainOptions) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov and Hutter 2019) with the `name` and the `peak` learning rate beside each group's `lr`; and
    Muon (Jordan et al. 2024, scaled to AdamW's updates as in Liu et al. 2025) for the matrices of the groups in `muon`.

    Matrices decay; biases, norms and scalars (fewer than two axes) do not. Raises UsageError where the groups and
    `learning_rates` do not name the same things, and where `muon` names another one.
    """
    rates = options.learning_rates
    if set(groups) != set(rates):
        raise UsageError(
            f"learning_rates are for {', '.join(sorted(rates))}, and the model's groups are {', '.join(sorted(groups))}"
        )
    if unknown := set(options.muon) - set(groups):
        raise UsageError(f"muon: the model's groups are {', '.join(sorted(groups))}, not {', '.join(sorted(unknown))}")
    made: dict[bool, list[dict[str, Any]]] = {True: [], False: []}  # by whether Muon has them
    for name, parameters in groups.items():
        several, muons = list(parameters), name in options.muon
        for muon, decay, part in (
            (True, options.weight_decay, [p for p in several if muons and p.ndim == 2]),
            (False, options.weight_decay, [p for p in several if p.ndim > 2 or (p.ndim == 2 and not muons)]),
            (False, 0.0, [p for p in several if p.ndim < 2]),
        ):
            if part:
                made[muon].append(
                    {"name": name, "params": part, "lr": rates[name], "peak": rates[name], "weight_decay": decay}
                )
    found: list[torch.optim.Optimizer] = []
    if made[False]:
        found.append(torch.optim.AdamW(made[False], betas=options.betas))
    if made[True]:
        found.append(torch.optim.Muon(made[True], adjust_lr_fn="match_rms_adamw"))
    if not found:
        raise UsageError("the model has nothing to train: no parameter group holds a parameter")
    return found


def check_groups(model: nn.Module, groups: Mapping[str, Iterable[nn.Parameter]]) -> None:
    """Every parameter that requires a gradient stands in exactly one group, and no other does; or UsageError."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    listed = [id(parameter) for group in groups.values() for parameter in group]
    wanted = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    problems = {
        "in no group": wanted - set(listed),
        "in a group, but frozen or not the model's": set(listed) - wanted,
        "in two groups": {each for each in listed if listed.count(each) > 1} if len(listed) > len(set(listed)) else {},
    }
    found = [
        f"{what}: {', '.join(names.get(each, '?') for each in which)}" for what, which in problems.items() if which
    ]
    if found:
        raise UsageError("parameter_groups: " + "; ".join(found))


def rates(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, float]:
    """The learning rate of each group by name."""
    return {group["name"]: group["lr"] for group in chain.from_iterable(each.param_groups for each in optimizers)}


def set_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Bring every group to this share of its peak."""
    for group in chain.from_iterable(each.param_groups for each in optimizers):
        group["lr"] = group["peak"] * factor
