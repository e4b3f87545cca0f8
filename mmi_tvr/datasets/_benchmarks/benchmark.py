"""A benchmark's split as a data set: the annotated videos that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from ... import plugins
from ...errors import UsageError
from ...types import DescribedMoment, Sample
from ...utils.wording import counted
from .annotations import Annotations
from .records import AnnotatedMoment, Listing, held_out_ids
from .videos import VideoFolder

MAX_MISSING = 0.02  # decision: as for unreadable videos, a larger share makes another, easier test
_MAX_NAMED = 5  # missing videos


class SplitOptions(plugins.BaseOptions):
    """Which split of a data set with official splits, and what to do about videos that are not there."""

    root: Path = Field(description="its folder")
    split: Literal["train", "val", "test"] = Field("test", description="train, val or test")
    missing: Literal["error", "skip"] = Field(
        "skip", description="what to do about videos that are not there: leave them out (and say so), or stop"
    )
    allowed: float = Field(MAX_MISSING, ge=0, le=1, description="largest share of videos that may be left out")
    limit: int | None = Field(None, ge=1, description="only the first so many videos, to try things out")


class BenchmarkOptions(SplitOptions):
    """The options of every benchmark."""

    root: Path = Field(description="folder of the videos; its sub-folders are looked through, too")
    annotations: Path | None = Field(
        None, description="folder of the official annotation files; default: annotations in root, else root"
    )

    def annotation_folder(self) -> Path:
        """Return where the annotation files are."""
        if self.annotations is not None:
            return self.annotations.expanduser()
        inside = self.root.expanduser() / "annotations"
        return inside if inside.is_dir() else self.root.expanduser()


class HoldOutOptions(BenchmarkOptions):
    """For benchmarks whose validation videos are a part of the published training list."""

    hold_out: bool = Field(True, description="keep the validation videos out of train")

    @model_validator(mode="after")
    def _no_leak(self) -> HoldOutOptions:
        if self.split == "val" and not self.hold_out:
            raise ValueError("without hold_out the validation videos are trained on: there is no val split")
        return self

    def in_split(self, ids: Sequence[str], share: float) -> list[str]:
        """Return which ids of the published list are of this split, in their order.

        Args:
            ids: of the test list, or else of the training list, of whose videos some are for validation.
            share: of the training list that these are.
        """
        if self.split == "test" or not self.hold_out:
            return list(ids)
        held_out = held_out_ids(ids, share, seed=0)
        return [id_ for id_ in ids if (id_ in held_out) == (self.split == "val")]


@dataclass(frozen=True, slots=True)
class BenchmarkFacts:
    """What an adapter states about its benchmark. `variants` are the options under which splits differ, by name;
    `pictures`: its videos are still pictures; `graded`: its captions fit videos to a degree (`GradedDataset`)."""

    title: str
    protocol: str
    validation: str
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    pictures: bool = False
    graded: bool = False


@runtime_checkable
class BenchmarkModule(Protocol):
    """What the module of a data set offers, besides Options (BenchmarkOptions) and build, if it is a benchmark."""

    FACTS: BenchmarkFacts
    Options: type[BenchmarkOptions]

    def read(self, options: Any, annotations: Annotations) -> Listing:
        """Return the split that the options name, as the annotation has it. UsageError where it is not usable."""
        ...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Samples of one split in the order of the annotation; `missing` are the ids of those without a video.

    `remarks` say what a reader of results should know: cut annotations, a limit.
    """

    title: str
    present: tuple[Sample, ...]
    missing: tuple[str, ...]
    remarks: tuple[str, ...]

    def samples(self) -> tuple[Sample, ...]:
        return self.present


@dataclass(frozen=True, slots=True)
class BenchmarkWithMoments(Benchmark):
    """A split whose annotation says when each of its sentences happens (`protocols.MomentDataset`)."""

    described: tuple[DescribedMoment, ...] = ()

    def moments(self) -> dict[str, Sequence[DescribedMoment]]:
        return {"events": self.described}


