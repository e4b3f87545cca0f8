"""MMI-TVR: CLIP and a LoRA-tuned LLaVA read key images; temporal and spatial heads reason over them.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, sections 4.1 and 4.3.

model     the model behind the protocol, and its folder
network   what is trained: heads, language model, losses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...encoders import hub
from ...types import Availability, Published, Variant
from .model import ADAPTER, HEADS, JUDGE, MATCHING, MOMENTS, Mmi, Options

__all__ = [
    "ADAPTER",
    "CHECKPOINT",
    "CHECKPOINTS",
    "HEADS",
    "JUDGE",
    "MATCHING",
    "MOMENTS",
    "TRAINED",
    "VARIANTS",
    "Mmi",
    "Options",
]

CHECKPOINT = "weights"
CHECKPOINTS = {"llava.checkpoint": "base", "llava.clip": "clip"}
TRAINED = (
    HEADS,
    MOMENTS,
    MATCHING,
    *(f"{folder}/{files}" for folder in (ADAPTER, JUDGE) for files in ("*.safetensors", "adapter_config.json")),
)


def _clip4clip(options: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of key images on the same towers."""
    llava = options["llava"]
    return {"name": "clip4clip", "checkpoint": llava.get("clip") or str(hub.locate(llava["checkpoint"]) / "clip")}


_PAIRS_5 = {"data": {"paired": 0.05}}
_WRITTEN_5 = {"data": {"paired": 0.05, "written": "What happens step by step, from beginning to end?"}}
_DISTILL = {"distill": 1.0}

# Table 3 of the paper: R@1 on MSR-VTT. Then what its figure 1 names and its tables leave out.
VARIANTS: Mapping[str, Variant] = {
    "full": Variant("full model", published=Published((52.4,), (51.2,), 1000)),
    "no-lvlm": Variant(
        "no fine-tuned LVLM",
        {"lvlm": False},
        Published((51.3,), (49.1,), 1000),
        frozenset({"caption", "masked", "skeleton"}),
    ),
    "no-inductive": Variant("no inductive heads", {"inductive": False}, Published((51.8,), (50.2,), 1000)),
    "no-temporal": Variant("no temporal attention", {"heads": {"temporal": False}}, Published((52.1,), (50.3,), 1000)),
    "no-spatial": Variant("no spatial attention", {"heads": {"spatial": False}}, Published((52.4,), (50.7,), 1000)),
    "plain": Variant("plain self-attention", {"heads": {"plain": True}}, Published((52.1,), (50.3,), 1000)),
    "clip4clip": Variant("clip4clip: mean of key images, untrained", baseline=_clip4clip),
    "pairs-5": Variant("5 % of the captions", settings=_PAIRS_5),
    "pairs-5-distilled": Variant("5 % of the captions, distilled", settings=_PAIRS_5, with_terms=_DISTILL),
    "pairs-5-written": Variant("5 % of the captions, the others written", settings=_WRITTEN_5),
    "pairs-5-both": Variant(
        "5 % of the captions, the others written, distilled", settings=_WRITTEN_5, with_terms=_DISTILL
    ),
}


def build(options: Options, *, device: str) -> Mmi:
    return Mmi(options, device)


def trainable(options: Options, *, device: str) -> Mmi:
    """Return the model with what training changes: a new adapter, or that of `weights`."""
    return Mmi(options, device, trainable=True)


def reads_checkpoint(name: str) -> bool:
    """Return false: a LLaVA needs its CLIP beside it, which one name does not say."""
    return False


def availability() -> Sequence[Availability]:
    return [
        Availability(
            False, "a LLaVA checkpoint and its CLIP, named in a settings file: --config FILE (configs/llava7b.yaml)"
        )
    ]
