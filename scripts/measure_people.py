"""How sure "anna is there, but not so" is: `measure_people.py FOLDER --captions TABLE --model label_bridge`.

Queries are "[anna] CAPTION", anna being in some videos drawn at random. Lost is "nothing found" for a caption whose own
video is first among hers; told is "nothing found" for the caption of a video in which she is not. By the law of all
videos, and by that of hers (`scoring.personal`), which searches use. A model with a matching head is judged by its
relevance here all the same, though the head decides in searches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmi_tvr import config
from mmi_tvr.cli._captioned import add_videos
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import DataChoice, ModelChoice, load_data, load_model
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import Model, RelevanceCalibration
from mmi_tvr.scoring.personal import personal_law
from mmi_tvr.scoring.relevance import calibrate
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, FloatArray, Person, Query
from mmi_tvr.utils.chinese import has_chinese
from mmi_tvr.utils.intervals import wilson
from mmi_tvr.utils.progress import Progress
from mmi_tvr.utils.tables import interval, markdown_table

PERSON = {"anna": Person(np.zeros((0, 1), np.float32), "", "anna")}
ALL, HERS = "all videos", "hers"  # whose law judges
_CAPTIONS = 2  # of each video


@dataclass(frozen=True)
class Rejections:
    """Whether nothing was found, of queries by the video that each is about."""

    videos: list[int]
    rejected: list[bool]

    def cell(self) -> str:
        """Return the share in percent with Wilson's 95 % interval, of as many trials as there are different videos."""
        if not self.videos:
            return "-"
        share, count = float(np.mean(self.rejected)), len(set(self.videos))
        return f"{interval(100 * share, *wilson(share, count))}, n = {count}"


@dataclass(frozen=True)
class NamedQueries:
    """Q captions with a name in front: their vectors (Q, D), the videos that they are about, and scores (Q, M)."""

    texts: Sequence[str]
    vectors: FloatArray
    videos: Sequence[int]
    scores: FloatArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_videos(parser)
    parser.add_argument("--model", default="label_bridge")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="of moving_shapes")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    parser.add_argument(
        "--half", type=int, choices=(1, 2), help="only every second video, from the first or the second"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 5, 10, 15], help="in how many videos anna is")
    parser.add_argument("--draws", type=int, default=20, help="of her videos, for each size")
    args = parser.parse_args()
    if min(args.sizes) < 1 or args.draws < 1:
        parser.error("--sizes and --draws are 1 or more")
    with show_progress() as progress:
        chosen = load_model(ModelChoice(args.model, None, False, config.load(None, ())))
        choice = DataChoice(args.data, captions=args.captions, column=args.column, split=args.split, limit=args.limit)
        samples = load_data(choice, progress).dataset.samples()
        if args.half is not None:
            samples = samples[args.half - 1 :: 2]
        readable = chosen.readable(samples, progress)
        captions = [(text, row) for row, (sample, _) in enumerate(readable) for text in sample.captions[:_CAPTIONS]]
        embeddings = [embedding for _, embedding in readable]
        rows = measured(chosen.model, embeddings, captions, args.sizes, args.draws, progress)
    out.print("\n".join(rows), markup=False)


def measured(
    model: Model,
    embeddings: Sequence[Embeddings],
    captions: Sequence[tuple[str, int]],
    sizes: Sequence[int],
    draws: int,
    progress: Progress,
) -> list[str]:
    """Return the rows of a table: what is lost and told, by the number of videos that anna is in, and by the law.

    Args:
        model: That searches.
        embeddings: Of the videos.
        captions: Texts, and the number of the video that each is about.
        sizes: Numbers of videos that she is in, fewer than there are.
        draws: Of her videos, for each size.
        progress: One stage.

    Raises:
        UsageError: A size leaves no video without her.
    """
    if max(sizes) >= len(embeddings):
        raise UsageError(f"--sizes {max(sizes)}: of {len(embeddings)} videos, one at least has to be without anna")
    gallery = Gallery.pack(embeddings)
    texts, videos = [text for text, _ in captions], [video for _, video in captions]
    named = [Query(f"[anna] {text}", persons=PERSON) for text in texts]
    vectors = np.asarray(model.embed_queries(named), np.float32)
    queries = NamedQueries(texts, vectors, videos, gallery.score(vectors, model.scoring))
    of_all = calibrate(model, gallery, len(gallery))
    progress.begin("draws", draws * len(sizes))
    rows = [["anna is in", *(f"{what} by the law of {whose}, %" for whose in (ALL, HERS) for what in ("lost", "told"))]]
    for size in sizes:
        dice = np.random.default_rng(size)
        trials = {(whose, present): Rejections([], []) for whose in (ALL, HERS) for present in (True, False)}
        for _ in range(draws):
            hers = np.sort(dice.choice(len(embeddings), size, replace=False))
            laws = _laws_of_hers(model, [embeddings[number] for number in hers])
            for whose, law_of in ((ALL, lambda text: of_all), (HERS, laws)):
                outcomes = rejections(queries, hers.tolist(), law_of, model.scoring.min_relevance)
                for present, of_queries in outcomes.items():
                    for video, is_rejected in of_queries:
                        trials[whose, present].videos.append(video)
                        trials[whose, present].rejected.append(is_rejected)
            progress.advance()
        rows.append([str(size), *(one.cell() for one in trials.values())])
    return markdown_table(rows, padded=True)


def rejections(
    queries: NamedQueries,
    hers: Sequence[int],
    law_of: Callable[[str], RelevanceCalibration],
    threshold: float,
) -> Mapping[bool, list[tuple[int, bool]]]:
    """Return (video that a query is about, whether nothing was found) of the queries that count.

    Args:
        queries: All of them.
        hers: The videos that are searched.
        law_of: The law of relevance for a text.
        threshold: Of relevance, below which nothing is found.

    Returns:
        True: of queries about one of her videos that comes first. False: of queries about other videos.
    """
    outcomes: dict[bool, list[tuple[int, bool]]] = {True: [], False: []}
    for row, (text, video) in enumerate(zip(queries.texts, queries.videos, strict=True)):
        scores = queries.scores[row, hers]
        best = int(scores.argmax())
        if video in hers and hers[best] != video:
            continue
        relevance = law_of(text).relevance(scores[best : best + 1], queries.vectors[row])
        outcomes[video in hers].append((video, bool(relevance[0] < threshold)))
    return outcomes


def _laws_of_hers(model: Model, embeddings: Sequence[Embeddings]) -> Callable[[str], RelevanceCalibration]:
    """Return what gives the law of the videos of a person for a text, which depends on its language alone."""
    sample = Gallery.pack(embeddings)
    laws: dict[bool, RelevanceCalibration] = {}

    def law_of(text: str) -> RelevanceCalibration:
        language = has_chinese(text)
        if language not in laws:
            laws[language] = personal_law(model, sample, len(sample), Query(text, persons=PERSON))
        return laws[language]

    return law_of


if __name__ == "__main__":
    with command():
        main()
