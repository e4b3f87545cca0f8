"""Which question of a cluster is asked: candidates are tried on examples, and why one was taken is said.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.2, eq. 7;
thresholds as in Zhang et al., "Automatic Chain of Thought Prompting in Large Language Models", ICLR 2023.

A demonstration is a question, an answer, and the rank of the right video when that answer is the query, among the
videos of the examples. Decision: a question is asked of several examples, and the means count: one answer is chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from .. import plugins
from ..errors import UsageError
from ..protocols import Answerer, Model
from ..utils.tables import text_table
from .clustering import Clustering, words
from .examples import Example, embed_answers, example_skeletons, video_ranks
from .pool import Pool, PoolQuestion

HEDGES = (
    "unknown", "not visible", "unclear", "none", "not sure", "not mentioned", "not specified", "not shown",
    "cannot tell", "can't tell", "cannot be determined", "nothing", "n/a", "i don't know", "no idea",
)  # fmt: skip
Rule = Literal["first_satisfying", "argmin"]


class TrialOptions(plugins.BaseOptions):
    """What makes a good question; lengths in words."""

    question: int = Field(16, ge=1, description="first_satisfying: longest question")
    answer: int = Field(12, ge=1, description="first_satisfying: longest answer, on average")
    hedged: float = Field(0.25, ge=0, le=1, description="first_satisfying: largest share of answers that tell nothing")
    question_bucket: int = Field(16, ge=1, description="argmin: lengths of questions that differ by less are equal")
    answer_bucket: int = Field(16, ge=1, description="argmin: the same of answers")
    hedged_bucket: float = Field(0.25, gt=0, le=1, description="argmin: the same of the share that tells nothing")
    nabla: tuple[str, ...] = Field(HEDGES, description="terms of an answer that tells nothing")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One answer: of which example, what it says, whether it tells nothing, and the rank of the right video."""

    example: str
    answer: str
    hedged: bool
    rank: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A question that was tried. `place`: 1 is closest to the centre. `length`, `answer_length`: words, the latter on
    average; `hedged`: share of answers that tell nothing; `rank`: median. `verdict`: why it was taken, or was not."""

    question: PoolQuestion
    cluster: int
    place: int
    distance: float
    length: int
    answer_length: float
    hedged: float
    rank: float
    demonstrations: tuple[Demonstration, ...]
    verdict: str = ""
    chosen: bool = False


def run_trials(
    pool: Pool,
    found: Clustering,
    examples: Sequence[Example],
    answerer: Answerer,
    model: Model,
    rule: Rule,
    options: TrialOptions,
    advance: Callable[[int], object] = lambda answers: None,
) -> list[Trial]:
    """Every question that was tried, cluster by cluster, in ascending distance to the centre; one a cluster is chosen.

    first_satisfying: outwards from the centre, the first whose question is short enough (a), whose answers are short
    enough (b) and hardly ever hold a term of nabla (c); the closest where none does. What lies behind it is not asked.

    argmin (eq. 7): the smallest (answers that tell nothing, length of the question, length of the answers), compared in
    this order after buckets; then the better rank, then the smaller distance. Decision: what tells nothing comes first.
    "unknown" is the shortest answer there is, and would win wherever lengths go before it. Decision: the buckets are
    wide. With 8 words, "What comes directly after the first event?" (7) wins over "In which order do the events take
    place?" (8, and its answers find the video), and the text skeleton is without what the video skeletons tell.

    `advance` hears how many more answers there are. UsageError where there are no examples.
    """
    if not examples:
        raise UsageError("no examples: a question is tried on at least one video of a training split")
    trier = _Trier(pool, found, examples, answerer, model, options, advance)
    if rule == "argmin":
        return [trial for group in range(found.k) for trial in _argmin(trier.all_of(group), options)]
    return trier.outwards()


def chosen_ids(trials: Sequence[Trial]) -> list[str]:
    """The chosen id of each cluster, in their order."""
    return [trial.question.id for trial in sorted(trials, key=lambda trial: trial.cluster) if trial.chosen]


def is_hedged(answer: str, nabla: Sequence[str] = HEDGES) -> bool:
    """Whether an answer holds a term of nabla as whole words, or nothing at all.

    >>> is_hedged("It is not visible."), is_hedged("a nun"), is_hedged("")
    (True, False, True)
    """
    text = answer.casefold()
    return not text.strip() or any(re.search(rf"(?<!\w){re.escape(term.casefold())}(?!\w)", text) for term in nabla)


def as_dict(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Plain values for JSON."""
    return [{**asdict(trial), "question": trial.question.id, "text": trial.question.text} for trial in trials]


