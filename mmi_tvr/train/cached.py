"""What the trainings of heads on vectors that stand still have in common: everything embedded once, and batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..protocols import Model
from ..types import Embeddings, Features, IdArray, Query
from ..utils import distributed
from ..utils.progress import Progress
from ..utils.wording import counted

_BLOCK = 1024  # sentences or videos embedded between two signs of progress
_RUN = 16  # batches whose rows are ordered by their videos' key images, so that little of a batch is padding


def check_batch(batch: int) -> None:
    """Raise UsageError where a batch of all processes together cannot be shared out evenly."""
    if batch % distributed.world_size():
        raise UsageError(
            f"a batch of {batch} cannot be shared equally by "
            f"{counted(distributed.world_size(), 'process', 'processes')}"
        )


def batches_by_length(counts: IdArray, batch: int, dice: np.random.Generator) -> list[IdArray]:
    """Return the rows of all batches of an epoch: rows in random order, every full batch once.

    Args:
        counts: How many key images the video of each row has; rows with equally many go together.
        batch: Rows of a batch.
        dice: Draws the order.
    """
    number = len(counts) // batch
    rows = dice.permutation(len(counts))[: number * batch]
    batches: list[IdArray] = []
    for first in range(0, len(rows), _RUN * batch):
        run = rows[first : first + _RUN * batch]
        run = run[np.argsort(counts[run], kind="stable")]
        batches += np.split(run, len(run) // batch)
    return [batches[position] for position in dice.permutation(number)]


def embed_sentences(
    model: Model, sentences: Sequence[str], progress: Progress, *, shared: bool = True
) -> NDArray[np.float32]:
    """Return the unit vectors (N, D) of sentences, those of equal length together, so that little is padding.

    Args:
        model: Embeds them.
        sentences: N texts; one that occurs twice is embedded once.
        progress: Of this process's part.
        shared: Every process calls this with the same sentences, and embeds its share.
    """
    texts = sorted(set(sentences), key=lambda text: (len(text), text))
    vectors = in_shares(
        texts,
        lambda block: [*np.asarray(model.embed_queries([Query(text) for text in block]), dtype=np.float32)],
        "sentences",
        progress,
        shared,
    )
    row = {text: number for number, text in enumerate(texts)}
    return np.stack(vectors)[[row[text] for text in sentences]]


def embed_videos(
    model: Model, features: Sequence[Features], numbers: Sequence[int], progress: Progress, *, shared: bool = True
) -> list[Embeddings]:
    """Return the embeddings of samples by their numbers; `shared` as in `embed_sentences`."""
    return in_shares(
        numbers, lambda block: model.embed_videos([features[number] for number in block]), "videos", progress, shared
    )


def in_shares(items: Sequence[Any], embed: Any, title: str, progress: Progress, shared: bool) -> list[Any]:
    """Return what `embed` makes of each item, in order. shared: of the items, every process does its share."""
    rank, world = (distributed.rank(), distributed.world_size()) if shared else (0, 1)
    share = items[rank::world]
    progress.begin(title, len(share))
    results: list[Any] = []
    for first in range(0, len(share), _BLOCK):
        block = share[first : first + _BLOCK]
        results += embed(block)
        progress.advance(len(block))
    if world == 1:
        return results
    parts = distributed.all_gather_objects(results)
    return [parts[position % world][position // world] for position in range(len(items))]
