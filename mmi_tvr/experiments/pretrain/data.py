"""Batches for the stages. What is drawn hangs on seed, epoch, batch and process alone, so a run can be taken up again.

Twins share a batch in every stage (`train.sampler`): they are what makes a model look at order, direction and the like.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from ...datasets.moving_shapes import (
    OPPOSITE,
    MovingShapes,
    Spec,
    answerable,
    captions,
    questions,
    relation_sentences,
    render_frames,
    stills,
    truth,
    visible_shapes,
)
from ...models.mmi.network import pack
from ...nn.losses import IGNORE_INDEX
from ...train.protocol import Batch
from ...train.sampler import TwinSampler
from ...types import Features
from ...utils import distributed
from .conversations import (
    JUDGED_SKELETONS,
    PROPOSED_SHARE,
    About,
    Conversation,
    caption_conversation,
    draw_caption,
    draw_one,
    hard_negative,
    judging_conversation,
    proposing_conversation,
    unanswerable_questions,
    video_conversation,
)
from .facts import facts, latest_events, places, relation_facts
from .layout import IMAGE_SIZE, REGIONS
from .tokens import ConversationTokenizer

_ABOUT: tuple[About, ...] = ("text", "video")
_NOISE = 3.0  # grey levels: about what H.264 does to a picture of this size
_EVENT_SHARE = 0.6  # share of the pictures that are taken from within an event
_PROPOSAL_CAPTIONS = 3  # captions that a question is proposed from


class _Draft(NamedTuple):
    """A batch that is to be drawn: its videos, and what its draws hang on."""

    rows: Sequence[int]
    seed: Sequence[int]


class _SplitBatches(ABC):
    """Batches of a split's videos, twins together (`train.protocol.EpochDataLoader`).

    Args:
        dataset: a split of moving shapes.
        batch: videos of all processes together.
        seed: of the order and of everything that is drawn.
        workers: processes that draw the next batches meanwhile; 0: none, each is drawn when it is asked for.
    """

    def __init__(self, dataset: MovingShapes, batch: int, seed: int, workers: int = 0) -> None:
        self._specs = dataset.specs()
        self._sampler = TwinSampler(dataset.groups(), batch, seed, distributed.rank(), distributed.world_size())
        self._seed = seed
        self._drafts: list[_Draft] = []  # of the epoch; the loader's workers outlive it
        self._loader: DataLoader[Batch] = DataLoader(
            self,  # type: ignore[arg-type]  # it has items
            batch_size=None,
            sampler=self._drafts,  # what is passed to the workers, instead of numbers
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else the loader would draw from the run's own
        )

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`."""
        self._drafts[:] = [
            _Draft(rows, (self._seed, number, batch_number, distributed.rank()))
            for batch_number, rows in enumerate(self._sampler.batches(number, skip), skip)
        ]
        yield from self._loader

    def __getitem__(self, draft: _Draft) -> Batch:
        return self.batch(draft.rows, np.random.default_rng(draft.seed))

    @abstractmethod
    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """Return one batch of the videos of these numbers."""


