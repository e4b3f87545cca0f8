"""Training and validation of a moment head, on vectors that stand still.

Only the head changes in such a run, so sentences and key images are embedded once, before the first step; a step then
costs what the head costs. Any model can be trained so whose network has the loss term `moments`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..evaluation.moments import overlaps
from ..nn.query_encoder import encoder_inputs
from ..protocols import Model, MomentDataset
from ..scoring.moments import locate
from ..types import DescribedMoment, Features, IdArray
from ..utils import distributed
from ..utils.padding import padded
from ..utils.progress import Progress
from ..utils.wording import counted
from .cached import batches_by_length, check_batch, embed_sentences, embed_videos
from .protocol import Batch


class MomentBatches:
    """Batches of moments: "ids" and, below "moments", tensors of B moments of a video each.

    "queries" (B, D) and "images" (B, K, D) are unit vectors; "segments" (B, K, 3), "spans" (B, 2), "events" (B, E, 2)
    are seconds, NaN where a sentence has fewer events; "mask" (B, K) is true where there is a key image.

    Decision: `sentences` of all sets together are drawn once, and every epoch goes through all of them; the vectors of
    half a million would cost more than the training. Order hangs on seed and epoch alone.

    Args:
        model: Embeds sentences and key images; every process embeds its share.
        moments: Sets of sentences with their spans, by name.
        features: Of every sample, by its number.
        usable: Numbers of the samples that take part.
        batch: Moments of all processes together.
        sentences: At most so many moments are drawn.
        seed: Of what is drawn, and of the order.
        progress: Of the embedding; is told how many moments begin behind the end of their video and are left out.

    Raises:
        UsageError: The moments of usable samples are fewer than a batch, or a batch cannot be shared out evenly.
    """

    def __init__(
        self,
        model: Model,
        moments: Mapping[str, Sequence[DescribedMoment]],
        features: Sequence[Features],
        usable: Collection[int],
        *,
        batch: int,
        sentences: int,
        seed: int,
        progress: Progress,
    ) -> None:
        check_batch(batch)
        self._batch, self._seed = batch, seed
        drawn = _drawn(moments, frozenset(usable), sentences, seed)
        _check_count(drawn, batch)
        numbers = sorted({moment.sample for moment in drawn})
        position = {number: row for row, number in enumerate(numbers)}
        self._videos = embed_videos(model, features, numbers, progress)
        ends = [float(video.segments[-1, 1]) for video in self._videos]
        self._moments = [moment for moment in drawn if moment.start < ends[position[moment.sample]]]
        if left_out := len(drawn) - len(self._moments):
            progress.say(f"left out: {counted(left_out, 'moment')} that begin behind the end of the video")
        _check_count(self._moments, batch)
        self._video_of = np.array([position[moment.sample] for moment in self._moments])
        self._counts = np.array([len(video.segments) for video in self._videos])
        self._queries = embed_sentences(model, [moment.text for moment in self._moments], progress)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`."""
        dice = np.random.default_rng([self._seed, number])
        for rows in batches_by_length(self._counts[self._video_of], self._batch, dice)[skip:]:
            yield self._tensors(rows[distributed.rank() :: distributed.world_size()])

    def _tensors(self, rows: IdArray) -> Batch:
        moments = [self._moments[row] for row in rows]
        videos = [self._videos[self._video_of[row]] for row in rows]
        events = [np.array(moment.events or ((moment.start, moment.end),)) for moment in moments]
        tensors = encoder_inputs(self._queries[rows], videos) | {
            "spans": torch.tensor([(moment.start, moment.end) for moment in moments], dtype=torch.float32),
            "events": torch.from_numpy(padded(events, np.nan)),
        }
        return {"ids": [f"{moment.sample}: {moment.text}" for moment in moments], "moments": tensors}


class MomentValidation:
    """The mean over the sets of mIoU in percent, the right video given; what is embedded is embedded once.

    Args:
        model: Its head is validated.
        moments: Sets of sentences with their spans, by name.
        features: Of every sample, by its number.
        usable: Numbers of the samples that take part.
        progress: Of the embedding.
    """

    def __init__(
        self,
        model: Model,
        moments: Mapping[str, Sequence[DescribedMoment]],
        features: Sequence[Features],
        usable: Collection[int],
        progress: Progress,
    ) -> None:
        self._model = model
        present = frozenset(usable)
        sets = [[moment for moment in described if moment.sample in present] for described in moments.values()]
        self._moments = [moment for described in sets for moment in described]
        if not self._moments:
            raise UsageError("no moment of the validation data is in a usable video")
        self._ends = np.cumsum([len(described) for described in sets if described])
        if distributed.rank() != 0:
            return
        numbers = sorted(present)
        self._videos = dict(zip(numbers, embed_videos(model, features, numbers, progress, shared=False), strict=True))
        self._queries = embed_sentences(model, [moment.text for moment in self._moments], progress, shared=False)

    def __call__(self, network: Any) -> float:
        """Return the number; process 0's counts, so the others do not work for it."""
        if distributed.rank() != 0:
            return 0.0
        spans = locate(self._model, self._queries, [self._videos[moment.sample] for moment in self._moments])
        ratios = overlaps(spans, self._moments)
        return 100 * float(np.mean([part.mean() for part in np.split(ratios, self._ends[:-1])]))


def moments_of(dataset: object, name: str) -> Mapping[str, Sequence[DescribedMoment]]:
    """Return the moments of a data set called `name`. UsageError where it knows none."""
    moments = dataset.moments() if isinstance(dataset, MomentDataset) else {}
    if any(len(described) for described in moments.values()):
        return moments
    raise UsageError(
        f"{name} does not say when in its videos things happen: leave the term `moments` out of the stages"
    )


def _check_count(moments: Sequence[DescribedMoment], batch: int) -> None:
    """Raise UsageError where moments are fewer than a batch."""
    if len(moments) < batch:
        raise UsageError(f"{counted(len(moments), 'moment')} in usable videos: too few for a batch of {batch}")


def _drawn(
    moments: Mapping[str, Sequence[DescribedMoment]], usable: Collection[int], sentences: int, seed: int
) -> list[DescribedMoment]:
    """Return moments of all sets together, at most so many, drawn without regard to set or video; then those of usable
    videos."""
    sets = [described for described in moments.values() if len(described)]
    ends = np.cumsum([len(described) for described in sets])
    numbers = np.random.default_rng(seed).permutation(int(ends[-1]))[:sentences]
    drawn = []
    for number in np.sort(numbers):  # moments of one video lie side by side, and are built faster so
        chosen = int(np.searchsorted(ends, number, side="right"))
        drawn.append(sets[chosen][int(number) - int(ends[chosen])])  # counted from the set's end
    return [moment for moment in drawn if moment.sample in usable]
