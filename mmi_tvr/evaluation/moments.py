"""At the right second? What a search points at within a video, against when it really happens.

A moment points right (`pointing`) where its time lies in an event that the sentence is about. Of the spans, IoU is the
length of the intersection with the true one over that of their union (Gao et al., "TALL", ICCV 2017): R1@m counts those
with at least m, mIoU is their mean; everything in percent. Twice: given the right video, and over the whole collection,
where a query whose first video is not right counts as a miss, with an IoU of 0. What benchmarks measure besides
(`moment_benchmarks`) goes by what the annotation has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import MediaError, MetricsError
from ..protocols import Model
from ..scoring.moments import locate
from ..scoring.similarity import Gallery
from ..types import DescribedMoment, Embeddings, FloatArray, IdArray, Query, Sample, Span
from ..utils.intervals import wilson
from ..utils.tables import interval, text_table
from ..utils.wording import counted
from .blind_guesses import blind_guesses
from .bootstrap import bootstrap_means, numbered_groups
from .metrics import SCORE_TOLERANCE
from .moment_benchmarks import Answers, further_measures, of_guesses, of_model, of_whole_videos, spans_of
from .moment_measures import THRESHOLDS

POINTING, MEAN_IOU = "pointing", "mIoU"
SPANS = (*(f"R1@{threshold}" for threshold in THRESHOLDS), MEAN_IOU)
NAMES = (POINTING, *SPANS)
WHOLE, MIDDLE, BLIND = "whole video", "middle of the video", "query-blind guess"
_TOLERANCE = 1e-9  # seconds are not whole in binary: an IoU of exactly m reaches m
_BLOCK = 256  # queries scored at once


@dataclass(frozen=True, slots=True)
class MomentMetrics:
    """Percentages of `n` queries by name (`NAMES`, or those that a baseline has), and (low, high) of each."""

    n: int
    values: Mapping[str, float]
    ci95: Mapping[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"n": self.n, **self.values, "ci95": {name: list(ends) for name, ends in self.ci95.items()}}


@dataclass(frozen=True, slots=True)
class MomentReport:
    """The metrics of every set of sentences, given the right video, over the whole collection, and of what needs no
    model (by baseline, then set); `official` has, by set and then by who answers, what benchmarks measure besides,
    given the right video; `unreachable` counts the moments of each set that begin behind the end of their video."""

    sets: Mapping[str, MomentMetrics]
    collection: Mapping[str, MomentMetrics]
    baselines: Mapping[str, Mapping[str, MomentMetrics]] = field(default_factory=dict)
    official: Mapping[str, Mapping[str, MomentMetrics]] = field(default_factory=dict)
    unreachable: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; everything in percent."""
        return {
            **_plain(self.sets),
            "collection": _plain(self.collection),
            "baselines": {title: _plain(sets) for title, sets in self.baselines.items()},
            "official": {name: _plain(rows) for name, rows in self.official.items()},
            "unreachable": dict(self.unreachable),
        }

    def lines(self) -> list[str]:
        """Return the report as aligned plain text."""
        rows = [["moments", "n", *NAMES]]
        for name, metrics in self.sets.items():
            rows.append(_row(f"{name} (the right video given)", metrics))
            rows.append(_row(f"{name} (whole collection)", self.collection[name]))
            rows += [_row(f"{name}: {title}", sets[name]) for title, sets in self.baselines.items()]
        lines = text_table(rows)
        lines += [
            f"{name}: {count} of {counted(self.sets[name].n, 'moment')} begin behind the end of the video, where "
            "nothing finds them: are these the files that were annotated?"
            for name, count in self.unreachable.items()
            if count
        ]
        for name, answers in self.official.items():
            measures = list(next(iter(answers.values())).values)
            table = [[f"{name}, as benchmarks measure", "n", *measures]]
            table += [_row(f"  {title}", metrics, measures) for title, metrics in answers.items()]
            lines += ["", *text_table(table)]
        return lines


class _Place(NamedTuple):
    """Where a sentence is true: a column of the gallery, the spans there (the nearest counts), the events in them."""

    column: int
    spans: Sequence[tuple[float, float]]
    events: Sequence[tuple[float, float]]


