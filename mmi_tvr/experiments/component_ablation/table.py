"""The table of an ablation, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...datasets.moving_shapes import CONTRAST_SETS
from ...evaluation import metrics
from ...evaluation.metrics import Metrics
from ...train.settings import RunSettings
from ...types import Direction, Published, Variant
from ...utils.intervals import wilson
from ...utils.tables import bounds, interval, markdown_table

# Of one run: "seed", "t2v" and "v2t" ranks, "videos" (of the v2t queries), "contrast" accuracies, and of a model that
# translates "translation" (`runs`).
Result = Mapping[str, Any]
_DIRECTIONS: tuple[Direction, Direction] = ("t2v", "v2t")


def table(rows: Mapping[str, Variant], results: Mapping[str, Sequence[Result]], full: str) -> str:
    """Return the table in Markdown.

    A row has, of each direction, our R@1 with 95 % intervals over videos (all seeds of a video are drawn together), its
    spread over seeds, the difference to the row `full`, paired by seed and query, and the other recalls; then the
    contrast sets, what translations do where the model translates, and what the paper prints.
    """
    translates = any("translation" in run for runs in results.values() for run in runs)
    header = ["variant", "seeds"]
    for title in map(str.upper, _DIRECTIONS):
        header += [f"{title} R@1", "sd", "minus full", f"{title} R@5", f"{title} R@10", f"{title} MdR"]
    measured = {contrast for runs in results.values() for run in runs for contrast in run["contrast"]}
    contrasts = [contrast for contrast in CONTRAST_SETS if contrast in measured]
    header += contrasts
    if translates:
        header += ["cosine of pairs: GT-V, FV-T", "of others", "cycle error: v, t"]
    lines = [[*header, "paper: T2V", "paper: V2T"]]
    for name, variant in rows.items():
        if runs := results[name]:
            cells = [variant.title, str(len(runs))]
            for direction in _DIRECTIONS:
                cells += _recalls(runs, () if name == full else results.get(full, ()), direction)
            cells += [_contrast(runs, contrast) for contrast in contrasts]
            if translates:
                cells += _translation(runs)
            lines.append([*cells, *_published(variant.published)])
    return "\n".join(markdown_table(lines))


def budget(settings: RunSettings, results: Iterable[Sequence[Result]]) -> str:
    """Return what all rows were trained and tested with, in a sentence."""
    data, train = settings.data, settings.train
    options = ", ".join(f"{name} {value}" for name, value in data.train.options.items())
    stages = ", ".join(
        f"{stage.name}: {stage.steps} steps of {data.batch} pairs ({', '.join(stage.weights)})"
        for stage in train.stages
    )
    tests = {len(run["t2v"]) for runs in results for run in runs}
    queries = " or ".join(f"{count:,}" for count in sorted(tests))
    return (
        f"Unless a row says otherwise, trained on {data.train.name} ({options}); {stages}; learning rates "
        f"{', '.join(f'{name} {rate:g}' for name, rate in train.learning_rates.items())}. "
        f"Tested on {queries} queries of the test split, one caption a video; recalls and contrast sets in percent."
    )


def _recalls(runs: Sequence[Result], full: Sequence[Result], direction: Direction) -> list[str]:
    """R@1 with interval, its deviation over seeds, the difference to the full model, R@5, R@10, and median rank."""
    pooled = _pooled(runs, direction)
    by_seed = [100 * float(np.mean(np.asarray(run[direction]) == 1)) for run in runs]
    spread = f"{statistics.stdev(by_seed):.1f}" if len(by_seed) > 1 else "-"
    difference = _difference(runs, full, direction) if full else "-"
    others = [f"{pooled.r5:.1f}", f"{pooled.r10:.1f}", f"{pooled.mdr:g}"]
    return [interval(pooled.r1, *pooled.ci95["R@1"]), spread, difference, *others]


def _contrast(runs: Sequence[Result], contrast: str) -> str:
    """The mean accuracy of the runs that measured it."""
    accuracies = [run["contrast"][contrast] for run in runs if contrast in run["contrast"]]
    return f"{statistics.mean(accuracies):.1f}" if accuracies else "-"


def _pooled(runs: Sequence[Result], direction: Direction) -> Metrics:
    ranks = np.concatenate([run[direction] for run in runs])
    return metrics.summary(ranks, groups=[video for run in runs for video in run["videos"]])


def _difference(runs: Sequence[Result], full: Sequence[Result], direction: Direction) -> str:
    """R@1 minus that of the full model, paired by query, and by seed where both have it; a baseline without seeds is
    paired with every seed."""
    of_full = {run["seed"]: run for run in full}
    if any(run["seed"] is None for run in runs):
        pairs = [(run, runs[0]) for run in full]
    else:
        pairs = [(of_full[run["seed"]], run) for run in runs if run["seed"] in of_full]
    if not pairs:
        return "-"
    before, after = (np.concatenate([pair[side][direction] for pair in pairs]) for side in (0, 1))
    videos = [video for of_seed, _ in pairs for video in of_seed["videos"]]
    gap = metrics.paired_bootstrap(before, after, videos)["R@1"]
    return interval(gap.value, gap.low, gap.high, signed=True)


def _translation(runs: Sequence[Result]) -> list[str]:
    """Cosines of pairs and of others in the space of videos and in that of texts, and cycle errors."""
    measured = [run["translation"] for run in runs if "translation" in run]
    if not measured:
        return ["-"] * 3

    def means(name: str) -> str:
        return ", ".join(
            f"{statistics.mean(values):.2f}" for values in zip(*(run[name] for run in measured), strict=True)
        )

    return [means("pairs"), means("others"), means("cycle")]


def _published(published: Published | None) -> list[str]:
    """What the paper prints of both directions, its R@1 with the interval of so many queries."""
    return [
        _printed(numbers, published.queries if published else None)
        for numbers in ((published.t2v, published.v2t) if published else ((), ()))
    ]


def _printed(numbers: Sequence[float], queries: int | None) -> str:
    if not numbers:
        return "-"
    first = f"{numbers[0]:g}"
    if queries:
        first += f" {bounds(*wilson(numbers[0] / 100, queries))}"
    return " / ".join([first, *(f"{number:g}" for number in numbers[1:])])
