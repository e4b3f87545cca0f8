"""EVA02's vision tower: a ViT with rotary places in two dimensions, SwiGLU and norms inside its blocks.

Sources: Fang et al., "EVA-02: A Visual Representation for Neon Genesis", 2023 (the block); Su et al., "RoFormer", 2021
(rotary places); baaivision/EVA `eva_vit_model.py` and jinaai/jina-clip-implementation (what the parameters are called,
and what the settings mean). Names of modules and parameters are the keys of published weights: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

_EPSILON = 1e-6  # of every norm
_THETA = 10_000  # base of the rotary frequencies


@dataclass(frozen=True, slots=True)
class EvaSizes:
    """What a tower is made from.

    Args:
        width: of its states.
        layers: how many blocks.
        heads: of its attention.
        hidden: width inside the MLP.
        output: width of its vectors.
        image_size: side of a picture in pixels.
        patch_size: side of a patch in pixels.
        bias: whether queries and values have one; keys have none.
        gated: SwiGLU in place of an MLP with GELU.
        inner_norms: norms inside attention and MLP, and queries, keys and values by matrices of their own.
        norm_behind: norms stand behind attention and MLP, not in front of them.
        scaled: what a block adds is multiplied by a learned vector.
        projected: a linear layer takes the state into the space of the vectors.
        rotary: patches know their place by rotation, besides the table that they are added to.
        rotary_side: patches along a side in pre-training, for which the frequencies were chosen.
        rotary_stretched: places of more patches are spread over that many, so that angles stay in what was seen.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    output: int
    image_size: int
    patch_size: int
    bias: bool = True
    gated: bool = False
    inner_norms: bool = False
    norm_behind: bool = False
    scaled: bool = False
    projected: bool = False
    rotary: bool = False
    rotary_side: int = 16
    rotary_stretched: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> EvaSizes:
        """Return the sizes that `vision_config` of a Jina-CLIP says; what it leaves out is as its authors' code has it.

        Raises:
            KeyError, TypeError, ValueError, ZeroDivisionError: as from damaged values.
        """
        width, output = int(values.get("width", 768)), int(values.get("embed_dim", 768))
        projection = values.get("proj_type")
        if projection not in (None, "linear"):
            raise ValueError(f"proj_type {projection!r} of the vision tower is not known; known: linear, null")
        if projection is None and width != output:
            raise ValueError(f"a vision tower of width {width} gives no vectors of {output} without proj_type: linear")
        return cls(
            width=width,
            layers=int(values.get("layers", 12)),
            heads=width // int(values.get("head_width", 64)),
            hidden=int(width * float(values.get("mlp_ratio", 4.0))),
            output=output,
            image_size=int(values.get("image_size", 224)),
            patch_size=int(values.get("patch_size", 16)),
            bias=bool(values.get("qkv_bias", True)),
            gated=bool(values.get("naive_swiglu", False)),
            inner_norms=bool(values.get("subln", False)),
            norm_behind=bool(values.get("post_norm", False)),
            scaled=float(values.get("ls_init_value") or 0) > 0,
            projected=projection is not None,
            rotary=bool(values.get("rope_embeddings", False)),
            rotary_side=int(values.get("pt_hw_seq_len", 16)),
            rotary_stretched=bool(values.get("intp_freq", False)),
        )

    @property
    def side(self) -> int:
        """How many patches a picture has along a side."""
        return self.image_size // self.patch_size


class EvaTower(nn.Module):
    """Pixels (N, 3, S, S) -> vectors (N, output), not normed: the state of [CLS] behind the last norm."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        width = sizes.width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.side**2, width))
        self.blocks = nn.ModuleList(_EvaBlock(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(width, _EPSILON)
        if sizes.projected:
            self.head = nn.Linear(width, sizes.output, bias=sizes.bias)
        self._projected = sizes.projected
        rotation = rotary_angles(sizes) if sizes.rotary else torch.zeros(0)
        self.register_buffer("_angles", rotation, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the vectors of N pictures."""
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (N, P, d), row by row
        states = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        angles = self.get_buffer("_angles")
        for block in self.blocks:
            states = block(states, angles)
        summary: Tensor = self.norm(states)[:, 0]
        return self.head(summary) if self._projected else summary


