"""ActivityNet Captions (Krishna et al., ICCV 2017): about 15,000 YouTube videos of 2 minutes on average, with 3 to 4
sentences each, every one with its start and end.

Annotation: `train.json`, `val_1.json`, `val_2.json`. Videos: `v_<YouTube id>.mp4`, or without the `v_`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from ..utils.wording import counted
from ._benchmarks import (
    AnnotatedMoment,
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    HoldOutOptions,
    Listing,
    SplitSize,
    VideoLocation,
    build_benchmark,
    captions,
    checked_listing,
    empty_sentences,
)

Sentences = Sequence[tuple[str, AnnotatedMoment | None]]  # of a video

FACTS = BenchmarkFacts(
    title="ActivityNet Captions",
    protocol="paragraph: a video's sentences, joined, are one query for the whole video; "
    "moment: each sentence is a query for its own span among all spans of the split; test is val_1",
    validation="there is none besides the test split: 5 % of train, chosen by a hash of their ids, kept out of train",
    variants={"paragraph": {"unit": "paragraph"}, "moment": {"unit": "moment"}},
)
_VIDEOS = {"train": 10_009, "val_1": 4_917, "val_2": 4_885}
_MOMENTS = {"val_1": 17_505, "val_2": 17_031}
_HELD_OUT_SHARE = 0.05
_HELD_OUT_VIDEOS = 500


class Options(HoldOutOptions):
    unit: Literal["paragraph", "moment"] = Field("paragraph", description="what is searched for: videos, or moments")
    annotator: Literal[1, 2] = Field(
        1, description="test: val_1 (the published protocol), or the second writing, val_2"
    )


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    name = f"val_{options.annotator}" if options.split == "test" else "train"
    entries = annotations.json(f"{name}.json", official=_VIDEOS[name])
    with annotations.expecting("an object of videos with sentences and timestamps"):
        ids = options.in_split(list(entries), _HELD_OUT_SHARE)
        chosen = annotations.visit([(id_, entries[id_]) for id_ in ids], "video")
        sentences = {id_: _sentences(entry) for id_, entry in chosen}
    annotated = _paragraph if options.unit == "paragraph" else _moments
    videos = [video for id_ in ids for video in annotated(id_, sentences[id_])]
    return checked_listing(videos, _size(options, name), annotations, _remarks(options, sentences))


def _remarks(options: Options, sentences: Mapping[str, Sentences]) -> list[str]:
    texts = [text for described in sentences.values() for text, _ in described]
    without = sum(moment is None for described in sentences.values() for _, moment in described)
    remarks = [f"without the moment of {counted(without, 'sentence')}, whose span has no length"] if without else []
    return remarks + (empty_sentences(texts) if options.unit == "paragraph" else [])


def _size(options: Options, name: str) -> SplitSize:
    if options.unit == "moment":
        return SplitSize(_MOMENTS.get(name), _MOMENTS.get(name))
    count = _VIDEOS[name]
    if options.split == "val":
        count = _HELD_OUT_VIDEOS
    elif options.split == "train" and options.hold_out:
        count -= _HELD_OUT_VIDEOS
    return SplitSize(count, count)


def _paragraph(name: str, sentences: Sentences) -> list[AnnotatedVideo]:
    text = " ".join(text for text, _ in sentences if text)
    moments = tuple(moment for _, moment in sentences if moment is not None and moment.text)
    return [AnnotatedVideo(name, (text,) if text else (), _locations(name), moments)]


def _moments(name: str, sentences: Sentences) -> list[AnnotatedVideo]:
    """Return each sentence's span as a video of its own."""
    return [
        AnnotatedVideo(f"{name}#{number}", (text,), _locations(name, moment.start, moment.end))
        for number, (text, moment) in enumerate(sentences)
        if moment is not None
    ]


def _sentences(entry: Mapping[str, Any]) -> Sentences:
    """Return the sentences with their spans; None where that has no length in the video.

    Decision: a span written backwards is turned round, one that reaches past the end of its video is cut there.
    """
    sentences = []
    length = float(entry.get("duration") or math.inf)
    texts, spans = captions(entry["sentences"]), entry["timestamps"]
    if len(texts) != len(spans):
        raise ValueError(f"{counted(len(texts), 'sentence')} with {counted(len(spans), 'timestamp')}")
    for span, sentence in zip(spans, texts, strict=True):
        text = " ".join(sentence.split())
        start, end = sorted(float(time) for time in span)
        moment = None if start == end else AnnotatedMoment(text, start, end)
        if moment is not None and end > length:
            moment = None if start >= length else replace(moment, end=length)
        sentences.append((text, moment))
    return sentences


def _locations(name: str, start: float = 0.0, end: float | None = None) -> tuple[VideoLocation, ...]:
    return VideoLocation(name, start, end), VideoLocation(name.removeprefix("v_"), start, end)
