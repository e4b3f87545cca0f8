"""What a collection of any size takes: storage, decoding, GPU hours, vectors, memory, queries a second, money.

A model of sizes times rates. Each rate is measured by this project or assumed from a public source, and says which
(`RATES`). The part that a machine without a GPU can measure, building and searching indexes, is held against runs at
three sizes by `check`. docs/scale.md prints both.
"""

from __future__ import annotations

from .measurement import RateCheck, check
from .model import RATES, CollectionSpec, Prediction, predict, rates, search_seconds
from .tables import comparisons, sources, tables

__all__ = [
    "RATES",
    "CollectionSpec",
    "Prediction",
    "RateCheck",
    "check",
    "comparisons",
    "predict",
    "rates",
    "search_seconds",
    "sources",
    "tables",
]
