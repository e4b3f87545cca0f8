"""Evaluations of models whose vectors have several blocks: rows by who asks with a text, columns by who asks with a
video, and each block alone; against full matrices."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import FakeModel
from numpy.typing import NDArray
from test_blocks import LAT, MCSAN, naive, spoken, stored
from test_evaluate import samples_of

from mmi_tvr.encoder import Encoder
from mmi_tvr.evaluation import metrics
from mmi_tvr.evaluation.evaluate import evaluate, pair_scores
from mmi_tvr.evaluation.moments import evaluate_moments
from mmi_tvr.evaluation.report import Report
from mmi_tvr.evaluation.rerank import reranked
from mmi_tvr.plugins import build
from mmi_tvr.scoring.bounds import probe
from mmi_tvr.scoring.joint import JointScore
from mmi_tvr.scoring.moments import locate
from mmi_tvr.types import Block, DescribedMoment, Direction, Embeddings, Scoring

COUNTS = [1, 2, 1, 3, 1, 1, 2, 1, 1, 1]
OWNERS = [number for number, count in enumerate(COUNTS) for _ in range(count)]


def world(blocks: tuple[Block, ...], noise: float, seed: int = 0) -> tuple[list[Embeddings], NDArray[np.float32]]:
    """Videos of three key images, and captions that agree with their videos up to noise."""
    rng = np.random.default_rng(seed)
    segments = np.array([[0.0, 1, 0.5], [1, 2, 1.5], [2, 3, 2.5]])
    videos = [Embeddings(stored(rng, 1, blocks)[0], stored(rng, 3, blocks), segments) for _ in COUNTS]
    queries = np.stack([videos[owner].video for owner in OWNERS]) * np.float32(len(blocks) ** 0.5)
    return videos, queries + np.float32(noise) * spoken(rng, len(OWNERS), blocks, 3.0)


def matrix(
    videos: list[Embeddings], queries: NDArray[np.float32], scoring: Scoring, direction: Direction
) -> NDArray[np.float64]:
    """The scores (N, M), pair by pair."""
    w = scoring.moment_weight
    rows = []
    for query in queries:
        row = []
        for video in videos:
            best = max(naive(query, moment, scoring, direction) for moment in video.moments)
            row.append((1 - w) * naive(query, video.video, scoring, direction) + w * best)
        rows.append(row)
    return np.array(rows)


def ranks_by_hand(t2v: NDArray[np.float64], v2t: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Ranks of the rows of one matrix and of the columns of the other; nothing ties here."""
    rows = [1 + sum(row > row[owner]) for row, owner in zip(t2v, OWNERS, strict=True)]
    owners = np.array(OWNERS)
    columns = [1 + sum(column > column[owners == number].max()) for number, column in enumerate(v2t.T)]
    return rows, columns


def ranks(report: Report) -> tuple[list[int], list[int]]:
    assert report.details is not None
    return report.details.t2v_ranks.tolist(), report.details.v2t_ranks.tolist()


UNEVEN = (Block("a", 4, 0.9, 0.1, squash=-1.0), Block("b", 3, 0.1, 0.9))


@pytest.mark.parametrize("blocks", [MCSAN, LAT, UNEVEN], ids=["mcsan", "lat", "uneven"])
@pytest.mark.parametrize("weight", [0.0, 0.4])
@pytest.mark.parametrize("height", [3, 256])
def test_rows_and_columns_are_ranked_by_who_asks(blocks: tuple[Block, ...], weight: float, height: int) -> None:
    scoring = Scoring(weight, 1, blocks=blocks)
    videos, queries = world(blocks, 1.5)
    report = evaluate(samples_of(COUNTS), videos, queries, scoring, height)
    t2v, v2t = (matrix(videos, queries, scoring, direction) for direction in ("t2v", "v2t"))
    assert ranks(report) == ranks_by_hand(t2v, v2t)
    assert (blocks == MCSAN) == np.allclose(t2v, v2t) == scoring.symmetric
    assert list(report.levels) == [block.name for block in blocks]
    for block in blocks:
        only = tuple(Block(b.name, b.width, float(b == block), float(b == block), b.squash) for b in blocks)
        scores = matrix(videos, queries, Scoring(weight, 1, blocks=only), "t2v")
        rows, columns = ranks_by_hand(scores, scores)
        assert report.levels[block.name].t2v == metrics.summary(rows, groups=OWNERS)
        assert report.levels[block.name].v2t == metrics.summary(columns)


def test_levels_stand_in_the_document_and_in_the_table_of_models_with_blocks_alone() -> None:
    videos, queries = world(LAT, 1.0)
    report = evaluate(samples_of(COUNTS), videos, queries, Scoring(blocks=LAT))
    document = json.loads(json.dumps(report.as_dict()))
    assert list(document["levels"]) == ["video", "text"]
    assert document["levels"]["text"]["v2t"]["R@1"] == report.levels["text"].v2t.r1
    assert "text-to-video, video alone (every caption)" in report.table()
    assert "levels" not in evaluate(samples_of(COUNTS), videos, queries, Scoring()).as_dict()


