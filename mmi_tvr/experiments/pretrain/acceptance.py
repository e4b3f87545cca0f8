"""What the package's own model has to reach, and whether a copy does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...utils.files import write_atomically
from ...utils.tables import markdown_table

FILE = "acceptance.json"
_PROBABILITIES = ("noise", "repeated")  # criteria that are from 0 to 1


@dataclass(frozen=True, slots=True)
class Criterion:
    """A number that is asked for: `title` with its unit, the `bound`, and on which side of it the number has to be."""

    title: str
    bound: float
    side: Literal["at least", "at most"] = "at least"

    def holds(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.bound if self.side == "at least" else value <= self.bound


# Percent of the test split, its contrast sets, and questions about its first videos (`scripts/check_bundle.py`).
CRITERIA: Mapping[str, Criterion] = {
    "t2v_r1": Criterion("text-to-video R@1, percent", 98.5),
    "order": Criterion("order of events, percent of captions", 96.0),
    "order3": Criterion("order of three events, percent of captions", 95.0),
    "video_answers": Criterion("answers about videos that are right, percent", 92.0),
    "t2v_gain": Criterion("what re-ranking adds to text-to-video R@1", 0.0),
    "v2t_gain": Criterion("what re-ranking adds to video-to-text R@1", 0.0),
    "noise": Criterion("p of skeletons that say nothing, mean of the worst kind", 0.2, "at most"),
    "repeated": Criterion("p of an own video whose answers all repeat the caption, mean", 0.8),
    "megabytes": Criterion("weights in the whole package, MB", 26.0, "at most"),
}


def write(path: Path, values: Mapping[str, float]) -> None:
    """Write what was measured; all criteria have a value."""
    write_atomically(path, json.dumps({name: values[name] for name in CRITERIA}, indent=1).encode())


def read(path: Path) -> dict[str, float]:
    """Return what `write` wrote."""
    values: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return values


def missed(values: Mapping[str, float]) -> list[str]:
    """Return the names of the criteria that do not hold."""
    return [name for name, criterion in CRITERIA.items() if not criterion.holds(values[name])]


def table(values: Mapping[str, float]) -> list[str]:
    """Return the rows of a table: what is asked, and what is reached."""
    not_held = set(missed(values))
    rows = [
        [
            criterion.title,
            f"{criterion.side} {criterion.bound:g}",
            f"{values[name]:.{2 if name in _PROBABILITIES else 1}f}",
            "no" if name in not_held else "yes",
        ]
        for name, criterion in CRITERIA.items()
    ]
    return markdown_table([["", "asked", "reached", "holds"], *rows])
