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

from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    HoldOutOptions,
    Listing,
    SplitSize,
    VideoLocation,
    build_benchmark,
    caption,
    captions,
    checked_listing,
)

FACTS = BenchmarkFacts(
    title="MSR-VTT",
    protocol="9k, 7k (1k-A): one sentence for each of 1,000 videos; full: each of 20 sentences for each of 2,990 "
    "videos is a query, video-to-text takes the best-ranked of the 20",
    validation="the release's own 497 validation videos; both 1k-A training lists hold them, and train does not",
    variants={name: {"protocol": name} for name in ("9k", "7k", "full")},
)
_SENTENCES = 20
_TRAIN = {"9k": 9_000, "7k": 7_010, "full": 6_513}
_VAL, _TEST = 497, 2_990
_TEST_1KA = SplitSize(1000, 1000)
_PARTS = {"train_val_videodatainfo.json": (7010, 140_200), "test_videodatainfo.json": (2990, 59_800)}
_WHOLE = {"MSRVTT_data.json": (10_000, 200_000)}


class Options(HoldOutOptions):
    protocol: Literal["9k", "7k", "full"] = Field(
        "9k", description="1k-A test with 9,000 or 7,010 training videos, or the release's 6,513 / 497 / 2,990"
    )


@dataclass(slots=True)
class _Clip:
    part: str  # train, validate or test
    locations: tuple[VideoLocation, ...]
    sentences: list[str]


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it. 1k-A's test split needs the csv alone."""
    if options.protocol != "full" and options.split == "test":
        return _test_1ka(annotations)
    tested: set[str] = set()
    if options.protocol == "9k" and options.split == "train":  # its list is every clip but those of the test
        tested = {video.id for video in _test_1ka(annotations).videos}
    parts, count = _parts(options)
    videos = [
        AnnotatedVideo(name, tuple(clip.sentences), clip.locations)
        for name, clip in _clips(annotations).items()
        if clip.part in parts and name not in tested
    ]
    return checked_listing(videos, SplitSize(count, count * _SENTENCES), annotations)


def _parts(options: Options) -> tuple[set[str], int]:
    """Return the parts of the release that a split is made of, and how many videos it has."""
    if options.split == "val":
        return {"validate"}, _VAL
    if options.split == "test":
        return {"test"}, _TEST
    count = _TRAIN[options.protocol]
    if options.protocol == "full":
        return {"train"}, count
    parts = {"train", "validate", "test"} if options.protocol == "9k" else {"train", "validate"}
    return (parts - {"validate"}, count - _VAL) if options.hold_out else (parts, count)


def _test_1ka(annotations: Annotations) -> Listing:
    """Return the test split of 1k-A, whose table is enough: the clips only say where a video lies in a longer one."""
    clips = _clips(annotations) if annotations.has(*_WHOLE, *_PARTS) else {}
    annotations.start_split()
    rows = annotations.rows("MSRVTT_JSFUSION_test.csv", official=_TEST_1KA.videos)
    with annotations.expecting("columns video_id and sentence"):
        sentences = [(row["video_id"], caption(row["sentence"], annotations.place(line))) for line, row in rows]
    videos = [
        AnnotatedVideo(name, (sentence,), clips[name].locations if name in clips else (VideoLocation(name),))
        for name, sentence in sentences
    ]
    return checked_listing(videos, _TEST_1KA, annotations)


def _clips(annotations: Annotations) -> dict[str, _Clip]:
    """Read every clip of the files that are there, by its id.

    Sentences are in the order of the file, which is not grouped by clip.
    """
    files = _WHOLE if annotations.has(*_WHOLE) else {name: _PARTS[name] for name in _PARTS if annotations.has(name)}
    clips: dict[str, _Clip] = {}
    for name, (videos, sentences) in (files or _WHOLE).items():
        release = annotations.json(name, official=videos + sentences, count=_entries)
        with annotations.expecting("an object with videos and sentences"):
            if name not in annotations.derived:
                annotations.derived[name] = _read_clips(release)
        clips |= annotations.derived[name]
    return clips


def _read_clips(release: Mapping[str, Any]) -> dict[str, _Clip]:
    clips = {
        video["video_id"]: _Clip(video["split"], (VideoLocation(video["video_id"]), _span(video)), [])
        for video in release["videos"]
    }
    texts = captions(sentence["caption"] for sentence in release["sentences"])
    for sentence, text in zip(release["sentences"], texts, strict=True):
        clips[sentence["video_id"]].sentences.append(text)
    return clips


def _entries(release: Mapping[str, Any]) -> int:
    return len(release["videos"]) + len(release["sentences"])


def _span(video: Mapping[str, Any]) -> VideoLocation:
    """Return the stretch of the YouTube video; the key really is written with a blank."""
    name = parse_qs(urlsplit(video["url"]).query)["v"][0]
    return VideoLocation(name, float(video["start time"]), float(video["end time"]))
