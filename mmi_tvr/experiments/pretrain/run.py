"""The stages in order. Each is a run of the train room in a folder of its own, and goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ... import plugins, prompt_templates
from ...datasets.moving_shapes import MovingShapes
from ...encoders.llava import Llava
from ...evaluation import metrics
from ...features.lazy import StoredFeatures
from ...models.mmi.network import PROMPTS
from ...train.features import shared_features
from ...train.loop import StepReport, Trainer
from ...train.options import Stage, TrainOptions
from ...train.plan import prepare
from ...train.protocol import Batch, EpochDataLoader
from ...utils import distributed
from ...utils.device import available, processors
from ...utils.files import write_atomically
from ...utils.installation import require
from ...utils.interruption import Interrupted
from ...utils.progress import Progress, Silent
from . import layout
from .clips import ClipReader
from .conversations import DESCRIBE
from .data import ClipBatches, ConversationBatches, FrameBatches, answers, corpus
from .frames import FrameTowers
from .language import LanguageStage, right_replies
from .options import PretrainOptions, StageOptions

# How a file's key images are chosen; what is trained on the features must be used with the same (`models.mmi`).
_DISPARITY = {"fps": 4.0, "min_length": 0.5, "floor": 0.001, "count": 12}
# In what the twins of training videos differ, in turn. The usual kinds, and the order of three events: of the twins of
# `order` two in three have two events alone. What is trained behind has the same videos, whose features are there.
TWINS = ("order", "direction", "relation", "order3", "colour", "shape", "count")
MEASURES = "measures.json"  # below the folder; written when all stages are done
KEY_IMAGES = {"name": "disparity", **_DISPARITY}
_TOKENIZER_VIDEOS = 2000  # videos whose texts the tokenizers learn from
_SAVE_EVERY = 100  # steps, at most two minutes of two cores: what a power cut may cost
_MOST_WORKERS = 12  # processes that draw batches for an accelerator
_VALIDATION_VIDEOS = 500  # videos of the val split that a stage is measured on
# Of each stage: the share of its steps, and the loss terms.
_PARTS: Mapping[str, Sequence[tuple[str, float, dict[str, float]]]] = {
    "frames": (("frames", 1.0, {"pictures": 1.0, "regions": 1.0, "places": 2.0}),),
    "clips": (
        ("texts", 0.4, {"facts": 3.0, "clauses": 3.0}),
        ("clips", 0.6, {"videos": 1.0, "means": 0.3, "stills": 0.5, "facts": 1.0, "clauses": 1.0, "shown": 3.0}),
    ),
    "language": (("language", 1.0, {"replies": 1.0, "judged": 1.0, "agrees": 1.0, "facts": 1.0, "events": 1.0}),),
}

StageModel = FrameTowers | ClipReader | LanguageStage


def pretrain(
    folder: Path,
    options: PretrainOptions,
    *,
    cache: Path,
    progress: Progress | None = None,
    cpu: bool = False,
) -> dict[str, float]:
    """Make the checkpoint `folder/base` (LLaVA, and CLIP inside it), and return how well each stage does on val.

    Needs the moving shapes' files; those that are missing are rendered first. Call it again after an interruption.

    Args:
        folder: of the stages' runs and of the checkpoint.
        options: how long each stage takes.
        cache: a folder for vision features, shared with later training.
        progress: of stages and features.
        cpu: leave accelerators alone.

    Raises:
        Interrupted: SIGTERM came, and the stage is saved up to there (`utils.interruption`).
    """
    stages = _Stages(folder, options, cache, progress or Silent(), cpu)
    measures = {"frames": stages.frames(), "clips": stages.clips(), "language": stages.language()}
    if distributed.rank() == 0:
        write_atomically(folder / MEASURES, json.dumps(measures, indent=1).encode())
    return measures


class _Stages:
    def __init__(self, folder: Path, options: PretrainOptions, cache: Path, progress: Progress, cpu: bool) -> None:
        self._folder, self._options, self._cache, self._progress, self._cpu = folder, options, cache, progress, cpu
        # An accelerator is done with a batch sooner than one process has drawn the next.
        self._workers = 0 if cpu or available()[0] == "cpu" else min(_MOST_WORKERS, processors() - 1)
        self._base = folder / "base"
        self._train = _split("train", options.videos)
        self._val = _split("val", min(_VALIDATION_VIDEOS, options.videos))
        specs = self._train.specs()[:_TOKENIZER_VIDEOS]
        self._clip_tokenizer = layout.clip_tokenizer(corpus(specs))
        answer, judge = prompt_templates.answer(), prompt_templates.judge()
        prompts = (*PROMPTS, answer.text, answer.video, judge.prompt, DESCRIBE, judge.positive, judge.negative)
        repeated = [*prompts] * _TOKENIZER_VIDEOS  # so often that their words are learned whole
        texts = (*corpus(specs), *answers(specs), *repeated)
        self._tokenizer = layout.language_tokenizer(f" {text}" for text in texts)
        torch.manual_seed(options.seed)
        self._clip = layout.new_clip(self._clip_tokenizer)
        self._llava = layout.new_llava(self._clip, self._tokenizer)

    def frames(self) -> float:
        """Return R@1 of descriptions among single pictures of val."""
        stage, seed = self._options.frames, self._options.seed
        model = FrameTowers(self._clip, self._clip_tokenizer)
        val = FrameBatches(self._val, 2, seed).batch(range(len(self._val.items)), np.random.default_rng(seed))

        def measure(_: object) -> float:
            return _recall(model.texts(val["texts"]), model.pictures(_on_device_of(model, val)["pixels"]))

        recall = self._run_stage(
            "frames", model, FrameBatches(self._train, stage.batch, seed, self._workers), stage, measure
        )
        self._llava.model.vision_tower.load_state_dict(self._clip.vision_model.state_dict())
        self._save()
        return recall

    def clips(self) -> float:
        """Return R@1 of captions among videos of val, by the reader that is thrown away."""
        stage, seed = self._options.clips, self._options.seed
        model = ClipReader(self._clip, self._clip_tokenizer, layout.WIDTH)
        val_loader = ClipBatches(self._val, self._features(self._val), 2, seed)
        val = val_loader.batch(range(len(self._val.items)), np.random.default_rng(seed))

        def measure(_: object) -> float:
            return _recall(model.texts(val["texts"]), model.videos(_on_device_of(model, val)["video"])[0])

        data = ClipBatches(self._train, self._features(self._train), stage.batch, seed, self._workers)
        recall = self._run_stage("clips", model, data, stage, measure)
        self._save()
        return recall

    def language(self) -> float:
        """Return the percentage of replies about videos of val that are right to the last token."""
        stage, seed = self._options.language, self._options.seed
        model = LanguageStage(Llava(self._llava, self._tokenizer, layout.TOKENS))
        val_loader = ConversationBatches(self._val, self._features(self._val), 2, seed, tokenize=model.tokenize)
        val = val_loader.batch(range(len(self._val.items)), np.random.default_rng(seed))

        def measure(_: object) -> float:
            return right_replies(model, _on_device_of(model, val))

        features = self._features(self._train)
        data = ConversationBatches(self._train, features, stage.batch, seed, self._workers, tokenize=model.tokenize)
        percentage = self._run_stage("language", model, data, stage, measure)
        self._save()
        return percentage

    def _features(self, dataset: MovingShapes) -> StoredFeatures:
        """Return the vision features of a split by the tower as it is saved; files that are missing are rendered."""
        method = plugins.build("keyimages", "disparity", _DISPARITY)
        model = plugins.build(
            "models",
            "mmi",
            {"llava": {"checkpoint": str(self._base), "grid": layout.TOKENS}, "heads": {"grid": layout.REGIONS}},
            device="cpu" if self._cpu else "auto",
        )
        videos = [dataset.video(number) for number in range(len(dataset.items))]
        prepare(dataset.options.split, dataset, videos, model, method, self._cache, self._progress)
        return shared_features(videos, model, method, self._cache, self._progress)

    def _run_stage(
        self,
        name: str,
        model: StageModel,
        data: EpochDataLoader,
        stage: StageOptions,
        measure: Callable[[object], float],
    ) -> float:
        """Train one stage, or what is left of it, and return its measure on val. Raises Interrupted where it was
        stopped; the stages behind this one are not begun then."""
        options = self._train_options(name, model, stage)
        self._progress.begin(name, options.steps)

        def on_step(report: StepReport) -> None:
            self._progress.advance()
            if "validation" in report.values:
                self._progress.say(f"{name} step {report.step}: {_losses(report.values)}")

        trainer = Trainer(
            model,
            data,
            options,
            self._folder / name,
            validate=measure,
            on_step=on_step,
            config={"seed": self._options.seed, "videos": self._options.videos, name: stage.model_dump(mode="json")},
            resume=True,
            cpu=self._cpu,
        )
        self._progress.advance(trainer.step)
        outcome = trainer.run()
        if not outcome.finished:
            raise Interrupted
        model.eval()
        with torch.no_grad():
            return measure(model)

    def _train_options(self, name: str, model: StageModel, stage: StageOptions) -> TrainOptions:
        groups = tuple(model.parameter_groups())
        return TrainOptions(
            stages=parts(name, stage.steps, self._options.places),
            learning_rates=dict.fromkeys((*groups, "temperature"), stage.rate),
            muon=("layers",),  # half as many steps again are needed without it
            weight_decay=0.05,
            warmup=0.05,
            precision=self._options.precision,
            seed=self._options.seed,
            validate_every=max(1, stage.steps // 8),
            save_every=min(_SAVE_EVERY, max(1, stage.steps // 8)),
            log_every=10,
            keep=1,
        )

    def _save(self) -> None:
        distributed.from_first(
            lambda: layout.save(self._base, self._clip, self._clip_tokenizer, self._llava, self._tokenizer)
        )


def parts(name: str, steps: int, places: bool = True) -> tuple[Stage, ...]:
    """Return the parts of a stage, with the terms of each.

    Args:
        name: of the stage.
        steps: of all its parts.
        places: whether the towers are asked where things stand.
    """
    stages = []
    for part, share, terms in _PARTS[name]:
        weights = {term: weight for term, weight in terms.items() if places or term != "places"}
        stages.append(Stage(name=part, steps=max(1, round(share * steps)), weights=weights))
    return tuple(stages)


def _on_device_of(model: StageModel, batch: Batch) -> Batch:
    """Return a batch on the device of a model."""
    moved: Batch = require("accelerate.utils", "train").send_to_device(batch, next(model.parameters()).device)
    return moved


def _split(name: str, count: int) -> MovingShapes:
    twins = {"contrasts": TWINS} if name == "train" else {}
    dataset: MovingShapes = plugins.build("datasets", "moving_shapes", {"split": name, "count": count, **twins})
    return dataset


@torch.no_grad()
def _recall(texts: Tensor, targets: Tensor) -> float:
    """Return text-to-target R@1 in percent; text i (N, D) belongs to target i (N, D)."""
    scores = (normalize(texts.float(), dim=-1) @ normalize(targets.float(), dim=-1).T).cpu().numpy()
    ranks = metrics.ranks([scores], [{row} for row in range(len(scores))])
    return metrics.summary(ranks, resamples=0).r1


def _losses(values: Mapping[str, float]) -> str:
    """Return losses and validation of a step as one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if name.startswith(("loss", "valid")))


__all__ = ["KEY_IMAGES", "MEASURES", "TWINS", "parts", "pretrain"]
