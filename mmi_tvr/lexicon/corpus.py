"""The labels of a data set's videos and captions: exact ones where it has them, else parsed from the captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ..errors import UsageError
from ..protocols import Dataset, LabelledDataset
from ..types import Labels, LabelSource
from .labels import labels, union
from .parsing import ParsedText


@dataclass(frozen=True, slots=True)
class SampleLabels:
    """What is true of a sample's `video`, and what each of its `captions` says."""

    video: Labels
    captions: tuple[Labels, ...]


def sample_labels(
    dataset: Dataset,
    numbers: Iterable[int],
    source: LabelSource,
    parse: Callable[[Sequence[str]], Sequence[ParsedText]],
) -> list[SampleLabels]:
    """Return the labels of samples. Parsed ones of a video are all that its captions say.

    Args:
        dataset: the data set.
        numbers: of the samples.
        source: "exact" labels of the data set, or "parsed" ones.
        parse: parses captions (`ParseStore.parsed`); is not called for exact labels.

    Raises:
        UsageError: exact labels of a data set that has none.
    """
    if source == "exact":
        if not isinstance(dataset, LabelledDataset):
            raise UsageError("this data set has no exact labels of its videos and captions: take parsed ones")
        return [SampleLabels(dataset.video_labels(row), tuple(dataset.caption_labels(row))) for row in numbers]
    samples = dataset.samples()
    captions = [samples[row].captions for row in numbers]
    parsed = iter(parse([text for texts in captions for text in texts]))
    by_caption = [tuple(labels(one) for one in islice(parsed, len(texts))) for texts in captions]
    return [SampleLabels(union(of_captions), of_captions) for of_captions in by_caption]
