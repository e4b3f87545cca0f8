"""The stages in order. Each is a run of the train room in a folder of its own, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from ... import plugins, prompt_templates
from ...datasets.moving_shapes import MovingShapes
from ...encoders.llava import Llava
from ...evaluation import metrics
from ...features.cache import FeatureCache
from ...features.lazy import stored
from ...models.mmi.network import PROMPTS
from ...train.loop import Progress as Step
from ...train.loop import Trainer
from ...train.options import Stage, TrainOptions
from ...types import Features
from ...utils import distributed
from ...utils.progress import Progress, Silent
from . import layout
from .clips import ClipReader
from .data import ClipBatches, FrameBatches, TalkBatches, answers, corpus
from .frames import FrameTowers
from .language import DESCRIBE, Speaker, right_replies
from .options import PretrainOptions, StageOptions

# How a file's key images are chosen; what is trained on the features must be used with the same (`models.mmi`).
KEY_IMAGES = {"name": "disparity", "fps": 4.0, "min_length": 0.5, "floor": 0.001, "count": 12}
_WORDS = 2000  # videos whose texts the tokenizers learn from
_WATCHED = 500  # videos of the val split that a stage is measured on
# Of each stage: the share of its steps, and the loss terms.
_PARTS: Mapping[str, Sequence[tuple[str, float, dict[str, float]]]] = {
    "frames": (
        ("frames", 0.5, {"pictures": 1.0, "regions": 1.0, "places": 1.0}),
        ("places", 0.5, {"pictures": 1.0, "regions": 1.0, "places": 2.0}),
    ),
    "clips": (
        ("texts", 0.5, {"facts": 3.0, "clauses": 3.0}),
        ("clips", 0.5, {"videos": 1.0, "means": 0.3, "stills": 0.5, "facts": 1.0, "clauses": 1.0, "shown": 3.0}),
    ),
    "language": (("language", 1.0, {"replies": 1.0, "judged": 1.0, "agrees": 1.0, "facts": 1.0, "events": 1.0}),),
}


def pretrain(
    folder: Path,
    options: PretrainOptions,
    *,
    cache: Path,
    progress: Progress | None = None,
    cpu: bool = False,
) -> dict[str, float]:
    """Make the checkpoint `folder/base` (LLaVA, and CLIP inside it), and say how well each stage does on val.

    cache: a folder for vision features, shared with later training. Call it again after an interruption. Needs the
    moving shapes' files; those that are missing are rendered first.
    """
    run = _Run(folder, options, cache, progress or Silent(), cpu)
    return {"frames": run.frames(), "clips": run.clips(), "language": run.language()}


class _Run:
    def __init__(self, folder: Path, options: PretrainOptions, cache: Path, progress: Progress, cpu: bool) -> None:
        self._folder, self._options, self._cache, self._progress, self._cpu = folder, options, cache, progress, cpu
        self.base = folder / "base"
        self.train = _split("train", options.videos)
        self.val = _split("val", min(_WATCHED, options.videos))
        specs = self.train.specs()[:_WORDS]
        self._clip_words = layout.clip_tokenizer(corpus(specs))
        answer, score = prompt_templates.answer(), prompt_templates.judge()
        asked = (answer.text, answer.video, score.prompt, DESCRIBE, score.positive, score.negative)
        prompts = [*PROMPTS, *asked] * _WORDS  # so often that their words are learned whole
        texts = (*corpus(specs), *answers(specs), *prompts)
        self._words = layout.language_tokenizer(f" {text}" for text in texts)
        torch.manual_seed(options.seed)
        self._clip = layout.new_clip(self._clip_words)
        self._llava = layout.new_llava(self._clip, self._words)

    def frames(self) -> float:
        """R@1 of descriptions among single pictures of val."""
        stage, seed = self._options.frames, self._options.seed
        model = FrameTowers(self._clip, self._clip_words)
        held = FrameBatches(self.val, 2, seed).batch(range(len(self.val.items)), np.random.default_rng(seed))

        def measure(_: nn.Module) -> float:
            return _recall(model.texts(held["texts"]), model.pictures(held["pixels"]))

        found = self._stage("frames", model, FrameBatches(self.train, stage.batch, seed), stage, measure)
        self._llava.model.vision_tower.load_state_dict(self._clip.vision_model.state_dict())
        self._save()
        return found

    def clips(self) -> float:
        """R@1 of captions among videos of val, by the reader that is thrown away."""
        stage, seed = self._options.clips, self._options.seed
        model = ClipReader(self._clip, self._clip_words, layout.WIDTH)
        held = ClipBatches(self.val, self.features(self.val), 2, seed)
        batch = held.batch(range(len(self.val.items)), np.random.default_rng(seed))

        def measure(_: nn.Module) -> float:
            return _recall(model.texts(batch["texts"]), model.videos(batch["video"])[0])

        data = ClipBatches(self.train, self.features(self.train), stage.batch, seed)
        found = self._stage("clips", model, data, stage, measure)
        self._save()
        return found

    def language(self) -> float:
        """Percentage of replies about videos of val that are right to the last token."""
        stage, seed = self._options.language, self._options.seed
        model = Speaker(Llava(self._llava, self._words, layout.TOKENS))
        held = TalkBatches(self.val, self.features(self.val), 2, seed)
        batch = held.batch(range(len(self.val.items)), np.random.default_rng(seed))

        def measure(_: nn.Module) -> float:
            return right_replies(model, batch)

        data = TalkBatches(self.train, self.features(self.train), stage.batch, seed)
        found = self._stage("language", model, data, stage, measure)
        self._save()
        return found

    def features(self, dataset: MovingShapes) -> Sequence[Features]:
        """Vision features of a split by the tower as it is saved; files that are missing are rendered."""
        missing = len(dataset.pending())
        if missing and distributed.rank() == 0:
            self._progress.begin("rendering", missing)
            dataset.generate(advance=self._progress.advance)
        distributed.wait()
        method = plugins.build("keyimages", KEY_IMAGES["name"], {k: v for k, v in KEY_IMAGES.items() if k != "name"})
        model = plugins.build(
            "models",
            "mmi",
            {"llava": {"checkpoint": str(self.base), "grid": layout.TOKENS}, "heads": {"grid": layout.REGIONS}},
            device="cpu" if self._cpu else "auto",
        )
        videos = [dataset.sample(number).video for number in range(len(dataset.items))]
        cache = FeatureCache(self._cache)
        if distributed.world() > 1:
            own = videos[distributed.rank() :: distributed.world()]
            self._progress.begin("features", len(own))
            stored(own, model, method, cache, self._progress.advance)
            distributed.wait()
        self._progress.begin("features", len(videos))
        return stored(videos, model, method, cache, self._progress.advance)

    def _stage(
        self, name: str, model: nn.Module, data: Any, stage: StageOptions, measure: Callable[[nn.Module], float]
    ) -> float:
        groups = tuple(model.parameter_groups())  # type: ignore[operator]
        options = TrainOptions(
            stages=tuple(
                Stage(name=part, steps=max(1, round(share * stage.steps)), weights=weights)
                for part, share, weights in _PARTS[name]
            ),
            learning_rates=dict.fromkeys((*groups, "temperature"), stage.rate),
            muon=tuple({"layers"}.intersection(groups)),  # half as many steps again are needed without it
            weight_decay=0.05,
            warmup=0.05,
            precision=self._options.precision,
            seed=self._options.seed,
            validate_every=max(1, stage.steps // 8),
            save_every=max(1, stage.steps // 8),
            log_every=10,
            keep=1,
        )
        self._progress.begin(name, options.steps)

        def step(now: Step) -> None:
            self._progress.advance()
            if "validation" in now.values:
                self._progress.say(f"{name} step {now.step}: {_told(now.values)}")

        trainer = Trainer(
            model,
            data,
            options,
            self._folder / name,
            validate=measure,
            progress=step,
            config={"seed": self._options.seed, "videos": self._options.videos, name: stage.model_dump(mode="json")},
            resume=True,
            cpu=self._cpu,
        )
        self._progress.advance(trainer.step)
        outcome = trainer.run()
        if not outcome.finished:
            raise KeyboardInterrupt  # SIGTERM: the checkpoint is there, and the stages after this one are not begun
        model.eval()
        with torch.no_grad():
            return measure(model)

    def _save(self) -> None:
        if distributed.rank() == 0:
            layout.save(self.base, self._clip, self._clip_words, self._llava, self._words)
        distributed.wait()


def _split(name: str, count: int) -> MovingShapes:
    made: MovingShapes = plugins.build("datasets", "moving_shapes", {"split": name, "count": count})
    return made


@torch.no_grad()
def _recall(texts: torch.Tensor, targets: torch.Tensor) -> float:
    """Text-to-target R@1 in percent; text i belongs to target i."""
    scores = (normalize(texts.float(), dim=-1) @ normalize(targets.float(), dim=-1).T).cpu().numpy()
    found = metrics.ranks([scores], [{row} for row in range(len(scores))])
    return metrics.summary(found, resamples=0).r1


def _told(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if name.startswith(("loss", "valid")))


__all__ = ["KEY_IMAGES", "pretrain"]
