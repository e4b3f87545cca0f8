"""CLIP-PAD: a face, or a picture of a thing, stands as a word in the sentence that CLIP reads.

Source: Korbar and Zisserman, "Personalised CLIP or: how to find your vacation videos", BMVC 2022. A descriptor of the
face becomes, by two linear layers, the word vector TOK; CLIP's text tower reads the whole sentence, and a video is the
mean of its key images, as in `clip4clip`.

model        the model behind the protocol, and its folder
network      what is trained: the way from a descriptor to a word, and the text tower
persons      persons of queries as vectors; who describes them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...types import Availability, Variant
from .model import PERSONS, TEXT, ClipPad, Options

__all__ = ["CHECKPOINT", "CHECKPOINTS", "PERSONS", "TEXT", "TRAINED", "VARIANTS", "ClipPad", "Options"]

CHECKPOINT = "checkpoint"
CHECKPOINTS = {"checkpoint": "clip"}
TRAINED = (PERSONS, TEXT)


def _mix(image: float, text: float, both: float) -> Mapping[str, object]:
    return {"data": {"persons": {"mix": {"image": image, "text": text, "both": both}}}}


def _untrained(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "clip_pad", **{key: value for key, value in options.items() if key != "weights"}}


# Section 4 of the paper, and what it leaves open. Each row is measured with names, faces, and both.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("MLP and text tower, 60 % faces, 20 % names, 20 % both"),
    "untrained": Variant("nothing", baseline=_untrained),
    "mlp": Variant("MLP alone", {"train": "mlp"}),
    "text": Variant("text tower alone, names alone", {"train": "text"}, settings=_mix(0, 1, 0)),
    "100-0-0": Variant("faces alone", settings=_mix(1, 0, 0)),
    "40-30-30": Variant("40 % faces, 30 % names, 30 % both", settings=_mix(0.4, 0.3, 0.3)),
    "20-60-20": Variant("20 % faces, 60 % names, 20 % both", settings=_mix(0.2, 0.6, 0.2)),
    "same-picture": Variant(
        "the face is that of the picture to be found", settings={"data": {"persons": {"same_picture": True}}}
    ),
}


def build(options: Options, *, device: str) -> ClipPad:
    return ClipPad(options, device)


def trainable(options: Options, *, device: str) -> ClipPad:
    """Return the model with what training changes: new, or that of `weights`."""
    return ClipPad(options, device)


def reads_checkpoint(name: str) -> bool:
    """Return false: a bare CLIP checkpoint means `clip4clip`; words for faces have to be learned."""
    return False


def availability() -> Sequence[Availability]:
    return [Availability(False, "trained words for faces: scripts/make_faces_model.py makes the model moving-faces")]
