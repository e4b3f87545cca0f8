"""A library: one directory that holds a catalogue of videos, their features and their vectors.

>>> import tempfile
>>> Library(tempfile.mkdtemp()).exists
False
"""

from __future__ import annotations

from .core import Library
from .report import DescribeReport, IndexReport, Status
from .scan import VIDEO_SUFFIXES

__all__ = ["VIDEO_SUFFIXES", "DescribeReport", "IndexReport", "Library", "Status"]
