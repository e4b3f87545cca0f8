"""The frozen layers of a large model, divided among the processes that train (FSDP, Zhao et al., VLDB 2023).

Decision: only what is frozen is divided. It is what fills the memory (LoRA and heads are some hundred megabytes of 14
or 27 GB); checkpoints, optimisers and gradients, which know trained parameters alone, are the same with and without.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import UsageError
from ..utils import distributed
from .protocol import ModelWithLayers


def check_layers(model: nn.Module) -> tuple[nn.Module, Sequence[nn.Module], set[nn.Parameter]]:
    """Return what calls the layers that could be divided, these, and their frozen weights.

    Raises UsageError where the model has no large layers, or quantised ones, which cannot be divided.
    """
    layers = model.language_layers() if isinstance(model, ModelWithLayers) else None
    if layers is None:
        raise UsageError("train.shard: this model has no language model whose layers could be divided; leave it out")
    stack, parts = layers
    frozen = {weight for part in parts for weight in part.parameters() if not weight.requires_grad}
    if not all(weight.is_floating_point() for weight in frozen):
        raise UsageError("train.shard: weights of 4 or 8 bits cannot be divided; leave out either it or llava.bits")
    return stack, parts, frozen


def shard_frozen_layers(model: nn.Module, device: torch.device) -> None:
    """Keep a share of each frozen layer in every process; a layer is whole while it computes. In place.

    Every process must then call the model's layers equally often. Nothing is divided where one process trains.

    Args:
        model: on `device`, with its adapter.
        device: of this process.

    Raises:
        UsageError: as `check_layers` does.
    """
    stack, parts, frozen = check_layers(model)
    if distributed.world_size() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    whole = {weight for weight in model.parameters() if weight not in frozen}
    for part in (*parts, stack):  # the stack has nothing of its own left; it fetches a layer while another computes
        fully_shard(part, mesh=mesh, ignored_params=whole)
