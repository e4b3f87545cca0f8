"""The modality gap of a model: how far texts and videos lie apart, and how much closer those that belong together are.

Sources: Bai et al., "LaT", 2022, tables 9 and 10 (cosines of pairs) and figures 1a and 4 (a map of the clouds); Liang
et al., "Mind the Gap", 2022 (the distance of the centroids). What a model compares is measured: whole vectors, or the
vectors of each block in a space of its own. A translation of a text into the space of videos is GT, of a video into
that of texts FV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, MetricsError, UsageError
from ..protocols import Model, ModelWithTranslatedSides
from ..scoring.blocks import stretches
from ..types import Embeddings, FloatArray, Query, Sample, Scoring, Side
from ..utils.tables import bounds, text_table
from ..utils.wording import counted
from .bootstrap import group_draws
from .evaluate import MAX_UNREADABLE, Embed, check_failures, embed_samples

COMMON = "common"  # the space of vectors that are compared as a whole, or of translations between equally wide ones
PAIRS = 3  # whose cosines are shown one by one
_MAPPED = 100  # pairs of each cloud on the map: its time grows with the square
_RESAMPLES, _SEED, _ROWS = 1000, 0, 64
_NAMES: Mapping[Side, tuple[str, str]] = {"text": ("T", "GT"), "video": ("V", "FV")}  # as it is, and translated


@dataclass(frozen=True, slots=True)
class Cloud:
    """The unit vectors (N, D) of one side of N pairs, in one space. Row i of every cloud belongs to pair i."""

    name: str
    space: str
    vectors: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval: a bootstrap over pairs (percentiles)."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"mean": self.mean, "ci95": [self.low, self.high]}

    def __str__(self) -> str:
        return f"{self.mean:.2f} {bounds(self.low, self.high, digits=2)}"


@dataclass(frozen=True, slots=True)
class CloudDistance:
    """Two clouds of one space: mean cosines of one pair and of different pairs, and the distance of the centroids."""

    first: str
    second: str
    same_pair: Estimate
    different_pairs: Estimate
    centroid_distance: Estimate


@dataclass(frozen=True, slots=True)
class SpaceGap:
    """What was measured in one space.

    Attributes:
        name: Of the block, or COMMON.
        n: Pairs that were measured; those of which a side is a vector of zeros have no cosine.
        distances: Of every two clouds.
        within: The mean cosine of different pairs within a cloud, by its name.
        labels: Of the rows and columns of `cosines`: "T1" is the text of the first chosen pair.
        cosines: (L, L), symmetric by construction.
        places: Where a map puts up to 100 pairs of each cloud, by its name: (P, 2).
    """

    name: str
    n: int
    distances: tuple[CloudDistance, ...]
    within: Mapping[str, Estimate]
    labels: tuple[str, ...]
    cosines: NDArray[np.float64]
    places: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class GapReport:
    """The modality gap of a model on pairs of texts and videos; `chosen` are the texts of the pairs that are shown."""

    model: str
    dataset: str
    n: int
    spaces: tuple[SpaceGap, ...]
    chosen: tuple[str, ...]
    failures: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract)."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "n": self.n,
            "unreadable": dict(self.failures),
            "chosen": list(self.chosen),
            "spaces": [_space_document(space) for space in self.spaces],
        }

    def table(self) -> str:
        """Return the numbers as text: a table of means, then one of the chosen pairs, for every space."""
        parts = [f"{self.model} on {self.dataset}: {counted(self.n, 'pair')}; mean cosines [95 % over pairs]"]
        for space in self.spaces:
            title = "" if space.name == COMMON else f"{space.name}: "
            rest = "" if space.n == self.n else f" ({counted(space.n, 'pair')}: the others have no vector here)"
            parts.append("\n".join([f"{title}means{rest}", *text_table(space_rows(space))]))
            parts.append("\n".join([f"{title}cosines of {len(self.chosen)} pairs", *text_table(cosine_rows(space))]))
        parts.append("\n".join(f"{number}: {text}" for number, text in enumerate(self.chosen, 1)))
        return "\n\n".join(parts)


def space_rows(space: SpaceGap) -> list[list[str]]:
    """Return the means of a space as rows of cells, the first one with the titles."""
    rows = [["", "same pair", "different pairs", "distance of centroids"]]
    for distance in space.distances:
        estimates = (distance.same_pair, distance.different_pairs, distance.centroid_distance)
        rows.append([f"{distance.first} - {distance.second}", *map(str, estimates)])
    return rows + [[f"within {name}", "", str(estimate), ""] for name, estimate in space.within.items()]


def cosine_rows(space: SpaceGap) -> list[list[str]]:
    """Return the cosines of the chosen pairs as rows of cells, the first one with the titles."""
    body = [[label, *(f"{value:.2f}" for value in row)] for label, row in zip(space.labels, space.cosines, strict=True)]
    return [["", *space.labels], *body]


def modality_gap(
    model: Model,
    samples: Sequence[Sample],
    embed: Embed,
    *,
    pairs: int = PAIRS,
    title: str | None = None,
    dataset: str = "",
) -> GapReport:
    """Measure how far the texts and videos of a data set lie apart.

    Decision: a video counts once, with its first caption, so that pairs are independent of each other.

    Args:
        model: Makes the vectors.
        samples: Of which those without captions are passed over.
        embed: As in `evaluate_model`.
        pairs: How many pairs are shown one by one, spread evenly over the data set.
        title: What the report calls the model; None: by its name.
        dataset: What the report calls the data set.

    Raises:
        UsageError: `pairs` is below 1, or `embed` gives too few or too many results.
        MetricsError: Too many videos cannot be read, or fewer than two pairs are left.
    """
    if pairs < 1:
        raise UsageError(f"at least 1 pair is shown, not {pairs}")
    unique = list({sample.video: sample for sample in reversed(samples) if sample.captions}.values())[::-1]
    results = list(zip(unique, embed_samples(unique, embed), strict=True))
    failures = {sample.id: result.reason for sample, result in results if isinstance(result, MediaError)}
    readable = [(sample, result) for sample, result in results if isinstance(result, Embeddings)]
    check_failures(failures, len(unique), MAX_UNREADABLE, "repair them, or take them out of the data set")
    if len(readable) < 2:
        raise MetricsError(f"a gap is measured on at least 2 videos with captions, not on {len(readable)}")
    texts = [sample.captions[0] for sample, _ in readable]
    queries = np.asarray(model.embed_queries([Query(text) for text in texts]))
    videos = np.stack([result.video for _, result in readable])
    sides = model.translated_sides() if isinstance(model, ModelWithTranslatedSides) else {}
    clouds = clouds_of(queries, videos, model.scoring, sides)
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(pairs, len(texts))).round().astype(int))
    names = dict.fromkeys(cloud.space for cloud in clouds)
    return GapReport(
        model=title or model.name,
        dataset=dataset,
        n=len(texts),
        spaces=tuple(_measured([cloud for cloud in clouds if cloud.space == name], chosen) for name in names),
        chosen=tuple(texts[row] for row in chosen),
        failures=failures,
    )


def clouds_of(queries: FloatArray, videos: FloatArray, scoring: Scoring, translated: Mapping[str, Side]) -> list[Cloud]:
    """Return the clouds of texts and videos: of each block, or of whole vectors.

    Args:
        queries: (N, D), of the texts.
        videos: (N, D), of their videos.
        scoring: How they are compared.
        translated: Name of a block -> which side of it is a translation. Where all blocks have one, and are equally
            wide, all clouds lie in one space, as those of the paper do.
    """
    if not scoring.blocks:
        return [Cloud("T", COMMON, _unit(queries)), Cloud("V", COMMON, _unit(videos))]
    names = [block.name for block in scoring.blocks]
    is_common = set(names) == set(translated) and len({block.width for block in scoring.blocks}) == 1
    sides: dict[Side, FloatArray] = {"text": queries, "video": videos}
    clouds = []
    for block, columns in stretches(scoring.blocks, queries, videos):
        for side, rows in sides.items():
            plain, translation = _NAMES[side]
            name = translation if translated.get(block.name) == side else plain
            clouds.append(Cloud(name, COMMON if is_common else block.name, _unit(rows[:, columns])))
    return sorted(clouds, key=lambda cloud: names.index(cloud.space)) if not is_common else _in_order(clouds)


def _in_order(clouds: Sequence[Cloud]) -> list[Cloud]:
    """Return clouds as tables of the paper have them: T, V, GT, FV."""
    order = ["T", "V", "GT", "FV"]
    return sorted(clouds, key=lambda cloud: order.index(cloud.name))


def _unit(rows: FloatArray) -> NDArray[np.float64]:
    """Return rows of length 1; a row of zeros stays."""
    values = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1.0)


def _measured(clouds: Sequence[Cloud], chosen: NDArray[np.int64]) -> SpaceGap:
    """Measure the clouds of one space."""
    has_vector = np.all([np.any(cloud.vectors != 0, axis=1) for cloud in clouds], axis=0)
    if has_vector.sum() < 2:
        raise MetricsError(f"{clouds[0].space}: fewer than 2 pairs have vectors on both sides: nothing to compare")
    measured = {cloud.name: cloud.vectors[has_vector] for cloud in clouds}
    distances = []
    for (first, left), (second, right) in combinations(measured.items(), 2):
        distances.append(CloudDistance(first, second, *_estimates(left, right)))
    rows = np.concatenate([cloud.vectors[chosen] for cloud in clouds])
    return SpaceGap(
        name=clouds[0].space,
        n=int(has_vector.sum()),
        distances=tuple(distances),
        within={name: _estimates(vectors, vectors)[1] for name, vectors in measured.items()},
        labels=tuple(f"{cloud.name}{number}" for cloud in clouds for number in range(1, len(chosen) + 1)),
        cosines=rows @ rows.T,
        places=_places(measured),
    )


def _estimates(first: NDArray[np.float64], second: NDArray[np.float64]) -> list[Estimate]:
    """Return the mean cosine of one pair, that of different pairs, and the distance of the centroids.

    A pair that a resample draws twice is no different pair of itself.
    """
    count = len(first)
    [values] = _means(first, second, np.ones((1, count)))
    draws = [_means(first, second, weights) for weights in group_draws(count, _RESAMPLES, _SEED, _ROWS)]
    low, high = np.nanpercentile(np.concatenate(draws), [2.5, 97.5], axis=0)
    return [Estimate(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def _means(first: NDArray[np.float64], second: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the three numbers of `_estimates` (R, 3) where pairs count as often as the weights (R, N) say.

    The squared distance of two centroids is the mean cosine within each cloud, both added, less twice that between them
    (decision: all of different pairs, so that few pairs give no larger distance than many).
    """
    squares, total = weights.astype(np.float64) ** 2, weights.sum(axis=1)
    others = total**2 - squares.sum(axis=1)  # 0 where a resample is one pair alone, which has no different pairs

    def different(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        same = np.einsum("nd,nd->n", left, right)
        products = ((weights @ left) * (weights @ right)).sum(axis=1) - squares @ same
        return np.where(others > 0, products / np.maximum(others, 1), np.nan)

    between = different(first, second)
    distance = np.sqrt(np.maximum(0, different(first, first) + different(second, second) - 2 * between))
    return np.column_stack([weights @ np.einsum("nd,nd->n", first, second) / total, between, distance])


def _places(clouds: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return where multidimensional scaling puts the vectors: distances on the map are like those of unit vectors.

    It starts at their principal components, so that it gives the same map every time.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import smacof
    from sklearn.metrics import euclidean_distances

    count = min(_MAPPED, len(next(iter(clouds.values()))))
    rows = np.concatenate([vectors[:count] for vectors in clouds.values()])
    start = PCA(2, svd_solver="full").fit_transform(rows)
    places, _ = smacof(euclidean_distances(rows), init=start, n_init=1, normalized_stress=False)
    return dict(zip(clouds, np.split(places, len(clouds)), strict=True))


def _space_document(space: SpaceGap) -> dict[str, Any]:
    return {
        "space": space.name,
        "n": space.n,
        "clouds": list(space.within),
        "pairs": [
            {
                "clouds": [distance.first, distance.second],
                "same_pair": distance.same_pair.as_dict(),
                "different_pairs": distance.different_pairs.as_dict(),
                "centroid_distance": distance.centroid_distance.as_dict(),
            }
            for distance in space.distances
        ],
        "within": {name: estimate.as_dict() for name, estimate in space.within.items()},
        "labels": list(space.labels),
        "cosines": space.cosines.round(6).tolist(),
    }
