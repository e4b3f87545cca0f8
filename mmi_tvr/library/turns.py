"""How the threads of a process share one library: each model is loaded once, and they take turns.

What is open, and the models, are used by one thread at a time (decision): most of a search is the model's work, which
uses all processors anyway, and neither tokenizers nor an adapter that is switched off for a question bear two threads.
An indexing run takes its turn for each batch, so that searches go on beside it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..config import Section
from ..features.extract import reads_pictures
from ..protocols import KeyImageMethod, Model
from ..types import Embeddings, Features, Pixels, Query

_MODELS = 2  # that are kept: while a rebuild goes on, the present one and the next


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A ready model, the method that chooses key images for it, the fingerprint of the vectors that both make, and the
    settings section of the method."""

    model: Model
    key_image_method: KeyImageMethod
    fingerprint: str
    keyimages: Section


class SharedModels:
    """The models of a library, and the lock by which threads take turns. `latest` is the one that was needed last."""

    def __init__(self) -> None:
        self.turn: AbstractContextManager[Any] = threading.RLock()
        self.latest: LoadedModel | None = None
        self._loading = threading.Lock()
        self._models: dict[tuple[str, str], Model] = {}

    def get(self, section: Section, device: str) -> Model:
        """Return the model of a settings section, loaded once. Raises what loading it raises."""
        from .. import models

        key = (json.dumps(section.model_dump(), sort_keys=True, default=str), device)
        with self._loading:
            if key not in self._models:
                self._models[key] = models.make(section, device)
                for oldest in list(self._models)[:-_MODELS]:
                    del self._models[oldest]
            return self._models[key]

    def holds(self, model: Model) -> bool:
        """Return whether a model was loaded here, not passed in."""
        with self._loading:
            return any(model is one for one in self._models.values())

    def maker_of(self, fingerprint: str | None) -> Model | None:
        """Return the model that was needed last, if it made the vectors with this fingerprint."""
        latest = self.latest
        return latest.model if latest is not None and latest.fingerprint == fingerprint else None

    def clear(self) -> None:
        """Let go of the models."""
        with self._loading:
            self._models.clear()
            self.latest = None

    def renew_locks(self) -> None:
        """Make the locks anew in a forked process, which has none of the threads that may hold them."""
        self.turn = threading.RLock()
        self._loading = threading.Lock()


class TurnTakingModel:
    """A model that does its work in turns, for the writer beside searches (`protocols.Model`)."""

    def __init__(self, model: Model, turn: AbstractContextManager[Any]) -> None:
        self._model = model
        self._turn = turn
        self.name = model.name
        self.reads = model.reads
        self.image_size = model.image_size
        self.scoring = model.scoring
        self.reads_pictures = reads_pictures(model)

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        with self._turn:
            return self._model.encode_images(images)

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        with self._turn:
            return self._model.embed_videos(features)

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        with self._turn:
            return self._model.embed_queries(queries)

    def vision_fingerprint(self) -> str:
        return self._model.vision_fingerprint()

    def fingerprint(self) -> str:
        return self._model.fingerprint()
