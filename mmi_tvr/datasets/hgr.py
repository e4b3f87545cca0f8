"""Features and annotations as HGR (Chen et al., CVPR 2020) and HANet (Wu et al., ACM MM 2021) publish them: MSR-VTT,
VATEX, TGIF or Youtube2Text, without videos.

A folder of their layout (`_hgr.files`). What a model reads are vectors of frames (`DatasetWithFeatures`): ResNet-152's
for MSR-VTT (2,048 numbers, 20 frames), I3D's for VATEX (1,024 numbers, 30 frames). Needs h5py (extra `hgr`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from .. import plugins
from ..errors import MediaError, UsageError
from ..types import Features, Labels, PrecomputedFeatures, Sample, Video
from ..utils.wording import counted
from ._benchmarks import BenchmarkCheck, Overlap, SplitCheck, SplitOptions, limit_remark, refuse_missing
from ._hgr import CaptionLabels, FrameFiles, HgrFolder

_TITLE = "HGR"
_PROTOCOL = (
    "each caption is a query of its own; with --merge-captions equal ones are one query, as HGR and HANet have it"
)
_VALIDATION = "the split val_names.npy"


class Options(SplitOptions):
    """Options of the data set; the vectors must be those that the model reads (`model.precomputed`)."""

    features: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="kinds of features, folders of ordered_feature/SA, whose numbers are put one behind the other; "
        "default: the only one that is there",
    )
    graphs: bool = Field(True, description="models that read role graphs take those of the folder; false: parsed ones")
    frames: int = Field(20, ge=1, description="most frames of a video, evenly picked (HGR: 20; for VATEX 30)")


@dataclass(frozen=True)
class HgrDataset:
    """The videos of a split whose features are there, in the order of the split; `missing` are the others."""

    listed: tuple[Sample, ...]
    names: tuple[str, ...]
    files: FrameFiles
    vision: str
    missing: tuple[str, ...]
    remarks: tuple[str, ...]
    role_graphs: Path | None

    def samples(self) -> tuple[Sample, ...]:
        return self.listed

    def features(self, number: int) -> Features:
        """Return the features of a sample (`protocols.DatasetWithFeatures`)."""
        return self.files.features(self.names[number])


@dataclass(frozen=True)
class LabelledHgrDataset(HgrDataset):
    """A split with HANet's labels. `places` say which captions of the file those of each sample are."""

    labels: CaptionLabels
    places: tuple[tuple[int, ...], ...]

    def video_labels(self, number: int) -> Labels:
        """Return what a video shows (`protocols.LabelledDataset`)."""
        return self.labels.video(self.names[number])

    def caption_labels(self, number: int) -> list[Labels]:
        """Return what each caption of a sample says."""
        return [self.labels.caption(self.names[number], place) for place in self.places[number]]


def build(options: Options) -> HgrDataset:
    """Return the split that the options name.

    Raises:
        UsageError: a file is missing or damaged, or more videos are without features than the options allow.
        MissingExtra: h5py is not installed.
    """
    folder = HgrFolder(options.root)
    listed = folder.names(options.split)
    names = listed[: options.limit]
    captions = dict(zip(names, folder.captions(names), strict=True))
    kinds = folder.chosen_kinds(options.features)
    files = FrameFiles(folder.feature_files(options.split, kinds), options.frames)
    missing = tuple(name for name in names if name not in files)
    refuse_missing(options, _TITLE, missing, len(names))
    present = tuple(name for name in names if name in files and any(map(str.strip, captions[name])))
    # Decision: empty captions are left out, and a remark counts them.
    places = [tuple(place for place, text in enumerate(captions[name]) if text.strip()) for name in present]
    samples = tuple(
        Sample(name, Video(files.path(name)), tuple(captions[name][place].strip() for place in of_name))
        for name, of_name in zip(present, places, strict=True)
    )
    if not samples:
        raise UsageError(f"{options.root}: no video of the split {options.split} has a caption")
    vision = str(PrecomputedFeatures(tuple(kinds), files.width(present), options.frames))
    empty = sum(not text.strip() for texts in captions.values() for text in texts)
    remarks = (f"without {counted(empty, 'empty caption')}",) if empty else ()
    remarks = (*remarks, *limit_remark(len(names), len(listed)))
    graphs = folder.role_graphs() if options.graphs else None
    parts = (samples, present, files, vision, missing, remarks, graphs)
    if CaptionLabels.available(folder, options.split):
        return LabelledHgrDataset(*parts, CaptionLabels(folder, present), tuple(places))
    return HgrDataset(*parts)


def check(
    values: Mapping[str, Any], begin: Callable[[int], object], advance: Callable[[], object], opening: bool
) -> BenchmarkCheck:
    """Look at every split (`datasets.check_benchmark`). UsageError where none of them can be read."""
    splits = get_args(SplitOptions.model_fields["split"].annotation)
    read: dict[str, HgrDataset] = {}
    checks: dict[str, SplitCheck] = {}
    for split in splits:
        options = plugins.options("datasets", "hgr", {**values, "split": split, "missing": "skip", "allowed": 1.0})
        assert isinstance(options, Options)
        try:
            read[split] = build(options)
        except UsageError as error:
            checks[split] = SplitCheck("", split, error=str(error))
    if not read:
        raise UsageError("; ".join(dict.fromkeys(check.error for check in checks.values())))
    arrays = sum(len(dataset.names) for dataset in read.values())
    if opening:
        begin(arrays)
    for split, dataset in read.items():
        checks[split] = SplitCheck(
            "",
            split,
            videos=len(dataset.names) + len(dataset.missing),
            captions=sum(len(sample.captions) for sample in dataset.listed),
            missing=dataset.missing,
            unreadable=_unreadable(dataset, advance) if opening else {},
            remarks=(*dataset.remarks, dataset.vision),
        )
    return BenchmarkCheck(
        _TITLE,
        _PROTOCOL,
        _VALIDATION,
        arrays,
        arrays if opening else None,
        tuple(checks[split] for split in splits),
        tuple(_overlaps(read)),
        "array",
    )


def _unreadable(dataset: HgrDataset, advance: Callable[[], object]) -> dict[str, str]:
    """Read all features; returns why those of some videos cannot be used."""
    reasons = {}
    for number, name in enumerate(dataset.names):
        try:
            dataset.features(number)
        except MediaError as error:
            reasons[name] = error.reason
        advance()
    return reasons


def _overlaps(splits: Mapping[str, HgrDataset]) -> list[Overlap]:
    """Return which splits share videos, by name: nothing is known of where these were cut from."""
    pairs = [
        (later, earlier, len(set(splits[later].names) & set(splits[earlier].names)))
        for earlier, later in combinations(splits, 2)
    ]
    return [Overlap("", later, earlier, shared, 0, 0) for later, earlier, shared in pairs if shared]
