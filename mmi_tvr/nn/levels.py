"""Parts of a model that compares videos and texts on several levels: MCSAN (Nian et al. 2022).

Shapes: B videos or texts, N frames or words (padding last, false in a mask (B, N)), D the width of what comes in, d the
common width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pack_padded_sequence

from .pooling import masked_maximum, masked_mean, masked_softmax, zero_padding
from .positions import sinusoids

Pool = Literal["topk", "max", "mean"]
_PRIOR = 0.01  # probability of a label before training
_SHARE = 8  # one in so many frames is among the largest that are averaged
_KERNELS = (2, 3, 5)  # frames that a convolution of the action level looks at


class FrameAttention(nn.Module):
    """Scales each frame by how much it matters: alpha_i f_i, alpha = softmax over the frames of F w (eq. 11).

    They stay N frames: no sum is taken. Decision: times N, so that frames that all matter alike stay as they are; w
    starts at zero, so that they do.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Scale frames (B, N, D) -> (B, N, D); padding becomes zero."""
        frames = zero_padding(frames, mask)
        alpha = masked_softmax(self.score(frames).squeeze(-1), mask)  # (B, N)
        return frames * (alpha * mask.sum(dim=-1, keepdim=True))[..., None]


class TwoWayGru(nn.Module):
    """A GRU that reads a sequence both ways.

    summary: the last states of both ways, one behind the other, forward h_N and backward h_1 (eq. 15). Without it each
    place's states, the mean of both ways (HANet).
    """

    def __init__(self, inputs: int, width: int, *, summary: bool) -> None:
        super().__init__()
        self.summary = summary
        self.width = width
        self.gru = nn.GRU(inputs, width // 2 if summary else width, batch_first=True, bidirectional=True)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Read (B, N, D), at least one real place each -> (B, d) with `summary`, else (B, N, d)."""
        lengths = mask.sum(dim=-1).cpu()
        packed = pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        if self.summary:
            return torch.cat([last[0], last[1]], dim=-1)
        padded, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=sequence.shape[1])
        both: Tensor = (padded[..., : self.width] + padded[..., self.width :]) / 2
        return both


class LevelInput(nn.Module):
    """What one level reads of the frames: F^l = ReLU(F + FC^l F), D wide as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Read frames (B, N, D) -> (B, N, D)."""
        return torch.relu(frames + self.linear(frames))


class TemporalConvolution(nn.Module):
    """Sum over the kernels k of beta_k ReLU(Conv1d_k F): k = 2, 3, 5 for actions, whose symbol eq. 17 prints as that of
    entities; k = 1 for entities.

    As many frames come out as go in, which are padded with zeros, one more behind than before where k is even. beta is
    learned (decision: the paper's "balance factors" have no values) and starts at 1 / number of kernels.
    """

    def __init__(self, inputs: int, width: int, kernels: tuple[int, ...] = _KERNELS) -> None:
        super().__init__()
        self.kernels = kernels
        self.convolutions = nn.ModuleList(nn.Conv1d(inputs, width, kernel) for kernel in kernels)
        self.balance = nn.Parameter(torch.full((len(kernels),), 1 / len(kernels)))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Look at frames (B, N, D) -> (B, N, d); padding counts as nothing, and becomes zero."""
        channels = zero_padding(frames, mask).transpose(1, 2)  # (B, D, N)
        parts = [
            balance * torch.relu(convolution(pad(channels, ((kernel - 1) // 2, kernel // 2))))
            for balance, convolution, kernel in zip(self.balance, self.convolutions, self.kernels, strict=True)
        ]
        return zero_padding(torch.stack(parts).sum(dim=0).transpose(1, 2), mask)


class RelationBlock(nn.Module):
    """One transformer block over words or frames, and the mean of what it says (eq. 2-6; eq. 6 prints 1 / N for words).

    Linear, sinusoid positions, self-attention, feed-forward. Decision: layer norms behind each part, 8 heads, and a
    feed-forward part four times as wide, as in Vaswani et al. 2017.
    """

    def __init__(self, inputs: int, width: int, heads: int = 8, dropout: float = 0.1) -> None:
        """Make the block.

        Args:
            inputs: D.
            width: d, which `heads` divides.
            heads: of the attention.
            dropout: inside the block, while training.
        """
        super().__init__()
        self.project = nn.Linear(inputs, width)
        self.block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)

    def states(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, N, d) of a sequence (B, N, D), at least one real place each; padding is zero."""
        projected = self.project(zero_padding(sequence, mask))
        positions = sinusoids(sequence.shape[1], projected.shape[-1]).to(projected)
        return zero_padding(self.block(projected + positions, src_key_padding_mask=~mask), mask)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Return the means (B, d) of the real places' states of (B, N, D)."""
        return masked_mean(self.states(sequence, mask), mask)


class AttributeHeads(nn.Module):
    """Logits of a level's labels, whose sigmoid is p^l (eq. 24-26, which print a ReLU where a probability is meant).

    shared: one linear map for both modalities, so that a label means the same to both (the paper); else one each.

    Decision: at first every label is as likely as _PRIOR, as in Lin et al. 2017 (section 3.3): most labels are false of
    most videos, and from 0.5 on the first hundreds of steps would learn nothing else.
    """

    def __init__(self, width: int, sizes: Mapping[str, int], shared: bool = True) -> None:
        """Make the heads.

        Args:
            width: d, of what they read.
            sizes: how many labels each level has.
            shared: by both modalities.
        """
        super().__init__()
        self.sizes = dict(sizes)
        self.video = _linear_heads(width, sizes)
        self.text = None if shared else _linear_heads(width, sizes)

    def forward(self, level: str, features: Tensor, modality: Literal["text", "video"]) -> Tensor:
        """Return the logits (B, K) of a level's labels from its features (B, d)."""
        if not self.sizes[level]:  # the relations of HANet's labels
            return features.new_zeros(len(features), 0)
        heads = self.text if modality == "text" and self.text is not None else self.video
        logits: Tensor = heads[level](features)
        return logits


def _linear_heads(width: int, sizes: Mapping[str, int]) -> nn.ModuleDict:
    heads = nn.ModuleDict({level: nn.Linear(width, size) for level, size in sizes.items() if size})
    for name, parameter in heads.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(parameter, math.log(_PRIOR / (1 - _PRIOR)))
    return heads


def pool_frames(frames: Tensor, mask: Tensor, kind: Pool = "topk") -> Tensor:
    """Return one vector (B, d) of frames (B, N, d): per channel the mean of the largest eighth of the real frames, the
    largest, or the mean of all.

    The paper does not say how. Decision: the largest eighth (at least one), as in HANet.
    """
    if kind == "max":
        return masked_maximum(frames, mask)
    if kind == "mean":
        return masked_mean(frames, mask)
    counts = -(-mask.sum(dim=-1) // _SHARE)  # (B,), rounded up
    lowest = torch.finfo(frames.dtype).min
    ranked = frames.masked_fill(~mask[..., None], lowest).sort(dim=1, descending=True).values  # (B, N, d)
    largest = torch.arange(frames.shape[1], device=frames.device) < counts[:, None]  # (B, N)
    return masked_mean(ranked, largest)
