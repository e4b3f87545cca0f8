"""Files that `torch.save` wrote, which are pickles. Nothing in them is run."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

from ..errors import one_line


def load_plain(path: Path) -> Any:
    """Return the plain values and tensors of a file, on the processor.

    Raises:
        OSError: it cannot be read.
        pickle.UnpicklingError: it holds other objects, or is another kind of file.
        ValueError: it is damaged.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old ways of pickling
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError):
        raise
    except Exception as error:  # whatever a damaged archive makes of torch's readers: struct.error, IndexError, ...
        raise ValueError(one_line(error)) from error
