"""A look at candidates: how likely it is that a video shows what a query says, less what its judge says to any text.

Decision: a video's prior is the mean of the logits of p over a few fixed sentences about nothing in particular. It
depends on no query, so it is stored beside the answers of skeletons, a sentence at a time: what a budget cut off goes
on with the next query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ..errors import MODEL_FAILURES, UsageError, one_line
from ..protocols import Judge, SeeingJudge
from ..scoring.background_sentences import sentences
from ..scoring.joint import logit, normalised, sigmoid
from ..skeletons.skeletons import VideoView
from ..skeletons.store import SkeletonStore
from ..types import Judgement, ShownVideo, VisualJudgement
from ..utils.budget import BudgetLimits, current, spending
from ..utils.hashing import digest
from ..utils.loading import late_property
from ._budget import ANSWERS_SHARE
from ._judging import judgements_or_reasons

_SENTENCES_PER_LANGUAGE = 4
PROBLEM = "not looked at"  # begins each reason


def neutral_sentences() -> tuple[str, ...]:
    """Return the sentences that priors are made of: a few of each language, spread over the list."""
    return tuple(
        texts[number * len(texts) // _SENTENCES_PER_LANGUAGE]
        for texts in sentences().values()
        for number in range(_SENTENCES_PER_LANGUAGE)
    )


def require_sight(judge: Judge) -> SeeingJudge:
    """Return a judge as one that can look at videos; UsageError where it cannot."""
    if not isinstance(judge, SeeingJudge):
        raise UsageError(
            f"the judge {judge.name} cannot look at pictures: name one that can (rerank.judge.name=llava, openai, "
            "transformers or vllm), or re-rank by skeletons alone (rerank.name=skeleton, rerank.lambda_v=0)"
        )
    return judge


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A video, and what of it is shown to a judge."""

    view: VideoView
    shown: ShownVideo


class VideoLooks:
    """Shows the key images of candidates to a judge. What goes wrong is the reason of a candidate; nothing is raised
    here."""

    def __init__(self, judge: Judge, alpha: float, store: SkeletonStore | None, limits: BudgetLimits) -> None:
        """Make what looks at nothing yet. UsageError where the judge cannot look at pictures.

        Args:
            judge: looks.
            alpha: how much of the prior is taken off; with 0 it is not asked for.
            store: keeps priors; None: they are asked for anew each time.
            limits: of a query, of which priors may spend a share.
        """
        self.judge = require_sight(judge)
        self.alpha = alpha
        self._priors = _Priors(self.judge, store)
        self._prior_limits = limits.share(ANSWERS_SHARE)

    def look(self, text: str, views: Sequence[VideoView | None]) -> list[VisualJudgement | str]:
        """Return what a look at each video says of a text, or why there is nothing; None: the video is gone."""
        results: list[VisualJudgement | str] = [f"{PROBLEM}: the video is no longer there"] * len(views)
        candidates: dict[int, _Candidate] = {}
        for row, view in enumerate(views):
            if view is None:
                continue
            try:
                candidates[row] = _Candidate(view, view.shown(self.judge.video_input))
            except MODEL_FAILURES as error:
                results[row] = f"{PROBLEM}: {one_line(error)}"
        priors: dict[int, float | None] = {}
        for row, prior in zip(candidates, self._prior_values(list(candidates.values())), strict=True):
            if isinstance(prior, str):
                results[row] = prior
            else:
                priors[row] = prior
        videos = [candidates[row].shown for row in priors]
        judged = judgements_or_reasons(
            lambda: self.judge.judge_videos(text, videos), self.judge.name, len(videos), PROBLEM
        )
        for (row, prior), judgement in zip(priors.items(), judged, strict=True):
            times = candidates[row].view.times
            results[row] = judgement if isinstance(judgement, str) else self._normalised(judgement, prior, times)
        return results

    def _prior_values(self, candidates: Sequence[_Candidate]) -> Sequence[float | str | None]:
        """Return the prior of each candidate, or why it has none; None: it is not asked for."""
        if not self.alpha:
            return [None] * len(candidates)
        try:
            with spending(self._prior_limits):
                return self._priors.of(candidates)
        except MODEL_FAILURES as error:
            return [f"{PROBLEM}: {one_line(error)}"] * len(candidates)

    def _normalised(self, judgement: Judgement, prior: float | None, times: tuple[float, ...]) -> VisualJudgement:
        p = judgement.probability
        value = p if prior is None else normalised(p, prior, self.alpha)
        return VisualJudgement(p, prior, value, judgement.judged_by, times)


class _Priors:
    """The priors of videos: out of the store, and what it does not have from the judge."""

    def __init__(self, judge: SeeingJudge, store: SkeletonStore | None) -> None:
        self._judge, self._store = judge, store

    def of(self, candidates: Sequence[_Candidate]) -> list[float | str]:
        """Return the prior (0..1) of each candidate, or why it has none. Raises what the store and the judge's
        fingerprint do."""
        keys = [[self._key(sentence, one.view) for sentence in neutral_sentences()] for one in candidates]
        logits = self._stored_logits(candidates, keys)  # of each candidate, by key
        reasons: dict[int, str] = {}
        for number, sentence in enumerate(neutral_sentences()):
            pending = [row for row in range(len(candidates)) if keys[row][number] not in logits[row]]
            rows = [row for row in pending if row not in reasons]
            judged = self._judgements(sentence, [candidates[row].shown for row in rows])
            rows_of_store = []
            for row, judgement in zip(rows, judged, strict=True):
                if isinstance(judgement, str):
                    reasons[row] = judgement
                    continue
                key, content = keys[row][number], candidates[row].view.content
                logits[row][key] = logit(judgement.probability)
                if content:
                    rows_of_store.append((content, key, repr(logits[row][key])))
            if self._store is not None and rows_of_store:
                self._store.put(rows_of_store)
        return [reasons.get(row) or sigmoid(fmean(logits[row].values())) for row in range(len(candidates))]

    def _judgements(self, sentence: str, videos: Sequence[ShownVideo]) -> list[Judgement | str]:
        judge = self._judge
        return judgements_or_reasons(lambda: judge.judge_videos(sentence, videos), judge.name, len(videos), PROBLEM)

    def _stored_logits(self, candidates: Sequence[_Candidate], keys: Sequence[Sequence[str]]) -> list[dict[str, float]]:
        if self._store is None:
            return [{} for _ in candidates]
        contents = {one.view.content for one in candidates if one.view.content}
        stored = self._store.get(contents, {key for row in keys for key in row})
        logits = [
            {key: float(stored[one.view.content, key]) for key in row if (one.view.content, key) in stored}
            for one, row in zip(candidates, keys, strict=True)
        ]
        current().add(cached=sum(map(len, logits)))
        return logits

    def _key(self, sentence: str, view: VideoView) -> str:
        return digest("prior", sentence, self._fingerprint, view.key_images)

    @late_property
    def _fingerprint(self) -> str:
        return self._judge.visual_fingerprint()
