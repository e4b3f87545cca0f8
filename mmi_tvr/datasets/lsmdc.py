"""LSMDC (Rohrbach et al., IJCV 2017): clips of 4 to 5 s from 202 films, one sentence of a script or of audio
description each.

Annotation: `LSMDC16_annos_training.csv`, `LSMDC16_annos_val.csv`, `LSMDC16_challenge_1000_publictect.csv` (the name is
the release's own). Videos: `<clip id>.avi`, as distributed in a folder for each film.
"""

from __future__ import annotations

from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    BenchmarkOptions,
    Listing,
    SplitSize,
    VideoLocation,
    build_benchmark,
    caption,
    checked_listing,
)

FACTS = BenchmarkFacts(
    title="LSMDC",
    protocol="one sentence for each of the 1,000 clips of the public test",
    validation="the release's own 7,408 sentences",
)
_FILES = {
    "train": ("LSMDC16_annos_training.csv", SplitSize(None, 101_079)),
    "val": ("LSMDC16_annos_val.csv", SplitSize(None, 7_408)),
    "test": ("LSMDC16_challenge_1000_publictect.csv", SplitSize(1_000, 1_000)),
}
_CELLS = 6  # clip id, four times and a sentence, with tabs between


class Options(BenchmarkOptions):
    """Names of persons are SOMEONE in every sentence; they stay so."""


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it; sentences of one clip are its captions."""
    name, size = _FILES[options.split]
    sentences: dict[str, list[str]] = {}
    rows = annotations.cells(name, separator="\t", count=_CELLS, official=size.captions)
    for line, (clip, *_, sentence) in rows:
        sentences.setdefault(clip.strip(), []).append(caption(sentence, annotations.place(line)))
    videos = [AnnotatedVideo(clip, tuple(texts), (VideoLocation(clip),)) for clip, texts in sentences.items()]
    return checked_listing(videos, size, annotations)
