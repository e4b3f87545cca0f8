"""Stage 1: both towers learn single pictures, by contrast with exact descriptions.

Source: CLIP (Radford et al. 2021); the second term is RegionCLIP's idea (Zhong et al., CVPR 2022): the patch tokens of
a region, taken into CLIP's space, are held against the name of what stands there. Without it the tokens of so short a
training would say little about their own place, and both the spatial head and the language model read them. The third
term asks both of what goes on to later stages, the picture's vector and the tokens, where each thing stands and how it
looks (`facts.places`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nn.losses import Temperature, info_nce
from .data import text_numbers
from .facts import PlaceReader
from .layout import FEATURE_LAYER, REGIONS, TOKENS, padded
from .tokens import groups_of_like_length

_SENTENCES = 32  # that are read at once, at most


class FrameTowers(nn.Module):
    """A CLIP in training (`train.protocol.Trainable`); terms `pictures`, `regions` and `places`."""

    def __init__(self, clip: Any, tokenizer: Any) -> None:
        super().__init__()
        self.clip = clip
        self.temperature, self.region_temperature = Temperature(), Temperature()
        self.places = PlaceReader(clip.config.projection_dim)
        self.token_places = PlaceReader(TOKENS**2 * clip.config.vision_config.hidden_size)
        self.clip.logit_scale.requires_grad_(False)  # the temperature above stands for it
        self._tokenizer = tokenizer

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return tower_groups(self)

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        output = self.clip.vision_model(batch["pixels"], output_hidden_states=True)
        image, regions = self._vector(output), self._regions(output)
        named_regions = regions[torch.arange(len(regions)), batch["cells"]]  # (B, D)
        name_vectors = self.texts(batch["names"])
        name_groups = text_numbers(batch["names"]).to(name_vectors.device)
        return {
            "pictures": info_nce(self.texts(batch["texts"]), image, self.temperature(), batch["groups"]),
            "places": self.places(image, batch["places"]) + self.token_places(_tokens(output), batch["places"]),
            "regions": info_nce(name_vectors, named_regions, self.region_temperature(), name_groups),
        }

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return the vectors (B, D) of preprocessed pictures (B, 3, H, W), not normalised."""
        return self._vector(self.clip.vision_model(pixels))

    def texts(self, texts: list[str]) -> Tensor:
        """Return the vectors (B, D) of sentences, not normalised."""
        return encode(self.clip, self._tokenizer, texts)

    def _vector(self, output: Any) -> Tensor:
        vectors: Tensor = self.clip.visual_projection(output.pooler_output)
        return vectors

    def _regions(self, output: Any) -> Tensor:
        """Return the vectors of the regions, (B, REGIONS**2, D)."""
        tokens = self.clip.visual_projection(self.clip.vision_model.post_layernorm(output.last_hidden_state[:, 1:]))
        return _pooled(tokens, REGIONS)


def _tokens(output: Any) -> Tensor:
    """Return what a language model is shown of each picture before its projector, in one vector (B, TOKENS**2 * d)."""
    return _pooled(output.hidden_states[FEATURE_LAYER][:, 1:], TOKENS).flatten(1)


def _pooled(tokens: Tensor, grid: int) -> Tensor:
    """Return the means of the cells of a coarser grid: (B, side**2, d) -> (B, grid**2, d)."""
    side = int(tokens.shape[1] ** 0.5)
    square = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    return functional.adaptive_avg_pool2d(square.float(), grid).flatten(2).transpose(1, 2)


def tower_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return what is trained in a stage with CLIP towers: the matrices inside their blocks as `layers`, which Muon
    trains; embeddings, projections, readers, biases and norms as `towers`."""
    groups: dict[str, list[nn.Parameter]] = {"layers": [], "towers": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["layers" if ".layers." in name and parameter.ndim == 2 else "towers"].append(parameter)
    return groups


def encode(clip: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Return the vectors of sentences in CLIP's space, (B, D), with gradients. Equal sentences are read once, and those
    of like length together."""
    model = clip.text_model
    distinct = list(dict.fromkeys(texts))
    inputs = padded(tokenizer, distinct, model.config.max_position_embeddings)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    parts = []
    position: dict[str, int] = {}  # of each sentence among the vectors
    for rows in groups_of_like_length(lengths, -(-len(distinct) // _SENTENCES), clip.device):
        longest = lengths[rows[-1]]
        output = model(**{name: tensor[rows, :longest].to(clip.device) for name, tensor in inputs.items()})
        parts.append(clip.text_projection(output.pooler_output))
        position |= {distinct[row]: len(position) + number for number, row in enumerate(rows)}
    return torch.cat(parts)[[position[text] for text in texts]]
