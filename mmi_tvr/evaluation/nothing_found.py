"""How often a search that finds nothing says so, and how often it says so wrongly.

A query is present where a video that it is true of is in the collection, and absent where none is. Of a threshold on
relevance, what counts is the share of absent queries that are told ("nothing found") against the share that is lost: of
the present queries that a right video answers first, those of which the same is said. Silence about a present query
that a wrong video answers first loses nothing.

Collections of several sizes are cut from one test set (`collections`): shuffled and split into parts of that size, so
that each query is present once, where its own video is, and absent once, in the next part, unless it is true of a video
there. Of the whole test set a query is absent when all videos are taken out that it is true of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Model, RelevanceCalibration
from ..scoring import matching
from ..scoring.similarity import Gallery
from ..types import Embeddings, FloatArray
from ..utils.intervals import wilson
from ..utils.tables import interval, markdown_row
from ..utils.wording import counted
from .query_sets import CAPTIONS, QuerySet

_LOST = (0.5, 1, 2, 5, 10, 20)  # percent; rows of the table of a curve
_CURVE = 201  # thresholds of a curve, at even steps of the share that is lost


@dataclass(frozen=True, slots=True)
class Trials:
    """How good the best hit of queries is in collections of one size: its relevance, or how well it matches.

    Attributes:
        size: Videos of a collection.
        present: Of the present queries that a right video answers first.
        present_owners: The videos that these were written for, or the people whom they are about, in order.
        absent: Of absent queries, sets by name: CAPTIONS, and sentences about other things.
        absent_owners: The same of CAPTIONS.
        present_queries: The numbers of the queries of `present`, in order.
        absent_queries: The numbers of the queries of each set of `absent`, within the set that was searched for.
        n: How many videos, people or different sentences each set is of, and "present", for intervals (decision:
            captions of one video, queries about one person, and repetitions in several collections, are not
            independent).
        right_first: The share (0..1) of the present queries that a right video answers first.
    """

    size: int
    present: NDArray[np.float64]
    present_owners: NDArray[np.int64]
    absent: Mapping[str, NDArray[np.float64]]
    absent_owners: NDArray[np.int64]
    present_queries: NDArray[np.int64]
    absent_queries: Mapping[str, NDArray[np.int64]]
    n: Mapping[str, int]
    right_first: float

    def lost(self, threshold: float) -> float:
        """Return the share (0..1) of right first hits that lie below a threshold."""
        return float((self.present < threshold).mean())

    def rejected(self, name: str, threshold: float) -> float:
        """Return the share (0..1) of a set of absent queries whose best hit lies below a threshold."""
        return float((self.absent[name] < threshold).mean())

    def threshold(self, lost: float) -> float:
        """Return the largest threshold at which at most this share (0 to below 1) is lost.

        UsageError for another share, and where there is nothing to lose.
        """
        if not 0 <= lost < 1:
            raise UsageError(f"0 to below 100 % of the queries can be lost, not {100 * lost:g} %")
        if not len(self.present):
            raise UsageError("no caption finds its video first: there is nothing to choose a threshold by")
        ordered = np.sort(self.present)
        return float(ordered[int(lost * len(ordered))])

    def cross_validated(self, lost: float, folds: int) -> tuple[float, float]:
        """Return the shares that are lost, and of CAPTIONS told, where the threshold is chosen on other videos.

        Args:
            lost: The share (0..1) of the present queries of the other videos that may be lost.
            folds: Parts of the videos; each is judged by what the others choose.

        Raises:
            UsageError: For fewer than 2 parts.
        """
        if folds < 2:
            raise UsageError(f"videos are judged by other videos in at least 2 parts, not {folds}")
        lost_queries, rejected_queries = 0, 0
        for fold in range(folds):
            present, absent = self.present_owners % folds == fold, self.absent_owners % folds == fold
            threshold = replace(self, present=self.present[~present]).threshold(lost)
            lost_queries += int((self.present[present] < threshold).sum())
            rejected_queries += int((self.absent[CAPTIONS][absent] < threshold).sum())
        return lost_queries / len(self.present), rejected_queries / len(self.absent_owners)

    def area(self, name: str) -> float:
        """Return how probable it is (0..1) that a present query has a better best hit than an absent one."""
        return area(self.present, self.absent[name])

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Return (lost, told) shares from no threshold to the highest."""
        thresholds = np.quantile(self.present, np.linspace(0, 1, _CURVE))
        return [(self.lost(threshold), self.rejected(name, threshold)) for threshold in thresholds.tolist()]

    def as_dict(self, threshold: float) -> dict[str, Any]:
        """Return plain values for JSON, shares in percent: told and lost at a threshold, areas and curves."""
        return {
            "size": self.size,
            "n": dict(self.n),
            "right_first": round(100 * self.right_first, 2),
            "lost": _share(self.lost(threshold), self.n["present"]),
            "told": {name: _share(self.rejected(name, threshold), self.n[name]) for name in self.absent},
            "area": {name: round(self.area(name), 4) for name in self.absent},
            "curve": {
                name: [[round(100 * value, 2) for value in point] for point in self.curve(name)] for name in self.absent
            },
        }


