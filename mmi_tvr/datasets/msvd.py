"""MSVD (Chen and Dolan, ACL 2011): 1,970 YouTube clips of a few seconds, about 41 English sentences each, and the
Chinese ones of MSVD-CN.

Annotation: `train_list.txt`, `val_list.txt`, `test_list.txt`; English sentences in `captions_msvd.json` or
`raw-captions.pkl`, Chinese ones in `msvd_cn_captions_release_utf8.csv` with `youtube_mapping.txt`.
Videos: `<YouTube id>_<start>_<end>.avi` in any folder; else the whole YouTube video under its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    caption,
    captions,
    checked_listing,
    youtube_clip_locations,
)

FACTS = BenchmarkFacts(
    title="MSVD",
    protocol="every sentence is a query of its own (the test split has 27,763 for 670 videos, repetitions included); "
    "video-to-text takes the best-ranked of a video's own sentences",
    validation="the benchmark's own 100 videos",
    variants={"en": {"language": "en"}, "zh": {"language": "zh"}},
)
_VIDEOS = {"train": 1200, "val": 100, "test": 670}
_CAPTIONS = {
    "en": {"train": 48_774, "val": 4_290, "test": 27_763},
    "zh": {"train": 7_194, "val": 584, "test": 3_980},
}
_CLIPS = 1970
_CHINESE = 11_758


class Options(BenchmarkOptions):
    language: Literal["en", "zh"] = Field("en", description="English, or the Chinese sentences of MSVD-CN")


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    ids = annotations.lines(f"{options.split}_list.txt", official=_VIDEOS[options.split])
    sentences = _english(annotations) if options.language == "en" else _chinese(annotations)
    videos = [AnnotatedVideo(name, tuple(sentences.get(name, ())), youtube_clip_locations(name)) for name in ids]
    size = SplitSize(_VIDEOS[options.split], _CAPTIONS[options.language][options.split])
    return checked_listing(videos, size, annotations)


def _english(annotations: Annotations) -> Mapping[str, Sequence[str]]:
    """Read the English sentences of every video, from either file."""
    if annotations.has("captions_msvd.json") or not annotations.has("raw-captions.pkl"):
        sentences = annotations.json("captions_msvd.json", official=_CLIPS)
        with annotations.expecting("a list of sentences for each video"):
            return {name: captions(texts) for name, texts in annotations.visit(sentences.items(), "video")}
    word_lists = annotations.plain_pickle("raw-captions.pkl", official=_CLIPS)
    with annotations.expecting("lists of words for each video"):
        return {
            name: captions(" ".join(words) for words in texts)
            for name, texts in annotations.visit(word_lists.items(), "video")
        }


def _chinese(annotations: Annotations) -> Mapping[str, Sequence[str]]:
    """Read the Chinese sentences of every video. MSVD-CN has numbers for ids; the mapping says which is which."""
    mapping = annotations.cells("youtube_mapping.txt", separator=None, count=2, official=_CLIPS)
    names = {number: name for _, (name, number) in mapping}
    rows = annotations.rows("msvd_cn_captions_release_utf8.csv", official=_CHINESE)
    sentences: dict[str, list[str]] = {}
    with annotations.expecting("columns video_id and sentence, and videos of the mapping"):
        for line, row in annotations.visit(rows):
            text = caption(row["sentence"], annotations.place(line))
            sentences.setdefault(names[row["video_id"].rpartition(".")[0]], []).append(text)
    return sentences
