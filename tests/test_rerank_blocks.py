"""Re-ranking a whole test set is what re-ranking each query by itself would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.evaluation.metrics import DirectionBlocks
from mmi_tvr.evaluation.rerank import reranked
from mmi_tvr.rerank.skeleton import Options
from mmi_tvr.scoring.joint import permutation
from mmi_tvr.types import Embeddings, Sample, Scoring, Video

SIZES = st.tuples(*(st.integers(1, most) for most in (9, 9, 12, 4)), st.integers(0, 2**32 - 1))


def one_by_one(cosines: np.ndarray, p: np.ndarray, depth: int) -> list[list[int]]:
    """Candidates of each row, best first; p is that of skeletons or, weighted, that of a look, too."""
    orders = []
    for line, chances in zip(cosines, p, strict=True):
        ranked = sorted(range(len(line)), key=lambda at: -line[at])
        top = ranked[:depth]
        joint = [None if np.isnan(chances[at]) else 0.6 * line[at] + chances[at] for at in top]
        orders.append([top[at] for at in permutation(joint)] + ranked[depth:])
    return orders


@settings(deadline=None)
@given(SIZES)
def test_blocks_are_ranked_as_each_query_by_itself(sizes: tuple[int, int, int, int, int]) -> None:
    rows, columns, depth, block, seed = sizes
    random = np.random.default_rng(seed)
    cosines = random.permutation(rows * columns).reshape(rows, columns) / (rows * columns)  # no ties
    of_videos = random.permutation(cosines.ravel()).reshape(rows, columns)  # scores of the other direction
    p = random.random((rows, columns))
    p[random.random(p.shape) < 0.3] = np.nan
    judged_rows: list[int] = []

    def probabilities(row: int, columns_of_row: list[int]) -> np.ndarray:
        judged_rows.append(row)
        return p[row, list(columns_of_row)]

    def blocks(matrix: np.ndarray):
        return lambda: (matrix[first : first + block] for first in range(0, rows, block))

    looks = random.random((rows, columns))
    looks[random.random(looks.shape) < 0.2] = np.nan
    cosine_blocks = DirectionBlocks(blocks(cosines), blocks(of_videos))
    for lambda_v, visual in ((0.0, None), (0.5, lambda row, columns_of_row: looks[row, list(columns_of_row)])):
        judged_rows.clear()
        joint_score = Options(depth=depth, lambda_v=lambda_v).joint_score
        reranked_blocks = reranked(cosine_blocks, probabilities, joint_score, visual=visual)
        t2v, v2t = (np.concatenate(list(side())) for side in reranked_blocks)
        terms = 0.3 * p if visual is None else 0.3 * p + lambda_v * looks
        assert [np.argsort(-line, kind="stable").tolist() for line in t2v] == one_by_one(cosines, terms, depth)
        assert [np.argsort(-line, kind="stable").tolist() for line in v2t.T] == one_by_one(of_videos.T, terms.T, depth)
    assert len(judged_rows) == len(set(judged_rows))  # the judge shares what a caption's pairs have in common
    assert np.array_equal(np.sort(t2v, axis=1), np.sort(cosines, axis=1))


def test_a_report_says_what_re_ranking_adds(tmp_path: Path) -> None:
    """Every caption's own video is second by the cosine, and first with a judge that knows."""
    count = 6
    samples = [Sample(f"v{at}", Video(tmp_path / f"{at}.mp4"), (f"caption {at}",)) for at in range(count)]
    eye = np.eye(count, dtype=np.float32)
    vectors = [Embeddings(eye[at], eye[at : at + 1], np.array([[0.0, 1.0, 0.5]])) for at in range(count)]
    queries = 0.6 * eye + 0.8 * np.roll(eye, 1, axis=1)

    def rerank(blocks, captions, videos):
        assert captions == [f"caption {at}" for at in range(count)]
        assert [sample.id for sample in videos] == [f"v{at}" for at in range(count)]
        return reranked(
            blocks,
            lambda row, columns: np.array([float(column == row) for column in columns]),
            Options(depth=3).joint_score,
        )

    report = evaluate(samples, vectors, queries, Scoring(), rerank=rerank)
    assert report.search_alone is not None
    assert (report.search_alone[0].r1, report.t2v.r1, report.v2t.r1) == (0, 100, 100)
    assert report.gains["t2v"]["R@1"].value == 100
    document = report.as_dict()["rerank"]
    assert document["searched"]["t2v"]["R@1"] == 0
    assert document["gains"]["v2t"]["R@1"]["low"] == 100
    assert [list(document["gains"][side]) for side in ("t2v", "v2t")] == [["R@1", "R@5", "R@10"]] * 2
    assert "re-ranked" in report.table()
    assert "re-ranking adds to R@1, t2v: +100.0 [+100.0, +100.0]" in report.table()
    assert report.details is not None
    assert report.details.t2v_ranks.tolist() == [1] * count
