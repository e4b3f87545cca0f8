"""The paper's table 3 on our data: every part of the method taken away in turn, trained alike, with several seeds.

    FOLDER/VARIANT/seed-N/     the run (`train.run`), and result.json
    FOLDER/ablation.json       every number
    FOLDER/ablation.md         the table

Called again, finished runs are kept and an unfinished one is taken up.
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
from ..datasets.moving_shapes import KINDS, contrast_accuracy
from ..errors import MmiTvrError, UsageError
from ..evaluation import metrics
from ..evaluation.evaluate import evaluate_model, pair_scores
from ..evaluation.metrics import Metrics
from ..features.cache import FeatureCache
from ..features.embed import embed_all
from ..train import settings as train_settings
from ..train.run import MODEL, run
from ..train.settings import RunSettings
from ..utils.files import write_atomically
from ..utils.progress import Progress, Silent
from ..utils.tables import interval, markdown_table

FULL, BASELINE = "full", "clip4clip"
_NO_LVLM = ("caption", "masked", "skeleton")  # terms that only the large model has


@dataclass(frozen=True, slots=True)
class Variant:
    """A row: what it is called in the paper, the settings that make it, and the paper's R@1 on MSR-VTT (quoted)."""

    title: str
    changes: Mapping[str, Any]
    paper: tuple[float, float] | None  # text-to-video, video-to-text


VARIANTS: Mapping[str, Variant] = {
    FULL: Variant("full model", {}, (52.4, 51.2)),
    "no-lvlm": Variant("no fine-tuned LVLM", {"lvlm": False}, (51.3, 49.1)),
    "no-inductive": Variant("no inductive heads", {"inductive": False}, (51.8, 50.2)),
    "no-temporal": Variant("no temporal attention", {"heads": {"temporal": False}}, (52.1, 50.3)),
    "no-spatial": Variant("no spatial attention", {"heads": {"spatial": False}}, (52.4, 50.7)),
    "plain": Variant("plain self-attention", {"heads": {"plain": True}}, (52.1, 50.3)),
    BASELINE: Variant("clip4clip: mean of key images, untrained", {}, None),
}