def evaluate_moments(
    model: Model,
    samples: Sequence[Sample],
    embeddings: Sequence[Embeddings | MediaError],
    moments: Mapping[str, Sequence[DescribedMoment]],
) -> MomentReport:
    """Measure how well a model finds the moments that sentences describe.

    Intervals are bootstrapped over videos (as those of `metrics`), and Wilson's with the videos as the sample size
    where all queries of a share agree, or there is one video: a bootstrap would have no width there.

    Args:
        model: Embeds the sentences, and says how vectors are scored.
        samples: The test set.
        embeddings: One for each sample, or why there is none; its moments are left out.
        moments: Sets of sentences with their spans, by name.

    Raises:
        MetricsError: Where no moment of a set is in a readable video, or one is of no sample or at no time.
    """
    columns = _columns(samples, embeddings)
    readable = [result for result in embeddings if not isinstance(result, MediaError)]
    gallery = Gallery.pack(readable)
    sets, collection, official, unreachable = {}, {}, {}, {}
    baselines: dict[str, dict[str, MomentMetrics]] = {WHOLE: {}, MIDDLE: {}, BLIND: {}}
    for name, described in moments.items():
        for moment in described:
            _check(moment, len(samples))
        usable = [moment for moment in described if moment.sample in columns]
        if not usable:
            raise MetricsError(f"no moment of the set {name!r} is in a readable video: there is nothing to measure")
        queries = np.asarray(model.embed_queries([Query(moment.text) for moment in usable]), dtype=np.float32)
        places = [_places(moment, columns) for moment in usable]
        groups = numbered_groups([samples[moment.sample].video for moment in usable], len(usable))
        given = [alternatives[0] for alternatives in places]
        videos = [readable[place.column] for place in given]
        located = locate(model, queries, videos)
        sets[name] = moment_metrics(_outcomes(located, given), groups)
        whole = [_whole(video) for video in videos]
        unreachable[name] = sum(
            min(start for start, _ in spans_of(moment)) >= video.end
            for moment, video in zip(usable, whole, strict=True)
        )
        blind = _guesses(usable, whole, groups)
        baselines[BLIND][name] = moment_metrics(_outcomes(blind.spans, given), groups)
        baselines[WHOLE][name] = moment_metrics(_outcomes(whole, given), groups, SPANS)
        baselines[MIDDLE][name] = moment_metrics(_outcomes(whole, given), groups, (POINTING,))
        first = _first_places(model, gallery, queries, places)
        searched = locate(model, queries, [readable[place.column] for place in first])
        collection[name] = moment_metrics(_outcomes(searched, first), groups)
        answers = {
            "the model": of_model(located, queries, videos, model.scoring),
            WHOLE: of_whole_videos(whole),
            BLIND: blind,
        }
        starts = np.array([span.start for span in whole])
        names, measured = further_measures(usable, answers, starts, groups)
        official[name] = {title: moment_metrics(values, groups, names, names) for title, values in measured.items()}
    return MomentReport(sets, collection, baselines, official, unreachable)


def overlap(spans: FloatArray, truths: FloatArray) -> FloatArray:
    """Return the IoU (N,) of spans (N, 2) with true ones (N, 2), both with start and end.

    >>> overlap(np.array([[0.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 3.0], [2.0, 3.0]]))
    array([0.33333333, 0.        ])
    """
    both = np.minimum(spans[:, 1], truths[:, 1]) - np.maximum(spans[:, 0], truths[:, 0])
    both = both.clip(min=0)
    total = np.diff(spans)[:, 0] + np.diff(truths)[:, 0] - both
    ratios: FloatArray = both / np.maximum(total, _TOLERANCE)  # two spans without length have nothing in common
    return ratios


def overlaps(spans: Sequence[Span], moments: Sequence[DescribedMoment]) -> FloatArray:
    """Return the IoU (N,) of spans with those of moments, of several spans of a moment with the nearest one."""
    return _best_overlaps(spans, [spans_of(moment) for moment in moments])


def span_outcomes(spans: Sequence[Span], moments: Sequence[DescribedMoment]) -> FloatArray:
    """Return what counts of spans in the moments' own videos, by `NAMES`: (N, 5), 0..1."""
    return _outcomes(spans, [_Place(moment.sample, spans_of(moment), _events(moment)) for moment in moments])


def _best_overlaps(spans: Sequence[Span], truths: Sequence[Sequence[tuple[float, float]]]) -> FloatArray:
    counts = np.array([len(alternatives) for alternatives in truths])
    ratios = overlap(
        np.repeat([(span.start, span.end) for span in spans], counts, axis=0),
        np.array([alternative for alternatives in truths for alternative in alternatives]),
    )
    best: FloatArray = np.maximum.reduceat(ratios, np.cumsum(counts) - counts)
    return best


def _check(moment: DescribedMoment, samples: int) -> None:
    """Raise MetricsError where a moment is of none of so many samples, or has a span that is no stretch of time."""
    elsewhere = [(start, end) for _, start, end in moment.elsewhere]
    for start, end in (*spans_of(moment), *moment.events, *moment.annotated, *elsewhere):
        if not -math.inf < start <= end < math.inf:  # also where one is no number
            raise MetricsError(f"from {start:g} s to {end:g} s is no stretch of time: {moment.text[:40]!r}")
    for number in (moment.sample, *(sample for sample, _, _ in moment.elsewhere)):
        if not 0 <= number < samples:
            raise MetricsError(
                f"{moment.text[:40]!r} is of sample {number}, which is none of the {counted(samples, 'sample')}"
            )


