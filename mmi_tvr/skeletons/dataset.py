"""The skeletons of a whole data set, of all captions and all videos, as evaluation and training need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..errors import AnswerError
from ..features.lazy import StoredFeatures
from ..protocols import Judge
from ..types import Features, FloatArray, Judgement, Pixels, Sample, Skeleton
from ..utils.wording import counted
from .skeletons import Describer, VideoView, pictures_at, skeleton_text, text_skeletons

_CAPTION_BATCH = 64  # captions whose questions are asked in one batch

Begin = Callable[[str, int], object]  # name of a stage, and how many steps it has
Advance = Callable[[int], object]  # steps that are done


def video_views(
    samples: Sequence[Sample], features: StoredFeatures, sampling: str, numbers: Sequence[int] | None = None
) -> list[VideoView]:
    """Return samples as questions are asked about them; features and pictures are read at use.

    Args:
        samples: the samples of a data set.
        features: of all of them; one whose features could not be made raises its MediaError when it is read.
        sampling: `features.cache.sampling_fingerprint`.
        numbers: which samples; default: all.
    """
    views = []
    for number in range(len(samples)) if numbers is None else numbers:
        sample = samples[number]
        failed = number in features.failures
        times = () if failed else tuple(features[number].segments[:, 2].tolist())
        views.append(
            VideoView(
                times=times,
                features=partial(_read_features, features, number),
                pictures=partial(_read_pictures, features, number, sample, times),
                content=features.key(number),
                key_images=sampling,
            )
        )
    return views


class PairJudge:
    """Skeletons of captions and videos as plain text, and the judge's probabilities of pairs of them."""

    def __init__(self, text_skeletons: Sequence[Skeleton], video_skeletons: Sequence[Skeleton], judge: Judge) -> None:
        self.texts = [skeleton_text(skeleton) for skeleton in text_skeletons]
        self.videos = [skeleton_text(skeleton) for skeleton in video_skeletons]
        self._judge = judge

    def probabilities(self, row: int, columns: Sequence[int]) -> FloatArray:
        """Return p (N,) of caption `row` with each of the N videos `columns`; NaN where either has no skeleton, and
        where they could not be judged.

        Raises AnswerError where there are skeletons and none could be judged: numbers of a judge that is away would
        say that re-ranking adds nothing.
        """
        probabilities = np.full(len(columns), np.nan, np.float32)
        described = [place for place, column in enumerate(columns) if self.texts[row] and self.videos[column]]
        if not described:
            return probabilities
        judgements = self._judge.judge(self.texts[row], [self.videos[columns[place]] for place in described])
        for place, judgement in zip(described, judgements, strict=True):
            if isinstance(judgement, Judgement):
                probabilities[place] = judgement.probability
        errors = [judgement for judgement in judgements if isinstance(judgement, AnswerError)]
        if len(errors) == len(judgements):
            raise AnswerError(f"{self._judge.name} judged none of {counted(len(errors), 'pair')}: {errors[0]}")
        return probabilities


def describe(
    describer: Describer, captions: Sequence[str], views: Sequence[VideoView], begin: Begin, advance: Advance
) -> tuple[list[Skeleton], list[Skeleton]]:
    """Return the skeletons of captions and of videos.

    What videos answer is kept in the describer's store, so that an interrupted run goes on there.

    Args:
        describer: asks the questions.
        captions: texts, any number.
        views: videos, any number.
        begin: called with the name and the number of steps of each of the two stages.
        advance: called with the number of steps that are done.

    Raises:
        Whatever the answerer raises where it cannot work at all.
    """
    begin("describing videos", len(views))
    videos = describer.video_skeletons(views, advance)
    begin("describing texts", len(captions))
    texts: list[Skeleton] = []
    for first in range(0, len(captions), _CAPTION_BATCH):
        batch = captions[first : first + _CAPTION_BATCH]
        texts += text_skeletons(batch, describer.text_questions, describer.answerer)
        advance(len(batch))
    return texts, videos


def _read_features(features: StoredFeatures, number: int) -> Features:
    return features[number]


def _read_pictures(features: StoredFeatures, number: int, sample: Sample, times: Sequence[float]) -> list[Pixels]:
    if number in features.failures:
        raise features.failures[number]
    return pictures_at([sample.video.path], times)
