"""What a file of a room, or a plug-in of a third party, offers besides `Options` and `build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..types import Availability, FloatArray, Query, Variant
from .capabilities import TrainableModel


@runtime_checkable
class AvailableModule(Protocol):
    """A module that knows whether it could be used on this machine."""

    def availability(self) -> Sequence[Availability]:
        """Return one line for each way of using it. Loads no weights and asks no network."""
        ...


@runtime_checkable
class AutomaticModule(Protocol):
    """A model that `auto` may choose. Of those that can be used, the one with the largest `AUTOMATIC` is taken."""

    AUTOMATIC: int

    def automatic(self) -> Mapping[str, Any] | None:
        """Return the options to use it with; None where it cannot be used on this machine."""
        ...


@runtime_checkable
class CheckpointModule(Protocol):
    """A model that is made from checkpoints."""

    CHECKPOINT: str  # the option that NAME:CHECKPOINT sets
    CHECKPOINTS: Mapping[str, str]  # dotted options that name a checkpoint -> the folder in which it travels to the hub

    def reads_checkpoint(self, name: str) -> bool:
        """Return whether `--model NAME`, a folder or hub name without a model.json, may mean this model."""
        ...


@runtime_checkable
class TrainableModule(Protocol):
    """A model that can be trained."""

    TRAINED: Sequence[str]  # glob patterns of the files of a model folder that training writes

    def trainable(self, options: Any, *, device: str) -> TrainableModel:
        """Return the model with what training changes: new, or that of the option `weights`."""
        ...


@runtime_checkable
class AblatedModule(Protocol):
    """A model with an ablation table."""

    VARIANTS: Mapping[str, Variant]  # the first row is the full model


@runtime_checkable
class QueryEmbeddingModule(Protocol):
    """A channel whose queries can be embedded without making it: a search then loads nothing that reads files."""

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Return unit vectors (N, D), as `Channel.embed_queries`. Channels with the same function share its work."""
        ...
