"""The flat index held to a dictionary; its files under two writers, full disks and kills."""

from __future__ import annotations

import itertools
import multiprocessing
import tempfile
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from indexes import DIM, naive, opened, unit

from mmi_tvr.errors import LibraryBusy, UsageError
from mmi_tvr.index import _store
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


def vectors_of_step(ids, step):
    """Return the vectors that the writer of the kill test gives to ids at a step."""
    angle = np.asarray(ids, np.float64)[:, None] * 0.37 + np.asarray(step).reshape(-1, 1) * 0.11 + np.arange(DIM)
    vectors = np.sin(angle).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_for_ever(path, flushed):
    """Step n stores ids 40n to 40n+39, replaces 30 of the step before and deletes its other 10."""
    index = opened("flat", path)
    for step in itertools.count(flushed.value + 1):
        fresh = np.arange(step * 40, step * 40 + 40)
        index.upsert(fresh, vectors_of_step(fresh, step))
        if step > 1:
            index.upsert(fresh[:30] - 40, vectors_of_step(fresh[:30] - 40, step))
            index.delete(fresh[30:] - 40)
        index.flush()
        flushed.value = step


def step_of(path):
    """Return the step whose rows are the last ones in the index, after a look at every row."""
    index = opened("flat", path, create=False)
    ids = index.ids()
    step = int(ids[-1]) // 40
    due = np.arange(40, step * 40 + 40)
    due = due[(due % 40 < 30) | (due // 40 == step)]
    assert not len(np.setdiff1d(due, ids))
    doomed = np.arange(step * 40 - 10, step * 40)  # deleted by the step itself, which a kill may cut short
    assert np.isin(np.setdiff1d(ids, due), doomed).all()
    writer = np.where(np.isin(ids, doomed), step - 1, np.minimum(ids // 40 + 1, step))
    assert (index.get(ids) == vectors_of_step(ids, writer)).all()
    index.close()
    return step


def test_killed_writers_lose_nothing_and_readers_see_whole_steps(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    flushed = spawn.RawValue("q", 0)
    rng = np.random.default_rng()  # unseeded: no moment is a right one to be killed at
    for _ in range(4):
        began = flushed.value
        writer = spawn.Process(target=write_for_ever, args=(tmp_path, flushed))
        writer.start()
        deadline = time.monotonic() + 60
        while flushed.value <= began and time.monotonic() < deadline:
            time.sleep(0.01)
        until = time.monotonic() + rng.uniform(0.05, 0.6)
        while time.monotonic() < until:
            known = flushed.value
            assert step_of(tmp_path) >= known > began
        writer.kill()
        writer.join()
        assert step_of(tmp_path) - flushed.value in (0, 1)
    assert len(list(tmp_path.iterdir())) <= 8  # leftovers of killed compactions are swept
