"""Trials: the questions of a cluster are tried on examples, and one is chosen, with the reason.

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
from ..types import Answer
from ..utils.tables import text_table
from ..utils.wording import counted
from .clustering import Clustering, words
from .examples import Example, embed_answers, example_skeletons, video_ranks
from .pool import Pool, PoolQuestion

HEDGES = (
    "unknown", "not visible", "unclear", "none", "not sure", "not mentioned", "not specified", "not shown",
    "cannot tell", "can't tell", "cannot be determined", "nothing", "n/a", "i don't know", "no idea",
)  # fmt: skip
Rule = Literal["first_satisfying", "argmin"]


class TrialOptions(plugins.BaseOptions):
    """Limits and buckets of the two rules; lengths in words."""

    question: int = Field(16, ge=1, description="first_satisfying: longest question")
    answer: int = Field(12, ge=1, description="first_satisfying: longest answer, on average")
    hedged: float = Field(0.25, ge=0, le=1, description="first_satisfying: largest share of answers that tell nothing")
    question_bucket: int = Field(16, ge=1, description="argmin: lengths of questions that differ by less are equal")
    answer_bucket: int = Field(16, ge=1, description="argmin: the same of answers")
    hedged_bucket: float = Field(0.25, gt=0, le=1, description="argmin: the same of the share that tells nothing")
    nabla: tuple[str, ...] = Field(HEDGES, description="terms of an answer that tells nothing")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One answer: of which example, its text, whether it is hedged, and the rank of the example's video."""

    example: str
    answer: str
    hedged: bool
    rank: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A question that was tried. `place`: 1 is closest to the centre. `length`, `answer_length`: words, the latter on
    average; `hedged`: share of answers that tell nothing; `rank`: median. `verdict`: why it was chosen, or was not."""

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
    clustering: Clustering,
    examples: Sequence[Example],
    answerer: Answerer,
    model: Model,
    rule: Rule,
    options: TrialOptions,
    advance: Callable[[int], object] = lambda answers: None,
) -> list[Trial]:
    """Try questions on examples and choose one of each cluster.

    first_satisfying: outwards from the centre, the first whose question is short enough (a), whose answers are short
    enough (b) and hardly ever hold a term of nabla (c); the closest where none does. Those farther out are not asked.

    argmin (eq. 7): the smallest (answers that tell nothing, length of the question, length of the answers), compared in
    this order after buckets; then the better rank, then the smaller distance. Decision: what tells nothing comes first.
    "unknown" is the shortest answer there is, and would win wherever lengths go before it. Decision: the buckets are
    wide. With 8 words, "What comes directly after the first event?" (7) wins over "In which order do the events take
    place?" (8, and its answers find the video), and the text skeleton is without what the video skeletons tell.

    Args:
        pool: the pool; its enabled questions are tried.
        clustering: of the enabled questions, in their order.
        examples: of which every question that is tried is asked; at least one.
        answerer: who answers.
        model: embeds the answers as queries.
        rule: "first_satisfying" or "argmin".
        options: limits and buckets of the rule.
        advance: called with the number of further answers.

    Returns:
        Every question that was tried, cluster by cluster, in ascending distance to the centre.

    Raises:
        UsageError: where there are no examples.
    """
    if not examples:
        raise UsageError("no examples: a question is tried on at least one video of a training split")
    trier = _Trier(pool, clustering, examples, answerer, model, options, advance)
    if rule == "first_satisfying":
        return trier.first_satisfying()
    return [trial for cluster in range(clustering.k) for trial in _argmin(trier.whole_cluster(cluster), options)]


def chosen_ids(trials: Sequence[Trial]) -> list[str]:
    """Return the chosen id of each cluster, in their order."""
    return [trial.question.id for trial in sorted(trials, key=lambda trial: trial.cluster) if trial.chosen]


def is_hedged(answer: str, nabla: Sequence[str] = HEDGES) -> bool:
    """Return whether an answer holds a term of nabla as whole words, or is empty.

    >>> is_hedged("It is not visible."), is_hedged("a nun"), is_hedged("")
    (True, False, True)
    """
    text = answer.casefold()
    return not text.strip() or any(re.search(rf"(?<!\w){re.escape(term.casefold())}(?!\w)", text) for term in nabla)


def as_dicts(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return plain values for JSON."""
    return [{**asdict(trial), "question": trial.question.id, "text": trial.question.text} for trial in trials]


def trial_table(trials: Sequence[Trial]) -> str:
    """Return the trials as aligned plain text."""
    rows = [["", "id", "cluster", "place", "words", "answer", "hedged", "rank", "why", "question"]]
    for trial in trials:
        rows.append(
            [
                "*" if trial.chosen else "",
                trial.question.id,
                f"{trial.cluster + 1}",
                f"{trial.place}",
                f"{trial.length}",
                f"{trial.answer_length:.1f}",
                f"{trial.hedged:.0%}",
                f"{trial.rank:g}",
                trial.verdict,
                trial.question.text,
            ]
        )
    return "\n".join(text_table(rows, left=(0, 1, 8, 9)))


