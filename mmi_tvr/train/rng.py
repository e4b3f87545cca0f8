"""The random generators of this process as plain arrays: python, numpy, torch, and the accelerator's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def seed(number: int) -> None:
    """Start every generator from one number."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def capture() -> dict[str, NDArray[Any]]:
    """The state of every generator, by name."""
    _, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, NDArray[Any]] = {
        "python": np.array(words, dtype=np.uint32),
        "python_gauss": np.array([] if gauss is None else [gauss], dtype=np.float64),
        "numpy": np.append(keys, place).astype(np.uint32),
        "numpy_gauss": np.array([cached] if has_gauss else [], dtype=np.float64),
        "torch": torch.get_rng_state().numpy(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state().numpy()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state().numpy()
    return state


def restore(state: Mapping[str, NDArray[Any]]) -> None:
    """Bring every generator back to a captured state. That of a device which is not here is passed over."""
    python, gauss = state["python"].tolist(), state["python_gauss"].tolist()
    random.setstate((3, tuple(python), gauss[0] if gauss else None))
    keys, cached = state["numpy"], state["numpy_gauss"].tolist()
    np.random.set_state(("MT19937", keys[:-1], int(keys[-1]), len(cached), cached[0] if cached else 0.0))
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"].copy()))
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(torch.from_numpy(state["mps"].copy()))


@contextmanager
def kept() -> Iterator[None]:
    """Whatever is drawn inside leaves no trace."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
