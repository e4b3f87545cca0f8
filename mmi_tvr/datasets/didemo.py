"""DiDeMo (Hendricks et al., ICCV 2017): about 10,500 Flickr videos, of which the first 30 s are used, with several
descriptions of moments each.

Annotation: `train_data.json`, `val_data.json`, `test_data.json`, and the lists of the videos that retrieval papers use
(`ce_train_list.txt` ... of collaborative-experts, or `train_list.txt` ...).
Videos: under the name in the annotation, with its own suffix or another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ..utils.wording import counted
from ._benchmarks import (
    AnnotatedMoment,
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    BenchmarkOptions,
    Listing,
    SplitSize,
    VideoLocation,
    build_benchmark,
    captions,
    checked_listing,
)

SECONDS = 30.0  # of each video; one segment of the annotation is 5 s
_SEGMENT = 5.0
FACTS = BenchmarkFacts(
    title="DiDeMo",
    protocol="paragraph: a video's descriptions, joined, are one query for its first 30 s; "
    "moment: each description is a query for its own span among all spans of the split",
    validation="the benchmark's own 1,065 videos",
    variants={"paragraph": {"unit": "paragraph"}, "moment": {"unit": "moment"}},
)
_VIDEOS = {"train": 8_392, "val": 1_065, "test": 1_004}
_MOMENTS = {"train": None, "val": 4_109, "test": 3_932}
_DESCRIPTIONS = {"train": None, "val": 4_180, "test": 4_021}


class Options(BenchmarkOptions):
    unit: Literal["paragraph", "moment"] = Field("paragraph", description="what is searched for: videos, or moments")


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    split = options.split
    descriptions: dict[str, list[Mapping[str, Any]]] = {}  # by video
    entries = annotations.json(f"{split}_data.json", official=_DESCRIPTIONS[split])
    with annotations.expecting("a list of descriptions with video, description and times"):
        for entry in entries:
            descriptions.setdefault(entry["video"], []).append(entry)
    ids, size = list(descriptions), SplitSize(None, None)
    remarks: list[str] = []
    lists = (f"ce_{split}_list.txt", f"{split}_list.txt")
    if annotations.has(*lists):
        ids, size = annotations.lines(*lists, official=_VIDEOS[split]), _size(options)
    else:
        remarks = [
            f"no {lists[0]}: all {counted(len(ids), 'video')} of the annotation, where papers use {_VIDEOS[split]:,}"
        ]
    annotated = _paragraph if options.unit == "paragraph" else _moments
    with annotations.expecting("a list of descriptions with video, description and times"):
        videos = [video for name in ids for video in annotated(name, descriptions.get(name, ()))]
    return checked_listing(videos, size, annotations, remarks)


def _size(options: Options) -> SplitSize:
    count = _VIDEOS[options.split] if options.unit == "paragraph" else _MOMENTS[options.split]
    return SplitSize(count, count)


def _paragraph(name: str, descriptions: Sequence[Mapping[str, Any]]) -> list[AnnotatedVideo]:
    """Join the descriptions in the order of the annotation."""
    moments = _spans(descriptions)
    text = " ".join(moment.text for moment in moments if moment.text)
    described = tuple(moment for moment in moments if moment.text)
    return [AnnotatedVideo(name, (text,) if text else (), (VideoLocation(name, 0.0, SECONDS),), described)]


def _moments(name: str, descriptions: Sequence[Mapping[str, Any]]) -> list[AnnotatedVideo]:
    """Return each description's span as a video of its own."""
    return [
        AnnotatedVideo(
            f"{name}#{entry['annotation_id']}", (moment.text,), (VideoLocation(name, moment.start, moment.end),)
        )
        for entry, moment in zip(descriptions, _spans(descriptions), strict=True)
    ]


def _spans(descriptions: Sequence[Mapping[str, Any]]) -> list[AnnotatedMoment]:
    """Return the descriptions with the span that most annotators gave.

    Decision: of equally frequent spans the first one counts.
    """
    texts = captions(entry["description"] for entry in descriptions)
    spans = []
    for entry, text in zip(descriptions, texts, strict=True):
        seconds = [(float(first) * _SEGMENT, (float(last) + 1) * _SEGMENT) for first, last in entry["times"]]
        span = Counter(seconds).most_common(1)[0][0]
        spans.append(AnnotatedMoment(" ".join(text.split()), *span, annotated=tuple(seconds)))
    return spans
