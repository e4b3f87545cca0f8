"""Conceptual Captions (Sharma et al., ACL 2018): 3.3 million pictures of the web with a sentence each, for
pre-training on videos of one picture.

Annotation: `Train_GCC-training.tsv`, `Validation_GCC-1.1.0-Validation.tsv`, a sentence and an address a line.
Pictures: named by the CRC-32 of their address, as Frozen in Time's code names what it downloads, with or without the
suffix of a picture, in any folder.
"""

from __future__ import annotations

import zlib
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
    VideoLocation,
    build_benchmark,
    captions,
    checked_listing,
)

FACTS = BenchmarkFacts(
    title="Conceptual Captions",
    protocol="one sentence for each picture; for training, not a benchmark",
    validation="the release's own list",
    pictures=True,
)
_FILES = {
    "train": ("Train_GCC-training.tsv", 3_318_333),
    "val": ("Validation_GCC-1.1.0-Validation.tsv", 15_840),
}


class Options(BenchmarkOptions):
    split: Literal["train", "val"] = Field("train", description="train or val")
    allowed: float = Field(
        1.0, ge=0, le=1, description="largest share of pictures that may be left out: many addresses are dead"
    )


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it. A picture that is listed twice has the sentences of both lines."""
    file, official = _FILES[options.split]
    sentences: dict[str, dict[str, None]] = {}  # keeps the order and drops repetitions
    for _, (sentence, address) in annotations.cells(file, separator="\t", count=2, official=official):
        (text,) = captions([sentence])
        sentences.setdefault(file_name(address.strip()), {}).setdefault(text)
    videos = [AnnotatedVideo(name, tuple(texts), (VideoLocation(name),)) for name, texts in sentences.items()]
    return checked_listing(videos, SplitSize(None, None), annotations)


def file_name(address: str) -> str:
    """Return the name of the file of a picture, without a suffix.

    >>> file_name("http://example.org/a.jpg")
    '3619000214'
    """
    return str(zlib.crc32(address.encode()))
