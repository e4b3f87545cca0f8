"""HolE's circular correlation by FFT, against the naive loop over its entries and against one product with all
rotations of the text."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

import torch

from mmi_tvr.nn.hole import correlation

from .timing import rounds, table

SIZES = ((128, 128), (16, 1024))  # rows and width
FFT = "FFT"


def run(args: Namespace) -> Iterator[str]:
    for rows, width in ((4, 16),) if args.small else SIZES:
        generator = torch.Generator().manual_seed(0)
        left, right = (torch.randn(rows, width, generator=generator) for _ in range(2))
        contenders = {
            FFT: lambda left=left, right=right: correlation(left, right),
            "all rotations at once": lambda left=left, right=right: rotations(left, right),
            "loop over the width": lambda left=left, right=right: loop(left, right),
        }
        results = [contender() for contender in contenders.values()]
        difference = max(float((result - results[0]).abs().max()) for result in results)
        yield from table(f"circular correlation of {rows} x {width}", rounds(contenders, args.repeats), FFT)
        yield f"  largest difference: {difference:.1e}"


def loop(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return [a * b]_k = sum_i a_i b_(i + k), an entry at a time: (B, D) of (B, D) each."""
    return torch.stack([(left * right.roll(-shift, dims=1)).sum(dim=1) for shift in range(left.shape[1])], dim=1)


def rotations(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the same by one product of matrices for each row."""
    width = left.shape[1]
    places = (torch.arange(width)[:, None] + torch.arange(width)) % width
    return torch.einsum("bi,bki->bk", left, right[:, places])
