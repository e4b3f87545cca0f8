"""LaT: texts and videos are translated into each other's space, and compared in both.

Source: Bai et al., "LaT: Latent Translation with Cycle-Consistency for Video-Text Retrieval", 2022. Decision: towers of
the CLIP layout, frozen, in place of trained ones.

model     the model behind the protocol, and its folder
network   what is trained: both translators, and the losses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...types import Availability, Variant
from .model import TRANSLATORS, Lat, Options

__all__ = ["CHECKPOINT", "CHECKPOINTS", "TRAINED", "TRANSLATORS", "VARIANTS", "Lat", "Options"]

CHECKPOINT = "weights"
CHECKPOINTS = {"checkpoint": "clip"}
TRAINED = (TRANSLATORS,)


def _untranslated(options: Mapping[str, Any]) -> dict[str, Any]:
    """The towers' own common space, by [CLS] alone: what they were trained to compare."""
    values = {"space": "joint", "translator": {"kind": "none"}, "search_levels": "global"}
    return {"name": "lat", "checkpoint": options["checkpoint"], **values}


def _translator(**changes: Any) -> dict[str, Any]:
    return {"translator": changes}


# Tables 4 to 7 of the paper, and what it does not try. Its own numbers are of a zero-shot search, without V2T.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("full model: decoder, both spaces"),
    "paper-retrieval": Variant("each direction in the space that it searches", {"retrieval": "paper"}),
    "transformer": Variant("transformer", _translator(kind="transformer")),
    "linear": Variant("perceptron", _translator(kind="linear")),
    "none": Variant("no translator, untrained", baseline=_untranslated),
    "depth-1": Variant("depth 1", _translator(depth=1)),
    "depth-2": Variant("depth 2", _translator(depth=2)),
    "depth-4": Variant("depth 4", _translator(depth=4)),
    "queries-8": Variant("8 queries towards text", {"text_queries": 8}),
    "queries-15": Variant("15 queries towards text", {"text_queries": 15}),
    "queries-60": Variant("60 queries towards text", {"text_queries": 60}),
    "global": Variant("global level alone", {"levels": "global"}),
    "token": Variant("token level alone", {"levels": "token", "search_levels": "token"}),
    "both-levels": Variant("searched by both levels", {"search_levels": "both"}),
    "no-cycle": Variant("no cycle loss", {"cycle": False}, without_terms=frozenset({"cycle"})),
    "symmetric": Variant("both normalisations in each space", {"symmetric": True}),
}


def build(options: Options, *, device: str) -> Lat:
    return Lat(options, device)


def trainable(options: Options, *, device: str) -> Lat:
    """Return the model with what training changes: new translators, or those of `weights`."""
    return Lat(options, device, trainable=True)


def reads_checkpoint(name: str) -> bool:
    """Return false: a bare CLIP checkpoint means `clip4clip`; translators have to be trained."""
    return False


def availability() -> Sequence[Availability]:
    return [Availability(False, "trained translators: scripts/train.py --config configs/lat-moving-shapes.yaml")]
