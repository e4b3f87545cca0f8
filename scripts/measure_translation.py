"""Measure how well the vectors of one model are translated into another's: `measure_translation.py`.

From the old and new vectors of N videos of moving shapes a map is learned; the old vectors of a library are translated
by it, and searched by the new model with three captions of each video. `--split test` learns from validation videos,
and the test videos are the library; `--split val`, by which the floor of `index --translate` is chosen, learns from the
first 60 % of the validation videos, and the others are the library. A model that names no key images takes those of the
other. [low, high]: 95 % bootstrap over videos, Wilson's of videos left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmi_tvr import config, models
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import EvaluationModel, ModelChoice, load_model
from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import metrics
from mmi_tvr.evaluation.metrics import SCORE_TOLERANCE, Metrics
from mmi_tvr.experiments.moving_shapes_split import split_features
from mmi_tvr.scoring import vector_map
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.scoring.vector_map import of_unit_blocks, video_inputs
from mmi_tvr.types import Embeddings, FloatArray, IdArray, Query, Scoring
from mmi_tvr.utils.progress import Progress
from mmi_tvr.utils.tables import interval, markdown_table

SIZES = (50, 100, 200, 400, 1000)
EMBEDDED = (0.1, 0.5, 0.9)  # shares of a library whose true vectors are there
_CAPTIONS = 3  # of each video
_LEARNING = 0.6  # of the validation split, where that is the library, too
_FEWEST = 10  # videos, of which enough are left to learn from
_BEST = 10
_RIDGES = np.logspace(-4, 2, 13)


@dataclass(frozen=True)
class ModelVectors:
    """What a model makes of the videos to learn from, of a library of M videos, and of its captions (3 M, D)."""

    name: str
    scoring: Scoring
    learning: Sequence[Embeddings]
    library: Sequence[Embeddings]
    captions: FloatArray

    @property
    def widths(self) -> list[int]:
        return [block.width for block in self.scoring.blocks] or [self.captions.shape[1]]

    def scores(self, library: Sequence[Embeddings]) -> FloatArray:
        """Return the scores of all captions with a library (3 M, M)."""
        return Gallery.pack(library).score(self.captions, self.scoring)


# Old and new vectors, and of how many videos it learns -> scores of all captions with the library (3 M, M).
Way = Callable[[ModelVectors, ModelVectors, int], FloatArray]


def main(arguments: Sequence[str] | None = None) -> None:
    args = _arguments(arguments)
    systems = load_models(args.old, args.new)
    with show_progress() as progress:
        old, new = (
            vectors(name, system, args.split, args.limit, progress)
            for name, system in zip((args.old, args.new), systems, strict=True)
        )
    sizes = sorted({min(size, len(old.learning)) for size in args.sizes})
    lines = table_of_sizes(old, new, sizes)
    if args.ways:
        lines += ["", *table_of_ways(old, new, sizes)]
    out.print("\n".join(lines), markup=False)


def load_models(old: str, new: str) -> list[EvaluationModel]:
    """Return both models. One that names no key images gets those of the other."""
    named = [models.key_images(models.resolve(models.section(name))) for name in (old, new)]
    systems = []
    for name, images, others in zip((old, new), named, named[::-1], strict=True):
        settings = config.load()
        if images is None and others is not None:
            settings = settings.model_copy(update={"keyimages": others})
        systems.append(load_model(ModelChoice(name, None, False, settings)))
    return systems


def vectors(name: str, system: EvaluationModel, split: str, limit: int | None, progress: Progress) -> ModelVectors:
    """Return what a model makes of moving shapes.

    Args:
        name: Of the model.
        system: The model and its key images.
        split: val or test, of which the library is.
        limit: Only the first so many videos of each split; None: all.
        progress: Follows the work.
    """
    parts = {
        part: split_features(part, system.model, system.method, progress, limit=limit, captions=_CAPTIONS)
        for part in dict.fromkeys(("val", split))
    }
    learning, library = (system.model.embed_videos(parts[part].features[:]) for part in ("val", split))
    samples = list(parts[split].samples)
    if split == "val":
        cut = round(_LEARNING * len(samples))
        learning, library, samples = learning[:cut], library[cut:], samples[cut:]
    queries = [Query(caption) for sample in samples for caption in sample.captions]
    captions = np.asarray(system.model.embed_queries(queries), np.float32)
    return ModelVectors(name, system.model.scoring, learning, library, captions)


def table_of_sizes(old: ModelVectors, new: ModelVectors, sizes: Sequence[int]) -> list[str]:
    """Return what both models find by vectors of their own, and a table with a row for each number of videos."""
    former, latter = (ranks(side.scores(side.library)) for side in (old, new))
    true_scores = new.scores(new.library)
    lines = [f"{len(new.captions):,} captions, {len(new.library):,} videos; R@1 by vectors of its own:"]
    lines += [f"{side.name} {_recall(metrics_of(found_at))}" for side, found_at in ((old, former), (new, latter))]
    shares = " / ".join(f"{share:.0%}" for share in EMBEDDED)
    header = ["N", "R@1 on videos left out", "recall@10", "R@1 of captions", "minus the old model's"]
    rows = [[*header, f"{_BEST} best in common", f"R@1 with {shares} embedded"]]
    for size in sizes:
        quality = vector_map.quality(video_inputs(old.learning[:size]), _rows(new.learning[:size]), new.scoring.blocks)
        library = translated(old, new, size)
        scores = new.scores(library)
        by_map = ranks(scores)
        gain = metrics.paired_bootstrap(former, by_map, groups(len(former)))["R@1"]
        mixed = (metrics_of(ranks(new.scores(mixture(library, new.library, share)))).r1 for share in EMBEDDED)
        rows.append(
            [
                f"{size:,}",
                interval(quality.r1, quality.low, quality.high),
                f"{quality.recall:.1f}",
                _recall(metrics_of(by_map)),
                interval(gain.value, gain.low, gain.high, signed=True),
                f"{common(scores, true_scores):.1f}",
                " / ".join(f"{recall:.1f}" for recall in mixed),
            ]
        )
    return [*lines, "", *markdown_table(rows, padded=True)]


def table_of_ways(old: ModelVectors, new: ModelVectors, sizes: Sequence[int]) -> list[str]:
    """Return the lines of a table of R@1 with a row for each way to translate."""
    rows = [[f"{old.name} -> {new.name}", *(f"N = {size:,}" for size in sizes)]]
    for title, way in WAYS.items():
        rows.append([title, *(_recall(metrics_of(ranks(way(old, new, size)))) for size in sizes)])
    return markdown_table(rows, padded=True)


def translated(old: ModelVectors, new: ModelVectors, size: int) -> list[Embeddings]:
    """Return the library as the package translates it, which learns from the first `size` videos."""
    learned = vector_map.learn_embeddings(old.learning[:size], new.learning[:size], new.scoring.blocks)
    return learned(old.library)


def least_squares(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    return new.scores(translated(old, new, size))


def drawn_to_zero(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    from sklearn.linear_model import RidgeCV

    fit = RidgeCV(alphas=_RIDGES).fit(video_inputs(old.learning[:size]), _rows(new.learning[:size]))
    return _scored(old, new, size, fit.predict(video_inputs(old.library)))


def whole_videos(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    learned = vector_map.learn(_rows(old.learning[:size]), _rows(new.learning[:size]), new.scoring.blocks)
    return _scored(old, new, size, learned(_rows(old.library)))


def kernel_ridge(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV

    values = {"alpha": np.logspace(-4, 0, 5), "gamma": [0.03, 0.1, 0.3, 1.0]}
    search = GridSearchCV(KernelRidge(kernel="rbf"), values, scoring="neg_mean_squared_error")
    fit = search.fit(video_inputs(old.learning[:size]), _rows(new.learning[:size]))
    return _scored(old, new, size, fit.predict(video_inputs(old.library)))


def network(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    """Learn what least squares leave by a network with a hidden layer."""
    from sklearn.neural_network import MLPRegressor

    inputs, targets = video_inputs(old.learning[:size]), _rows(new.learning[:size])
    learned = vector_map.learn(inputs, targets, new.scoring.blocks)
    stopping = {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 500}
    fit = MLPRegressor(hidden_layer_sizes=(512,), random_state=0, **stopping).fit(inputs, targets - learned(inputs))
    rest = fit.predict(video_inputs(old.library))
    return _scored(old, new, size, learned(video_inputs(old.library)) + rest)


def other_way_round(old: ModelVectors, new: ModelVectors, size: int) -> FloatArray:
    """Translate the captions of the new model into the space of the old one, whose library stays."""
    learned = vector_map.learn(_rows(new.learning[:size]), _rows(old.learning[:size]), old.scoring.blocks)
    return Gallery.pack(old.library).score(learned(new.captions), old.scoring)


WAYS: Mapping[str, Way] = {
    "least squares, whole videos alone": whole_videos,
    "least squares, with four stretches of time (the package)": least_squares,
    "the same, always drawn to zero": drawn_to_zero,
    "kernel ridge (RBF), with four stretches": kernel_ridge,
    "least squares and a network (512 wide) for the rest": network,
    "the other way round: captions into the old space": other_way_round,
}


def ranks(scores: FloatArray) -> IdArray:
    """Return the rank of its own video for each caption (3 M,), by scores (3 M, M)."""
    return metrics.ranks([scores], [{video} for video in groups(len(scores))], SCORE_TOLERANCE)


def groups(captions: int) -> list[int]:
    """Return the number of the video of each caption."""
    return [caption // _CAPTIONS for caption in range(captions)]


def metrics_of(query_ranks: IdArray) -> Metrics:
    return metrics.summary(query_ranks, groups(len(query_ranks)))


def mixture(library: Sequence[Embeddings], true: Sequence[Embeddings], share: float) -> list[Embeddings]:
    """Return a library of which a share, evenly spread, has true vectors, and all others translated ones."""
    embedded = np.diff(np.floor(share * np.arange(len(library) + 1) + 1e-9)) > 0
    return [true[number] if embedded[number] else video for number, video in enumerate(library)]


def common(scores: FloatArray, others: FloatArray) -> float:
    """Return how many of the ten best videos of each caption are among its ten best by other scores, in percent."""
    top = min(_BEST, scores.shape[1])
    best = (np.argsort(-side, axis=1, kind="stable")[:, :top] for side in (scores, others))
    return 100 * float(np.mean([len(np.intersect1d(*pair)) / top for pair in zip(*best, strict=True)]))


def _scored(old: ModelVectors, new: ModelVectors, size: int, rows: FloatArray) -> FloatArray:
    """Return scores where other rows (M, D) stand for whole videos; key images are as the package translates them."""
    library = translated(old, new, size)
    of_videos = of_unit_blocks(rows, new.widths)
    return new.scores(
        [Embeddings(row, video.moments, video.segments) for row, video in zip(of_videos, library, strict=True)]
    )


def _rows(videos: Sequence[Embeddings]) -> FloatArray:
    """Return the vectors of whole videos (N, D)."""
    return np.stack([video.video for video in videos])


def _recall(of_captions: Metrics) -> str:
    return interval(of_captions.r1, *of_captions.ci95["R@1"])


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default="clip4clip:moving-shapes/base/clip", help="the model that a library has")
    parser.add_argument("--new", default="moving-shapes", help="the one that it is to have")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="videos to learn from")
    parser.add_argument("--ways", action="store_true", help="compare other ways to translate, too")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--limit", type=int, help="only the first so many videos of each split")
    args = parser.parse_args(arguments)
    for option, values in (("--sizes", args.sizes), ("--limit", [args.limit or _FEWEST])):
        if min(values) < _FEWEST:
            raise UsageError(f"{option} {min(values)}: at least {_FEWEST}")
    return args


if __name__ == "__main__":
    with command():
        main()