def ablate(
    path: str | Path,
    folder: Path,
    *,
    seeds: int = 3,
    variants: Sequence[str] = tuple(VARIANTS),
    overrides: Sequence[str] = (),
    limit: int | None = None,
    cache: Path,
    cpu: bool = False,
    progress: Progress | None = None,
) -> str:
    """Train and evaluate every variant with every seed, and return the table in Markdown.

    path, overrides: a training settings file (model mmi) and changes to it, the same for all. limit: of the test split
    and of each contrast set, the first so many videos. cache: the folder of vision features.
    """
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise UsageError(f"no variant is called {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
    base = train_settings.load(path, overrides)
    progress = progress or Silent()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed in range(seeds):  # seed by seed, so that an early look compares all variants
        for name in variants:
            if name == BASELINE and seed:
                continue  # nothing is drawn
            place = folder / name / f"seed-{seed}"
            if not (place / "result.json").is_file():
                progress.say(f"{VARIANTS[name].title}, seed {seed}")
                _one(base, name, seed, place, limit, cache, cpu, progress)
            results[name].append(json.loads((place / "result.json").read_text(encoding="utf-8")))
            _write(folder, results)
    return table(results)


def changed(base: RunSettings, name: str, seed: int) -> RunSettings:
    """The settings of one run."""
    values = base.model_dump(mode="json", exclude_unset=True)
    values["model"] = config.over(values["model"], VARIANTS[name].changes)
    values["train"] = {**values["train"], "seed": seed}
    if not values["model"].get("lvlm", True):
        stages = [
            {**stage, "weights": {term: w for term, w in stage["weights"].items() if term not in _NO_LVLM}}
            for stage in values["train"]["stages"]
        ]
        values["train"]["stages"] = [stage for stage in stages if stage["weights"]]
    return RunSettings(**values)


def table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Rows as Markdown: ours with 95 % intervals over videos (all seeds of a video are drawn together) and the spread
    over seeds, the paired difference to the full model, the contrast sets, and the paper's numbers."""
    paper = "paper: T2V / V2T R@1 (MSR-VTT, quoted)"
    rows = [["variant", "T2V R@1", "sd over seeds", "minus full", "V2T R@1", *KINDS, paper]]
    rows += [_cells(name, runs, results.get(FULL) or ()) for name, runs in results.items() if runs]
    return "\n".join(markdown_table(rows))


def _cells(name: str, found: Sequence[Mapping[str, Any]], full: Sequence[Mapping[str, Any]]) -> list[str]:
    t2v, v2t = (_pooled(found, side) for side in ("t2v", "v2t"))
    each = [100 * float(np.mean(np.asarray(one["t2v"]) == 1)) for one in found]
    spread = f"{statistics.stdev(each):.1f}" if len(each) > 1 else "-"
    apart = "-"
    if name != FULL and full:
        ours = (list(found) * len(full))[: len(full)]  # the baseline has one seed: nothing is drawn
        whole, own = (np.concatenate([one["t2v"] for one in side]) for side in (full, ours))
        gap = metrics.paired_bootstrap(whole, own, [label for one in full for label in one["videos"]])["R@1"]
        apart = interval(gap.value, gap.low, gap.high, signed=True)
    contrasts = [f"{statistics.mean(one['contrast'][kind] for one in found):.1f}" for kind in KINDS]
    paper = VARIANTS[name].paper
    quoted = f"{paper[0]} / {paper[1]}" if paper else "-"
    return [VARIANTS[name].title, _recall(t2v), spread, apart, _recall(v2t), *contrasts, quoted]


def _pooled(found: Sequence[Mapping[str, Any]], side: str) -> Metrics:
    ranks = np.concatenate([one[side] for one in found])
    return metrics.summary(ranks, groups=[label for one in found for label in one["videos"]])


def _recall(side: Metrics) -> str:
    return interval(side.r1, *side.ci95["R@1"])


def _one(
    base: RunSettings, name: str, seed: int, place: Path, limit: int | None, cache: Path, cpu: bool, progress: Progress
) -> None:
    wanted = changed(base, name, seed)
    if name == BASELINE:
        llava = wanted.model.options["llava"]
        from ..encoders import hub

        clip = llava.get("clip") or str(hub.locate(llava["checkpoint"]) / "clip")
        section = Section(name="clip4clip", checkpoint=clip)
    else:
        if not run(wanted, place, cache=cache, resume=True, cpu=cpu, progress=progress).finished:
            raise MmiTvrError(f"{place}: stopped; run the same command again to go on")
        section = Section(name="mmi", weights=str(place / MODEL))
    model = models.make(section, "cpu" if cpu else wanted.device)
    method = plugins.build("keyimages", wanted.keyimages.name, wanted.keyimages.options)

    def embed(videos: Any) -> Any:
        return embed_all(videos, model, method, FeatureCache(cache), progress)

    test = _dataset("test", limit)
    report = evaluate_model(model, test, embed)
    assert report.details is not None
    contrast = {
        kind: contrast_accuracy(pair_scores(model, _dataset(kind, limit and limit // 2 * 2), embed)).accuracy
        for kind in KINDS
    }
    result = {
        "variant": name,
        "seed": seed,
        "t2v": report.details.t2v_ranks.tolist(),
        "v2t": report.details.v2t_ranks.tolist(),
        "videos": list(report.details.video_ids),
        "contrast": contrast,
        "settings": wanted.model_dump(mode="json"),
    }
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / "result.json", json.dumps(result).encode())


def _dataset(split: str, limit: int | None) -> Any:
    """One caption a video, so that n is the number of videos."""
    dataset = plugins.build("datasets", "moving_shapes", {"split": split, "captions": 1, "count": limit})
    dataset.generate()
    return dataset.samples()


def _write(folder: Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    write_atomically(folder / "ablation.json", json.dumps(results).encode())
    write_atomically(folder / "ablation.md", (table(results) + "\n").encode())
