"""Measure what descriptions of videos add to a search (`index --describe`): `measure_descriptions.py`.

A query is one caption of a video of moving shapes, and each video is described by what the model answers to the chosen
questions, as `index --describe` does. All weights are measured on the validation split, where one is chosen; on the
test split that of the package is. Answers are kept in the user's cache: after a stop, the same command goes on.

Of a folder of videos (`measure_descriptions.py FOLDER --captions TABLE --column QUERIES,DESCRIPTIONS`) one column is
searched, and another describes, as a perfect describer would.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmi_tvr import Encoder, config
from mmi_tvr.cli._captioned import add_videos, captioned_videos, is_folder
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.moving_shapes_split import SplitFeatures, mean_searcher, split_features
from mmi_tvr.experiments.recall_table import MeasuredRanks, recall_table
from mmi_tvr.features.cache import sampling_fingerprint
from mmi_tvr.index import open_index
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.descriptions import Description, Descriptions
from mmi_tvr.protocols import Index, Model
from mmi_tvr.rerank import skeleton, skeleton_options
from mmi_tvr.scoring.descriptions import WEIGHT
from mmi_tvr.scoring.relevance import calibrate
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.search.restriction import ResultOptions
from mmi_tvr.search.searcher import Searcher
from mmi_tvr.skeletons.dataset import video_views
from mmi_tvr.skeletons.skeletons import Describer, description_text
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.types import Embeddings, Query, VideoEntry, row_ids
from mmi_tvr.utils import array_cache
from mmi_tvr.utils.progress import Progress

WEIGHTS = (0.1, WEIGHT, 1.0)
ALONE = "pictures alone"
_LIMIT = 500  # videos of a split
_COLUMNS = 2
_FIRST = ResultOptions(top=1, min_relevance=0.0)


@dataclass(frozen=True)
class Collection:
    """Videos in an index, and what they are described as ("": nothing), in one order; the i-th has the i-th number."""

    model: Model
    index: Index
    catalogue: Catalogue
    embeddings: Sequence[Embeddings]
    texts: Sequence[str]
    numbers: Sequence[int]

    def describe(self, rows: Iterable[int]) -> None:
        """Store the descriptions of these videos, as `index --describe` does."""
        described = [row for row in rows if self.texts[row]]
        if not described:
            return
        vectors = np.asarray(self.model.embed_queries([Query(self.texts[row]) for row in described]))
        maker = self.model.fingerprint()
        stored = {
            self.numbers[row]: Description(self.texts[row], maker, vector)
            for row, vector in zip(described, vectors, strict=True)
        }
        Descriptions(self.catalogue, maker).put(stored)

    def search(self, queries: Sequence[str], weight: float | None) -> MeasuredRanks:
        """Return ranks of the i-th video for the i-th query: 1, or 2 for all others. weight: of descriptions."""
        law = calibrate(self.model, Gallery.pack(self.embeddings), len(self.embeddings))
        descriptions = None if weight is None else Descriptions(self.catalogue, self.model.fingerprint())
        searcher = Searcher(
            self.model, self.index, self._entries, law, descriptions, weight or 0.0, decides_by_match=False
        )
        results = searcher.search_all(queries, _FIRST)
        first = [int(hit.path.name) for [hit] in results]
        ranks = np.where(np.array(first) == np.array(self.numbers), 1, 2)
        return MeasuredRanks(ranks, None if weight is None else ALONE)

    def _entries(self, numbers: Iterable[int]) -> Mapping[int, VideoEntry]:
        segments = dict(zip(self.numbers, (one.segments for one in self.embeddings), strict=True))
        return {number: VideoEntry((Path(str(number)),), segments[number]) for number in numbers}


def main() -> None:
    args = _arguments()
    with show_progress() as progress:
        measure = of_folder if is_folder(args) else of_moving_shapes
        table = recall_table(measure(args, progress))
    out.print("\n".join(table), markup=False)


def of_moving_shapes(args: argparse.Namespace, progress: Progress) -> dict[str, dict[str, MeasuredRanks]]:
    """Return the ranks of both splits of moving shapes, whose videos the model describes."""
    encoder = Encoder.from_pretrained(args.model)
    model = mean_searcher(encoder.model) if args.mean else encoder.model
    options = skeleton_options(config.load(None, []).rerank, encoder.model)
    measured = {}
    with SkeletonStore(array_cache.folder() / SKELETONS_FILE) as store:
        describer = skeleton.describer(options, model=encoder.model, store=store)
        for name, title, weights in (("val", "validation", WEIGHTS), ("test", "test", (WEIGHT,))):
            limit = args.limit or _LIMIT
            split = split_features(name, encoder.model, encoder.keyimages, progress, limit=limit, captions=1)
            texts = descriptions(split, describer, sampling_fingerprint(encoder.model, encoder.keyimages), progress)
            captions = [sample.captions[0] for sample in split.samples]
            measured[title] = trials(model, model.embed_videos(split.features[:]), texts, captions, weights)
    return measured


def of_folder(args: argparse.Namespace, progress: Progress) -> dict[str, dict[str, MeasuredRanks]]:
    """Return the ranks of a folder's videos, which one column of its table describes."""
    videos = captioned_videos(args, progress)
    if len(videos.columns) != _COLUMNS:
        raise UsageError("--column QUERIES,DESCRIPTIONS: one column to search by, and one that describes")
    queries, texts = (list(column) for column in zip(*videos.captions, strict=True))
    return {"videos": trials(videos.model, videos.embeddings, texts, queries, WEIGHTS)}


