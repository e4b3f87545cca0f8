"""A model's ablation table on moving shapes: every part taken away in turn, trained alike, with several seeds.

    FOLDER/VARIANT/seed-N/     the run (`train.run`), and result.json
    FOLDER/ablation.json       every number
    FOLDER/ablation.md         the table

The rows are the model's own (`protocols.AblatedModule`); the first one is the full model. Called again, finished runs
stay and an unfinished one is resumed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import config, models, plugins
from ..config import Section
from ..datasets.moving_shapes import CONTRASTS, contrast_accuracy
from ..errors import MediaError, MmiTvrError, UsageError
from ..evaluation import metrics
from ..evaluation.evaluate import evaluate_model, pair_scores
from ..evaluation.metrics import Metrics
from ..features.cache import FeatureCache
from ..features.embed import embed_all
from ..protocols import Model
from ..train import settings as train_settings
from ..train.run import MODEL, run
from ..train.settings import RunSettings
from ..types import Embeddings, Sample, Variant, Video
from ..utils.files import write_atomically
from ..utils.progress import Progress, Silent
from ..utils.tables import interval, markdown_table

RESULT = "result.json"
Result = Mapping[str, Any]  # one run: "t2v" and "v2t" ranks, "videos" (of the v2t queries), "contrast" accuracies


@dataclass(frozen=True, slots=True)
class Study:
    """What all runs of one ablation share. `limit`: of the test split and each contrast set, the first so many."""

    settings: RunSettings
    folder: Path
    cache: Path
    limit: int | None
    cpu: bool
    progress: Progress


def ablate(
    path: str | Path,
    folder: Path,
    *,
    seeds: int = 3,
    variants: Sequence[str] = (),
    overrides: Sequence[str] = (),
    limit: int | None = None,
    cache: Path,
    cpu: bool = False,
    progress: Progress | None = None,
) -> str:
    """Train and evaluate the variants of a model with every seed, and return the table in Markdown.

    Args:
        path: a training settings file, the same for all variants but for what each takes away.
        folder: of all runs; see above.
        seeds: runs of each variant, with seeds 0, 1, ...; an untrained baseline is evaluated once.
        variants: names of the rows; all of the model's without any.
        overrides: changes to the settings, as `--set` takes them.
        limit: the first so many videos of the test split and of each contrast set.
        cache: folder of vision features.
        cpu: leave accelerators alone.

    Raises:
        UsageError: for an unknown variant, a model without an ablation table, or settings that do not fit.
        MmiTvrError: where a run was stopped; the same call goes on.
    """
    settings = train_settings.load(path, overrides)
    rows = models.variants(settings.model.name)
    if unknown := [name for name in variants if name not in rows]:
        raise UsageError(f"no variant is called {unknown[0]!r}; there are: {', '.join(rows)}")
    rows = {name: variant for name, variant in rows.items() if name in variants or not variants}
    study = Study(settings, folder, cache, limit, cpu, progress or Silent())
    results: dict[str, list[Result]] = {name: [] for name in rows}
    full = next(iter(models.variants(settings.model.name)))
    for seed in range(seeds):  # seed by seed, so that an early look compares all variants
        for name, variant in rows.items():
            if variant.baseline is not None and seed:
                continue  # nothing is drawn
            results[name].append(_result(study, name, variant, seed))
            write_atomically(folder / "ablation.json", json.dumps(results).encode())
            write_atomically(folder / "ablation.md", (table(rows, results, full) + "\n").encode())
    return table(rows, results, full)


def variant_settings(settings: RunSettings, variant: Variant, seed: int) -> RunSettings:
    """Return the settings of one run; a stage that has no loss term left is dropped."""
    values = settings.model_dump(mode="json", exclude_unset=True)
    values["model"] = config.merge(values["model"], variant.changes)
    values["train"] = {**values["train"], "seed": seed}
    if variant.without_terms:
        stages = []
        for stage in values["train"]["stages"]:
            weights = {term: weight for term, weight in stage["weights"].items() if term not in variant.without_terms}
            if weights:
                stages.append({**stage, "weights": weights})
        values["train"]["stages"] = stages
    return RunSettings(**values)


def table(rows: Mapping[str, Variant], results: Mapping[str, Sequence[Result]], full: str) -> str:
    """Return the table in Markdown.

    A row has our R@1 with 95 % intervals over videos (all seeds of a video are drawn together), the spread over seeds,
    the paired difference to the row `full`, the contrast sets, and the published numbers.
    """
    header = ["variant", "T2V R@1", "sd over seeds", "minus full", "V2T R@1", *CONTRASTS]
    lines = [[*header, "paper: T2V / V2T R@1 (MSR-VTT, quoted)"]]
    for name, variant in rows.items():
        if runs := results[name]:
            lines.append(_cells(variant, runs, results.get(full, ()) if name != full else ()))
    return "\n".join(markdown_table(lines))


def _cells(variant: Variant, runs: Sequence[Result], full: Sequence[Result]) -> list[str]:
    recalls = [100 * float(np.mean(np.asarray(run["t2v"]) == 1)) for run in runs]
    spread = f"{statistics.stdev(recalls):.1f}" if len(recalls) > 1 else "-"
    contrasts = [f"{statistics.mean(run['contrast'][contrast] for run in runs):.1f}" for contrast in CONTRASTS]
    published = f"{variant.published[0]} / {variant.published[1]}" if variant.published else "-"
    difference = _difference(runs, full) if full else "-"
    t2v, v2t = (_with_interval(_pooled(runs, direction)) for direction in ("t2v", "v2t"))
    return [variant.title, t2v, spread, difference, v2t, *contrasts, published]


def _difference(runs: Sequence[Result], full: Sequence[Result]) -> str:
    """T2V R@1 minus that of the full model, paired by seed and query. A baseline of one run is paired with all."""
    paired_runs = (list(runs) * len(full))[: len(full)]
    full_ranks = np.concatenate([run["t2v"] for run in full])
    ranks = np.concatenate([run["t2v"] for run in paired_runs])
    gap = metrics.paired_bootstrap(full_ranks, ranks, [video for run in full for video in run["videos"]])["R@1"]
    return interval(gap.value, gap.low, gap.high, signed=True)


def _pooled(runs: Sequence[Result], direction: str) -> Metrics:
    ranks = np.concatenate([run[direction] for run in runs])
    return metrics.summary(ranks, groups=[video for run in runs for video in run["videos"]])


def _with_interval(side: Metrics) -> str:
    return interval(side.r1, *side.ci95["R@1"])


def _result(study: Study, name: str, variant: Variant, seed: int) -> Result:
    """The numbers of one run: those on disk, else made now."""
    folder = study.folder / name / f"seed-{seed}"
    if not (folder / RESULT).is_file():
        study.progress.say(f"{variant.title}, seed {seed}")
        settings = variant_settings(study.settings, variant, seed)
        result = _evaluated(study, settings, _trained(study, settings, variant, folder))
        document = {"variant": name, "seed": seed, **result, "settings": settings.model_dump(mode="json")}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RESULT, json.dumps(document).encode())
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return dict(result)


def _trained(study: Study, settings: RunSettings, variant: Variant, folder: Path) -> Model:
    if variant.baseline is not None:
        section = Section(**variant.baseline(settings.model.options))
    else:
        outcome = run(settings, folder, cache=study.cache, resume=True, cpu=study.cpu, progress=study.progress)
        if not outcome.finished:
            raise MmiTvrError(f"{folder}: stopped; run the same command again to go on")
        section = models.trained_section(str(folder / MODEL))
    return models.make(section, "cpu" if study.cpu else settings.device)


def _evaluated(study: Study, settings: RunSettings, model: Model) -> dict[str, Any]:
    """Ranks on the test split, and accuracies on the contrast sets."""
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)

    def embed(videos: Sequence[Video]) -> Sequence[Embeddings | MediaError]:
        return embed_all(videos, model, method, FeatureCache(study.cache), study.progress)

    report = evaluate_model(model, _samples("test", study.limit), embed)
    assert report.details is not None
    pairs = None if study.limit is None else study.limit // 2 * 2  # whole pairs
    return {
        "t2v": report.details.t2v_ranks.tolist(),
        "v2t": report.details.v2t_ranks.tolist(),
        "videos": list(report.details.video_ids),
        "contrast": {
            contrast: contrast_accuracy(pair_scores(model, _samples(contrast, pairs), embed)).accuracy
            for contrast in CONTRASTS
        },
    }


def _samples(split: str, limit: int | None) -> Sequence[Sample]:
    """One caption a video, so that n is the number of videos."""
    dataset = plugins.build("datasets", "moving_shapes", {"split": split, "captions": 1, "count": limit})
    dataset.generate()
    samples: Sequence[Sample] = dataset.samples()
    return samples
