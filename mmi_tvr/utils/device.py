"""Where tensors live. Nothing here runs at import; torch is loaded at the first call."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch

_PROCESSORS = Path("/proc/cpuinfo")  # what Linux says of them
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of processors by Intel and AMD, and by Arm


def resolve(name: str = "auto") -> torch.device:
    """Return the torch device of a name; 'auto' is the first of cuda, mps, cpu that works here."""
    import torch

    if name == "auto":
        name = available()[0]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps") from error
    if device.type not in available():
        raise UsageError(f"device {name!r} is not available here; there is: {', '.join(available())}")
    return device


def available() -> tuple[str, ...]:
    """Return the device types of this machine, best first; 'cpu' is always the last."""
    import torch

    accelerators = []
    if torch.cuda.is_available():
        accelerators.append("cuda")
    if torch.backends.mps.is_available():
        accelerators.append("mps")
    return (*accelerators, "cpu")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware. One that does not takes more than twice the time that
    float32 takes."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and not _BFLOAT16_FLAGS.isdisjoint(_processor_flags())


@cache
def _processor_flags() -> frozenset[str]:
    """Return the extensions of the first processor, as Linux calls them; nothing on other systems."""
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split())


def processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def calm_threads() -> None:
    """Let idle OpenMP threads sleep, in libraries that are loaded from now on and unless the user has said otherwise.

    By default they spin. On a machine that does something else besides, a query of 10 ms then waits seconds for its
    turn, and indexing 38 clips took 16 to 71 s where it takes 19 to 25 s with threads that sleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