def table(trials: Sequence[Trial]) -> str:
    """What was tried, as aligned plain text."""
    rows = [["", "id", "cluster", "place", "words", "answer", "hedged", "rank", "why", "question"]]
    for each in trials:
        numbers = [f"{each.cluster + 1}", f"{each.place}", f"{each.length}", f"{each.answer_length:.1f}"]
        share = f"{each.hedged:.0%}"
        mark = "*" if each.chosen else ""
        rows.append([mark, each.question.id, *numbers, share, f"{each.rank:g}", each.verdict, each.question.text])
    return "\n".join(text_table(rows, left=(0, 1, 8, 9)))


class _Trier:
    """Asks questions of all examples."""

    def __init__(
        self,
        pool: Pool,
        found: Clustering,
        examples: Sequence[Example],
        answerer: Answerer,
        model: Model,
        options: TrialOptions,
        advance: Callable[[int], object],
    ) -> None:
        self._pool, self._found, self._groups = pool, found, found.groups()
        self._examples, self._answerer, self._model = examples, answerer, model
        self._options, self._advance = options, advance

    def all_of(self, group: int) -> list[Trial]:
        return self._tried([(group, place) for place in range(len(self._groups[group]))])

    def outwards(self) -> list[Trial]:
        """The next question of all clusters that have none yet, together, until every one has."""
        trials: list[list[Trial]] = [[] for _ in self._groups]
        open_ = list(range(len(self._groups)))
        for place in range(max(map(len, self._groups))):
            for trial in self._tried([(group, place) for group in open_]):
                missed = _missed(trial, self._options)
                verdict = missed or "the first that satisfies"
                trials[trial.cluster].append(replace(trial, verdict=verdict, chosen=not missed))
            open_ = [group for group in open_ if not trials[group][-1].chosen and place + 1 < len(self._groups[group])]
            if not open_:
                break
        for own in trials:
            if not own[-1].chosen:
                own[0] = replace(own[0], verdict=f"the closest: none satisfies ({own[0].verdict})", chosen=True)
        return [trial for own in trials for trial in own]

    def _tried(self, places: Sequence[tuple[int, int]]) -> list[Trial]:
        numbers = [self._groups[group][place] for group, place in places]
        asked = [self._pool.enabled[number] for number in numbers]
        skeletons = example_skeletons(self._examples, asked, self._pool.about, self._answerer, self._steps(len(asked)))
        trials = []
        for at, ((group, place), number, question) in enumerate(zip(places, numbers, asked, strict=True)):
            lines = [skeleton[at] for skeleton in skeletons]
            demonstrations = self._demonstrations([line.text for line in lines], [line.error for line in lines])
            trials.append(
                Trial(
                    question,
                    group,
                    place + 1,
                    float(self._found.distances[number]),
                    len(words(question.text)),
                    float(np.mean([len(words(line.text)) for line in lines])),
                    float(np.mean([each.hedged for each in demonstrations])),
                    float(np.median([each.rank for each in demonstrations])),
                    demonstrations,
                )
            )
        return trials

    def _demonstrations(self, answers: Sequence[str], errors: Sequence[str | None]) -> tuple[Demonstration, ...]:
        vectors = embed_answers(answers, self._model)
        last = len(self._examples)
        found = video_ranks(vectors, self._examples, self._model) if vectors.shape[1] else np.full(last, last)
        return tuple(
            Demonstration(example.id, answer, is_hedged(answer, self._options.nabla), int(rank), error)
            for example, answer, rank, error in zip(self._examples, answers, found, errors, strict=True)
        )

    def _steps(self, questions: int) -> Callable[[int], object]:
        return lambda examples: self._advance(examples * questions)


def _missed(trial: Trial, options: TrialOptions) -> str:
    """Which threshold a question misses; empty where it satisfies all."""
    if trial.length > options.question:
        return f"the question has more than {options.question} words"
    if trial.hedged > options.hedged:
        return f"more than {options.hedged:.0%} of the answers tell nothing"
    if trial.answer_length > options.answer:
        return f"the answers have more than {options.answer} words"
    return ""


def _argmin(trials: Sequence[Trial], options: TrialOptions) -> list[Trial]:
    def key(trial: Trial) -> tuple[float, ...]:
        hedged = int(trial.hedged / options.hedged_bucket + 1e-9)
        length, answer = trial.length // options.question_bucket, int(trial.answer_length // options.answer_bucket)
        return hedged, length, answer, trial.rank, trial.place

    criteria = ("tells more", "shorter question", "shorter answers", "better rank", "closer to the centre")
    best = min(trials, key=key)
    done = []
    for trial in trials:
        at = next((at for at, (own, least) in enumerate(zip(key(trial), key(best), strict=True)) if own > least), None)
        verdict = "the smallest of its cluster" if at is None else f"{best.question.id}: {criteria[at]}"
        done.append(replace(trial, verdict=verdict, chosen=at is None))
    return done
