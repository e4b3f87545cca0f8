"""The frozen records that cross from one room to the next. Times are seconds on a player's clock.

Texts of people and of servers are cleaned where they become a record (`clean_text`), so that whatever stands behind
needs no care of its own: queries, captions, what is asked and what is answered.
"""

from __future__ import annotations

from .answers import (
    Answer,
    AnswerRequest,
    Explanation,
    JudgedBy,
    Judgement,
    ShownVideo,
    Skeleton,
    VideoInput,
    VisualJudgement,
)
from .arrays import (
    MAX_MOMENTS,
    MOMENT_BITS,
    UNIT_TOLERANCE,
    Direction,
    FloatArray,
    IdArray,
    Level,
    Pixels,
    moment_of,
    row_ids,
    video_of,
)
from .choices import Availability, Published, Variant
from .datasets import DescribedMoment, Labels, LabelSource, Sample, Triplet
from .media import Embeddings, Features, Frames, KeyImage, Span, Video
from .scoring import Block, Filter, PartialQueries, ScoreLaw, Scoring
from .search import DescriptionMatch, Hit, Query
from .text import clean_text

__all__ = [
    "MAX_MOMENTS",
    "MOMENT_BITS",
    "UNIT_TOLERANCE",
    "Answer",
    "AnswerRequest",
    "Availability",
    "Block",
    "DescribedMoment",
    "DescriptionMatch",
    "Direction",
    "Embeddings",
    "Explanation",
    "Features",
    "Filter",
    "FloatArray",
    "Frames",
    "Hit",
    "IdArray",
    "JudgedBy",
    "Judgement",
    "KeyImage",
    "LabelSource",
    "Labels",
    "Level",
    "PartialQueries",
    "Pixels",
    "Published",
    "Query",
    "Sample",
    "ScoreLaw",
    "Scoring",
    "ShownVideo",
    "Skeleton",
    "Span",
    "Triplet",
    "Variant",
    "Video",
    "VideoInput",
    "VisualJudgement",
    "clean_text",
    "moment_of",
    "row_ids",
    "video_of",
]
