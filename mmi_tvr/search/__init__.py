"""Search: a query -> the best moment of the best videos, with the seconds that every stage took.

Stage one asks the index for candidates, by whole videos and by single key images. Stage two scores the candidates
exactly, as the model says (`types.Scoring`). A re-ranker, where there is one, may then reorder the best of them. A
search that is `exact` goes on asking until no other video can be among the best (`scoring.candidates`).
"""

from __future__ import annotations

from ..types import VideoEntry
from .calibration import calibration_of
from .restriction import ResultOptions
from .result import Coverage, Preview, SearchResult
from .searcher import CANDIDATES_PER_HIT, MIN_CANDIDATES, Lookup, Searcher

__all__ = [
    "CANDIDATES_PER_HIT",
    "MIN_CANDIDATES",
    "Coverage",
    "Lookup",
    "Preview",
    "ResultOptions",
    "SearchResult",
    "Searcher",
    "VideoEntry",
    "calibration_of",
]
