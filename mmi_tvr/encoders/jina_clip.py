"""Checkpoints of Jina-CLIP v2: an EVA02 vision tower, and Jina-XLM-RoBERTa with a LoRA adapter as its text tower.

Source: Koukounas et al., "jina-clip-v2: Multilingual Multimodal Embeddings for Text and Images", 2024. Its files name
code of their own (`auto_map`), which is never run. What they hold, and how it is read here:

    config.json       model_type jina_clip; sizes of the vision tower; of the text tower what differs from
                      jina-embeddings-v3 (`hf_model_config_kwargs`), and the adapter that is always on
    model.safetensors vision_model.*                      encoders/eva.py
                      text_model.transformer.roberta.*    transformers' JinaEmbeddingsV3, whose names differ
                      ... .parametrizations.weight.original, .0.lora_A, .0.lora_B: a weight, and one adapter a task
    preprocessor_config.json                              encoders/jina_pictures.py

Decisions: the adapter is added to the weights once, W + alpha / rank B A (of a table of words A B), which is the same
as reading both. No instruction stands before a sentence, as the settings have it (`default_instruction_task`: null) and
as mteb reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..errors import ModelNotFound, one_line
from . import hub
from .pretrained import require_weights, unreadable
from .quiet import quiet_loading

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPE = "jina_clip"
_TEXT_TOWER, _TEXT_TYPE = "jinaai/jina-embeddings-v3", "jina_embeddings_v3"
_TASKS = ("retrieval.query", "retrieval.passage", "separation", "classification", "text-matching")
_VISION, _TEXT = "vision_model.", "text_model.transformer.roberta."
_TEXT_PROJECTION = "text_model.proj."
_ORIGINAL, _ADAPTER = ".parametrizations.weight.original", ".parametrizations.weight.0.lora_"
_TOKENS = 512  # of a sentence that are read, as its authors' code cuts it
_NAMES = (  # of Jina's files, and of transformers' class
    ("emb_ln.", "embeddings.LayerNorm."),
    ("encoder.layers.", "layers."),
    ("mixer.out_proj.", "self_attn.o_proj."),
    ("norm1.", "post_attention_layernorm."),
    ("norm2.", "post_mlp_layernorm."),
)


def is_known(folder: Path) -> bool:
    """Return whether a checkpoint is of version 2: version 1 has the same model type, and another text tower."""
    text = hub.settings(folder).get("text_config")
    return isinstance(text, dict) and text.get("hf_model_name_or_path", _TEXT_TOWER) == _TEXT_TOWER


def read_settings(folder: Path) -> Any:
    """Return the settings of a checkpoint, as attributes of the kind that `clip_settings.read` returns.

    Raises:
        ModelNotFound: they are damaged, or name another text tower.
    """
    values = hub.settings(folder)
    text, vision = values.get("text_config") or {}, values.get("vision_config") or {}
    if not is_known(folder):
        raise ModelNotFound(
            f"{folder}: a Jina-CLIP whose text tower is {_named(text)}; this model loads version 2, which stands on "
            f"{_TEXT_TOWER}"
        )
    try:
        from .eva import EvaSizes

        sizes = EvaSizes.read(vision)
        changes = dict(text.get("hf_model_config_kwargs") or {})
        instruction = _instruction(text.get("default_instruction_task"), changes)
        return SimpleNamespace(
            model_type=MODEL_TYPE,
            eva=sizes,
            vision_config=SimpleNamespace(image_size=sizes.image_size),
            text_config=SimpleNamespace(max_position_embeddings=_TOKENS, instruction=instruction),
            text=text,
            changes=changes,
            adapter=_adapter(text.get("default_lora_task"), changes),
            projection=int(values.get("projection_dim", 768)) if values.get("add_projections") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise _damaged(folder, error) from error


def _named(text: Any) -> str:
    return str(text.get("hf_model_name_or_path")) if isinstance(text, dict) else "not named"


def _instruction(task: str | None, changes: Mapping[str, Any]) -> str:
    """Return what stands before every sentence."""
    return "" if task is None else str(changes["task_instructions"][task])


def _adapter(task: str | None, changes: Mapping[str, Any]) -> int | None:
    """Return the number of the adapter that is on; None where none is."""
    return None if task is None else list(changes.get("lora_adaptations") or _TASKS).index(task)


def _damaged(folder: Path, error: Exception) -> ModelNotFound:
    return ModelNotFound(f"{folder}: not a checkpoint of Jina-CLIP v2: {one_line(error)}")


class JinaTowers:
    """Both towers, by the names that transformers' models of two towers have for what they do."""

    def __init__(self, text: Any, vision: Any) -> None:
        """Take over what `text_tower` and `vision_tower` returned."""
        self.get_text_features, self.get_image_features = text, vision


