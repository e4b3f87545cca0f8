"""Models whose vectors are one block, which is all that score by cosines: their scores, hits and metrics, to the bit.

Every coordinate is a multiple of 1/128 and every vector has length 1, so a dot product is a multiple of 2**-14 and the
same in whatever order it is summed: what is hashed here is the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel
from numpy.typing import NDArray

from mmi_tvr import plugins
from mmi_tvr.encoder import Encoder
from mmi_tvr.evaluation.evaluate import evaluate, evaluate_model, pair_scores
from mmi_tvr.evaluation.report import Report
from mmi_tvr.evaluation.rerank import reranked
from mmi_tvr.index import open_index
from mmi_tvr.protocols import Index
from mmi_tvr.scoring import relevance
from mmi_tvr.scoring.joint import JointScore
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.search import ResultOptions, Searcher, SearchResult, VideoEntry
from mmi_tvr.types import Embeddings, Query, Sample, Scoring, Video, row_ids
from mmi_tvr.utils.hashing import digest

VIDEOS, WIDTH = 90, 16
SCORINGS = (Scoring(), Scoring(0.5, 1), Scoring(0.25, 2, 0.5), Scoring(1.0, 1))
# Recorded before models could have several blocks.
GOLDEN = {
    "scores 0": "dfc34dd1e1db6d9f",
    "cosines": "dfc34dd1e1db6d9f",
    "scores 1": "fdfed9937b44cdd0",
    "scores 2": "994a6e1becce19ca",
    "scores 3": "68a11022b065e3cf",
    "hits 0": "ffee2b6c7366bbb8",
    "hits 1": "87062b30d22451e1",
    "hits 2": "7600c7aaea56833f",
    "hits 3": "e8947d2561b9fe4f",
    "report 0": "1db7a396128827bc",
    "pairs 0": "1a603bc8c3ab0a7e",
    "report 1": "3a7588b63c5e6ad5",
    "pairs 1": "2fb8d2cc3e6654e5",
    "report 2": "cd8ea325d7ede16c",
    "pairs 2": "e1b7a596d1a727ab",
    "report 3": "2de3ee903b1b4626",
    "pairs 3": "6095679a8ee40603",
    "reranked": "70077c352352a424",
    "law 0": "aef55e90939aa5ce",
    "law 1": "8b69a31cf5da03f2",
    "law 2": "fb88d8e171298ab8",
    "law 3": "998d00407d9f5de5",
}


def exact_units(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return vectors (count, WIDTH) of length 1 without any rounding: signs of 1/4, reflected twice."""
    vectors = rng.choice((-1.0, 1.0), (count, WIDTH)) / 4
    for _ in range(2):
        mirrors = rng.choice((-1.0, 1.0), (count, WIDTH))
        vectors -= np.einsum("nd,nd->n", vectors, mirrors)[:, None] * mirrors / 8
    assert (np.einsum("nd,nd->n", vectors, vectors) == 1).all()
    return vectors.astype(np.float32)


class SpokenVectors(FakeModel):
    """Every sentence has a vector of its own, drawn by its words."""

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        seeds = [int(digest(query.text), 16) for query in queries]
        return np.concatenate([exact_units(np.random.default_rng(seed), 1) for seed in seeds])


@pytest.fixture(scope="module")
def videos() -> list[Embeddings]:
    """Videos of one to four key images; some are copies of others."""
    rng = np.random.default_rng(7)
    collection = []
    for _ in range(VIDEOS):
        count = int(rng.integers(1, 5))
        edges = np.arange(count + 1.0)
        segments = np.stack([edges[:-1], edges[1:], edges[:-1] + 0.5], axis=1)
        collection.append(Embeddings(exact_units(rng, 1)[0], exact_units(rng, count), segments))
    return [*collection[:-6], *collection[:6]]


@pytest.fixture(scope="module", params=["flat", "faiss"])
def index(request: pytest.FixtureRequest, videos: list[Embeddings], tmp_path_factory: pytest.TempPathFactory) -> Index:
    stored = open_index(request.param, path=tmp_path_factory.mktemp("index"), dim=WIDTH, fingerprint="f")
    for number, video in enumerate(videos):
        stored.add(row_ids(number, len(video.moments)), np.vstack([video.video[None], video.moments]))
    stored.flush()
    return stored


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    captions = [tuple(f"caption {number} {part}" for part in range(1 + number % 3)) for number in range(VIDEOS)]
    return [Sample(f"{n}.mp4", Video(Path(f"{n}.mp4")), texts) for n, texts in enumerate(captions)]


