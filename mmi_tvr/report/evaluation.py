"""What an evaluation looks like: one page with the failures, and a heat map of similarities."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..evaluation import metrics
from ..evaluation.lost_levels import Rivals, rivals
from ..evaluation.report import Details, Report
from ..types import Sample
from ..utils import files
from ..utils.addresses import file_uri
from ..utils.installation import require
from ..utils.wording import counted
from ._templates import template
from .page import data_uri, middle_picture

_FAILURES = 40  # shown at most
_WRONG_VIDEOS = 3  # shown of each failure
_HEAT_MAP = 64  # queries and videos of the heat map


@dataclass(frozen=True, slots=True)
class RankedVideo:
    """One video of a failure: its picture as a data URI, or empty where it cannot be read."""

    video_id: str
    link: str
    thumbnail: str
    score: float
    caption: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A caption whose own video was not first: the best of its right videos, and the best of the wrong ones.

    `rivals` says what each level has of the best right and the best wrong one; None of a model without levels.
    """

    caption: str
    rank: int
    rivals: Rivals | None
    right_video: RankedVideo
    wrong_videos: tuple[RankedVideo, ...]


def evaluation_page(report: Report, config: Mapping[str, Any], title: str = "", heat: bytes | None = None) -> str:
    """Return one self-contained page: the numbers, and the failures nearest to being right first.

    Args:
        report: with its details.
        config: how it was made, as the page shows it.
        title: of the page; default: the model's name.
        heat: the heat map as PNG, where the page shall show one.
    """
    details = _details(report)
    wrong = int((details.t2v_ranks > 1).sum())
    return template("evaluation.html.j2").render(
        report=report,
        counted=counted,
        title=title or report.model,
        names=metrics.NAMES,
        sides=[("text-to-video", report.t2v), ("video-to-text", report.v2t)],
        failures=list(_failures(details)),
        wrong=wrong,
        shown=min(wrong, _FAILURES),
        heat=data_uri(heat, "png") if heat else "",
        config=config,
    )


def heat_map(report: Report) -> bytes:
    """Return a PNG of the scores of the first captions with the first videos.

    The right ones lie on the diagonal where every video has one caption. Raises MissingExtra without matplotlib.
    """
    details = _details(report)
    figure_module = require("matplotlib.figure", "plots")
    rows = min(_HEAT_MAP, len(details.captions))
    scores = details.gallery.score(details.query_vectors[:rows], details.scoring)[:, :_HEAT_MAP]
    figure = figure_module.Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(scores, cmap="viridis", interpolation="nearest")
    axes.set_xlabel("video")
    axes.set_ylabel("caption")
    axes.set_title(
        f"{report.model}: similarity of the first {counted(scores.shape[0], 'caption')} "
        f"and {counted(scores.shape[1], 'video')}"
    )
    for row in range(rows):  # a mark where the right one is
        for column in details.ground_truth[row]:
            if column < scores.shape[1]:
                axes.plot(column, row, marker="s", markersize=3, markerfacecolor="none", markeredgecolor="red")
    figure.colorbar(image, ax=axes, label="score")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata=files.SOFTWARE)
    return buffer.getvalue()


def _failures(details: Details) -> Iterator[Failure]:
    """Yield captions that another video answers, the best-ranked first: those are the ones to learn from."""
    order = np.argsort(details.t2v_ranks, kind="stable")
    first_failure = np.searchsorted(details.t2v_ranks[order], 1, side="right")
    rows = order[first_failure:][:_FAILURES].tolist()
    for row, pair in zip(rows, _rivals(details, rows), strict=True):
        scores = details.gallery.score(details.query_vectors[[row]], details.scoring)[0]
        right_columns = details.ground_truth[row]
        best_right = max(right_columns, key=lambda column: scores[column])
        best_columns = np.argsort(-scores, kind="stable")[: _WRONG_VIDEOS + len(right_columns)]
        wrong_columns = [column for column in best_columns if column not in right_columns][:_WRONG_VIDEOS]
        yield Failure(
            details.captions[row][1],
            int(details.t2v_ranks[row]),
            pair,
            _ranked_video(details.samples[best_right], float(scores[best_right])),
            tuple(_ranked_video(details.samples[column], float(scores[column])) for column in wrong_columns),
        )


def _rivals(details: Details, rows: Sequence[int]) -> Sequence[Rivals | None]:
    """Return the rivals of captions; None for each where the scores have no levels."""
    if not details.scoring.blocks:
        return [None] * len(rows)
    return list(rivals(rows, details.gallery, details.query_vectors, details.ground_truth, details.scoring))


def _ranked_video(sample: Sample, score: float) -> RankedVideo:
    video = sample.video
    link = file_uri(Path(video.path))
    caption = sample.captions[0] if sample.captions else ""
    return RankedVideo(sample.id, link, middle_picture(video), score, caption)


def _details(report: Report) -> Details:
    if report.details is None:
        raise UsageError("this report has no details: it was not made by evaluate")
    return report.details
