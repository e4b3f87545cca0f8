"""Batches for the stages. What is drawn hangs on seed, epoch, batch and process alone, so a run can be taken up again.

Twins share a batch everywhere (`train.batches`): they are what makes a model look at order, direction and the like.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import yaml
from torch import Tensor

from .. import config, processes, templates
from ..datasets.moving_shapes import (
    ACTIONS,
    OPPOSITE,
    QUESTION_KINDS,
    MovingShapes,
    Spec,
    answerable,
    captions,
    questions,
    related,
    render_frames,
    seen,
    stills,
    truth,
)
from ..losses import IGNORED
from ..models._mmi import pack
from ..train.batches import TwinSampler
from ..train.protocol import Batch
from ..types import Features
from .facts import facts, latest, places, relation_facts
from .language import DESCRIBE, Talk, about_text, asked
from .layout import IMAGE_SIZE, REGIONS

About = Literal["text", "video"]
_ABOUT: tuple[About, ...] = ("text", "video")
_NOISE = 3.0  # grey levels: about what H.264 does to a picture of this size
_BUSY = 0.6  # share of the pictures that are taken from within an event
_captions = lru_cache(maxsize=None)(captions)  # telling one takes longer than reading it
_DESCRIBED = 0.3  # share of the videos that are described
_QUESTIONS = 6  # in one talk
_TWIN = 0.6  # share of the wrong skeletons that are the twin's
_UNKNOWN = 0.5  # share of the talks with a question that has no answer here
_PROPOSED = 0.1  # share of the talks about videos, and about captions, in which a question is to be proposed
_SAMPLES = 3  # captions that a question is proposed from


class _Drawn(ABC):
    """Batches of a split's videos, twins together (`train.protocol.Batches`)."""

    def __init__(self, dataset: MovingShapes, batch: int, seed: int) -> None:
        self._specs = dataset.specs()
        self._sampler = TwinSampler(dataset.groups(), batch, seed, processes.rank(), processes.world())
        self._seed = seed

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """This process's batches of one epoch, without the first `skip`."""
        for at, rows in enumerate(self._sampler.batches(number, skip), skip):
            yield self.batch(rows, np.random.default_rng([self._seed, number, at, processes.rank()]))

    @abstractmethod
    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """One batch of these videos."""


