"""The result of one evaluation: as a record, as plain values for report.json, and as a table of plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..scoring.similarity import Gallery
from ..types import Direction, FloatArray, IdArray, Sample, Scoring
from ..utils.printable import printable
from ..utils.tables import interval, text_table
from ..utils.wording import counted
from . import metrics
from .folds import FoldMetrics
from .graded import GradedDirections
from .metrics import SCORE_TOLERANCE, Difference, DirectionBlocks, DirectionMetrics, DirectionRanks, Metrics
from .moments import MomentReport

_MISSING_SHOWN = 10


def gallery_blocks(gallery: Gallery, query_vectors: FloatArray, scoring: Scoring, height: int = 256) -> DirectionBlocks:
    """Return what makes the scores (rows, M) of `height` queries (N, D) at a time, for who asks: texts, or videos."""

    def scores(direction: Direction) -> Iterator[FloatArray]:
        for start in range(0, len(query_vectors), height):
            yield gallery.score(query_vectors[start : start + height], scoring, direction)

    return DirectionBlocks(lambda: scores("t2v"), lambda: scores("v2t"))


def gallery_ranks(
    gallery: Gallery,
    query_vectors: FloatArray,
    ground_truth: Sequence[Collection[int]],
    scoring: Scoring,
    height: int = 256,
) -> DirectionRanks:
    """Return the ranks of both directions of queries (N, D) and their right videos, `height` queries at a time."""
    blocks = gallery_blocks(gallery, query_vectors, scoring, height)
    if scoring.symmetric:
        return metrics.both_directions(blocks.t2v, ground_truth, SCORE_TOLERANCE)
    return metrics.ranks_of_directions(blocks, ground_truth, SCORE_TOLERANCE)


@dataclass(frozen=True, slots=True)
class Details:
    """What a report's numbers rest on, query by query.

    - `captions`: (sample id, caption) of the N text queries, with their ranks `t2v_ranks` (N,).
    - `video_ids`: the sample ids of the C video queries, with their ranks `v2t_ranks` (C,).
    - `samples`, `gallery` (M videos) and `query_vectors` (N, D) are what was ranked, as `scoring` says.
    - `ground_truth`: of each text query the numbers of the samples that are right.
    """

    captions: Sequence[tuple[str, str]]
    t2v_ranks: IdArray
    video_ids: Sequence[str]
    v2t_ranks: IdArray
    samples: Sequence[Sample]
    gallery: Gallery
    query_vectors: FloatArray
    ground_truth: Sequence[Collection[int]]
    scoring: Scoring

    def blocks(self) -> DirectionBlocks:
        """Return what makes the scores of the search."""
        return gallery_blocks(self.gallery, self.query_vectors, self.scoring)

    def caption_names(self) -> list[str]:
        """Return a name for each text query: that of its video, and its number among that video's captions."""
        counts: Counter[str] = Counter()
        names = []
        for video_id, _ in self.captions:
            names.append(f"{video_id}#{counts[video_id]}")
            counts[video_id] += 1
        return names

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: every query with its rank (`compare` reads them)."""
        captions = zip(self.captions, self.t2v_ranks.tolist(), strict=True)
        videos = zip(self.video_ids, self.v2t_ranks.tolist(), strict=True)
        return {
            "t2v": [{"id": video_id, "caption": caption, "rank": rank} for (video_id, caption), rank in captions],
            "v2t": [{"id": video_id, "rank": rank} for video_id, rank in videos],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one evaluation.

    - `n` captions were ranked against `videos` videos; `t2v` and `v2t` are the numbers.
    - `fingerprint` is of all that made the vectors.
    - `failures` maps the ids of unreadable videos to the reason, and `left_out` counts their captions: neither took
      part. `missing` are the ids of annotated videos that are not there, `remarks` what else a reader should know of
      the data.
    - `transductive` holds both directions under the name of each normalisation that was asked for.
    - `search_alone` holds both directions of the search, where `t2v` and `v2t` are re-ranked, and `gains` what the
      re-ranking added to each direction (paired bootstrap).
    - `levels` holds both directions under the name of each block of the vectors, where that alone counts (models of
      several blocks).
    - `lost_levels` counts for each block the captions whose own video was not first, and fell furthest behind by it.
    - `merged` holds both directions where equal captions are one query with several right videos, where that was asked
      for (re-ranked, where `t2v` and `v2t` are).
    - `graded` holds mAP and nDCG of both directions where captions fit videos to a degree; full matches are right then.
    - `folds` holds both directions in folds of the videos, ranked alone, of data sets whose papers report them.
    - `moments` says how well the moments that sentences describe are found, where that was asked for.
    """

    n: int
    videos: int
    t2v: Metrics
    v2t: Metrics
    model: str = ""
    fingerprint: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    missing: Sequence[str] = ()
    remarks: Sequence[str] = ()
    transductive: Mapping[str, DirectionMetrics] = field(default_factory=dict)
    search_alone: DirectionMetrics | None = None
    gains: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    levels: Mapping[str, DirectionMetrics] = field(default_factory=dict)
    lost_levels: Mapping[str, int] = field(default_factory=dict)
    merged: DirectionMetrics | None = None
    graded: GradedDirections | None = None
    folds: FoldMetrics | None = None
    moments: MomentReport | None = None
    details: Details | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; recalls in percent, ranks 1-based."""
        values: dict[str, Any] = {
            "n": self.n,
            "videos": self.videos,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "protocol": dict(metrics.PROTOCOL),
            "inductive": True,
            "t2v": self.t2v.as_dict(),
            "v2t": self.v2t.as_dict(),
            "SumR": metrics.sum_of_recalls(self.t2v, self.v2t),
            "transductive": {name: _directions(directions) for name, directions in self.transductive.items()},
            "left_out": {"captions": self.left_out, "videos": dict(self.failures)},
            "missing": list(self.missing),
            "remarks": list(self.remarks),
        }
        if self.search_alone is not None:
            gains = {
                direction: {name: gain._asdict() for name, gain in differences.items() if name.startswith("R@")}
                for direction, differences in self.gains.items()
            }
            values["rerank"] = {"searched": _directions(self.search_alone), "gains": gains}
        if self.merged is not None:
            sides = {"n": self.merged.t2v.n, **_directions(self.merged)}
            values["merged_captions"] = {**sides, "SumR": metrics.sum_of_recalls(*self.merged)}
        if self.graded is not None:
            values["graded"] = self.graded.as_dict()
        if self.folds is not None:
            values["folds"] = self.folds.as_dict()
        if self.levels:
            values["levels"] = {name: _directions(directions) for name, directions in self.levels.items()}
            values["lost_levels"] = dict(self.lost_levels)
        if self.moments is not None:
            values["moments"] = self.moments.as_dict()
        return values

    def table(self) -> str:
        """Return the report as aligned plain text, with n and a 95 % interval for every number."""
        rows = [["", "n", *metrics.NAMES]]
        for title, direction, numbers in self._rows():
            cells = [interval(value, *numbers.ci95[name]) for name, value in numbers.values().items()]
            rows.append([f"{title} ({metrics.PROTOCOL[direction]})", str(numbers.n), *cells])
        listed = self.videos + len(self.failures) + len(self.missing)
        missing = f" (missing: {len(self.missing)} of {listed})" if self.missing else ""
        title = (
            f"{self.model or 'model'}: {counted(self.n, 'caption')}, "
            f"{counted(self.videos, 'video')}{missing}, inductive"
        )
        graded = self.graded.lines() if self.graded is not None else []
        moments = ["", *self.moments.lines()] if self.moments is not None else []
        return "\n".join([title, *graded, *text_table(rows), *self._notes(), *moments])

    def _rows(self) -> Iterator[tuple[str, str, Metrics]]:
        """Yield title, direction and numbers of each row of the table."""
        suffix = ", re-ranked" if self.search_alone else ""
        yield f"text-to-video{suffix}", "t2v", self.t2v
        yield f"video-to-text{suffix}", "v2t", self.v2t
        if self.merged:
            yield f"text-to-video{suffix}, equal captions merged", "t2v", self.merged.t2v
            yield f"video-to-text{suffix}, equal captions merged", "v2t", self.merged.v2t
        if self.folds:
            yield f"text-to-video{suffix}, {self.folds.title}", "t2v", self.folds.directions.t2v
            yield f"video-to-text{suffix}, {self.folds.title}", "v2t", self.folds.directions.v2t
        if self.search_alone:
            yield "text-to-video", "t2v", self.search_alone.t2v
            yield "video-to-text", "v2t", self.search_alone.v2t
        for name, directions in self.levels.items():
            yield f"text-to-video, {name} alone", "t2v", directions.t2v
            yield f"video-to-text, {name} alone", "v2t", directions.v2t
        for name, directions in self.transductive.items():
            yield f"text-to-video, {name} *", "t2v", directions.t2v
            yield f"video-to-text, {name} *", "v2t", directions.v2t

    def _notes(self) -> Iterator[str]:
        intervals = "[low, high]: 95 % bootstrap over videos, Wilson's at 0 and 100 %"
        yield f"SumR {metrics.sum_of_recalls(self.t2v, self.v2t):.1f}; {intervals}"
        if self.merged:
            merged = self.merged
            yield (
                f"equal captions merged into {counted(merged.t2v.n, 'query', 'queries')} with all their videos right "
                f"(HGR, HANet, MCSAN): SumR {metrics.sum_of_recalls(*merged):.1f}"
            )
        if self.graded:
            yield "recalls: a full match is right, also where another video was narrated in the same words"
        for direction, differences in self.gains.items():
            gain = differences["R@1"]
            difference = interval(gain.value, gain.low, gain.high, signed=True)
            yield f"re-ranking adds to R@1, {direction}: {difference}, p {gain.p:.4f} (paired bootstrap)"
        if any(self.lost_levels.values()):
            counts = ", ".join(f"{name} {count:,}" for name, count in self.lost_levels.items())
            yield f"captions whose video was not first, by the level that fell furthest behind: {counts}"
        if self.transductive:
            yield "* transductive: looks at all test queries together; not what a single search does"
        yield from map(printable, self.remarks)
        if self.missing:
            rest = ", ..." if len(self.missing) > _MISSING_SHOWN else ""
            yield f"missing, with all their captions: {printable(', '.join(self.missing[:_MISSING_SHOWN]))}{rest}"
        if self.failures:
            yield (
                f"left out: {counted(len(self.failures), 'unreadable video')} with {counted(self.left_out, 'caption')}"
            )
            yield from (f"  {printable(video_id)}: {printable(reason)}" for video_id, reason in self.failures.items())


def _directions(directions: DirectionMetrics) -> dict[str, Any]:
    return {"t2v": directions.t2v.as_dict(), "v2t": directions.v2t.as_dict()}