def _columns(samples: Sequence[Sample], embeddings: Sequence[Embeddings | MediaError]) -> dict[int, int]:
    """Return the column in the gallery of each readable sample's number."""
    readable = [number for number in range(len(samples)) if not isinstance(embeddings[number], MediaError)]
    return {number: column for column, number in enumerate(readable)}


def _places(moment: DescribedMoment, columns: Mapping[int, int]) -> list[_Place]:
    """Return where a sentence is true among the readable videos; its own video comes first."""
    elsewhere = [
        _Place(columns[sample], ((start, end),), ((start, end),))
        for sample, start, end in moment.elsewhere
        if sample in columns
    ]
    return [_Place(columns[moment.sample], spans_of(moment), _events(moment)), *elsewhere]


def _events(moment: DescribedMoment) -> Sequence[tuple[float, float]]:
    return (*(moment.events or ((moment.start, moment.end),)), *moment.repeated)


def _first_places(
    model: Model, gallery: Gallery, queries: FloatArray, places: Sequence[Sequence[_Place]]
) -> list[_Place]:
    """Return for each query the place in the first video of a search; where that is wrong, one that nothing hits.

    A wrong video that ties with the best right one is ahead of it (as in `metrics`).
    """
    first = []
    for start in range(0, len(queries), _BLOCK):
        scores = gallery.score(queries[start : start + _BLOCK], model.scoring)
        for row, alternatives in zip(scores, places[start : start + _BLOCK], strict=True):
            best = max(alternatives, key=lambda place: row[place.column])
            wrong = row.copy()
            wrong[[place.column for place in alternatives]] = -np.inf
            ahead = int(wrong.argmax())
            missed = wrong[ahead] >= row[best.column] - SCORE_TOLERANCE
            first.append(_Place(ahead, ((0.0, 0.0),), ()) if missed else best)
    return first


def _whole(video: Embeddings) -> Span:
    start, end = float(video.segments[0, 0]), float(video.segments[-1, 1])
    return Span(start, end, (start + end) / 2)


def _guesses(moments: Sequence[DescribedMoment], whole: Sequence[Span], groups: IdArray) -> Answers:
    """Return what `blind_guesses` answers; `groups` has the numbers of the sentences' videos (N,)."""
    starts = np.array([span.start for span in whole])
    lengths = np.array([span.end for span in whole]) - starts
    truths = [
        [(first - start, last - start) for first, last in spans_of(moment)]
        for moment, start in zip(moments, starts, strict=True)
    ]
    ratings = [moment.saliency.table() if moment.saliency else None for moment in moments]
    return of_guesses(blind_guesses(truths, lengths, groups, ratings), starts)


def _outcomes(spans: Sequence[Span], places: Sequence[_Place]) -> FloatArray:
    """Return what counts of each span, by `NAMES`: (N, 5), 0..1."""
    ratios = _best_overlaps(spans, [place.spans for place in places])
    points = [
        any(start <= span.time <= end for start, end in place.events) for span, place in zip(spans, places, strict=True)
    ]
    reached = [ratios >= threshold - _TOLERANCE for threshold in THRESHOLDS]
    return np.column_stack([points, *reached, ratios]).astype(np.float64)


def moment_metrics(
    outcomes: FloatArray, groups: IdArray, names: Sequence[str] = NAMES, columns: Sequence[str] = NAMES
) -> MomentMetrics:
    """Summarise outcomes of queries.

    Args:
        outcomes: (N, columns), 0..1.
        groups: The numbers of the queries' videos (N,).
        names: Which columns count.
        columns: What all of them are.
    """
    means, ends = outcomes.mean(axis=0), bootstrap_means(outcomes, groups)
    videos = int(groups.max()) + 1
    values, ci95 = {}, {}
    for column, name in enumerate(columns):
        if name not in names:
            continue
        values[name] = 100 * float(means[column])
        unanimous = not name.startswith(MEAN_IOU) and means[column] in (0, 1)
        without_width = unanimous or videos == 1
        low, high = wilson(float(means[column]), videos) if without_width else 100 * ends[:, column]
        ci95[name] = (float(low), float(high))
    return MomentMetrics(len(outcomes), values, ci95)


def _plain(sets: Mapping[str, MomentMetrics]) -> dict[str, Any]:
    return {name: metrics.as_dict() for name, metrics in sets.items()}


def _row(title: str, metrics: MomentMetrics, names: Sequence[str] = NAMES) -> list[str]:
    cells = [interval(metrics.values[name], *metrics.ci95[name]) if name in metrics.values else "" for name in names]
    return [title, str(metrics.n), *cells]
