"""MCSAN: videos and texts are compared as a whole, by entities, by actions and by relations, on frozen CLIP towers.

Source: Nian et al., "Multi-Level Cross-Modal Semantic Alignment Network for Video-Text Retrieval", Mathematics 2022.

model      the model behind the protocol, and its folder
options    its options, and names of the loss terms
towers     what makes vectors of key images and of whole sentences
network    what is trained: four levels of both sides, heads of labels, loss terms
captions   captions as words, and their role graphs
word_rows  what word vectors start as
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...types import Availability, Published, Variant
from .._facets import FACETS
from .model import VOCABULARIES, WEIGHTS_FILE, Mcsan
from .options import ATTRIBUTES, CONTRASTIVE, DISTRIBUTION, RANKING, Options

__all__ = ["CHECKPOINT", "CHECKPOINTS", "TRAINED", "VARIANTS", "Mcsan", "Options"]

CHECKPOINT = "weights"
CHECKPOINTS = {"vision": "clip"}
TRAINED = (WEIGHTS_FILE, VOCABULARIES, FACETS)
_STATISTICS = frozenset({ATTRIBUTES, DISTRIBUTION})
_LONG_TAIL = {"data": {"train": {"skew": 1.5}}}


def _clip4clip(options: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of key images on the same towers."""
    return {"name": "clip4clip", "checkpoint": options["vision"]}


def _levels(*names: str) -> dict[str, Any]:
    return {"levels": names}


# Tables 3 and, of the full model, 1 of the paper: recalls on MSR-VTT's full split.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("full model", published=Published((10.9, 29.6, 40.1), (21.1, 46.8, 57.4), sum_printed=205.3)),
    "no-relation": Variant(
        "no relation level",
        _levels("global", "entity", "action"),
        Published((9.4, 27.1, 37.9), (17.2, 42.3, 54.7), sum_printed=195.8),
    ),
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
        Published((10.1, 27.8, 39.8), (19.9, 45.9, 57.0), sum_printed=202.6),
        frozenset({DISTRIBUTION}),
    ),
    "no-kl": Variant("no KL", without_terms=frozenset({DISTRIBUTION})),
    "separate-heads": Variant("separate heads of labels", {"shared_heads": False}),
    "bce": Variant(
        "plain instead of focal cross-entropy",
        {"focal": False},
        Published((10.6, 28.8, 39.2), (20.8, 46.4, 56.6), sum_printed=203.7),
    ),
    "no-labels": Variant("no labels", without_terms=frozenset({ATTRIBUTES})),
    "skew": Variant("long tail in training (skew 1.5)", settings=_LONG_TAIL),
    "skew-bce": Variant("long tail, plain cross-entropy", {"focal": False}, settings=_LONG_TAIL),
    "ranking": Variant(
        "ranking loss instead of InfoNCE", without_terms=frozenset({CONTRASTIVE}), with_terms={RANKING: 1.0}
    ),
    "cosine": Variant("cosine instead of HolE", {"global_similarity": "cosine"}),
    "linear": Variant("HolE without sigmoid", {"global_similarity": "linear"}),
    "learned-fusion": Variant("learned weights of levels", {"fusion": "learned"}),
    "attention": Variant("learned words instead of the tower's tokens", {"graph": "attention"}),
    "no-differences": Variant("key images without their changes", {"differences": False}),
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
