"""From which probability on a video counts as showing a class, and how often that is right.

A threshold is chosen on validation videos of which it is known what they show: the lowest one at which the lower end of
the 95 % interval (Wilson) of the precision is at least the precision that is asked for. Decision: it is chosen for each
class of which there is evidence enough, and else for all other classes of a level together, whose facets are marked.
Among several thresholds the luckiest is taken, so precision is measured once more, on other videos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Attributes, FacetCalibration, FacetThreshold
from ..utils.intervals import wilson
from ..utils.tables import interval, text_table
from .bootstrap import share_with_ends

Truth = Mapping[str, Collection[str]]  # level -> names of the classes that a video shows
_Pair = tuple[float, bool]  # a probability, and whether the video shows the class


def calibrate(
    attributes: Sequence[Attributes], truth: Sequence[Truth], precision: float, data: str
) -> FacetCalibration:
    """Return thresholds that keep a precision.

    Args:
        attributes: of N validation videos.
        truth: what each of them shows.
        precision: 0..1.
        data: what these videos are, in words.
    """
    pairs = _pairs(attributes, truth)
    reliable = reliable_thresholds(attributes, truth, precision)
    levels: dict[str, FacetThreshold] = {}
    for level, by_name in pairs.items():
        others = [pair for name, of_class in by_name.items() if name not in reliable[level] for pair in of_class]
        if others:
            together = _threshold(others, precision)
            levels[level] = FacetThreshold(together.threshold, together.precision, together.n)
    return FacetCalibration(precision, data, reliable, levels)


def reliable_thresholds(
    attributes: Sequence[Attributes], truth: Sequence[Truth], precision: float
) -> dict[str, dict[str, FacetThreshold]]:
    """Return level -> class -> threshold of the classes of which there is evidence enough; arguments as `calibrate`."""
    chosen = {
        level: {name: _threshold(of_class, precision) for name, of_class in sorted(by_name.items())}
        for level, by_name in _pairs(attributes, truth).items()
    }
    return {level: {name: one for name, one in names.items() if one.is_reliable} for level, names in chosen.items()}


def _pairs(attributes: Sequence[Attributes], truth: Sequence[Truth]) -> dict[str, dict[str, list[_Pair]]]:
    pairs: dict[str, dict[str, list[_Pair]]] = {}
    for shown, right in zip(attributes, truth, strict=True):
        for level, classes in shown.items():
            by_name = pairs.setdefault(level, defaultdict(list))
            for name, probability in classes.items():
                by_name[name].append((probability, name in right.get(level, ())))
    return pairs


def _threshold(pairs: Iterable[_Pair], precision: float) -> FacetThreshold:
    """Return the lowest threshold that keeps a precision; where none does, the one whose interval begins highest."""
    ranked = sorted(pairs, reverse=True)
    probabilities = np.array([probability for probability, _ in ranked])
    shares = np.cumsum([is_right for _, is_right in ranked]) / np.arange(1, len(ranked) + 1)
    last = np.flatnonzero(np.append(probabilities[1:] < probabilities[:-1], True))  # of those that are equally likely
    low = np.array([wilson(float(shares[row]), row + 1)[0] for row in last.tolist()])
    kept = np.flatnonzero(low >= 100 * precision)
    row = int(last[kept[-1] if len(kept) else low.argmax()])
    return FacetThreshold(float(probabilities[row]), float(shares[row]), row + 1, bool(len(kept)))


@dataclass(frozen=True, slots=True)
class LevelPrecision:
    """How often the facets of a level are right: of its classes, `reliable` ones or the others.

    `n` times a video counted as showing one of the `classes`, right in `precision` percent (with its 95 % interval,
    bootstrap over videos); `recall` is the percentage of what the videos show that counted. None where nothing is.
    """

    level: str
    reliable: bool
    classes: int
    n: int
    precision: tuple[float, float, float] | None
    recall: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        value, *bounds = self.precision or (None, None, None)
        return {
            "classes": self.classes,
            "n": self.n,
            "precision": value,
            "ci95": None if value is None else bounds,
            "recall": self.recall,
        }


def measure(
    attributes: Sequence[Attributes],
    truth: Sequence[Truth],
    names: Mapping[str, Sequence[str]],
    calibration: FacetCalibration,
) -> list[LevelPrecision]:
    """Return how often a calibration is right on videos that it was not chosen on.

    Args:
        attributes: of N videos.
        truth: what each of them shows.
        names: the classes of each level.
        calibration: of the model.
    """
    rows = []
    for level, classes in names.items():
        thresholds = {name: calibration.threshold(level, name) for name in classes}
        for reliable in (True, False):
            chosen = {name: one for name, one in thresholds.items() if one.is_reliable == reliable}
            if chosen:
                rows.append(_measured(level, reliable, chosen, attributes, truth))
    return rows


def _measured(
    level: str,
    reliable: bool,
    thresholds: Mapping[str, FacetThreshold],
    attributes: Sequence[Attributes],
    truth: Sequence[Truth],
) -> LevelPrecision:
    is_right, videos, shown_pairs = [], [], 0
    for number, (shown, right) in enumerate(zip(attributes, truth, strict=True)):
        names = right.get(level, ())
        counted = [
            name
            for name, probability in shown.get(level, {}).items()
            if name in thresholds and probability >= thresholds[name].threshold
        ]
        is_right += [name in names for name in counted]
        videos += [number] * len(counted)
        shown_pairs += sum(name in thresholds for name in names)
    precision = share_with_ends(is_right, videos) if is_right else None
    recall = 100 * sum(is_right) / shown_pairs if shown_pairs else None
    return LevelPrecision(level, reliable, len(thresholds), len(is_right), precision, recall)


def table(rows: Sequence[LevelPrecision]) -> list[str]:
    """Return the measurements as lines of plain text."""
    cells = [["facets", "classes", "n", "precision", "recall"]]
    for row in rows:
        title = f"{row.level}, {'reliable' if row.reliable else 'too little evidence'}"
        precision = interval(*row.precision) if row.precision else "-"
        recall = "-" if row.recall is None else f"{row.recall:.1f}"
        cells.append([title, f"{row.classes:,}", f"{row.n:,}", precision, recall])
    return text_table(cells)
