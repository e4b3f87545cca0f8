"""Pictures that somebody is known by, and the queries that ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...types import EvaluationQuery, Person, Query
from .captions import SOMEBODY, sentence
from .head import Box
from .identities import identities
from .picture import face_box
from .scenes import Scene, is_seen

Crop = Literal["tight", "loose"]
MOMENT = 0.5  # seconds into a scene at which somebody is portrayed
TEXT_ONLY = "text_only"
_WIDER = {"tight": 0.0, "loose": 1.0}  # of the height of a face: VGGFace2's pictures are so much wider than the face
_KINDS = {"single": (False, False), "action": (True, False), "place": (False, True), "compound": (True, True)}


def handle(identity: int) -> str:
    """Return what stands for a person in sentences: p0017."""
    return f"p{identity:04d}"


def portrait_box(scene: Scene, size: int, crop: Crop) -> Box:
    """Return left, top, right and bottom of the face in a portrait, in pixels, cut at the edges of the picture.

    Args:
        scene: of one person.
        size: width and height of the picture, in pixels.
        crop: the face, or as much again around it.
    """
    left, top, right, bottom = face_box(scene, MOMENT, size)
    more = _WIDER[crop] * (bottom - top) / 2
    return max(0.0, left - more), max(0.0, top - more), min(size, right + more), min(size, bottom + more)


def queries(scenes: Sequence[Scene], ids: Sequence[str]) -> list[EvaluationQuery]:
    """Return all queries about these scenes, with all that answer them; once each, in the order of their first answer.

    The groups: `single` asks for a person, `action` for a person and a doing, `place` for a person and a place,
    `compound` for all three, each of people seen in training (`single/seen`) and of unseen ones; `text_only` for a
    doing in a place.

    Args:
        scenes: the collection.
        ids: of their samples.
    """
    answers: dict[tuple[str, int, str], set[str]] = {}
    for scene, id_ in zip(scenes, ids, strict=True):
        who = f"[{handle(scene.identity)}]"
        seen = "seen" if is_seen(scene.identity) else "unseen"
        for kind, (doing, place) in _KINDS.items():
            question = f"{kind}/{seen}", scene.identity, sentence(who, scene, doing, place)
            answers.setdefault(question, set()).add(id_)
        answers.setdefault((TEXT_ONLY, -1, sentence(SOMEBODY, scene)), set()).add(id_)
    return [
        EvaluationQuery(Query(text, persons=_persons(identity)), frozenset(right), group)
        for (group, identity, text), right in answers.items()
    ]


def _persons(identity: int) -> dict[str, Person]:
    """Return the person of a query, without a face so far; -1: nobody."""
    if identity < 0:
        return {}
    return {handle(identity): Person(np.zeros((0, 0), np.float32), "", identities()[identity].name)}


def person_captions(scene: Scene) -> list[str]:
    """Return sentences about a scene that name the person by the handle: who it is; the doing, the place, both."""
    who = f"[{handle(scene.identity)}]"
    parts = ((False, False, True), (True, False, True), (True, False, False), (False, True, True))
    both = ((True, True, True), (True, True, False))
    return [sentence(who, scene, doing, place, finite) for doing, place, finite in (*parts, *both)]
