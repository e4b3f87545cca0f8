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
class Variant:
    """A row of an ablation table: the model's options with `changes`, trained without the loss terms `without_terms`.

    `published` is R@1 in percent, text-to-video and video-to-text, that the paper gives for this row on MSR-VTT.
    `baseline` makes the settings section of an untrained model from the full model's options; such a row is not
    trained.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[float, float] | None = None
    without_terms: frozenset[str] = frozenset()
    baseline: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
