"""The questions of a pool in two dimensions: clusters by colour, the chosen ones marked and labelled."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import plugins
from ..errors import UsageError
from ..types import FloatArray
from .pool import Pool
from .selection import Selection

Method = Literal["pca", "tsne"]
_WIDTH, _HEIGHT, _DPI = 11.0, 6.5, 120
_LEGEND = 46  # characters in a line


def in_two_dimensions(points: FloatArray, method: Method = "pca", seed: int = 0) -> NDArray[np.float64]:
    """Vectors (N, D) -> places (N, 2). UsageError for fewer than three."""
    if len(points) < 3:
        raise UsageError(f"a plot needs at least 3 enabled questions, not {len(points)}")
    if method == "pca":
        from sklearn.decomposition import PCA

        found = PCA(2, random_state=seed).fit_transform(points)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(15.0, (len(points) - 1) / 3)
        found = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return np.asarray(found, dtype=np.float64)


def png(pool: Pool, choice: Selection, points: FloatArray, method: Method = "pca") -> bytes:
    """A picture of the enabled questions, whose vectors `points` (N, D) are. Needs the extra `plots`."""
    plugins.require("matplotlib", "plots")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = in_two_dimensions(points, method, choice.seed)
    number = {question.id: at for at, question in enumerate(pool.enabled)}
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = _colours(len(choice.clusters))
    for group, colour in zip(choice.clusters, colours, strict=True):
        rows = [number[id] for id in group.questions if id in number]
        axes.scatter(*places[rows].T, s=36, color=colour, alpha=0.75, linewidths=0)
        if group.chosen in number:
            text = textwrap.fill(f"{group.chosen} ({len(rows)}): {pool[group.chosen].text}", _LEGEND)
            place = places[number[group.chosen]]
            axes.scatter(
                *place, s=170, color=colour, edgecolors="black", linewidths=1.6, marker="*", label=text, zorder=3
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(
        f"{pool.about} questions: {len(places)} in {choice.k} clusters by {choice.model} "
        f"({'PCA' if method == 'pca' else 't-SNE'}; stars are chosen by the rule {choice.rule})",
        fontsize=10,
    )
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, labelspacing=0.9)
    axes.margins(0.08)
    canvas.draw()
    _label(axes, places, [(id, number[id]) for id in choice.chosen if id in number])
    stream = io.BytesIO()
    canvas.print_png(stream)
    return stream.getvalue()


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["tab20"](at % 10 * 2 + at // 10 % 2) for at in range(count)]


def _label(axes: Any, places: NDArray[np.float64], chosen: Sequence[tuple[str, int]]) -> None:
    """Ids beside their stars, where they cover neither another id nor, as far as can be, a point."""
    pixels = axes.transData.transform(places)
    taken: list[NDArray[np.float64]] = []
    scale = _DPI / 72
    for id, at in chosen:
        options = [
            np.array([np.cos(angle), np.sin(angle)]) * reach * scale
            for reach in (18, 26, 36)
            for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ]

        def crowd(offset: NDArray[np.float64], at: int = at) -> float:
            middle = pixels[at] + offset
            over = sum(bool((np.abs(middle - other) < np.array([30, 15]) * scale).all()) for other in taken)
            near = (np.abs(np.delete(pixels, at, 0) - middle) < np.array([16, 10]) * scale).all(axis=1).sum()
            return float(over * 100 + near * 5 + np.hypot(*offset) / (100 * scale))

        best = min(options, key=crowd)
        taken.append(pixels[at] + best)
        axes.annotate(
            id,
            places[at],
            xytext=best / scale,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.4", "shrinkA": 4, "shrinkB": 5},
            zorder=4,
        )