@quiet_loading()
def vision_tower(folder: Path, config: Any, device: Any) -> Any:
    """Return what takes `pixel_values` (N, 3, S, S) to vectors (N, D). ModelNotFound where weights are missing."""
    import torch

    from .eva import EvaTower

    tower = EvaTower(config.eva)
    _load(tower, _tensors(folder, _VISION), folder)
    projection = _projection(folder, "visual_projection.", config)
    module = torch.nn.Sequential(tower, projection).eval().to(device)
    return lambda pixel_values: module(pixel_values)


@quiet_loading()
def text_tower(folder: Path, config: Any, device: Any) -> Any:
    """Return what takes `input_ids` and `attention_mask` (N, L) to vectors (N, D).

    Raises:
        ModelNotFound: weights are missing, or transformers has no class for this tower.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    try:
        settings = AutoConfig.for_model(_TEXT_TYPE, **_text_sizes(config.changes))
        auto: Any = AutoModel
        model = auto.from_config(settings, add_pooling_layer=False, dtype=torch.float32)
    except unreadable() as error:
        raise ModelNotFound(
            f"{folder}: its text tower cannot be made by this transformers ({one_line(error)}); it has to know "
            f"{_TEXT_TYPE}, as 5.23 does"
        ) from error
    _load(model, _as_transformers(_merged(_tensors(folder, _TEXT), config, folder)), folder)
    layers = [
        _text_projection(folder, config, int(settings.hidden_size)),
        _projection(folder, "text_projection.", config),
    ]
    model, projection = model.eval().to(device), torch.nn.Sequential(*layers).eval().to(device)

    def features(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (N, L, d)
        mask = attention_mask[..., None]
        output: Tensor = projection((states * mask).sum(dim=1) / mask.sum(dim=1))
        return output

    return features


def _text_sizes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of transformers' settings: what differs from jina-embeddings-v3, by its names."""
    from transformers import AutoConfig

    known = set(AutoConfig.for_model(_TEXT_TYPE).to_dict())
    sizes = {name: value for name, value in changes.items() if name in known and name != "rope_parameters"}
    if (base := changes.get("rotary_emb_base")) is not None:
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": float(base)}
    return sizes


def _tensors(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint whose names begin so, without that beginning, float32."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= {name: tensor.float() for name, tensor in hub.read_tensors(path, (prefix,)).items()}
    return tensors


def _merged(tensors: Mapping[str, Tensor], config: Any, folder: Path) -> dict[str, Tensor]:
    """Return weights with the adapter that is on added to them, by their plain names."""
    merged = {}
    alpha = float(config.changes.get("lora_alpha", 1))
    for name, tensor in tensors.items():
        if _ADAPTER in name:
            continue
        layer = name.removesuffix(_ORIGINAL)
        if layer == name:
            merged[name] = tensor
            continue
        if config.adapter is not None:
            try:
                first, second = (tensors[f"{layer}{_ADAPTER}{side}"][config.adapter] for side in "AB")
                left, right = (first, second) if layer.endswith("_embeddings") else (second, first)
                tensor = tensor + left @ right * (alpha / left.shape[1])  # whose inner width is the rank
            except (KeyError, IndexError, RuntimeError) as error:
                raise _damaged(folder, error) from error
        merged[f"{layer}.weight"] = tensor
    return merged


def _as_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the text tower's weights by the names that they have in transformers' class."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for old, new in _NAMES:
            name = name.replace(old, new)
        if "mixer.Wqkv." in name:
            parts = zip(("q", "k", "v"), tensor.chunk(3), strict=True)
            named |= {name.replace("mixer.Wqkv.", f"self_attn.{side}_proj."): part for side, part in parts}
        else:
            named[name] = tensor
    return named


def _text_projection(folder: Path, config: Any, width: int) -> Any:
    """Return what takes the mean state into the space of the vectors: nothing, a matrix, or two with GELU between."""
    from torch import nn

    output, kind = int(config.text.get("embed_dim", 768)), config.text.get("proj_type")
    bias = bool(config.text.get("proj_bias", False))
    if kind == "mlp":
        inner = (width + output) // 2
        layers: Any = nn.Sequential(nn.Linear(width, inner, bias=bias), nn.GELU(), nn.Linear(inner, output, bias=bias))
    elif kind is None and width == output:
        return nn.Identity()
    else:
        layers = nn.Linear(width, output, bias=bias)
    _load(layers, _tensors(folder, _TEXT_PROJECTION), folder)
    return layers


def _projection(folder: Path, prefix: str, config: Any) -> Any:
    """Return the matrix behind a tower that some settings add."""
    from torch import nn

    if config.projection is None:
        return nn.Identity()
    width = config.eva.output if prefix.startswith("visual") else int(config.text.get("embed_dim", 768))
    layer = nn.Linear(width, config.projection, bias=False)
    _load(layer, _tensors(folder, prefix), folder)
    return layer


def _load(module: Any, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Give a module its weights. ModelNotFound where some are missing, or of another size; others are left alone."""
    require_weights(sorted(module.state_dict().keys() - tensors.keys()), folder)
    try:
        module.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise _damaged(folder, error) from error
