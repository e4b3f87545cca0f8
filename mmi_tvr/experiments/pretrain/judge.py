"""The judge's own adapter: says whether two skeletons describe one scene, also where one of them says nothing.

It is trained beside all other weights, which stay as they were: what searches rank by does not move.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import models, plugins, prompt_templates
from ...encoders import llava, lora
from ...encoders.llava import Llava
from ...encoders.options import LlavaOptions
from ...errors import UsageError
from ...models import mmi
from ...nn.losses import skeleton_cross_entropy
from ...train import checkpoint
from ...train.loop import StepReport, Trainer
from ...train.options import Stage, TrainOptions
from ...utils.interruption import Interrupted
from ...utils.progress import Progress, Silent
from .bundle import write_json
from .judge_pairs import JudgePairs
from .options import JudgeTrainingOptions
from .tokens import groups_of_like_length

RECORD = "judge.json"  # how the adapter of a run was made
_LENGTH_GROUPS = 8  # that a batch is cut into
_VALIDATIONS = 6  # in a run, evenly spread
_VALIDATION_BATCHES = 8  # of the val split
_TERM = "judged"


def train_judge(
    weights: str, folder: Path, options: JudgeTrainingOptions, *, progress: Progress | None = None, cpu: bool = False
) -> float:
    """Train a judge's adapter for a trained model, and write it to `folder`/judge; go on where a run was stopped.

    Args:
        weights: a model folder, or a bundled model: the judge's adapter begins as a copy of its own.
        folder: of the run.
        options: how long it takes.
        progress: of the steps.
        cpu: leave accelerators alone.

    Returns:
        The percentage of pairs of the val split that the best checkpoint judges right.

    Raises:
        Interrupted: it was asked to stop, and has saved.
    """
    progress = progress or Silent()
    settings = models.read_resolved(models.find(weights))
    torch.manual_seed(options.seed)
    stage = JudgeStage(_with_adapter(LlavaOptions(**settings.options["llava"]), models.find(weights) / mmi.ADAPTER))
    validation = JudgePairs(_split("val", None), 64, options.seed)
    batches = [validation.draw(64, np.random.default_rng([options.seed, row])) for row in range(_VALIDATION_BATCHES)]
    progress.begin("judge", options.steps)
    trainer = Trainer(
        stage,
        JudgePairs(_split("train", options.videos), options.batch, options.seed),
        _train_options(options),
        folder,
        validate=lambda model: right_judgements(model, batches),
        on_step=lambda report: _show(report, progress),
        config=options.model_dump(mode="json"),
        resume=True,
        cpu=cpu,
    )
    progress.advance(trainer.step)
    outcome = trainer.run()
    if not outcome.finished:  # what it is worth so far is no judge
        raise Interrupted
    assert outcome.best is not None
    checkpoint.load_trained(stage, checkpoint.folder_of(folder / "checkpoints", outcome.best.step))
    lora.save(stage.llava.model, folder / mmi.JUDGE)
    record = {**checkpoint.origin(), "step": outcome.best.step, "right": outcome.best.value}
    write_json(folder / RECORD, record | {"options": options.model_dump(mode="json")})
    return outcome.best.value


def _train_options(options: JudgeTrainingOptions) -> TrainOptions:
    every = max(1, options.steps // _VALIDATIONS)
    return TrainOptions(
        stages=(Stage(name="judge", steps=options.steps, weights={_TERM: 1.0}),),
        learning_rates={"lora": options.rate, "temperature": options.rate},
        warmup=0.05,
        precision=options.precision,
        seed=options.seed,
        validate_every=every,
        save_every=every,
        keep=1,
    )


def _show(report: StepReport, progress: Progress) -> None:
    """Count a step, and show what the validations say."""
    progress.advance()
    if "validation" in report.values:
        progress.say(f"step {report.step}: loss {report.values['loss']:.3f}, {report.values['validation']:.1f} % right")


class JudgeStage(nn.Module):
    """A LLaVA whose adapter learns to judge (`train.protocol.Trainable`); term: `judged`, L_s."""

    def __init__(self, llava: Llava) -> None:
        super().__init__()
        self.llava = llava

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the adapter as `lora`."""
        return {"lora": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return `judged`, the mean cross-entropy of p on the pairs of a batch."""
        yes, no, match = self.read(batch)
        return {"judged": skeleton_cross_entropy(yes, no, match)}

    def read(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits (B,) of both answers, and which pairs match, those of like length together."""
        template = prompt_templates.judge()
        prompts = template.prompts(self.llava.quote, batch["text"], batch["video"])
        device = self.llava.base.get_input_embeddings().weight.device
        groups = groups_of_like_length([len(prompt) for prompt in prompts], _LENGTH_GROUPS, device)
        logits = torch.cat(
            [self.llava.logits(self.llava(self.llava.inputs([prompts[row] for row in rows]))) for rows in groups]
        )  # (B, V)
        yes, no = (self.llava.first_token_id(word) for word in (template.positive, template.negative))
        return logits[:, yes], logits[:, no], batch["match"].to(device)[[row for rows in groups for row in rows]]


@torch.no_grad()
def right_judgements(stage: JudgeStage, batches: Iterable[Mapping[str, Any]]) -> float:
    """Return the percentage of pairs that are judged right."""
    right: list[bool] = []
    for batch in batches:
        yes, no, match = stage.read(batch)
        right += ((yes > no) == match).tolist()
    return 100 * float(np.mean(right))


def _with_adapter(options: LlavaOptions, folder: Path) -> Llava:
    """Return the base with a trainable copy of its adapter. UsageError where it was trained without one."""
    if options.lora is None or not folder.is_dir():
        raise UsageError(f"{folder}: no adapter here, which a judge's could begin as")
    base = llava.load(options, device="cpu")
    lora_options = options.lora.model_copy(update={"dropout": 0.0})
    return Llava(lora.attach_copy(base.model, lora_options, folder), base.tokenizer, options.grid, adapted=True)


def _split(name: str, count: int | None) -> Any:
    return plugins.build("datasets", "moving_shapes", {"split": name, "count": count})
