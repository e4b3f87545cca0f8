"""What is searched for, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .answers import Explanation
from .text import clean_text


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asks for, cleaned (`clean_text`). `cut`: it was longer, and this is its beginning."""

    text: str
    cut: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UsageError(f"the text of a query is a str, not {self.text!r:.60} ({type(self.text).__name__})")
        object.__setattr__(self, "text", clean_text(self.text))


@dataclass(frozen=True, slots=True)
class DescriptionMatch:
    """What a video was described as, and how that matches a query: the `words` that both have, the `cosine` of the two,
    and how well it matches by words (BM25, 0 or more)."""

    text: str
    words: tuple[str, ...]
    cosine: float
    word_score: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `description` of a hit)."""
        return {"text": self.text, "words": list(self.words), "cosine": self.cosine}


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: the best moment of a video.

    `score` is the model's own, comparable within one query; `relevance` is in 0..1 and comparable across
    queries (see `mmi_tvr.search`); `scores` names the parts that made `score`; `copies` are further paths of the same
    content; `explanation` is there after a re-ranking. `score` is that of the search, re-ranked or not.

    `path` and `copies` name existing files first; `missing` are those of them at which there is no file now, because it
    was moved or deleted, or because its disk is away. Where `path` itself is missing, all are.

    `description` is what the video answered when it was described, where it was.
    """

    path: Path
    start: float
    end: float
    time: float
    score: float
    relevance: float
    scores: Mapping[str, float] = field(default_factory=dict)
    copies: tuple[Path, ...] = ()
    explanation: Explanation | None = None
    missing: tuple[Path, ...] = ()
    description: DescriptionMatch | None = None

    @property
    def is_missing(self) -> bool:
        """Whether there is no file at any of its paths."""
        return self.path in self.missing
