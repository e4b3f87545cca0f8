"""What the published benchmarks have in common: reading annotation files, finding videos, counting, checking."""

from __future__ import annotations

from .annotations import Annotations
from .benchmark import Benchmark, BenchmarkOptions, Facts, HeldOut, make
from .check import Check, benchmarks, check
from .records import Listing, Place, Record, Size, carve, clip_of_youtube, listing

__all__ = [
    "Annotations",
    "Benchmark",
    "BenchmarkOptions",
    "Check",
    "Facts",
    "HeldOut",
    "Listing",
    "Place",
    "Record",
    "Size",
    "benchmarks",
    "carve",
    "check",
    "clip_of_youtube",
    "listing",
    "make",
]