def descriptions(split: SplitFeatures, describer: Describer, sampling: str, progress: Progress) -> list[str]:
    """Return what each video of a split is described as; an empty text where it answered nothing."""
    views = video_views(split.samples, split.features, sampling)
    progress.begin("describing videos", len(views))
    return [description_text(answers) for answers in describer.video_skeletons(views, progress.advance)]


def trials(
    model: Model,
    embeddings: Sequence[Embeddings],
    texts: Sequence[str],
    queries: Sequence[str],
    weights: Sequence[float],
) -> dict[str, MeasuredRanks]:
    """Return the ranks by pictures alone, and with descriptions, by the title of a row.

    Args:
        model: Searches.
        embeddings: Of N videos.
        texts: What they are described as.
        queries: The i-th is about the i-th video.
        weights: Of descriptions.
    """
    with TemporaryDirectory() as folder, closing(Catalogue(Path(folder) / CATALOGUE, create=True)) as catalogue:
        with catalogue.transaction():
            numbers = [catalogue.content_number(str(row)) for row in range(len(texts))]
        path, dim = Path(folder) / "vectors", embeddings[0].video.shape[0]
        index = open_index("flat", path=path, dim=dim, fingerprint=model.fingerprint())
        for number, one in zip(numbers, embeddings, strict=True):
            index.upsert(row_ids(number, len(one.moments)), np.vstack([one.video[None], one.moments]))
        index.flush()
        videos = Collection(model, index, catalogue, embeddings, texts, numbers)
        results = {ALONE: videos.search(queries, None)}
        videos.describe(range(0, len(texts), 2))
        half = videos.search(queries, WEIGHT)
        videos.describe(range(1, len(texts), 2))
        for weight in weights:
            results[f"with descriptions, weight {weight:g}"] = videos.search(queries, weight)
        results[f"with descriptions of every second video, weight {WEIGHT:g}"] = half
        index.close()
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_videos(parser)
    parser.add_argument("--model", default="moving-shapes", help="searches, and answers the questions")
    parser.add_argument("--mean", action="store_true", help="search by the mean of key images: the model's own CLIP")
    parser.add_argument("--limit", type=int, help=f"only the first so many videos (of each split: {_LIMIT})")
    return parser.parse_args()


if __name__ == "__main__":
    with command():
        main()
