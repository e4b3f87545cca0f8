"""QVHighlights (Lei et al., NeurIPS 2021): about 10,000 stretches of YouTube videos, 150 s at most, with a sentence
each, the windows in which it happens, and the ratings that three annotators gave to clips of 2 s in them.

Annotation: `highlight_train_release.jsonl`, `highlight_val_release.jsonl`, `highlight_test_release.jsonl`; the last one
has no windows. Videos: `<YouTube id>_<start>_<end>.mp4`, or the whole YouTube videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..types import Saliency
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
    build_benchmark,
    captions,
    checked_listing,
    youtube_clip_locations,
)

FACTS = BenchmarkFacts(
    title="QVHighlights",
    protocol="each sentence is a query for its own stretch of 150 s among all of the split, and for its windows in it "
    "(of several the nearest one counts) and its best clips there; those of test are not published",
    validation="the benchmark's own 1,550 sentences, on which its papers report moments, too",
)
_SENTENCES = {"train": 7_218, "val": 1_550, "test": 1_542}
_CLIP = 2.0  # seconds
_RATINGS = range(5)
_LAYOUT = "lines with vid, query and relevant_windows"


class Options(BenchmarkOptions):
    pass


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it."""
    official = _SENTENCES[options.split]
    entries = annotations.json_lines(f"highlight_{options.split}_release.jsonl", official=official)
    queries: dict[str, list[tuple[str, AnnotatedMoment | None]]] = {}  # by video
    left_out = 0
    with annotations.expecting(_LAYOUT):
        for _, entry in annotations.visit(entries):
            name, text = captions([entry["vid"], entry["query"]])
            windows = [_window(window) for window in entry.get("relevant_windows", ())]
            left_out += windows.count(None)
            text = " ".join(text.split())
            queries.setdefault(name, []).append((text, _moment(text, list(filter(None, windows)), entry)))
        videos = [
            AnnotatedVideo(
                name,
                tuple(text for text, _ in described),
                youtube_clip_locations(name),
                tuple(moment for _, moment in described if moment is not None),
            )
            for name, described in queries.items()
        ]
    remarks = [f"without {counted(left_out, 'window')} of no length"] if left_out else []
    return checked_listing(videos, SplitSize(None, official), annotations, [*remarks, *_missing(videos)])


def _missing(videos: Sequence[AnnotatedVideo]) -> list[str]:
    """Return what a reader should know of windows and ratings that are not there."""
    moments = [moment for video in videos for moment in video.moments]
    if not moments:
        return ["no windows in the annotation: no moments to measure"]
    unrated = sum(moment.saliency is None for moment in moments)
    if 0 < unrated < len(moments):
        return [f"{unrated} of {counted(len(moments), 'sentence')} without ratings: highlights are not measured"]
    return []


def _window(window: Sequence[float]) -> tuple[float, float] | None:
    """Return a window; None where it has no length. Decision: one that is written backwards is turned round."""
    start, end = window
    first, last = sorted((float(start), float(end)))
    return None if first == last else (first, last)  # what is no number is an error


def _moment(text: str, windows: list[tuple[float, float]], entry: Mapping[str, Any]) -> AnnotatedMoment | None:
    """Return the windows of a sentence; None where there are none, or there is no sentence.

    Decision: the longest window is the one to train on, and the others are as right.
    """
    if not text or not windows:
        return None
    longest = windows.pop(windows.index(max(windows, key=lambda window: window[1] - window[0])))
    return AnnotatedMoment(text, *longest, tuple(windows), saliency=_saliency(entry))


def _saliency(entry: Mapping[str, Any]) -> Saliency | None:
    """Return the ratings of a sentence, from 0 (very bad) to 4 (very good); None where the annotation has none."""
    if not entry.get("saliency_scores"):
        return None
    count, clips = int(float(entry["duration"]) / _CLIP), tuple(map(int, entry["relevant_clip_ids"]))
    ratings = tuple(tuple(map(_rating, clip)) for clip in entry["saliency_scores"])
    if len(clips) != len(ratings) or len(set(map(len, ratings))) != 1 or not ratings[0]:
        raise ValueError("relevant_clip_ids and saliency_scores do not run parallel")
    if not 0 <= min(clips) <= max(clips) < count:
        raise ValueError(f"a clip that is none of the {count} of its video: {max(clips)}")
    return Saliency(count, clips, ratings, _CLIP)


def _rating(value: float) -> int:
    if value not in _RATINGS:
        raise ValueError(f"a rating is one of 0 to {_RATINGS[-1]}, not {value}")
    return int(value)
