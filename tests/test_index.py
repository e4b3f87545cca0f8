"""One contract for every index, and how settings name one."""

from __future__ import annotations

import numpy as np
import pytest
from indexes import DIM, collection, naive, opened, unit

from mmi_tvr import plugins
from mmi_tvr.errors import IndexMismatch, UsageError
from mmi_tvr.index import open_index
from mmi_tvr.protocols import ExactIndex, Index
from mmi_tvr.types import Filter, row_ids


@pytest.fixture(params=plugins.names("index"))
def name(request):
    return request.param


@pytest.fixture
def fresh(name, tmp_path):
    index = opened(name, tmp_path / "vectors")
    yield index
    index.close()


class TestContract:
    def test_follows_the_protocol(self, fresh):
        assert isinstance(fresh, Index)
        assert (fresh.fingerprint, fresh.dim) == ("made-by-a", DIM)

    def test_empty(self, fresh):
        scores, ids = fresh.search(unit(2), 3)
        assert np.isneginf(scores).all()
        assert (ids == -1).all()
        assert scores.shape == ids.shape == (2, 3)
        assert fresh.count() == len(fresh.ids()) == fresh.delete(np.array([5])) == 0
        assert fresh.get(np.empty(0, np.int64)).shape == (0, DIM)
        assert fresh.search(unit(0), 3)[0].shape == (0, 3)

    def test_finds_itself_first_in_order(self, fresh):
        ids, vectors = collection(6), unit(30)
        fresh.add(ids, vectors)
        scores, nearest = fresh.search(vectors, 4)
        assert (nearest[:, 0] == ids).all()
        assert (np.diff(scores, axis=1) <= 0).all()
        np.testing.assert_allclose(scores, naive(dict(zip(ids, vectors, strict=True)), vectors, 4)[0], atol=1e-6)
        assert scores.dtype == np.float32
        assert nearest.dtype == np.int64

    def test_pads_short_rows(self, fresh):
        fresh.add(row_ids(1, 2), unit(3))
        scores, ids = fresh.search(unit(1), 5)
        assert sorted(ids[0]) == [-1, -1, *row_ids(1, 2)]
        assert np.isneginf(scores[0, 3:]).all()
        assert np.isfinite(scores[0, :3]).all()

    def test_ties_by_smaller_id(self, fresh):
        same = np.repeat(unit(1), 5, axis=0)
        fresh.add(np.array([9, 2, 70_000, 4, 3]), same)
        assert fresh.search(same[:1], 5)[1].tolist() == [[2, 3, 4, 9, 70_000]]

    @pytest.mark.parametrize(
        "where",
        [
            Filter(),
            Filter(level="video"),
            Filter(level="moment"),
            Filter(videos=frozenset({1, 4})),
            Filter(level="video", videos=frozenset({3, 99})),
            Filter(videos=frozenset()),
        ],
    )
    def test_filters(self, fresh, where):
        ids, vectors, queries = collection(8), unit(40), unit(3, seed=1)
        fresh.add(ids, vectors)
        expected_scores, expected_ids = naive(dict(zip(ids, vectors, strict=True)), queries, 12, where)
        scores, nearest = fresh.search(queries, 12, where)
        assert (nearest == expected_ids).all()
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
        assert fresh.count(where) == (naive(dict(zip(ids, vectors, strict=True)), queries[:1], 40, where)[1] >= 0).sum()

    def test_add_refuses_known_ids_whole(self, fresh):
        fresh.add(np.array([3, 4]), unit(2))
        with pytest.raises(UsageError, match="id 4 is in the index already"):
            fresh.add(np.array([8, 4]), unit(2, seed=1))
        assert fresh.ids().tolist() == [3, 4]
        assert (fresh.get(np.array([4])) == unit(2)[1]).all()

    def test_upsert_replaces(self, fresh):
        old, new = unit(3), unit(3, seed=1)
        fresh.add(np.array([1, 2, 3]), old)
        fresh.upsert(np.array([2, 5]), new[:2])
        assert fresh.ids().tolist() == [1, 2, 3, 5]
        assert fresh.count() == 4
        np.testing.assert_array_equal(fresh.get(np.array([5, 2, 1])), [new[1], new[0], old[0]])
        assert fresh.search(old[1:2], 4)[0][0, 0] < 0.999
        assert sorted(fresh.search(old[1:2], 9)[1][0])[-4:] == [1, 2, 3, 5]

    def test_delete(self, fresh):
        fresh.add(np.arange(5), unit(5))
        assert fresh.delete(np.array([1, 3, 77])) == 2
        assert fresh.delete(np.array([1])) == 0
        assert fresh.ids().tolist() == [0, 2, 4]
        assert fresh.count() == 3
        assert set(fresh.search(unit(5), 5)[1].ravel()) == {0, 2, 4, -1}
        with pytest.raises(KeyError):
            fresh.get(np.array([0, 1]))
        fresh.add(np.array([1]), unit(1, seed=1))
        assert (fresh.get(np.array([1])) == unit(1, seed=1)).all()

    def test_keeps_what_was_flushed(self, name, fresh, tmp_path):
        fresh.add(np.arange(4), unit(4))
        fresh.delete(np.array([0]))
        fresh.upsert(np.array([1, 9]), unit(2, seed=1))
        fresh.flush()
        fresh.close()
        again = opened(name, tmp_path / "vectors", create=False)
        assert again.ids().tolist() == [1, 2, 3, 9]
        np.testing.assert_array_equal(again.get(np.array([9, 1, 3])), [*unit(2, seed=1)[::-1], unit(4)[3]])
        assert again.search(unit(4)[2:3], 1)[1].tolist() == [[2]]
        again.close()

    @pytest.mark.parametrize("maker", [{"fingerprint": "made-by-b"}, {"dim": 8}])
    def test_refuses_another_maker(self, name, fresh, tmp_path, maker):
        fresh.add(np.arange(2), unit(2))
        fresh.close()
        with pytest.raises(IndexMismatch, match=r"made by made-by-a \(16-d\), not by .*--rebuild"):
            opened(name, tmp_path / "vectors", **maker)
        again = opened(name, tmp_path / "vectors")
        assert again.count() == 2
        again.close()

    def test_absent_and_not_to_be_made(self, name, tmp_path):
        with pytest.raises(UsageError, match=r"no vector index is here; make one: mmi-tvr index"):
            opened(name, tmp_path / "none", create=False)
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize(
        ("ids", "vectors", "message"),
        [
            ([1, 1], unit(2), "id 1 comes twice"),
            ([1, 2, 3], unit(2), "3 ids for 2 vectors"),
            ([-1, 2], unit(2), "between 0 and"),
            ([0.5, 2], unit(2), "integers"),
            ([1, 2], unit(2, dim=DIM + 1), r"shape \(N, 16\)"),
            ([1], unit(1)[0], r"shape \(N, 16\)"),
            ([1, 2], unit(2) * 1.01, "length 1.01, not 1"),
            ([1, 2], np.zeros((2, DIM), np.float32), "length 0, not 1"),
            ([1, 2], np.full((2, DIM), np.nan), "length nan"),
            ([1, 2], np.eye(2, DIM, dtype=int), "floating point"),
        ],
    )
    def test_bad_input_is_one_line_and_stores_nothing(self, fresh, ids, vectors, message):
        for write in (fresh.add, fresh.upsert):
            with pytest.raises(UsageError, match=message) as caught:
                write(np.array(ids), vectors)
            assert "\n" not in str(caught.value)
        assert fresh.count() == 0

    def test_bad_questions(self, fresh):
        with pytest.raises(UsageError, match="at least 1 row"):
            fresh.search(unit(1), 0)
        for number in (np.nan, np.inf, 1e30):
            with pytest.raises(UsageError, match=r"query 1 has length (nan|inf): a search needs finite numbers"):
                fresh.search(np.vstack([unit(1), np.full((1, DIM), number)]), 1)
        with pytest.raises(UsageError, match="level is 'video' or 'moment'"):
            fresh.search(unit(1), 1, Filter(level="clip"))

    def test_queries_of_any_length(self, fresh):
        ids, vectors, lengths = collection(8), unit(40), np.float32([[1e-3], [0.5], [30.0], [0.0]])
        fresh.add(ids, vectors)
        fresh.flush()
        queries = unit(4, seed=1) * lengths
        expected_scores, expected_ids = naive(dict(zip(ids, vectors, strict=True)), queries, 40)
        for search in (fresh.search, *([fresh.search_exact] if isinstance(fresh, ExactIndex) else [])):
            scores, nearest = search(queries, 40)
            assert (nearest == expected_ids).all()
            np.testing.assert_allclose(scores, expected_scores, atol=1e-6 * 30)

    def test_an_exact_search_is_one_through_everything(self, fresh):
        if not isinstance(fresh, ExactIndex):
            pytest.skip("not offered")
        ids, vectors, where = collection(400), unit(2000), Filter(level="moment", videos=frozenset(range(3, 390)))
        fresh.add(ids, vectors)
        fresh.flush()
        scores, nearest = fresh.search_exact(3 * unit(3, seed=1), 30, where)
        expected = naive(dict(zip(ids, vectors, strict=True)), 3 * unit(3, seed=1), 30, where)
        assert (nearest == expected[1]).all()
        np.testing.assert_allclose(scores, expected[0], atol=1e-5)

    def test_takes_what_models_hand_over(self, fresh):
        float16 = unit(4).astype(np.float16)
        fresh.add(np.arange(4, dtype=np.int32), float16[:, ::-1])
        fresh.upsert(np.array([7], np.uint64), np.asfortranarray(unit(1, seed=2).astype(np.float64)))
        np.testing.assert_array_equal(fresh.get(np.array([2])), float16[2:3, ::-1].astype(np.float32))
        assert fresh.count() == 5


