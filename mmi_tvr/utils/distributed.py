"""Tensors across processes. With one process, every function here is the identity and needs no process group.

The rule for losses: each of W processes computes `W * (sum over its own rows) / (number of rows everywhere)`, from
vectors gathered with gradients; averaging the gradients over processes then gives the full batch's gradient exactly.
Parameters are averaged here rather than by DistributedDataParallel (decision): its wrapper watches `forward` alone and
wants one backward for each, while a model here is called by several methods, in chunks that are replayed, and with
parameters that a stage does not use. What is trained is small (LoRA, heads), so one message at the end costs little.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import MmiTvrError, one_line

Value = TypeVar("Value")


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _in_group() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _in_group() else 0


def row_counts(tensor: Tensor) -> list[int]:
    """Return the length of the first axis of this tensor in every process, in order of process."""
    if world_size() == 1:
        return [len(tensor)]
    local_count = torch.tensor([len(tensor)], device=tensor.device)
    counts = [torch.empty_like(local_count) for _ in range(world_size())]
    dist.all_gather(counts, local_count)
    return [int(count) for count in counts]


def gather(tensor: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """Return the rows of all processes, (n, ...) -> (N, ...), in order of process; n may differ.

    Gradients flow: each process receives, for its local rows, the sum of all processes' gradients of them. `lengths`
    are `row_counts(tensor)`, where they are known already.
    """
    if world_size() == 1:
        return tensor
    rows: Tensor = _Gather.apply(tensor, tuple(lengths or row_counts(tensor)))  # type: ignore[no-untyped-call]
    return rows


def all_reduce_sum(value: Tensor) -> Tensor:
    """Return the sum over processes, elementwise, without gradients."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its mean over processes, in one message.

    A parameter that no process used keeps no gradient; one that some processes did not use counts as zero there.
    """
    if world_size() == 1 or not parameters:
        return
    device = parameters[0].device
    used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32, device=device)
    flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([used, *(gradient.detach().float().flatten() for gradient in flat)])
    dist.all_reduce(message)
    users, message = message[: len(parameters)], message[len(parameters) :] / world_size()
    for parameter, user_count in zip(parameters, users.tolist(), strict=True):
        mean, message = message[: parameter.numel()], message[parameter.numel() :]
        parameter.grad = mean.view_as(parameter).to(parameter.dtype) if user_count else None


def broadcast_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors, in place, with those of process 0."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def all_gather_objects(value: Any) -> list[Any]:
    """Return the plain values of all processes, in order of process.

    For small values (torch pickles them between the processes of one run).
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], Value]) -> Value:
    """Return in every process the plain value that process 0 makes. None waits for what never comes.

    Raises:
        Exception: In process 0 what `make` raises.
        MmiTvrError: In the others, where it raised there.
    """
    if world_size() == 1:
        return make()
    value, failure = None, None
    if rank() == 0:
        try:
            value = make()
        except Exception as error:  # raised below, when the others know
            failure = error
    first, message = all_gather_objects((value, failure and one_line(failure)))[0]
    if failure is not None:
        raise failure
    if message is not None:
        raise MmiTvrError(f"process 0 could not go on: {message}")
    result: Value = first
    return result


def barrier() -> None:
    """Wait until every process is here."""
    if _in_group():
        dist.barrier()


def leave_group() -> None:
    """Wait for the other processes and leave the group: the last thing that a script does.

    A gloo group that still lives when the interpreter ends aborts the process now and then, after all is done; the
    collection frees one that unreachable objects hold.
    """
    if _in_group():
        dist.barrier()
        dist.destroy_process_group()
        gc.collect()


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums over processes. Rows are padded for the message, never in the result."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, lengths: tuple[int, ...]) -> Tensor:
        padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        start = sum(lengths[: rank()])
        ctx.local_rows = slice(start, start + len(tensor))
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[ctx.local_rows], None
