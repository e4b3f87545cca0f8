"""Predictions, rates and measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from ...utils.tables import markdown_table
from .measurement import RateCheck
from .model import RATES, Prediction


def tables(predictions: Sequence[Prediction]) -> list[str]:
    """Return two tables in Markdown: what is done once, and what searching takes."""
    once = {
        "videos": "videos",
        "hours of video": "video_hours",
        "videos TB": "source_tb",
        "decoding, core h": "decode_core_hours",
        "encoding, GPU h": "encode_gpu_hours",
        "describing, GPU h": "describe_gpu_hours",
        "features GB": "features_gb",
        "once $": "once",
    }
    searching = {
        "videos": "videos",
        "vectors": "vectors",
        "raw GB": "raw_gb",
        "index": "index",
        "building, core h": "build_core_hours",
        "memory GB": "memory_gb",
        "disk GB": "disk_gb",
        "queries/s per core": "queries_per_core",
        "cores": "cores",
        "month $": "monthly",
        "first year's largest part": "driver",
    }
    lines: list[str] = []
    for columns in (once, searching):
        rows = [[_number(asdict(prediction)[field]) for field in columns.values()] for prediction in predictions]
        lines += ["", *markdown_table([[*columns], *rows])]
    return lines[1:]


def sources() -> list[str]:
    """Return a table in Markdown of every rate, and how it is known."""
    rows = [["rate", "value", "unit", "known", "from"]]
    for name, rate in RATES.items():
        rows.append([name, f"{rate.value:.4g}", rate.unit, "measured" if rate.measured else "assumed", rate.source])
    return markdown_table(rows)


def comparisons(checks: Sequence[RateCheck]) -> list[str]:
    """Return a table in Markdown of predictions and measurements."""
    rows = [["what", "vectors", "predicted", "measured", "unit", "ratio"]]
    for check in sorted(checks, key=lambda check: (check.quantity, check.vectors)):
        numbers = [f"{check.predicted:.4g}", f"{check.measured:.4g}", check.unit, f"{check.ratio:.2f}"]
        rows.append([check.quantity, f"{check.vectors:,}", *numbers])
    return markdown_table(rows)


def _number(value: float | str) -> str:
    """Return a short form: three digits, thousands apart.

    >>> [_number(value) for value in (1_234_567, 12.34, 0.0123, "HNSW")]
    ['1,230,000', '12.3', '0.0123', 'HNSW']
    """
    if isinstance(value, str):
        return value
    short = float(f"{value:.3g}")
    return f"{short:,.0f}" if abs(short) >= 100 else f"{short:.3g}"