class _Trier:
    """Asks questions of all examples; a question is known by its cluster and its place in it (0 is the closest)."""

    def __init__(
        self,
        pool: Pool,
        clustering: Clustering,
        examples: Sequence[Example],
        answerer: Answerer,
        model: Model,
        options: TrialOptions,
        advance: Callable[[int], object],
    ) -> None:
        self._pool = pool
        self._clusters = clustering.groups()
        self._distances = clustering.distances
        self._examples = examples
        self._answerer = answerer
        self._model = model
        self._options = options
        self._advance = advance

    def whole_cluster(self, cluster: int) -> list[Trial]:
        """Try every question of a cluster."""
        return self._try([(cluster, place) for place in range(len(self._clusters[cluster]))])

    def first_satisfying(self) -> list[Trial]:
        """Try the next question of all clusters that have none chosen yet, together, until every one has."""
        trials: list[list[Trial]] = [[] for _ in self._clusters]
        open_clusters = list(range(len(self._clusters)))
        place = 0
        while open_clusters:
            for trial in self._try([(cluster, place) for cluster in open_clusters]):
                missed = _missed_limit(trial, self._options)
                verdict = missed or "the first that satisfies"
                trials[trial.cluster].append(replace(trial, verdict=verdict, chosen=not missed))
            place += 1
            open_clusters = [
                cluster
                for cluster in open_clusters
                if not trials[cluster][-1].chosen and place < len(self._clusters[cluster])
            ]
        for cluster_trials in trials:
            if not cluster_trials[-1].chosen:
                closest = cluster_trials[0]
                verdict = f"the closest: none satisfies ({closest.verdict})"
                cluster_trials[0] = replace(closest, verdict=verdict, chosen=True)
        return [trial for cluster_trials in trials for trial in cluster_trials]

    def _try(self, places: Sequence[tuple[int, int]]) -> list[Trial]:
        """Ask the questions at (cluster, place) of all examples, together."""
        numbers = [self._clusters[cluster][place] for cluster, place in places]
        questions = [self._pool.enabled[number] for number in numbers]
        skeletons = example_skeletons(
            self._examples,
            questions,
            self._pool.about,
            self._answerer,
            lambda examples: self._advance(examples * len(questions)),
        )
        trials = []
        for column, (cluster, place) in enumerate(places):
            answers = [skeleton[column] for skeleton in skeletons]  # one of each example
            demonstrations = self._demonstrations(answers)
            trials.append(
                Trial(
                    questions[column],
                    cluster,
                    place + 1,
                    distance=float(self._distances[numbers[column]]),
                    length=len(words(questions[column].text)),
                    answer_length=float(np.mean([len(words(answer.text)) for answer in answers])),
                    hedged=float(np.mean([demonstration.hedged for demonstration in demonstrations])),
                    rank=float(np.median([demonstration.rank for demonstration in demonstrations])),
                    demonstrations=demonstrations,
                )
            )
        return trials

    def _demonstrations(self, answers: Sequence[Answer]) -> tuple[Demonstration, ...]:
        vectors = embed_answers([answer.text for answer in answers], self._model)
        if vectors.shape[1]:
            ranks = video_ranks(vectors, self._examples, self._model)
        else:  # no answer at all: every video comes last
            ranks = np.full(len(self._examples), len(self._examples))
        return tuple(
            Demonstration(example.id, answer.text, is_hedged(answer.text, self._options.nabla), int(rank), answer.error)
            for example, answer, rank in zip(self._examples, answers, ranks, strict=True)
        )


def _missed_limit(trial: Trial, options: TrialOptions) -> str:
    """Return which limit a question misses; empty where it satisfies all."""
    if trial.length > options.question:
        return f"the question has more than {counted(options.question, 'word')}"
    if trial.hedged > options.hedged:
        return f"more than {options.hedged:.0%} of the answers tell nothing"
    if trial.answer_length > options.answer:
        return f"the answers have more than {counted(options.answer, 'word')}"
    return ""


def _argmin(trials: Sequence[Trial], options: TrialOptions) -> list[Trial]:
    """Return the trials of one cluster with their verdicts, the smallest chosen."""

    def key(trial: Trial) -> tuple[float, ...]:
        hedged = int(trial.hedged / options.hedged_bucket + 1e-9)
        length = trial.length // options.question_bucket
        answer_length = int(trial.answer_length // options.answer_bucket)
        return hedged, length, answer_length, trial.rank, trial.place

    criteria = ("tells more", "shorter question", "shorter answers", "better rank", "closer to the centre")
    best = min(trials, key=key)
    judged = []
    for trial in trials:
        lost = [
            criterion for criterion, value, least in zip(criteria, key(trial), key(best), strict=True) if value > least
        ]
        verdict = f"{best.question.id}: {lost[0]}" if lost else "the smallest of its cluster"
        judged.append(replace(trial, verdict=verdict, chosen=not lost))
    return judged
