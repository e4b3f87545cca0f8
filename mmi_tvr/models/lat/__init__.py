"""LaT: texts and videos are translated into each other's space, and compared in both.

Source: Bai et al., "LaT: Latent Translation with Cycle-Consistency for Video-Text Retrieval", 2022. Its towers are a
space-time tower and a DistilBERT, which learn with the translators. Decision: towers of the CLIP layout, frozen, do as
well.

model     the model behind the protocol, and its folder
network   what is trained: both translators, the towers where they learn, and the losses
terms     names of the loss terms
towers    what both kinds of towers give the network
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...types import Availability, Published, Variant
from .model import TOWERS, TRANSLATORS, Lat, Options
from .terms import CYCLE, UNPAIRED

__all__ = ["CHECKPOINT", "CHECKPOINTS", "TOWERS", "TRAINED", "TRANSLATORS", "VARIANTS", "Lat", "Options"]

CHECKPOINT = "weights"
CHECKPOINTS = {
    "checkpoint": "clip",
    "new_towers.vit": "vit",
    "new_towers.distilbert": "distilbert",
    "new_towers.tokenizer": "tokenizer",
}
TRAINED = (TRANSLATORS, TOWERS)


def _untranslated(options: Mapping[str, Any]) -> dict[str, Any]:
    """The towers' own common space, by [CLS] alone: what they were trained to compare."""
    values = {"space": "joint", "translator": {"kind": "none"}, "search_levels": "global"}
    towers = {key: options[key] for key in ("checkpoint", "new_towers", "towers") if options.get(key)}
    return {"name": "lat", **towers, **values}


def _translator(**changes: Any) -> dict[str, Any]:
    return {"translator": changes}


def _token_by_token(kind: str) -> dict[str, Any]:
    """A translator without queries, which cannot give a second [CLS]."""
    return {"translator": {"kind": kind}, "changes": False}


def _zero_shot(*recalls_and_rank: float) -> Published:
    """What the paper prints of a row: text-to-video on MSR-VTT 1k-A, trained on WebVid2M alone."""
    return Published(recalls_and_rank, queries=1000)


def _searched(title: str, **changes: Any) -> Variant:
    """The full model as it is, searched otherwise."""
    return Variant(title, changes, trained_as="full")


_DEPTH_3 = _zero_shot(20.3, 41.1, 51.4, 9.5)
_PAIRS_5 = {"data": {"paired": 0.05}}

# Tables 4 to 7 of the paper, and what it does not try.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("full model: decoder of depth 3, both spaces, both levels", published=_DEPTH_3),
    "paper-retrieval": _searched("each direction in the space that it searches (the paper)", retrieval="paper"),
    "t2v-space": _searched("searched in the space of videos alone", retrieval="t2v"),
    "v2t-space": _searched("searched in the space of texts alone", retrieval="v2t"),
    "token-search": _searched("searched by the mean of the tokens", search_levels="token"),
    "both-levels": _searched("searched by [CLS] and the mean of the tokens", search_levels="both"),
    "changes": Variant("a second [CLS]: how key images change", {"changes": True}),
    "no-changes": Variant("no second [CLS]", {"changes": False}),
    "transformer": Variant("transformer", _token_by_token("transformer"), _zero_shot(19.4, 41.2, 50.4, 10.0)),
    "linear": Variant("perceptron", _token_by_token("linear"), _zero_shot(19.2, 38.9, 46.9, 12.0)),
    "linear-paper": Variant(
        "perceptron, each direction in the space that it searches",
        {"retrieval": "paper"},
        trained_as="linear",
    ),
    "none": Variant("no translator, untrained", published=_zero_shot(19.4, 38.6, 48.4, 11.5), baseline=_untranslated),
    "depth-1": Variant("depth 1", _translator(depth=1), _zero_shot(20.6, 40.2, 50.0, 10.5)),
    "depth-2": Variant("depth 2", _translator(depth=2), _zero_shot(20.7, 40.7, 50.2, 10.0)),
    "depth-4": Variant("depth 4", _translator(depth=4), _zero_shot(20.7, 39.9, 48.2, 11.0)),
    "queries-8": Variant("8 queries towards text", {"text_queries": 8}),
    "queries-30": Variant(
        "30 queries towards text (the paper)", {"text_queries": 30}, _zero_shot(20.1, 40.0, 49.8, 11.0)
    ),
    "queries-60": Variant("60 queries towards text", {"text_queries": 60}, _zero_shot(19.3, 37.7, 47.9, 12.0)),
    "global": Variant("global level alone", {"levels": "global"}, _zero_shot(20.1, 40.0, 49.8, 11.0)),
    "token": Variant(
        "token level alone", {"levels": "token", "search_levels": "token"}, _zero_shot(20.3, 39.3, 49.3, 11.0)
    ),
    "no-cycle": Variant("no cycle loss", {"cycle": False}, without_terms=frozenset({CYCLE})),
    "one-normalisation": Variant("each space normalised in one direction (the paper)", {"symmetric": False}),
    "batch-32": Variant("batch 32", settings={"data": {"batch": 32}}),
    "bank": Variant("batch 32, memory bank of 1,024", settings={"data": {"batch": 32}, "train": {"bank": 1024}}),
    "batch-256": Variant("batch 256 by gradient caching", settings={"data": {"batch": 256}, "train": {"chunk": 64}}),
    "pairs-5": Variant("5 % of the pairs", settings=_PAIRS_5),
    "pairs-5-no-cycle": Variant(
        "5 % of the pairs, no cycle loss", {"cycle": False}, without_terms=frozenset({CYCLE}), settings=_PAIRS_5
    ),
    "pairs-5-unpaired": Variant(
        "5 % of the pairs, the others unpaired in the cycle loss", with_terms={UNPAIRED: 1.0}, settings=_PAIRS_5
    ),
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
