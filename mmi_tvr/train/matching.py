"""Training and validation of a matching head, on vectors that stand still.

Only the head changes in such a run, so queries and videos are embedded once, before the first step. What it has to
learn is where the model's own search goes wrong: beside a video that a query is true of stand those that the search
would give it if that one were not there. Any model can be trained so whose network has the loss term `matching`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..evaluation.nothing_found import area
from ..nn.matching import matching_inputs
from ..protocols import Dataset, DescribingDataset, Model, PartialQueryDataset
from ..scoring import background_sentences
from ..scoring.matching import match
from ..scoring.similarity import Gallery
from ..types import Features, FloatArray, IdArray
from ..utils import distributed
from ..utils.progress import Progress
from ..utils.wording import counted
from .cached import batches_by_length, check_batch, embed_sentences, embed_videos
from .protocol import Batch
from .settings import MatchingOptions

CAPTIONS, BACKGROUND = "captions", "background"  # sets of queries, beside those that say a part of a video
_BACKGROUND = 4  # how often an epoch has each sentence about other things: there are few
_TOGETHER = 256  # queries scored at once


@dataclass(frozen=True, slots=True)
class MatchingQuery:
    """A query, the position of the video that it was written for (None: of none), and those of all videos that it is
    true of; `sample` numbers captions that say the same, for `describes` (None: `videos` are known to be all)."""

    text: str
    videos: tuple[int, ...]
    sample: int | None = None


class HardNegatives(NamedTuple):
    """The videos that Q queries are held against."""

    false: NDArray[np.int32]  # (Q, N), those with the best scores that a query is false of, best first
    best_true: NDArray[np.int32]  # (Q,), the one of the true videos with the best score; -1 where there is none


def queries_of(
    dataset: Dataset, usable: Sequence[int], captions: int, rounds: int, seed: int
) -> dict[str, list[MatchingQuery]]:
    """Return queries about the usable videos of a data set, by kind.

    Args:
        dataset: Where it has queries that say a part of a video (`PartialQueryDataset`), these are among them.
        usable: Numbers of the samples that take part; a video's position is that of its number here.
        captions: So many of each video are drawn.
        rounds: So often queries are drawn that say a part.
        seed: Of what is drawn.
    """
    samples, dice = dataset.samples(), np.random.default_rng(seed)
    position = {number: row for row, number in enumerate(usable)}
    whole = []
    for number in usable:
        texts = samples[number].captions
        drawn = dice.permutation(len(texts))[:captions]
        whole += [MatchingQuery(texts[one], (position[number],), number) for one in np.sort(drawn)]
    sets = {CAPTIONS: whole}
    if isinstance(dataset, PartialQueryDataset):
        for kind, queries in dataset.partial_queries(rounds).items():
            sets[kind] = [
                MatchingQuery(query.text, tuple(position[video] for video in query.videos if video in position))
                for query in queries
                if query.sample in position
            ]
    return sets


def background_queries() -> list[MatchingQuery]:
    """Return sentences about other things, which are true of no video."""
    texts = [text for sentences in background_sentences.sentences().values() for text in sentences]
    return [MatchingQuery(text, ()) for text in texts]


def hard_negatives(
    model: Model,
    dataset: Dataset,
    usable: Sequence[int],
    queries: Sequence[MatchingQuery],
    vectors: FloatArray,
    gallery: Gallery,
    count: int,
) -> HardNegatives:
    """Return what queries with these vectors (Q, D) are held against among the videos of a gallery.

    A video of which another one's captions are true as well is no false one, where the data set knows that. Of a query
    that is false of fewer videos than `count`, these are repeated. UsageError where it is true of all.
    """
    describes = dataset.describes if isinstance(dataset, DescribingDataset) else None
    reach = min(2 * count, len(gallery))
    nearest, best = np.zeros((len(queries), count), np.int32), np.full(len(queries), -1, np.int32)
    for first in range(0, len(queries), _TOGETHER):
        scores = gallery.score(vectors[first : first + _TOGETHER], model.scoring)  # (b, M)
        for row, of_query in enumerate(scores, first):
            query = queries[row]
            true = list(query.videos)
            if true:
                best[row] = true[int(of_query[true].argmax())]
            of_query[true] = -np.inf
            order = np.argpartition(-of_query, reach - 1)[:reach]
            order = order[np.argsort(-of_query[order], kind="stable")]
            false = [video for video in order.tolist() if of_query[video] > -np.inf]
            if describes is not None and query.sample is not None:
                false = [video for video in false if not describes(query.sample, usable[video])]
            if not false:
                raise UsageError(f"{query.text!r:.60} is true of every video: there is nothing to tell apart")
            nearest[row] = np.resize(false[:count], count)
    return HardNegatives(nearest, best)


class MatchingBatches:
    """Batches of pairs of a query and a video: "ids" and, below "matching", tensors of B pairs.

    "queries" and "videos" (B, D) and "images" (B, K, D) are unit vectors; "segments" (B, K, 3) are seconds; "mask"
    (B, K) is true where there is a key image; "matches" (B,) where the query is true of the video.

    In an epoch every query meets one video that it is true of and `negatives` others, of which rank r is drawn with a
    chance of about 1 / r (decision: the best of a small collection is as good as one of rank r in a large one); a
    sentence about other things meets only such. Order hangs on seed and epoch alone.

    Args:
        model: Embeds queries and videos; every process embeds its share.
        dataset: Has the samples and, where it can, queries that say a part of a video.
        features: Of every sample, by its number.
        usable: Numbers of the samples that take part.
        options: How many queries and negatives.
        batch: Pairs of all processes together.
        seed: Of what is drawn, and of the order.
        progress: Of the embedding.

    Raises:
        UsageError: The pairs are fewer than a batch, or a batch cannot be shared out evenly.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        features: Sequence[Features],
        usable: Sequence[int],
        options: MatchingOptions,
        *,
        batch: int,
        seed: int,
        progress: Progress,
    ) -> None:
        check_batch(batch)
        self._batch, self._seed, self._negatives = batch, seed, options.negatives
        self._usable = usable
        sets = queries_of(dataset, usable, options.captions, options.rounds, seed)
        self._queries = [query for queries in sets.values() for query in queries]
        self._queries += background_queries() * _BACKGROUND
        if len(self._queries) * (1 + options.negatives) < batch or len(usable) < 2:
            raise UsageError(
                f"{counted(len(self._queries), 'query', 'queries')} about {counted(len(usable), 'usable video')}: "
                f"too few for a batch of {batch}"
            )
        self._videos = embed_videos(model, features, usable, progress)
        self._counts = np.array([len(video.segments) for video in self._videos])
        self._vectors = embed_sentences(model, [query.text for query in self._queries], progress)
        gallery = Gallery.pack(self._videos)
        self._false = hard_negatives(
            model, dataset, usable, self._queries, self._vectors, gallery, options.candidates
        ).false

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`."""
        dice = np.random.default_rng([self._seed, number])
        pairs = self._pairs(dice)
        for rows in batches_by_length(self._counts[pairs.videos], self._batch, dice)[skip:]:
            yield self._tensors(pairs.take(rows[distributed.rank() :: distributed.world_size()]))

    def _pairs(self, dice: np.random.Generator) -> _Pairs:
        """Draw the pairs of an epoch."""
        count, others = self._false.shape
        ranks = np.exp(dice.random((count, 1 + self._negatives)) * np.log(others + 1)).astype(np.int64) - 1
        videos = np.take_along_axis(self._false, np.clip(ranks, 0, others - 1), axis=1).astype(np.int64)  # (Q, 1 + N)
        matches = np.zeros(videos.shape, bool)
        shares = dice.random((count,))
        for row, query in enumerate(self._queries):
            if query.videos:
                videos[row, 0] = query.videos[int(shares[row] * len(query.videos))]
                matches[row, 0] = True
        queries = np.repeat(np.arange(count), 1 + self._negatives)
        return _Pairs(queries, videos.ravel(), matches.ravel())

    def _tensors(self, pairs: _Pairs) -> Batch:
        texts = [self._queries[query].text for query in pairs.queries]
        numbers = [self._usable[video] for video in pairs.videos]
        tensors = matching_inputs(self._vectors[pairs.queries], [self._videos[video] for video in pairs.videos])
        tensors["matches"] = torch.from_numpy(pairs.matches)
        return {"ids": [f"{number}: {text}" for number, text in zip(numbers, texts, strict=True)], "matching": tensors}


class _Pairs(NamedTuple):
    queries: IdArray
    videos: IdArray
    matches: NDArray[np.bool_]

    def take(self, rows: IdArray) -> _Pairs:
        return _Pairs(self.queries[rows], self.videos[rows], self.matches[rows])


class MatchingValidation:
    """The mean over the kinds of queries of the area in percent: how probable it is that a query matches the best video
    that it is true of better than another query the best one that it is false of. What is embedded is embedded once.

    Args:
        model: Its head is validated.
        dataset: As in `MatchingBatches`, as are the rest.
        features: Of every sample, by its number.
        usable: Numbers of the samples that take part.
        progress: Of the embedding.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        features: Sequence[Features],
        usable: Sequence[int],
        progress: Progress,
    ) -> None:
        self._model = model
        if len(usable) < 2:
            raise UsageError(f"{counted(len(usable), 'usable video')} of the validation data: nothing to tell apart")
        if distributed.rank() != 0:
            return
        self._videos = embed_videos(model, features, usable, progress, shared=False)
        gallery = Gallery.pack(self._videos)
        self._sets = []
        for queries in queries_of(dataset, usable, 1, 1, seed=0).values():
            vectors = embed_sentences(model, [query.text for query in queries], progress, shared=False)
            negatives = hard_negatives(model, dataset, usable, queries, vectors, gallery, count=1)
            self._sets.append((vectors, negatives))

    def __call__(self, network: Any) -> float:
        """Return the number; process 0's counts, so the others do not work for it."""
        if distributed.rank() != 0:
            return 0.0
        areas = []
        for vectors, (false, best_true) in self._sets:
            right = match(self._model, vectors, [self._videos[video] for video in best_true])
            wrong = match(self._model, vectors, [self._videos[video] for video in false[:, 0]])
            areas.append(area(right, wrong))
        return 100 * float(np.mean(areas))
