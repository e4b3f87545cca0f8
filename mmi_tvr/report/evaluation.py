"""What an evaluation looks like: one page with the failures, and a heat map of similarities."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader

from .. import plugins
from ..errors import MediaError, UsageError
from ..evaluation import metrics
from ..evaluation.evaluate import Details, Report
from ..media.video import probe
from ..types import Sample
from .page import picture

_WORST = 40  # failures shown
_GOT = 3  # wrong videos shown beside the right one
_CELLS = 64  # queries and videos of the heat map


@dataclass(frozen=True, slots=True)
class Shown:
    """One video of a failure: its picture as a data URI, or empty where it cannot be read."""

    name: str
    link: str
    thumbnail: str
    score: float
    caption: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A caption whose own video was not first."""

    caption: str
    rank: int
    wanted: Shown
    got: tuple[Shown, ...]


def evaluation_page(report: Report, config: Mapping[str, Any], title: str = "") -> str:
    """One self-contained page: the numbers, the failures nearest to being right first, and the heat map."""
    details = _details(report)
    environment = Environment(loader=PackageLoader("mmi_tvr.report", "."), autoescape=True, trim_blocks=True)
    wrong = int((details.t2v > 1).sum())
    return environment.get_template("evaluation.html.j2").render(
        report=report,
        title=title or report.model,
        names=metrics.NAMES,
        sides=[("text-to-video", report.t2v), ("video-to-text", report.v2t)],
        failures=list(_failures(details)),
        wrong=wrong,
        shown=min(wrong, _WORST),
        heat=f"data:image/png;base64,{base64.b64encode(heat_map(report)).decode()}",
        config=config,
    )


def heat_map(report: Report) -> bytes:
    """A PNG of the scores of the first captions with the first videos; the right ones lie on the diagonal where every
    video has one caption. MissingExtra without matplotlib."""
    details = _details(report)
    figure_module = plugins.require("matplotlib.figure", "plots")
    rows = min(_CELLS, len(details.captions))
    scores = details.gallery.score(details.queries[:rows], details.scoring)[:, :_CELLS]
    figure = figure_module.Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(scores, cmap="viridis", interpolation="nearest")
    axes.set_xlabel("video")
    axes.set_ylabel("caption")
    axes.set_title(f"{report.model}: similarity of the first {scores.shape[0]} captions and {scores.shape[1]} videos")
    for row in range(rows):  # where the right one is
        for column in details.right[row]:
            if column < scores.shape[1]:
                axes.plot(column, row, marker="s", markersize=3, markerfacecolor="none", markeredgecolor="red")
    figure.colorbar(shown, ax=axes, label="score")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _failures(details: Details) -> Iterator[Failure]:
    """Captions that another video answers, the best-ranked first: those are the ones to learn from."""
    order = np.argsort(details.t2v, kind="stable")
    for row in order[np.searchsorted(details.t2v[order], 1, side="right") :][:_WORST].tolist():
        scores = details.gallery.score(details.queries[[row]], details.scoring)[0]
        right = details.right[row]
        wanted = max(right, key=lambda column: scores[column])
        best = [column for column in np.argsort(-scores, kind="stable")[: _GOT + len(right)] if column not in right]
        yield Failure(
            details.captions[row][1],
            int(details.t2v[row]),
            _shown(details.samples[wanted], float(scores[wanted])),
            tuple(_shown(details.samples[column], float(scores[column])) for column in best[:_GOT]),
        )


def _shown(sample: Sample, score: float) -> Shown:
    video = sample.video
    link = Path(video.path).absolute().as_uri()
    caption = sample.captions[0] if sample.captions else ""
    try:
        end = probe(video.path).duration if video.end is None else video.end
        return Shown(sample.id, link, picture(video.path, (video.start + end) / 2), score, caption)
    except MediaError:
        return Shown(sample.id, link, "", score, caption)


def _details(report: Report) -> Details:
    if report.details is None:
        raise UsageError("this report has no details: it was not made by evaluate")
    return report.details
