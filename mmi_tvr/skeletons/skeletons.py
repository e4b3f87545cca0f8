"""Skeletons: what a query and a video answer to the chosen questions; each answer is asked for once and kept.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ..errors import AnswerError, MediaError
from ..media.video import frames_at
from ..protocols import Answerer
from ..types import Answer, AnswerRequest, Features, Pixels, Skeleton
from ..utils.hashing import digest
from .store import Store

_TOGETHER = 16  # videos whose answers are committed together: what a kill may cost
_REMEMBERED = 256  # queries whose skeletons a describer keeps in memory
_LONGEST = 2000  # characters of an answer: what an answerer raves beyond that is cut off (decision)
_SIDE = 336  # pixels, the shorter side of the pictures that an answerer is shown (decision: LLaVA-1.5's own)


class Question(Protocol):
    """What is used of a pool's question."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class View:
    """A video as its questions see it: the times (K,) of its key images, and how to get at what an answerer needs.

    Either call may raise MediaError. `content` is the SHA-256 of the file, under which answers are kept; without it
    they are not. `key_images` is a fingerprint of how the key images were chosen.
    """

    times: tuple[float, ...]
    features: Callable[[], Features]
    pictures: Callable[[], Sequence[Pixels]]
    content: str = ""
    key_images: str = ""


def pictures_at(paths: Sequence[Path], times: Sequence[float]) -> list[Pixels]:
    """What a video shows at these times, from the first of its files that can be read. MediaError where none can."""
    refused = MediaError("video", "no file is left of it")
    for path in paths:
        try:
            return list(frames_at(path, times, size=_SIDE).pixels)
        except MediaError as error:
            refused = error
        except OSError as error:
            refused = MediaError(path, error.strerror or str(error))
    raise refused


def text_skeleton(text: str, questions: Sequence[Question], answerer: Answerer) -> Skeleton:
    """The answers of a text. Raises what the answerer raises where it cannot work at all."""
    return text_skeletons([text], questions, answerer)[0]


def text_skeletons(texts: Sequence[str], questions: Sequence[Question], answerer: Answerer) -> list[Skeleton]:
    """The answers of several texts, asked together."""
    given = iter(
        _answers([AnswerRequest(question.text, text=text) for text in texts for question in questions], answerer)
    )
    return [tuple(_line(question, next(given)) for question in questions) for _ in texts]


def video_skeleton(view: View, questions: Sequence[Question], answerer: Answerer) -> Skeleton:
    """The answers of one video, which are not kept; `Describer` keeps them."""
    return Describer((), questions, answerer).of([view])[0]


def plain(skeleton: Skeleton) -> str:
    """A skeleton as the judge reads it: the answers in the order of the questions, joined by "; ".

    Decision: without the questions, which are the same for all texts and for all videos; without what has no answer.

    >>> plain((Answer("who", "Who?", "a dog"), Answer("where", "Where?", "", error="timed out")))
    'a dog'
    """
    return "; ".join(line.text for line in skeleton if line.text)


