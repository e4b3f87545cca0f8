"""MCSAN: videos and texts are compared as a whole, by entities, by actions and by relations, on frozen CLIP towers.

Source: Nian et al., "Multi-Level Cross-Modal Semantic Alignment Network for Video-Text Retrieval", Mathematics 2022.

model     the model behind the protocol, and its folder
network   what is trained: four levels of both sides, heads of labels, loss terms
captions  captions as words, and their role graphs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...types import Availability, Published, Variant
from .._facets import FACETS
from .model import VOCABULARIES, WEIGHTS_FILE, Mcsan
from .options import ATTRIBUTES, DISTRIBUTION, Options

__all__ = ["CHECKPOINT", "CHECKPOINTS", "TRAINED", "VARIANTS", "Mcsan", "Options"]

CHECKPOINT = "weights"
CHECKPOINTS = {"vision": "clip"}
TRAINED = (WEIGHTS_FILE, VOCABULARIES, FACETS)
_STATISTICS = frozenset({ATTRIBUTES, DISTRIBUTION})


def _clip4clip(options: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of key images on the same towers."""
    return {"name": "clip4clip", "checkpoint": options["vision"]}


def _levels(*names: str) -> dict[str, Any]:
    return {"levels": names}


# Tables 3 and, of the full model, 1 of the paper: R@1 on MSR-VTT's full split.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("full model", published=Published((10.9,), (21.1,))),
    "no-relation": Variant("no relation level", _levels("global", "entity", "action"), Published((9.4,), (17.2,))),
    "no-action": Variant("no action level", _levels("global", "entity", "relation")),
    "no-entity": Variant("no entity level", _levels("global", "action", "relation")),
    "no-global": Variant("no global level", _levels("entity", "action", "relation")),
    "global": Variant("global level alone", _levels("global"), without_terms=_STATISTICS),
    "entity": Variant("entity level alone", _levels("entity")),
    "action": Variant("action level alone", _levels("action")),
    "relation": Variant("relation level alone", _levels("relation")),
    "no-statistics": Variant(
        "no statistical constraints: no KL, separate heads",
        {"shared_heads": False},
        Published((10.1,), (19.9,)),
        frozenset({DISTRIBUTION}),
    ),
    "no-kl": Variant("no KL", without_terms=frozenset({DISTRIBUTION})),
    "separate-heads": Variant("separate heads of labels", {"shared_heads": False}),
    "bce": Variant("plain instead of focal cross-entropy", {"focal": False}, Published((10.6,), (20.8,))),
    "no-labels": Variant("no labels", without_terms=frozenset({ATTRIBUTES})),
    "cosine": Variant("cosine instead of HolE", {"global_similarity": "cosine"}),
    "mean-pool": Variant("frames by their mean", {"pool": "mean"}),
    "max-pool": Variant("frames by their maximum", {"pool": "max"}),
    "clip4clip": Variant("clip4clip: mean of key images, untrained", baseline=_clip4clip),
}


def build(options: Options, *, device: str) -> Mcsan:
    return Mcsan(options, device)


def trainable(options: Options, *, device: str) -> Mcsan:
    """Return the model, new or that of `weights`; a new one gets its words and labels from the training captions."""
    return Mcsan(options, device)


def reads_checkpoint(name: str) -> bool:
    """Return false: without training it knows no words."""
    return False


def availability() -> Sequence[Availability]:
    return [Availability(False, "trained weights: --model FOLDER (configs/mcsan-moving-shapes.yaml trains them)")]
