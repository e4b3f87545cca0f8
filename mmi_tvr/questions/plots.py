"""A plot of a pool's questions in two dimensions: clusters by colour, the chosen ones marked and labelled."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..types import FloatArray
from ..utils.files import SOFTWARE
from ..utils.installation import require
from ..utils.wording import counted
from .pool import Pool
from .selection import Selection

Method = Literal["pca", "tsne"]
_WIDTH, _HEIGHT, _DPI = 11.0, 6.5, 120
_LEGEND_WIDTH = 46  # characters in a line


def in_two_dimensions(points: FloatArray, method: Method = "pca", seed: int = 0) -> NDArray[np.float64]:
    """Project vectors (N, D) to (N, 2). Raises UsageError for fewer than three."""
    if len(points) < 3:
        raise UsageError(f"a plot needs at least 3 enabled questions, not {len(points)}")
    if method == "pca":
        from sklearn.decomposition import PCA

        projected = PCA(2, random_state=seed).fit_transform(points)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(15.0, (len(points) - 1) / 3)
        projected = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return np.asarray(projected, dtype=np.float64)


def selection_png(pool: Pool, selection: Selection, points: FloatArray, method: Method = "pca") -> bytes:
    """Return a PNG of the enabled questions, whose vectors `points` (N, D) are. Raises MissingExtra without `plots`."""
    require("matplotlib", "plots")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    positions = in_two_dimensions(points, method, selection.seed)
    row_of = {question.id: row for row, question in enumerate(pool.enabled)}
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    colours = _colours(len(selection.clusters))
    for cluster, colour in zip(selection.clusters, colours, strict=True):
        rows = [row_of[id] for id in cluster.questions if id in row_of]
        axes.scatter(*positions[rows].T, s=36, color=colour, alpha=0.75, linewidths=0)
        if cluster.chosen in row_of:
            text = textwrap.fill(f"{cluster.chosen} ({len(rows)}): {pool[cluster.chosen].text}", _LEGEND_WIDTH)
            star = positions[row_of[cluster.chosen]]
            axes.scatter(
                *star, s=170, color=colour, edgecolors="black", linewidths=1.6, marker="*", label=text, zorder=3
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(
        f"{pool.about} questions: {len(positions)} in {counted(selection.k, 'cluster')} by {selection.model} "
        f"({'PCA' if method == 'pca' else 't-SNE'}; stars are chosen by the rule {selection.rule})",
        fontsize=10,
    )
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, labelspacing=0.9)
    axes.margins(0.08)
    canvas.draw()
    _label(axes, positions, [(id, row_of[id]) for id in selection.chosen if id in row_of])
    stream = io.BytesIO()
    canvas.print_png(stream, metadata=SOFTWARE)
    return stream.getvalue()


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    # tab20 holds ten pairs of a dark and a light colour: the dark ones first
    return [colormaps["tab20"](number % 10 * 2 + number // 10 % 2) for number in range(count)]


def _label(axes: Any, positions: NDArray[np.float64], chosen: Sequence[tuple[str, int]]) -> None:
    """Write ids next to their stars, where they cover neither another id nor, if possible, a point."""
    pixels = axes.transData.transform(positions)
    scale = _DPI / 72
    candidates = [
        np.array([np.cos(angle), np.sin(angle)]) * distance * scale
        for distance in (18, 26, 36)
        for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ]
    labels: list[NDArray[np.float64]] = []
    for id, row in chosen:
        points = np.delete(pixels, row, 0)
        costs = [_overlap_cost(pixels[row], offset, labels, points, scale) for offset in candidates]
        offset = candidates[int(np.argmin(costs))]
        labels.append(pixels[row] + offset)
        axes.annotate(
            id,
            positions[row],
            xytext=offset / scale,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.4", "shrinkA": 4, "shrinkB": 5},
            zorder=4,
        )


def _overlap_cost(
    star: NDArray[np.float64],
    offset: NDArray[np.float64],
    labels: Sequence[NDArray[np.float64]],
    points: NDArray[np.float64],
    scale: float,
) -> float:
    """Return the cost of a label at `star + offset`: covering a label costs more than a point, that more than distance.

    Args:
        star: (2,), pixels.
        offset: (2,), pixels.
        labels: centres (2,) of the labels so far, pixels.
        points: (N, 2), pixels.
        scale: pixels per typographic point.
    """
    centre = star + offset
    covered_labels = sum(bool((np.abs(centre - label) < np.array([30, 15]) * scale).all()) for label in labels)
    covered_points = (np.abs(points - centre) < np.array([16, 10]) * scale).all(axis=1).sum()
    return float(covered_labels * 100 + covered_points * 5 + np.hypot(*offset) / (100 * scale))
