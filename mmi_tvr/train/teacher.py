"""The teacher of the term `distill`: joint scores of the best candidates of captions, made once by whoever re-ranks.

Source: figure 1 of Li et al., ACM MM 2024, names distillation; its equations leave it out. Decision: the candidates are
the best M by the search of the model that the run starts from, and the own video. Their joint scores (of cosine
and judgement) over a temperature are the teacher's logits; they stay as they are while the student learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..features.lazy import StoredFeatures
from ..protocols import Judge, Model
from ..scoring.joint import JointScore
from ..scoring.similarity import Gallery
from ..skeletons import dataset
from ..skeletons.dataset import PairJudge
from ..skeletons.skeletons import Describer
from ..types import FloatArray, IdArray, Query, Sample
from ..utils import array_cache
from ..utils.hashing import digest
from ..utils.progress import Progress

_NAME = "distill"  # of the files of joint scores
_TOGETHER = 256  # captions that search at once


class CaptionOf(NamedTuple):
    """A caption, and the number of its video."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Teacher:
    """C captions, the numbers of their candidates (C, M), and the teacher's logits of these (C, M); NaN where there is
    no judgement."""

    texts: Sequence[str]
    candidates: IdArray
    logits: NDArray[np.float32]

    def draw(self, count: int, dice: np.random.Generator) -> tuple[list[str], list[int], dict[str, Any]]:
        """Return `count` rows of a caption and a candidate, all candidates of a caption one behind the other.

        Returns:
            The captions, the numbers of the videos, and what `nn.distillation` reads: {"teacher", "lists"}. The last
            list is cut off where the rows end.
        """
        texts: list[str] = []
        rows: list[int] = []
        logits: list[float] = []
        lists: list[int] = []
        while len(rows) < count:
            caption = int(dice.integers(len(self.texts)))
            judged = np.flatnonzero(np.isfinite(self.logits[caption]))
            texts += [self.texts[caption]] * len(judged)
            rows += self.candidates[caption, judged].tolist()
            logits += self.logits[caption, judged].tolist()
            lists += [len(lists)] * len(judged)
        teacher = {"teacher": torch.tensor(logits[:count]), "lists": torch.tensor(lists[:count])}
        return texts[:count], rows[:count], teacher


def make(
    model: Model,
    describer: Describer,
    judge: Judge,
    samples: Sequence[Sample],
    features: StoredFeatures,
    usable: Sequence[int],
    captions: Sequence[CaptionOf],
    *,
    joint: JointScore,
    sampling: str,
    candidates: int,
    temperature: float,
    progress: Progress,
) -> Teacher:
    """Return the teacher of captions. Its joint scores are computed once, and read from the cache by later runs.

    Args:
        model: searches for the candidates.
        describer: answers the questions.
        judge: compares the answers.
        samples: the whole data set.
        features: of every sample, by its number.
        usable: numbers of the samples that are searched.
        captions: that the teacher ranks candidates of; a caption of which fewer than two are judged is left out.
        joint: the weights of the joint score.
        sampling: `features.sampling_fingerprint`.
        candidates: M.
        temperature: that joint scores are divided by.
        progress: of the describing and judging.

    Raises:
        UsageError: no caption has two candidates, or two that are judged.
    """
    parts = (
        model.fingerprint(),
        judge.fingerprint(),
        describer.answerer.fingerprint(),
        [[question.text for question in pool] for pool in (describer.text_questions, describer.video_questions)],
        (joint.lambda_r, joint.lambda_s),
        sampling,
        [features.key(number) for number in usable],
        [(text, features.key(number)) for text, number in captions],
        candidates,
    )

    def compute() -> array_cache.Arrays:
        scores, places = _best(model, features, usable, captions, min(candidates, len(usable)))
        numbers = np.asarray(usable, np.int64)[places]  # (C, M)
        described, rows = np.unique(numbers, return_inverse=True)
        views = dataset.video_views(samples, features, sampling, described.tolist())
        skeletons = dataset.describe(
            describer, [caption.text for caption in captions], views, progress.begin, progress.advance
        )
        probabilities = _judged(PairJudge(*skeletons, judge), rows.reshape(numbers.shape), progress)
        joint_scores = joint.lambda_r * scores + joint.lambda_s * probabilities
        _with_two_judged(joint_scores)  # what teaches nothing is not kept: a judge may be there the next time
        return {"candidates": numbers, "joint": joint_scores}

    if len(usable) < 2:
        raise UsageError("train.stages: the term `distill` ranks candidates, and there is one video; leave it out")
    arrays = array_cache.load_or_compute(_NAME, digest(*parts), compute)
    enough = _with_two_judged(arrays["joint"])
    logits = (arrays["joint"][enough] / temperature).astype(np.float32)
    return Teacher([captions[int(row)].text for row in enough], arrays["candidates"][enough], logits)


def _with_two_judged(joint: FloatArray) -> IdArray:
    """Return the captions of which two candidates or more are judged, by their joint scores (C, M). UsageError where
    there are none."""
    captions = np.flatnonzero(np.isfinite(joint).sum(axis=1) > 1)
    if not len(captions):
        raise UsageError("train.stages: the term `distill`: of no caption two candidates are judged; leave it out")
    return captions


def _best(
    model: Model, features: StoredFeatures, usable: Sequence[int], captions: Sequence[CaptionOf], count: int
) -> tuple[FloatArray, IdArray]:
    """Return scores and places among the usable videos (C, M) of each caption's best candidates, its own video among
    them."""
    gallery = Gallery.pack(model.embed_videos([features[number] for number in usable]))
    place = {number: row for row, number in enumerate(usable)}
    queries = np.asarray(model.embed_queries([Query(caption.text) for caption in captions]))
    scores, places = [], []
    for first in range(0, len(captions), _TOGETHER):
        for row, of_caption in enumerate(gallery.score(queries[first : first + _TOGETHER], model.scoring), first):
            best = np.argsort(-of_caption, kind="stable")[:count]
            if (right := place[captions[row].number]) not in best:
                best[-1] = right
            scores.append(of_caption[best])
            places.append(best)
    return np.stack(scores), np.stack(places)


def _judged(judge: PairJudge, rows: IdArray, progress: Progress) -> NDArray[np.float32]:
    """Return p (C, M) of each caption with the videos of these rows (C, M)."""
    progress.begin("judging", len(rows))
    probabilities = np.empty(rows.shape, np.float32)
    for caption, columns in enumerate(rows):
        probabilities[caption] = judge.probabilities(caption, columns.tolist())
        progress.advance()
    return probabilities
