"""Tensors across processes. With one process, every function here is the identity and needs no process group.

The rule for losses: each of W processes computes `W * (sum over its own rows) / (number of rows everywhere)`, from
vectors gathered with gradients; averaging the gradients over processes then gives the full batch's gradient exactly.
Parameters are averaged here rather than by DistributedDataParallel (decision): its wrapper watches `forward` alone and
wants one backward for each, while a model here is called by several methods, in chunks that are replayed, and with
parameters that a stage does not use. What is trained is small (LoRA, heads), so one message at the end costs little.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _together() else 0


def sizes(tensor: Tensor) -> list[int]:
    """The length of the first axis of this tensor in every process. A process's rows start at `sum(sizes[:rank()])`."""
    if world() == 1:
        return [len(tensor)]
    own = torch.tensor([len(tensor)], device=tensor.device)
    found = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(found, own)
    return [int(each) for each in found]


def gather(tensor: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """The rows of all processes, (n, ...) -> (N, ...), in order of process; n may differ.

    Gradients flow: each process receives, for its own rows, the sum of what all processes' losses say about them.
    `lengths` are `sizes(tensor)`, where they are known already.
    """
    if world() == 1:
        return tensor
    found: Tensor = _Gather.apply(tensor, tuple(lengths or sizes(tensor)))  # type: ignore[no-untyped-call]
    return found


def total(value: Tensor) -> Tensor:
    """The sum over processes, elementwise, without gradients."""
    value = value.detach().clone()
    if world() > 1:
        dist.all_reduce(value)
    return value


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its mean over processes, in one message.

    A parameter that no process used keeps no gradient; one that some processes did not use counts as zero there.
    """
    if world() == 1 or not parameters:
        return
    device = parameters[0].device
    used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32, device=device)
    flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([used, *(gradient.detach().float().flatten() for gradient in flat)])
    dist.all_reduce(message)
    used, message = message[: len(parameters)], message[len(parameters) :] / world()
    for parameter, anyone in zip(parameters, used.tolist(), strict=True):
        mean, message = message[: parameter.numel()], message[parameter.numel() :]
        parameter.grad = mean.view_as(parameter).to(parameter.dtype) if anyone else None


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors, in place, with those of process 0."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def objects(value: Any) -> list[Any]:
    """A plain value of every process, known to all. For small things (torch pickles them between its own processes)."""
    if world() == 1:
        return [value]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value)
    return found


def wait() -> None:
    """Until every process is here."""
    if _together():
        dist.barrier()


def leave() -> None:
    """Wait for the other processes and leave the group: the last thing that a script does.

    A gloo group that still lives when the interpreter ends aborts the process now and then, after all is done; the
    collection frees one that unreachable objects hold.
    """
    if _together():
        dist.barrier()
        dist.destroy_process_group()
        gc.collect()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums over processes. Rows are padded for the message, never in the result."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, lengths: tuple[int, ...]) -> Tensor:
        own = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        own[: len(tensor)] = tensor
        found = [torch.empty_like(own) for _ in lengths]
        dist.all_gather(found, own)
        start = sum(lengths[: rank()])
        ctx.rows = slice(start, start + len(tensor))
        return torch.cat([part[:length] for part, length in zip(found, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        everywhere = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(everywhere)
        return everywhere[ctx.rows], None
