"""The table of an ablation, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...datasets.moving_shapes import CONTRAST_SETS
from ...evaluation import metrics
from ...evaluation.bootstrap import mean_with_ends
from ...evaluation.metrics import Metrics
from ...train.settings import RunSettings
from ...types import Direction, FloatArray, Published, Variant
from ...utils.intervals import wilson
from ...utils.tables import bounds, interval, markdown_table

# Of one run: "seed", "t2v" and "v2t" ranks, "videos" (of the v2t queries), "contrast" accuracies, and of a model that
# translates "translation" (`runs`); of a model that reads labels off videos "labels" (`mean_precisions`).
Result = Mapping[str, Any]
_DIRECTIONS: tuple[Direction, Direction] = ("t2v", "v2t")
_OPTIONAL = ("translation", "labels")  # of a result
_RESAMPLES = 10_000  # of the intervals of SumR


def table(rows: Mapping[str, Variant], results: Mapping[str, Sequence[Result]], full: str) -> str:
    """Return the table in Markdown.

    A row has, of each direction, our R@1 with 95 % intervals over videos (all seeds of a video are drawn together), its
    spread over seeds, the difference to the row whose name is `full`, paired by seed and query, and the other recalls;
    then the sum of all six, the contrast sets, what translations do where the model translates, how well labels are
    read where it reads some, and what the paper prints.
    """
    translates, labels = (any(name in run for runs in results.values() for run in runs) for name in _OPTIONAL)
    header = ["variant", "seeds"]
    for title in map(str.upper, _DIRECTIONS):
        header += [f"{title} R@1", "sd", f"minus {full}", f"{title} R@5", f"{title} R@10", f"{title} MdR"]
    measured = {contrast for runs in results.values() for run in runs for contrast in run["contrast"]}
    contrasts = [contrast for contrast in CONTRAST_SETS if contrast in measured]
    header += ["SumR", f"SumR minus {full}", *contrasts]
    if translates:
        header += ["cosine of pairs: GT-V, FV-T", "of others", "cycle error: v, t"]
    if labels:
        header += ["mAP of labels", "of the rare half"]
    lines = [[*header, "paper: T2V", "paper: V2T", "paper: SumR printed, added up"]]
    for name, variant in rows.items():
        if runs := results[name]:
            others = () if name == full else results.get(full, ())
            cells = [variant.title, str(len(runs))]
            for direction in _DIRECTIONS:
                cells += _recalls(runs, others, direction)
            cells += _sums(runs, others)
            cells += [_contrast(runs, contrast) for contrast in contrasts]
            if translates:
                cells += _translation(runs)
            if labels:
                cells += [_label_precision(runs, kind) for kind in ("all", "rare")]
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
    tests = {len(run["groups"] if "groups" in run else run["t2v"]) for runs in results for run in runs}
    tested = "" if data.persons is not None else ", one caption a video"
    queries = " or ".join(f"{count:,}" for count in sorted(tests))
    return (
        f"Unless a row says otherwise, trained on {data.train.name} ({options}); {stages}; learning rates "
        f"{', '.join(f'{name} {rate:g}' for name, rate in train.learning_rates.items())}. "
        f"Tested on {queries} queries of the test split{tested}; everything in percent."
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
    pairs = _paired(runs, full)
    if not pairs:
        return "-"
    before, after = (np.concatenate([pair[side][direction] for pair in pairs]) for side in (0, 1))
    videos = [video for of_seed, _ in pairs for video in of_seed["videos"]]
    gap = metrics.paired_bootstrap(before, after, videos)["R@1"]
    return interval(gap.value, gap.low, gap.high, signed=True)


def _paired(runs: Sequence[Result], full: Sequence[Result]) -> list[tuple[Result, Result]]:
    of_full = {run["seed"]: run for run in full}
    if any(run["seed"] is None for run in runs):
        return [(run, runs[0]) for run in full]
    return [(of_full[run["seed"]], run) for run in runs if run["seed"] in of_full]


def _sums(runs: Sequence[Result], full: Sequence[Result]) -> list[str]:
    """SumR, the six recalls added up, with the interval over videos; and minus that of the full model, paired."""
    values = [_recalled(run) for run in runs]
    videos = [video for run in runs for video in run["videos"]]
    cells = [_mean_with_interval(np.concatenate(values), videos)]
    pairs = _paired(runs, full)
    if not pairs:
        return [*cells, "-"]
    gaps = np.concatenate([_recalled(after) - _recalled(before) for before, after in pairs])
    videos = [video for before, _ in pairs for video in before["videos"]]
    return [*cells, _mean_with_interval(gaps, videos, signed=True)]


def _recalled(run: Result) -> FloatArray:
    return metrics.recalls_by_video(run["t2v"], run["v2t"])


def _mean_with_interval(values: FloatArray, videos: Sequence[str], *, signed: bool = False) -> str:
    return interval(*mean_with_ends(values, videos, _RESAMPLES), signed=signed)


def _label_precision(runs: Sequence[Result], kind: str) -> str:
    """Mean average precision of all labels, or the rare half, by level; the mean over seeds."""
    measured = [run["labels"] for run in runs if run.get("labels")]
    if not measured:
        return "-"
    means = {level: statistics.mean(run[level][kind] for run in measured) for level in measured[0]}
    return ", ".join(f"{level} {value:.1f}" for level, value in means.items())


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
    """What the paper prints of both directions, its R@1 with the interval of so many queries; and both its sums."""
    if published is None:
        return ["-"] * 3
    recalls = (*published.t2v[:3], *published.v2t[:3])
    sums = "-" if published.sum_printed is None else f"{published.sum_printed:g}, {sum(recalls):.1f}"
    return [*(_printed(numbers, published.queries) for numbers in (published.t2v, published.v2t)), sums]


def _printed(numbers: Sequence[float], queries: int | None) -> str:
    if not numbers:
        return "-"
    first = f"{numbers[0]:g}"
    if queries:
        first += f" {bounds(*wilson(numbers[0] / 100, queries))}"
    return " / ".join([first, *(f"{number:g}" for number in numbers[1:])])
