"""A ViT's weights under the names of the space-time tower, which are timm's, from either library's layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, one_line
from . import hub
from .options import VideoTowerOptions

if TYPE_CHECKING:
    from torch import Tensor

HEAD_WIDTH = 64  # of every published ViT, and of DistilBERT
# transformers' names, as they stand in its files, and timm's.
_NAMES = (
    (r"^vit\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
_PARTS = re.compile(r"cls_token|pos_embed|patch_embed\.proj\..*|blocks\.\d+\..*|norm\..*")  # no pooler, no classifier


def read(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a ViT checkpoint under timm's names. ModelNotFound where it is none."""
    named = {_renamed(name): tensor.float() for name, tensor in hub.checkpoint_tensors(folder).items()}
    try:
        weights = {name: tensor for name, tensor in _joined(named).items() if _PARTS.fullmatch(name)}
    except (KeyError, RuntimeError) as error:  # query, key or value is missing, or of another size
        raise ModelNotFound(f"{folder}: query, key and value do not go together: {one_line(error)}") from error
    if not {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= weights.keys():
        raise ModelNotFound(f"{folder}: not a ViT of transformers' or timm's layout, as safetensors")
    return weights


def sizes(weights: Mapping[str, Tensor], place: Path, heads: int | None, time: Mapping[str, Any]) -> VideoTowerOptions:
    """Return the options of a space-time tower that these weights fit.

    Args:
        weights: of the ViT, by timm's names.
        place: where they come from, for messages.
        heads: of its attention; None: as many as there are 64 numbers in its width.
        time: the options about time, of which a ViT knows nothing.

    Raises:
        ModelNotFound: they do not go together as a ViT's do.
    """
    try:
        _, _, patch_size, _ = weights["patch_embed.proj.weight"].shape
        side = round((weights["pos_embed"].shape[1] - 1) ** 0.5)
        hidden, width = weights["blocks.0.mlp.fc1.weight"].shape
        return VideoTowerOptions(
            image_size=side * patch_size,
            patch_size=patch_size,
            width=width,
            layers=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
            heads=heads or max(1, width // HEAD_WIDTH),
            expansion=hidden // width,
            **time,
        )
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:  # a tensor or an axis too few, or no sizes
        raise ModelNotFound(f"{place}: its video tower is no ViT: {one_line(error)}") from error


def heads(folder: Path) -> int | None:
    """Return how many attention heads a checkpoint's settings say that there are; timm's do not say."""
    number = hub.settings(folder).get("num_attention_heads")
    return number if isinstance(number, int) else None


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _joined(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with query, key and value as one matrix, one below the other."""
    import torch

    joined = {name: tensor for name, tensor in weights.items() if not re.search(r"\.attn\.(query|key|value)\.", name)}
    for name in weights:
        if ".attn.query." in name:
            parts = [weights[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            joined[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return joined