class _EvaBlock(nn.Module):
    """Attention and MLP, each added to what came in."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(sizes.width, _EPSILON) for _ in range(2))
        self.attn = _EvaAttention(sizes)
        self.mlp = _EvaGatedMlp(sizes) if sizes.gated else _EvaMlp(sizes)
        self._norm_behind = sizes.norm_behind
        self._scaled = sizes.scaled
        if sizes.scaled:
            self.gamma_1, self.gamma_2 = (nn.Parameter(torch.ones(sizes.width)) for _ in range(2))

    def forward(self, states: Tensor, angles: Tensor) -> Tensor:
        """Return the states (N, 1 + P, d) behind this block."""
        behind = self._norm_behind
        added = self.norm1(self.attn(states, angles)) if behind else self.attn(self.norm1(states), angles)
        states = states + (self.gamma_1 * added if self._scaled else added)
        added = self.norm2(self.mlp(states)) if behind else self.mlp(self.norm2(states))
        output: Tensor = states + (self.gamma_2 * added if self._scaled else added)
        return output


class _EvaAttention(nn.Module):
    """Self-attention whose queries and keys of patches are rotated by their places; [CLS] has none."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        width = sizes.width
        self._heads, self._apart = sizes.heads, sizes.inner_norms
        if sizes.inner_norms:
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
            self.inner_attn_ln = nn.LayerNorm(width, _EPSILON)
        else:
            self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if sizes.bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if sizes.bias else None
        self.proj = nn.Linear(width, width)

    def forward(self, states: Tensor, angles: Tensor) -> Tensor:
        """Return what each of the states (N, 1 + P, d) reads; angles (P, d / heads), or none."""
        apart = (
            (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight) if self._apart else self.qkv.weight.chunk(3)
        )
        count, length, _ = states.shape
        biases = (self.q_bias, None, self.v_bias)
        query, key, value = (
            linear(states, weight, bias)
            .view(count, length, self._heads, -1)
            .transpose(1, 2)  # (N, heads, 1 + P, d / heads)
            for weight, bias in zip(apart, biases, strict=True)
        )
        if angles.numel():
            query, key = (torch.cat([x[:, :, :1], rotated(x[:, :, 1:], angles)], dim=2) for x in (query, key))
        mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        output: Tensor = self.proj(self.inner_attn_ln(mixed) if self._apart else mixed)
        return output


class _EvaMlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.hidden, sizes.width)
        self.ffn_ln = nn.LayerNorm(sizes.hidden, _EPSILON) if sizes.inner_norms else nn.Identity()

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.fc2(self.ffn_ln(nn.functional.gelu(self.fc1(states))))
        return output


class _EvaGatedMlp(nn.Module):
    """SwiGLU (Shazeer, 2020): w3(silu(w1 x) * w2 x)."""

    def __init__(self, sizes: EvaSizes) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.width, sizes.hidden)
        self.w3 = nn.Linear(sizes.hidden, sizes.width)
        self.ffn_ln = nn.LayerNorm(sizes.hidden, _EPSILON) if sizes.inner_norms else nn.Identity()

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.w3(self.ffn_ln(silu(self.w1(states)) * self.w2(states)))
        return output


def rotary_angles(sizes: EvaSizes) -> Tensor:
    """Return the angle (P, d / heads) by which each pair of a patch's numbers is turned, twice for each pair.

    The first half of a head is turned by the patch's row, the second by its column.
    """
    half = sizes.width // sizes.heads // 2
    frequencies = _THETA ** -(torch.arange(0, half, 2).float() / half)  # (half / 2,)
    places = torch.arange(sizes.side).float()
    if sizes.rotary_stretched:
        places = places * sizes.rotary_side / sizes.side
    along = torch.outer(places, frequencies).repeat_interleave(2, dim=-1)  # (side, half)
    rows = along[:, None].expand(-1, sizes.side, -1)
    columns = along[None].expand(sizes.side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def rotated(states: Tensor, angles: Tensor) -> Tensor:
    """Return states (..., P, w) whose neighbouring pairs of numbers are turned by angles (P, w)."""
    first, second = states[..., ::2], states[..., 1::2]
    turned = torch.stack([-second, first], dim=-1).flatten(-2)
    return states * angles.cos() + turned * angles.sin()
