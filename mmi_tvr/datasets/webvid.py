"""WebVid-2M (Bain et al., ICCV 2021): 2.5 million stock videos with the sentence that each was offered with, for
pre-training.

Annotation: `results_2M_train.csv`, `results_2M_val.csv` with the columns videoid, page_dir, name, and others.
Videos: `videos/<page_dir>/<videoid>.mp4`, or `<videoid>.mp4` in any other folder.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..errors import UsageError
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
    captions,
    checked_listing,
)

FACTS = BenchmarkFacts(
    title="WebVid-2M",
    protocol="one sentence for each video; for training, not a benchmark",
    validation="the release's own list",
)
_COLUMNS = "columns videoid and name"


class Options(BenchmarkOptions):
    split: Literal["train", "val"] = Field("train", description="train or val")
    allowed: float = Field(
        1.0, ge=0, le=1, description="largest share of videos that may be left out: many are offered no more"
    )


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it. A video that is listed twice has the sentences of both lines."""
    sentences: dict[str, dict[str, None]] = {}  # keeps the order and drops repetitions
    for line, row in annotations.rows(f"results_2M_{options.split}.csv"):
        with annotations.expecting(_COLUMNS):
            name, (text,) = row["videoid"].strip(), captions([row["name"]])
        if not name:
            raise UsageError(f"{annotations.place(line)}: the videoid is empty; correct the line, or leave it out")
        sentences.setdefault(name, {}).setdefault(text)
    videos = [AnnotatedVideo(name, tuple(texts), (VideoLocation(name),)) for name, texts in sentences.items()]
    return checked_listing(videos, SplitSize(None, None), annotations)
