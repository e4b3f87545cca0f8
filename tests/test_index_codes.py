"""Indexes that look at fewer bits first, held to exact search."""

from __future__ import annotations

import numpy as np
import pytest
from indexes import collection, opened, recall

from mmi_tvr.errors import UsageError
from mmi_tvr.index import _codes, open_index
from mmi_tvr.index import faiss as faiss_index
from mmi_tvr.types import Filter

WIDTH = 32
CODED = [("flat", 16), ("flat", 8), ("flat", 1), ("faiss", 16), ("faiss", 8)]


@pytest.fixture(autouse=True)
def codes_are_used(monkeypatch):
    """Small data uses codes, too."""
    monkeypatch.setattr(_codes, "_LEAST_ROWS", 1)
    monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 0)


@pytest.fixture(scope="module")
def crowd():
    """Ids, vectors around some centres, and queries near vectors."""
    rng = np.random.default_rng(0)
    ids = collection(400)
    centres = rng.standard_normal((40, WIDTH))
    vectors = centres[rng.integers(0, 40, len(ids))] + 0.7 * rng.standard_normal((len(ids), WIDTH))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = vectors[::97] + 0.05 * rng.standard_normal((len(vectors[::97]), WIDTH)).astype(np.float32)
    return ids, vectors, queries


@pytest.mark.parametrize(("name", "bits"), CODED)
def test_the_best_by_codes_are_scored_exactly(name, bits, crowd, tmp_path):
    ids, vectors, queries = crowd
    oracle, coded = opened("flat", tmp_path / "a", dim=WIDTH), opened(name, tmp_path / "b", dim=WIDTH, bits=bits)
    for index in (oracle, coded):
        index.add(ids, vectors)
        index.flush()
        index.delete(ids[5:50:7])  # dead rows are no answers
        index.upsert(ids[:3], vectors[3:6])  # behind the codes
        index.flush()
    files = [path.stat().st_size for path in (tmp_path / "b").glob("graph-*.faiss")]
    assert len(files) == 1
    for where in (None, Filter("video"), Filter(videos=range(300)), Filter(videos=range(7))):
        expected = oracle.search(queries, 10, where)
        scores, found_ids = coded.search(queries, 10, where)
        assert recall(found_ids, expected[1]) >= (0.9 if bits == 1 else 0.98), where
        same = found_ids == expected[1]
        np.testing.assert_allclose(scores[same], expected[0][same], atol=1e-6)
    present = oracle.search(queries, 10)[1]
    again = opened(name, tmp_path / "b", dim=WIDTH, bits=bits, create=False)
    assert (again.search(queries, 10)[1] == coded.search(queries, 10)[1]).all()
    exact = opened("flat", tmp_path / "b", dim=WIDTH, create=False)  # the same files, without codes
    assert (exact.search(queries, 10)[1] == present).all()


def test_codes_take_less_room(crowd, tmp_path):
    ids, vectors, _ = crowd
    sizes = {}
    for bits in (16, 8, 1):
        index = opened("flat", tmp_path / str(bits), dim=WIDTH, bits=bits)
        index.add(ids, vectors)
        index.flush()
        sizes[bits] = next((tmp_path / str(bits)).glob("graph-*.faiss")).stat().st_size
    assert sizes[16] == pytest.approx(2 * WIDTH * len(ids), rel=0.05)
    assert sizes[8] == pytest.approx(WIDTH * len(ids), rel=0.05)
    assert sizes[1] == pytest.approx(WIDTH * len(ids) / 8, rel=0.1)


def test_bits_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(UsageError, match="bits"):
        opened("flat", tmp_path, bits=4)
    with pytest.raises(UsageError, match="bits"):
        opened("faiss", tmp_path, bits=1)


def test_auto_takes_the_options_of_its_graph(tmp_path):
    index = open_index("auto", {"bits": 8, "graph_from": 50}, path=tmp_path, dim=WIDTH, fingerprint="a")
    vectors = np.eye(WIDTH, dtype=np.float32).repeat(4, axis=0)
    index.add(np.arange(len(vectors)), vectors)
    index.flush()
    assert [path.name.endswith("-b8.faiss") for path in tmp_path.glob("graph-*")] == [True]
