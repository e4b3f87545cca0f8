"""What is there of a benchmark: every split counted, its videos looked for and opened, its splits held against each
other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

from ... import plugins
from ...errors import MediaError, UsageError
from ...media.video import probe
from ...types import Video
from .annotations import Annotations
from .benchmark import BenchmarkOptions, Facts
from .records import Listing, Place, Record, Size
from .videos import VideoFolder


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """One split of one variant. `error` says why its annotation cannot be used; then the rest is empty."""

    variant: str
    split: str
    videos: int = 0
    captions: int = 0
    official: Size = field(default_factory=lambda: Size(None, None))
    missing: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many videos of the split `one` have, in the split `other`: their own id, a video cut from the same source,
    one that shares a stretch of that source."""

    variant: str
    one: str
    other: str
    ids: int
    sources: int
    stretches: int


@dataclass(frozen=True, slots=True)
class Check:
    """What `check` found. `files` counts the video files below the root; `probed` those that were opened, or None."""

    title: str
    protocol: str
    validation: str
    files: int
    probed: int | None
    splits: tuple[SplitCheck, ...]
    overlaps: tuple[Overlap, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def benchmarks() -> tuple[str, ...]:
    """The data sets that are benchmarks: those whose module states FACTS."""
    return tuple(name for name in plugins.names("datasets") if hasattr(plugins.load("datasets", name), "FACTS"))


def check(
    name: str,
    values: Mapping[str, Any],
    begin: Callable[[int], object] = lambda total: None,
    advance: Callable[[], object] = lambda: None,
    *,
    opening: bool = True,
) -> Check:
    """Look at every split of a benchmark. values: its options (root, annotations, ...).

    opening: open every video that a split uses, and decode its first frame; `begin` hears how many, `advance` each.
    Raises UsageError where the folders are wrong or no split at all can be read.
    """
    module = plugins.load("datasets", name)
    facts: Facts = module.FACTS
    first = plugins.options("datasets", name, values)
    assert isinstance(first, BenchmarkOptions)
    folder, read = VideoFolder(first.root), Annotations(first.folder())
    found: dict[tuple[str, str], Listing | str] = {}
    for variant, options in facts.variants.items():
        if any(values.get(key, value) != value for key, value in options.items()):
            continue  # another variant was asked for
        for split in get_args(BenchmarkOptions.model_fields["split"].annotation):
            read.begin()
            try:
                wanted = plugins.options("datasets", name, {**values, **options, "split": split})
                found[variant, split] = module.read(wanted, read)
            except UsageError as error:
                found[variant, split] = str(error)
    listed = {key: listing for key, listing in found.items() if isinstance(listing, Listing)}
    if not listed:
        raise UsageError("; ".join(dict.fromkeys(str(each) for each in found.values())))
    placed = {key: [(record, folder.find(record)) for record in each.records] for key, each in listed.items()}
    paths = sorted({video.path for each in placed.values() for _, video in each if video is not None})
    reasons = _probe(paths, begin, advance) if opening else {}
    splits = tuple(
        SplitCheck(*key, error=each) if isinstance(each, str) else _split(key, each, placed[key], reasons)
        for key, each in found.items()
    )
    pairs = combinations(listed, 2)
    overlaps = [_overlap(one, other, listed) for other, one in pairs if one[0] == other[0]]
    return Check(
        facts.title,
        facts.protocol,
        facts.validation,
        len(folder.names),
        len(paths) if opening else None,
        splits,
        tuple(each for each in overlaps if each.ids or each.sources),
    )


def _split(
    key: tuple[str, str], found: Listing, placed: Sequence[tuple[Record, Video | None]], reasons: Mapping[Path, str]
) -> SplitCheck:
    return SplitCheck(
        *key,
        videos=len(found.records),
        captions=found.captions,
        official=found.official,
        missing=tuple(record.id for record, video in placed if video is None),
        unreadable={record.id: reasons[video.path] for record, video in placed if video and video.path in reasons},
        notes=found.remarks,
    )


def _probe(paths: Sequence[Path], begin: Callable[[int], object], advance: Callable[[], object]) -> dict[Path, str]:
    """The reason of every file that cannot be used."""

    def reason(path: Path) -> str | None:
        try:
            probe(path)
        except MediaError as error:
            return error.reason
        return None

    begin(len(paths))
    reasons = {}
    with ThreadPoolExecutor() as workers:  # PyAV leaves the interpreter's lock while it decodes
        for path, found in zip(paths, workers.map(reason, paths), strict=True):
            advance()
            if found is not None:
                reasons[path] = found
    return reasons


def _overlap(one: tuple[str, str], other: tuple[str, str], listed: Mapping[tuple[str, str], Listing]) -> Overlap:
    ids = {record.id for record in listed[other].records}
    sources: dict[str, list[Place]] = {}
    for place in _sources(listed[other].records):
        sources.setdefault(place.name, []).append(place)
    shared = [place for place in _sources(listed[one].records) if place.name in sources]
    meeting = [place for place in shared if any(_meet(place, each) for each in sources[place.name])]
    return Overlap(
        one[0],
        one[1],
        other[1],
        sum(record.id in ids for record in listed[one].records),
        len(shared),
        len(meeting),
    )


def _sources(records: Iterable[Record]) -> list[Place]:
    return [record.source for record in records if record.source is not None]


def _meet(one: Place, other: Place) -> bool:
    assert one.end is not None
    assert other.end is not None
    return max(one.start, other.start) < min(one.end, other.end)
