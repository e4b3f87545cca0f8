"""Indexes that look at fewer bits first, held to exact search."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from indexes import collection, opened, recall

from mmi_tvr.errors import PoorRecall, UsageError
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


def test_one_bit_of_few_numbers_is_warned_of_when_the_index_is_made(tmp_path):
    with pytest.warns(PoorRecall, match=r"vectors of 32 numbers \(fewer than 96\).*index\.bits=8 misses none"):
        index = opened("flat", tmp_path / "few", dim=32, bits=1)
    index.add(np.arange(2), np.eye(2, 32, dtype=np.float32))
    index.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorRecall)
        opened("flat", tmp_path / "few", dim=32, bits=1).close()  # said once
        opened("flat", tmp_path / "eight", dim=32, bits=8).close()
        opened("flat", tmp_path / "many", dim=96, bits=1).close()


def test_one_bit_of_few_numbers_is_warned_of_when_it_is_made_of_vectors_that_are_there(crowd, tmp_path):
    ids, vectors, _ = crowd
    index = opened("flat", tmp_path, dim=WIDTH)
    index.add(ids, vectors)
    index.close()
    coded = opened("flat", tmp_path, dim=WIDTH, bits=1)
    with pytest.warns(PoorRecall, match="vectors of 32 numbers"):
        coded.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorRecall)
        coded.flush()  # said once


@pytest.mark.parametrize(("width", "least", "most"), [(32, 0.5, 0.9), (96, 0.98, 1)])
def test_one_bit_of_many_numbers_is_enough(width, least, most, tmp_path):
    """Recall of the ten best among clusters: what the warning says."""
    rng = np.random.default_rng(0)

    def around(centres, count, noise):
        rows = np.repeat(centres / np.linalg.norm(centres, axis=1, keepdims=True), count, axis=0)
        rows = rows + noise / np.sqrt(width) * rng.standard_normal(rows.shape)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    videos = around(rng.standard_normal((80, width)), 20, 0.7)
    vectors, queries = around(videos, 10, 0.5), around(videos[:50], 1, 0.7)
    index = opened("flat", tmp_path, dim=width, bits=1)
    index.add(np.arange(len(vectors)), vectors)
    index.flush()
    assert least < recall(index.search(queries, 10)[1], index.search_exact(queries, 10)[1]) <= most


def test_what_other_settings_built_is_built_anew_from_the_same_files(crowd, tmp_path):
    ids, vectors, queries = crowd
    index = opened("flat", tmp_path, dim=WIDTH)
    index.add(ids, vectors)
    index.close()
    expected = opened("flat", tmp_path, dim=WIDTH).search(queries, 10)[1]
    for name, bits, files in (("flat", 8, 1), ("faiss", 32, 1), ("flat", 16, 1), ("flat", 32, 0)):
        index = opened(name, tmp_path, dim=WIDTH, bits=bits)
        index.flush()
        assert len(list(tmp_path.glob("graph-*"))) == files
        assert recall(index.search(queries, 10)[1], expected) >= 0.98
        index.close()


def test_auto_takes_the_options_of_its_graph(tmp_path):
    index = open_index("auto", {"bits": 8, "graph_from": 50}, path=tmp_path, dim=WIDTH, fingerprint="a")
    vectors = np.eye(WIDTH, dtype=np.float32).repeat(4, axis=0)
    index.add(np.arange(len(vectors)), vectors)
    index.flush()
    assert [path.name.endswith("-b8.faiss") for path in tmp_path.glob("graph-*")] == [True]
