"""A trained matching head into the folder that the package carries (`heads`), measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ...evaluation import nothing_found
from ...evaluation.nothing_found import NothingToLose, Trials
from ...evaluation.query_sets import CAPTIONS, query_sets
from ...models import mmi
from ...scoring.decision import MATCHES
from ...types import FloatArray, Query
from ...utils.intervals import wilson
from ...utils.progress import Progress, Silent
from ...utils.tables import interval, markdown_row
from .bundle import loaded, rendered
from .heads import Head, bundle_head

SIZES = (10, 100, 1000)
_SEED = 1  # of the test videos that judge the head
_HEAD = Head("matching head", mmi.MATCHING, "matching", ("matching_head", "match_law"), "Whether anything matches")


def bundle_matching(
    trained: Path,
    folder: Path,
    *,
    sizes: Sequence[int] = SIZES,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, list[Trials]]:
    """Put the matching head of a run, with its law, into a bundled model, and measure it on fresh test videos.

    Args:
        trained: The model folder that the run wrote; its `model.json` may have the option `match_law`.
        folder: The bundled model, whose other weights the head was trained beside.
        sizes: Videos of the collections that are searched.
        limit: Videos that are measured; None takes all.
        progress: Of the measuring.

    Returns:
        What was measured, by kinds of queries, in collections of each size.

    Raises:
        UsageError: As `bundle_head`.
    """

    def measure(draft: Path, settings: Mapping[str, Any]) -> tuple[str, dict[str, list[Trials]]]:
        model, embed = loaded(draft, settings, progress or Silent())

        def embed_texts(texts: Sequence[str]) -> FloatArray:
            return model.embed_queries([Query(text) for text in texts])

        test = rendered("test", limit, _SEED)
        results = embed([sample.video for sample in test.samples()])
        videos = [result for result in results if not isinstance(result, MediaError)]
        positions = {number: number for number in range(len(videos))}  # all of them can be read: they were made here
        sets = query_sets(test, positions, embed_texts, {})
        measured: dict[str, list[Trials]] = {kind: [] for kind in sets}
        for kind, queries in sets.items():
            for size in sizes:
                with suppress(NothingToLose):  # a run of a few steps may find nothing first; its row is left out
                    measured[kind].append(nothing_found.trials(model, videos, queries, size))
        return _section(measured, settings["origin"]["matching"]), measured

    return bundle_head(_HEAD, trained, folder, measure)


def _section(measured: Mapping[str, Sequence[Trials]], origin: Mapping[str, Any]) -> str:
    rows = []
    for kind, trials_of_sizes in measured.items():
        for trials in trials_of_sizes:
            lost, rejected = trials.lost(MATCHES), trials.rejected(CAPTIONS, MATCHES)
            cells = [
                interval(100 * share, *wilson(share, trials.n[name]))
                for share, name in ((rejected, CAPTIONS), (lost, "present"))
            ]
            rows.append(markdown_row([kind, f"{trials.size:,}", *cells]))
    return _TEXT.format(
        rows="\n".join(rows),
        step=origin["step"],
        steps=sum(stage["steps"] for stage in origin["train"]["stages"]),
        videos=origin["data"]["train"].get("count", 24_000),
        validation=origin["validation"]["value"],
        seed=_SEED,
    )


_TEXT = """Of queries that are true of no video of a collection, how many are told that nothing is there; of those
that a right video answers first, how many are told the same, and lost. Test split of seed {seed}, which chose nothing
(`scripts/nothing_found.py moving_shapes --seed {seed}`); percent, Wilson's 95 % intervals with the videos as the
sample size.

| queries | videos | told | lost |
|---|---|---|---|
{rows}

A head of its own (`matching.safetensors`), trained beside all other weights, which stayed as they were:
`scripts/train.py --config configs/moving_shapes_matching.yaml` (seed 0), captions and queries that say a part of the
first {videos:,} training videos, against what the search would show in their place; step {step:,} of {steps:,}, with an
area of {validation:.2f} on the validation split.
"""
