"""Frozen in Time's video tower as plain loops: the reference of the tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Place = tuple[int, int] | None  # picture and patch; None is [CLS]
States = dict[Place, Tensor]
Weights = Mapping[str, Tensor]


def plain(weights: Weights, video: Tensor, *, patch_size: int, layers: int, heads: int) -> Tensor:
    """Frozen in Time's forward pass of one video, patch by patch, head by head: states by (picture, place), or None
    for [CLS]."""
    side = video.shape[1] // patch_size
    pictures = (video.double() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    states: States = {None: weights["cls_token"][0, 0] + weights["pos_embed"][0, 0]}
    for number, picture in enumerate(pictures):
        for place in range(side * side):
            row, column = place // side * patch_size, place % side * patch_size
            patch = picture[row : row + patch_size, column : column + patch_size].permute(2, 0, 1)
            embedded = (
                weights["patch_embed.proj.weight"].flatten(1) @ patch.flatten() + weights["patch_embed.proj.bias"]
            )
            states[number, place] = embedded + weights["pos_embed"][0, 1 + place] + weights["temporal_embed"][0, number]
    for block in range(layers):
        states = _plain_block(states, weights, f"blocks.{block}", heads)
    normed = _normed(states, weights, "norm")
    return torch.stack([normed[None], *(normed[key] for key in sorted(key for key in normed if key is not None))])


def _plain_block(states: States, weights: Weights, name: str, heads: int) -> States:
    def attended(inputs: States, part: str, neighbours: Callable[[Any, Any], bool]) -> States:
        w, b = weights[f"{name}.{part}.qkv.weight"], weights[f"{name}.{part}.qkv.bias"]
        width = w.shape[1] // heads
        query, key, value = ({at: (w @ x + b).chunk(3)[n] for at, x in inputs.items()} for n in range(3))
        results = {}
        for at in inputs:
            others = [other for other in inputs if at is None or other is None or neighbours(at, other)]
            pieces = []
            for head in range(heads):
                numbers = slice(head * width, (head + 1) * width)
                logits = torch.stack([query[at][numbers] @ key[other][numbers] for other in others])
                shares = (logits / math.sqrt(width)).softmax(0)
                pieces.append(sum(share * value[other][numbers] for share, other in zip(shares, others, strict=True)))
            results[at] = (
                weights[f"{name}.{part}.proj.weight"] @ torch.cat(pieces) + weights[f"{name}.{part}.proj.bias"]
            )
        return results

    over_time = attended(_normed(states, weights, f"{name}.norm3"), "timeattn", lambda a, b: a[1] == b[1])
    in_time = {at: states[at] + over_time[at] for at in states}
    over_space = attended(_normed(in_time, weights, f"{name}.norm1"), "attn", lambda a, b: a[0] == b[0])
    in_space = {at: states[at] + over_space[at] for at in states}
    hidden = _normed(in_space, weights, f"{name}.norm2")
    for at, state in hidden.items():
        inner = weights[f"{name}.mlp.fc1.weight"] @ state + weights[f"{name}.mlp.fc1.bias"]
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        in_space[at] = in_space[at] + weights[f"{name}.mlp.fc2.weight"] @ inner + weights[f"{name}.mlp.fc2.bias"]
    return in_space


def _normed(states: States, weights: Weights, name: str) -> States:
    return {
        at: (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-6) * weights[f"{name}.weight"]
        + weights[f"{name}.bias"]
        for at, x in states.items()
    }
