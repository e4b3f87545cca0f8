"""What a modality gap looks like: a map of the clouds, and one page with the map and the tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ..evaluation.gap import COMMON, GapReport, SpaceGap, cosine_rows, space_rows
from ..utils import files
from ..utils.installation import require
from ..utils.wording import counted
from ._templates import template
from .page import data_uri

# Okabe and Ito's colours that no colour blindness confuses; forms differ, too, and translations are not filled.
_LOOKS = {"T": ("#0072B2", "o"), "V": ("#D55E00", "s"), "GT": ("#0072B2", "^"), "FV": ("#D55E00", "D")}
_SIDES = {"T": "texts", "V": "videos", "GT": "texts, translated", "FV": "videos, translated"}
_JOINED = 12  # pairs that are joined by a line
_INCHES = 4.6


def gap_page(report: GapReport, config: Mapping[str, Any], gap_map: bytes | None = None) -> str:
    """Return one self-contained page: the map, the means, and the cosines of the chosen pairs.

    Args:
        report: what was measured.
        config: how it was made, as the page shows it.
        gap_map: `gap_map` of the report as PNG; None: without one.
    """
    return template("gap.html.j2").render(
        report=report,
        counted=counted,
        common=COMMON,
        spaces=[(space, space_rows(space), cosine_rows(space)) for space in report.spaces],
        picture=data_uri(gap_map, "png") if gap_map else "",
        config=config,
    )


def gap_map(report: GapReport) -> bytes:
    """Return a PNG of the clouds of every space, side by side. Raises MissingExtra without matplotlib."""
    figure_module = require("matplotlib.figure", "plots")
    count = len(report.spaces)
    columns = min(count, 2)
    lines = -(-count // columns)
    figure = figure_module.Figure(figsize=(_INCHES * columns, _INCHES * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    for axes, space in zip(grid.flat, report.spaces, strict=False):
        _draw(axes, space, report.model)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata=files.SOFTWARE)
    return buffer.getvalue()


def _draw(axes: Any, space: SpaceGap, model: str) -> None:
    """Draw the clouds of one space, and lines between the two sides of some pairs."""
    for distance in space.distances:
        if {distance.first[-1], distance.second[-1]} != {"T", "V"}:
            continue  # a cloud and its own translation
        if len(space.distances) > 1 and len(distance.first + distance.second) != 3:
            continue  # among four clouds, those that are compared: one side is a translation
        ends = zip(space.places[distance.first][:_JOINED], space.places[distance.second][:_JOINED], strict=True)
        for start, end in ends:
            axes.plot((start[0], end[0]), (start[1], end[1]), color="#999999", linewidth=0.7, zorder=1)
    for name, places in space.places.items():
        colour, marker = _LOOKS[name]
        axes.scatter(
            places[:, 0],
            places[:, 1],
            s=26,
            marker=marker,
            linewidths=1.1,
            edgecolors=colour,
            facecolors="none" if len(name) > 1 else colour,
            alpha=0.85,
            zorder=2,
            label=f"{name}: {_SIDES[name]}",
        )
    axes.set_title(model if space.name == COMMON else f"{model}, {space.name}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="best", fontsize="small", framealpha=0.9)
