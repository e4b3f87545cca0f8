"""What is true of a video as class numbers, and a linear reading of them from a vector.

Twins alone teach order and relations late: while their vectors are equal, the contrast between them has next to no
gradient. Asking a vector plainly what happens first, and who does it, has one from the first step. The questions are
those of `datasets.moving_shapes.questions` on entities, attributes, counts, actions, relations and order; the answers
are classes instead of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...datasets.moving_shapes import ACTIONS, COLOURS, SHAPES, Spec, visible_shapes
from ...nn.losses import IGNORE_INDEX

MOST = 3  # things of a video, and events
_NUMBERS = (1, 2, 3)
_EVENT = (len(ACTIONS), len(COLOURS), len(SHAPES))
_THING = (len(COLOURS), len(SHAPES), len(_NUMBERS))
_PLACED = (2, len(COLOURS), len(SHAPES), len(COLOURS), len(SHAPES))  # the axis, and who stands where on it
# Variances of x and y of a point that is anywhere in the picture, about those of radii, and of being turned.
_SPREADS = (1 / 12, 1 / 12, 4e-4, 0.02)
# An event or thing has one class more, the last: there is none.
SIZES = (*(size + 1 for size in (*_EVENT * MOST, *_THING * MOST)), *_PLACED)
LATEST = (*(size + 1 for size in _EVENT), MOST + 1)  # what `latest_events` says of each key image
_BEGUN = 0.25  # share of an event that has to be over before a picture shows it


def facts(specs: Sequence[Spec], from_captions: bool) -> Tensor:
    """Return the classes (B, F) of each spec: events in order, things by name, and who stands on the left (or above) of
    whom.

    from_captions: what captions say, so that a relation which none of them mentions is IGNORE_INDEX; else what pictures
    show.
    """
    return torch.tensor([_facts(spec, from_captions) for spec in specs])


def relation_facts(specs: Sequence[Spec]) -> Tensor:
    """Return facts as `facts` does, of a text that states the relation alone: all else is IGNORE_INDEX."""
    classes = facts(specs, from_captions=False)
    classes[:, : -len(_PLACED)] = IGNORE_INDEX
    return classes


def latest_events(spec: Spec, times: Sequence[float]) -> list[list[int]]:
    """Return, of each of these times (seconds), action, colour and shape of the event that began last, and how many
    began."""
    rows = []
    for time in times:
        begun = sum(time >= (start + _BEGUN * spec.length) / 1000 for start in spec.starts)
        rows.append([*(_event(spec, begun - 1) if begun else _EVENT), begun])
    return rows


class FactReader(nn.Module):
    """Linear classifiers of every fact on one vector; `sizes` are the numbers of classes."""

    def __init__(self, width: int, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self.read = nn.Linear(width, sum(sizes))
        # Of each fact the columns of `read` that score its classes, filled up with one behind the last: (F, C).
        columns = [range(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]
        filled = [[*numbers, *[sum(sizes)] * (max(sizes) - len(numbers))] for numbers in columns]
        self.register_buffer("columns", torch.tensor(filled), persistent=False)
        self.columns: Tensor

    def forward(self, vectors: Tensor, classes: Tensor) -> Tensor:
        """Return the mean cross-entropy of (B, D) vectors and (B, F) classes."""
        scores = functional.pad(self.read(vectors).float(), (0, 1), value=-torch.inf)[:, self.columns]  # (B, F, C)
        losses = functional.cross_entropy(
            scores.flatten(0, 1), classes.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        ).view_as(classes)
        known = (classes != IGNORE_INDEX).sum(dim=0).clamp(min=1)  # (F,)
        return (losses.sum(dim=0) / known).mean()


def places(spec: Spec, time: float) -> Tensor:
    """Return, of every colour and shape at a time (seconds), whether it is visible, and the means of what has it: x, y,
    radius, and how far it is turned (`datasets.moving_shapes.VisibleShape`). (8 colours + 6 shapes, 5)."""
    visible = visible_shapes(spec, time)
    rows = []
    for index, words in ((1, COLOURS), (2, SHAPES)):
        for word in words:
            values = [(*shape.centre, shape.radius, shape.turned) for shape in visible if shape[index] == word]
            means = [0.0] * len(_SPREADS)
            if values:
                means = [sum(column) / len(values) for column in zip(*values, strict=True)]
            rows.append([float(bool(values)), *means])
    return torch.tensor(rows)


class PlaceReader(nn.Module):
    """A linear reading of `places` from a picture's vector.

    Descriptions among random others hardly ever ask where a thing stands, and a tower that is not asked does not say:
    without this, hardly any of the variance of a lone shape's place is in the vector of its picture, and neither the
    direction of a motion nor a relation can be learned from key images. A tower that is asked for places alone says
    nothing of angles and little of sizes, so that spins are taken for something else.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, (1 + len(_SPREADS)) * (len(COLOURS) + len(SHAPES)))
        self.register_buffer("spreads", torch.tensor(_SPREADS), persistent=False)
        self.spreads: Tensor

    def forward(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of (B, D) vectors and (B, C, 5) places: visible or not, and half the squared errors of the
        visible ones' other values, each as a share of that value's variance."""
        predicted = self.read(vectors).float().view_as(targets)
        visible = targets[..., 0]
        presence = functional.binary_cross_entropy_with_logits(predicted[..., 0], visible)
        error = ((predicted[..., 1:] * self.spreads.sqrt() - targets[..., 1:]) ** 2 / self.spreads).sum(dim=-1) / 2
        loss: Tensor = presence + (error * visible).sum() / visible.sum().clamp(min=1)
        return loss


def _facts(spec: Spec, from_captions: bool) -> list[int]:
    classes: list[int] = []
    for number in range(len(spec.events)):
        classes += _event(spec, number)
    classes += list(_EVENT) * (MOST - len(spec.events))
    for thing in sorted(spec.things, key=lambda thing: thing.name):
        classes += [COLOURS.index(thing.colour), SHAPES.index(thing.shape), _NUMBERS.index(thing.count)]
    classes += list(_THING) * (MOST - len(spec.things))
    if not spec.relation or (from_captions and not spec.relation_stated):
        return [*classes, *[IGNORE_INDEX] * len(_PLACED)]
    first, second = spec.things[:2] if spec.relation in ("left", "above") else spec.things[1::-1]
    classes.append(int(spec.relation in ("above", "below")))
    for thing in (first, second):
        classes += [COLOURS.index(thing.colour), SHAPES.index(thing.shape)]
    return classes


def _event(spec: Spec, number: int) -> tuple[int, int, int]:
    event = spec.events[number]
    actor = spec.things[event.actor]
    return ACTIONS.index(event.action), COLOURS.index(actor.colour), SHAPES.index(actor.shape)
