"""Compare ways to make one ranking of what is seen, said and written: `measure_fusion.py VALIDATION TEST`.

Each is a library with the channels heard and read, made of a folder of `make_spoken_clips.py`, given as LIBRARY:CLIPS.
Queries are what is seen in the clips (each caption is one), the sentences that are spoken, those that are written, and
paraphrases of both; right is the clip that has it. A row is chosen on the first library, and reported on the others.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from make_spoken_clips import SEPARATOR, rows

from mmi_tvr import Library
from mmi_tvr.cli._console import command, out
from mmi_tvr.queries import PreparedQuery
from mmi_tvr.types import Query
from mmi_tvr.utils.intervals import wilson
from mmi_tvr.utils.tables import interval, markdown_table

GROUPS = ("seen", "spoken", "written", "spoken_paraphrase", "written_paraphrase")
Relevances = Mapping[str, Mapping[str, float]]  # channel -> file -> relevance, the best first
Fusion = Callable[[Relevances], Mapping[str, float]]  # -> file -> what it is ordered by


@dataclass(frozen=True)
class FusionQuery:
    """A query, of which group it is, which file is right, and how relevant each channel thinks the files are."""

    text: str
    group: str
    file: str
    relevances: Relevances


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("libraries", nargs="+", metavar="LIBRARY:CLIPS")
    options = parser.parse_args(arguments)
    for argument in options.libraries:
        library, _, clips = argument.rpartition(":")
        queries = measured(Path(library), Path(clips))
        out.print(f"\n{Path(clips).name}\n", markup=False)
        out.print(table(queries), markup=False)


def measured(library: Path, clips: Path) -> list[FusionQuery]:
    """Return the queries of a folder of clips with the relevances that a library gives."""
    texts = [
        (text, group, row["file"])
        for row in rows(clips / "clips.tsv")
        for group in GROUPS
        for text in row[group].split(SEPARATOR)
        if text
    ]
    with Library(library) as opened:
        return [FusionQuery(text, group, file, relevances(opened, text)) for text, group, file in texts]


def relevances(library: Library, text: str) -> Relevances:
    """Return what each channel of a library thinks of a query, before anything is fused."""
    reader = library._reader
    catalogue = reader.catalogue()
    searcher = reader.searcher(catalogue)
    channels = reader._channels.present(catalogue, catalogue.data_version())
    assert searcher is not None
    assert channels is not None

    result = searcher.search(text, top=10_000, min_relevance=0.0)
    by_channel = {"seen": {hit.path.name: hit.relevance for hit in result}}
    [items] = channels.search([PreparedQuery(Query(text), Query(text))], 10_000)
    numbers = {hit.id: hit.path.name for hit in result}
    for name, of_channel in items.items():
        by_channel[name] = {numbers[item.number]: item.relevance for item in of_channel}
    return by_channel


def seen_alone(relevances: Relevances) -> Mapping[str, float]:
    return relevances["seen"]


def noisy_or(strictness: float) -> Fusion:
    """1 - the product of 1 - r; of text channels, r ** strictness."""

    def fuse(relevances: Relevances) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        for name, of_channel in relevances.items():
            for file, one in of_channel.items():
                worth = one if name == "seen" else one**strictness
                scores[file] = scores.get(file, 0.0) - math.log(max(1 - worth, 1e-15))
        return scores

    return fuse


def largest(strictness: float) -> Fusion:
    """The largest r; of text channels, r ** strictness."""

    def fuse(relevances: Relevances) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        for name, of_channel in relevances.items():
            for file, one in of_channel.items():
                scores[file] = max(scores.get(file, 0.0), one if name == "seen" else one**strictness)
        return scores

    return fuse


def reciprocal_ranks(constant: float, weight: float) -> Fusion:
    """The sum of 1 / (constant + rank), of text channels `weight` times as much (Cormack et al., SIGIR 2009)."""

    def fuse(relevances: Relevances) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        for name, of_channel in relevances.items():
            for rank, file in enumerate(of_channel, 1):
                scores[file] = scores.get(file, 0.0) + (1.0 if name == "seen" else weight) / (constant + rank)
        return scores

    return fuse


FUSIONS: dict[str, Fusion] = {
    "seen alone": seen_alone,
    **{f"noisy-or, text r^{power}": noisy_or(power) for power in (1, 3, 10, 20, 50, 100)},
    **{f"largest, text r^{power}": largest(power) for power in (1, 3, 10, 20, 50, 100)},
    "reciprocal ranks, 60": reciprocal_ranks(60, 1),
    "reciprocal ranks, 60, text 1/2": reciprocal_ranks(60, 0.5),
    "reciprocal ranks, 1": reciprocal_ranks(1, 1),
}


def table(queries: Sequence[FusionQuery]) -> str:
    """Return R@1 of each fusion on each group of queries, with its interval. Ties count against us."""
    groups = [group for group in GROUPS if any(query.group == group for query in queries)]
    rows = []
    for name, fusion in FUSIONS.items():
        cells = [name]
        for group in groups:
            ranks = [_rank(fusion(query.relevances), query.file) for query in queries if query.group == group]
            share = sum(rank == 1 for rank in ranks) / len(ranks)
            cells.append(interval(100 * share, *wilson(share, len(ranks))))
        rows.append(cells)
    counts = [sum(query.group == group for query in queries) for group in groups]
    header = ["R@1", *(f"{group} (n={count})" for group, count in zip(groups, counts, strict=True))]
    return "\n".join(markdown_table([header, *rows], padded=True))


def _rank(scores: Mapping[str, float], file: str) -> int:
    score = scores.get(file, -np.inf)
    return 1 + sum(other >= score for name, other in scores.items() if name != file)


if __name__ == "__main__":
    with command():
        main()
