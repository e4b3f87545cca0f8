"""What an evaluation of queries looks like: one page of hits, with green borders around right ones and red ones around
wrong ones (as figures 2 to 4 of Korbar and Zisserman, BMVC 2022, have it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..evaluation.query_metrics import NAMES, QueryMetrics
from ..evaluation.query_report import QueryDetails, QueryReport
from ..types import PersonPicture, Video
from ..utils.addresses import file_uri
from ..utils.wording import counted
from ._templates import template
from .page import middle_picture

_QUERIES = 6  # shown of each group
_HITS = 10  # shown of each query


@dataclass(frozen=True, slots=True)
class QueryHit:
    """One hit of a query, right or not; `thumbnail` is a data URI, or empty where the sample cannot be read."""

    sample_id: str
    link: str
    thumbnail: str
    score: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query with its first hits; `portraits` are data URIs of the people in it, `right` counts its right samples."""

    text: str
    portraits: Sequence[str]
    rank: int
    precision: float
    right: int
    hits: Sequence[QueryHit]


@dataclass(frozen=True, slots=True)
class QueryGroup:
    """The numbers of a group of queries, and some of them from the best to the worst."""

    title: str
    metrics: QueryMetrics
    rows: Sequence[QueryRow]


def query_page(
    report: QueryReport,
    config: Mapping[str, Any],
    title: str = "",
    pictures: Mapping[str, Sequence[PersonPicture]] | None = None,
) -> str:
    """Return one self-contained page: the numbers, and the first hits of some queries of each group.

    Args:
        report: with its details.
        config: how it was made, as the page shows it.
        title: of the page; default: the model's name.
        pictures: of the people in the queries, by handle.
    """
    details = report.details
    if details is None:
        raise UsageError("this report has no details: it was not made by evaluate_queries")
    thumbnail = cache(middle_picture)  # samples are hits of several queries
    groups = [
        QueryGroup(
            name.replace("/", ", "),
            numbers,
            [_row(details, row, thumbnail, pictures or {}) for row in _shown(details, name)],
        )
        for name, numbers in report.groups.items()
    ]
    return template("queries.html.j2").render(
        report=report, counted=counted, title=title or report.model, names=NAMES, groups=groups, config=config
    )


def _shown(details: QueryDetails, group: str) -> list[int]:
    """Return queries of a group from the best to the worst by average precision, evenly spread."""
    rows = details.rows_of(group)
    order = rows[np.argsort(-details.precisions[rows], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(_QUERIES, len(order))).round().astype(int)
    return [int(row) for row in order[places]]


def _row(
    details: QueryDetails,
    row: int,
    thumbnail: Callable[[Video], str],
    pictures: Mapping[str, Sequence[PersonPicture]],
) -> QueryRow:
    """Return a query with its first hits.

    Args:
        details: of the report.
        row: number of the query.
        thumbnail: makes the picture of a video, as a data URI.
        pictures: of the people in the queries, by handle.
    """
    query = details.queries[row]
    scores = details.gallery.score(details.query_vectors[[row]], details.scoring)[0]
    right = details.ground_truth[row]
    best = np.lexsort((np.isin(np.arange(len(scores)), list(right)), -scores))[:_HITS]  # wrong ones first at a tie
    hits = [
        QueryHit(
            details.samples[column].id,
            file_uri(Path(details.samples[column].video.path)),
            thumbnail(details.samples[column].video),
            float(scores[column]),
            column in right,
        )
        for column in best.tolist()
    ]
    portraits = [thumbnail(pictures[handle][0].video) for handle in query.query.persons if pictures.get(handle)]
    text = query.query.text_with(
        {handle: person.name or f"[{handle}]" for handle, person in query.query.persons.items()}
    )
    return QueryRow(text, portraits, int(details.ranks[row]), float(details.precisions[row]), len(right), hits)
