"""Saved evaluations: the report.json that `mmi-tvr evaluate --output` writes, read and checked in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils import strict_json
from . import metrics, query_metrics
from .query_report import PROTOCOL as QUERY_PROTOCOL

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


def is_of_queries(document: Mapping[str, Any]) -> bool:
    """Return whether a saved evaluation is of a data set's queries (`queries.evaluate_queries`), not of captions."""
    protocol: object = document.get("protocol")
    return protocol == QUERY_PROTOCOL


def group_metrics(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the numbers of each group of a saved evaluation of queries, by the group's name."""
    return {name: _nested(document, name) for name in dict.fromkeys(row["group"] for row in document["queries"])}


def _nested(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    numbers: Mapping[str, Any] = document
    for part in name.split("/"):
        numbers = numbers[part]
    return numbers


def _check(document: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where an entry is missing or is of another kind."""
    for name in ("model", "fingerprint"):
        str(document[name])
    int(document["n"])
    config = document["config"]
    for section in ("model", "keyimages"):
        str(config[section]["name"])
    str(config["target"])
    if is_of_queries(document):
        _check_queries(document)
    else:
        _check_captions(document)


def _check_queries(document: Mapping[str, Any]) -> None:
    int(document["samples"])
    dict(document["left_out"]["samples"])
    for row in document["queries"]:
        int(row["rank"]), float(row["precision"]), int(row["right"])
        str(row["group"]), str(row["query"]), list(row["persons"])
    for numbers in group_metrics(document).values():
        int(numbers["n"])
        for name in query_metrics.NAMES:
            float(numbers[name])
            low, high = numbers["ci95"][name]
            float(low), float(high)


def _check_captions(document: Mapping[str, Any]) -> None:
    int(document["videos"])
    dict(document["left_out"]["videos"])
    for direction in DIRECTIONS:
        numbers = document[direction]
        for name in metrics.NAMES:
            float(numbers[name])
            low, high = numbers["ci95"][name]
            float(low), float(high)
        for query in document["queries"][direction]:
            str(query["id"]), int(query["rank"])
