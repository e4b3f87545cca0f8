"""Re-ranking of one library, tuned on captions of its videos (`evaluation.rerank_tuning`).

What videos answer is stored in the library, what captions answer and what was judged in the user's cache, so that an
interrupted run goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..evaluation.rerank_tuning import LAMBDAS, JudgedCandidates, Tuning, choices, tune
from ..protocols import Judge
from ..queries import checked_query, prepare
from ..rerank.skeleton import SkeletonReranker
from ..search import ResultOptions
from ..skeletons.skeletons import Describer, SkeletonQuestion, skeleton_text, text_skeletons
from ..skeletons.store import SkeletonStore
from ..types import Answer, Explanation, FloatArray, IdArray, Judgement, Query, Skeleton
from ..utils import array_cache
from ..utils.budget import Usage, spending
from ..utils.hashing import digest
from ..utils.progress import Progress
from .searching import LibraryReader

_JOURNAL = "tuning.sqlite"
_CAPTION_BATCH = 32  # captions that are asked together, and stored
_DEPTHS = (5, 10, 20)  # of which those are tried that the settings' own depth allows, and that one


@dataclass(frozen=True, slots=True)
class RerankingTuned:
    """What re-ranking adds to a library's searches (`tuning`), who judged, what that cost, and the captions' files
    that are not in the library. Decision: nobody looks at videos here, whatever weight the settings give that
    (`lambda_v`); skeletons alone are tuned."""

    tuning: Tuning
    judge: str
    usage: Usage
    unknown: tuple[Path, ...] = ()
    lambda_v: float = 0.0


def tune_reranking(
    reader: LibraryReader,
    captions: Mapping[Path, Sequence[str]],
    question_counts: Sequence[int] | None,
    progress: Progress,
) -> RerankingTuned:
    """Search, describe and judge every caption, and choose among settings by cross-validation.

    Args:
        reader: of the library.
        captions: of files of the library, by path.
        question_counts: how many of the chosen questions are tried; None: all, half of them, and one.
        progress: a stage for searching, one for each kind of description, one for each number of questions.

    Raises:
        UsageError: nothing is indexed; none of the files is in the library, or one alone; no model answers or judges.
        Exception: what answerer and judge raise.
    """
    catalogue = reader.catalogue()
    searcher = reader.searcher(catalogue)
    if searcher is None:
        raise UsageError(f"{reader.path}: nothing is indexed yet")
    reranker = reader.reranker(catalogue, searcher.model, True)
    if not isinstance(reranker, SkeletonReranker):
        raise UsageError("the settings re-rank by another method, which has no weight, depth or questions to tune")
    numbers = {path: number for number, entry in catalogue.entries(catalogue.searchable()).items() for path in entry[0]}
    pairs = [(numbers[path], text) for path, texts in captions.items() if path in numbers for text in texts]
    unknown = tuple(path for path in captions if path not in numbers)
    if not pairs:
        raise UsageError(f"none of these {len(captions):,} files is in {reader.path}: index their folder first")
    depths = sorted({*(depth for depth in _DEPTHS if depth < reranker.depth), reranker.depth})
    recorder = _Recorder(max(depths))
    progress.begin("searching", len(pairs))
    prepared = [prepare(checked_query(text), reader.settings.search.literal) for _, text in pairs]
    searcher.search_all(prepared, ResultOptions(1, 0.0, recorder))
    progress.advance(len(pairs))
    counts = _question_counts(question_counts, reranker)
    with spending() as budget, SkeletonStore(array_cache.folder() / _JOURNAL) as store:
        candidates = _Judging(reranker, _Journal(store), progress).candidates(pairs, recorder, counts)
    tuning = tune(candidates, choices(counts, depths, (*LAMBDAS, reranker.options.lambda_s)), reranker.options.lambda_r)
    return RerankingTuned(tuning, reranker.judge.name, budget.usage, unknown, reranker.options.lambda_v)


def _question_counts(requested: Sequence[int] | None, reranker: SkeletonReranker) -> list[int]:
    most = max(len(reranker.describer.text_questions), len(reranker.describer.video_questions))
    if requested is None:
        return sorted({1, (most + 1) // 2, most})
    if not requested or min(requested) < 1 or max(requested) > most:
        raise UsageError(f"numbers of questions lie between 1 and {most}, as many as are chosen")
    return sorted(set(requested))


class _Recorder:
    """A re-ranker that moves nothing, and notes what it was to re-rank: (numbers, cosines) of each query."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.seconds: Mapping[str, float] = {}
        self.ranked: list[tuple[IdArray, FloatArray]] = []

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> list[Explanation]:
        self.ranked.append((candidates, cosines))
        return [Explanation((), (), None, float(cosine), None) for cosine in cosines]