def test_every_index_of_ours_can_search_exactly(name, fresh):
    assert isinstance(fresh, ExactIndex) or plugins.origin("index", name) is not None


class TestOpenIndex:
    @pytest.mark.parametrize(
        ("name", "kind"), [("flat", "FlatIndex"), ("auto", "FaissIndex"), ("milvus", "MilvusIndex")]
    )
    def test_names(self, tmp_path, name, kind):
        index = open_index(name, path=tmp_path, dim=DIM, fingerprint="a")
        assert type(index).__name__ == kind
        index.close()

    def test_auto_makes_a_graph_beyond_its_limit_alone(self, tmp_path, monkeypatch):
        monkeypatch.setattr("mmi_tvr.index.AUTO_GRAPH_FROM", 50)
        index = open_index("auto", path=tmp_path, dim=DIM, fingerprint="a")
        for first, graphs in ((0, 0), (30, 1)):
            index.add(np.arange(first, first + 30), unit(30, seed=first))
            index.flush()
            assert len(list(tmp_path.glob("graph-*"))) == graphs
        index.close()

    @pytest.mark.parametrize(("first", "second"), [("flat", "milvus"), ("milvus", "flat"), ("milvus", "auto")])
    def test_another_kind_is_refused(self, tmp_path, first, second):
        open_index(first, path=tmp_path, dim=DIM, fingerprint="a").close()
        with pytest.raises(IndexMismatch, match=f"are in an index of {first}.*index.name.*--rebuild"):
            open_index(second, path=tmp_path, dim=DIM, fingerprint="a")

    def test_flat_faiss_and_auto_share_files(self, tmp_path):
        for id_, name in enumerate(("flat", "faiss", "auto", "flat")):
            index = open_index(name, path=tmp_path, dim=DIM, fingerprint="a")
            index.add(np.array([id_]), unit(1, seed=id_))
            assert index.search(unit(1, seed=id_), 1)[1].tolist() == [[id_]]
            assert index.count() == id_ + 1
            index.close()

    def test_unknown_name(self, tmp_path):
        with pytest.raises(UsageError, match="no index is called 'annoy'; there are: faiss, flat, milvus"):
            open_index("annoy", path=tmp_path, dim=DIM, fingerprint="a")
