"""Saved evaluations: the report.json that `mmi-tvr evaluate --output` writes, read and checked in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils import strict_json
from . import metrics

REPORT = "report.json"
DIRECTIONS = {"t2v": "text-to-video", "v2t": "video-to-text"}


def path_of(run: Path) -> Path:
    """Return the report's file of a folder that `evaluate --output` wrote; a path that is no folder is the file."""
    return run / REPORT if run.is_dir() else run


def read(run: Path) -> dict[str, Any]:
    """Return a saved evaluation (a folder or its report.json), with every entry that its readers use.

    Raises UsageError where it cannot be read, or is none.
    """
    path = path_of(run)
    try:
        document: dict[str, Any] = strict_json.loads(path.read_bytes())
        _check(document)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a saved evaluation; make one: mmi-tvr evaluate ... --output DIR") from error
    return document


def _check(document: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where an entry is missing or is of another kind."""
    for name in ("n", "videos"):
        int(document[name])
    for name in ("model", "fingerprint"):
        str(document[name])
    dict(document["left_out"]["videos"])
    config = document["config"]
    for section in ("model", "keyimages"):
        str(config[section]["name"])
    str(config["target"])
    for direction in DIRECTIONS:
        numbers = document[direction]
        for name in metrics.NAMES:
            float(numbers[name])
            low, high = numbers["ci95"][name]
            float(low), float(high)
        for query in document["queries"][direction]:
            str(query["id"]), int(query["rank"])
