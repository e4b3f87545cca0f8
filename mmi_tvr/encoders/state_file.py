"""What others published of a model as a pickle of `torch.save`: its tensors by name. Nothing in the file is run."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, one_line
from ..utils.torch_files import load_plain

if TYPE_CHECKING:
    from torch import Tensor

_HOLDERS = ("state_dict", "model_state_dict")  # beside which a file may have optimizer states and the like


def read_state(file: Path) -> Mapping[str, Any]:
    """Return the tensors, and whatever stands between them, by name as the file has them.

    Raises:
        ModelNotFound: there is no such file, it holds more than plain values and tensors, or no tensors.
    """
    import torch

    if not file.is_file():
        raise ModelNotFound(f"{file}: no such file")
    try:
        content = load_plain(file)
    except pickle.UnpicklingError as error:
        raise ModelNotFound(_unsafe(file, str(error))) from error
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{file}: not a checkpoint that torch can read: {one_line(error)}") from error
    state = content
    if isinstance(content, Mapping):
        state = next((content[holder] for holder in _HOLDERS if holder in content), content)
    if not isinstance(state, Mapping) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelNotFound(f"{file}: holds no state_dict of tensors")
    return state


def require_numbers(file: Path, name: str, tensor: Tensor) -> None:
    """Raise ModelNotFound unless a tensor of a file is an array of finite numbers, all of which are there."""
    is_array = str(tensor.layout) == "torch.strided" and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta)
    if not is_array or tensor.is_complex() or (tensor.is_floating_point() and tensor.itemsize < 2):  # float8
        raise ModelNotFound(f"{file}: {name} is sparse, quantized, complex or without its numbers; save it dense")
    if not tensor.isfinite().all():
        raise ModelNotFound(f"{file}: {name} has values that are not finite")


def _unsafe(file: Path, message: str) -> str:
    """Return the message of a file that would run code; torch's own names the first object that it refuses."""
    refused = re.search(r"GLOBAL ([\w.]+)", message)
    if refused is None:
        return f"{file}: not a checkpoint that torch can read without running what is in it, or damaged; copy it again"
    return (
        f"{file}: holds more than tensors ({refused[1]}), which was not run. Strip it, where you trust the file and "
        f"have its code at hand: python -c \"import torch; torch.save({{'state_dict': torch.load('{file.name}', "
        f"weights_only=False, map_location='cpu')['state_dict']}}, 'stripped.pth')\""
    )
