"""Conceptual Captions (Sharma et al., ACL 2018): 3.3 million pictures of the web with a sentence each, for
pre-training on videos of one picture.

Annotation: `Train_GCC-training.tsv`, `Validation_GCC-1.1.0-Validation.tsv`, a sentence and an address a line.
Pictures: named by the CRC-32 of their address, as Frozen in Time's code names what it downloads, with or without the
suffix of a picture, in any folder.
"""

from __future__ import annotations

import zlib

from ._benchmarks import (
    Annotations,
    Benchmark,
    BenchmarkFacts,
    Listing,
    PretrainingOptions,
    build_benchmark,
    web_listing,
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


class Options(PretrainingOptions):
    pass


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it. A picture that is listed twice has the sentences of both lines."""
    file, official = _FILES[options.split]
    lines = annotations.cells(file, separator="\t", count=2, official=official)
    return web_listing(((file_name(address.strip()), sentence) for _, (sentence, address) in lines), annotations)


def file_name(address: str) -> str:
    """Return the name of the file of a picture, without a suffix.

    >>> file_name("http://example.org/a.jpg")
    '3619000214'
    """
    return str(zlib.crc32(address.encode()))
