"""The skeletons of a whole data set: of all captions and all videos, as they are needed to evaluate and to train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..features.lazy import Stored
from ..protocols import Judge
from ..types import Features, FloatArray, Pixels, Sample, Skeleton
from .skeletons import Describer, View, pictures_at, plain, text_skeletons

_TOGETHER = 64  # captions that are asked about at once

Begin = Callable[[str, int], object]  # what is done, and how many of it there are
Advance = Callable[[int], object]


def views(
    samples: Sequence[Sample], features: Stored, sampling: str, numbers: Sequence[int] | None = None
) -> list[View]:
    """Samples (those of these `numbers`; None: all) as questions see them. One whose features could not be made raises
    its MediaError when it is looked at. sampling: `features.sampling_fingerprint`."""
    found = []
    for number in range(len(samples)) if numbers is None else numbers:
        sample = samples[number]
        failed = number in features.failures
        times = () if failed else tuple(features[number].segments[:, 2].tolist())
        found.append(
            View(
                times=times,
                features=partial(_features, features, number),
                pictures=partial(_pictures, features, number, sample, times),
                content=features.key(number),
                key_images=sampling,
            )
        )
    return found


class Corpus:
    """Plain skeletons of captions and videos, and the probabilities of pairs of them."""

    def __init__(self, texts: Sequence[Skeleton], videos: Sequence[Skeleton], judge: Judge) -> None:
        self.texts, self.videos = [plain(each) for each in texts], [plain(each) for each in videos]
        self._judge = judge

    def probabilities(self, row: int, columns: Sequence[int]) -> FloatArray:
        """p of one caption with each of these videos; NaN where either has no skeleton."""
        found = np.full(len(columns), np.nan, np.float32)
        able = [at for at, column in enumerate(columns) if self.texts[row] and self.videos[column]]
        if able:
            found[able] = self._judge.probabilities(self.texts[row], [self.videos[columns[at]] for at in able])
        return found


def describe(
    describer: Describer, captions: Sequence[str], seen: Sequence[View], begin: Begin, advance: Advance
) -> tuple[list[Skeleton], list[Skeleton]]:
    """Skeletons of captions and of videos; what videos answer is kept in the describer's store, so that an interrupted
    run goes on there. Raises what the answerer raises where it cannot work at all."""
    begin("describing videos", len(seen))
    videos = describer.of(seen, advance)
    begin("describing texts", len(captions))
    texts: list[Skeleton] = []
    for first in range(0, len(captions), _TOGETHER):
        batch = captions[first : first + _TOGETHER]
        texts += text_skeletons(batch, describer.texts, describer.answerer)
        advance(len(batch))
    return texts, videos


def _features(features: Stored, number: int) -> Features:
    return features[number]


def _pictures(features: Stored, number: int, sample: Sample, times: Sequence[float]) -> list[Pixels]:
    if number in features.failures:
        raise features.failures[number]
    return pictures_at([sample.video.path], times)
