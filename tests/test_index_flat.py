"""The flat index held to a dictionary, and what it takes for vectors and ids."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from indexes import naive, opened, unit

from mmi_tvr.errors import LibraryBusy, UsageError
from mmi_tvr.index import _exact, _store
from mmi_tvr.index._common import checked_ids, checked_vectors, matches, merge
from mmi_tvr.index._store import VectorStore
from mmi_tvr.types import Filter

PALETTE = np.concatenate([unit(4, 3), unit(2, 3), -unit(1, 3)])  # few vectors, so that ties are common


class FlatAgainstDictionary(RuleBasedStateMachine):
    """Any sequence of calls, with reopening and compaction in between, does what a dictionary does."""

    ids = st.lists(st.integers(0, 40).map(lambda n: (n // 4 << 12) + n % 4), max_size=12, unique=True)
    seeds = st.integers(0, 10_000)

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.compact = pytest.MonkeyPatch()
        self.compact.setattr("mmi_tvr.index._store._COMPACT_ROWS", 8)
        self.index = opened("flat", Path(self.folder.name), dim=3)
        self.stored = {}

    def vectors(self, ids, seed):
        return PALETTE[np.random.default_rng(seed).integers(0, len(PALETTE), len(ids))]

    @rule(ids=ids, seed=seeds)
    def upsert(self, ids, seed):
        vectors = self.vectors(ids, seed)
        self.index.upsert(np.array(ids, np.int64), vectors)
        self.stored.update(zip(ids, vectors, strict=True))

    @rule(ids=ids, seed=seeds)
    def add(self, ids, seed):
        vectors = self.vectors(ids, seed)
        if set(ids) & set(self.stored):
            with pytest.raises(UsageError):
                self.index.add(np.array(ids, np.int64), vectors)
        else:
            self.index.add(np.array(ids, np.int64), vectors)
            self.stored.update(zip(ids, vectors, strict=True))

    @rule(ids=ids)
    def delete(self, ids):
        assert self.index.delete(np.array(ids, np.int64)) == len(set(ids) & set(self.stored))
        for id_ in ids:
            self.stored.pop(id_, None)

    @rule()
    def flush(self):
        self.index.flush()

    @rule()
    def reopen(self):
        self.index.flush()
        self.index = opened("flat", Path(self.folder.name), dim=3, create=False)

    @rule(
        limit=st.integers(1, 50),
        kind=st.sampled_from([None, "video", "moment"]),
        videos=st.none() | st.frozensets(st.integers(0, 11), max_size=4),
    )
    def search(self, limit, kind, videos):
        where = Filter(kind, videos)
        scores, ids = self.index.search(PALETTE, limit, where)
        expected = naive(self.stored, PALETTE, limit, where)
        assert (ids == expected[1]).all()
        assert (scores == expected[0]).all()
        assert self.index.count(where) == (naive(self.stored, PALETTE[:1], 60, where)[1] >= 0).sum()

    @precondition(lambda self: self.stored)
    @rule()
    def get(self):
        known = np.array(list(self.stored), np.int64)
        assert (self.index.get(known) == np.array(list(self.stored.values()))).all()

    @invariant()
    def same_ids(self):
        assert self.index.ids().tolist() == sorted(self.stored)

    def teardown(self):
        self.index.close()
        self.compact.undo()
        self.folder.cleanup()


TestFlatAgainstDictionary = FlatAgainstDictionary.TestCase
TestFlatAgainstDictionary.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class TestFlat:
    def test_blocks_do_not_show(self, tmp_path, monkeypatch):
        """Copies spread over many blocks, asked for alone and together, tie exactly."""
        monkeypatch.setattr("mmi_tvr.index._exact._SCORES", 111)
        monkeypatch.setattr("mmi_tvr.index._exact._QUERIES", 3)
        monkeypatch.setattr("mmi_tvr.index._exact._PAIRS", 11)
        monkeypatch.setattr("mmi_tvr.index._exact._GATHERED", 13)
        vectors = np.repeat(unit(40, 100), 10, axis=0)
        ids = np.random.default_rng(0).permutation(400) * 512  # eight to a video
        index = opened("flat", tmp_path, dim=100)
        index.add(ids, vectors)
        queries = unit(8, 100, seed=1)
        stored = dict(zip(ids.tolist(), vectors, strict=True))
        expected = naive(stored, queries, 25)
        together = index.search(queries, 25)
        assert (together[1] == expected[1]).all()
        assert (together[0] == expected[0].astype(np.float32)).all()
        few = Filter(videos=frozenset({3, 14, 15, 44}))
        assert (index.search(queries, 25, few)[1] == naive(stored, queries, 25, few)[1]).all()
        for row, query in enumerate(queries):
            assert (index.search(query[None], 25)[1][0] == together[1][row]).all()
        index.close()

    def test_many_dead_rows_are_compacted(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.arange(4_000), unit(4_000))
        index.flush()
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        reader = opened("flat", tmp_path, create=False)
        index.delete(np.arange(3_000))
        index.flush()
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 0.3 * size
        assert index.search(unit(4_000)[3_500:3_501], 1)[1].tolist() == [[3_500]]
        index.add(np.arange(10), unit(10))
        assert reader.count() == 4_000
        assert reader.search(unit(1), 1)[1].tolist() == [[0]]
        index.close()
        reader.close()

    def test_two_writers_do_not_mix(self, tmp_path):
        first, second = opened("flat", tmp_path), opened("flat", tmp_path)
        for id_, writer in enumerate((first, second, first)):  # each takes over what was written since it opened
            writer.add(np.array([id_]), unit(1, seed=id_))
            writer.flush()
        first.add(np.array([7]), unit(1))
        second.add(np.array([8]), unit(1, seed=8))
        second.flush()
        with pytest.raises(LibraryBusy, match="another process has written here"):
            first.flush()
        assert first.ids().tolist() == [0, 1, 2, 8]  # what it wrote is lost, and it has said so
        assert (opened("flat", tmp_path).get(np.array([0, 8])) == [unit(1)[0], unit(1, seed=8)[0]]).all()

    def test_stopped_before_the_tombstones(self, tmp_path, monkeypatch):
        index = opened("flat", tmp_path)
        index.add(np.arange(4), unit(4))
        index.flush()
        index.upsert(np.array([1, 2]), unit(2, seed=1))
        with monkeypatch.context() as patch:
            patch.setattr(VectorStore, "_write_tombstones", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                index.flush()
        again = opened("flat", tmp_path)
        assert again.ids().tolist() == [0, 1, 2, 3]
        assert (again.get(np.array([1, 2])) == unit(2, seed=1)).all()
        again.delete(np.array([1]))
        again.flush()
        assert opened("flat", tmp_path).ids().tolist() == [0, 2, 3]  # and the old vector does not come back

    @pytest.mark.parametrize("write", ["append", "commit"])
    def test_a_full_disk_leaves_it_usable(self, tmp_path, monkeypatch, write):
        index = opened("flat", tmp_path)
        index.add(np.arange(4), unit(4))
        index.flush()
        full = Mock(side_effect=OSError("No space left on device"))
        step = {"append": lambda: index.add(np.array([8]), unit(1, seed=8)), "commit": index.flush}[write]
        if write == "commit":
            index.add(np.array([8]), unit(1, seed=8))
        with monkeypatch.context() as patch:
            patch.setattr(_store, "_write_at" if write == "append" else "write_atomically", full)
            with pytest.raises(OSError, match="No space left"):
                step()
        index.upsert(np.array([8]), unit(1, seed=8))
        index.flush()
        assert opened("flat", tmp_path).ids().tolist() == index.ids().tolist() == [0, 1, 2, 3, 8]

    @pytest.mark.parametrize(("file", "content"), [("manifest.json", b"{"), ("manifest.json", b"[]"), ("ids-*", b"")])
    def test_damage_is_one_line(self, tmp_path, file, content):
        index = opened("flat", tmp_path)
        index.add(np.arange(3), unit(3))
        index.close()
        next(tmp_path.glob(file)).write_bytes(content)
        with pytest.raises(UsageError, match=r"not a readable vector index .*--rebuild") as caught:
            opened("flat", tmp_path)
        assert "\n" not in str(caught.value)


class TestExact:
    """`_exact.search` and `_common.merge` against a full sort."""

    @pytest.mark.parametrize("length", [1, 10_000])
    def test_rounding_of_the_product_hides_no_row(self, length):
        """A float32 product of so many dimensions errs by more than these rows differ: the margin makes up for it."""
        base = unit(1, 1_024, seed=4)
        vectors = base + np.float32(1e-6) * unit(1_500, 1_024, seed=5)
        ids = np.random.default_rng(1).permutation(len(vectors))
        queries = np.float32(length) * (base + np.float32(1e-3) * unit(6, 1_024, seed=6))
        expected_scores, expected_ids = naive(dict(zip(ids, vectors, strict=True)), queries, 5)
        scores, nearest = _exact.search(vectors, ids, queries, 5)
        assert (nearest == expected_ids).all()
        assert (scores == expected_scores).all()

    @pytest.mark.parametrize("share", [0.1, 0.9])
    @pytest.mark.parametrize("queries", [1, 7])
    def test_masked_rows_never_come_back_however_few_are_left(self, monkeypatch, share, queries):
        monkeypatch.setattr(_exact, "_SCORES", 64)
        monkeypatch.setattr(_exact, "_QUERIES", 4)
        monkeypatch.setattr(_exact, "_GATHERED", 9)
        vectors, ids = unit(150, 8), np.arange(150) * 3
        allowed = np.random.default_rng(2).random(150) < share
        stored = dict(zip(ids[allowed], vectors[allowed], strict=True))
        probes = unit(queries, 8, seed=3)
        expected_scores, expected_ids = naive(stored, probes, 200)
        scores, nearest = _exact.search(vectors, ids, probes, 200, allowed)
        assert (nearest == expected_ids).all()
        assert (scores == expected_scores).all()

    @pytest.mark.parametrize(("share", "gathers"), [(0.2, True), (0.3, False)])
    def test_few_allowed_rows_are_copied_out(self, monkeypatch, share, gathers):
        blocks = []
        candidates = _exact._candidates
        monkeypatch.setattr(
            _exact, "_candidates", lambda block, *arguments: blocks.append(len(block)) or candidates(block, *arguments)
        )
        allowed = np.arange(100) < 100 * share
        _exact.search(unit(100, 8), np.arange(100), unit(1, 8, seed=3), 5, allowed)
        assert blocks == [int(100 * share) if gathers else 100]

    def test_only_rows_that_may_belong_to_the_best_are_scored_again(self):
        vectors = unit(5_000, 32)
        queries = unit(4, 32, seed=1)
        floor = np.full(4, -np.inf, np.float32)
        query_rows, rows = _exact._candidates(vectors, queries, None, floor, 10)
        assert (np.bincount(query_rows) >= 10).all()
        assert len(rows) < 80
        best = np.sort(queries @ vectors.T, axis=1)[:, -1]
        assert len(_exact._candidates(vectors, queries, None, best, 10)[1]) == 4

    def test_dots_are_summed_in_double_precision(self):
        large = np.float32([[1e8, 1, -1e8, 1]])
        ones = np.ones((1, 4), np.float32)
        assert _exact.dots(large, np.array([0]), ones, np.array([0])).tolist() == [2]

    def test_merging_keeps_queries_apart_and_ties_by_id(self):
        best = np.float32([[0.9, 0.1], [0.5, -np.inf]]), np.array([[4, 9], [7, -1]])
        scores, ids = merge(best, np.array([1, 0, 0, 1]), np.float32([0.5, 0.9, 0.2, 0.4]), np.array([6, 3, 8, 2]))
        assert ids.tolist() == [[3, 4], [6, 7]]
        assert scores.tolist() == np.float32([[0.9, 0.9], [0.5, 0.5]]).tolist()


class TestInput:
    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([[1, 2]], r"one row of integers, not int64 of shape \(1, 2\)"),
            (np.array([2**63], np.uint64), "between 0 and"),
            ([5, 3, 5], "id 5 comes twice"),
            ([4, -1], "between 0 and"),
            ([True, False], "integers, not bool"),
        ],
    )
    def test_ids(self, ids, message):
        with pytest.raises(UsageError, match=message):
            checked_ids(ids)

    def test_the_largest_id_and_the_least_length(self):
        assert checked_ids([2**63 - 1, 0]).tolist() == [2**63 - 1, 0]
        assert checked_ids([]).shape == (0,)
        for length, message in ((1.0009, None), (1.0011, "length 1.001"), (0.9991, None), (0.9989, "length 0.9989")):
            vector = np.float64([[length, 0]])
            if message is None:
                assert checked_vectors(vector, 2).dtype == np.float32
            else:
                with pytest.raises(UsageError, match=message):
                    checked_vectors(vector, 2)

    def test_no_filter_is_no_mask(self):
        ids = np.array([0, 1, 4096])
        assert matches(ids, None) is None
        assert matches(ids, Filter()) is None
        assert matches(ids, Filter(level="video")).tolist() == [True, False, True]
        assert matches(ids, Filter(level="moment")).tolist() == [False, True, False]
        assert matches(ids, Filter(videos=frozenset({1}))).tolist() == [False, False, True]
        assert matches(ids, Filter(level="moment", videos=frozenset({1}))).tolist() == [False, False, False]
