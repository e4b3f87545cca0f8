"""A benchmark's split as a data set: the records whose videos are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ... import plugins
from ...errors import UsageError
from ...types import Sample
from .annotations import Annotations
from .records import Listing
from .videos import VideoFolder

MAX_MISSING = 0.02  # decision: as for unreadable videos, a larger share makes another, easier test
_SHOWN = 5


class BenchmarkOptions(plugins.BaseOptions):
    """What every benchmark is told."""

    root: Path = Field(description="folder of the videos; its sub-folders are looked through, too")
    annotations: Path | None = Field(
        None, description="folder of the official annotation files; default: annotations in root, else root"
    )
    split: Literal["train", "val", "test"] = Field("test", description="train, val or test")
    missing: Literal["error", "skip"] = Field(
        "skip", description="what to do about videos that are not there: leave them out (and say so), or stop"
    )
    allowed: float = Field(MAX_MISSING, ge=0, le=1, description="largest share of videos that may be left out")
    limit: int | None = Field(None, ge=1, description="only the first so many videos, to try things out")

    def folder(self) -> Path:
        """Where the annotation files are."""
        if self.annotations is not None:
            return self.annotations.expanduser()
        inside = self.root.expanduser() / "annotations"
        return inside if inside.is_dir() else self.root.expanduser()


class HeldOut(BenchmarkOptions):
    """For benchmarks whose validation videos are a part of the published training list."""

    hold_out: bool = Field(True, description="keep the validation videos out of train")

    @model_validator(mode="after")
    def _no_leak(self) -> HeldOut:
        if self.split == "val" and not self.hold_out:
            raise ValueError("without hold_out the validation videos are trained on: there is no val split")
        return self


@dataclass(frozen=True, slots=True)
class Facts:
    """What an adapter states about its benchmark. `variants` are the options under which splits differ, by name."""

    title: str
    protocol: str
    validation: str
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Samples of one split in the order of the annotation; `missing` are the ids of those without a video.

    `listed` counts both. `remarks` say what a reader of results should know: cut annotations, a limit.
    """

    title: str
    present: tuple[Sample, ...]
    missing: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def listed(self) -> int:
        return len(self.present) + len(self.missing)

    def samples(self) -> tuple[Sample, ...]:
        return self.present


def make(options: Any, facts: Facts, read: Callable[[Any, Annotations], Listing]) -> Benchmark:
    """The split that the options name. No video is opened.

    Raises UsageError for what is wrong with the annotation, and where videos are missing: any with missing=error,
    else more than one and more than `allowed`, and always where none is there.
    """
    found = read(options, Annotations(options.folder()))
    folder = VideoFolder(options.root)
    records = found.records[: options.limit]
    placed = [(record, folder.find(record)) for record in records]
    missing = tuple(record.id for record, video in placed if video is None)
    most = 0 if options.missing == "error" else max(1, options.allowed * len(records))
    if len(missing) > most or len(missing) == len(records):
        names = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise UsageError(
            f"{facts.title}, {options.split}: {len(missing):,} of {len(records):,} videos are not in {options.root}: "
            f"{names}; put them there, or allow a larger share to be left out with allowed (--skip-missing)"
        )
    remarks = found.remarks
    if len(records) < len(found.records):
        remarks = (*remarks, f"only the first {len(records):,} of {len(found.records):,} videos")
    present = tuple(Sample(record.id, video, record.captions) for record, video in placed if video is not None)
    return Benchmark(facts.title, present, missing, remarks)
