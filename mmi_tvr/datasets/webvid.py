"""WebVid-2M (Bain et al., ICCV 2021): 2.5 million stock videos with the sentence that each was offered with, for
pre-training.

Annotation: `results_2M_train.csv`, `results_2M_val.csv` with the columns videoid, page_dir, name, and others.
Videos: `videos/<page_dir>/<videoid>.mp4`, or `<videoid>.mp4` in any other folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import UsageError
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
    title="WebVid-2M",
    protocol="one sentence for each video; for training, not a benchmark",
    validation="the release's own list",
)
_COLUMNS = "columns videoid and name"


class Options(PretrainingOptions):
    pass


def build(options: Options) -> Benchmark:
    return build_benchmark(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it. A video that is listed twice has the sentences of both lines."""
    return web_listing(_sentences(options, annotations), annotations)


def _sentences(options: Options, annotations: Annotations) -> Iterator[tuple[str, str]]:
    """Yield the id of a video and its sentence of every line."""
    for line, row in annotations.rows(f"results_2M_{options.split}.csv"):
        with annotations.expecting(_COLUMNS):
            name, sentence = row["videoid"].strip(), row["name"]
        if not name:
            raise UsageError(f"{annotations.place(line)}: the videoid is empty; correct the line, or leave it out")
        yield name, sentence