class NothingToLose(UsageError):
    """No caption finds its video first, so that none can be lost."""


Calibrate = Callable[[Model, Gallery, int], RelevanceCalibration]


def trials(
    model: Model,
    embeddings: Sequence[Embeddings],
    queries: QuerySet,
    size: int,
    shuffles: int = 1,
    calibrate: Calibrate = matching.calibrate,
) -> Trials:
    """Search collections of one size as a library would, each with its own calibration of relevance.

    Args:
        model: Its background sentences and its scoring.
        embeddings: Of the videos of a test set.
        queries: What is searched for.
        size: Videos of a collection; where the test set is smaller, all of them.
        shuffles: How often the videos are shuffled, and every caption searched.
        calibrate: The law of what decides (`scoring.matching`), for a model and a collection.

    Raises:
        UsageError: For a size or a number of shuffles below 1, and for fewer than 2 videos.
        NothingToLose: No caption finds its video first.
    """
    if size < 1:
        raise UsageError(f"a collection has at least 1 video, not {size}")
    if shuffles < 1:
        raise UsageError(f"videos are shuffled at least once, not {shuffles} times")
    if len(embeddings) < 2:
        raise UsageError(f"{counted(len(embeddings), 'video')}: nothing is absent from fewer than 2")
    results = _search(model, embeddings, queries, size, shuffles, calibrate)
    if not results.right.any():
        raise NothingToLose(f"among {counted(size, 'video')} no caption finds its video first: nothing can be lost")
    owners = np.broadcast_to(queries.owners if queries.people is None else queries.people, results.right.shape)
    right, searched = results.right, ~np.isnan(results.absent)
    return Trials(
        size=min(size, len(embeddings)),
        present=results.present[right],
        present_owners=owners[right],
        absent={CAPTIONS: results.absent[searched]}
        | {name: np.concatenate(values) for name, values in results.others.items()},
        absent_owners=owners[searched],
        present_queries=np.nonzero(right)[1],
        absent_queries={CAPTIONS: np.nonzero(searched)[1]}
        | {name: np.tile(np.arange(len(values[0])), len(values)) for name, values in results.others.items()},
        n={"present": len(np.unique(owners[right])), CAPTIONS: len(np.unique(owners[searched]))}
        | {name: len(vectors) for name, vectors in queries.others.items()},
        right_first=float(right[~np.isnan(results.present)].mean()),
    )


class _Results(NamedTuple):
    """The relevance of the best hits of captions (shuffles, N), NaN where a caption was not searched.

    `right` says where the best hit of a present one is right; `others` has the other sets (S,), once a collection.
    """

    present: NDArray[np.float64]
    right: NDArray[np.bool_]
    absent: NDArray[np.float64]
    others: dict[str, list[NDArray[np.float64]]]


class _Collection(NamedTuple):
    """The M videos of a collection, and the law of what decides there: scores, or matches."""

    model: Model
    videos: Sequence[Embeddings]
    law: RelevanceCalibration

    def best(self, scores: FloatArray, queries: FloatArray) -> NDArray[np.float64]:
        """Return how good the best hit of each of N queries (N, D) is by the law, from their scores (N, M)."""
        best = [self.videos[video] for video in scores.argmax(axis=1)]
        values = matching.evidence(self.model, queries, best, scores.max(axis=1))
        worth = [self.law.relevance(value[None], query)[0] for value, query in zip(values, queries, strict=True)]
        return np.array(worth, dtype=np.float64)


