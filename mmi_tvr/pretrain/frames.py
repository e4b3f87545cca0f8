"""Stage 1: both towers learn single pictures, by contrast with exact descriptions.

Source: CLIP (Radford et al. 2021); the second term is RegionCLIP's idea (Zhong et al., CVPR 2022): the patch tokens of
a region, taken into CLIP's space, are held against the name of what stands there. Without it the tokens of so short a
training would say little about their own place, and both the spatial head and the language model read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..losses import Temperature, contrastive
from .data import same
from .facts import PlaceReader
from .layout import padded

GRID = 3
_TOGETHER = 64  # sentences that are read at once


class FrameTowers(nn.Module):
    """A CLIP in training (`train.protocol.Trainable`); terms `pictures`, `regions` and `places`."""

    def __init__(self, clip: Any, tokenizer: Any) -> None:
        super().__init__()
        self.clip = clip
        self.temperature, self.region_temperature = Temperature(), Temperature()
        self.places = PlaceReader(clip.config.projection_dim)
        self.clip.logit_scale.requires_grad_(False)  # the temperature above stands for it
        self._tokenizer = tokenizer

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {"towers": [each for each in self.parameters() if each.requires_grad]}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        image, regions = self.pictures(batch["pixels"])
        there = regions[torch.arange(len(regions)), batch["cells"]]
        named = self.texts(batch["names"])
        return {
            "pictures": contrastive(self.texts(batch["texts"]), image, self.temperature(), batch["groups"]),
            "places": self.places(image, batch["places"]),
            "regions": contrastive(named, there, self.region_temperature(), same(batch["names"]).to(there.device)),
        }

    def pictures(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Preprocessed pictures (B, 3, H, W) -> vectors (B, D) and those of their regions (B, GRID**2, D)."""
        seen = self.clip.vision_model(pixels)
        tokens = self.clip.visual_projection(self.clip.vision_model.post_layernorm(seen.last_hidden_state[:, 1:]))
        side = int(tokens.shape[1] ** 0.5)
        square = tokens.transpose(1, 2).unflatten(2, (side, side))
        regions = functional.adaptive_avg_pool2d(square.float(), GRID).flatten(2).transpose(1, 2)
        return self.clip.visual_projection(seen.pooler_output), regions

    def texts(self, texts: list[str]) -> Tensor:
        """(B, D), not normalised."""
        return encode(self.clip, self._tokenizer, texts)


def encode(clip: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Sentences -> vectors in CLIP's space, with gradients. (B, D). Sentences of like length go together."""
    model = clip.text_model
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    parts = []
    for first in range(0, len(order), _TOGETHER):
        some = [texts[row] for row in order[first : first + _TOGETHER]]
        inputs = padded(tokenizer, some, model.config.max_position_embeddings)
        said = model(**{name: each.to(clip.device) for name, each in inputs.items()})
        parts.append(clip.text_projection(said.pooler_output))
    return torch.cat(parts)[torch.tensor(order, device=clip.device).argsort()]
