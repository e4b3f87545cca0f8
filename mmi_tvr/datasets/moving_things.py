"""Things as persons: moving shapes in whose sentences a coloured shape is said by its name, or by a picture of it.

The videos are those of `moving_shapes`. A person is a colour with a shape, such as the red ring: 48 of them, of which
12 are never among those that a training says (`HELD_OUT`), though every colour and every shape is. A sentence says one
event, or a whole video. Pictures of a thing show it alone, and are in no video.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from .. import plugins
from ..types import EvaluationQuery, Person, PersonPicture, Query, Sample, Video
from ..utils import array_cache
from ..utils.files import write_atomically
from ..utils.loading import late_property
from ._moving_shapes.captions import definite, direction, noun, verbs
from ._moving_shapes.dice import Dice
from ._moving_shapes.generate import draw
from ._moving_shapes.moments import single_event
from ._moving_shapes.partial import without_surroundings
from ._moving_shapes.picture import render_frames
from ._moving_shapes.world import COLOURS, SHAPES, Spec, Thing, ThingName, describes
from .moving_shapes import MovingShapes
from .moving_shapes import Options as ShapeOptions

HELD_OUT = frozenset(
    f"{COLOURS[(row + step) % len(COLOURS)]} {shape}" for row, shape in enumerate(SHAPES) for step in (0, 3)
)
_THINGS = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
_STREAM = 7  # of the random numbers of pictures
_WHOLE = 8  # descriptions of a video: the first English ones
_PICTURES = 1  # version of the pictures: other pixels need another number
_NOBODY = Person(np.zeros((0, 0), np.float32), "")


class Options(plugins.BaseOptions):
    split: Literal["train", "val", "test"] = Field("test", description="of moving shapes")
    count: int | None = Field(None, ge=1, description="the first so many videos; default: the whole split")
    captions: Literal["events", "whole", "both"] = Field(
        "events", description="sentences of a sample: single events, whole descriptions of the video, or both"
    )
    handles: Literal["actor", "all"] = Field(
        "actor", description="what is a handle in a caption: the thing that the sample is of, or every single thing"
    )
    pictures: int = Field(16, ge=2, le=1000, description="pictures of each thing")
    root: Path | None = Field(None, description="folder of the files; default: in the cache ($MMI_TVR_CACHE)")


def build(options: Options) -> MovingThings:
    """Return the split that the options name. Nothing is rendered yet."""
    return MovingThings(options)


class MovingThings:
    """One split (`protocols.PersonDataset`, `QueryDataset`). The handle of a thing is its name.

    A sample is of the thing that acts first in its video, if it is a single one; in `train`, if it is not held out.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        videos = {"split": options.split, "count": options.count, "root": self._folder / "moving_shapes"}
        self._shapes = MovingShapes(ShapeOptions(**videos, captions=_WHOLE))

    @property
    def _folder(self) -> Path:
        return self.options.root or array_cache.folder()

    def samples(self) -> Sequence[Sample]:
        """Return the samples. Captions say the events of the thing that a sample is of, or its whole video, and have
        the handle; of a sample that is of nobody, the first event, or the whole video."""
        return self._samples

    @late_property
    def _samples(self) -> list[Sample]:
        return [
            Sample(self._shapes.sample_id(number), Video(self._shapes.path(number)), self._captions(number))
            for number in range(len(self._shapes.specs()))
        ]

    def _captions(self, number: int) -> tuple[str, ...]:
        events = self._event_captions(number) if self.options.captions != "whole" else ()
        return events + (self._whole_captions(number) if self.options.captions != "events" else ())

    def _whole_captions(self, number: int) -> tuple[str, ...]:
        spec, texts = self._shapes.specs()[number], self._shapes.sample(number).captions
        if not (actor := self._actor(spec)):
            return texts
        things = {actor, *filter(None, map(self._handle, spec.things if self.options.handles == "all" else ()))}
        for thing in things:
            texts = tuple(re.sub(rf"\b{thing}\b", f"[{thing}]", text) for text in texts)
        return texts

    def _event_captions(self, number: int) -> tuple[str, ...]:
        spec = self._shapes.specs()[number]
        events = self._events(spec)
        if not (thing := self._actor(spec)):
            first = events[0]
            return tuple(_sentences(first, definite(first.things[first.events[0].actor])))
        events = [event for event in events if noun(event.things[event.events[0].actor]) == thing]
        events = [event for event in events if not self._true_of_a_twin(event, number)] or events
        by_handle = self.options.handles == "all"
        return tuple(
            dict.fromkeys(
                text
                for event in events
                for text in _sentences(event, f"the [{thing}]", self._object(event) if by_handle else "")
            )
        )

    def _object(self, event: Spec) -> str:
        """Return the thing that an event is done to, by its handle; "" where it has none, or there is no such thing."""
        other = event.events[0].other
        thing = self._handle(event.things[other]) if other >= 0 else ""
        return f"the [{thing}]" if thing else ""

    def _true_of_a_twin(self, event: Spec, number: int) -> bool:
        specs = self._shapes.specs()
        return any(describes(event, specs[twin]) for twin in self._twins[number] if twin != number)

    @late_property
    def _twins(self) -> Mapping[int, Sequence[int]]:
        """The numbers of each sample and its twins."""
        return {number: group for group in self._shapes.groups() for number in group}

    def groups(self) -> list[list[int]]:
        """Return the numbers of samples that are twins and have captions that are false of each other; others alone.

        A twin that differs in what is done keeps a model from reading things alone.
        """
        groups: list[list[int]] = []
        specs = self._shapes.specs()
        for group in self._shapes.groups():
            apart = [number for number in group if self._says_what_twins_do_not(specs[number], number)]
            groups += [apart] if apart else []
            groups += [[number] for number in group if number not in apart]
        return groups

    def _says_what_twins_do_not(self, spec: Spec, number: int) -> bool:
        thing = self._actor(spec)
        return any(
            noun(event.things[event.events[0].actor]) == thing and not self._true_of_a_twin(event, number)
            for event in self._events(spec)
        )

    def pending(self, limit: int | None = None) -> list[int]:
        """Return the numbers of the samples, among the first `limit`, whose file is not there."""
        return self._shapes.pending(limit)

    def generate(self, limit: int | None = None, advance: Callable[[], object] = lambda: None) -> None:
        """Render the files that are not there, of videos; pictures are drawn when they are asked for."""
        self._shapes.generate(limit, advance)

    def identities(self) -> list[str]:
        """Return the thing that each sample is of; "" where it is of none."""
        return [self._actor(spec) for spec in self._shapes.specs()]

    def person_names(self) -> dict[str, str]:
        """Return the name of each thing, which is its handle."""
        return {thing: thing for thing in _THINGS}

    def person_pictures(self) -> dict[str, list[PersonPicture]]:
        """Return pictures of each thing, drawn where they are not there; of each split others."""
        things = [thing for thing in _THINGS if self.options.split != "train" or thing not in HELD_OUT]
        return {thing: [self._picture(thing, number) for number in range(self.options.pictures)] for thing in things}

    def evaluation_queries(self) -> list[EvaluationQuery]:
        """Return queries by group.

        "single/seen", "single/unseen": a thing; "compound/...": an event of a thing; "text_only": an event of several
        equal things, which nobody has a picture of.
        """
        queries: dict[str, EvaluationQuery] = {}
        for spec in self._shapes.specs():
            for event in self._events(spec):
                actor = event.things[event.events[0].actor]
                thing = noun(actor)
                if actor.count > 1:
                    text = _sentences(event, definite(actor))[0]
                    queries.setdefault(text, EvaluationQuery(Query(text), self._right(event), "text_only"))
                    continue
                group = "unseen" if thing in HELD_OUT else "seen"
                alone = replace(event, things=(actor,), relation="", events=(), starts=())
                for kind, sentence, scene in (
                    ("single", f"a [{thing}]", alone),
                    ("compound", _sentences(event, f"the [{thing}]")[0], event),
                ):
                    if sentence not in queries:
                        query = Query(sentence, persons={thing: replace(_NOBODY, name=thing)})
                        queries[sentence] = EvaluationQuery(query, self._right(scene), f"{kind}/{group}")
        return list(queries.values())

    def _actor(self, spec: Spec) -> str:
        return self._handle(spec.things[spec.events[0].actor])

    def _handle(self, thing: Thing) -> str:
        """Return the handle of a thing; "" of several ones, and of those that a training says by no picture."""
        name = noun(thing)
        return "" if thing.count > 1 or (self.options.split == "train" and name in HELD_OUT) else name

    @staticmethod
    def _events(spec: Spec) -> list[Spec]:
        """Return each event with nothing but the things that take part in it."""
        return [without_surroundings(single_event(spec, event)) for event in range(len(spec.events))]

    def _right(self, described: Spec) -> frozenset[str]:
        """Return the ids of the samples that a description is true of."""
        candidates = set.intersection(*(self._showing[thing.name] for thing in described.things))
        specs = self._shapes.specs()
        return frozenset(self._shapes.sample_id(number) for number in candidates if describes(described, specs[number]))

    @late_property
    def _showing(self) -> Mapping[ThingName, set[int]]:
        """The videos that show a thing."""
        showing: defaultdict[ThingName, set[int]] = defaultdict(set)
        for number, spec in enumerate(self._shapes.specs()):
            for thing in spec.things:
                showing[thing.name].add(number)
        return showing

    def _picture(self, thing: str, number: int) -> PersonPicture:
        """Return a picture of a thing alone, drawn where its file is not there."""
        name = f"{self.options.split}-{thing.replace(' ', '-')}-{number:03d}-{_PICTURES}.png"
        path = self._folder / "moving_things" / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            size = ShapeOptions.model_fields["size"].default
            Image.fromarray(render_frames(self._alone(thing, number), [0.0], size)[0]).save(buffer, "PNG")
            write_atomically(path, buffer.getvalue())
        return PersonPicture(Video(path, picture=True))

    def _alone(self, thing: str, number: int) -> Spec:
        colour, shape = thing.split()
        split = ("train", "val", "test").index(self.options.split)
        spec = draw(Dice(_STREAM, split, _THINGS.index(thing), number))
        alone = replace(spec.things[0], colour=colour, shape=shape, count=1)
        return replace(spec, things=(alone,), relation="", relation_stated=False, events=(), starts=())


def _sentences(event: Spec, subject: str, other: str = "") -> list[str]:
    """Return a scene's one event in all wordings of its verb, of which the first is the plain one.

    subject, other: who does it, and to whom; "": the thing that it is done to, by its name.
    """
    [act] = event.events
    plural = event.things[act.actor].count > 1
    blanks = {}
    if act.other >= 0:
        blanks = {"other": other or definite(event.things[act.other]), "way": direction(event, act)}
    return [f"{subject} {words.format(**blanks)}" for words in verbs(act.action, plural)]