def _search(
    model: Model,
    embeddings: Sequence[Embeddings],
    queries: QuerySet,
    size: int,
    shuffles: int,
    calibrate: Calibrate,
) -> _Results:
    """Search all collections; the arguments are those of `trials`."""
    scores = Gallery.pack(embeddings).score(queries.captions, model.scoring)  # (N, M)
    true = queries.truths(len(embeddings))
    present, absent = np.full((2, shuffles, len(queries.captions)), np.nan)
    results = _Results(present, np.zeros(present.shape, bool), absent, {name: [] for name in queries.others})
    for shuffle in range(shuffles):
        for part, outside in collections(len(embeddings), size, shuffle):
            videos = [embeddings[number] for number in part]
            gallery = Gallery.pack(videos)
            collection = _Collection(model, videos, calibrate(model, gallery, len(part)))
            inside = np.flatnonzero(np.isin(queries.owners, part))
            scores_inside = scores[np.ix_(inside, part)]
            results.present[shuffle, inside] = collection.best(scores_inside, queries.captions[inside])
            results.right[shuffle, inside] = true[inside, part[scores_inside.argmax(axis=1)]]
            rows, false = _absent_queries(queries.owners, true, part, outside)
            absent_scores = np.where(false, scores[np.ix_(rows, part)], -np.inf)
            results.absent[shuffle, rows] = collection.best(absent_scores, queries.captions[rows])
            for name, vectors in queries.others.items():
                results.others[name].append(collection.best(gallery.score(vectors, model.scoring), vectors))
    return results


def collections(videos: int, size: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield collections of `size` of the videos, and the videos whose captions are searched there as absent ones.

    The remainder of a division is left out. Where there is one collection alone, nothing is outside.
    """
    order = np.random.default_rng(seed).permutation(videos)
    count = max(1, videos // size)
    parts = [np.sort(order[first * size : (first + 1) * size]) for first in range(count)]
    for number, part in enumerate(parts):
        yield part, parts[number - 1] if count > 1 else part[:0]


def _absent_queries(
    owners: NDArray[np.int64], true: NDArray[np.bool_], part: NDArray[np.int64], outside: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the queries that are absent from a collection (A,), and which of its videos they are false of (A, part).

    Where nothing is outside, the true videos of a query are taken out, so that it needs a false one; elsewhere it has
    to be false of all.
    """
    alone = not len(outside)
    rows = np.flatnonzero(np.isin(owners, part if alone else outside))
    false = ~true[np.ix_(rows, part)]
    absent = false.any(axis=1) if alone else false.all(axis=1)
    return rows[absent], false[absent]


def area(present: FloatArray, absent: FloatArray) -> float:
    """Return how probable it is (0..1) that a present value is larger than an absent one; a tie is half of it."""
    ordered = np.sort(absent)
    below = np.searchsorted(ordered, present, "left") + np.searchsorted(ordered, present, "right")
    return float(below.mean() / (2 * len(absent)))


def common_threshold(trials_of_sizes: Sequence[Trials], lost: float) -> float:
    """Return the largest threshold at which at most this share (0..1) is lost at each size."""
    return min(trial.threshold(lost) for trial in trials_of_sizes)


def title_of(name: str) -> str:
    """Return what a reader calls a set of absent queries: the queries themselves, of whichever kind, are "absent"."""
    return "absent" if name == CAPTIONS else name


def table(trials_of_sizes: Sequence[Trials], threshold: float) -> list[str]:
    """Return rows of Markdown: what is lost and told at a threshold, in percent with 95 % intervals (Wilson)."""
    names = list(trials_of_sizes[0].absent)
    titles = [title_of(name) for name in names]
    rejected_titles, area_titles = [f"told: {title}" for title in titles], [f"area: {title}" for title in titles]
    rows = [
        markdown_row(["videos", "right first", "lost", *rejected_titles, *area_titles]),
        "|---|---|" + "---|" * (1 + 2 * len(names)),
    ]
    for trial in trials_of_sizes:
        shares = {"present": trial.lost(threshold)} | {name: trial.rejected(name, threshold) for name in names}
        cells = [interval(100 * share, *wilson(share, trial.n[name])) for name, share in shares.items()]
        areas = [f"{trial.area(name):.3f}" for name in names]
        rows.append(markdown_row([f"{trial.size:,}", f"{100 * trial.right_first:.1f}", *cells, *areas]))
    return rows


def curve_table(trials_of_sizes: Sequence[Trials]) -> list[str]:
    """Return rows of Markdown: what is told where so much is lost, in percent, of absent queries of each size."""
    rows = [markdown_row(["lost, at most", *(f"{trial.size:,} videos" for trial in trials_of_sizes)])]
    rows.append("|---|" + "---|" * len(trials_of_sizes))
    for lost in _LOST:
        shares = [100 * trial.rejected(CAPTIONS, trial.threshold(lost / 100)) for trial in trials_of_sizes]
        rows.append(markdown_row([f"{lost:g}", *(f"{share:.1f}" for share in shares)]))
    return rows


def _share(share: float, n: int) -> dict[str, Any]:
    return {"share": round(100 * share, 2), "ci95": [round(bound, 2) for bound in wilson(share, n)]}