def hashed(value: object) -> str:
    return digest(json.dumps(value, sort_keys=True))


def plain_hits(result: SearchResult) -> list[Any]:
    hits = [*result, *([result.closest] if result.closest else [])]
    return [
        [str(hit.path), hit.score.hex(), float(hit.relevance).hex(), dict(hit.scores)]  # spans: test_moments.py
        for hit in hits
    ]


def plain_report(report: Report) -> Any:
    def rounded(value: Any) -> Any:  # percentiles are interpolated: their last bit is the machine's
        if isinstance(value, dict):
            return {name: rounded(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [rounded(inner) for inner in value]
        return round(value, 9) if isinstance(value, float) else value

    assert report.details is not None
    return rounded({**report.as_dict(), **report.details.as_dict()})


@pytest.mark.parametrize("number", range(len(SCORINGS)))
def test_scores_are_what_they_were(videos: list[Embeddings], number: int) -> None:
    queries = SpokenVectors().embed_queries([Query(str(row)) for row in range(30)])
    scores = Gallery.pack(videos).score(queries, SCORINGS[number])
    assert hashed(scores.tobytes().hex()) == GOLDEN[f"scores {number}"]
    encoder = Encoder(SpokenVectors(scoring=SCORINGS[number]), plugins.build("keyimages", "uniform", {}))
    assert encoder.similarity(queries, videos).tobytes() == scores.tobytes()
    cosines = encoder.similarity(queries, np.stack([video.video for video in videos]))
    assert hashed(cosines.tobytes().hex()) == GOLDEN["cosines"]
    assert encoder.encode_query([str(row) for row in range(30)]).tobytes() == queries.tobytes()


@pytest.mark.parametrize("number", range(len(SCORINGS)))
def test_hits_are_what_they_were(videos: list[Embeddings], index: Index, number: int) -> None:
    model = SpokenVectors(scoring=SCORINGS[number])
    searcher = Searcher(
        model,
        index,
        lambda numbers: {n: VideoEntry((Path(f"{n}.mp4"),), videos[n].segments) for n in numbers},
        ClippedScore(),
    )
    texts = [f"query {row}" for row in range(12)]
    results = searcher.search_all(texts, ResultOptions(7))
    results += searcher.search_all(texts[:3], ResultOptions(3, 0.6), frozenset(range(20, 70)))
    assert hashed([plain_hits(result) for result in results]) == GOLDEN[f"hits {number}"]


@pytest.mark.parametrize("number", range(len(SCORINGS)))
def test_evaluations_are_what_they_were(videos: list[Embeddings], samples: list[Sample], number: int) -> None:
    model = SpokenVectors(scoring=SCORINGS[number])
    report = evaluate_model(
        model,
        samples,
        lambda _: videos,
        block=32,
        transductive=("dual-softmax", "query-bank"),
    )
    assert hashed(plain_report(report)) == GOLDEN[f"report {number}"]
    pairs = pair_scores(model, samples[:20], lambda _: videos[:20])
    assert hashed(pairs.tobytes().hex()) == GOLDEN[f"pairs {number}"]


def test_a_reranked_evaluation_is_what_it_was(videos: list[Embeddings], samples: list[Sample]) -> None:
    captions = [Query(caption) for sample in samples for caption in sample.captions]

    def probabilities(row: int, columns: Sequence[int]) -> NDArray[Any]:
        return np.array([np.nan if (row + column) % 5 == 0 else (row * column % 16) / 16 for column in columns])

    report = evaluate(
        samples,
        videos,
        SpokenVectors().embed_queries(captions),
        Scoring(0.5, 1),
        rerank=lambda blocks, captions, samples: reranked(blocks, probabilities, JointScore(10, 0.5, 0.5)),
    )
    assert hashed(plain_report(report)) == GOLDEN["reranked"]


@pytest.mark.parametrize("number", range(len(SCORINGS)))
def test_a_calibration_is_what_it_was(
    videos: list[Embeddings], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    law = relevance.calibrate(SpokenVectors(scoring=SCORINGS[number]), Gallery.pack(videos), 500)
    assert hashed([round(law.mu, 9), round(law.beta, 9)]) == GOLDEN[f"law {number}"]
