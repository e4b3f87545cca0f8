"""What an implementation says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Availability:
    """One way in which an implementation could be used on this machine, as `mmi-tvr models` and `doctor` show it.

    `detail` says what it is good for where it is `ready`, and what to do where it is not; `checkpoint` names the
    checkpoint that it would use, where it needs one.
    """

    ready: bool
    detail: str
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What a paper prints for a row: R@1, R@5, R@10 in percent and the median rank, as many of them as it prints.

    `queries`: how many it measured with, which say how wide the interval of a recall is; None: unknown. `sum_printed`:
    the SumR that it prints, which need not be the sum of its recalls.
    """

    t2v: tuple[float, ...] = ()
    v2t: tuple[float, ...] = ()
    queries: int | None = None
    sum_printed: float | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of an ablation table: the model's options with `changes`, trained without the loss terms `without_terms`,
    and in every stage with those of `with_terms`, by their weights.

    `settings` changes further sections of the training settings: {"data": {"batch": 32}}.
    `trained_as` names the row whose trained weights this one has: its `changes` are of the search alone.
    `baseline` makes the settings section of an untrained model from the full model's options; such a row is not
    trained.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None
    without_terms: frozenset[str] = frozenset()
    baseline: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    trained_as: str | None = None
    with_terms: Mapping[str, float] = field(default_factory=dict)
