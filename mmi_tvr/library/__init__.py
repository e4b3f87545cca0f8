"""A library: one directory that holds a catalogue of videos, their features and their vectors.

>>> import tempfile
>>> Library(tempfile.mkdtemp()).exists
False
"""

from __future__ import annotations

from ..media.names import VIDEO_SUFFIXES
from .core import Library
from .own_pools import editable_pool, library_model, own_pool, pool_drafts, pools_folder, refuse_foreign_folder
from .report import DescribeReport, FacetReport, IndexReport, PeopleReport, Status, TranslationReport

__all__ = [
    "VIDEO_SUFFIXES",
    "DescribeReport",
    "FacetReport",
    "IndexReport",
    "Library",
    "PeopleReport",
    "Status",
    "TranslationReport",
    "editable_pool",
    "library_model",
    "own_pool",
    "pool_drafts",
    "pools_folder",
    "refuse_foreign_folder",
]
