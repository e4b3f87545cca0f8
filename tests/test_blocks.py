"""Vectors of several blocks: their scores against plain loops, in numpy and in torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmi_tvr.errors import UsageError
from mmi_tvr.nn.blocks import BlockSimilarity
from mmi_tvr.scoring.blocks import block_scores, similarities
from mmi_tvr.types import Block, Direction, Scoring

MCSAN = (
    Block("global", 5, 0.25, 0.25, squash=-1.5),
    Block("entity", 5, 0.25, 0.25),
    Block("action", 4, 0.25, 0.25),
    Block("relation", 3, 0.25, 0.25),
)
LAT = (Block("video", 6, 1.0, 0.0), Block("text", 6, 0.0, 1.0))
DIRECTIONS: tuple[Direction, Direction] = ("t2v", "v2t")


def unit(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def stored(rng: np.random.Generator, count: int, blocks: tuple[Block, ...]) -> NDArray[np.float32]:
    """Return unit vectors (count, D) of whose n blocks each has the length 1 / sqrt(n)."""
    return np.concatenate([unit(rng, count, block.width) for block in blocks], axis=1) / np.float32(
        math.sqrt(len(blocks))
    )


def spoken(rng: np.random.Generator, count: int, blocks: tuple[Block, ...], length: float = 1.0) -> NDArray[np.float32]:
    """Return queries (count, D): unit blocks, and those that are squashed `length` long."""
    parts = [unit(rng, count, block.width) * (1.0 if block.squash is None else length) for block in blocks]
    return np.concatenate(parts, axis=1).astype(np.float32)


def naive(query: NDArray[np.float32], vector: NDArray[np.float32], scoring: Scoring, direction: Direction) -> float:
    """The score of one pair, number by number."""
    score, column = 0.0, 0
    for block in scoring.blocks:
        product = 0.0
        for _ in range(block.width):
            product += float(query[column]) * float(vector[column])
            column += 1
        product *= len(scoring.blocks) ** 0.5
        if block.squash is not None:
            product = 1 / (1 + math.exp(-(block.squash + product)))
        score += (block.t2v if direction == "t2v" else block.v2t) * product
    return score


@given(st.sampled_from([MCSAN, LAT, LAT[:1], MCSAN[:1]]), st.sampled_from([0.5, 4.0, 40.0]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_numpy_and_torch_equal_the_plain_loop(blocks: tuple[Block, ...], length: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, vectors, scoring = spoken(rng, 3, blocks, length), stored(rng, 4, blocks), Scoring(blocks=blocks)
    twin = BlockSimilarity(blocks)
    for direction in DIRECTIONS:
        expected = [[naive(query, vector, scoring, direction) for vector in vectors] for query in queries]
        scores = similarities(queries, vectors, scoring, direction)
        np.testing.assert_allclose(scores, expected, atol=1e-6 * max(1, length))
        np.testing.assert_allclose(similarities(vectors, queries, scoring, direction).T, scores, atol=1e-6)
        tensors = twin(torch.from_numpy(queries), torch.from_numpy(vectors), direction)
        np.testing.assert_allclose(tensors.numpy(), scores, atol=1e-6)


def test_what_a_block_says_has_no_weight_and_adds_up_with_it() -> None:
    rng = np.random.default_rng(0)
    queries, vectors = spoken(rng, 2, MCSAN, 3.0), stored(rng, 3, MCSAN)
    parts = block_scores(queries, vectors, Scoring(blocks=MCSAN))
    assert list(parts) == ["global", "entity", "action", "relation"]
    assert 0 < parts["global"].min() < parts["global"].max() < 1
    np.testing.assert_allclose(
        sum(parts.values()) / 4, similarities(queries, vectors, Scoring(blocks=MCSAN)), atol=1e-6
    )
    assert block_scores(queries, vectors, Scoring()) == {}


def test_far_beyond_the_ends_of_the_sigmoid_nothing_overflows() -> None:
    blocks = (Block("only", 2, squash=0.0),)
    queries = np.array([[1e4, 0.0], [-1e4, 0.0], [np.nan, 0.0]], np.float32)
    with np.errstate(all="raise"):
        scores = similarities(queries[:2], np.array([[1.0, 0.0]], np.float32), Scoring(blocks=blocks))
    assert scores.ravel().tolist() == [1.0, 0.0]
    assert np.isnan(similarities(queries[2:], np.array([[1.0, 0.0]], np.float32), Scoring(blocks=blocks))).all()


def test_offsets_are_learned_where_they_should_be_and_come_back_as_records() -> None:
    rng = np.random.default_rng(1)
    text, video = torch.from_numpy(spoken(rng, 3, MCSAN)), torch.from_numpy(stored(rng, 3, MCSAN))
    fixed, learned = BlockSimilarity(MCSAN), BlockSimilarity(MCSAN, learned_offsets=True)
    assert not list(fixed.parameters())
    assert not fixed.state_dict()
    assert fixed.blocks == MCSAN
    learned(text, video).sum().backward()
    gradient = learned.offsets.grad
    assert gradient is not None
    assert gradient[0] > 0
    assert not gradient[1:].any()
    with torch.no_grad():
        learned.offsets += 1
    assert learned.blocks == (Block("global", 5, 0.25, 0.25, squash=-0.5), *MCSAN[1:])
    scores = similarities(text.numpy(), video.numpy(), Scoring(blocks=learned.blocks))
    np.testing.assert_allclose(learned(text, video).detach().numpy(), scores, atol=1e-6)


def test_blocks_that_cannot_be_are_one_line() -> None:
    vectors = np.ones((1, 4), np.float32)
    with pytest.raises(
        UsageError, match=r"blocks of the scores \(video 6, text 6\) have 12 numbers, and the vectors 4"
    ):
        similarities(vectors, vectors, Scoring(blocks=LAT))
    with pytest.raises(UsageError, match="blocks of 12 numbers, texts of 4"):
        BlockSimilarity(LAT)(torch.ones(1, 4), torch.ones(1, 12))
    with pytest.raises(UsageError, match="at least one block"):
        BlockSimilarity(())
    for blocks, message in (
        ((LAT[0], LAT[0]), "names of their own.* not video"),
        ((Block("joint", 1),), "not joint"),
        ((Block("a", 0),), "width is at least 1"),
        ((Block("a", 1, t2v=-1.0),), "weights are at least 0"),
        ((Block("a", 1, v2t=math.nan),), "weights are at least 0"),
        ((Block("a", 1, squash=math.inf),), "squash is a finite number"),
    ):
        with pytest.raises(UsageError, match=message):
            Scoring(blocks=blocks)
