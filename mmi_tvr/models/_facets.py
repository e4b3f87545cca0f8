"""The file of a model folder that says from which probabilities on its attributes are to be believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound
from ..types import FacetCalibration, FacetThreshold
from ..utils.files import write_atomically

FACETS = "facets.json"


def write_facets(folder: Path, calibration: FacetCalibration, fingerprint: str) -> None:
    """Write a calibration beside the weights of the model with this fingerprint."""
    document = {"model": fingerprint, **asdict(calibration)}
    write_atomically(folder / FACETS, json.dumps(document, indent=1, ensure_ascii=False).encode())


def read_facets(folder: Path, fingerprint: str) -> FacetCalibration | None:
    """Return the calibration of a model folder; None where there is none, or it is of other weights or options.

    Raises ModelNotFound where the file is damaged.
    """
    path = folder / FACETS
    if not path.is_file():
        return None
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["model"] != fingerprint:
            return None
        classes = {level: _thresholds(names) for level, names in document["classes"].items()}
        queries = {level: _thresholds(names) for level, names in document.get("queries", {}).items()}
        levels = _thresholds(document["levels"])
        return FacetCalibration(float(document["precision"]), str(document["data"]), classes, levels, queries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelNotFound(f"{path}: damaged; copy it once more, or measure it again") from error


def _thresholds(values: Mapping[str, Mapping[str, Any]]) -> dict[str, FacetThreshold]:
    return {name: FacetThreshold(**threshold) for name, threshold in values.items()}
