"""Published checkpoints of CLIP-ViP, which are pickles, as a folder of safetensors that `clip4clip` reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, UsageError, one_line
from ..utils.files import draft_of_folder, write_atomically
from . import hub
from .clip_vip import ADDITIONS, MODEL_TYPE, PREFIX, PROXIES, TIMES, ProxyClip, clip_config, give_weights
from .pretrained import unreadable
from .state_file import read_state, require_numbers

if TYPE_CHECKING:
    from torch import Tensor

_PARALLEL = "module."  # what DataParallel puts before every name
_WEIGHTS = "model.safetensors"


def convert(file: Path, folder: Path, clip: Path) -> dict[str, Any]:
    """Write a CLIP-ViP checkpoint as a folder. Nothing in the file is run.

    Args:
        file: the checkpoint, as `torch.save` wrote it, such as pretrain_clipvip_base_32.pt.
        folder: a new or empty one.
        clip: folder of the CLIP that it began as, of which settings and tokenizer are taken.

    Returns:
        What `vision_additional_config` says.

    Raises:
        ModelNotFound: the file is none, holds more than plain values and tensors, or lacks tensors; or they are not of
            that CLIP's sizes.
        UsageError: there is something in the folder.
    """
    from safetensors.torch import save

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: not an empty folder; name a new one")
    settings = hub.settings(clip)
    if settings.get("model_type") != "clip":
        raise ModelNotFound(f"{clip}: not a CLIP checkpoint; name the one that CLIP-ViP began as")
    tensors = _model_tensors(file)
    for name in (PROXIES, TIMES):
        if name in tensors and tensors[name].ndim != (2 if name == PROXIES else 3):
            raise ModelNotFound(f"{file}: {name} is {list(tensors[name].shape)}")
    if PROXIES not in tensors:
        raise ModelNotFound(f"{file}: not a checkpoint of CLIP-ViP: it has no {PROXIES}")
    times = tensors.get(TIMES)
    additions: dict[str, Any] = {
        "type": "ViP",
        "temporal_size": 0 if times is None else times.shape[1],
        "if_use_temporal_embed": int(times is not None),
        "add_cls_num": len(tensors[PROXIES]),
    }
    try:
        model = ProxyClip(clip_config(settings), additions["add_cls_num"], additions["temporal_size"])
    except unreadable() as error:
        raise ModelNotFound(f"{clip}: not a CLIP checkpoint: {one_line(error)}") from error
    give_weights(model, tensors, file)
    weights = {f"{PREFIX}{name}": tensors[name].float().contiguous() for name in model.weights()}
    settings = {**settings, "model_type": MODEL_TYPE, ADDITIONS: additions}
    with draft_of_folder(folder) as draft:
        for path in clip.iterdir():
            if path.suffix in (".json", ".txt", ".model") and not path.name.endswith(".index.json") and path.is_file():
                shutil.copy(path, draft / path.name)
        write_atomically(draft / _WEIGHTS, save(weights))
        write_atomically(draft / hub.CONFIG, json.dumps(settings, indent=1).encode())
    return additions


def _model_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by bare names. ModelNotFound where one holds other than finite numbers."""
    import torch

    tensors = {}
    for name, value in read_state(file).items():
        if isinstance(value, torch.Tensor):
            bare = str(name).removeprefix(_PARALLEL).removeprefix(PREFIX)
            require_numbers(file, str(name), value)
            tensors[bare] = value
    return tensors
