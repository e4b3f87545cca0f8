"""Trained models on the Hugging Face hub: what is pushed, its card, and what a name means when it comes back.

A repository holds a model folder (`model.json` and what training wrote) and a model card. A base checkpoint that has a
hub name is referred to by it; one that is a folder of this machine goes along, as `base/`, and the CLIP it was built
on, where that is another folder, as `clip/`. Nothing is sent or fetched unless asked for.
"""

from __future__ import annotations

from .folder import Prepared, prepare
from .transfer import push, resolve

__all__ = ["Prepared", "prepare", "push", "resolve"]
