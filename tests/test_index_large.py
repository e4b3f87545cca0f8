"""The index for large collections on one machine, faiss, held to flat."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from indexes import collection, opened, recall, unit

from mmi_tvr.errors import UsageError
from mmi_tvr.index import faiss as faiss_index
from mmi_tvr.index._common import nothing_found
from mmi_tvr.types import Filter


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """12,000 clustered vectors of 3,000 videos in a flat index and a faiss index, with deletes and upserts."""
    rng = np.random.default_rng(5)
    centres = unit(200, 32, seed=6)
    vectors = centres[rng.integers(0, 200, 12_000)] + 0.6 * unit(12_000, 32, seed=7)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = collection(3_000, 3)
    indexes = [opened(name, tmp_path_factory.mktemp(name), dim=32) for name in ("flat", "faiss")]
    for index in indexes:
        index.add(ids[:11_000], vectors[:11_000])
        index.flush()  # the graph covers these
        index.delete(ids[::20])
        index.upsert(ids[1:400:7], vectors[:57])
        index.add(ids[11_000:11_900], vectors[11_000:11_900])
        index.flush()  # and these stay behind it
    queries = vectors[rng.integers(0, 11_900, 60)] + 0.1 * unit(60, 32, seed=8)
    yield *indexes, queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for index in indexes:
        index.close()


WIDE = frozenset(range(0, 3_000, 2))


class TestFaissAgainstFlat:
    @pytest.mark.parametrize("where", [None, Filter(level="moment"), Filter(level="video"), Filter(videos=WIDE)])
    @pytest.mark.parametrize("exact_rows", [8_192, 50])
    def test_recall(self, crowd, monkeypatch, where, exact_rows):
        flat, faiss, queries = crowd
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", exact_rows)
        expected_scores, expected_ids = flat.search(queries, 10, where)
        scores, ids = faiss.search(queries, 10, where)
        assert recall(ids, expected_ids) >= 0.95
        same = ids == expected_ids
        assert (scores[same] == expected_scores[same]).all()  # one score per pair, whoever finds it
        assert (ids >= 0).all()

    def test_the_graph_is_used(self, crowd, monkeypatch):
        _, faiss, queries = crowd
        walked = []
        walk = faiss._search_graph
        monkeypatch.setattr(faiss, "_search_graph", lambda *args: walked.append(1) or walk(*args))
        faiss.search(queries, 10)
        assert walked
        assert faiss._read_graph().ntotal == 11_000

    @pytest.mark.parametrize(
        "where", [Filter(videos=frozenset({7})), Filter(level="video", videos=frozenset({5, 2_974}))]
    )
    def test_narrow_filters_are_exact(self, crowd, monkeypatch, where):
        flat, faiss, queries = crowd
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 0)
        scores, ids = faiss.search(queries, 10, where)
        expected_scores, expected_ids = flat.search(queries, 10, where)
        assert (scores == expected_scores).all()
        assert (ids == expected_ids).all()

    def test_a_stuck_walk_falls_back(self, crowd, monkeypatch):
        """With the widest beam that may be taken too small for the filter, nothing may be missing."""
        flat, faiss, queries = crowd
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 0)
        monkeypatch.setattr(faiss_index, "_MAX_EF", 10**9)
        where = Filter(videos=frozenset(range(100)))
        assert ((faiss.search(queries, 200, where)[1] >= 0) == (flat.search(queries, 200, where)[1] >= 0)).all()

    def test_what_a_stuck_walk_lacks_is_searched_within_the_filter(self, crowd, monkeypatch):
        flat, faiss, queries = crowd
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 0)
        monkeypatch.setattr(
            faiss, "_search_graph", lambda graph, rows, limit, beam, allowed: nothing_found(len(rows), limit)
        )
        for where in (None, Filter(videos=WIDE)):
            assert (faiss.search(queries, 10, where)[1] == flat.search(queries, 10, where)[1]).all()

    def test_reopens_with_its_graph(self, crowd):
        _, faiss, queries = crowd
        again = opened("faiss", faiss.store.folder, dim=32, create=False)
        assert again._read_graph().ntotal == 11_000
        assert (again.search(queries, 10)[1] == faiss.search(queries, 10)[1]).all()
        again.close()

    def test_flat_reads_what_faiss_wrote(self, crowd):
        flat, faiss, queries = crowd
        same = opened("flat", faiss.store.folder, dim=32, create=False)
        assert (same.search(queries, 10)[1] == flat.search(queries, 10)[1]).all()
        same.close()


class TestFaissGraph:
    def test_compaction_rebuilds_it(self, tmp_path):
        vectors = unit(6_000, seed=3)
        index = opened("faiss", tmp_path)
        index.add(np.arange(6_000), vectors)
        index.flush()
        before = list(tmp_path.glob("graph-*"))
        index.delete(np.arange(0, 6_000, 2))
        index.flush()
        after = list(tmp_path.glob("graph-*"))
        assert len(before) == len(after) == 1
        assert before != after
        assert index._read_graph().ntotal == index.store.rows == 3_000
        assert index.search(vectors[1:2], 1)[1].tolist() == [[1]]
        index.close()

    @pytest.mark.parametrize("rows", [49, 50])
    def test_is_built_from_so_many_vectors_on(self, tmp_path, rows):
        index = opened("faiss", tmp_path, graph_from=50)
        index.add(np.arange(rows), unit(rows))
        index.flush()
        assert len(list(tmp_path.glob("graph-*"))) == (rows == 50)
        index.close()

    def test_grows_when_opened_again(self, tmp_path, monkeypatch):
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 10)
        for first in (0, 300, 600):
            index = opened("faiss", tmp_path)
            index.add(np.arange(first, first + 300), unit(300, seed=first))
            assert index.search(unit(300, seed=first), 1)[1].ravel().tolist() == list(range(first, first + 300))
            index.flush()
            assert index._read_graph().ntotal == first + 300
            index.close()

    def test_a_broken_graph_file_costs_speed_alone(self, tmp_path):
        index = opened("faiss", tmp_path)
        index.add(np.arange(50), unit(50))
        index.flush()
        index.close()
        (graph,) = tmp_path.glob("graph-*")
        graph.write_bytes(graph.read_bytes()[:100])
        again = opened("faiss", tmp_path)
        assert again.search(unit(50), 1)[1].ravel().tolist() == list(range(50))
        again.flush()
        assert again._read_graph().ntotal == 50
        again.close()

    def test_a_grown_graph_does_not_confuse_a_reader(self, tmp_path, monkeypatch):
        monkeypatch.setattr(faiss_index, "_EXACT_ROWS", 10)
        writer = opened("faiss", tmp_path)
        writer.add(np.arange(500), unit(500))
        writer.flush()
        reader = opened("faiss", tmp_path, create=False)
        writer.add(np.arange(500, 1_000), unit(500, seed=1))
        writer.flush()
        assert reader.search(unit(500, seed=1), 5)[1].max() < 500
        assert reader.search(unit(500), 1)[1].ravel().tolist() == list(range(500))
        reader.close()
        writer.close()

    def test_options_are_checked(self, tmp_path):
        with pytest.raises(UsageError, match="unknown option 'mm'"):
            opened("faiss", tmp_path, mm=3)
        with pytest.raises(UsageError, match="threads"):
            opened("faiss", tmp_path, threads=0)

    @pytest.mark.parametrize("order", ["torch, faiss", "faiss, torch"])
    def test_shares_a_process_with_torch(self, order):
        code = f"import {order}, numpy as np\nx = np.eye(64, dtype='f4')\ni = faiss.IndexFlatIP(64); i.add(x)\n"
        code += "assert (i.search(x, 1)[1].ravel() == range(64)).all() and torch.eye(64).mm(torch.eye(64)).sum() == 64"
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
