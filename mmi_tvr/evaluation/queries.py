"""How well queries that several samples may answer find them: mAP, R@1 and R@5 by group, with intervals over queries.

The queries are the data set's own (`protocols.QueryDataset`): "[n000012] spins in front of waves". Every sample is a
candidate of every query, and ties count against the right ones (`metrics`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import MediaError, MetricsError, UsageError
from ..protocols import Model
from ..scoring.similarity import Gallery
from ..types import Embeddings, EvaluationQuery, FloatArray, Sample
from ..utils.wording import counted
from . import metrics
from .evaluate import MAX_UNREADABLE, Embed, check_failures, embed_samples
from .metrics import SCORE_TOLERANCE
from .query_report import UNGROUPED, QueryDetails, QueryReport, check_groups, in_order

_HEIGHT = 256  # queries scored at once
PERSONS = "persons"  # among what a model `reads`: it reads faces


def evaluate_queries(
    model: Model,
    samples: Sequence[Sample],
    queries: Sequence[EvaluationQuery],
    embed: Embed,
    *,
    fingerprint: str | None = None,
    max_unreadable: float = MAX_UNREADABLE,
) -> QueryReport:
    """Rank all samples for each query.

    A model that does not read persons is told the spoken text (`Query.spoken`), and the report says so.

    Args:
        model: Embeds the queries, and says how vectors are scored.
        samples: The candidates; their captions are not looked at.
        queries: With faces in their persons, where the model reads them (`people.portraits`).
        embed: Videos -> one Embeddings each, in order, or the MediaError of a video that cannot be read; such a sample
            is no candidate, and a query without any other right one is left out and counted.
        fingerprint: Of all that made the vectors; None takes the model's.
        max_unreadable: The share of the samples that may be unreadable (one may always be).

    Raises:
        UsageError: A query has no right sample, or one that is not among the samples; two samples have one id; groups
            that cannot be nested.
        MetricsError: Too many samples are unreadable, or nothing is left to rank.
    """
    groups = [query.group or UNGROUPED for query in queries]
    check_groups(groups)
    _check_right(samples, queries)
    embeddings = embed_samples(samples, embed)
    failures = {
        sample.id: result.reason
        for sample, result in zip(samples, embeddings, strict=True)
        if isinstance(result, MediaError)
    }
    check_failures(failures, len(samples), max_unreadable, "repair them, or take them out of the data set")
    candidates = [sample for sample in samples if sample.id not in failures]
    ranked = [query for query in queries if not query.right <= failures.keys()]
    if not ranked:
        raise MetricsError("no query is left whose right samples can be read: there is nothing to rank")
    details = _details(model, candidates, ranked, embeddings)
    return QueryReport(
        groups={name: details.metrics(name) for name in in_order(details.groups)},
        n=len(ranked),
        samples=len(candidates),
        model=model.name,
        fingerprint=model.fingerprint() if fingerprint is None else fingerprint,
        reads_faces=PERSONS in model.reads,
        with_persons=sum(bool(query.query.persons) for query in ranked),
        with_faces=sum(any(len(person.faces) for person in query.query.persons.values()) for query in ranked),
        failures=failures,
        left_out=len(queries) - len(ranked),
        details=details,
    )


def _check_right(samples: Sequence[Sample], queries: Sequence[EvaluationQuery]) -> None:
    """Raise UsageError for a query that no sample, or an unknown one, answers, and for ids that occur twice."""
    if not queries:
        raise UsageError("there are no queries to rank samples for")
    ids = Counter(sample.id for sample in samples)
    if repeated := [name for name, count in ids.items() if count > 1]:
        raise UsageError(f"{counted(len(repeated), 'id')} of several samples, the first: {repeated[0]}")
    for query in queries:
        if not query.right:
            raise UsageError(f"the query {query.query.text[:60]!r} has no right sample: leave it out, or name them")
        if unknown := sorted(query.right - ids.keys()):
            raise UsageError(
                f"the query {query.query.text[:60]!r} is answered by {counted(len(unknown), 'sample')} that the data "
                f"set has not, the first: {unknown[0]}"
            )


def _details(
    model: Model,
    candidates: Sequence[Sample],
    queries: Sequence[EvaluationQuery],
    embeddings: Sequence[Embeddings | MediaError],
) -> QueryDetails:
    """Score all candidates for the queries, and rank them."""
    columns = {sample.id: column for column, sample in enumerate(candidates)}
    ground_truth = [frozenset(columns[name] for name in query.right if name in columns) for query in queries]
    gallery = Gallery.pack([result for result in embeddings if not isinstance(result, MediaError)])
    vectors = np.asarray(model.embed_queries([query.query for query in queries]))

    def blocks() -> Iterator[FloatArray]:
        for start in range(0, len(vectors), _HEIGHT):
            yield gallery.score(vectors[start : start + _HEIGHT], model.scoring)

    return QueryDetails(
        queries=queries,
        groups=[query.group or UNGROUPED for query in queries],
        ranks=metrics.ranks(blocks(), ground_truth, SCORE_TOLERANCE),
        precisions=metrics.average_precision(blocks(), ground_truth, SCORE_TOLERANCE),
        samples=candidates,
        ground_truth=ground_truth,
        gallery=gallery,
        query_vectors=vectors,
        scoring=model.scoring,
    )
