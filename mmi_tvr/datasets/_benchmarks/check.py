"""What is there of a benchmark: every split counted, its videos looked for and opened, its splits compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from ... import plugins
from ...errors import MediaError, UsageError
from ...types import Video
from .annotations import Annotations
from .benchmark import BenchmarkModule, BenchmarkOptions
from .records import AnnotatedVideo, Listing, SplitSize, VideoLocation
from .videos import VideoFolder

SplitKey = tuple[str, str]  # variant and split
PairedVideos = Sequence[tuple[AnnotatedVideo, Video | None]]  # with the file, if it is there


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """One split of one variant. `error` says why its annotation cannot be used; then the rest is empty."""

    variant: str
    split: str
    videos: int = 0
    captions: int = 0
    official: SplitSize = field(default_factory=lambda: SplitSize(None, None))
    missing: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, where the remarks are called notes."""
        return {"notes" if name == "remarks" else name: value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many videos of a split another split has, too: by id, by the source they are cut from, by a shared stretch of
    that source."""

    variant: str
    split: str
    other_split: str
    ids: int
    sources: int
    stretches: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, where the splits are called one and other."""
        keys = {"split": "one", "other_split": "other"}
        return {keys.get(name, name): value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class BenchmarkCheck:
    """What `check_benchmark` returns: `files` below the root, and how many of them were opened, or None. `unit` says
    what they are."""

    title: str
    protocol: str
    validation: str
    files: int
    probed: int | None
    splits: tuple[SplitCheck, ...]
    overlaps: tuple[Overlap, ...]
    unit: str = "file"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        values["splits"] = [split.as_dict() for split in self.splits]
        values["overlaps"] = [overlap.as_dict() for overlap in self.overlaps]
        return values


@runtime_checkable
class CheckableModule(Protocol):
    """The module of a benchmark that has no videos to be opened, and looks by itself at what is there."""

    def check(
        self,
        values: Mapping[str, Any],
        begin: Callable[[int], object],
        advance: Callable[[], object],
        opening: bool,
    ) -> BenchmarkCheck:
        """Do what `check_benchmark` does."""
        ...


def benchmark_names() -> tuple[str, ...]:
    """Return the names of the data sets that are benchmarks. Those of other packages are not loaded for it."""
    ours = [name for name in plugins.names("datasets") if plugins.origin("datasets", name) is None]
    return tuple(name for name in ours if isinstance(plugins.load("datasets", name), BenchmarkModule | CheckableModule))


def check_benchmark(
    name: str,
    values: Mapping[str, Any],
    begin: Callable[[int], object] = lambda total: None,
    advance: Callable[[], object] = lambda: None,
    *,
    opening: bool = True,
) -> BenchmarkCheck:
    """Look at every split of a benchmark.

    Args:
        name: of the data set.
        values: its options (root, annotations, ...); one that names a variant leaves out the others.
        begin: called with the number of videos before they are opened.
        advance: called after each.
        opening: open every video that a split uses, and decode its first frame.
    Raises:
        UsageError: the folders are wrong, or no split at all can be read.
    """
    module = plugins.load("datasets", name)
    if isinstance(module, CheckableModule):
        result: BenchmarkCheck = module.check(values, begin, advance, opening)
        return result
    if not isinstance(module, BenchmarkModule):
        raise UsageError(f"{name} is no benchmark; there are: {', '.join(benchmark_names())}")
    options = plugins.options("datasets", name, values)
    assert isinstance(options, BenchmarkOptions)
    folder = VideoFolder(options.root, module.FACTS.pictures)
    listings, errors = _read_splits(name, module, values, Annotations(options.annotation_folder()))
    if not listings:
        raise UsageError("; ".join(dict.fromkeys(errors.values())))
    paired = {key: [(video, folder.find(video)) for video in listing.videos] for key, listing in listings.items()}
    files = {file.path: file for videos in paired.values() for _, file in videos if file is not None}
    reasons = _probe(list(files.values()), begin, advance) if opening else {}
    splits = {key: _split_check(key, listing, paired[key], reasons) for key, listing in listings.items()}
    splits |= {key: SplitCheck(*key, error=error) for key, error in errors.items()}
    return BenchmarkCheck(
        module.FACTS.title,
        module.FACTS.protocol,
        module.FACTS.validation,
        len(folder.names),
        len(files) if opening else None,
        tuple(splits[key] for key in _split_keys(module, values)),
        tuple(_overlaps(listings)),
    )


def _split_keys(module: BenchmarkModule, values: Mapping[str, Any]) -> list[SplitKey]:
    """List the splits of every variant that the options leave."""
    splits = get_args(module.Options.model_fields["split"].annotation)
    return [
        (variant, split)
        for variant, options in module.FACTS.variants.items()
        if all(values.get(key, value) == value for key, value in options.items())
        for split in splits
    ]


def _read_splits(
    name: str, module: BenchmarkModule, values: Mapping[str, Any], annotations: Annotations
) -> tuple[dict[SplitKey, Listing], dict[SplitKey, str]]:
    """Read every split; returns the listings, and why the others cannot be used."""
    listings: dict[SplitKey, Listing] = {}
    errors: dict[SplitKey, str] = {}
    for variant, split in _split_keys(module, values):
        annotations.start_split()
        try:
            options = plugins.options("datasets", name, {**values, **module.FACTS.variants[variant], "split": split})
            listings[variant, split] = module.read(options, annotations)
        except UsageError as error:
            errors[variant, split] = str(error)
    return listings, errors


def _split_check(key: SplitKey, listing: Listing, paired: PairedVideos, reasons: Mapping[Path, str]) -> SplitCheck:
    return SplitCheck(
        *key,
        videos=len(listing.videos),
        captions=listing.captions,
        official=listing.official,
        missing=tuple(video.id for video, file in paired if file is None),
        unreadable={video.id: reasons[file.path] for video, file in paired if file and file.path in reasons},
        remarks=listing.remarks,
    )


def _probe(videos: Sequence[Video], begin: Callable[[int], object], advance: Callable[[], object]) -> dict[Path, str]:
    """Open every file; returns the reasons of those that cannot be used."""
    from ...media.video import check_usable  # PyAV takes long to load, and nothing else in this room needs it

    def reason_of(video: Video) -> str | None:
        try:
            check_usable(video)
        except MediaError as error:
            return error.reason
        return None

    begin(len(videos))
    reasons: dict[Path, str] = {}
    with ThreadPoolExecutor() as pool:  # PyAV leaves the interpreter's lock while it decodes
        for video, reason in zip(videos, pool.map(reason_of, videos), strict=True):
            advance()
            if reason is not None:
                reasons[video.path] = reason
    return reasons


def _overlaps(listings: Mapping[SplitKey, Listing]) -> Iterable[Overlap]:
    """Yield the overlaps between two splits of one variant; the later split is the one whose videos are counted."""
    for earlier, later in combinations(listings, 2):
        if earlier[0] == later[0]:
            overlap = _overlap(later, earlier, listings)
            if overlap.ids or overlap.sources:
                yield overlap


def _overlap(key: SplitKey, other_key: SplitKey, listings: Mapping[SplitKey, Listing]) -> Overlap:
    videos, other_videos = listings[key].videos, listings[other_key].videos
    other_ids = {video.id for video in other_videos}
    other_sources: dict[str, list[VideoLocation]] = {}
    for source in _sources(other_videos):
        other_sources.setdefault(source.name, []).append(source)
    shared = [source for source in _sources(videos) if source.name in other_sources]
    stretches = [source for source in shared if any(_intersect(source, o) for o in other_sources[source.name])]
    return Overlap(
        variant=key[0],
        split=key[1],
        other_split=other_key[1],
        ids=sum(video.id in other_ids for video in videos),
        sources=len(shared),
        stretches=len(stretches),
    )


def _sources(videos: Iterable[AnnotatedVideo]) -> list[VideoLocation]:
    return [video.source for video in videos if video.source is not None]


def _intersect(span: VideoLocation, other: VideoLocation) -> bool:
    assert span.end is not None
    assert other.end is not None
    return max(span.start, other.start) < min(span.end, other.end)
