"""AdamW over named parameter groups, each with a learning rate of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from ..errors import UsageError
from .options import TrainOptions


def build(groups: Mapping[str, Iterable[nn.Parameter]], options: TrainOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with the `name` and the `peak` learning rate beside each group's `lr`.

    Matrices decay; biases, norms and scalars (fewer than two axes) do not. Raises UsageError where the groups and
    `learning_rates` do not name the same things.
    """
    rates = options.learning_rates
    if set(groups) != set(rates):
        raise UsageError(
            f"learning_rates are for {', '.join(sorted(rates))}, and the model's groups are {', '.join(sorted(groups))}"
        )
    made = []
    for name, parameters in groups.items():
        several = list(parameters)
        for decay, part in (
            (options.weight_decay, [p for p in several if p.ndim >= 2]),
            (0.0, [p for p in several if p.ndim < 2]),
        ):
            if part:
                made.append(
                    {"name": name, "params": part, "lr": rates[name], "peak": rates[name], "weight_decay": decay}
                )
    if not made:
        raise UsageError("the model has nothing to train: no parameter group holds a parameter")
    return torch.optim.AdamW(made, betas=options.betas)


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


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Bring every group to this share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
