"""Gradient caching: the gradient of a large contrastive batch in the memory of a small one.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021. The loss
needs only the embeddings of the whole batch, and the embeddings need the model only chunk by chunk:

1. embed every chunk without a graph, and remember the state of the random generators before each;
2. the loss of all embeddings, and its gradient with respect to them;
3. embed each chunk once more, with its graph and the same random draws, and push that gradient through it.

The price is one more forward pass. The result equals the plain gradient up to the order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import rng
from .protocol import Batch

Embed = Callable[[Batch], tuple[Tensor, ...]]


def backward(
    embed: Embed, chunks: Sequence[Batch], loss: Callable[..., Tensor], weight: float = 1.0
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Add the gradient of `weight * loss(*embeddings of all chunks)` to every parameter that has a part in it.

    embed: one chunk -> tensors whose first axis is the chunk's pairs; integer ones pass through. It must enter
    autocast itself, each time: autocast keeps cast weights, and those of step 1 carry no graph.
    loss: gets the same tensors for the whole batch; the gradients of its own parameters are added too.
    Returns the loss without the weight, and the whole batch's embeddings, all detached. A single chunk is embedded
    once, with its graph.
    """
    if len(chunks) == 1:
        whole = embed(chunks[0])
        value = loss(*whole)
        torch.autograd.backward(weight * value)
        return value.detach(), tuple(part.detach() for part in whole)
    states, parts = [], []
    for chunk in chunks:
        states.append(rng.capture())
        with torch.no_grad():
            parts.append(embed(chunk))
    whole = tuple(_leaf(torch.cat(column)) for column in zip(*parts, strict=True))
    value = loss(*whole)
    torch.autograd.backward(weight * value)
    start = 0
    with rng.kept():
        for chunk, state in zip(chunks, states, strict=True):
            rng.restore(state)
            start = _replay(embed(chunk), whole, start)
    return value.detach(), tuple(part.detach() for part in whole)


def _replay(again: Sequence[Tensor], whole: Sequence[Tensor], start: int) -> int:
    """Backward through one chunk, whose rows begin at `start`; returns where the next one's begin."""
    stop = start + len(again[0])
    parts = [
        (part, leaf.grad[start:stop])
        for part, leaf in zip(again, whole, strict=True)
        if part.requires_grad and leaf.grad is not None
    ]
    if parts:
        torch.autograd.backward([part for part, _ in parts], [gradient for _, gradient in parts])
    return stop


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor
