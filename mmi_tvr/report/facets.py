"""Facets in words: how many videos show a class, and what that is worth."""

from __future__ import annotations

from ..types import Facet, FacetThreshold
from ..utils.wording import counted


def facet_text(facet: Facet) -> str:
    """Return a facet in words.

    >>> facet_text(Facet("action", "spins", 12, FacetThreshold(0.8, 0.95, 140, True)))
    'action=spins: 12 videos, precision 95 % (140 of the validation data)'
    """
    return f"{facet.level}={facet.name}: {counted(facet.videos, 'video')}, {worth(facet.threshold)}"


def worth(threshold: FacetThreshold) -> str:
    """Return in words how often a threshold was right.

    >>> worth(FacetThreshold()), worth(FacetThreshold(0.5, 0.75, 8))
    ('precision not measured', 'precision 75 % (8 of the validation data): too little evidence')
    """
    if threshold.precision is None:
        return "precision not measured"
    text = f"precision {100 * threshold.precision:.0f} % ({threshold.n:,} of the validation data)"
    return text if threshold.is_reliable else f"{text}: too little evidence"
