"""VATEX (Wang et al., ICCV 2019): clips of 10 s, ten English and ten Chinese sentences each, in the split of HGR
(Chen et al., CVPR 2020): 25,991 for training, and the validation videos halved.

Annotation: `train_list.txt`, `val_list.txt`, `test_list.txt`; sentences in `vatex_data.json`, or in the official
`vatex_training_v1.0.json` and `vatex_validation_v1.0.json`.
Videos: `<YouTube id>_<start>_<end>.mp4` in any folder; else the whole YouTube video under its id.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    BenchmarkOptions,
    Listing,
    SplitSize,
    build_benchmark,
    captions,
    checked_listing,
    youtube_clip_locations,
)

FACTS = BenchmarkFacts(
    title="VATEX",
    protocol="each of ten sentences for each of 1,500 videos is a query; "
    "video-to-text takes the best-ranked of the ten",
    validation="HGR's own 1,500 videos",
    variants={"en": {"language": "en"}, "zh": {"language": "zh"}},
)
_VIDEOS = {"train": 25_991, "val": 1_500, "test": 1_500}
_SENTENCES = 10
_KEYS = {"en": "enCap", "zh": "chCap"}
_OFFICIAL = {"vatex_training_v1.0.json": 25_991, "vatex_validation_v1.0.json": 3_000}


class Options(BenchmarkOptions):
    language: Literal["en", "zh"] = Field("en", description="English or Chinese sentences")


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    count = _VIDEOS[options.split]
    ids = annotations.lines(f"{options.split}_list.txt", official=count)
    sentences = _sentences(options, annotations)
    videos = [AnnotatedVideo(name, sentences.get(name, ()), youtube_clip_locations(name)) for name in ids]
    return checked_listing(videos, SplitSize(count, count * _SENTENCES), annotations)


def _sentences(options: Options, annotations: Annotations) -> dict[str, tuple[str, ...]]:
    """Read the sentences of every video, by its id."""
    key = _KEYS[options.language]
    official = "vatex_training_v1.0.json" if options.split == "train" else "vatex_validation_v1.0.json"
    if annotations.has(official) or not annotations.has("vatex_data.json"):
        records = annotations.json(official, official=_OFFICIAL[official])
        with annotations.expecting("records with videoID and sentences"):
            numbered = annotations.visit(enumerate(records, start=1), "entry")
            sentences = {record["videoID"]: record.get(key) or () for _, record in numbered}
    else:
        records = annotations.json("vatex_data.json")
        with annotations.expecting("sentences for each video"):
            sentences = {name: record.get(key) or () for name, record in records.items()}
    with annotations.expecting("sentences are texts"):
        return {name: captions(texts) for name, texts in annotations.visit(sentences.items(), "video")}
