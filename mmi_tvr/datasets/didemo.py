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
    empty_sentences,
)

SECONDS = 30.0  # of each video; one segment of the annotation is 5 s
_SEGMENT = 5.0
_SEGMENTS = range(6)
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
    lists = (f"ce_{split}_list.txt", f"{split}_list.txt")
    listed = annotations.lines(*lists, official=_VIDEOS[split]) if annotations.has(*lists) else None
    moments: dict[str, list[tuple[str, AnnotatedMoment]]] = {}  # by video, with the description's id
    entries = annotations.json(f"{split}_data.json", official=_DESCRIPTIONS[split])
    with annotations.expecting("a list of descriptions with video, description and times"):
        for _, entry in annotations.visit(enumerate(entries, start=1), "entry"):
            name = f"{entry['video']}#{entry['annotation_id']}" if options.unit == "moment" else ""
            moments.setdefault(entry["video"], []).append((name, _moment(entry)))
    ids = list(moments) if listed is None else listed
    annotated = _paragraph if options.unit == "paragraph" else _moments
    videos = [video for name in ids for video in annotated(name, moments.get(name, ()))]
    remarks = []
    if listed is None:
        remarks = [
            f"no {lists[0]}: all {counted(len(ids), 'video')} of the annotation, where papers use {_VIDEOS[split]:,}"
        ]
    if options.unit == "paragraph":
        remarks += empty_sentences(moment.text for name in ids for _, moment in moments.get(name, ()))
    return checked_listing(videos, SplitSize(None, None) if listed is None else _size(options), annotations, remarks)


def _size(options: Options) -> SplitSize:
    count = _VIDEOS[options.split] if options.unit == "paragraph" else _MOMENTS[options.split]
    return SplitSize(count, count)


def _paragraph(name: str, moments: Sequence[tuple[str, AnnotatedMoment]]) -> list[AnnotatedVideo]:
    """Join the descriptions in the order of the annotation."""
    described = tuple(moment for _, moment in moments if moment.text)
    text = " ".join(moment.text for moment in described)
    return [AnnotatedVideo(name, (text,) if text else (), (VideoLocation(name, 0.0, SECONDS),), described)]


def _moments(name: str, moments: Sequence[tuple[str, AnnotatedMoment]]) -> list[AnnotatedVideo]:
    """Return each description's span as a video of its own."""
    return [
        AnnotatedVideo(id_, (moment.text,), (VideoLocation(name, moment.start, moment.end),)) for id_, moment in moments
    ]


def _moment(entry: Mapping[str, Any]) -> AnnotatedMoment:
    """Return a description with the span that most annotators gave.

    Decision: of equally frequent spans the first one counts.
    """
    (text,) = captions([entry["description"]])
    spans = [_seconds(*segments) for segments in entry["times"]]
    if not spans:
        raise ValueError("a description without times")
    return AnnotatedMoment(" ".join(text.split()), *Counter(spans).most_common(1)[0][0], annotated=tuple(spans))


def _seconds(first: float, last: float) -> tuple[float, float]:
    """Return the span from the first to the last segment, both included."""
    if first not in _SEGMENTS or last not in _SEGMENTS or first > last:
        raise ValueError(f"from {first} to {last} is no stretch of segments 0 to {_SEGMENTS[-1]}")
    return first * _SEGMENT, (last + 1) * _SEGMENT
