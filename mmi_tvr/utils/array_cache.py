"""Arrays that are computed once per machine: safetensors files in the user's cache folder, named by a fingerprint."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from .environment import CACHE
from .files import write_atomically

Arrays = Mapping[str, NDArray[Any]]


def folder() -> Path:
    """Return where they lie: $MMI_TVR_CACHE, else the platform's cache folder."""
    return Path(os.environ.get(CACHE) or platformdirs.user_cache_dir("mmi-tvr"))


def load_or_compute(name: str, fingerprint: str, compute: Callable[[], Arrays], shipped: Path | None = None) -> Arrays:
    """Return the arrays that `compute` returns, from a file of this fingerprint where one is there and whole.

    A cache that cannot be written (read-only home, full disk) costs the computation, never the result.

    Args:
        name: What the arrays are, the first part of the file's name.
        fingerprint: Of all that changes them, the second part.
        compute: Makes the arrays where no file has them.
        shipped: A folder of files that came with the package; they are looked at before the user's own.
    """
    file = f"{name}-{fingerprint}.safetensors"
    path = folder() / file
    candidates = [path]
    if shipped is not None:
        candidates.insert(0, shipped / file)
    for candidate in candidates:
        if candidate.is_file():
            with contextlib.suppress(SafetensorError, OSError):
                return load_file(candidate)
    values = compute()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(dict(values)))
    return values
