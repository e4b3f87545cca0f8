"""Pages and tables that people look at."""

from __future__ import annotations

from .appearances import people_text
from .casting import casting_page
from .evaluation import evaluation_page, heat_map
from .explanation import answer_table, key_image_times, verdict
from .facets import facet_text, precision_text
from .gap import gap_map, gap_page
from .levels import level_text
from .page import search_page
from .people import FaceCard, SeenFace, face_crop, people_page
from .photos import NumberedPhoto, photos_page
from .queries import query_page
from .times import clock_range, clock_time, time_range

__all__ = [
    "FaceCard",
    "NumberedPhoto",
    "SeenFace",
    "answer_table",
    "casting_page",
    "clock_range",
    "clock_time",
    "evaluation_page",
    "face_crop",
    "facet_text",
    "gap_map",
    "gap_page",
    "heat_map",
    "key_image_times",
    "level_text",
    "people_page",
    "people_text",
    "photos_page",
    "precision_text",
    "query_page",
    "search_page",
    "time_range",
    "verdict",
]
