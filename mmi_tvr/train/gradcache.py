"""Gradient caching: the gradient of a large contrastive batch in the memory of a small one.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021. The loss
needs only the embeddings of the whole batch, and the embeddings need the model only chunk by chunk:

1. embed every chunk without a graph, and remember the state of the random generators before each;
2. the loss of all embeddings, and its gradient with respect to them;
3. embed each chunk once more, with its graph and the same random draws, and push that gradient through it.

The price is one more forward pass. The result equals the plain gradient up to the order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..nn.losses import weighted_sum
from . import rng
from .protocol import Batch

Embed = Callable[[Batch], tuple[Tensor, ...]]
BatchTerms = Callable[[Sequence[Tensor]], Mapping[str, Tensor]]


def backward(
    embed: Embed, chunks: Sequence[Batch], batch_terms: BatchTerms, weights: Mapping[str, float]
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Add the gradient of the weighted sum of the batch's terms to every parameter that has a part in it.

    A single chunk is embedded once, with its graph.

    Args:
        embed: one chunk -> tensors whose first axis is the chunk's pairs; integer ones pass through. It must enter
            autocast itself, each time: autocast keeps cast weights, and those of step 1 carry no graph.
        chunks: the batch in pieces (`protocol.chunks`).
        batch_terms: the same tensors for the whole batch -> its loss terms, scalars by name; the gradients of their
            own parameters are added too.
        weights: of the gradient, by term.

    Returns:
        The terms without the weights, and the whole batch's embeddings, all detached.
    """
    if len(chunks) == 1:
        embeddings = embed(chunks[0])
        terms = batch_terms(embeddings)
        torch.autograd.backward(weighted_sum(terms, weights))
        return _detached(terms, embeddings)
    states, parts = [], []
    for chunk in chunks:
        states.append(rng.capture())
        with torch.no_grad():
            parts.append(embed(chunk))
    embeddings = tuple(_leaf(torch.cat(column)) for column in zip(*parts, strict=True))
    terms = batch_terms(embeddings)
    torch.autograd.backward(weighted_sum(terms, weights))
    start = 0
    with rng.preserve_state():
        for chunk, state in zip(chunks, states, strict=True):
            rng.restore(state)
            start = _replay(embed(chunk), embeddings, start)
    return _detached(terms, embeddings)


def _replay(chunk: Sequence[Tensor], embeddings: Sequence[Tensor], start: int) -> int:
    """Go backward through one chunk's embeddings, whose rows in the whole batch begin at `start`, by the gradients
    there. Returns where the next chunk's rows begin."""
    stop = start + len(chunk[0])
    tensors, gradients = [], []
    for tensor, leaf in zip(chunk, embeddings, strict=True):
        if tensor.requires_grad and leaf.grad is not None:
            tensors.append(tensor)
            gradients.append(leaf.grad[start:stop])
    if tensors:
        torch.autograd.backward(tensors, gradients)
    return stop


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def _detached(
    terms: Mapping[str, Tensor], embeddings: Sequence[Tensor]
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    return {name: term.detach() for name, term in terms.items()}, tuple(tensor.detach() for tensor in embeddings)
