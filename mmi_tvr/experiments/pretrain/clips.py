"""Stage 2: the text tower learns what happens over time, on cached key images.

A CLIP that has only ever read descriptions of single pictures has no words for "moves" or "then". First it learns what
captions say (`facts`), and what is said by sentences that tell a relation and nothing else, each beside its opposite
(`clauses`): whole captions alone left relations at chance, with these they are read within 200 steps. Then its vectors
and those of videos are brought together. The video side is a reader of the same kind as the model's own heads, thrown
away afterwards: it gives the text tower something to agree with. Descriptions of single key images, and the plain mean
of the key images, stay in the objective, so that the tower still answers for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...nn.losses import Temperature, info_nce
from ...nn.options import HeadOptions
from ...nn.video import VideoHead, one_frame_per_segment
from .data import text_numbers
from .facts import FactReader
from .frames import encode, tower_groups
from .layout import REGIONS


class ClipReader(nn.Module):
    """The text tower in training beside a reader of key images; terms `videos`, `means`, `stills`, `facts` of captions,
    `clauses` of relations alone, and `shown`, the facts of videos."""

    def __init__(self, clip: Any, tokenizer: Any, width: int) -> None:
        super().__init__()
        self.clip = clip
        self.clip.requires_grad_(False)
        self.clip.text_model.requires_grad_(True)
        self.clip.text_projection.requires_grad_(True)
        self.reader = VideoHead(width, HeadOptions(grid=REGIONS, layers=2, heads=6, dropout=0.0))
        self.facts, self.shown = FactReader(width), FactReader(width)
        self.temperatures = nn.ModuleDict({name: Temperature(0.03) for name in ("videos", "means", "stills")})
        self._tokenizer = tokenizer

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return tower_groups(self)

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        video = batch["video"]
        texts = self.texts(batch["texts"])
        scale = {name: temperature() for name, temperature in self.temperatures.items()}
        terms = {"facts": self.facts(texts, batch["facts"])}
        terms["clauses"] = self.facts(self.texts(batch["clauses"]), batch["placed"])
        if set(names) - set(terms):
            image = video["image"][torch.arange(len(texts)), batch["places"]]
            groups = text_numbers(batch["stills"]).to(image.device)
            terms["stills"] = info_nce(self.texts(batch["stills"]), image, scale["stills"], groups)
            vectors, means = self.videos(video)
            terms["videos"] = info_nce(texts, vectors, scale["videos"])
            terms["means"] = info_nce(texts, means, scale["means"])
            terms["shown"] = self.shown(vectors, batch["shown"])
        return terms

    def videos(self, video: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return, of the key images of B videos, the reader's vectors (B, D), and their means (B, D)."""
        mask = video["mask"]
        means = (video["image"] * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return self.reader(video["image"], video["regions"], one_frame_per_segment(mask)).video, means

    def texts(self, texts: list[str]) -> Tensor:
        """Return the vectors (B, D) of sentences, not normalised."""
        return encode(self.clip, self._tokenizer, texts)
