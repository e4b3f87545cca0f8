"""The equations of CLIP-ViP, written out one token and one head at a time, on the tensors of its published names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize

EMBEDDINGS = "clipmodel.vision_model.embeddings"
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


def video_vector(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], squares: np.ndarray) -> Tensor:
    """Return the unit vector of a video from the squares (T, S, S, 3) of its frames."""
    vision = settings["vision_config"]
    proxies, frames = embedded(tensors, vision, squares)

    def norm(name: str, state: Tensor) -> Tensor:
        name = f"clipmodel.vision_model.{name}"
        return layer_norm(state, state.shape, tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-5)

    def linear(name: str, state: Tensor) -> Tensor:
        name = f"clipmodel.vision_model.{name}"
        return tensors[f"{name}.weight"] @ state + tensors[f"{name}.bias"]

    proxies = [norm("pre_layrnorm", state) for state in proxies]
    frames = [[norm("pre_layrnorm", state) for state in frame] for frame in frames]
    for layer in range(vision["num_hidden_layers"]):
        block = f"encoder.layers.{layer}"
        seen = [norm(f"{block}.layer_norm1", state) for state in proxies]
        seen_frames = [[norm(f"{block}.layer_norm1", state) for state in frame] for frame in frames]
        everything = seen + [state for frame in seen_frames for state in frame]
        heads = vision["num_attention_heads"]

        def read(state: Tensor, others: list[Tensor], block: str = block, heads: int = heads) -> Tensor:
            query = linear(f"{block}.self_attn.q_proj", state).chunk(heads)
            keys = [linear(f"{block}.self_attn.k_proj", one).chunk(heads) for one in others]
            values = [linear(f"{block}.self_attn.v_proj", one).chunk(heads) for one in others]
            parts = []
            for head in range(heads):
                scores = torch.tensor([float(query[head] @ key[head]) / math.sqrt(len(query[head])) for key in keys])
                weights = scores.softmax(0)
                parts.append(torch.stack([w * value[head] for w, value in zip(weights, values, strict=True)]).sum(0))
            return linear(f"{block}.self_attn.out_proj", torch.cat(parts))

        def mlp(state: Tensor, block: str = block) -> Tensor:
            inner = linear(f"{block}.mlp.fc1", norm(f"{block}.layer_norm2", state))
            return state + linear(f"{block}.mlp.fc2", inner * torch.sigmoid(1.702 * inner))

        proxies = [mlp(state + read(one, everything)) for state, one in zip(proxies, seen, strict=True)]
        frames = [
            [mlp(state + read(one, seen + normed)) for state, one in zip(frame, normed, strict=True)]
            for frame, normed in zip(frames, seen_frames, strict=True)
        ]
    return normalize(tensors["clipmodel.visual_projection.weight"] @ norm("post_layernorm", proxies[0]), dim=0)


def embedded(
    tensors: Mapping[str, Tensor], vision: Mapping[str, Any], squares: np.ndarray
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Return the states of the proxies, and of the patches of each frame."""
    places = tensors[f"{EMBEDDINGS}.position_embedding.weight"]
    first = [tensors[f"{EMBEDDINGS}.class_embedding"], *tensors[f"{EMBEDDINGS}.added_cls"]]
    proxies = [state + places[0] for state in first]
    kernel, size = tensors[f"{EMBEDDINGS}.patch_embedding.weight"].flatten(1), vision["patch_size"]
    side, frames = vision["image_size"] // size, []
    for number, square in enumerate(squares):
        pixels = torch.from_numpy((square / 255 - MEAN) / STD).float().permute(2, 0, 1)
        states = []
        for patch in range(side**2):
            top, left = (size * one for one in divmod(patch, side))
            state = kernel @ pixels[:, top : top + size, left : left + size].flatten() + places[1 + patch]
            if f"{EMBEDDINGS}.temporal_embedding" in tensors:
                state = state + at(tensors[f"{EMBEDDINGS}.temporal_embedding"][0], number, len(squares))
            states.append(state)
        frames.append(states)
    return proxies, frames


def at(times: Tensor, number: int, count: int) -> Tensor:
    """Return the place in time of frame `number` of `count`, between those that were learned."""
    place = min(max((number + 0.5) * len(times) / count - 0.5, 0), len(times) - 1)
    before = int(place)
    after = min(before + 1, len(times) - 1)
    return times[before] + (place - before) * (times[after] - times[before])
