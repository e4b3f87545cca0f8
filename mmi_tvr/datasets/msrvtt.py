"""MSR-VTT (Xu et al., CVPR 2016): 10,000 clips of 10 to 32 s, 20 English sentences each.

Annotation: `MSRVTT_data.json`, or the two parts of the 2016 release (`train_val_videodatainfo.json`,
`test_videodatainfo.json`, also inside their zips); for 1k-A besides `MSRVTT_JSFUSION_test.csv`.
Videos: `video0.mp4` ... in any folder; else the whole YouTube video under its id, of which the clip's span is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from ._benchmarks import Annotations, Benchmark, Facts, HeldOut, Listing, Place, Record, Size, listing, make

FACTS = Facts(
    title="MSR-VTT",
    protocol="9k, 7k (1k-A): one sentence for each of 1,000 videos; full: each of 20 sentences for each of 2,990 "
    "videos is a query, video-to-text takes the best-ranked of the 20",
    validation="the release's own 497 validation videos; both 1k-A training lists hold them, and train does not",
    variants={name: {"protocol": name} for name in ("9k", "7k", "full")},
)
_SENTENCES = 20
_TRAIN = {"9k": 9_000, "7k": 7_010, "full": 6_513}
_VAL, _TEST = 497, 2_990
_TEST_1KA = Size(1000, 1000)
_PARTS = {"train_val_videodatainfo.json": (7010, 140_200), "test_videodatainfo.json": (2990, 59_800)}
_WHOLE = {"MSRVTT_data.json": (10_000, 200_000)}


class Options(HeldOut):
    protocol: Literal["9k", "7k", "full"] = Field(
        "9k", description="1k-A test with 9,000 or 7,010 training videos, or the release's 6,513 / 497 / 2,990"
    )


@dataclass(slots=True)
class _Clip:
    part: str  # train, validate or test
    places: tuple[Place, ...]
    sentences: list[str]


def build(options: Options) -> Benchmark:
    return make(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """The split as the annotation has it. 1k-A's test split needs the csv alone."""
    first = options.protocol != "full"  # 1k-A, one way or the other
    if first and options.split == "test":
        return _test_1ka(annotations)
    taken = (
        {record.id for record in _test_1ka(annotations).records}
        if (options.protocol, options.split) == ("9k", "train")
        else set()
    )
    clips = _clips(annotations)
    parts: set[str] = {options.split}
    count = {"train": _TRAIN[options.protocol], "val": _VAL, "test": _TEST}[options.split]
    if options.split == "val":
        parts = {"validate"}
    elif first:
        parts = {"train", "validate", "test"} if options.protocol == "9k" else {"train", "validate"}
        if options.hold_out:
            parts, count = parts - {"validate"}, count - _VAL
    records = [
        Record(name, tuple(clip.sentences), clip.places)
        for name, clip in clips.items()
        if clip.part in parts and name not in taken
    ]
    return listing(records, Size(count, count * _SENTENCES), annotations)


def _test_1ka(annotations: Annotations) -> Listing:
    """The clips say where a video lies in its YouTube video; without them, its own file is enough."""
    clips = _clips(annotations) if annotations.has(*_WHOLE, *_PARTS) else {}
    annotations.begin()
    rows = annotations.rows("MSRVTT_JSFUSION_test.csv", official=_TEST_1KA.videos)
    with annotations.shaped("columns video_id and sentence"):
        told = [(row["video_id"], row["sentence"].strip()) for row in rows]
    records = [
        Record(name, (sentence,), clips[name].places if name in clips else (Place(name),)) for name, sentence in told
    ]
    return listing(records, _TEST_1KA, annotations)


def _clips(annotations: Annotations) -> dict[str, _Clip]:
    """Every clip of the files that are there. Sentences are in the order of the file, which is not grouped by clip."""
    files = _WHOLE if annotations.has(*_WHOLE) else {name: _PARTS[name] for name in _PARTS if annotations.has(name)}
    clips: dict[str, _Clip] = {}
    for name, (videos, sentences) in (files or _WHOLE).items():
        found = annotations.json(name, official=videos + sentences, count=_entries)
        with annotations.shaped("an object with videos and sentences"):
            if name not in annotations.derived:
                annotations.derived[name] = _read_clips(found)
        clips |= annotations.derived[name]
    return clips


def _read_clips(found: Mapping[str, Any]) -> dict[str, _Clip]:
    clips = {
        video["video_id"]: _Clip(video["split"], (Place(video["video_id"]), _span(video)), [])
        for video in found["videos"]
    }
    for sentence in found["sentences"]:
        if text := sentence["caption"].strip():
            clips[sentence["video_id"]].sentences.append(text)
    return clips


def _entries(found: Mapping[str, Any]) -> int:
    return len(found["videos"]) + len(found["sentences"])


def _span(video: Mapping[str, Any]) -> Place:
    """The stretch of the YouTube video; the key really is written with a blank."""
    name = parse_qs(urlsplit(video["url"]).query)["v"][0]
    return Place(name, float(video["start time"]), float(video["end time"]))
