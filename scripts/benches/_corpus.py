"""Vectors to search among, in files, synthetic ones or those of a library; and which videos are the best among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmi_tvr.types import Query, Scoring, moment_of, row_ids, video_of

TOP = 10  # hits of a search
SCORING = Scoring(moment_weight=0.5, top_moments=1)
_MOMENTS = 9  # key images of a synthetic video, so that each has ten vectors
_LIKE = 50  # synthetic videos around one centre, as there are of like things
_BLOCK = 50_000  # vectors in memory at once


@dataclass(frozen=True, slots=True)
class Corpus:
    """`count` unit vectors of a width in a file, float32, and their ids, ascending, in another one, int64.

    `sentences` are vectors that ask, if there are any; else queries are made from the vectors that are searched.
    """

    vectors: Path
    ids: Path
    count: int
    width: int
    sentences: np.ndarray | None = None

    def first(self, count: int) -> Corpus:
        """Return the first vectors alone, at most so many."""
        return Corpus(self.vectors, self.ids, min(count, self.count), self.width, self.sentences)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return (ids, vectors), read and not mapped, so that they leave memory again."""
        with self.vectors.open("rb") as vectors, self.ids.open("rb") as ids:
            for first in range(0, self.count, _BLOCK):
                rows = min(_BLOCK, self.count - first)
                block = np.fromfile(vectors, np.float32, rows * self.width).reshape(rows, self.width)
                yield np.fromfile(ids, np.int64, rows), block

    def vectors_by_video(self) -> np.ndarray:
        """Return how many vectors each video has, by its number; 0 where there is none of this number."""
        return np.bincount(video_of(np.fromfile(self.ids, np.int64, self.count)))

    def videos(self) -> np.ndarray:
        """Return the numbers of all videos, ascending."""
        return np.flatnonzero(self.vectors_by_video())

    def queries(self, count: int) -> np.ndarray:
        """Return (count, width): evenly spaced ones of the sentences, or vectors near some of the corpus."""
        if self.sentences is not None:
            return self.sentences[np.linspace(0, len(self.sentences) - 1, count).astype(int)]
        rng = np.random.default_rng(1)
        rows = np.sort(rng.choice(self.count, count, replace=False))
        neighbours = np.array(np.memmap(self.vectors, np.float32, "r", shape=(self.count, self.width))[rows])
        noise = rng.standard_normal((count, self.width), dtype=np.float32)
        return _unit(neighbours + noise / np.sqrt(np.float32(self.width)))

    def truth(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the TOP best videos of each query when every one is scored, and when only its own vector counts."""
        parts = list(self.blocks())
        ids = np.concatenate([ids for ids, _ in parts])
        cosines = np.concatenate([block @ queries.T for _, block in parts])  # (R, Q)
        starts = np.flatnonzero(moment_of(ids) == -1)  # a video's own vector comes before those of its key images
        by_whole = cosines[starts]
        cosines[starts] = -1.0
        best = np.maximum.reduceat(cosines, starts)
        scores = (1 - SCORING.moment_weight) * by_whole + SCORING.moment_weight * best
        numbers = video_of(ids[starts])
        ranked = [numbers[np.argsort(-each, axis=0, kind="stable")[:TOP].T] for each in (scores, by_whole)]
        return ranked[0], ranked[1]


def synthetic(folder: Path, size: int, width: int) -> Corpus:
    """Write videos around centres, key images around videos, and the mean of these as the video's own vector."""
    corpus = Corpus(folder / "vectors.f32", folder / "ids.i64", size, width)
    rng = np.random.default_rng(0)
    videos, together = size // (_MOMENTS + 1), _BLOCK // (_MOMENTS + 1)
    np.concatenate([row_ids(video, _MOMENTS) for video in range(videos)]).tofile(corpus.ids)
    centres = rng.standard_normal((videos // _LIKE + 1, width), dtype=np.float32)
    with corpus.vectors.open("wb") as stream:
        for first in range(0, videos, together):
            count = min(together, videos - first)
            bases = centres[rng.integers(0, len(centres), count)] + rng.standard_normal(
                (count, width), dtype=np.float32
            )
            moments = bases[:, None] + 0.7 * rng.standard_normal((count, _MOMENTS, width), dtype=np.float32)
            moments = _unit(moments)
            stream.write(np.concatenate([_unit(moments.mean(axis=1, keepdims=True)), moments], axis=1).tobytes())
    return corpus


def of_library(folder: Path, path: Path, sentences: Sequence[str]) -> Corpus:
    """Write the vectors of a library, and return them with those of sentences that its model reads."""
    from mmi_tvr import Library  # at use: processes whose memory is measured do without

    with Library(path) as library:
        sentence_vectors = library.with_model(
            lambda model: model.embed_queries([Query(sentence) for sentence in sentences])
        )
        searcher = library._reader.searcher(library._reader.catalogue())
        assert searcher is not None
        ids = searcher.index.ids()
        vectors = np.asarray(searcher.index.get(ids), np.float32)
    ids.tofile(folder / "ids.i64")
    vectors.tofile(folder / "vectors.f32")
    return Corpus(folder / "vectors.f32", folder / "ids.i64", len(ids), vectors.shape[1], sentence_vectors)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
