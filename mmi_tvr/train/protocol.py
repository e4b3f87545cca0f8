"""The protocols of the loop: what it needs from a model and from data, and nothing more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ..types import Direction, Features

# Every value is a tensor, an array or a list whose first axis is the B pairs of the batch, or a mapping of such values
# (`chunks` cuts them all). "ids" names the pairs, for people.
Batch = Mapping[str, Any]


class Trainable(Protocol):
    """A model that can be trained: a `torch.nn.Module` with three more methods. It may offer more
    (`ModelWithSimilarity`, `ModelWithBatchTerms`).

    Its trained state is every parameter that requires a gradient and every persistent buffer.
    """

    def parameter_groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return every parameter that requires a gradient, in one group each. A group's name is a key of
        `learning_rates`."""
        ...

    def embed_batch(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return texts (B, D), videos (B, D), groups (B,) int64, the number of each pair's video in the whole data set,
        and whatever `batch_terms` reads besides, (B, ...).

        Called where a stage weighs `contrastive`, `ranking` or one of `batch_term_names`. A pair's rows must not depend
        on the other pairs of the batch: gradient caching embeds in chunks.
        """
        ...

    def loss_terms(self, batch: Batch, names: Collection[str]) -> Mapping[str, Tensor]:
        """Return the further loss terms of these names, scalars that are means over the batch."""
        ...


@runtime_checkable
class ModelWithSimilarity(Protocol):
    """A `Trainable` whose texts and videos are not compared by cosine."""

    def similarity(self, text: Tensor, video: Tensor, direction: Direction) -> Tensor:
        """Return the scores (T, V) of texts (T, D) with videos (V, D), or (L, T, V) of L levels with a loss each.

        The vectors are those of `embed_batch`, in float32. direction: who queries, the texts or the videos.
        """
        ...


@runtime_checkable
class ModelWithBatchTerms(Protocol):
    """A `Trainable` with loss terms over the whole batch: what they divide by, or compare, are all of its pairs."""

    @property
    def batch_term_names(self) -> frozenset[str]:
        """The names of these terms; `loss_terms` is not called for them."""
        ...

    def batch_terms(self, embedded: Sequence[Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
        """Return the terms of these names, scalars as in `nn.losses`, from what `embed_batch` returned for the whole
        batch of this process. Called outside autocast."""
        ...


@runtime_checkable
class ModelWithLayers(Protocol):
    """A network with a large language model in it."""

    def language_layers(self) -> tuple[nn.Module, Sequence[nn.Module]] | None:
        """Return the module that calls the layers of the language model one after the other, and these; None where it
        is switched off."""
        ...


class BatchModel(Protocol):
    """A model that makes of texts and features what its network reads (`protocols.TrainableModel.batch`)."""

    def batch(
        self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]
    ) -> Mapping[str, Any]: ...


class EpochDataLoader(Protocol):
    """Data in a fixed order, so that a run can go on where it stopped. `dataloader.DatasetLoader` makes one from a
    torch Dataset.

    Every process gets batches of its own, as many in an epoch, and as large, as every other process.
    """

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`, which are not loaded."""
        ...


def size(batch: Batch) -> int:
    """Return how many pairs a batch holds."""
    return len(batch["ids"])


def chunks(batch: Batch, most: int | None) -> list[Batch]:
    """Return the batch in pieces of at most `most` pairs (None: in one piece).

    >>> chunks({"ids": ["a", "b", "c"], "nested": {"x": [0, 1, 2]}}, 2)[1]
    {'ids': ['c'], 'nested': {'x': [2]}}
    """
    if most is None or size(batch) <= most:
        return [batch]
    return [_cut(batch, slice(start, start + most)) for start in range(0, size(batch), most)]


def _cut(value: Any, rows: slice) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(inner, rows) for name, inner in value.items()}
    return value[rows]