class FrameBatches(_SplitBatches):
    """One picture of each video at a random time, with an exact description, and the name of one thing in it."""

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """Return pixels (B, 3, H, W), texts, names, cells (B,) the region that the named thing is in, groups (B,),
        and the places of colours and shapes (`facts.places`)."""
        specs = [self._specs[row] for row in rows]
        times = [_draw_time(spec, dice) for spec in specs]
        pictures = np.stack(
            [render_frames(spec, [time], IMAGE_SIZE)[0] for spec, time in zip(specs, times, strict=True)]
        )
        texts = [draw_one(stills(spec, time), dice) for spec, time in zip(specs, times, strict=True)]
        named = [_draw_named_region(spec, time, dice) for spec, time in zip(specs, times, strict=True)]
        noisy = pictures.astype(np.float32) + dice.normal(0, _NOISE, pictures.shape).astype(np.float32)
        pixels = torch.from_numpy(noisy.clip(0, 255) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
        return {
            "ids": list(rows),
            "pixels": pixels,
            "texts": texts,
            "groups": text_numbers(texts),
            "names": [name for name, _ in named],
            "cells": torch.tensor([cell for _, cell in named]),
            "places": torch.stack([places(spec, time) for spec, time in zip(specs, times, strict=True)]),
        }


class _FeatureBatches(_SplitBatches):
    """Batches of videos whose key images are cached."""

    def __init__(
        self, dataset: MovingShapes, features: Sequence[Features], batch: int, seed: int, workers: int = 0
    ) -> None:
        super().__init__(dataset, batch, seed, workers)
        self._features = features


class ClipBatches(_FeatureBatches):
    """Cached key images of each video, one of its captions, and a description of one of the key images."""

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """Return video (`models.mmi.pack`), texts, stills and the key image `places` (B,) that each of them describes;
        facts of the captions and of what is `shown` (B, F). clauses: relations alone, each beside its opposite, and
        `placed`, their facts."""
        specs = [self._specs[row] for row in rows]
        placed = [spec for spec in specs if spec.relation][: len(specs) // 4 + 1]
        placed += [replace(spec, relation=OPPOSITE[spec.relation]) for spec in placed]
        features = [self._features[row] for row in rows]
        key_images = [int(dice.integers(len(video.segments))) for video in features]
        times = [float(video.segments[image, 2]) for video, image in zip(features, key_images, strict=True)]
        return {
            "ids": list(rows),
            "video": pack(features),
            "texts": [draw_caption(spec, dice) for spec in specs],
            "facts": facts(specs, from_captions=True),
            "shown": facts(specs, from_captions=False),
            "stills": [draw_one(stills(spec, time), dice) for spec, time in zip(specs, times, strict=True)],
            "places": torch.tensor(key_images),
            "clauses": [draw_one(relation_sentences(spec), dice) for spec in placed],
            "placed": relation_facts(placed),
        }


class ConversationBatches(_FeatureBatches):
    """Cached key images or a caption of each video, and what is to be said about them; or skeletons to be judged.

    Args:
        dataset: a split of moving shapes.
        features: of each of its videos.
        batch: videos of all processes together.
        seed: of the order and of everything that is drawn.
        workers: as `_SplitBatches` has them.
        tokenize: makes tokens of a conversation and a number of key images.
        video_share: share of the conversations about key images.
        caption_share: share of those about captions; the rest compare skeletons.
    """

    def __init__(
        self,
        dataset: MovingShapes,
        features: Sequence[Features],
        batch: int,
        seed: int,
        workers: int = 0,
        *,
        tokenize: ConversationTokenizer,
        video_share: float = 0.6,
        caption_share: float = 0.15,
    ) -> None:
        super().__init__(dataset, features, batch, seed, workers)
        self._tokenize = tokenize
        self._video_share, self._caption_share = video_share, caption_share

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """Return video (`models.mmi.pack`), conversations, what they are as tokens (`tokenized`), the facts (B, F) of
        what each of them is about, and the latest events at each key image (B, K, E)."""
        conversations, known_facts = [], []
        for position in range(len(rows)):
            conversation, fact = self._conversation(rows, position, dice)
            conversations.append(conversation)
            known_facts.append(fact)
        features = [self._features[row] for row in rows]
        events = [
            torch.tensor(latest_events(self._specs[row], video.segments[:, 2].tolist()))
            for row, video in zip(rows, features, strict=True)
        ]
        return {
            "ids": list(rows),
            "video": pack(features),
            "conversations": conversations,
            "tokenized": [
                self._tokenize(conversation, len(video.segments))
                for conversation, video in zip(conversations, features, strict=True)
            ],
            "facts": torch.cat(known_facts),
            "latest": pad_sequence(events, batch_first=True, padding_value=IGNORE_INDEX),
        }

    def _conversation(
        self, rows: Sequence[int], position: int, dice: np.random.Generator
    ) -> tuple[Conversation, Tensor]:
        """Return the conversation about the video at this position in the batch, and the facts (1, F) of what it is
        about (IGNORE_INDEX where skeletons are judged)."""
        spec, drawn = self._specs[rows[position]], dice.random()
        if drawn < self._video_share:
            return video_conversation(spec, dice), facts([spec], from_captions=False)
        caption_facts = facts([spec], from_captions=True)
        if drawn < self._video_share + self._caption_share:
            if dice.random() >= PROPOSED_SHARE:
                return caption_conversation(spec, dice), caption_facts
            others = dice.integers(len(rows), size=_PROPOSAL_CAPTIONS - 1)
            specs = [spec, *(self._specs[rows[other]] for other in others)]
            return proposing_conversation(specs, dice), caption_facts
        twin_position = position ^ 1 if position ^ 1 < len(rows) else position
        twin, other = self._specs[rows[twin_position]], self._specs[rows[int(dice.integers(len(rows)))]]
        negatives = [hard_negative(spec, twin, other, dice) for _ in range(JUDGED_SKELETONS)]
        return judging_conversation(spec, negatives, dice), torch.full_like(caption_facts, IGNORE_INDEX)


def _as_it_is(batch: Any) -> Any:
    return batch


def text_numbers(texts: Sequence[str]) -> Tensor:
    """Return a number for each text; equal texts have the same, in every process. (B,) int64."""
    return torch.tensor([zlib.crc32(text.encode()) for text in texts])


def corpus(specs: Sequence[Spec]) -> Iterator[str]:
    """Yield captions, descriptions and the videos' own questions, for the tokenizers."""
    for spec in specs:
        yield from captions(spec)
        yield from stills(spec, spec.starts[0] / 1000)
        for question in questions(spec):
            yield from (question.text, question.answer)


def answers(specs: Sequence[Spec]) -> Iterator[str]:
    """Yield the pools' questions and their answers, for the language model's tokenizer."""
    for spec in specs:
        for about in _ABOUT:
            for text in (*answerable(about), *unanswerable_questions(about)):
                yield from (text, truth(text, about)(spec, about == "text"))


def _draw_time(spec: Spec, dice: np.random.Generator) -> float:
    """Return a time in seconds, rather within an event than between two."""
    if dice.random() < _EVENT_SHARE:
        spins = [start for start, event in zip(spec.starts, spec.events, strict=True) if event.action == "spins"]
        starts = spins or spec.starts  # an angle is the hardest thing to see
        start = starts[int(dice.integers(len(starts)))]
        return float(start + dice.random() * spec.length) / 1000
    return float(dice.random() * spec.duration) / 1000


def _draw_named_region(spec: Spec, time: float, dice: np.random.Generator) -> tuple[str, int]:
    """Return the name of a single shape that is visible, and the number of the region that its centre is in."""
    visible = visible_shapes(spec, time)
    if not visible:
        return "nothing", int(dice.integers(REGIONS**2))
    shape = visible[int(dice.integers(len(visible)))]
    column, row = (min(REGIONS - 1, int(coordinate * REGIONS)) for coordinate in shape.centre)
    return shape.name, row * REGIONS + column
