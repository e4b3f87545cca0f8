"""How well captions find their videos, and videos their captions: exact ranks, intervals, and what was left out.

Nothing looks at the test queries together unless it is asked for (`transductive`), and then in columns of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, MetricsError, UsageError
from ..protocols import Model
from ..scoring.blocks import alone
from ..scoring.similarity import Gallery
from ..types import DescribedMoment, Embeddings, FloatArray, IdArray, Query, Sample, Scoring, Video
from ..utils.wording import counted
from . import metrics
from .folds import FoldMetrics, fold_metrics
from .graded import GradedDirections, Relevance, full_matches, graded_metrics
from .lost_levels import count_lost
from .merged_captions import merged_queries, rows_of
from .metrics import SCORE_TOLERANCE, DirectionBlocks, DirectionGroups, DirectionMetrics, DirectionRanks
from .moments import evaluate_moments
from .report import Details, Report, gallery_blocks, gallery_ranks
from .transductive import METHODS

MAX_UNREADABLE = 0.02  # decision: a larger share of missing videos makes another, easier test
Embed = Callable[[Sequence[Video]], Sequence["Embeddings | MediaError"]]
# Blocks of scores, the caption of each row and the sample of each column -> what to rank instead.
Rerank = Callable[[DirectionBlocks, Sequence[str], Sequence[Sample]], DirectionBlocks]


@dataclass(frozen=True, slots=True)
class _TestSet:
    """The readable part of a test set: M videos (the columns of the scores) and their N captions (the rows).

    `video_ids` and `videos` are of the video that each caption belongs to (N,); `ground_truth` holds the columns that
    are right for each caption; `failures` says by sample id why the others are not readable. `columns` are the numbers
    of the samples among all (M,); `relevance` says how well rows fit columns, where that is graded.
    """

    samples: Sequence[Sample]
    gallery: Gallery
    captions: Sequence[str]
    video_ids: Sequence[str]
    videos: Sequence[Video]
    query_vectors: FloatArray
    ground_truth: Sequence[Collection[int]]
    failures: Mapping[str, str]
    columns: Mapping[int, int]
    relevance: Relevance | None

    def blocks(self, scoring: Scoring, height: int) -> DirectionBlocks:
        """Return what makes the scores of both directions."""
        return gallery_blocks(self.gallery, self.query_vectors, scoring, height)

    def ranks(self, scoring: Scoring, height: int) -> DirectionRanks:
        """Return the ranks of both directions."""
        return gallery_ranks(self.gallery, self.query_vectors, self.ground_truth, scoring, height)

    @property
    def groups(self) -> DirectionGroups:
        """What is drawn together in the bootstrap: queries of one video."""
        return DirectionGroups(self.videos, [sample.video for sample in self.samples])

    def lost_levels(self, ranks: DirectionRanks, scoring: Scoring) -> dict[str, int]:
        """Return by how many captions each level lost (`count_lost`); nothing without levels."""
        if not scoring.blocks:
            return {}
        return count_lost(ranks.t2v, self.gallery, self.query_vectors, self.ground_truth, scoring)

    def graded(self, blocks: DirectionBlocks) -> GradedDirections | None:
        """Return mAP and nDCG by degree, where captions fit videos to a degree."""
        if self.relevance is None:
            return None
        groups = self.groups
        return graded_metrics(blocks, self.relevance, groups.rows, groups.columns, SCORE_TOLERANCE)

    def in_folds(self, blocks: DirectionBlocks, folds: Sequence[Sequence[int]]) -> FoldMetrics | None:
        """Return the metrics in folds of samples, by their numbers; None without folds."""
        readable = [[self.columns[number] for number in fold if number in self.columns] for fold in folds]
        if not any(readable):
            return None
        groups = self.groups
        return fold_metrics(blocks, self.ground_truth, readable, groups.rows, groups.columns)

    def merged(self, blocks: DirectionBlocks) -> DirectionMetrics:
        """Return the metrics where equal captions are one query (`merged_queries`).

        In the bootstrap a query is drawn with the first of its videos.
        """
        rows, truth = merged_queries(self.captions, self.ground_truth)
        ranks = metrics.ranks_of_directions(rows_of(blocks, rows), truth, SCORE_TOLERANCE)
        return replace(self.groups, rows=[self.videos[row] for row in rows]).summary(ranks)


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
    merge_captions: bool = False,
    relevance: Relevance | None = None,
    folds: Sequence[Sequence[int]] = (),
) -> Report:
    """Rank every caption among all videos, and every video among all captions (`metrics.PROTOCOL`).

    Where the scores have blocks, the report has the numbers of each block alone, too.

    Args:
        samples: The test set. A sample without captions is a distractor. Samples of the same stretch of the same file
            are right answers to each other's captions.
        embeddings: One for each sample, or the MediaError that says why there is none; such a sample and its captions
            are left out and reported.
        query_vectors: Of the captions of all samples in order, (captions, D).
        scoring: How the vectors are compared.
        block: Captions scored at once; memory is a few times block x videos numbers.
        model: The model's name, for the report.
        fingerprint: Of all that made the vectors, for the report.
        max_unreadable: The share of the samples that may be unreadable (one may always be).
        transductive: Names of `transductive.METHODS` whose numbers are reported in columns of their own.
        rerank: Makes the scores that are ranked for the report; the numbers of the search alone are reported, too.
        merge_captions: Report, besides, the numbers in which equal captions are one query with several right videos, as
            HGR, HANet and MCSAN have it. Where each is a query of its own, a video that another one's caption describes
            just as well counts as wrong, so that those numbers are lower.
        relevance: How well captions fit samples, by their numbers among all, where they do to a degree: mAP and nDCG by
            it are reported (`graded`), and full matches are right answers.
        folds: Numbers of samples in which the captions of these samples are ranked alone, besides.

    Raises:
        UsageError: Where samples, embeddings and query vectors do not fit together, or a normalisation is unknown.
        MetricsError: Where too many samples are unreadable, or nothing is left to rank.
    """
    test_set = _readable(samples, embeddings, query_vectors, max_unreadable, relevance)
    blocks, groups = test_set.blocks(scoring, block), test_set.groups
    ranks = search_ranks = test_set.ranks(scoring, block)
    ranked_blocks = blocks
    if rerank is not None:
        ranked_blocks = rerank(blocks, test_set.captions, test_set.samples)
        ranks = metrics.ranks_of_directions(ranked_blocks, test_set.ground_truth, SCORE_TOLERANCE)
    t2v, v2t = groups.summary(ranks)
    return Report(
        n=len(test_set.captions),
        videos=len(test_set.samples),
        t2v=t2v,
        v2t=v2t,
        model=model,
        fingerprint=fingerprint,
        failures=test_set.failures,
        left_out=len(query_vectors) - len(test_set.captions),
        transductive={name: groups.summary(_normalised(name, blocks, test_set)) for name in transductive},
        search_alone=groups.summary(search_ranks) if rerank is not None else None,
        gains=groups.gains(search_ranks, ranks) if rerank is not None else {},
        merged=test_set.merged(ranked_blocks) if merge_captions else None,
        graded=test_set.graded(ranked_blocks),
        folds=test_set.in_folds(ranked_blocks, folds),
        levels={
            level.name: groups.summary(test_set.ranks(alone(scoring, level.name), block)) for level in scoring.blocks
        },
        lost_levels=test_set.lost_levels(ranks, scoring),
        details=_details(test_set, ranks, scoring),
    )


def _readable(
    samples: Sequence[Sample],
    embeddings: Sequence[Embeddings | MediaError],
    query_vectors: FloatArray,
    max_unreadable: float,
    relevance: Relevance | None,
) -> _TestSet:
    """Return what of a test set can be ranked; the errors of `evaluate` where it cannot be ranked."""
    owners = [number for number, sample in enumerate(samples) for _ in sample.captions]  # the sample of each caption
    if len(embeddings) != len(samples) or len(query_vectors) != len(owners):
        raise UsageError(
            f"{counted(len(samples), 'sample')} with {counted(len(owners), 'caption')} "
            "need as many embeddings and query vectors, "
            f"not {len(embeddings)} and {len(query_vectors)}"
        )
    failures = _reasons(samples, embeddings)
    check_failures(
        failures,
        len(samples),
        max_unreadable,
        "repair them, take them out of the test set, or allow a larger share with max_unreadable",
    )
    readable = [sample for sample in samples if sample.id not in failures]
    rows = [row for row, owner in enumerate(owners) if samples[owner].id not in failures]
    if not rows:
        raise MetricsError("no caption of a readable video is left: there is nothing to rank")
    numbers = [number for number, sample in enumerate(samples) if sample.id not in failures]
    videos = [samples[owners[row]].video for row in rows]
    of_readable = None if relevance is None else _part_of(relevance, np.array(rows), np.array(numbers))
    return _TestSet(
        samples=readable,
        gallery=Gallery.pack([result for result in embeddings if not isinstance(result, MediaError)]),
        captions=[caption for sample in readable for caption in sample.captions],
        video_ids=[samples[owners[row]].id for row in rows],
        videos=videos,
        query_vectors=query_vectors[rows],
        ground_truth=metrics.columns_of_videos(videos, [sample.video for sample in readable])
        if of_readable is None
        else full_matches(of_readable, len(rows), len(numbers)),
        failures=failures,
        columns={number: column for column, number in enumerate(numbers)},
        relevance=of_readable,
    )


def _part_of(relevance: Relevance, rows: IdArray, columns: IdArray) -> Relevance:
    """Return the relevance of these captions and samples alone, by their numbers among these."""
    return lambda some_rows, some_columns: relevance(rows[some_rows], columns[some_columns])


def _reasons(samples: Sequence[Sample], embeddings: Sequence[Embeddings | MediaError]) -> dict[str, str]:
    """Return why samples have no embeddings, by sample id. UsageError where two samples have one id."""
    if len({sample.id for sample in samples}) < len(samples):
        raise UsageError("several samples have one id: the report could not say which one failed")
    results = zip(samples, embeddings, strict=True)
    return {sample.id: result.reason for sample, result in results if isinstance(result, MediaError)}


def check_failures(failures: Mapping[str, str], samples: int, max_unreadable: float, remedy: str) -> None:
    """Check that not too many of the samples are unreadable. Raises MetricsError, which ends with what to do."""
    if len(failures) > max(1, max_unreadable * samples):  # one bad file of a few dozen is no other test
        first, reason = next(iter(failures.items()))
        raise MetricsError(
            f"unreadable: {len(failures)} of {counted(samples, 'video')}, more than {max_unreadable:.0%} "
            f"(the first: {first}: {reason}); {remedy}"
        )


def _normalised(name: str, blocks: DirectionBlocks, test_set: _TestSet) -> DirectionRanks:
    """Return the ranks of both directions under one normalisation over all test queries."""
    if name not in METHODS:
        raise UsageError(f"no normalisation is called {name!r}; there are: {', '.join(METHODS)}")
    return metrics.ranks_of_directions(METHODS[name](blocks), test_set.ground_truth)


def _details(test_set: _TestSet, ranks: DirectionRanks, scoring: Scoring) -> Details:
    return Details(
        captions=list(zip(test_set.video_ids, test_set.captions, strict=True)),
        t2v_ranks=ranks.t2v,
        video_ids=[test_set.samples[column].id for column in ranks.columns],
        v2t_ranks=ranks.v2t,
        samples=test_set.samples,
        gallery=test_set.gallery,
        query_vectors=test_set.query_vectors,
        ground_truth=test_set.ground_truth,
        scoring=scoring,
    )


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
    moments: Mapping[str, Sequence[DescribedMoment]] | None = None,
    merge_captions: bool = False,
    relevance: Relevance | None = None,
    folds: Sequence[Sequence[int]] = (),
) -> Report:
    """Embed a test set with a model and evaluate it.

    Args:
        model: Embeds the captions, and says how vectors are scored.
        samples: As in `evaluate`.
        embed: Videos -> one Embeddings each, in order, or the MediaError of a video that cannot be read.
        block: As in `evaluate`.
        failures: Reasons by sample id of videos known to be unreadable (a library's quarantine); they are not handed
            to `embed`.
        fingerprint: Of all that made the vectors, where `embed` has choices of its own (key images); None takes the
            model's.
        max_unreadable, transductive, rerank, merge_captions, relevance, folds: As in `evaluate`.
        moments: Sets of sentences with their spans, by name, whose moments are measured, too.

    Raises:
        UsageError: Where `failures` name no sample, `embed` gives too few or too many results, or as in `evaluate`.
        MetricsError: As in `evaluate`.
    """
    quarantined = failures or {}
    if unknown := sorted(set(quarantined) - {sample.id for sample in samples}):
        raise UsageError(f"failures of no sample: {len(unknown)}, the first: {unknown[0]}")
    results = iter(embed_samples([sample for sample in samples if sample.id not in quarantined], embed))
    embeddings: list[Embeddings | MediaError] = []
    for sample in samples:
        reason = quarantined.get(sample.id)
        embeddings.append(next(results) if reason is None else MediaError(sample.video.path, reason))
    captions = [caption for sample in samples for caption in sample.captions]
    report = evaluate(
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
        merge_captions=merge_captions,
        relevance=relevance,
        folds=folds,
    )
    return report if moments is None else replace(report, moments=evaluate_moments(model, samples, embeddings, moments))


def embed_samples(samples: Sequence[Sample], embed: Embed) -> Sequence[Embeddings | MediaError]:
    """Return what `embed` gives for the videos of samples. UsageError where that is not one result for each."""
    videos = [sample.video for sample in samples]
    results = list(embed(videos)) if videos else []
    if len(results) != len(videos):
        raise UsageError(
            f"embed gave {counted(len(results), 'result')} for "
            f"{counted(len(videos), 'video')}: each video gets one, in order"
        )
    return results


def pair_scores(model: Model, samples: Sequence[Sample], embed: Embed) -> NDArray[np.float32]:
    """Return the scores (n, 2, 2) of the first captions of samples 2i and 2i + 1, which ask, with the videos of both.

    The axes are [pair, caption, video]. For contrast sets, whose pairs differ in one thing. Raises the MediaError of an
    unreadable video: half a pair says nothing.
    """
    embeddings = []
    for result in embed_samples(samples, embed):
        if isinstance(result, MediaError):
            raise result
        embeddings.append(result)
    queries = np.asarray(model.embed_queries([Query(sample.captions[0]) for sample in samples]))
    pairs = [
        Gallery.pack(embeddings[first : first + 2]).score(queries[first : first + 2], model.scoring)
        for first in range(0, len(samples) - 1, 2)
    ]
    return np.stack(pairs)
