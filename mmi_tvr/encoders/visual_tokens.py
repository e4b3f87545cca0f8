"""Cached vision features of key images as the visual tokens of a LLaVA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..types import Features, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from .llava import Llava


def visual_tokens(llava: Llava, videos: Sequence[Features]) -> Tensor:
    """Return the visual tokens (N, tokens_per_image, d_lm) of all key images of at least one video, in order.

    Raises UsageError where the features are of a model without a language model, or of another one.
    """
    import torch

    with torch.inference_mode():
        return llava.project(torch.from_numpy(np.concatenate([_patches(llava, features) for features in videos])))


def _patches(llava: Llava, features: Features) -> FloatArray:
    """Return the vision tower's patches (K, tokens_per_image, d_v) of one video."""
    patches = features.arrays.get("patches")
    if patches is None:
        raise UsageError(
            "these features hold no visual tokens ('patches'): index with a model that has a language model"
        )
    expected = (llava.tokens_per_image, llava.base.model.multi_modal_projector.linear_1.in_features)
    if patches.shape[1:] != expected:
        raise UsageError(f"visual tokens of another model: {patches.shape[1:]} a key image instead of {expected}")
    return np.asarray(patches, dtype=np.float32)
