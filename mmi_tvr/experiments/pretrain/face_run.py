"""The run of the stage "faces" (`faces`), and what it leaves: a checkpoint of the CLIP layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ...datasets.moving_faces import Dice, invented_names
from ...encoders import hub
from ...evaluation import metrics
from ...train.loop import StepReport, Trainer
from ...train.protocol import Batch
from ...utils.interruption import Interrupted
from . import layout
from .faces import SIDE, FaceBatches, FaceTowers, true_of
from .options import FaceStageOptions

_START = "moving-shapes/base/clip"  # whose vision tower is taken on
_TOKENIZER_BATCHES, _TOKENIZER_NAMES = 8, 1000  # what the tokenizer learns from; the names are nobody's
_VALIDATION = 500  # pictures of people of the val and test splits
_STREAM = 32  # of dice


def pretrain_towers(
    folder: Path,
    options: FaceStageOptions,
    *,
    on_step: Callable[[StepReport], None] = lambda report: None,
    cpu: bool = False,
) -> float:
    """Make the checkpoint `folder/clip`, and return how well it reads descriptions of people whom it has never seen:
    R@1 in percent of descriptions among 500 pictures, any picture that a description is true of being right.

    Call it again after an interruption.

    Args:
        folder: of the run and of the checkpoint.
        options: how long it takes.
        on_step: called after every step.
        cpu: leave accelerators alone.

    Raises:
        Interrupted: SIGTERM came, and the run is saved up to there (`utils.interruption`).
    """
    batches = FaceBatches(options.batch, options.seed)
    tokenizer = _tokenizer(options.seed)
    torch.manual_seed(options.seed)
    clip = layout.new_clip(tokenizer, SIDE)
    take_on_vision(clip, hub.checkpoint_tensors(hub.locate(_START)))
    model = FaceTowers(clip, tokenizer)
    held_out = FaceBatches(_VALIDATION, options.seed, held_out_people=True).batch(0)

    def measure(_: object) -> float:
        return description_recall(model, held_out)

    trainer = Trainer(
        model,
        batches,
        options.train_options(("pictures", "facts"), ("layers", "towers"), weight_decay=0.05, validations=8),
        folder / "towers",
        validate=measure,
        on_step=on_step,
        config={"faces": options.model_dump(mode="json")},
        resume=True,
        cpu=cpu,
    )
    if not trainer.run().finished:
        raise Interrupted
    model.eval()
    layout.save_clip(folder / "clip", clip, tokenizer)
    with torch.no_grad():
        return measure(model)


def _tokenizer(seed: int) -> Any:
    """Return a tokenizer of descriptions, and of invented names: those of real people are in CLIP's vocabulary too."""
    data = FaceBatches(layout.WIDTH, seed)
    texts = [text for number in range(_TOKENIZER_BATCHES) for text in data.batch(number)["texts"]]
    return layout.clip_tokenizer([*texts, *invented_names(_TOKENIZER_NAMES, Dice(_STREAM, seed))])


def take_on_vision(clip: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Put the vision tower of a checkpoint into a CLIPModel, for pictures of another size: the positions of its patches
    are interpolated."""
    name = "vision_model.embeddings.position_embedding.weight"
    state = {key: tensor.float() for key, tensor in tensors.items() if key.startswith("vision_model.")}
    positions = state[name]
    target = clip.state_dict()[name]
    side, target_side = (round((len(rows) - 1) ** 0.5) for rows in (positions, target))
    square = positions[1:].T.reshape(1, -1, side, side)
    larger = functional.interpolate(square, (target_side, target_side), mode="bicubic", align_corners=False)
    state[name] = torch.cat([positions[:1], larger[0].flatten(1).T])
    clip.load_state_dict(clip.state_dict() | state)


@torch.no_grad()
def description_recall(model: FaceTowers, batch: Batch) -> float:
    """Return R@1 in percent of the descriptions of a batch among its pictures."""
    texts, pictures = model.texts(batch["texts"]), model.pictures(batch["pixels"])
    scores = functional.normalize(texts.float(), dim=-1) @ functional.normalize(pictures.float(), dim=-1).T
    right = [set(row.nonzero().flatten().tolist()) for row in true_of(batch)]
    return metrics.summary(metrics.ranks([scores.cpu().numpy()], right), resamples=0).r1
