"""Block scores against a plain loop over queries, videos and moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.index import open_index
from mmi_tvr.scoring import background_sentences, similarity
from mmi_tvr.scoring.joint import JointScore, permutation
from mmi_tvr.scoring.similarity import Gallery
from mmi_tvr.types import Embeddings, Scoring, row_ids
from mmi_tvr.utils.hashing import digest


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def embeddings(rng, lengths, width=6):
    return [Embeddings(unit(rng, width), unit(rng, length, width), np.zeros((length, 3))) for length in lengths]


def naive(queries, results, rule):
    scores = np.empty((len(queries), len(results)))
    for row, query in enumerate(queries.astype(np.float64)):
        for column, each in enumerate(results):
            cosines = sorted((float(query @ moment) for moment in each.moments), reverse=True)
            best = np.mean(cosines[: rule.top_moments]) if rule.moment_weight else 0.0
            scores[row, column] = (1 - rule.moment_weight) * (query @ each.video) + rule.moment_weight * best
    return scores


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(LENGTHS, st.integers(1, 5), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 4), st.integers(0, 9))
def test_scores_equal_the_plain_loop(lengths, count, weight, top, seed):
    rng = np.random.default_rng(seed)
    results, queries, rule = embeddings(rng, lengths), unit(rng, count, 6), Scoring(weight, top)
    scores = Gallery.pack(results).score(queries, rule)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive(queries, results, rule), atol=1e-6)


@settings(max_examples=20)
@given(LENGTHS, st.integers(1, 3))
def test_small_steps_give_the_same_scores(lengths, top):
    rng = np.random.default_rng(0)
    results, queries, rule = embeddings(rng, lengths), unit(rng, 4, 6), Scoring(0.5, top)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_CELLS", 1)
        scores = Gallery.pack(results).score(queries, rule)
    np.testing.assert_allclose(scores, naive(queries, results, rule), atol=1e-6)


def test_half_precision_is_scored_in_single():
    rng = np.random.default_rng(0)
    gallery = Gallery.pack(embeddings(rng, [2, 3]))
    queries = unit(rng, 3, 6).astype(np.float16)
    halves = [part.astype(np.float16) for part in (gallery.videos, gallery.moments)]
    scores = similarity.score_block(queries, *halves, gallery.offsets, Scoring(0.5))
    assert scores.dtype == np.float32
    singles = [part.astype(np.float32) for part in halves]
    np.testing.assert_array_equal(
        scores, similarity.score_block(queries.astype(np.float32), *singles, gallery.offsets, Scoring(0.5))
    )


def test_nan_reaches_the_score_so_that_ranking_can_refuse_it():
    rng = np.random.default_rng(0)
    gallery = Gallery.pack(embeddings(rng, [4, 4]))
    gallery.moments[5] = np.nan
    for top in (1, 2):
        assert np.isnan(gallery.score(unit(rng, 1, 6), Scoring(1.0, top))).tolist() == [[False, True]]


def test_a_video_without_moments_is_refused_only_where_moments_count():
    rng = np.random.default_rng(0)
    gallery = Gallery.pack(embeddings(rng, [2, 0]))
    assert gallery.score(unit(rng, 1, 6), Scoring(0.0)).shape == (1, 2)
    with pytest.raises(UsageError, match="video 1 has no moments"):
        gallery.score(unit(rng, 1, 6), Scoring(0.5))


def test_vectors_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    gallery = Gallery.pack(embeddings(rng, [2]))
    with pytest.raises(UsageError, match="5, 6 and 6 numbers each"):
        gallery.score(unit(rng, 1, 5), Scoring())
    with pytest.raises(UsageError, match="at least 1, not 0"):
        gallery.score(unit(rng, 1, 6), Scoring(top_moments=0))
    with pytest.raises(UsageError, match="these have 6 and 7"):
        Gallery.pack(embeddings(rng, [1]) + embeddings(rng, [1], width=7))
    with pytest.raises(UsageError, match="none"):
        Gallery.pack([])


def test_a_gallery_keeps_order_and_lengths():
    results = embeddings(np.random.default_rng(0), [2, 5, 1])
    gallery = Gallery.pack(results)
    assert len(gallery) == 3
    assert gallery.offsets.tolist() == [0, 2, 7, 8]
    np.testing.assert_array_equal(gallery.moments[2:7], results[1].moments)
    np.testing.assert_array_equal(gallery.videos[2], results[2].video)


def test_a_gallery_of_an_index_is_the_one_that_was_packed(tmp_path):
    results = embeddings(np.random.default_rng(0), [2, 0, 3])
    index = open_index("flat", path=tmp_path, dim=6, fingerprint="f")
    for number, result in enumerate(results, 1):
        index.add(row_ids(number, len(result.moments)), np.vstack([result.video[None], result.moments]))
    packed, ids = Gallery.pack(results), index.ids()
    read = Gallery.from_index(index, ids)
    np.testing.assert_array_equal(read.videos, packed.videos)
    np.testing.assert_array_equal(read.moments, packed.moments)
    assert read.offsets.tolist() == packed.offsets.tolist() == [0, 2, 2, 5]
    with pytest.raises(KeyError):
        Gallery.from_index(index, row_ids(9, 1))
    index.close()


def test_a_joint_score_weighs_each_part_and_ties_keep_their_order():
    joint = JointScore(20, lambda_r=0.6, lambda_s=0.3)
    assert joint.score(1.0, 0.0) == pytest.approx(0.6)
    assert joint.score(0.0, 1.0) == pytest.approx(0.3)
    assert permutation([0.1, 0.5, None, 0.5, 0.9]) == [4, 1, 2, 3, 0]
    assert permutation([None, None]) == [0, 1]


def test_background_sentences_are_the_same_everywhere() -> None:
    """Relevance and the shipped class vectors were computed with them."""
    digests = {language: digest(*texts) for language, texts in background_sentences.sentences().items()}
    assert digests == {"en": "6f609d635ecfdde2", "zh": "6c65e26a67213e1a"}
