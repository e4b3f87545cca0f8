"""What scores are worth in a collection, from an even sample of its videos."""

from __future__ import annotations

import numpy as np

from ..protocols import Index, Model, RelevanceCalibration
from ..scoring import relevance
from ..scoring.personal import PersonalLaw, personal_law
from ..scoring.similarity import Gallery
from ..types import IdArray, Query, moment_of, video_of


def calibration_of(model: Model, index: Index) -> RelevanceCalibration:
    """Calibrate relevance on a collection; a model that brings its own law needs no look at the vectors."""
    ids, law = index.ids(), model.scoring.score_law
    if law is not None:
        return relevance.LogisticLaw(law, int(np.count_nonzero(moment_of(ids) < 0)))
    return relevance.calibrate(model, *sampled(index, ids))


def personal_calibration(model: Model, index: Index, query: Query, videos: frozenset[int] | None) -> PersonalLaw:
    """Calibrate relevance for the people of a query on the videos that are searched (None: all); see `personal_law`."""
    ids = index.ids()
    if videos is not None:
        ids = ids[np.isin(video_of(ids), np.fromiter(videos, np.int64, len(videos)))]
    return personal_law(model, *sampled(index, ids), query)


def sampled(index: Index, ids: IdArray) -> tuple[Gallery, int]:
    """Return the vectors of an even sample of the videos of these ids, and how many videos there are."""
    starts = np.flatnonzero(moment_of(ids) < 0)  # where each video begins
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), relevance.SAMPLE)).astype(np.int64))
    in_sample = np.isin(video_of(ids), video_of(ids[starts[chosen]]))
    return Gallery.from_index(index, ids[in_sample]), len(starts)
