"""Checkpoints of Frozen in Time, which are pickles, as a folder of safetensors that LaT reads.

Source: Bain et al., "Frozen in Time: A Joint Video and Image Encoder for End-to-End Retrieval", ICCV 2021. The layout
of its published files is {"state_dict": {NAME: tensor}, ...}, where a NAME begins with "video_model.", "text_model.",
"vid_proj.0." or "txt_proj.1.", and "module." may stand before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, UsageError, one_line
from ..utils.files import draft_of_folder, write_atomically
from ..utils.wording import counted
from . import hub, pretrained, vit
from .state_file import read_state, require_numbers
from .tower_sources import WEIGHTS, as_dict
from .video_text import TowerSizes, VideoTextTowers

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER = "distilbert/distilbert-base-uncased"  # of the published checkpoints
_PARALLEL = "module."  # what DataParallel puts before every name
_NAMES = {
    "video_model.": "video.",
    "text_model.": "text.",
    "vid_proj.0.": "video_projection.",
    "txt_proj.1.": "text_projection.",
}
_IGNORED = "text.embeddings.position_ids"  # numbers that former versions of transformers saved
_VIDEO_SIZES = (  # tensors by which the sizes are known
    "video.pos_embed",
    "video.temporal_embed",
    "video.patch_embed.proj.weight",
    "video.blocks.0.mlp.fc1.weight",
)
_TEXT_SIZES = (
    "text.embeddings.word_embeddings.weight",
    "text.embeddings.position_embeddings.weight",
    "text.transformer.layer.0.ffn.lin1.weight",
)
_PROJECTION = "video_projection.weight"
_MAX_NAMED = 4  # tensors in a message


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: the sizes, and the names of tensors that are no part of the model."""

    sizes: TowerSizes
    left_out: Sequence[str]


def convert(file: Path, folder: Path, tokenizer: Path) -> Conversion:
    """Write a Frozen checkpoint as a folder. Nothing in the file is run.

    Args:
        file: the checkpoint, as `torch.save` wrote it.
        folder: a new or empty one.
        tokenizer: folder of a checkpoint with the tokenizer of the text tower, which Frozen's files do not hold.

    Raises:
        ModelNotFound: the file is none, holds more than plain values and tensors, or lacks tensors; or the tokenizer
            has another vocabulary.
        UsageError: there is something in the folder.
    """
    import torch
    from safetensors.torch import save

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: not an empty folder; name a new one")
    tensors, left_out = _model_tensors(read_state(file), file)
    sizes = _sizes(tensors, tokenizer, file)
    try:
        with torch.device("meta"):
            expected = VideoTextTowers(sizes, joint=False, trained="frozen").state_dict()
    except (ValueError, ArithmeticError) as error:  # as a width that heads do not divide
        raise ModelNotFound(f"{file}: no model has tensors of such sizes: {one_line(error)}") from error
    _check(tensors, expected, file)
    words = pretrained.tokenizer(tokenizer)
    if len(words) != sizes.text.vocab_size:
        raise ModelNotFound(
            f"{tokenizer}: its tokenizer has {counted(len(words), 'token')}, and the text tower in {file} "
            f"{sizes.text.vocab_size:,}: name the tokenizer that it was trained with"
        )
    with draft_of_folder(folder) as draft:
        words.save_pretrained(draft)
        write_atomically(draft / WEIGHTS, save({name: tensors[name].float().contiguous() for name in expected}))
        write_atomically(draft / hub.CONFIG, json.dumps(as_dict(sizes), indent=1).encode())
    return Conversion(sizes, [*left_out, *(_theirs(name) for name in tensors if name not in expected)])


def _model_tensors(state: Mapping[str, Any], file: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the model's tensors by the names of `VideoTextTowers`, and the names of what is no part of it."""
    import torch

    tensors: dict[str, Tensor] = {}
    left_out = []
    for name, value in state.items():
        bare = str(name)
        while bare.startswith(_PARALLEL):
            bare = bare.removeprefix(_PARALLEL)
        new = next((ours + bare.removeprefix(theirs) for theirs, ours in _NAMES.items() if bare.startswith(theirs)), "")
        if not new or new == _IGNORED or not isinstance(value, torch.Tensor):
            if new != _IGNORED:
                left_out.append(str(name))
        elif new in tensors:
            raise ModelNotFound(f"{file}: has two tensors called {bare}, with and without {_PARALLEL}")
        else:
            tensors[new] = value
    return tensors, left_out


def _sizes(tensors: Mapping[str, Tensor], tokenizer: Path, file: Path) -> TowerSizes:
    from transformers import DistilBertConfig

    _require(sorted({*_VIDEO_SIZES, *_TEXT_SIZES} - tensors.keys()), file)
    video = {name.removeprefix("video."): tensor for name, tensor in tensors.items() if name.startswith("video.")}
    words, positions, inner = (_matrix(tensors, name, file) for name in _TEXT_SIZES)
    layers = {name.split(".")[3] for name in tensors if name.startswith("text.transformer.layer.")}
    width = int(words.shape[1])
    projection = None if _PROJECTION not in tensors else len(_matrix(tensors, _PROJECTION, file))
    frames = video["temporal_embed"].shape[-2] if video["temporal_embed"].ndim > 1 else 0
    options = vit.sizes(video, file, None, {"frames": frames})
    text = DistilBertConfig(
        vocab_size=len(words),
        max_position_embeddings=len(positions),
        n_layers=len(layers),
        n_heads=_text_heads(tokenizer, width),
        dim=width,
        hidden_dim=len(inner),
    )
    return TowerSizes(options, text, projection)


def _matrix(tensors: Mapping[str, Tensor], name: str, file: Path) -> Tensor:
    """Return a tensor by which sizes are known. ModelNotFound where it has other axes than two, or nothing in it."""
    tensor = tensors[name]
    if tensor.ndim != 2 or not tensor.numel():
        raise ModelNotFound(f"{file}: {_theirs(name)} is {list(tensor.shape)}, and has to be a matrix")
    return tensor


def _text_heads(tokenizer: Path, width: int) -> int:
    """Return the heads that the settings beside the tokenizer say; else those of the published DistilBERT's width."""
    settings = hub.settings(tokenizer)
    heads = settings.get("n_heads")
    if settings.get("model_type") == "distilbert" and settings.get("dim") == width and isinstance(heads, int):
        return heads
    return max(1, width // vit.HEAD_WIDTH)


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path) -> None:
    """Raise ModelNotFound unless all tensors are there, of their shapes, dense, and finite."""
    _require([name for name in expected if name not in tensors], file)
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ModelNotFound(
                f"{file}: {_theirs(name)} is {list(tensors[name].shape)}, and {list(tensor.shape)} is what goes with "
                f"the other tensors"
            )
        require_numbers(file, _theirs(name), tensors[name])


def _require(missing: Sequence[str], file: Path) -> None:
    if missing:
        names = ", ".join(map(_theirs, missing[:_MAX_NAMED])) + (", ..." if len(missing) > _MAX_NAMED else "")
        raise ModelNotFound(f"{file}: {counted(len(missing), 'tensor')} of a Frozen model missing: {names}")


def _theirs(name: str) -> str:
    """Return the name that Frozen's files have for a tensor."""
    return next(theirs + name.removeprefix(ours) for theirs, ours in _NAMES.items() if name.startswith(ours))
