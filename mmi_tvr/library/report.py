"""Reports: of an indexing run, of a describing run, and of a library as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..scoring.vector_map import MapQuality
from ..types import Facet, FacetCalibration, MediaKind
from .channel_report import ChannelsReport, ChannelsStatus
from .scan import Root

Reasons = tuple[tuple[Path, str], ...]  # (path, reason), by path


@dataclass(frozen=True, slots=True)
class TranslationReport:
    """What a translation to another model did: `pairs` videos were embedded by both models, the vectors of `translated`
    ones were translated, and `quality` says how good that is (None: nothing was to be translated)."""

    pairs: int
    translated: int
    quality: MapQuality | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        document: dict[str, Any] = {"pairs": self.pairs, "translated": self.translated, "seconds": self.seconds}
        if self.quality is not None:
            quality = self.quality
            document |= {"held_out": quality.n, "R@1": quality.r1, "R@1_ci95": [quality.low, quality.high]}
            document |= {"recall@10": quality.recall}
        return document


@dataclass(frozen=True, slots=True)
class PeopleReport:
    """What a run did about people: it looked at `videos` of so many `film_seconds`, where it saw `sightings`.

    In all of the library there are `named` sightings and `clusters` of others. `problems` are the videos that cannot be
    looked at. `is_on` says whether later runs look at new videos.
    """

    is_on: bool
    videos: int = 0
    film_seconds: float = 0.0
    sightings: int = 0
    named: int = 0
    clusters: int = 0
    people: int = 0
    problems: Reasons = ()
    seconds: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON (a documented contract: `people` of `mmi-tvr index --json`)."""
        return {
            "on": self.is_on,
            "videos": self.videos,
            "film_seconds": round(self.film_seconds, 3),
            "sightings": self.sightings,
            "named": self.named,
            "clusters": self.clusters,
            "people": self.people,
            "problems": _reasons(self.problems),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class PeopleStatus:
    """Who is known in a library, and where faces were looked for: in `looked_at` of the videos that can be searched.

    `pending` are those in which nobody looked yet, `problems` those that cannot be looked at; `named` and `unnamed`
    count people; `is_on` says whether runs of `index` look at new videos. `error` says why nothing of that is known.
    """

    is_on: bool = False
    looked_at: int = 0
    pending: int = 0
    named: int = 0
    unnamed: int = 0
    problems: Reasons = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `people` of `mmi-tvr status --json`)."""
        return {
            "on": self.is_on,
            "looked_at": self.looked_at,
            "pending": self.pending,
            "named": self.named,
            "unnamed": self.unnamed,
            "problems": _reasons(self.problems),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing run found and did. Every file that was looked at is in exactly one of the counts
    `added`, `unchanged`, `moved`, `changed`, `copies` and in `quarantined`.

    - `added`: files that can be searched from now on; `copies`: new files whose bytes are in the library already;
      `moved`: known bytes under a new path while the old one is gone; `changed`: known paths with new bytes.
    - `removed`: files that are gone from indexed folders, or excluded now, and were forgotten.
    - `quarantined`: files that cannot be used, also those that were quarantined before.
    - `unreadable`: folders that could not be looked into; nothing of theirs was forgotten.
    - `unsettled`: new or changed files that were left to a later run, because they were written only just now.
    - `without_videos`: folders that hold no video, with what they hold.
    """

    added: int = 0
    unchanged: int = 0
    moved: int = 0
    changed: int = 0
    copies: int = 0
    removed: tuple[Path, ...] = ()
    quarantined: Reasons = ()
    unreadable: Reasons = ()
    without_videos: Reasons = ()
    unsettled: tuple[Path, ...] = ()
    embedded: int = 0  # videos that were embedded in this run
    seconds: float = 0.0
    translation: TranslationReport | None = None  # where vectors were translated for another model
    people: PeopleReport | None = None  # where faces were looked for, or that was switched off
    channels: ChannelsReport | None = None  # where channels are on, or were switched off

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr index --json`)."""
        document: dict[str, Any] = {
            "added": self.added,
            "unchanged": self.unchanged,
            "moved": self.moved,
            "changed": self.changed,
            "copies": self.copies,
            "embedded": self.embedded,
            "removed": [str(path) for path in self.removed],
            "quarantined": _reasons(self.quarantined),
            "unreadable": _reasons(self.unreadable),
            "without_videos": _reasons(self.without_videos),
            "seconds": self.seconds,
        }
        if self.unsettled:
            document["unsettled"] = [str(path) for path in self.unsettled]
        if self.translation:
            document["translation"] = self.translation.as_dict()
        if self.people:
            document["people"] = self.people.as_dict()
        if self.channels:
            document["channels"] = self.channels.as_dict()
        return document


@dataclass(frozen=True, slots=True)
class DescribeReport:
    """What `Library.describe` found and did. `videos` have their whole skeletons now, of which `answers` are new;
    `incomplete` are those that lack an answer, with the first reason."""

    videos: int = 0
    answers: int = 0
    incomplete: Reasons = ()
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `described` of `mmi-tvr index --json`)."""
        return {
            "videos": self.videos,
            "answers": self.answers,
            "incomplete": _reasons(self.incomplete),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class FacetReport:
    """What the `videos` of a library show: by level the classes that at least one does, the most frequent first.

    `calibration` says what that is worth; None where nobody measured it. Of `missing` videos nothing is known.
    """

    levels: Mapping[str, tuple[Facet, ...]]
    calibration: FacetCalibration | None
    videos: int
    missing: int = 0

    def as_dict(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return plain values for JSON (a documented contract): level -> name -> videos, and what that is worth."""
        return {level: {facet.name: facet.as_dict() for facet in facets} for level, facets in self.levels.items()}


@dataclass(frozen=True, slots=True)
class Status:
    """A library at a glance. `videos` are different contents that are indexed, of all `kinds`; copies count once. In
    `unseen` ones of them there is nothing to see.

    `model` and `fingerprint` are None before anything was embedded, and so is `model_title`, what a user calls the
    model; `writer` says who is writing at present; `rebuilding` counts what an unfinished rebuild has yet to embed
    (None: there is no such), and the rest is about what can be found until then; `translating` is the number of videos
    after which it translates the others. `translated` counts videos that are searched by translated vectors, and
    `former` is the model to which the library can go back until none of those is left. `writable` says whether the
    library can be written where it lies; `people` is None where nobody is known and no face was looked for; `channels`
    says how far each channel has come, `seen` among them.
    """

    path: Path
    model: str | None
    fingerprint: str | None
    index: str
    videos: int
    moments: int
    pending: int
    files: int
    duration: float  # seconds of video that can be searched
    size: int  # bytes on disk
    roots: tuple[Root, ...]
    quarantined: Reasons
    writer: str | None
    rebuilding: int | None = None
    translating: int | None = None
    translated: int = 0
    former: str | None = None
    writable: bool = True
    model_title: str | None = None
    people: PeopleStatus | None = None
    kinds: Mapping[MediaKind, int] = field(default_factory=dict)
    unseen: int = 0
    channels: ChannelsStatus = ChannelsStatus({})  # noqa: RUF009 (frozen)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `mmi-tvr status --json`)."""
        return {
            "library": str(self.path),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "index": self.index,
            "videos": self.videos,
            "kinds": dict(self.kinds),
            "unseen": self.unseen,
            "key_images": self.moments,
            "pending": self.pending,
            "files": self.files,
            "seconds": self.duration,
            "bytes": self.size,
            "folders": [str(root.path) for root in self.roots],
            "quarantined": _reasons(self.quarantined),
            "writer": self.writer,
            "rebuilding": self.rebuilding,
            "translating": self.translating,
            "translated": self.translated,
            "former": self.former,
            "writable": self.writable,
            "people": None if self.people is None else self.people.as_dict(),
            "channels": self.channels.as_dict(),
        }


def _reasons(reasons: Reasons) -> list[dict[str, str]]:
    return [{"path": str(path), "reason": reason} for path, reason in reasons]