def build_benchmark(options: Any, facts: BenchmarkFacts, read: Callable[[Any, Annotations], Listing]) -> Benchmark:
    """Return the split that the options name. No video is opened.

    Raises UsageError for what is wrong with the annotation, and as `find_videos` does.
    """
    listing = read(options, Annotations(options.annotation_folder()))
    return _with_moments(find_videos(options, facts, listing), listing)


def read_listing(name: str, options: Mapping[str, Any]) -> Listing:
    """Return a split of a benchmark as its annotation has it; no video is looked for.

    Raises UsageError where `name` is no benchmark with captions that are right or wrong, and for what is wrong with its
    annotation.
    """
    module = plugins.load("datasets", name)
    if not isinstance(module, BenchmarkModule) or not issubclass(module.Options, BenchmarkOptions):
        raise UsageError(f"{name} is no benchmark with annotation files of its own")
    if module.FACTS.graded:
        raise UsageError(f"captions fit the videos of {name} to a degree, and not as right or wrong")
    values = plugins.options("datasets", name, options)
    assert isinstance(values, BenchmarkOptions)
    listing: Listing = module.read(values, Annotations(values.annotation_folder()))
    return listing


def find_videos(options: Any, facts: BenchmarkFacts, listing: Listing) -> Benchmark:
    """Return the annotated videos of a split that are there. No video is opened.

    Raises UsageError where videos are missing: any with missing=error, else more than one and more than `allowed`, and
    always where none is there.
    """
    folder = VideoFolder(options.root, facts.pictures)
    videos = listing.videos[: options.limit]
    paired = [(video, folder.find(video)) for video in videos]
    missing = tuple(video.id for video, file in paired if file is None)
    refuse_missing(options, facts.title, missing, len(videos))
    remarks = (*listing.remarks, *limit_remark(len(videos), len(listing.videos)))
    present = tuple(Sample(video.id, file, video.captions) for video, file in paired if file is not None)
    return Benchmark(facts.title, present, missing, remarks)


def _with_moments(benchmark: Benchmark, listing: Listing) -> Benchmark:
    """Return a split with the moments of its sentences, where the annotation has any."""
    moments = {video.id: video.moments for video in listing.videos}
    described = tuple(
        _described(moment, number, sample.video.start)
        for number, sample in enumerate(benchmark.present)
        for moment in moments[sample.id]
    )
    if not described:
        return benchmark
    return BenchmarkWithMoments(benchmark.title, benchmark.present, benchmark.missing, benchmark.remarks, described)


def refuse_missing(options: SplitOptions, title: str, missing: Sequence[str], videos: int) -> None:
    """Raise UsageError where more videos of a split are missing than its options allow, and where all of them are.

    Args:
        options: of the data set.
        title: of the data set.
        missing: ids of the videos that are not there.
        videos: how many there should be.
    """
    max_missing = 0 if options.missing == "error" else max(1, options.allowed * videos)
    if len(missing) <= max_missing and len(missing) < videos:
        return
    names = ", ".join(missing[:_MAX_NAMED]) + (", ..." if len(missing) > _MAX_NAMED else "")
    advice = "put them there, or allow a larger share to be left out with allowed (--skip-missing)"
    if len(missing) == videos:
        advice = "put them there, or name the folder that holds them (root)"
    raise UsageError(
        f"{title}, {options.split}: {len(missing):,} of {counted(videos, 'video')} "
        f"missing in {options.root}: {names}; {advice}"
    )


def limit_remark(videos: int, listed: int) -> tuple[str, ...]:
    """Return the remark that only the first videos of a list were taken; none where all were."""
    return (f"only the first {videos:,} of {counted(listed, 'video')}",) if videos < listed else ()


def _described(moment: AnnotatedMoment, sample: int, start: float) -> DescribedMoment:
    """Return a moment of a sample whose video begins at this second of its file."""

    def shifted(spans: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        return tuple((start + first, start + last) for first, last in spans)

    return DescribedMoment(
        moment.text,
        sample,
        start + moment.start,
        start + moment.end,
        repeated=shifted(moment.repeated),
        annotated=shifted(moment.annotated),
        saliency=moment.saliency and replace(moment.saliency, start=start + moment.saliency.start),
    )
