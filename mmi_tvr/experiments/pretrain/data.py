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
from torch import Tensor

from ... import prompt_templates
from ...datasets.moving_shapes import (
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
from ...models.mmi.network import pack
from ...nn.losses import IGNORE_INDEX
from ...questions import selection
from ...questions.pool import load as load_pool
from ...train.protocol import Batch
from ...train.sampler import TwinSampler
from ...types import Features
from ...utils import distributed
from .facts import facts, latest, places, relation_facts
from .language import DESCRIBE, Talk, about_skeleton, about_text, asked, compared
from .layout import IMAGE_SIZE, REGIONS

About = Literal["text", "video"]
_ABOUT: tuple[About, ...] = ("text", "video")
_NOISE = 3.0  # grey levels: about what H.264 does to a picture of this size
_BUSY = 0.6  # share of the pictures that are taken from within an event
_captions = lru_cache(maxsize=None)(captions)  # telling one takes longer than reading it
_DESCRIBED = 0.3  # share of the videos that are described
_QUESTIONS = 6  # in one talk
_JUDGED = 4  # skeletons of videos in one talk
_CHOSEN = 0.3  # share of the talks about skeletons that have the chosen questions
_MORE = 5  # in the others, fewer than so many questions beside those that matter
_TWIN = 0.5  # share of the wrong ones that are the twin's
_REORDERED = 0.3  # share of them in which the same events come the other way round
_MISTAKEN = 0.05  # share of the answers in a skeleton that are another video's
_UNKNOWN = 0.5  # share of the talks with a question that has no answer here
_PROPOSED = 0.1  # share of the talks about videos, and about captions, in which a question is to be proposed
_SAMPLES = 3  # captions that a question is proposed from


class _Drawn(ABC):
    """Batches of a split's videos, twins together (`train.protocol.Batches`)."""

    def __init__(self, dataset: MovingShapes, batch: int, seed: int) -> None:
        self._specs = dataset.specs()
        self._sampler = TwinSampler(dataset.groups(), batch, seed, distributed.rank(), distributed.world_size())
        self._seed = seed

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """This process's batches of one epoch, without the first `skip`."""
        for at, rows in enumerate(self._sampler.batches(number, skip), skip):
            yield self.batch(rows, np.random.default_rng([self._seed, number, at, distributed.rank()]))

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
        looking: float = 0.6,
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
                twin = at ^ 1 if at ^ 1 < len(rows) else at
                other, anyone = self._specs[rows[twin]], self._specs[rows[int(dice.integers(len(rows)))]]
                talks.append(judge(spec, [rival(spec, other, anyone, dice) for _ in range(_JUDGED)], dice))
                known.append(torch.full_like(facts([spec], told=True), IGNORE_INDEX))
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
        turns.append((asked(prompt_templates.generate().asked("video"), True), proposal(spec)))
    return Talk("", True, [*turns, *_asked(spec, "video", dice, _QUESTIONS - 2 * len(turns))])


def read(spec: Spec, dice: np.random.Generator) -> Talk:
    """Questions about a caption are answered."""
    return Talk(about_text(_any(_captions(spec), dice)), False, _asked(spec, "text", dice, _QUESTIONS))


def propose(specs: Sequence[Spec], dice: np.random.Generator) -> Talk:
    """A question is proposed from captions, about the first of them."""
    template = prompt_templates.generate()
    said = "; ".join(_any(_captions(spec), dice) for spec in specs)
    turn = (asked(template.asked("text"), False), proposal(specs[0]))
    return Talk(about_text(f"{template.before} {said}"), False, [turn])


def proposal(spec: Spec) -> str:
    """The question that somebody who has seen this video might think of. Decision: its first action says which kind
    of question it is, so that other videos give other questions though the likeliest words are always taken."""
    kind = QUESTION_KINDS[ACTIONS.index(spec.events[0].action) % len(QUESTION_KINDS)]
    known = questions(spec)
    return next((question.text for question in known if question.kind == kind), known[0].text)


def rival(spec: Spec, twin: Spec, anyone: Spec, dice: np.random.Generator) -> Spec:
    """A video that is not this one. Nothing is rendered, so it can be one that no split has (twins of order are too
    few for a judge to learn from), or that cannot be: a thing that acts before it appears is wrong all the same."""
    kind = dice.random()
    if kind < _REORDERED and len(spec.events) > 1:
        return replace(spec, events=spec.events[::-1])
    return twin if kind < _REORDERED + _TWIN else anyone


def judge(spec: Spec, others: Sequence[Spec], dice: np.random.Generator) -> Talk:
    """The skeleton of a caption is compared with skeletons of videos, one for each of the `others`: half of them are
    of its own video, half of the other. Some of their answers are mistaken, as those of real skeletons are."""
    told, seen_of = _questions_of_skeletons(spec, others[0], dice)
    said = (truth(text, "text")(spec, True) for text in told)
    asked_of = [truth(text, "video") for text in seen_of]
    expected = [answer(spec, False) for answer in asked_of]
    talked = []
    for other in others:
        shown, stray = (spec, other) if dice.random() < 0.5 else (other, spec)
        clean = [answer(shown, False) for answer in asked_of]
        answers = [
            answer(stray, False) if dice.random() < _MISTAKEN else right
            for answer, right in zip(asked_of, clean, strict=True)
        ]
        talked.append(compared(answers, expected, clean == expected))
    turns = [(prompt, reply) for prompt, reply, _ in talked]
    return Talk(about_skeleton("; ".join(said)), False, turns, [spans for *_, spans in talked])


def _questions_of_skeletons(spec: Spec, other: Spec, dice: np.random.Generator) -> tuple[Sequence[str], Sequence[str]]:
    """What a caption and videos are asked: the chosen questions, or a few. Decision: one of these few is answered
    otherwise by another video, and the caption tells mostly what the videos are asked. With unrelated questions, or
    always with as many as are chosen, things were compared and never what they do: events stayed at chance."""
    if dice.random() < _CHOSEN:
        return _chosen("text"), _chosen("video")
    told = {text: truth(text, "text")(spec, True) for text in answerable("text")}
    expected = {text: truth(text, "video")(spec, False) for text in answerable("video")}
    telling = [text for text, answer in expected.items() if truth(text, "video")(other, False) != answer]
    videos = _some(telling, 1, dice) + _some(list(expected), int(dice.integers(_MORE)), dice)
    texts = _some(list(told), int(dice.integers(_MORE)), dice)
    for video in videos:
        texts += _some([text for text, answer in told.items() if answer == expected[video]], 1, dice)
    return _some(texts, len(texts), dice) or _chosen("text"), _some(videos, len(videos), dice) or _chosen("video")


@lru_cache
def _chosen(about: About) -> tuple[str, ...]:
    """The questions of the packaged pool that searches ask, as far as something in this world answers them."""
    return tuple(each.text for each in selection.selected_questions(load_pool(about)) if each.text in answerable(about))


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
    return tuple(each.text for each in load_pool(about).questions if each.text not in answerable(about))


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
