"""A whole run from a settings file: features once, then the loop, then the best checkpoint as a model folder.

FOLDER/checkpoints/   to resume from (`checkpoint`)
FOLDER/metrics.jsonl  every logged number (`trackers`)
FOLDER/best.json      the best validation
FOLDER/model/         the trained weights, as `--model FOLDER/model` reads them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from .. import models, plugins
from ..errors import MediaError, UsageError
from ..evaluation import evaluate, metrics
from ..evaluation.report import Report
from ..features.cache import FeatureCache, sampling_fingerprint
from ..features.lazy import Stored, stored
from ..rerank import skeleton as rerank
from ..rerank import skeleton_options
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Embeddings, Query, Sample
from ..utils import distributed
from ..utils.progress import Progress, Silent
from . import checkpoint, skeletons
from .loop import Outcome, Trainer
from .loop import Progress as Step
from .pairs import PairBatches
from .settings import DataOptions, RunSettings
from .skeletons import SkeletonPairs

MODEL = "model"
_TOLD = ("loss", "validation")


def run(
    settings: RunSettings,
    folder: Path,
    *,
    cache: Path,
    resume: bool = False,
    cpu: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train the model of `settings`, in as many processes as were started; every process calls this.

    cache: a folder for vision features, shared by all runs. resume: go on from the newest checkpoint in `folder`.
    Raises UsageError where the model cannot be trained, or more videos are unreadable than `data.unreadable` allows.
    """
    progress = progress if progress is not None and not distributed.rank() else Silent()
    place = plugins.require("accelerate", "train").PartialState(cpu=cpu).device  # joins the other processes
    torch.manual_seed(settings.train.seed)
    model = models.trainable(settings.model, "cpu" if cpu else str(place))
    samples, features, kept, groups = _data(settings, settings.data.train, model, cache, progress)
    data = PairBatches(
        model,
        samples,
        features,
        kept,
        groups,
        batch=settings.data.batch,
        seed=settings.train.seed,
        skeletons=_skeletons(settings, model, samples, features, kept, folder, progress),
    )
    held = settings.data.validation and _data(settings, settings.data.validation, model, cache, progress)

    def validate(_: Any) -> float:
        """SumR on the validation split; process 0's counts, so the others do not work for it."""
        if held is None or distributed.rank():
            return 0.0
        report = evaluated(model, held[0], held[1])
        return metrics.sum_of_recalls(report.t2v, report.v2t)

    def step(now: Step) -> None:
        progress.advance()
        if "validation" in now.values:
            told = ", ".join(f"{name} {now.values[name]:.3f}" for name in _TOLD)
            progress.say(f"step {now.step} ({now.stage}): {told}")

    progress.begin("training", settings.train.steps)
    trainer = Trainer(
        model.network,
        data,
        settings.train,
        folder,
        validate=validate if held else None,
        progress=step,
        config={**settings.model_dump(mode="json", exclude={"train", "device"}), "fingerprint": model.fingerprint()},
        resume=resume,
        cpu=cpu,
    )
    progress.advance(trainer.step)
    outcome = trainer.run()
    if outcome.finished and not distributed.rank():
        _export(model, settings, folder, outcome)
    return outcome


def evaluated(model: Any, samples: Sequence[Sample], features: Stored) -> Report:
    """The model's report on samples whose features are there."""
    able = [number for number in range(len(samples)) if number not in features.failures]
    made = iter(model.embed_videos([features[number] for number in able]))
    embeddings: list[Embeddings | MediaError] = [
        features.failures[number] if number in features.failures else next(made) for number in range(len(samples))
    ]
    captions = [Query(caption) for sample in samples for caption in sample.captions]
    vectors = model.embed_queries(captions)
    return evaluate.evaluate(samples, embeddings, vectors, model.scoring, model=model.name, max_unreadable=1.0)


def _data(
    settings: RunSettings, section: Any, model: Any, cache: Path, progress: Progress
) -> tuple[Sequence[Sample], Stored, list[int], Sequence[Sequence[int]] | None]:
    """Samples, their features, the numbers of those that can be used, and the groups of twins if there are any.

    Every process makes its share of the missing features, and then reads those of all.
    """
    dataset = plugins.build("datasets", section.name, section.options)
    if hasattr(dataset, "generate") and not distributed.rank() and (missing := len(dataset.pending())):
        progress.begin("rendering", missing)
        dataset.generate(advance=progress.advance)
    distributed.wait()
    samples = dataset.samples()
    videos = [samples[number].video for number in range(len(samples))]
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    mine = videos[distributed.rank() :: distributed.world()]
    progress.begin("features", len(mine))
    stored(mine, model, method, FeatureCache(cache), progress.advance)
    distributed.wait()
    features = stored(videos, model, method, FeatureCache(cache))
    _check(section, samples, features.failures, settings.data)
    if failures := features.failures:
        progress.say(f"{len(failures)} videos are left out; the first: {next(iter(failures.values()))}")
    groups = dataset.groups() if hasattr(dataset, "groups") else None
    return samples, features, [n for n in range(len(samples)) if n not in features.failures], groups


def _skeletons(
    settings: RunSettings,
    model: Any,
    samples: Sequence[Sample],
    features: Stored,
    kept: Sequence[int],
    folder: Path,
    progress: Progress,
) -> SkeletonPairs | None:
    """Pairs for L_s, where a stage weighs it; the same in every process. What videos answer is kept in the folder."""
    if not any("skeleton" in stage.weights for stage in settings.train.stages):
        return None
    options = skeleton_options(settings.rerank, model)
    folder.mkdir(parents=True, exist_ok=True)
    method = plugins.build("keyimages", settings.keyimages.name, settings.keyimages.options)
    made = None
    if not distributed.rank():
        made = skeletons.make(
            model,
            rerank.describer(
                options, model=model, store=SkeletonStore(folder / SKELETONS_FILE), device=settings.device
            ),
            samples,
            features,
            kept[: settings.data.skeletons.videos],
            sampling=sampling_fingerprint(model, method),
            near=settings.data.skeletons.near,
            seed=settings.train.seed,
            progress=progress,
        )
    return cast("SkeletonPairs", distributed.objects(made)[0])


def _check(section: Any, samples: Sequence[Sample], failures: Mapping[int, MediaError], data: DataOptions) -> None:
    if len(failures) > data.unreadable * len(samples):
        raise UsageError(
            f"{section.name}: {len(failures)} of {len(samples)} videos cannot be used, more than {data.unreadable:.0%} "
            f"(the first: {next(iter(failures.values()))}); repair them, or allow more with data.unreadable"
        )


def _export(model: Any, settings: RunSettings, folder: Path, outcome: Outcome) -> None:
    """The best checkpoint's weights (the last ones', where nothing was validated) as a model folder."""
    best = outcome.best
    step = best.step if best else outcome.step
    checkpoint.load_trained(model.network, folder / "checkpoints" / f"step-{step:08d}")
    origin = {
        **checkpoint.origin(),
        "step": step,
        "validation": asdict(best) if best else None,
        "settings": settings.model_dump(mode="json"),
    }
    given = settings.rerank.model_dump(mode="json") if settings.rerank else None
    model.save(folder / MODEL, settings.keyimages.model_dump(mode="json"), origin, given)
