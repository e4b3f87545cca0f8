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
    """Return the state of every generator, by name."""
    _, python, python_gauss = random.getstate()
    _, keys, position, has_gauss, numpy_gauss = np.random.get_state(legacy=True)
    state: dict[str, NDArray[Any]] = {
        "python": np.array(python, dtype=np.uint32),
        "python_gauss": np.array([] if python_gauss is None else [python_gauss], dtype=np.float64),
        "numpy": np.append(keys, position).astype(np.uint32),
        "numpy_gauss": np.array([numpy_gauss] if has_gauss else [], dtype=np.float64),
        "torch": torch.get_rng_state().numpy(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state().numpy()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state().numpy()
    return state


def restore(state: Mapping[str, NDArray[Any]]) -> None:
    """Bring every generator back to a captured state. That of a device which this machine lacks is passed over."""
    python, python_gauss = state["python"].tolist(), state["python_gauss"].tolist()
    random.setstate((3, tuple(python), python_gauss[0] if python_gauss else None))
    *keys, position = state["numpy"].tolist()
    numpy_gauss = state["numpy_gauss"].tolist()
    has_gauss = len(numpy_gauss)
    np.random.set_state(("MT19937", keys, position, has_gauss, numpy_gauss[0] if has_gauss else 0.0))
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"].copy()))
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(torch.from_numpy(state["mps"].copy()))


@contextmanager
def preserve_state() -> Iterator[None]:
    """Bring every generator back at the end to where it was: what is drawn inside leaves no trace."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
