"""MSCOCO captions (Chen et al., 2015): 123,287 pictures with five sentences each, or a few more, in Karpathy's split
(Karpathy and Fei-Fei, CVPR 2015), or in the 2017 release's own.

Annotation: `dataset_coco.json` (also inside `caption_datasets.zip`), or `captions_train2017.json` and
`captions_val2017.json` (also inside `annotations_trainval2017.zip`).
Pictures: under their names of 2014 (`COCO_val2014_000000391895.jpg`) or of 2017 (`000000391895.jpg`), in any folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    HoldOutOptions,
    Listing,
    SplitSize,
    VideoLocation,
    captions,
    checked_listing,
    find_videos,
)

FACTS = BenchmarkFacts(
    title="MSCOCO",
    protocol="each of a picture's first five sentences is a query among the 5,000 pictures of test, and among the "
    "1,000 of its fold, of five in the split's order; picture-to-text takes the best-ranked of the five",
    validation="Karpathy's own 5,000 pictures; in the 2017 release, whose test is its val, 5,000 of train, chosen by a "
    "hash of their ids and kept out of train",
    variants={"karpathy": {"protocol": "karpathy"}, "2017": {"protocol": "2017"}},
    pictures=True,
)
FOLDS = 5
_FOLD = 1_000  # pictures
_SENTENCES = 5
_ALL_SENTENCES: Mapping[str, Mapping[str, int | None]] = {
    "karpathy": {"train": 566_747, "val": 25_010, "test": 25_010},
    "2017": {"train": None, "val": None, "test": 25_014},
}
_PICTURES = {
    "karpathy": {"train": 113_287, "val": 5_000, "test": 5_000},
    "2017": {"train": 118_287, "val": 5_000, "test": 5_000},
}
_PARTS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}  # of Karpathy's file
_KARPATHY_PICTURES = 123_287
_RELEASE = {"train": ("captions_train2017.json", 118_287 + 591_753), "val": ("captions_val2017.json", 5_000 + 25_014)}


class Options(HoldOutOptions):
    protocol: Literal["karpathy", "2017"] = Field("karpathy", description="Karpathy's split, or the 2017 release's own")
    sentences: Literal["five", "all"] = Field(
        "five", description="the first five of each picture, as most papers have it, or also the further ones of a few"
    )


@dataclass(frozen=True, slots=True)
class Coco(Benchmark):
    """A split; `listed` are the ids of all its pictures, in its order."""

    listed: tuple[str, ...] = ()

    def folds(self) -> Sequence[Sequence[int]]:
        """Return the samples of five folds of 1,000 pictures; none where the split has fewer, or more.

        A missing picture leaves a gap: folds are by the place in the split (`protocols.FoldedDataset`).
        """
        if len(self.present) + len(self.missing) != FOLDS * _FOLD:
            return ()
        folds: list[list[int]] = [[] for _ in range(FOLDS)]
        place = {name: number for number, name in enumerate(self.listed)}
        for number, sample in enumerate(self.present):
            folds[place[sample.id] // _FOLD].append(number)
        return folds


def build(options: Options) -> Coco:
    """Return the split that the options name."""
    listing = read(options, Annotations(options.annotation_folder()))
    split = find_videos(options, FACTS, listing)
    return Coco(split.title, split.present, split.missing, split.remarks, tuple(video.id for video in listing.videos))


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    reader = _read_karpathy if options.protocol == "karpathy" else _read_release
    pictures = [
        replace(picture, captions=_chosen(picture.captions, options)) for picture in reader(options, annotations)
    ]
    return checked_listing(pictures, _size(options), annotations)


def _size(options: Options) -> SplitSize:
    count = _PICTURES[options.protocol][options.split]
    if options.protocol == "2017" and options.split == "train" and options.hold_out:
        count -= _PICTURES["2017"]["val"]
    if options.sentences == "five":
        return SplitSize(count, count * _SENTENCES)
    return SplitSize(count, _ALL_SENTENCES[options.protocol][options.split])


def _chosen(sentences: Sequence[str], options: Options) -> tuple[str, ...]:
    """Return the sentences of a picture that count, each in one line. An empty one is counted later, as none."""
    lines = [" ".join(sentence.split()) for sentence in sentences]
    if options.sentences == "all":
        return tuple(lines)
    chosen: list[str] = []
    for line in lines:
        if sum(map(bool, chosen)) == _SENTENCES:
            break
        chosen.append(line)
    return tuple(chosen)


def _read_karpathy(options: Options, annotations: Annotations) -> list[AnnotatedVideo]:
    release = annotations.json(
        "dataset_coco.json", official=_KARPATHY_PICTURES, count=lambda content: len(content["images"])
    )
    parts = _PARTS[options.split]
    with annotations.expecting("images with filename, cocoid, split and sentences, each with raw"):
        return [
            AnnotatedVideo(
                str(int(picture["cocoid"])),
                captions(sentence["raw"] for sentence in picture["sentences"]),
                _locations(picture["filename"], int(picture["cocoid"])),
            )
            for picture in release["images"]
            if picture["split"] in parts
        ]


def _read_release(options: Options, annotations: Annotations) -> list[AnnotatedVideo]:
    file, official = _RELEASE["val" if options.split == "test" else "train"]
    release = annotations.json(file, official=official, count=_entries)
    with annotations.expecting("images with id and file_name, annotations with image_id and caption"):
        sentences: dict[int, list[str]] = {int(picture["id"]): [] for picture in release["images"]}
        texts = captions(annotation["caption"] for annotation in release["annotations"])
        for annotation, text in zip(release["annotations"], texts, strict=True):
            sentences[int(annotation["image_id"])].append(text)
        names = {int(picture["id"]): picture["file_name"] for picture in release["images"]}
        share = _PICTURES["2017"]["val"] / _PICTURES["2017"]["train"]
        return [
            AnnotatedVideo(id_, tuple(sentences[int(id_)]), _locations(names[int(id_)], int(id_)))
            for id_ in options.in_split([str(int(picture["id"])) for picture in release["images"]], share)
        ]


def _entries(release: Mapping[str, Any]) -> int:
    return len(release["images"]) + len(release["annotations"])


def _locations(name: str, number: int) -> tuple[VideoLocation, ...]:
    """Return where a picture may lie: under the name in the annotation, or under one of the other release."""
    names = (name, f"{number:012}.jpg", *(f"COCO_{part}2014_{number:012}.jpg" for part in ("train", "val")))
    return tuple(VideoLocation(name) for name in dict.fromkeys(names))
