"""The queries that `nothing_found` searches for, and which videos each is true of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Dataset, PartialQueryDataset
from ..types import EvaluationQuery, FloatArray, Query
from .bootstrap import numbered_groups
from .query_metrics import people_of

CAPTIONS = "captions"  # the set of absent queries that are present elsewhere, of whichever kind they are
COMPOUND = "compound"  # the kind of queries of a data set that say everything

_Video = TypeVar("_Video", bound=Hashable)  # the number of its sample, or the id


@dataclass(frozen=True, slots=True)
class QuerySet:
    """What is searched for.

    Attributes:
        captions: Vectors (N, D) of sentences about the videos.
        owners: (N,), the numbers of the videos that these were written for.
        others: Vectors of sets of sentences that are true of no video, by name.
        true: (N, M), which of the M videos each sentence is true of; None where that is its owner alone.
        people: (N,), the number of the person whom each sentence is about; None where that does not matter.
    """

    captions: FloatArray
    owners: NDArray[np.int64]
    others: Mapping[str, FloatArray]
    true: NDArray[np.bool_] | None = None
    people: NDArray[np.int64] | None = None

    def truths(self, videos: int) -> NDArray[np.bool_]:
        """Return which of so many videos each sentence is true of (N, M)."""
        return self.owners[:, None] == np.arange(videos) if self.true is None else self.true


def query_sets(
    dataset: Dataset,
    positions: Mapping[int, int],
    embed: Callable[[Sequence[str]], FloatArray],
    others: Mapping[str, FloatArray],
    choose: Callable[[Sequence[str]], Sequence[str]] = lambda captions: captions,
) -> dict[str, QuerySet]:
    """Return captions, and queries that say a part where the data set has any, by kind.

    Args:
        dataset: What is said of its samples.
        positions: Of the videos that are searched, by the numbers of their samples.
        embed: Makes vectors (N, D) of N texts.
        others: Vectors of sets of sentences that are true of no video, by name.
        choose: Chooses among the captions of a sample.

    Raises:
        UsageError: There is no caption.
    """
    samples = dataset.samples()
    captions = [(text, position) for number, position in positions.items() for text in choose(samples[number].captions)]
    if not captions:
        raise UsageError("there are no captions to search for")
    owners = np.array([position for _, position in captions])
    sets = {CAPTIONS: QuerySet(embed([text for text, _ in captions]), owners, others)}
    if isinstance(dataset, PartialQueryDataset):
        for kind, queries in dataset.partial_queries().items():
            readable = [query for query in queries if query.sample in positions]
            true = _truths([query.videos for query in readable], positions)
            vectors = embed([query.text for query in readable])
            sets[kind] = QuerySet(vectors, np.array([positions[query.sample] for query in readable]), {}, true)
    return sets


def sets_of_queries(
    queries: Sequence[EvaluationQuery],
    positions: Mapping[str, int],
    embed: Callable[[Sequence[Query]], FloatArray],
    others: Mapping[str, FloatArray],
) -> dict[str, QuerySet]:
    """Return the queries that a data set brings along by kind, the first part of their groups.

    Those that say everything come first, and are searched beside sentences about other things: "compound", where there
    are such, else the first kind.

    Args:
        queries: What a query is about is its person, or the query where there is none.
        positions: Of the videos that are searched, by their ids.
        embed: Makes vectors (N, D) of N queries.
        others: Vectors of sets of sentences that are true of no video, by name.

    Raises:
        UsageError: There is no query about a video that is searched.
    """
    kinds: dict[str, list[EvaluationQuery]] = {}
    for query in queries:
        if query.right & positions.keys():
            kinds.setdefault(query.group.split("/")[0], []).append(query)
    if not kinds:
        raise UsageError("there are no queries about these videos to search for")
    first = COMPOUND if COMPOUND in kinds else next(iter(kinds))
    sets = {}
    for kind in sorted(kinds, key=lambda kind: kind != first):
        of_kind = kinds[kind]
        true = _truths([query.right for query in of_kind], positions)
        sets[kind] = QuerySet(
            embed([query.query for query in of_kind]),
            true.argmax(axis=1),
            others if kind == first else {},
            true,
            numbered_groups(people_of(of_kind), len(of_kind)),
        )
    return sets


def _truths(right: Sequence[Collection[_Video]], positions: Mapping[_Video, int]) -> NDArray[np.bool_]:
    """Return which of the M videos that are searched each of N sentences is true of (N, M).

    Args:
        right: All videos that each sentence is true of, also such as are not searched.
        positions: Of the videos that are searched.
    """
    true = np.zeros((len(right), len(positions)), bool)
    for row, videos in enumerate(right):
        true[row, [positions[video] for video in videos if video in positions]] = True
    return true
