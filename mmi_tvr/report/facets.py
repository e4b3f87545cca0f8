"""Facets in words: how many videos show a class, and how often that is right."""

from __future__ import annotations

from ..types import Facet, FacetThreshold
from ..utils.wording import counted


def facet_text(facet: Facet) -> str:
    """Return a facet in words.

    >>> facet_text(Facet("action", "spins", 12, FacetThreshold(0.8, 0.95, 140, True)))
    'action=spins: 12 videos, precision 95 % (140 of the validation data)'
    >>> facet_text(Facet("action", "spins", 1, FacetThreshold(0.5, 0.75, 8)))
    'action=spins: 1 video, precision 75 % (8 of the validation data): too little evidence'
    """
    threshold = facet.threshold
    doubt = "" if threshold.is_reliable or threshold.precision is None else ": too little evidence"
    return f"{facet.level}={facet.name}: {counted(facet.videos, 'video')}, {precision_text(threshold)}{doubt}"


def precision_text(threshold: FacetThreshold) -> str:
    """Return in words how often a threshold was right.

    >>> precision_text(FacetThreshold()), precision_text(FacetThreshold(0.5, 0.75, 8))
    ('precision not measured', 'precision 75 % (8 of the validation data)')
    """
    if threshold.precision is None:
        return "precision not measured"
    return f"precision {100 * threshold.precision:.0f} % ({threshold.n:,} of the validation data)"
