"""How well captions find their videos, and videos their captions: exact ranks, intervals, and what was left out.

Nothing looks at the test queries together unless it is asked for (`transductive`), and then in columns of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, MetricsError, UsageError
from ..protocols import Model
from ..scoring.similarity import Gallery
from ..types import Embeddings, FloatArray, IdArray, Query, Sample, Scoring, Video
from ..utils.tables import interval, text_table
from . import metrics
from .metrics import Difference, Metrics
from .transductive import METHODS, Directions, MakeBlocks

ROUNDING = 1e-6  # decision: scores of unit vectors in float32 that are closer than this are ties
MAX_UNREADABLE = 0.02  # decision: a larger share of missing videos makes another, easier test
_MISSING_SHOWN = 10
Embed = Callable[[Sequence[Video]], Sequence["Embeddings | MediaError"]]
# Blocks of scores, the caption of each row and the sample of each column -> what to rank instead.
Rerank = Callable[[MakeBlocks, Sequence[str], Sequence[Sample]], Directions]


@dataclass(frozen=True, slots=True)
class Details:
    """What a report's numbers rest on, query by query.

    `captions` are (sample id, caption) of the text queries with their ranks `t2v`; `asked` the sample ids of the video
    queries with their ranks `v2t`; `samples`, `gallery` and `queries` (n, D) are what was ranked; `right` holds the
    right samples' numbers of each text query.
    """

    captions: Sequence[tuple[str, str]]
    t2v: IdArray
    asked: Sequence[str]
    v2t: IdArray
    samples: Sequence[Sample]
    gallery: Gallery
    queries: FloatArray
    right: Sequence[Collection[int]]
    scoring: Scoring

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: every query with its rank (`compare` reads them)."""
        texts = zip(self.captions, self.t2v.tolist(), strict=True)
        return {
            "t2v": [{"id": name, "caption": caption, "rank": rank} for (name, caption), rank in texts],
            "v2t": [{"id": name, "rank": rank} for name, rank in zip(self.asked, self.v2t.tolist(), strict=True)],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one evaluation.

    `n` captions were ranked against `videos` videos. `failures` maps the ids of unreadable videos to the reason, and
    `left_out` counts their captions: neither took part. `missing` are the ids of annotated videos that are not there,
    `remarks` what else a reader should know of the data. `fingerprint` is of all that made the vectors.
    `transductive` holds both directions under the name of each normalisation that was asked for; `searched` those of
    the search alone, where the others are re-ranked, and `gains` what the re-ranking added (paired bootstrap).
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
    transductive: Mapping[str, tuple[Metrics, Metrics]] = field(default_factory=dict)
    searched: tuple[Metrics, Metrics] | None = None
    gains: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    details: Details | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; recalls in percent, ranks 1-based."""
        return {
            "n": self.n,
            "videos": self.videos,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "protocol": dict(metrics.PROTOCOL),
            "inductive": True,
            "t2v": self.t2v.as_dict(),
            "v2t": self.v2t.as_dict(),
            "SumR": metrics.sum_of_recalls(self.t2v, self.v2t),
            "transductive": {
                name: {"t2v": t2v.as_dict(), "v2t": v2t.as_dict()} for name, (t2v, v2t) in self.transductive.items()
            },
            "left_out": {"captions": self.left_out, "videos": dict(self.failures)},
            "missing": list(self.missing),
            "remarks": list(self.remarks),
            **({"rerank": self._reranking()} if self.searched else {}),
        }

    def _reranking(self) -> dict[str, Any]:
        assert self.searched is not None
        gains = {
            side: {name: each._asdict() for name, each in found.items() if name.startswith("R@")}
            for side, found in self.gains.items()
        }
        return {"searched": {"t2v": self.searched[0].as_dict(), "v2t": self.searched[1].as_dict()}, "gains": gains}

    def table(self) -> str:
        """The report as aligned plain text, with n and a 95 % interval for every number."""
        sides = [("text-to-video", "t2v", self.t2v), ("video-to-text", "v2t", self.v2t)]
        if self.searched:
            sides = [(f"{title}, re-ranked", key, side) for title, key, side in sides]
            sides += [("text-to-video", "t2v", self.searched[0]), ("video-to-text", "v2t", self.searched[1])]
        for name, (t2v, v2t) in self.transductive.items():
            sides += [(f"text-to-video, {name} *", "t2v", t2v), (f"video-to-text, {name} *", "v2t", v2t)]
        rows = [["", "n", *metrics.NAMES]]
        for title, key, side in sides:
            cells = [interval(value, *side.ci95[name]) for name, value in side.values().items()]
            rows.append([f"{title} ({metrics.PROTOCOL[key]})", str(side.n), *cells])
        listed = self.videos + len(self.failures) + len(self.missing)
        gone = f" (missing: {len(self.missing)} of {listed})" if self.missing else ""
        title = f"{self.model or 'model'}: {self.n} captions, {self.videos} videos{gone}, inductive"
        return "\n".join([title, *text_table(rows), *self._notes()])

    def _notes(self) -> Iterator[str]:
        yield f"SumR {metrics.sum_of_recalls(self.t2v, self.v2t):.1f}; [low, high]: 95 % bootstrap over videos"
        for side, found in self.gains.items():
            gain = found["R@1"]
            difference = interval(gain.value, gain.low, gain.high, signed=True)
            yield f"re-ranking adds to R@1, {side}: {difference}, p {gain.p:.4f} (paired bootstrap)"
        if self.transductive:
            yield "* transductive: looks at all test queries together; not what a single search does"
        yield from self.remarks
        if self.missing:
            more = ", ..." if len(self.missing) > _MISSING_SHOWN else ""
            yield f"missing, with all their captions: {', '.join(self.missing[:_MISSING_SHOWN])}{more}"
        if self.failures:
            yield f"left out: {len(self.failures)} unreadable videos and their {self.left_out} captions"
            yield from (f"  {name}: {reason}" for name, reason in self.failures.items())


def evaluate(
    samples: Sequence[Sample],
    embeddings: Sequence[Embeddings | MediaError],
    query_vectors: FloatArray,
    scoring: Scoring,
    block: int = 256,
    *,
    model: str = "",
    fingerprint: str = "",
    max_unreadable: float = MAX_UNREADABLE,
    transductive: Collection[str] = (),
    rerank: Rerank | None = None,
) -> Report:
    """Rank every caption among all videos, and every video among all captions (`metrics.PROTOCOL`).

    samples: the test set. embeddings: one for each sample, or the MediaError that says why there is none; such a
    sample and its captions are left out and reported. query_vectors: (captions of all samples in order, D).
    block: captions scored at once; memory is a few times block x videos numbers. A sample without captions is a
    distractor. Samples of the same stretch of the same file are right answers to each other's captions.
    transductive: names of `transductive.METHODS` to show beside. rerank: makes the ranks that are reported; those of
    the search alone stand beside them.
    Raises UsageError where the three do not fit together, MetricsError where more than one sample and more than
    `max_unreadable` (a share of the samples) are unreadable, or nothing is left to rank.
    """
    owners = [number for number, sample in enumerate(samples) for _ in sample.captions]
    if len(embeddings) != len(samples) or len(query_vectors) != len(owners):
        raise UsageError(
            f"{len(samples)} samples with {len(owners)} captions need as many embeddings and query vectors, "
            f"not {len(embeddings)} and {len(query_vectors)}"
        )
    failures = _failures(samples, embeddings, max_unreadable)
    kept = [sample for sample in samples if sample.id not in failures]
    asked = [row for row, owner in enumerate(owners) if samples[owner].id not in failures]
    if not asked:
        raise MetricsError("no caption of a readable video is left: there is nothing to rank")
    gallery = Gallery.pack([each for each in embeddings if not isinstance(each, MediaError)])
    queries = query_vectors[asked]

    def blocks() -> Iterator[FloatArray]:
        for start in range(0, len(queries), block):
            yield gallery.score(queries[start : start + block], scoring)

    videos = [samples[owners[row]].video for row in asked]
    truth = _right(kept, videos)
    found = metrics.both_directions(blocks, truth, ROUNDING)
    sources = [kept[column].video for column in found.asked]
    told = [caption for sample in kept for caption in sample.captions]
    rows, columns, beside = found.rows, found.columns, {}
    if rerank is not None:
        made = rerank(blocks, told, kept)
        rows = metrics.ranks(made.t2v(), truth, ROUNDING)
        columns = metrics.both_directions(made.v2t, truth, ROUNDING).columns
        beside = _beside(found, rows, columns, videos, sources)
    names = [samples[owners[row]].id for row in asked]
    heard = [kept[column].id for column in found.asked]
    return Report(
        n=len(asked),
        videos=len(kept),
        t2v=metrics.summary(rows, groups=videos),
        v2t=metrics.summary(columns, groups=sources),
        model=model,
        fingerprint=fingerprint,
        failures=failures,
        left_out=len(owners) - len(asked),
        transductive={name: _together(name, blocks, truth, videos, sources) for name in transductive},
        details=Details([*zip(names, told, strict=True)], rows, heard, columns, kept, gallery, queries, truth, scoring),
        **beside,
    )


def _right(kept: Sequence[Sample], videos: Sequence[Video]) -> list[list[int]]:
    """The columns that are right for each caption, by the video it belongs to."""
    columns: dict[Video, list[int]] = {}
    for column, sample in enumerate(kept):
        columns.setdefault(sample.video, []).append(column)
    return [columns[video] for video in videos]


def _beside(
    found: metrics.BothRanks, rows: IdArray, columns: IdArray, videos: Sequence[Video], sources: Sequence[Video]
) -> dict[str, Any]:
    """The search alone, and what the re-ranked rows and columns gain over it."""
    return {
        "searched": (metrics.summary(found.rows, groups=videos), metrics.summary(found.columns, groups=sources)),
        "gains": {
            "t2v": metrics.paired(found.rows, rows, videos),
            "v2t": metrics.paired(found.columns, columns, sources),
        },
    }


def _together(
    name: str, blocks: MakeBlocks, truth: metrics.Truth, videos: Sequence[Video], sources: Sequence[Video]
) -> tuple[Metrics, Metrics]:
    """Both directions under one normalisation over all test queries."""
    if name not in METHODS:
        raise UsageError(f"no normalisation is called {name!r}; there are: {', '.join(METHODS)}")
    made = METHODS[name](blocks)
    rows = metrics.ranks(made.t2v(), truth)
    columns = metrics.both_directions(made.v2t, truth).columns
    return metrics.summary(rows, groups=videos), metrics.summary(columns, groups=sources)


def evaluate_model(
    model: Model,
    samples: Sequence[Sample],
    embed: Embed,
    block: int = 256,
    *,
    failures: Mapping[str, str] | None = None,
    fingerprint: str | None = None,
    max_unreadable: float = MAX_UNREADABLE,
    transductive: Collection[str] = (),
    rerank: Rerank | None = None,
) -> Report:
    """Embed a test set with a model and evaluate it.

    embed: videos -> one Embeddings each, in order, or the MediaError of a video that cannot be read.
    failures: reasons by sample id of videos known to be unreadable (a library's quarantine); they are not handed to
    `embed`. fingerprint: of all that made the vectors, where `embed` has choices of its own (key images); None takes
    the model's. Otherwise as `evaluate`.
    """
    known = failures or {}
    if unknown := sorted(set(known) - {sample.id for sample in samples}):
        raise UsageError(f"{len(unknown)} failures are of no sample, the first: {unknown[0]}")
    wanted = [sample.video for sample in samples if sample.id not in known]
    made = list(embed(wanted)) if wanted else []
    if len(made) != len(wanted):
        raise UsageError(f"embed gave {len(made)} results for {len(wanted)} videos: each video gets one, in order")
    results = iter(made)
    embeddings = [
        MediaError(sample.video.path, known[sample.id]) if sample.id in known else next(results) for sample in samples
    ]
    captions = [caption for sample in samples for caption in sample.captions]
    return evaluate(
        samples,
        embeddings,
        np.asarray(model.embed_queries([Query(caption) for caption in captions])),
        model.scoring,
        block,
        model=model.name,
        fingerprint=model.fingerprint() if fingerprint is None else fingerprint,
        max_unreadable=max_unreadable,
        transductive=transductive,
        rerank=rerank,
    )


def pair_scores(model: Model, samples: Sequence[Sample], embed: Embed) -> NDArray[np.float32]:
    """Scores (n, 2, 2) of the first captions of samples 2i and 2i + 1 with the videos of both, [caption, video].

    For contrast sets, whose pairs differ in one thing. Raises the MediaError of an unreadable video: half a pair says
    nothing.
    """
    made = []
    for each in embed([sample.video for sample in samples]):
        if isinstance(each, MediaError):
            raise each
        made.append(each)
    queries = np.asarray(model.embed_queries([Query(sample.captions[0]) for sample in samples]))
    pairs = [
        Gallery.pack(made[first : first + 2]).score(queries[first : first + 2], model.scoring)
        for first in range(0, len(samples) - 1, 2)
    ]
    return np.stack(pairs)


def _failures(
    samples: Sequence[Sample], embeddings: Sequence[Embeddings | MediaError], max_unreadable: float
) -> dict[str, str]:
    if len({sample.id for sample in samples}) < len(samples):
        raise UsageError("several samples have one id: the report could not say which one failed")
    failures = {
        sample.id: each.reason for sample, each in zip(samples, embeddings, strict=True) if isinstance(each, MediaError)
    }
    if len(failures) > max(1, max_unreadable * len(samples)):  # one bad file of a few dozen is no other test
        first, reason = next(iter(failures.items()))
        raise MetricsError(
            f"{len(failures)} of {len(samples)} videos are unreadable, more than {max_unreadable:.0%} "
            f"(the first: {first}: {reason}); repair them, take them out of the test set, "
            "or allow a larger share with max_unreadable"
        )
    return failures
