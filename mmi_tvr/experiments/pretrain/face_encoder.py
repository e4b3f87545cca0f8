"""The encoder of drawn faces (`people/faces/drawn`): a detector, and a descriptor that tells the 400 training people of
moving faces apart.

Sources: CenterNet for the detector (Zhou et al., "Objects as Points", 2019), CosFace for the descriptor (Wang et al.,
CVPR 2018): the softmax of identities on cosines, those of the right ones less a margin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from ...datasets.moving_faces import DOINGS, PLACES, TEST, TRAIN, VAL, Dice, draw_scene, face_box, render_frames
from ...nn.drawn_faces import STRIDE, WIDTH, DrawnFaceNetworks
from ...train.loop import StepReport, Trainer
from ...train.protocol import Batch
from ...utils.files import write_atomically
from ...utils.interruption import Interrupted
from .faces import SIDE, pixels
from .options import FaceStageOptions

FILE = "faces.safetensors"
_SCALE, _MARGIN = 20.0, 0.2  # of CosFace
_JITTER = 0.08  # of a face's side: detectors do not place boxes better than that
_BATCHES = 100  # of what is called an epoch
_STREAM = 33  # of dice
_MOMENT = 1.0  # seconds: how late a picture may be taken
_PAIRS_PICTURES = 10  # of each person of val or test, from which pairs are made


class Verification(NamedTuple):
    """How well descriptors tell people apart: the equal error rate in percent, the cosine at which both errors are
    equal, the number of pairs; and how many faces were detected, in percent."""

    error_rate: float
    threshold: float
    pairs: int
    detected: float


class FaceNetworksInTraining(nn.Module):
    """Both networks in training (`train.protocol.Trainable`); terms `boxes` and `people`."""

    def __init__(self) -> None:
        super().__init__()
        self.networks = DrawnFaceNetworks()
        self.people = nn.Parameter(torch.randn(len(TRAIN), WIDTH))

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {"networks": list(self.parameters())}

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        pictures, boxes = batch["pixels"], batch["boxes"]
        return {"boxes": self._box_loss(pictures, boxes), "people": self._people_loss(batch)}

    def _box_loss(self, pictures: Tensor, boxes: Tensor) -> Tensor:
        logits, predicted = self.networks.cells(pictures)
        rows = torch.arange(len(boxes), device=boxes.device)
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE).long()
        x, y = middle[:, 0], middle[:, 1]
        cells = functional.cross_entropy(logits.float().flatten(1), y * logits.shape[2] + x)
        targets = torch.zeros_like(logits)
        targets[rows, y, x] = 1
        certain = functional.binary_cross_entropy_with_logits(logits.float(), targets)
        return cells + 10 * certain + functional.l1_loss(predicted[rows, y, x].float(), boxes) / STRIDE

    def _people_loss(self, batch: Mapping[str, Any]) -> Tensor:
        descriptors = self.networks.describe(batch["pixels"], batch["jittered"])
        cosines = descriptors @ functional.normalize(self.people, dim=-1).T
        right = functional.one_hot(batch["people"], len(TRAIN))
        return functional.cross_entropy(_SCALE * (cosines - _MARGIN * right), batch["people"])


class FacePictures:
    """Pictures of people, in ever new scenes (`train.protocol.EpochDataLoader`)."""

    def __init__(self, people: range, size: int, seed: int) -> None:
        self._people, self._size, self._seed = people, size, seed

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        for batch in range(skip, _BATCHES):
            dice = Dice(_STREAM, self._seed, self._people.start, number * _BATCHES + batch)
            yield self.batch([dice.pick(self._people) for _ in range(self._size)], dice)

    def batch(self, people: list[int], dice: Dice) -> Batch:
        """Return pixels (B, 3, H, W), boxes and jittered ones (B, 4), and the numbers of these people (B,)."""
        pictures, boxes = [], []
        for person in people:
            scene, time = draw_scene(dice, person, dice.pick(DOINGS), dice.pick(PLACES)), dice.below(1001) / 1000
            pictures.append(render_frames(scene, [time * _MOMENT], SIDE)[0])
            boxes.append(face_box(scene, time * _MOMENT, SIDE))
        exact = torch.tensor(boxes)
        random = torch.tensor([[dice.between(-1000, 1000) / 1000 for _ in range(3)] for _ in people])
        move = random * _JITTER * (exact[:, 2:3] - exact[:, :1])
        change = torch.stack([move[:, 0] - move[:, 2], move[:, 1] - move[:, 2]], dim=1)
        change = torch.cat([change, change + 2 * move[:, 2:]], dim=1)
        return {
            "ids": people,
            "pixels": pixels(pictures),
            "boxes": exact,
            "jittered": exact + change,
            "people": torch.tensor(people) - self._people.start,
        }


def pretrain_encoder(
    folder: Path,
    options: FaceStageOptions,
    *,
    on_step: Callable[[StepReport], None] = lambda report: None,
    cpu: bool = False,
) -> dict[str, Verification]:
    """Make the file `folder/faces.safetensors`, and return how well it verifies people of `val` and `test`, none of
    whom it was trained on. Call it again after an interruption.

    Args:
        folder: of the run and of the file.
        options: how long it takes.
        on_step: called after every step.
        cpu: leave accelerators alone.

    Raises:
        Interrupted: SIGTERM came, and the run is saved up to there (`utils.interruption`).
    """
    torch.manual_seed(options.seed)
    model = FaceNetworksInTraining()
    trainer = Trainer(
        model,
        FacePictures(TRAIN, options.batch, options.seed),
        options.train_options(("boxes", "people"), ("networks",), weight_decay=0.01, validations=4),
        folder / "encoder",
        validate=lambda _: -verify(model.networks, VAL, options.seed).error_rate,
        on_step=on_step,
        config={"encoder": options.model_dump(mode="json")},
        resume=True,
        cpu=cpu,
    )
    if not trainer.run().finished:
        raise Interrupted
    networks = model.networks.eval().cpu()
    half = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in networks.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, save(half))
    return {name: verify(networks, people, options.seed) for name, people in (("val", VAL), ("test", TEST))}


@torch.no_grad()
def verify(networks: DrawnFaceNetworks, people: range, seed: int) -> Verification:
    """Return how well descriptors of detected faces tell people apart: of every pair of their pictures, whether both
    show one person. Each picture's likeliest box counts."""
    dice = Dice(_STREAM, seed, people.start)
    numbers = [person for person in people for _ in range(_PAIRS_PICTURES)]
    batch = FacePictures(people, 1, seed).batch(numbers, dice)
    logits, boxes = networks.cells(batch["pixels"])
    best = logits.flatten(1).argmax(dim=1)
    chosen = boxes.flatten(1, 2)[torch.arange(len(numbers)), best]
    descriptors = networks.describe(batch["pixels"], chosen).numpy()
    same = np.equal.outer(numbers, numbers)
    upper = np.triu_indices(len(numbers), 1)
    return verification((descriptors @ descriptors.T)[upper], same[upper], float(_overlap(chosen, batch["boxes"])))


def verification(
    cosines: np.ndarray[Any, Any], same: np.ndarray[Any, np.dtype[np.bool_]], detected: float
) -> Verification:
    """Return the figures of pairs from their cosines (P,), and whether each is of one person (P,)."""
    thresholds = np.unique(cosines[same])
    missed = np.searchsorted(np.sort(cosines[same]), thresholds, side="left") / same.sum()
    others = np.sort(cosines[~same])
    accepted = 1 - np.searchsorted(others, thresholds, side="left") / len(others)
    best = int(np.abs(missed - accepted).argmin())
    error_rate = 100 * float(missed[best] + accepted[best]) / 2
    return Verification(error_rate, float(thresholds[best]), len(cosines), detected)


def _overlap(boxes: Tensor, truth: Tensor) -> Tensor:
    """Return the percentage of boxes that cover the true ones by half (intersection over union)."""
    sides = torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])
    common = sides.clamp(min=0).prod(dim=1)
    areas = [(one[:, 2:] - one[:, :2]).prod(dim=1) for one in (boxes, truth)]
    return 100 * (common / (areas[0] + areas[1] - common) >= 0.5).float().mean()