class Describer:
    """Asks the chosen questions of both pools. Keeps what videos answer in a store, and the last queries in memory."""

    def __init__(
        self, texts: Sequence[Question], videos: Sequence[Question], answerer: Answerer, store: Store | None = None
    ) -> None:
        self.texts, self.videos = texts, videos
        self.answerer = answerer
        self.store = store
        self._queries: dict[str, Skeleton] = {}

    def text(self, text: str) -> Skeleton:
        """The skeleton of a query; one with an error is made anew the next time."""
        if text not in self._queries:
            skeleton = text_skeleton(text, self.texts, self.answerer)
            if any(line.error for line in skeleton):
                return skeleton
            if len(self._queries) >= _REMEMBERED:
                del self._queries[next(iter(self._queries))]
            self._queries[text] = skeleton
        return self._queries[text]

    def of(self, views: Sequence[View], advance: Callable[[int], object] = lambda videos: None) -> list[Skeleton]:
        """The skeletons of videos: out of the store, and where it has no answer, asked for and kept, batch by batch.

        `advance` hears how many more videos are done. An error is not kept, so the question is asked again the next
        time. A video that cannot be looked at has the reason in its lines. Raises what the answerer raises where it
        cannot work at all; the batches before that are kept.
        """
        skeletons: list[Skeleton] = []
        for first in range(0, len(views), _TOGETHER):
            batch = views[first : first + _TOGETHER]
            skeletons += self._batch(batch)
            advance(len(batch))
        return skeletons

    def known(self, views: Sequence[View], reason: str) -> list[Skeleton]:
        """What the store has of these videos; an answer that it does not have is an error with this `reason`."""
        kept: Mapping[tuple[str, str], str] = {}
        if self.store is not None:
            keys = {self._key(question, view) for view in views for question in self.videos}
            kept = self.store.get({view.content for view in views if view.content}, keys)
        return [
            tuple(
                _line(question, kept.get((view.content, self._key(question, view)), AnswerError(reason)), view.times)
                for question in self.videos
            )
            for view in views
        ]

    def _batch(self, views: Sequence[View]) -> list[Skeleton]:
        lines = [list(skeleton) for skeleton in self.known(views, "was not asked")]
        asks: list[tuple[int, int, AnswerRequest]] = []  # number of the view, of the question, what is asked
        for at, view in enumerate(views):
            wanted = [q for q, line in enumerate(lines[at]) if line.error]
            try:
                asks += [(at, q, ask) for q, ask in self._asks(view, wanted)]
            except MediaError as error:
                for q in wanted:
                    lines[at][q] = _line(self.videos[q], AnswerError(str(error)), view.times)
        given = _answers([ask for *_, ask in asks], self.answerer)
        for (at, q, _), found in zip(asks, given, strict=True):
            lines[at][q] = _line(self.videos[q], found, views[at].times)
        fresh = [(views[at], q, lines[at][q]) for at, q, _ in asks if views[at].content and not lines[at][q].error]
        if self.store is not None and fresh:
            self.store.put((view.content, self._key(self.videos[q], view), line.text) for view, q, line in fresh)
        return [tuple(own) for own in lines]

    def _asks(self, view: View, wanted: Sequence[int]) -> list[tuple[int, AnswerRequest]]:
        """Questions by their numbers, put to one video, which is looked at once. MediaError where it cannot be."""
        if not wanted:
            return []
        if self.answerer.sees == "features":
            features = view.features()
            return [(q, AnswerRequest(self.videos[q].text, features=features)) for q in wanted]
        pictures = tuple(view.pictures())
        return [(q, AnswerRequest(self.videos[q].text, pictures=pictures)) for q in wanted]

    def _key(self, question: Question, view: View) -> str:
        """Hash of all that changes the answer of a given content to one question; the answerer's own words are in its
        fingerprint."""
        return digest(question.text, self._maker, view.key_images)

    @cached_property
    def _maker(self) -> str:
        return self.answerer.fingerprint()


def _answers(asks: Sequence[AnswerRequest], answerer: Answerer) -> Sequence[str | AnswerError]:
    """An answer or an error to each. AnswerError where the answerer did not even keep count."""
    given = answerer.answer(asks) if asks else []
    if len(given) != len(asks):
        raise AnswerError(f"{answerer.name} gave {len(given)} answers to {len(asks)} questions")
    return given


def _line(question: Question, found: object, times: tuple[float, ...] = ()) -> Answer:
    """One line of a skeleton, on one line, of characters that every tokenizer and every page can take."""
    if isinstance(found, AnswerError):
        return Answer(question.id, question.text, "", times, str(found) or "no answer")
    if not isinstance(found, str):
        return Answer(question.id, question.text, "", times, f"no answer, but {type(found).__name__}")
    text = " ".join(found[:_LONGEST].replace("\0", " ").encode("utf-8", "replace").decode().split())
    return Answer(question.id, question.text, text, times)
