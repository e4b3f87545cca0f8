"""The files of the flat index: what is on disk, what a kill leaves, and what readers see meanwhile."""

from __future__ import annotations

import itertools
import multiprocessing
import time

import numpy as np
import pytest
from indexes import DIM, opened, unit

from mmi_tvr.errors import IndexMismatch, IndexMissing
from mmi_tvr.index import _store
from mmi_tvr.index._store import DEAD, Manifest
from mmi_tvr.types import Filter


class TestStore:
    def test_rows_beyond_the_manifest_are_never_read_and_are_overwritten(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.arange(3), unit(3))
        index.flush()
        index.add(np.array([7]), unit(1, seed=7))  # not flushed, as if killed here
        second = opened("flat", tmp_path)
        assert second.ids().tolist() == [0, 1, 2]
        second.add(np.array([8]), unit(1, seed=8))
        second.flush()
        third = opened("flat", tmp_path)
        assert third.ids().tolist() == [0, 1, 2, 8]
        np.testing.assert_array_equal(third.get(np.array([8])), unit(1, seed=8))

    def test_an_unchanged_store_is_not_committed_and_a_changed_one_counts_up(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.empty(0, np.int64), unit(0))
        assert index.delete(np.array([5])) == 0
        index.flush()
        assert Manifest.read(tmp_path).serial == 0
        for serial in (1, 2):
            index.add(np.array([serial]), unit(1))
            index.flush()
            index.flush()
            manifest = Manifest.read(tmp_path)
            assert (manifest.serial, manifest.count) == (serial, serial)

    def test_a_deletion_is_on_disk_as_a_tombstone(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.arange(6), unit(6))
        index.flush()
        index.delete(np.array([0, 1, 4]))
        index.flush()
        [file] = tmp_path.glob("ids-*")
        assert np.fromfile(file, "<i8").tolist() == [DEAD, DEAD, 2, 3, DEAD, 5]
        index.delete(np.array([3]))
        index.flush()
        assert np.fromfile(file, "<i8").tolist() == [DEAD, DEAD, 2, DEAD, DEAD, 5]
        assert index.store.dead == opened("flat", tmp_path).store.dead == 4

    def test_a_filter_is_about_rows_that_are_alive(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.array([0, 1, 4096, 4097]), unit(4))
        index.delete(np.array([1, 4096]))
        assert index.count() == 2
        assert index.count(Filter(videos=frozenset({0}))) == 1
        assert index.count(Filter(level="video")) == 1
        assert index.search(unit(4), 4, Filter(level="moment"))[1].max(axis=1).tolist() == [4097] * 4

    @pytest.mark.parametrize(("rows", "deleted", "compacts"), [(100, 8, False), (100, 9, False), (20, 9, True)])
    def test_compaction_needs_many_dead_rows_and_a_share(self, tmp_path, monkeypatch, rows, deleted, compacts):
        monkeypatch.setattr(_store, "_COMPACT_ROWS", 8)
        index = opened("flat", tmp_path)
        index.add(np.arange(rows), unit(rows))
        index.flush()
        before = index.store.generation
        index.delete(np.arange(deleted))
        index.flush()
        assert (index.store.generation != before) == compacts
        assert index.store.rows == (rows - deleted if compacts else rows)
        assert index.ids().tolist() == list(range(deleted, rows))
        np.testing.assert_array_equal(index.get(np.array([rows - 1])), unit(rows)[-1:])
        assert len(list(tmp_path.iterdir())) == 3

    @pytest.mark.parametrize("maker", [{"dim": DIM + 1}, {"fingerprint": "made-by-b"}])
    def test_a_store_of_another_maker_is_refused(self, tmp_path, maker):
        opened("flat", tmp_path).close()
        with pytest.raises(IndexMismatch, match=r"made by made-by-a \(16-d\), not by"):
            opened("flat", tmp_path, **maker)

    @pytest.mark.parametrize("marker", ["milvus.db", "milvus.json"])
    def test_a_folder_of_milvus_is_refused(self, tmp_path, marker):
        (tmp_path / marker).touch()
        with pytest.raises(IndexMismatch, match="are in an index of milvus"):
            opened("flat", tmp_path)

    def test_a_store_of_another_format_is_refused(self, tmp_path):
        opened("flat", tmp_path).close()
        manifest = tmp_path / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
        with pytest.raises(IndexMissing, match="its format is flat 2, this version reads flat 1"):
            opened("flat", tmp_path)

    def test_missing_files_are_named_by_their_generation(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.arange(3), unit(3))
        index.close()
        next(tmp_path.glob("ids-*")).unlink()
        with pytest.raises(IndexMissing, match=f"the files of generation {index.store.generation} are missing"):
            opened("flat", tmp_path, create=False)

    def test_vectors_that_are_too_few_are_damage(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.arange(3), unit(3))
        index.close()
        file = next(tmp_path.glob("vectors-*"))
        file.write_bytes(file.read_bytes()[:-4])
        with pytest.raises(IndexMissing, match="fewer than the 3 rows it should have"):
            opened("flat", tmp_path)

    def test_a_writer_removes_what_killed_ones_left_and_a_reader_does_not(self, tmp_path):
        index = opened("flat", tmp_path)
        leftovers = [tmp_path / name for name in ("vectors-dead.f32", "ids-dead.i64", ".manifest.json.1.tmp")]
        for file in leftovers:
            file.touch()
        opened("flat", tmp_path, create=False)
        assert all(file.exists() for file in leftovers)
        index.add(np.array([1]), unit(1))
        assert not any(file.exists() for file in leftovers)

    def test_another_maker_that_took_the_folder_is_noticed_before_a_write(self, tmp_path):
        index = opened("flat", tmp_path)
        for file in tmp_path.iterdir():
            file.unlink()
        opened("flat", tmp_path, fingerprint="made-by-b").close()
        with pytest.raises(IndexMismatch):
            index.add(np.array([1]), unit(1))

    def test_a_deletion_knows_what_another_process_has_written(self, tmp_path):
        first, second = opened("flat", tmp_path), opened("flat", tmp_path)
        first.add(np.array([1]), unit(1))
        first.flush()
        assert second.delete(np.array([1])) == 1
        second.flush()
        assert opened("flat", tmp_path).count() == 0

    def test_closing_flushes(self, tmp_path):
        index = opened("flat", tmp_path)
        index.add(np.array([1]), unit(1))
        index.close()
        assert opened("flat", tmp_path).ids().tolist() == [1]


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
