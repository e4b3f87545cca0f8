"""Stage "faces": towers that have seen faces, as CLIP has: drawn people with descriptions, and never a name.

Every picture shows somebody else, drawn at random; nobody who resembles the people of moving faces' val and test splits
is among them. A description says a part of what is to be seen, so it is true of other pictures of the batch, too, which
are no negatives then. As in the stage of single pictures (`frames`), both vectors are plainly asked for what they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.moving_faces import (
    DOINGS,
    PARAMETERS,
    PLACES,
    Dice,
    Looks,
    PartialDescription,
    Scene,
    draw_description,
    draw_looks,
    draw_scene,
    held_out,
    is_close,
    render_frames,
)
from ...nn.losses import IGNORE_INDEX, Temperature, info_nce
from ...train.protocol import Batch
from .facts import FactReader
from .frames import encode, tower_groups

SIDE = 64  # pixels of a picture
CLASSES = (*map(len, PARAMETERS.values()), len(DOINGS), len(PLACES))
_BATCHES = 100  # of what is called an epoch: there is no end of people
_STREAM = 31  # of dice
_MOMENT = 1.0  # seconds: how late a picture may be taken


class FaceTowers(nn.Module):
    """A CLIP in training (`train.protocol.Trainable`); terms `pictures` and `facts`."""

    def __init__(self, clip: Any, tokenizer: Any) -> None:
        super().__init__()
        self.clip = clip
        self.temperature = Temperature()
        self.facts = FactReader(clip.config.projection_dim, CLASSES)
        self.clip.logit_scale.requires_grad_(False)  # the temperature above stands for it
        self._tokenizer = tokenizer

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return tower_groups(self)

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        pictures, texts = self.pictures(batch["pixels"]), self.texts(batch["texts"])
        true = true_of(batch)
        rows = torch.arange(len(true), device=true.device)
        return {
            "pictures": info_nce(
                texts, pictures, self.temperature(), rows, true_of=lambda text, picture: true[text][:, picture]
            ),
            "facts": self.facts(pictures, batch["shown"]) + self.facts(texts, batch["stated"]),
        }

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return the vectors (B, D) of preprocessed pictures (B, 3, H, W), not normalised."""
        vectors: Tensor = self.clip.visual_projection(self.clip.vision_model(pixels).pooler_output)
        return vectors

    def texts(self, texts: list[str]) -> Tensor:
        """Return the vectors (B, D) of sentences, not normalised."""
        return encode(self.clip, self._tokenizer, texts)


class FaceBatches:
    """Pictures of ever new people with descriptions (`train.protocol.EpochDataLoader`)."""

    def __init__(self, size: int, seed: int, held_out_people: bool = False) -> None:
        self._size, self._seed, self._held_out = size, seed, held_out_people

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        for batch in range(skip, _BATCHES):
            yield self.batch(number * _BATCHES + batch)

    def batch(self, number: int) -> Batch:
        """Return pixels (B, 3, H, W), texts, and the classes (B, 16) that pictures show and that texts say."""
        dice = Dice(_STREAM, self._seed, number)
        drawn = [draw_face(dice, self._held_out) for _ in range(self._size)]
        described = [draw_description(scene, looks, dice) for scene, looks in drawn]
        shown = torch.tensor([classes(scene, looks) for scene, looks in drawn])
        masks = torch.tensor([mentions(description) for description in described])
        pictures = [render_frames(scene, [dice.below(1001) / 1000 * _MOMENT], SIDE, looks)[0] for scene, looks in drawn]
        return {
            "ids": [f"{number}-{row}" for row in range(self._size)],
            "pixels": pixels(pictures),
            "texts": [description.text for description in described],
            "shown": shown,
            "stated": shown.masked_fill(~masks, IGNORE_INDEX),
        }


def draw_face(dice: Dice, held_out_people: bool = False) -> tuple[Scene, Looks]:
    """Draw a scene, and how the person in it looks: somebody whom no split holds; or one of those of val and test."""
    people = held_out()
    looks = dice.pick(people)
    while not held_out_people and any(is_close(looks, other) for other in people):
        looks = draw_looks(dice)
    return draw_scene(dice, 0, dice.pick(DOINGS), dice.pick(PLACES)), looks


def true_of(batch: Mapping[str, Any]) -> Tensor:
    """Return which texts of a batch are true of which of its pictures (texts, pictures)."""
    stated = batch["stated"][:, None]
    return torch.all((stated == batch["shown"]) | (stated == IGNORE_INDEX), dim=-1)


def classes(scene: Scene, looks: Looks) -> list[int]:
    """Return what a picture shows as class numbers: the 14 parameters, the doing, the place."""
    face = [values.index(value) for value, values in zip(looks, PARAMETERS.values(), strict=True)]
    return [*face, DOINGS.index(scene.doing), PLACES.index(scene.place)]


def mentions(description: PartialDescription) -> list[bool]:
    """Return which of these classes a description says."""
    return [*(name in description.parameters for name in PARAMETERS), description.doing, description.place]


def pixels(pictures: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
    """Return pictures as the tower reads them, (B, 3, H, W), -1 to 1."""
    stacked = np.stack(pictures).astype(np.float32)
    return torch.from_numpy(stacked / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
