"""CLIP's vision tower alone, from its tensors, and what prepares its pictures: the first of a library need not wait for
transformers.

Held to transformers' tower and image processor by tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..types import Pixels
from .clip_layers import ClipLayers, layer_shapes, read_tower

_TOWER = "vision_model"
_HEAD = "visual_projection.weight"
_OPTIONS = ("hidden_act", "layer_norm_eps")
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
_KINDS = ("CLIPImageProcessor", "CLIPFeatureExtractor")
_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_READ = {"image_processor_type", "feature_extractor_type", "size", "crop_size", "resample", "image_mean", "image_std"}
_OTHER = {"rescale_factor", "do_convert_rgb", "processor_class"}  # pictures have three colours


class ClipVisionTower:
    """Prepared pictures -> projected states of the class token."""

    def __init__(self, tensors: dict[str, Any], config: Any, device: Any) -> None:
        """Take over the tensors of `vision_model` and `visual_projection`, and a checkpoint's vision settings."""
        self._layers = ClipLayers(tensors, config, device, _TOWER)
        self._patch_size = int(config.patch_size)

    @classmethod
    def read(cls, folder: Path, config: Any, device: Any) -> ClipVisionTower | None:
        """Return the vision tower of a checkpoint in one safetensors file.

        None where transformers has to read it, ModelNotFound where the file cannot be read (`read_tower`).
        """
        vision = config.vision_config
        if config.model_type != "clip" or not _says_enough(vision):
            return None
        tensors = read_tower(folder, config, vision, (f"{_TOWER}.", _HEAD), _shapes(vision, config.projection_dim))
        return None if tensors is None else cls(tensors, vision, device)

    def __call__(self, pixel_values: Any) -> Any:
        """Return the projected states (N, D) of prepared pictures (N, 3, side, side)."""
        import torch

        layers = self._layers
        patches = torch.nn.functional.conv2d(
            pixel_values, layers.part("embeddings.patch_embedding.weight"), stride=self._patch_size
        )  # (N, d, h, w)
        first = layers.part("embeddings.class_embedding").expand(len(pixel_values), 1, -1)
        states = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)  # (N, 1 + h * w, d)
        states = layers.norm("pre_layrnorm", states + layers.part("embeddings.position_embedding.weight"))
        *_, states = layers(states, is_causal=False)
        return layers.norm("post_layernorm", states[:, 0]) @ layers.tensors[_HEAD].T


class ClipPixels:
    """Pictures -> what the vision tower reads: scaled, cut, and normalised as `preprocessor_config.json` says."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take over settings in which nothing is open."""
        self._edge: int = settings["size"]
        self._crop: int = settings["crop_size"]
        self._resample = Image.Resampling(settings["resample"])
        self._scale: float = settings["rescale_factor"]
        self._mean = np.array(settings["image_mean"], np.float32)
        self._deviation = np.array(settings["image_std"], np.float32)

    @classmethod
    def read(cls, folder: Path) -> ClipPixels | None:
        """Return what prepares the pictures of a checkpoint; None where its file does not say all of it, or more."""
        try:
            settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return None if (whole := _whole_settings(settings)) is None else cls(whole)

    def __call__(self, images: Sequence[Pixels]) -> dict[str, Any]:
        """Return {"pixel_values": (N, 3, crop, crop)} of N pictures (H, W, 3)."""
        import torch

        return {"pixel_values": torch.from_numpy(np.stack([self._prepared(image) for image in images]))}

    def _prepared(self, pixels: Pixels) -> Any:
        """Return a picture (3, crop, crop), float32."""
        height, width = pixels.shape[:2]
        short = min(height, width)
        size = (int(self._edge * width / short), int(self._edge * height / short))
        scaled = np.asarray(Image.fromarray(pixels).resize(size, self._resample))  # (h, w, 3)
        top, left = (scaled.shape[0] - self._crop) // 2, (scaled.shape[1] - self._crop) // 2
        cut = scaled[top : top + self._crop, left : left + self._crop]
        values = ((cut * self._scale).astype(np.float32) - self._mean) / self._deviation
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def _whole_settings(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings of CLIP's image processor with edges as numbers; None where it does anything else."""
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if kind not in _KINDS or settings.keys() - {*_READ, *_OTHER, *_STEPS}:
        return None
    size, crop = settings.get("size"), settings.get("crop_size")
    edge = size["shortest_edge"] if isinstance(size, dict) and size.keys() == {"shortest_edge"} else size
    if isinstance(crop, dict) and crop.keys() == {"height", "width"} and crop["height"] == crop["width"]:
        crop = crop["height"]
    is_known = isinstance(edge, int) and isinstance(crop, int) and 0 < crop <= edge
    colours = [settings.get(name) for name in ("image_mean", "image_std")]
    if not is_known or not all(isinstance(values, list) and len(values) == 3 for values in colours):
        return None
    if not all(settings.get(step, True) is True for step in _STEPS):
        return None
    defaults = {"resample": Image.Resampling.BICUBIC, "rescale_factor": 1 / 255}
    return {**defaults, **settings, "size": edge, "crop_size": crop}


def _says_enough(vision: Any) -> bool:
    """Return whether the settings of a vision tower leave nothing open, and go together."""
    values = vars(vision)
    sizes = [values.get(name) for name in _SIZES]
    if not all(type(size) is int and size > 0 for size in sizes) or not values.keys() >= set(_OPTIONS):
        return False
    return bool(vision.hidden_size % vision.num_attention_heads == 0)


def _shapes(vision: Any, joint_width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a vision tower and its projection, by name."""
    width, side = vision.hidden_size, vision.image_size // vision.patch_size
    parts: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, vision.patch_size, vision.patch_size),
        "embeddings.position_embedding.weight": (side**2 + 1, width),
        **{f"{norm}.{kind}": (width,) for norm in ("pre_layrnorm", "post_layernorm") for kind in ("weight", "bias")},
        **layer_shapes(vision.num_hidden_layers, width, vision.intermediate_size),
    }
    return {_HEAD: (joint_width, width), **{f"{_TOWER}.{name}": shape for name, shape in parts.items()}}