class FrameBatches(_Drawn):
    """One picture of each video at a random time, with an exact description, and the name of one thing in it."""

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """pixels (B, 3, H, W), texts, names, cells (B,) the region that the named thing is in, groups (B,),
        and the places of colours and shapes (`facts.places`)."""
        specs = [self._specs[row] for row in rows]
        times = [_moment(spec, dice) for spec in specs]
        pictures = np.stack(
            [render_frames(spec, [time], IMAGE_SIZE)[0] for spec, time in zip(specs, times, strict=True)]
        )
        texts = [_any(stills(spec, time), dice) for spec, time in zip(specs, times, strict=True)]
        named = [_named(spec, time, dice) for spec, time in zip(specs, times, strict=True)]
        noisy = pictures.astype(np.float32) + dice.normal(0, _NOISE, pictures.shape).astype(np.float32)
        pixels = torch.from_numpy(noisy.clip(0, 255) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
        return {
            "ids": list(rows),
            "pixels": pixels,
            "texts": texts,
            "groups": same(texts),
            "names": [name for name, _ in named],
            "cells": torch.tensor([cell for _, cell in named]),
            "places": torch.stack([places(spec, time) for spec, time in zip(specs, times, strict=True)]),
        }


class _Seen(_Drawn):
    """Batches of videos whose key images are cached."""

    def __init__(self, dataset: MovingShapes, features: Sequence[Features], batch: int, seed: int) -> None:
        super().__init__(dataset, batch, seed)
        self._features = features


class ClipBatches(_Seen):
    """Cached key images of each video, one of its captions, and a description of one of the key images."""

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """video (`models.mmi.pack`), texts, stills and the key image (B,) that each of them describes; facts of the
        captions and of what is shown (B, F). clauses: relations alone, each beside its opposite, and their facts."""
        specs = [self._specs[row] for row in rows]
        placed = [spec for spec in specs if spec.relation][: len(specs) // 4 + 1]
        placed += [replace(spec, relation=OPPOSITE[spec.relation]) for spec in placed]
        features = [self._features[row] for row in rows]
        chosen = [int(dice.integers(len(each.segments))) for each in features]
        times = [float(each.segments[place, 2]) for each, place in zip(features, chosen, strict=True)]
        return {
            "ids": list(rows),
            "video": pack(features),
            "texts": [_any(_captions(spec), dice) for spec in specs],
            "facts": facts(specs, told=True),
            "shown": facts(specs, told=False),
            "stills": [_any(stills(spec, time), dice) for spec, time in zip(specs, times, strict=True)],
            "places": torch.tensor(chosen),
            "clauses": [_any(related(spec), dice) for spec in placed],
            "placed": relation_facts(placed),
        }


class TalkBatches(_Seen):
    """Cached key images or a caption of each video, and what is to be said about them; or skeletons to be judged.

    looking, reading: shares of the talks about key images, and about captions.
    """

    def __init__(
        self,
        dataset: MovingShapes,
        features: Sequence[Features],
        batch: int,
        seed: int,
        *,
        looking: float = 0.75,
        reading: float = 0.15,
    ) -> None:
        super().__init__(dataset, features, batch, seed)
        self._looking, self._reading = looking, reading

    def batch(self, rows: Sequence[int], dice: np.random.Generator) -> Batch:
        """video (`models.mmi.pack`), talks, the facts (B, F) of what each of them is about, and the latest events of
        each video, (K, E) of its key images."""
        talks, known = [], []
        for at, row in enumerate(rows):
            spec, kind = self._specs[row], dice.random()
            if kind < self._looking:
                talks.append(look(spec, dice))
                known.append(facts([spec], told=False))
            elif kind < self._looking + self._reading:
                if dice.random() < _PROPOSED:
                    others = dice.integers(len(rows), size=_SAMPLES - 1)
                    talks.append(propose([spec, *(self._specs[rows[other]] for other in others)], dice))
                else:
                    talks.append(read(spec, dice))
                known.append(facts([spec], told=True))
            else:
                other = rows[at ^ 1] if dice.random() < _TWIN and at ^ 1 < len(rows) else rows[dice.integers(len(rows))]
                talks.append(judge(spec, self._specs[other], dice))
                known.append(torch.full_like(facts([spec], told=True), IGNORED))
        features = [self._features[row] for row in rows]
        events = [
            torch.tensor(latest(self._specs[row], each.segments[:, 2].tolist()))
            for row, each in zip(rows, features, strict=True)
        ]
        return {
            "ids": list(rows),
            "video": pack(features),
            "talks": talks,
            "facts": torch.cat(known),
            "latest": events,
        }


def look(spec: Spec, dice: np.random.Generator) -> Talk:
    """Key images are described, or questions about them answered."""
    turns = [(DESCRIBE, _any(_captions(spec), dice))] if dice.random() < _DESCRIBED else []
    if dice.random() < _PROPOSED:
        turns.append((asked(templates.generate().asked("video"), True), proposal(spec)))
    return Talk("", True, [*turns, *_asked(spec, "video", dice, _QUESTIONS - 2 * len(turns))])


def read(spec: Spec, dice: np.random.Generator) -> Talk:
    """Questions about a caption are answered."""
    return Talk(about_text(_any(_captions(spec), dice)), False, _asked(spec, "text", dice, _QUESTIONS))


def propose(specs: Sequence[Spec], dice: np.random.Generator) -> Talk:
    """A question is proposed from captions, about the first of them."""
    template = templates.generate()
    said = "; ".join(_any(_captions(spec), dice) for spec in specs)
    turn = (asked(template.asked("text"), False), proposal(specs[0]))
    return Talk(about_text(f"{template.before} {said}"), False, [turn])


def proposal(spec: Spec) -> str:
    """The question that somebody who has seen this video might think of. Decision: its first action says which kind
    of question it is, so that other videos give other questions though the likeliest words are always taken."""
    kind = QUESTION_KINDS[ACTIONS.index(spec.events[0].action) % len(QUESTION_KINDS)]
    known = questions(spec)
    return next((question.text for question in known if question.kind == kind), known[0].text)


def judge(spec: Spec, other: Spec, dice: np.random.Generator) -> Talk:
    """Skeletons of a caption and of a video are compared: of this video, and of another one."""
    template, turns = templates.score(), []
    for own in dice.permutation([True, False]):
        asked_of = {about: _some(answerable(about), int(dice.integers(3, 8)), dice) for about in _ABOUT}
        said, shown, wanted = (
            "; ".join(truth(question, about)(each, about == "text") for question in asked_of[about])
            for each, about in ((spec, "text"), (spec if own else other, "video"), (spec, "video"))
        )
        prompt = template.prompt.format(text=said, video=shown)
        turns.append((prompt, template.positive if shown == wanted else template.negative))
    return Talk("", False, turns)


def _asked(spec: Spec, about: About, dice: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """So many questions and answers: of the pool, and one that is about this video alone."""
    looks = about == "video"
    known = questions(spec)
    special = known[int(dice.integers(len(known)))]
    turns = [(asked(special.text, looks), special.answer)] if looks or special.kind != "relations" or spec.told else []
    pool = _some(answerable(about), count - len(turns), dice)
    if dice.random() < _UNKNOWN:
        pool[:1] = _some(_unknowable(about), 1, dice)
    return [*turns, *((asked(text, looks), truth(text, about)(spec, not looks)) for text in pool)]


@lru_cache
def _unknowable(about: About) -> tuple[str, ...]:
    """Questions of the packaged pool that nothing in this world answers."""
    pool = yaml.safe_load(config.find("prompts", about).read_text(encoding="utf-8"))
    return tuple(each["text"] for each in pool["questions"] if each["text"] not in answerable(about))


def _some(texts: Sequence[str], count: int, dice: np.random.Generator) -> list[str]:
    return [texts[at] for at in dice.permutation(len(texts))[:count]]


def same(texts: Sequence[str]) -> Tensor:
    """A number for each text; equal texts have the same, in every process. (B,) int64."""
    return torch.tensor([zlib.crc32(text.encode()) for text in texts])


def corpus(specs: Sequence[Spec]) -> Iterator[str]:
    """Captions, descriptions and their own questions of these videos, for the tokenizers."""
    for spec in specs:
        yield from captions(spec)
        yield from stills(spec, spec.starts[0] / 1000)
        for question in questions(spec):
            yield from (question.text, question.answer)


def answers(specs: Sequence[Spec]) -> Iterator[str]:
    """The pools' questions and their answers, for the language model's tokenizer."""
    for spec in specs:
        for about in _ABOUT:
            for text in (*answerable(about), *_unknowable(about)):
                yield from (text, truth(text, about)(spec, about == "text"))


def _any(options: Sequence[str], dice: np.random.Generator) -> str:
    return options[int(dice.integers(len(options)))]


def _moment(spec: Spec, dice: np.random.Generator) -> float:
    """A time in seconds, rather within an event than between two."""
    if dice.random() < _BUSY:
        spins = [start for start, event in zip(spec.starts, spec.events, strict=True) if event.action == "spins"]
        starts = spins or spec.starts  # an angle is the hardest thing to see
        start = starts[int(dice.integers(len(starts)))]
        return float(start + dice.random() * spec.length) / 1000
    return float(dice.random() * spec.duration) / 1000


def _named(spec: Spec, time: float, dice: np.random.Generator) -> tuple[str, int]:
    """The name of a single shape that is visible, and the number of the region that its centre is in."""
    there = seen(spec, time)
    if not there:
        return "nothing", int(dice.integers(REGIONS**2))
    chosen = there[int(dice.integers(len(there)))]
    column, row = (min(REGIONS - 1, int(place * REGIONS)) for place in chosen.centre)
    return chosen.name, row * REGIONS + column