class _Judging:
    """Describes and judges the recorded candidates of captions."""

    def __init__(self, reranker: SkeletonReranker, journal: _Journal, progress: Progress) -> None:
        self._reranker = reranker
        self._journal = journal
        self._progress = progress

    def candidates(
        self, pairs: Sequence[tuple[int, str]], recorder: _Recorder, counts: Sequence[int]
    ) -> list[JudgedCandidates]:
        """Return the candidates of each (number of the video, caption), judged with each of these numbers of
        questions."""
        texts = self._texts([text for _, text in pairs])
        videos = self._videos({int(number) for numbers, _ in recorder.ranked for number in numbers})
        probabilities = {count: self._probabilities(texts, videos, recorder, count) for count in counts}
        return [
            JudgedCandidates(
                group=number,
                place=_place(number, numbers),
                cosines=cosines,
                probabilities={count: probabilities[count][row] for count in counts},
            )
            for row, ((number, _), (numbers, cosines)) in enumerate(zip(pairs, recorder.ranked, strict=True))
        ]

    def _texts(self, captions: Sequence[str]) -> list[Skeleton]:
        self._progress.begin("describing captions", len(captions))
        skeletons: list[Skeleton] = []
        for first in range(0, len(captions), _CAPTION_BATCH):
            batch = captions[first : first + _CAPTION_BATCH]
            skeletons += self._journal.text_skeletons(batch, self._reranker.describer)
            self._progress.advance(len(batch))
        return skeletons

    def _videos(self, numbers: set[int]) -> dict[int, Skeleton]:
        views = self._reranker.views(sorted(numbers))
        self._progress.begin("describing videos", len(views))
        skeletons = self._reranker.describer.video_skeletons([*views.values()], self._progress.advance)
        return dict(zip(views, skeletons, strict=True))

    def _probabilities(
        self, texts: Sequence[Skeleton], videos: Mapping[int, Skeleton], recorder: _Recorder, count: int
    ) -> list[FloatArray]:
        """Return p of the candidates of each caption, with the first so many answers of both; NaN where none is."""
        self._progress.begin(f"judging, {count} asked", len(texts))
        rows = []
        for text, (numbers, _) in zip(texts, recorder.ranked, strict=True):
            described = [skeleton_text(videos.get(int(number), ())[:count]) for number in numbers]
            rows.append(self._journal.probabilities(self._reranker.judge, skeleton_text(text[:count]), described))
            self._progress.advance()
        return rows


class _Journal:
    """What captions answered and how pairs were judged, in a store of its own; what failed is tried again."""

    def __init__(self, store: SkeletonStore) -> None:
        self._store = store

    def text_skeletons(self, captions: Sequence[str], describer: Describer) -> list[Skeleton]:
        """Return what captions answer; those that are not known are asked in one batch."""
        questions, answerer = describer.text_questions, describer.answerer
        keys = [digest(answerer.fingerprint(), question.text) for question in questions]
        contents = {caption: digest("caption", caption) for caption in captions}
        stored = self._store.get(set(contents.values()), keys)
        pending = [text for text, content in contents.items() if not all((content, key) in stored for key in keys)]
        new = dict(zip(pending, text_skeletons(pending, questions, answerer), strict=True))
        answered = [
            (contents[text], key, answer.text)
            for text, skeleton in new.items()
            for key, answer in zip(keys, skeleton, strict=True)
            if not answer.error
        ]
        self._store.put(answered)
        return [
            new[text] if text in new else _skeleton(questions, [stored[contents[text], key] for key in keys])
            for text in captions
        ]

    def probabilities(self, judge: Judge, text: str, videos: Sequence[str]) -> FloatArray:
        """Return p of a text skeleton with video skeletons (N,), all as plain text; NaN where there is none."""
        key = judge.fingerprint()
        contents = [digest("pair", text, video) for video in videos]
        known = {content: float(p) for (content, _), p in self._store.get(set(contents), [key]).items()}
        pending = {
            content: video
            for content, video in zip(contents, videos, strict=True)
            if text and video and content not in known
        }
        if pending:
            judgements = zip(pending, judge.judge(text, [*pending.values()]), strict=True)
            new = {content: one.probability for content, one in judgements if isinstance(one, Judgement)}
            self._store.put([(content, key, repr(p)) for content, p in new.items()])
            known |= new
        return np.array([known.get(content, np.nan) for content in contents], dtype=np.float32)


def _skeleton(questions: Sequence[SkeletonQuestion], answers: Sequence[str]) -> Skeleton:
    return tuple(Answer(one.id, one.text, answer) for one, answer in zip(questions, answers, strict=True))


def _place(number: int, numbers: IdArray) -> int | None:
    places = np.flatnonzero(numbers == number)
    return int(places[0]) if len(places) else None
