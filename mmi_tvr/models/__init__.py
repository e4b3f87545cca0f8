"""Retrieval models (`mmi_tvr.protocols.Model`). One file per system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import Section, over
from ..errors import UsageError
from ..protocols import Model

VARIABLE = "MMI_TVR_MODEL"
FALLBACK = "label_bridge"


def section(text: str) -> Section:
    """What `--model TEXT` means: NAME, NAME:CHECKPOINT, or a checkpoint alone.

    A checkpoint is a bundled model's name, a folder that training wrote (or its hub name, once it is in the local
    cache), or a CLIP-layout one (folder or hub name).

    >>> section("clip4clip:openai/clip-vit-base-patch32").options
    {'checkpoint': 'openai/clip-vit-base-patch32'}
    >>> section("moving-shapes").options
    {'weights': 'moving-shapes'}
    """
    name, colon, checkpoint = text.partition(":")
    if text == "auto" or name in plugins.names("models"):
        return Section(name=name, **({"weights" if name == "mmi" else "checkpoint": checkpoint} if colon else {}))
    if text in bundled() or (Path(text) / "mmi.json").is_file() or _trained_in_cache(text):
        return Section(name="mmi", weights=text)
    if "/" in text or Path(text).is_dir():
        return Section(name="clip4clip", checkpoint=text)
    known = ", ".join((*plugins.names("models"), *bundled()))
    raise UsageError(f"no model is called {text!r}; there are: {known}, auto, or a checkpoint's folder or hub name")


def resolve(chosen: Section) -> Section:
    """`auto` made concrete, without loading weights: $MMI_TVR_MODEL, else the largest CLIP-layout checkpoint in the
    local cache, else the label bridge."""
    if chosen.name != "auto":
        return chosen
    if configured := os.environ.get(VARIABLE):
        return section(configured)
    from ..encoders import clip, hub

    found = hub.cached(clip.MODEL_TYPES)
    return Section(name="clip4clip", checkpoint=found[0].name) if found else Section(name=FALLBACK)


def spelled(chosen: Section) -> str:
    """What to write after --model to mean this one.

    >>> spelled(section("moving-shapes")), spelled(section("clip4clip:openai/clip-vit-base-patch32"))
    ('moving-shapes', 'clip4clip:openai/clip-vit-base-patch32')
    """
    place = chosen.options.get("weights") or chosen.options.get("checkpoint")
    return str(place) if place in bundled() else f"{chosen.name}:{place}" if place else chosen.name


def _trained_in_cache(name: str) -> bool:
    """Whether this is the hub name of a model that `mmi` saved, and in the local cache. Asks no network."""
    if name.count("/") != 1:
        return False
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "mmi.json"), str)
    except HFValidationError:
        return False


def bundled() -> tuple[str, ...]:
    """Names of the trained models that the package carries."""
    from ..encoders import hub

    return tuple(sorted(path.parent.name for path in hub.BUNDLED.glob("*/mmi.json")))


def key_images(chosen: Section) -> Section | None:
    """The key images that a model was trained on, as a settings section; None where it takes any."""
    if chosen.name not in plugins.names("models"):  # auto, or a model that somebody made
        return None
    wanted = getattr(plugins.load("models", chosen.name), "key_images", None)
    found = wanted(chosen.options) if wanted else None
    return Section(**found) if found else None


def checkpoints(chosen: Section) -> Iterator[str]:
    """The checkpoints that a model is loaded from: folders, or hub names; what the package carries is left out.

    Trained weights come before the base that they refer to, and must be there when the next one is asked for.

    >>> list(checkpoints(Section(name="mmi", llava={"checkpoint": "llava-hf/llava-1.5-7b-hf", "clip": "openai/clip"})))
    ['llava-hf/llava-1.5-7b-hf', 'openai/clip']
    >>> list(checkpoints(section("moving-shapes")))
    []
    """
    from ..encoders import hub

    options: dict[str, Any] = chosen.options
    if weights := options.get("weights"):
        mmi = plugins.load("models", "mmi")
        if not Path(weights).is_dir() and weights not in bundled():
            yield str(weights)
        options = over(mmi.settings(mmi.folder_of(str(weights)), whole=True)["options"], options)
    places = (options, options.get("llava") or {})
    found = [str(place[key]) for place in places for key in ("checkpoint", "clip") if place.get(key)]
    yield from (name for name in found if not (hub.BUNDLED / name).is_dir())


def make(chosen: Section, device: str = "auto") -> Model:
    """Load a model. ModelNotFound where its checkpoint is not on this machine: nothing is ever fetched here."""
    concrete = resolve(chosen)
    model: Model = plugins.build("models", concrete.name, concrete.options, device=device)
    return model