def test_normalisations_look_at_the_scores_of_their_direction() -> None:
    videos, queries = world(UNEVEN, 1.5)
    scoring = Scoring(blocks=UNEVEN)
    report = evaluate(samples_of(COUNTS), videos, queries, scoring, 4, transductive=("dual-softmax", "query-bank"))
    t2v, v2t = (matrix(videos, queries, scoring, direction) for direction in ("t2v", "v2t"))

    def shares(scores: NDArray[np.float64], axis: int, scale: float) -> NDArray[np.float64]:
        return scale * scores - np.logaddexp.reduce(scale * scores, axis=axis, keepdims=True)

    by_hand = {
        "dual-softmax": (t2v * np.exp(shares(t2v, 0, 100.0)), v2t * np.exp(shares(v2t, 1, 100.0))),
        "query-bank": (shares(t2v, 0, 20.0), shares(v2t, 1, 20.0)),
    }
    for name, (rows, columns) in by_hand.items():
        expected = ranks_by_hand(rows, columns)
        assert report.transductive[name].t2v == metrics.summary(expected[0], groups=OWNERS)
        assert report.transductive[name].v2t == metrics.summary(expected[1])


def test_re_ranking_reads_the_scores_of_its_direction() -> None:
    videos, queries = world(LAT, 1.5)
    scoring = Scoring(blocks=LAT)
    scores = matrix(videos, queries, scoring, "t2v"), matrix(videos, queries, scoring, "v2t")
    seen: list[NDArray[np.float32]] = []

    def rerank(blocks, captions, samples):
        seen.extend(np.concatenate(list(side())) for side in blocks)
        return reranked(blocks, lambda row, columns: np.zeros(len(columns)), JointScore(3, 1.0, 1.0))

    report = evaluate(samples_of(COUNTS), videos, queries, scoring, 5, rerank=rerank)
    for side, expected in zip(seen, scores, strict=True):
        np.testing.assert_allclose(side, expected, atol=1e-5)
    assert ranks(report) == ranks_by_hand(*scores)  # a judge that says nothing changes nothing
    assert report.search_alone is not None


class BlockModel(FakeModel):
    """Every query is the next of these vectors."""

    def __init__(self, vectors: NDArray[np.float32], scoring: Scoring) -> None:
        super().__init__(scoring=scoring)
        self.vectors = vectors

    def embed_queries(self, queries):
        return self.vectors[: len(queries)]


def test_a_moment_is_the_one_whose_blocks_say_most() -> None:
    videos, queries = world(LAT, 1.0)
    halves = [Embeddings(video.video, video.moments[:2], video.segments[:2]) for video in videos]  # of equal pace
    best = [
        int(np.argmax([naive(query, moment, Scoring(blocks=LAT), "t2v") for moment in video.moments]))
        for query, video in zip(queries[:10], halves, strict=True)
    ]
    spans = locate(BlockModel(queries, Scoring(blocks=LAT)), queries[:10], halves)
    assert [span.time for span in spans] == [moment + 0.5 for moment in best]


def test_pairs_moments_and_the_encoder_score_by_blocks() -> None:
    videos, queries = world(UNEVEN, 1.0)
    scoring = Scoring(blocks=UNEVEN)
    model, samples = BlockModel(queries, scoring), samples_of([1] * 10)
    scores = matrix(videos, queries[:10], scoring, "t2v")
    pairs = pair_scores(model, samples, lambda _: videos)
    np.testing.assert_allclose(pairs[1], scores[2:4, 2:4], atol=1e-5)
    described = [DescribedMoment("x", number, 0.0, 3.0) for number in range(10)]
    collection = evaluate_moments(model, samples, videos, {"all": described}).collection["all"]
    first = [scores[row].argmax() == row for row in range(10)]
    assert collection.values["pointing"] == pytest.approx(100 * np.mean(first))
    encoder = Encoder(model, build("keyimages", "uniform", {}))
    np.testing.assert_allclose(encoder.similarity(queries[:10], videos), scores, atol=1e-5)
    rows = np.stack([video.video for video in videos])
    plain = encoder.encode_query([f"query {number}" for number in range(10)])
    probes = encoder.encode_query([f"query {number}" for number in range(10)], index=True)
    np.testing.assert_array_equal(plain, queries[:10])
    np.testing.assert_array_equal(probes, probe(queries[:10], scoring))
    np.testing.assert_array_equal(encoder.encode_query("query 0", index=True), probes[0])
    assert np.corrcoef((probes @ rows.T).ravel(), scores.ravel())[0, 1] > 0.9
    np.testing.assert_allclose(encoder.similarity(queries[:10], rows), scores, atol=1e-5)
