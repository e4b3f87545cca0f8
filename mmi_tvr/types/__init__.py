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
    Side,
    moment_of,
    row_ids,
    video_of,
)
from .channels import ChannelMoment, MediaFile, Passage
from .choices import Availability, Published, Variant
from .datasets import DescribedMoment, EvaluationQuery, Labels, LabelSource, PartialQuery, Sample, Triplet
from .examples import ItemMoment, QueryExample
from .facets import Attributes, Facet, FacetCalibration, FacetSelection, FacetThreshold, Where
from .media import (
    EPOCH,
    MEDIA_KINDS,
    PRECOMPUTED,
    DateSource,
    Embeddings,
    Features,
    Frames,
    KeyImage,
    MediaFacts,
    MediaKind,
    PrecomputedFeatures,
    Span,
    Video,
    VideoEntry,
)
from .people import Appearance, Face, Person, PersonPicture
from .scoring import Block, Filter, MatchLaw, PartialQueries, ScoreLaw, Scoring
from .search import SEEN, DescriptionMatch, Hit, HitMoment, Query, as_where
from .text import clean_text

__all__ = [
    "EPOCH",
    "MAX_MOMENTS",
    "MEDIA_KINDS",
    "MOMENT_BITS",
    "PRECOMPUTED",
    "SEEN",
    "UNIT_TOLERANCE",
    "Answer",
    "AnswerRequest",
    "Appearance",
    "Attributes",
    "Availability",
    "Block",
    "ChannelMoment",
    "DateSource",
    "DescribedMoment",
    "DescriptionMatch",
    "Direction",
    "Embeddings",
    "EvaluationQuery",
    "Explanation",
    "Face",
    "Facet",
    "FacetCalibration",
    "FacetSelection",
    "FacetThreshold",
    "Features",
    "Filter",
    "FloatArray",
    "Frames",
    "Hit",
    "HitMoment",
    "IdArray",
    "ItemMoment",
    "JudgedBy",
    "Judgement",
    "KeyImage",
    "LabelSource",
    "Labels",
    "Level",
    "MatchLaw",
    "MediaFacts",
    "MediaFile",
    "MediaKind",
    "PartialQueries",
    "PartialQuery",
    "Passage",
    "Person",
    "PersonPicture",
    "Pixels",
    "PrecomputedFeatures",
    "Published",
    "Query",
    "QueryExample",
    "Sample",
    "ScoreLaw",
    "Scoring",
    "ShownVideo",
    "Side",
    "Skeleton",
    "Span",
    "Triplet",
    "Variant",
    "Video",
    "VideoEntry",
    "VideoInput",
    "VisualJudgement",
    "Where",
    "as_where",
    "clean_text",
    "moment_of",
    "row_ids",
    "video_of",
]
