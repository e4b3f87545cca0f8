"""What is said about videos, captions and skeletons: prompts, and the replies that are true.

A conversation is about one thing (key images, a text, a text skeleton) and has turns that do not see each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from ... import prompt_templates
from ...datasets.moving_shapes import ACTIONS, QUESTION_KINDS, Spec, answerable, captions, questions, truth
from ...questions import selection
from ...questions.pool import load as load_pool

About = Literal["text", "video"]
Item = TypeVar("Item")

DESCRIBE = " Describe this video:"
JUDGED_SKELETONS = 4  # skeletons of videos in one conversation
_QUESTIONS = 6  # in one conversation
_DESCRIBED_SHARE = 0.3  # share of the videos that are described
_SELECTED_SHARE = 0.3  # share of the conversations about skeletons that have the chosen questions
_MAX_FURTHER = 5  # in the others, fewer than so many questions beside those that matter
_TWIN_SHARE = 0.5  # share of the hard negatives that are the twin
_REORDERED_SHARE = 0.3  # share of them in which the same events come the other way round
_MISTAKEN_SHARE = 0.05  # share of the answers in a skeleton that are another video's
_UNKNOWN_SHARE = 0.5  # share of the conversations with a question that has no answer here
PROPOSED_SHARE = 0.1  # share of those about videos, and of those about captions, in which a question is proposed
_captions = lru_cache(maxsize=None)(captions)  # telling one takes longer than reading it


class AnswerSpan(NamedTuple):
    """An answer in a prompt, in characters: from `start` to `end`, and as expected up to `agreed`."""

    start: int
    agreed: int
    end: int


class Conversation(NamedTuple):
    """What a conversation is about ("" for the pictures), whether they are shown, and turns of a prompt and the reply
    to it. Where the replies are judgements, `answers` says of each turn which answers it shows."""

    context: str
    with_images: bool
    turns: Sequence[tuple[str, str]]
    answers: Sequence[Sequence[AnswerSpan]] = ()


def text_context(text: str) -> str:
    """Return the part of a prompt that all questions about a text share."""
    return _halves(prompt_templates.answer().text, "{text}")[0].format(text=text.replace('"', "'"))


def question_prompt(question: str, with_images: bool) -> str:
    """Return the rest of the prompt: the question, about key images or about a text."""
    template = prompt_templates.answer()
    _, rest = _halves(template.video, "{images}") if with_images else _halves(template.text, "{text}")
    return rest.format(question=question)


def skeleton_context(text: str) -> str:
    """Return the part of a prompt that all comparisons with a text skeleton share."""
    return _halves(prompt_templates.judge().prompt, "{text}")[0].format(text=text)


def comparison(shown: Sequence[str], expected: Sequence[str], same: bool) -> tuple[str, str, list[AnswerSpan]]:
    """Return the rest of the prompt, with the answers of a video skeleton; the reply to it; and which of the answers
    are as expected, and how far."""
    template = prompt_templates.judge()
    before, _, behind = _halves(template.prompt, "{text}")[1].partition("{video}")
    spans, start = [], len(before)
    for answer, right in zip(shown, expected, strict=True):
        end = start + len(answer) + 1  # what stands behind it shows that nothing is missing
        agreeing = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(answer, right, strict=False))
        spans.append(AnswerSpan(start, end if answer == right else start + len(list(agreeing)), end))
        start = end + 1
    reply = template.positive if same else template.negative
    return before + "; ".join(shown) + behind, reply, spans


def _halves(template: str, place: str) -> tuple[str, str]:
    """Return a template cut at the first space behind a place: there, tokens begin anew."""
    cut = template.index(" ", template.index(place))
    return template[:cut], template[cut:]


def video_conversation(spec: Spec, dice: np.random.Generator) -> Conversation:
    """Return a conversation in which key images are described, or questions about them answered."""
    turns = [(DESCRIBE, draw_caption(spec, dice))] if dice.random() < _DESCRIBED_SHARE else []
    if dice.random() < PROPOSED_SHARE:
        turns.append((question_prompt(prompt_templates.generate().request("video"), True), proposed_question(spec)))
    return Conversation("", True, [*turns, *_question_turns(spec, "video", dice, _QUESTIONS - 2 * len(turns))])


def caption_conversation(spec: Spec, dice: np.random.Generator) -> Conversation:
    """Return a conversation in which questions about a caption are answered."""
    context = text_context(draw_caption(spec, dice))
    return Conversation(context, False, _question_turns(spec, "text", dice, _QUESTIONS))


def proposing_conversation(specs: Sequence[Spec], dice: np.random.Generator) -> Conversation:
    """Return a conversation in which a question is proposed from captions, about the first of them."""
    template = prompt_templates.generate()
    texts = "; ".join(draw_caption(spec, dice) for spec in specs)
    turn = (question_prompt(template.request("text"), False), proposed_question(specs[0]))
    return Conversation(text_context(f"{template.before} {texts}"), False, [turn])


def proposed_question(spec: Spec) -> str:
    """Return the question that somebody who has seen this video might think of. Decision: its first action says which
    kind of question it is, so that other videos give other questions though the likeliest words are always taken."""
    kind = QUESTION_KINDS[ACTIONS.index(spec.events[0].action) % len(QUESTION_KINDS)]
    candidates = questions(spec)
    return next((question.text for question in candidates if question.kind == kind), candidates[0].text)


def hard_negative(spec: Spec, twin: Spec, other: Spec, dice: np.random.Generator) -> Spec:
    """Return a video that is not this one: the same events the other way round, its twin, or another one.

    Nothing is rendered, so it can be one that no split has (twins of order are too few for a judge to learn from), or
    that cannot be: a thing that acts before it appears is wrong all the same.

    Args:
        spec: the video.
        twin: differs from it in one thing.
        other: any video.
        dice: chooses between the three.
    """
    drawn = dice.random()
    if drawn < _REORDERED_SHARE and len(spec.events) > 1:
        return replace(spec, events=spec.events[::-1])
    return twin if drawn < _REORDERED_SHARE + _TWIN_SHARE else other


def judging_conversation(spec: Spec, others: Sequence[Spec], dice: np.random.Generator) -> Conversation:
    """Return a conversation in which the skeleton of a caption is compared with skeletons of videos, one for each of
    the `others`: half of them are of its own video, half of the other. Some of their answers are mistaken, as those of
    real skeletons are."""
    text_questions, video_questions = skeleton_questions(spec, others[0], dice)
    text_answers = [truth(text, "text")(spec, True) for text in text_questions]
    truths = [truth(text, "video") for text in video_questions]
    expected = [true_answer(spec, False) for true_answer in truths]
    turns, spans = [], []
    for other in others:
        shown, mistaken_for = (spec, other) if dice.random() < 0.5 else (other, spec)
        right = [true_answer(shown, False) for true_answer in truths]
        answers = [
            true_answer(mistaken_for, False) if dice.random() < _MISTAKEN_SHARE else answer
            for true_answer, answer in zip(truths, right, strict=True)
        ]
        prompt, reply, answer_spans = comparison(answers, expected, right == expected)
        turns.append((prompt, reply))
        spans.append(answer_spans)
    return Conversation(skeleton_context("; ".join(text_answers)), False, turns, spans)


def skeleton_questions(spec: Spec, other: Spec, dice: np.random.Generator) -> tuple[Sequence[str], Sequence[str]]:
    """Return the questions about a caption and about videos: the chosen ones, or a few. Decision: one of these few is
    answered otherwise by another video, and the caption answers mostly what the videos are asked. With unrelated
    questions, or always with as many as are chosen, things were compared and never what they do: events stayed at
    chance."""
    if dice.random() < _SELECTED_SHARE:
        return selected_questions("text"), selected_questions("video")
    text_answers = {text: truth(text, "text")(spec, True) for text in answerable("text")}
    video_answers = {text: truth(text, "video")(spec, False) for text in answerable("video")}
    telling = [text for text, answer in video_answers.items() if truth(text, "video")(other, False) != answer]
    videos = _draw_some(telling, 1, dice) + _draw_some(list(video_answers), int(dice.integers(_MAX_FURTHER)), dice)
    texts = _draw_some(list(text_answers), int(dice.integers(_MAX_FURTHER)), dice)
    for video in videos:
        same_answer = [text for text, answer in text_answers.items() if answer == video_answers[video]]
        texts += _draw_some(same_answer, 1, dice)
    shuffled_texts = _draw_some(texts, len(texts), dice)
    shuffled_videos = _draw_some(videos, len(videos), dice)
    return shuffled_texts or selected_questions("text"), shuffled_videos or selected_questions("video")


@lru_cache
def selected_questions(about: About) -> tuple[str, ...]:
    """Return the questions of the packaged pool that searches ask, as far as something in this world answers them."""
    selected = selection.selected_questions(load_pool(about))
    return tuple(question.text for question in selected if question.text in answerable(about))


def _question_turns(spec: Spec, about: About, dice: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """Return so many questions and answers: of the pool, and one that is about this video alone."""
    with_images = about == "video"
    candidates = questions(spec)
    special = draw_one(candidates, dice)
    turns = []
    if with_images or special.kind != "relations" or spec.relation_stated:
        turns.append((question_prompt(special.text, with_images), special.answer))
    pool = _draw_some(answerable(about), count - len(turns), dice)
    if dice.random() < _UNKNOWN_SHARE:
        pool[:1] = _draw_some(unanswerable_questions(about), 1, dice)
    turns += [(question_prompt(text, with_images), truth(text, about)(spec, not with_images)) for text in pool]
    return turns


@lru_cache
def unanswerable_questions(about: About) -> tuple[str, ...]:
    """Return the questions of the packaged pool that nothing in this world answers."""
    return tuple(question.text for question in load_pool(about).questions if question.text not in answerable(about))


def draw_caption(spec: Spec, dice: np.random.Generator) -> str:
    """Return one of a video's captions."""
    return draw_one(_captions(spec), dice)


def draw_one(items: Sequence[Item], dice: np.random.Generator) -> Item:
    """Return one of several items, all equally likely."""
    return items[int(dice.integers(len(items)))]


def _draw_some(texts: Sequence[str], count: int, dice: np.random.Generator) -> list[str]:
    return [texts[number] for number in dice.permutation(len(texts))[:count]]
