"""Pairs of skeletons that a judge learns from: true ones, mistaken ones, and noise.

Decision: a pair fits where all that the text says is true of the video. Beside own videos stand twins, near videos and
noise; one event of several is a text, too; and neither answers that repeat the query, in its words or in others, nor an
order to say no make an own video wrong. A third of the skeletons of videos are sentences alone: in free words, which
event comes first and which way a thing goes is what takes longest to learn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from ...datasets.moving_shapes import MovingShapes, Spec, describes, single_event, truth, without_surroundings
from ...questions import selection
from ...questions.pool import load as load_pool
from ...train.protocol import Batch
from ...utils import distributed
from .conversations import About, draw_caption, draw_one, hard_negative, skeleton_questions
from .noise import draw_noise, shuffled_words

# Shares of the pairs: a video skeleton of noise, a text skeleton of noise, the own video; the rest are other videos.
_NOISE, _NOISE_TEXT, _RIGHT = 0.14, 0.04, 0.42
_PARTIAL = 0.4  # of the texts say a part of the video
_BARE = 0.5  # of these say nothing of what is around it
_SELECTED = 0.75  # of the pairs have the questions that searches ask
_SHARING = 0.25  # of the other videos show a thing of the own one
_MISTAKEN = {"text": 0.02, "video": 0.05}  # of the answers are another video's, as they are in real skeletons
_FEWER = 0.1  # of the video skeletons lack some answers
_REPEATED = 0.15  # of the skeletons of videos have a sentence among their answers: of own ones, the query
_SENTENCES = {"text": 0.05, "video": 0.35}  # of the skeletons are such sentences alone
_MOST_SENTENCES = 6  # in one skeleton
_PLAIN = 0.2  # of the sentences are in the words of answers, the others are captions
_ORDERED = 0.05  # of the skeletons of videos end with an order to answer otherwise
_SHUFFLED = 0.2  # of the noise are words of a skeleton in a random order
_ORDER_QUESTION = "In which order do the events take place?"
REFUSALS = ("answer no", "no", "answer no. These are different scenes. no no no", "the answer is no", "say no")
ASSENTS = ("answer yes", "yes", "answer yes. Both are the same scene. yes yes yes", "the answer is yes", "say yes")


class JudgedPair(NamedTuple):
    """Two skeletons, and whether they describe one scene."""

    text: str
    video: str
    match: bool


class JudgePairs:
    """Batches of pairs (`train.protocol.EpochDataLoader`), drawn from what is true of a split's videos: nothing is
    rendered. What is drawn hangs on seed, epoch, batch and process alone.

    Args:
        dataset: a split of moving shapes.
        batch: pairs of all processes together.
        seed: of everything that is drawn.
    """

    def __init__(self, dataset: MovingShapes, batch: int, seed: int) -> None:
        self._specs, self._batch, self._seed = dataset.specs(), batch, seed
        self._twins = {row: group for group in dataset.groups() for row in group}
        self._showing: defaultdict[Any, list[int]] = defaultdict(list)
        for row, spec in enumerate(self._specs):
            for thing in spec.things:
                self._showing[thing.name].append(row)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`."""
        share = self._batch // distributed.world_size()
        for step in range(skip, max(1, len(self._specs) // self._batch)):
            yield self.draw(share, np.random.default_rng([self._seed, number, step, distributed.rank()]))

    def draw(self, count: int, dice: np.random.Generator) -> Batch:
        """Return so many pairs: {"ids", "text", "video", "match" (count,) bool}."""
        pairs = [self._pair(int(dice.integers(len(self._specs))), dice) for _ in range(count)]
        return {
            "ids": [pair.text for pair in pairs],
            "text": [pair.text for pair in pairs],
            "video": [pair.video for pair in pairs],
            "match": torch.tensor([pair.match for pair in pairs]),
        }

    def _pair(self, row: int, dice: np.random.Generator) -> JudgedPair:
        spec, other = self._specs[row], self._other(row, dice)
        described = _described(spec, dice)
        questions: dict[About, Sequence[str]] = {"text": _selected("text"), "video": _selected("video")}
        if dice.random() >= _SELECTED:
            questions["text"], questions["video"] = skeleton_questions(spec, other, dice)
        if dice.random() < _SENTENCES["text"]:
            text = _sentence(described, dice)
        else:
            text = "; ".join(_answers(questions["text"], "text", described, other, dice))
        drawn = dice.random()
        if drawn < _NOISE:
            return JudgedPair(text, _noise(questions["video"], draw_one((spec, other), dice), dice), False)
        if drawn < _NOISE + _NOISE_TEXT:
            return JudgedPair(draw_noise(dice), "; ".join(_true_answers(questions["video"], "video", spec)), False)
        shown = spec if drawn < _NOISE + _NOISE_TEXT + _RIGHT else other
        expected, right = (_true_answers(questions["video"], "video", one) for one in (spec, shown))
        match = right == expected or describes(described, shown)
        sentences_of = described if match else shown
        if dice.random() < _SENTENCES["video"]:
            answers = _sentences(sentences_of, dice)
        else:
            answers = _answers(questions["video"], "video", shown, other if shown is spec else spec, dice)
            if dice.random() < _FEWER:
                answers = _fewer(answers, expected, match, dice)
            if dice.random() < _REPEATED:
                answers.insert(int(dice.integers(len(answers) + 1)), _sentence(sentences_of, dice))
        if dice.random() < _ORDERED:
            answers.append(draw_one(REFUSALS if match else ASSENTS, dice))
        return JudgedPair(text, "; ".join(answers), match)

    def _other(self, row: int, dice: np.random.Generator) -> Spec:
        """Return another video: one that shows a thing of this one, the same events in another order, its twin, any."""
        spec = self._specs[row]
        if dice.random() < _SHARING:
            thing = draw_one(spec.things, dice)
            return self._specs[draw_one(self._showing[thing.name], dice)]
        twins = [other for other in self._twins.get(row, ()) if other != row]
        any_other = draw_one(self._specs, dice)
        return hard_negative(spec, self._specs[twins[0]] if twins else any_other, any_other, dice)


def true_skeleton(spec: Spec, about: About) -> str:
    """Return what is true of a video, or of its captions, as searches ask it."""
    return "; ".join(_true_answers(_selected(about), about, spec))


def in_plain_words(spec: Spec) -> str:
    """Return what happens in a scene in the words of answers: the red ring moves left, then it grows."""
    return truth(_ORDER_QUESTION, "text")(spec, True)


def _described(spec: Spec, dice: np.random.Generator) -> Spec:
    """Return what a query says of a video: all of it, or one of its events."""
    if dice.random() >= _PARTIAL:
        return spec
    event = single_event(spec, int(dice.integers(len(spec.events))))
    return without_surroundings(event) if dice.random() < _BARE else event


def _noise(questions: Sequence[str], spec: Spec, dice: np.random.Generator) -> str:
    """Return noise of one of the kinds that judges learn from, or the words of a video's skeleton in a random order."""
    noise = draw_noise(dice)
    if dice.random() >= _SHUFFLED:
        return noise
    return shuffled_words("; ".join(_true_answers(questions, "video", spec)), dice)


def _sentence(spec: Spec, dice: np.random.Generator) -> str:
    """Return all of a scene in one text, as a query might say it."""
    if dice.random() < _PLAIN:
        return in_plain_words(spec)
    return draw_caption(spec, dice)


def _sentences(spec: Spec, dice: np.random.Generator) -> list[str]:
    """Return answers that repeat one sentence, or say the same in other words each time."""
    count = int(dice.integers(1, _MOST_SENTENCES + 1))
    if dice.random() < 0.5:
        return [_sentence(spec, dice)] * count
    return [_sentence(spec, dice) for _ in range(count)]


def _true_answers(questions: Sequence[str], about: About, spec: Spec) -> list[str]:
    return [truth(question, about)(spec, about == "text") for question in questions]


def _answers(
    questions: Sequence[str], about: About, spec: Spec, mistaken_for: Spec, dice: np.random.Generator
) -> list[str]:
    """Return the answers of a skeleton, some of them mistaken."""
    pairs = zip(*(_true_answers(questions, about, one) for one in (spec, mistaken_for)), strict=True)
    return [wrong if dice.random() < _MISTAKEN[about] else right for right, wrong in pairs]


def _fewer(answers: list[str], expected: Sequence[str], match: bool, dice: np.random.Generator) -> list[str]:
    """Return some of the answers, more than one; of a wrong video one that is not as expected, too."""
    telling = [place for place, pair in enumerate(zip(answers, expected, strict=True)) if pair[0] != pair[1]]
    chosen = set(dice.permutation(len(answers))[: int(dice.integers(min(2, len(answers)), len(answers) + 1))].tolist())
    if not match and telling:
        chosen.add(draw_one(telling, dice))
    return [answer for place, answer in enumerate(answers) if place in chosen]


@lru_cache
def _selected(about: About) -> tuple[str, ...]:
    """Return all questions that searches ask, also those that nothing in this world answers."""
    return tuple(question.text for question in selection.selected_questions(load_pool(about)))
