"""The space-time video tower of Frozen in Time: a ViT whose blocks attend over time, then over space.

Source: Bain et al., "Frozen in Time: A Joint Video and Image Encoder for End-to-End Retrieval", ICCV 2021, after
TimeSformer (Bertasius et al., ICML 2021). Names of modules and parameters are those of its checkpoints, and so are
those that a ViT has of timm's.

Shapes: B videos of K pictures of N patches; D the width, H heads of d numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from .options import VideoTowerOptions

_EPSILON = 1e-6  # of every layer norm
_STD = 0.02  # of the truncated normal that weights are drawn from
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


class SpaceTimeTower(nn.Module):
    """Pictures of a video, read together -> states of [CLS] and of all patches."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, options: VideoTowerOptions) -> None:
        super().__init__()
        self.options = options
        self.patches = patches = (options.image_size // options.patch_size) ** 2
        width = options.width
        self.patch_embed = _Patches(width, options.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + patches, width))
        self.temporal_embed = nn.Parameter(torch.zeros(1, options.frames, width))
        self.blocks = nn.ModuleList(_Block(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=_STD)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the states (B, 1 + K N, D) behind the last layer norm: [CLS], then patches row by row, picture by
        picture.

        pixels: (B, K, S, S, 3), uint8, S the option `image_size`. Any K will do.
        """
        count = pixels.shape[1]
        pictures = (pixels.flatten(0, 1).permute(0, 3, 1, 2).float() / 255 - self.mean) / self.deviation
        patches = self.patch_embed(pictures).unflatten(0, (-1, count))  # (B, K, N, D)
        patches = patches + self.pos_embed[:, None, 1:] + fit_positions(self.temporal_embed, count, self.options.longer)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(pixels), -1, -1)
        states = torch.cat([first, patches.flatten(1, 2)], dim=1)
        for block in self.blocks:
            states = block(states, count)
        normed: Tensor = self.norm(states)
        return normed


def fit_positions(table: Tensor, count: int, longer: str) -> Tensor:
    """Return the positions in time of `count` pictures, (1, K, 1, D).

    Args:
        table: the trained ones, (1, frames, D).
        count: fewer: the first ones; more: as `longer` says.
        longer: "zeros" behind the trained ones, or "interpolate": linearly, the first and the last where they were.
    """
    frames = table.shape[1]
    if count > frames and longer == "interpolate":
        table = interpolate(table.transpose(1, 2), count, mode="linear", align_corners=True).transpose(1, 2)
    elif count > frames:
        table = torch.cat([table, table.new_zeros(1, count - frames, table.shape[2])], dim=1)
    return table[:, :count, None]


class _Patches(nn.Module):
    """Pictures (B, 3, S, S) -> their patches (B, N, D), row by row."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=size, stride=size)

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.proj(pictures)
        return patches.flatten(2).transpose(1, 2)


class _Block(nn.Module):
    """y = x + time(norm3(x)); z = x + space(norm1(y)); z + MLP(norm2(z)). The second sum starts from x, not from y."""

    def __init__(self, options: VideoTowerOptions) -> None:
        super().__init__()
        width = options.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width, eps=_EPSILON) for _ in range(3))
        self.attn = DividedAttention(width, options.heads)
        self.timeattn = DividedAttention(width, options.heads)
        self.mlp = _Perceptron(width, options.expansion * width)
        if options.time_start == "zeros":
            self.timeattn.start_without_effect()

    def forward(self, states: Tensor, count: int) -> Tensor:
        in_time = states + self.timeattn(self.norm3(states), count, over_time=True)
        in_space = states + self.attn(self.norm1(in_time), count, over_time=False)
        updated: Tensor = in_space + self.mlp(self.norm2(in_space))
        return updated


class DividedAttention(nn.Module):
    """Each patch attends to [CLS] and to its own place in all pictures, or to all places of its picture; [CLS] attends
    to everything."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        _start_linear(self.qkv, self.proj)

    def start_without_effect(self) -> None:
        """Have it add nothing: query, key and value are 0. The output's weights are 1, so that gradients pass."""
        for parameter, value in ((self.qkv.weight, 0.0), (self.qkv.bias, 0.0), (self.proj.weight, 1.0)):
            nn.init.constant_(parameter, value)

    def forward(self, states: Tensor, count: int, over_time: bool) -> Tensor:
        """Return (B, 1 + K N, D) of states of that shape, of `count` pictures (K) a video."""
        qkv = self.qkv(states).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, 1 + K N, d)
        query, key, value = qkv
        first = scaled_dot_product_attention(query[:, :, :1], key, value)  # (B, H, 1, d)
        groups = qkv[..., 1:, :].unflatten(3, (count, -1))  # (3, B, H, K, N, d)
        if over_time:
            groups = groups.transpose(3, 4)
        firsts = qkv[:, :, :, None, :1].expand(-1, -1, -1, groups.shape[3], -1, -1)
        _, keys, values = torch.cat([firsts, groups], dim=4)
        patches = scaled_dot_product_attention(groups[0], keys, values)  # (B, H, N, K, d) over time
        if over_time:
            patches = patches.transpose(2, 3)
        attended = torch.cat([first, patches.flatten(2, 3)], dim=2)  # (B, H, 1 + K N, d)
        output: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return output


class _Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        _start_linear(self.fc1, self.fc2)

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.fc2(nn.functional.gelu(self.fc1(states)))
        return output


def _start_linear(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=_STD)
        nn.init.zeros_(layer.bias)
