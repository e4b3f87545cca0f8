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
    Annotations,
    Benchmark,
    BenchmarkOptions,
    Facts,
    Listing,
    Record,
    Size,
    clip_of_youtube,
    listing,
    make,
)

FACTS = Facts(
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
    return make(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """The split as the annotation has it."""
    videos = _VIDEOS[options.split]
    ids = annotations.lines(f"{options.split}_list.txt", official=videos)
    captions = _captions(options, annotations)
    records = [Record(name, captions.get(name, ()), clip_of_youtube(name)) for name in ids]
    return listing(records, Size(videos, videos * _SENTENCES), annotations)


def _captions(options: Options, annotations: Annotations) -> dict[str, tuple[str, ...]]:
    official = "vatex_training_v1.0.json" if options.split == "train" else "vatex_validation_v1.0.json"
    if annotations.has(official) or not annotations.has("vatex_data.json"):
        found = annotations.json(official, official=_OFFICIAL[official])
        with annotations.shaped("records with videoID and sentences"):
            told = {record["videoID"]: record.get(_KEYS[options.language]) or () for record in found}
    else:
        found = annotations.json("vatex_data.json")
        with annotations.shaped("sentences for each video"):
            told = {name: record.get(_KEYS[options.language]) or () for name, record in found.items()}
    with annotations.shaped("sentences are texts"):
        return {name: tuple(text.strip() for text in texts if text.strip()) for name, texts in told.items()}
