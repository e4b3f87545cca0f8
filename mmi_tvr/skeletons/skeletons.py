"""Skeletons: what a query and a video answer to the chosen questions; each answer is asked for once and stored.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import AnswerError, MediaError
from ..media.video import frames_at
from ..protocols import Answerer
from ..types import Answer, AnswerRequest, Features, Pixels, ShownVideo, Skeleton, VideoInput, clean_text
from ..utils.budget import current
from ..utils.hashing import digest
from ..utils.loading import late_property
from ..utils.wording import counted
from .store import SkeletonStore

_VIDEO_BATCH = 16  # videos whose answers are committed together: what a kill may cost
_QUERY_CACHE = 256  # queries whose skeletons a describer keeps in memory
_MAX_ANSWER = 2000  # characters of an answer: what an answerer raves beyond that is cut off (decision)
_NOTHING = frozenset({"none", "unknown", "nothing", "no", "n/a", "无", "没有", "未知"})
_PICTURE_SIDE = 336  # pixels, the shorter side of the pictures that an answerer is shown (decision: LLaVA-1.5's own)


class SkeletonQuestion(Protocol):
    """The fields of a question that skeletons need; `questions.pool.PoolQuestion` has them."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def counterparts(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class VideoView:
    """A video as questions are asked about it: the times (K,) of its key images, and how to get at an answerer's input.

    Either call may raise MediaError. `content` is the SHA-256 of the file, under which answers are stored; without it
    they are not. `key_images` is a fingerprint of how the key images were chosen.
    """

    times: tuple[float, ...]
    features: Callable[[], Features]
    pictures: Callable[[], Sequence[Pixels]]
    content: str = ""
    key_images: str = ""

    def shown(self, video_input: VideoInput) -> ShownVideo:
        """Return what an answerer or a judge with this input gets of the key images. Raises MediaError."""
        if video_input == "features":
            return ShownVideo(features=self.features())
        return ShownVideo(pictures=tuple(self.pictures()))


VideoViews = Callable[[Sequence[int]], Mapping[int, VideoView]]  # video numbers -> those that can still be read


def pictures_at(paths: Sequence[Path], times: Sequence[float]) -> list[Pixels]:
    """Return what a video shows at these times (seconds), from the first of its files that can be read.

    Raises MediaError, that of the last file, where none can.
    """
    last_error = MediaError("video", "no file is left of it")
    for path in paths:
        try:
            return list(frames_at(path, times, size=_PICTURE_SIDE).pixels)
        except MediaError as error:
            last_error = error
        except OSError as error:
            last_error = MediaError(path, error.strerror or str(error))
    raise last_error


def text_skeleton(text: str, questions: Sequence[SkeletonQuestion], answerer: Answerer) -> Skeleton:
    """Return the answers of a text. Raises what the answerer raises where it cannot work at all."""
    return text_skeletons([text], questions, answerer)[0]


def text_skeletons(texts: Sequence[str], questions: Sequence[SkeletonQuestion], answerer: Answerer) -> list[Skeleton]:
    """Return the skeleton of each text, all questions asked in one batch."""
    requests = [AnswerRequest(question.text, text=text) for text in texts for question in questions]
    replies = iter(_replies(requests, answerer))
    return [tuple(_as_answer(question, next(replies)) for question in questions) for _ in texts]


def video_skeleton(view: VideoView, questions: Sequence[SkeletonQuestion], answerer: Answerer) -> Skeleton:
    """Return the answers of one video, which are not stored; `Describer` stores them."""
    return Describer((), questions, answerer).video_skeletons([view])[0]


def skeleton_text(skeleton: Skeleton) -> str:
    """Return a skeleton as the judge reads it: the answers in the order of the questions, joined by "; ".

    Decision: without the questions, which are the same for all texts and for all videos; without what has no answer.

    >>> skeleton_text((Answer("who", "Who?", "a dog"), Answer("where", "Where?", "", error="timed out")))
    'a dog'
    """
    return "; ".join(answer.text for answer in skeleton if answer.text)


def description_text(skeleton: Skeleton) -> str:
    """Return a skeleton as one description: each answer once, without those that say that there is nothing to say.

    >>> description_text((Answer("1", "Who?", "a dog"), Answer("2", "What?", "a dog"), Answer("3", "How?", "None.")))
    'a dog'
    """
    answers = [answer.text for answer in skeleton if answer.text and answer.text.strip(" .。").lower() not in _NOTHING]
    return "; ".join(dict.fromkeys(answers))


