"""What a checkpoint of the CLIP layout says of its towers, without transformers where its file says all of it.

Importing transformers takes as long as half of torch, and a search needs nothing else of it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import ModelNotFound, one_line
from . import hub, jina_clip
from .pretrained import unreadable
from .quiet import quiet_loading

_TEXT_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "eos_token_id",
    "max_position_embeddings",
)
_TEXT = (*_TEXT_SIZES, "hidden_act", "layer_norm_eps")
COLOUR_MEAN, COLOUR_STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)  # of CLIP's pictures
_VISION = ("hidden_size", "image_size", "patch_size", "num_hidden_layers")
_OLDER = ("text_config_dict", "vision_config_dict")  # would go before the newer names


def read(folder: Path) -> Any:
    """Return the settings of a checkpoint, as attributes.

    CLIP's own come from `config.json` alone where that leaves nothing open; transformers fills in the rest of others.

    Raises:
        ModelNotFound: where they cannot be read.
    """
    values = hub.settings(folder)
    if values.get("model_type") == jina_clip.MODEL_TYPE:
        return jina_clip.read_settings(folder)
    text, vision = values.get("text_config"), values.get("vision_config")
    if values.get("model_type") == "clip" and isinstance(text, dict) and isinstance(vision, dict):
        is_whole = text.keys() >= set(_TEXT) and vision.keys() >= set(_VISION) and "projection_dim" in values
        is_whole = is_whole and all(type(text[name]) is int and text[name] > 0 for name in _TEXT_SIZES)
        is_whole = is_whole and text["hidden_size"] % text["num_attention_heads"] == 0
        if is_whole and not any(values.get(name) is not None for name in _OLDER):
            towers = {"text_config": SimpleNamespace(**text), "vision_config": SimpleNamespace(**vision)}
            return SimpleNamespace(**{**values, **towers})
    return _by_transformers(folder)


@quiet_loading()
def _by_transformers(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, **hub.LOCAL)
    except unreadable() as error:
        raise ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}") from error
