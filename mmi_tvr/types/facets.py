"""What videos show, as classes with names, by level: the attributes that a model reads off, and facets to search by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Attributes = Mapping[str, Mapping[str, float]]  # level -> name of a class -> its probability, the likeliest first
Where = Mapping[str, frozenset[str]]  # level -> names of classes, all of which are to hold


@dataclass(frozen=True, slots=True)
class FacetThreshold:
    """From which probability on a video counts as showing a class.

    Of the `n` videos of the validation data that did, the share `precision` showed it; None where none did.
    `is_reliable`: that is evidence enough that the calibration's precision holds.
    """

    threshold: float = 0.5
    precision: float | None = None
    n: int = 0
    is_reliable: bool = False


@dataclass(frozen=True, slots=True)
class FacetCalibration:
    """The thresholds of a model's attributes.

    Attributes:
        precision: Which thresholds were chosen to keep, 0..1.
        data: What they were chosen on, in words.
        classes: Level -> name of a class -> its threshold.
        levels: Level -> the threshold of its classes that are not among `classes`, chosen for all of them together.
        queries: As `classes`, from which probability on a sentence counts as naming a class.
    """

    precision: float
    data: str
    classes: Mapping[str, Mapping[str, FacetThreshold]] = field(default_factory=dict)
    levels: Mapping[str, FacetThreshold] = field(default_factory=dict)
    queries: Mapping[str, Mapping[str, FacetThreshold]] = field(default_factory=dict)

    def threshold(self, level: str, name: str) -> FacetThreshold:
        """Return the threshold of a class; that of its level where it has none, which is not reliable for one class."""
        threshold = self.classes.get(level, {}).get(name)
        return threshold or self.levels.get(level, FacetThreshold())


@dataclass(frozen=True, slots=True)
class Facet:
    """A class that can be searched by, and how many `videos` of a library count as showing it."""

    level: str
    name: str
    videos: int
    threshold: FacetThreshold

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr facets --json`), without level and name."""
        return {
            "videos": self.videos,
            "threshold": self.threshold.threshold,
            "precision": self.threshold.precision,
            "n": self.threshold.n,
            "reliable": self.threshold.is_reliable,
        }


@dataclass(frozen=True, slots=True)
class FacetSelection:
    """The numbers of the videos that show all of some facets."""

    videos: frozenset[int]
    facets: tuple[Facet, ...]
