"""Charades-STA (Gao et al., "TALL", ICCV 2017): videos of daily activities, 30 s on average, with 12,408 sentences for
training and 3,720 for tests, each with its start and end.

Annotation: `charades_sta_train.txt`, `charades_sta_test.txt`, a line `<video id> <start> <end>##<sentence>`; with
`Charades_v1_train.csv`, `Charades_v1_test.csv` spans are cut at the end of their video. Videos: `<video id>.mp4`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

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
    caption,
    checked_listing,
)

FACTS = BenchmarkFacts(
    title="Charades-STA",
    protocol="each sentence is a query for its span in its own video (R1@IoU 0.3, 0.5, 0.7, mIoU), and for its video "
    "among all of the split",
    validation="there is none: 10 % of the training videos, chosen by a hash of their ids, are kept out of train",
)
_SENTENCES = {"train": 12_408, "test": 3_720}
_HELD_OUT_SHARE = 0.1
_LAYOUT = "lines: video id, start, end, ##, sentence"
_SPAN = re.compile(r"(\S+) +(\d+(?:\.\d+)?) +(\d+(?:\.\d+)?)(?: +\S+)? *")  # some copies have a further number


class Options(HoldOutOptions):
    pass


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    part = "test" if options.split == "test" else "train"
    lengths = _lengths(part, annotations)
    lines = annotations.cells(f"charades_sta_{part}.txt", count=2, separator="##", official=_SENTENCES[part])
    moments: dict[str, list[AnnotatedMoment]] = {}  # by video
    outside = 0
    with annotations.expecting(_LAYOUT):
        for number, (span, sentence) in annotations.visit(lines):
            text = " ".join(caption(sentence, annotations.place(number)).split())
            name, moment = _moment(span, text, lengths)
            described = moments.setdefault(name, [])
            if moment is None:
                outside += 1
            else:
                described.append(moment)
    videos = [_video(id_, moments[id_]) for id_ in options.in_split(list(moments), _HELD_OUT_SHARE)]
    sentences = _SENTENCES[part] if options.split == "test" or not options.hold_out else None
    remarks = [f"without {counted(outside, 'sentence')} whose span has no length in its video"] if outside else []
    return checked_listing(videos, SplitSize(None, None if outside else sentences), annotations, remarks)


def _video(name: str, moments: list[AnnotatedMoment]) -> AnnotatedVideo:
    texts = tuple(moment.text for moment in moments)
    return AnnotatedVideo(name, texts, (VideoLocation(name),), tuple(moments))


def _moment(span: str, text: str, lengths: Mapping[str, float]) -> tuple[str, AnnotatedMoment | None]:
    """Return the video of a line, and its sentence with the span; None where that has no length in the video.

    Decision: a span written backwards is turned round, one that reaches past the end of its video is cut there.
    """
    match = _SPAN.fullmatch(span)
    if match is None:
        raise ValueError(f"not of that form: {span[:60]!r}")
    name, first, last = match.groups()
    start, end = sorted((float(first), float(last)))
    end = min(end, lengths.get(name, end))
    return name, AnnotatedMoment(text, start, end) if start < end else None


def _lengths(part: str, annotations: Annotations) -> dict[str, float]:
    """Return the length of each video in seconds, where the table of them is there."""
    name = f"Charades_v1_{part}.csv"
    if not annotations.has(name):
        return {}
    rows = annotations.rows(name)
    with annotations.expecting("columns id and length"):
        return {row["id"]: _seconds(row["length"]) for _, row in annotations.visit(rows)}


def _seconds(length: str) -> float:
    seconds = float(length)
    if not 0 < seconds < math.inf:
        raise ValueError(f"a length of {seconds:g} s")
    return seconds