class Describer:
    """Asks the chosen questions of both pools. Stores what videos answer, and keeps the last queries in memory."""

    def __init__(
        self,
        text_questions: Sequence[SkeletonQuestion],
        video_questions: Sequence[SkeletonQuestion],
        answerer: Answerer,
        store: SkeletonStore | None = None,
    ) -> None:
        self.text_questions = text_questions
        self.video_questions = video_questions
        self.answerer = answerer
        self.store = store
        self._query_cache: dict[str, Skeleton] = {}

    def text_skeleton(self, text: str) -> Skeleton:
        """Return the skeleton of a query; one with an error is made anew the next time."""
        if text not in self._query_cache:
            skeleton = text_skeleton(text, self.text_questions, self.answerer)
            if any(answer.error for answer in skeleton):
                return skeleton
            if len(self._query_cache) >= _QUERY_CACHE:
                oldest = next(iter(self._query_cache))
                del self._query_cache[oldest]
            self._query_cache[text] = skeleton
        else:
            current().add(cached=len(self.text_questions))
        return self._query_cache[text]

    def video_skeletons(
        self, views: Sequence[VideoView], advance: Callable[[int], object] = lambda videos: None
    ) -> list[Skeleton]:
        """Return the skeletons of videos: from the store, and where it has no answer, asked for and stored in batches.

        An error is not stored, so the question is asked again the next time. A video that cannot be read has the
        reason in its answers.

        Args:
            views: the videos.
            advance: called with the number of videos that each batch finishes.

        Raises:
            Whatever the answerer raises where it cannot work at all; the batches before that are stored.
        """
        skeletons: list[Skeleton] = []
        for first in range(0, len(views), _VIDEO_BATCH):
            batch = views[first : first + _VIDEO_BATCH]
            skeletons += self._describe_batch(batch)
            advance(len(batch))
        return skeletons

    def stored_skeletons(self, views: Sequence[VideoView], reason: str) -> list[Skeleton]:
        """Return what the store has of these videos; an answer that it does not have is an error with this `reason`."""
        stored: Mapping[tuple[str, str], str] = {}
        if self.store is not None:
            keys = {self._key(question, view) for view in views for question in self.video_questions}
            stored = self.store.get({view.content for view in views if view.content}, keys)
        skeletons = []
        for view in views:
            answers = []
            for question in self.video_questions:
                reply = stored.get((view.content, self._key(question, view)), AnswerError(reason))
                answers.append(_as_answer(question, reply, view.times))
            skeletons.append(tuple(answers))
        return skeletons

    def _describe_batch(self, views: Sequence[VideoView]) -> list[Skeleton]:
        skeletons = [list(skeleton) for skeleton in self.stored_skeletons(views, "was not asked")]
        places: list[tuple[int, int]] = []  # number of the view, number of the question
        requests: list[AnswerRequest] = []
        for row, view in enumerate(views):
            open_questions = [number for number, answer in enumerate(skeletons[row]) if answer.error]
            current().add(cached=len(skeletons[row]) - len(open_questions))
            try:
                requests += self._requests(view, open_questions)
                places += [(row, number) for number in open_questions]
            except (MediaError, AnswerError) as error:
                for number in open_questions:
                    skeletons[row][number] = _as_answer(
                        self.video_questions[number], AnswerError(str(error)), view.times
                    )
        new_rows = []
        for (row, number), reply in zip(places, _replies(requests, self.answerer), strict=True):
            view, question = views[row], self.video_questions[number]
            answer = skeletons[row][number] = _as_answer(question, reply, view.times)
            if view.content and not answer.error:
                new_rows.append((view.content, self._key(question, view), answer.text))
        if self.store is not None and new_rows:
            self.store.put(new_rows)
        return [tuple(answers) for answers in skeletons]

    def _requests(self, view: VideoView, numbers: Sequence[int]) -> list[AnswerRequest]:
        """Return requests for questions by their numbers; the video is read once, and not where nothing is open.

        Raises MediaError where it cannot be read, AnswerError where the budget of the query is spent.
        """
        if not numbers:
            return []
        if shortage := current().shortage:
            raise AnswerError(shortage)
        shown = view.shown(self.answerer.video_input)
        return [AnswerRequest.of_video(self.video_questions[number].text, shown) for number in numbers]

    def _key(self, question: SkeletonQuestion, view: VideoView) -> str:
        """Hash all that changes the answer of a given content to one question; the answerer's prompt is in its
        fingerprint."""
        return digest(question.text, self._answerer_fingerprint, view.key_images)

    @late_property
    def _answerer_fingerprint(self) -> str:
        return self.answerer.fingerprint()


def _replies(requests: Sequence[AnswerRequest], answerer: Answerer) -> Sequence[str | AnswerError]:
    """Return an answer or an error to each request. Raises AnswerError where their number differs."""
    replies = answerer.answer(requests) if requests else []
    if len(replies) != len(requests):
        raise AnswerError(
            f"{answerer.name} gave {counted(len(replies), 'answer')} to {counted(len(requests), 'question')}"
        )
    return replies


def _as_answer(question: SkeletonQuestion, reply: object, times: tuple[float, ...] = ()) -> Answer:
    """Return a reply as an answer on one line, of characters that every tokenizer and every page can take."""
    if isinstance(reply, AnswerError):
        return Answer(question.id, question.text, "", times, str(reply) or "no answer")
    if not isinstance(reply, str):
        return Answer(question.id, question.text, "", times, f"no answer, but {type(reply).__name__}")
    return Answer(question.id, question.text, " ".join(clean_text(reply[:_MAX_ANSWER]).split()), times)
