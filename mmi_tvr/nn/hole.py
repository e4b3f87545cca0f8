"""Holographic embeddings: the circular correlation of a video's vector and a text's, and a score that is linear in it.

Source: Nickel et al. 2016, as MCSAN has it (eq. 23: [v * t]_k = sum_i v_i t_((k + i) mod d), printed "k + i % d").
The order is the printed one, the video first: v * t is not t * v.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the circular correlation over the last axis, [a * b]_k = sum_i a_i b_((k + i) mod d), by FFT.

    Two tensors (..., d) that broadcast -> (..., d), in float32 at least.
    """
    width = first.shape[-1]
    first, second = (
        side.float() if side.dtype in (torch.float16, torch.bfloat16) else side for side in (first, second)
    )
    spectrum = torch.fft.rfft(first).conj() * torch.fft.rfft(second)
    correlated: Tensor = torch.fft.irfft(spectrum, n=width)
    return correlated


class Hole(nn.Module):
    """Turns texts into queries, so that the score of a pair is a dot product with the video.

    MCSAN scores a pair by FC(v * t) = b + w . (v * t) (eq. 23). That is b + v . u(t) with u(t) = w * t: for a fixed
    text it is linear in the video, and an index can serve it. b is the offset of the block (`types.Block.squash`).

    Decision: w starts as (scale, 0, ..., 0), where w . (v * t) is scale times v . t: the cosine of unit vectors. With a
    random w the sigmoid behind it saturates, and this level learns nothing.
    """

    def __init__(self, width: int, scale: float = 6.0, *, unit: bool = False) -> None:
        """Make the map.

        Args:
            width: d.
            scale: where w starts.
            unit: divide by the length of w, so that the score needs no sigmoid: at first it is the cosine.
        """
        super().__init__()
        self.unit = unit
        self.weight = nn.Parameter(torch.zeros(width))
        with torch.no_grad():
            self.weight[0] = scale

    def forward(self, texts: Tensor) -> Tensor:
        """Return the queries u(t) (..., d) of texts (..., d), of any length."""
        return correlation(normalize(self.weight, dim=0) if self.unit else self.weight, texts)
