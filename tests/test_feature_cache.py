"""The feature cache against a dictionary, with damage, kills and merges."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mmi_tvr.features.cache import (
    MANIFEST,
    FeatureCache,
)
from mmi_tvr.types import Features


def features(seed: int, count: int = 3) -> Features:
    rng = np.random.default_rng(seed)
    arrays = {
        "tokens": rng.random((count, 2, 5)).astype(np.float16),
        "pooled": rng.random((count, 4)).astype(np.float32),
    }
    return Features(rng.random((count, 3)), arrays)


def same(left: Features | None, right: Features) -> bool:
    return (
        left is not None
        and np.array_equal(left.segments, right.segments)
        and left.arrays.keys() == right.arrays.keys()
        and all(np.array_equal(left.arrays[name], right.arrays[name]) for name in right.arrays)
        and all(left.arrays[name].dtype == right.arrays[name].dtype for name in right.arrays)
    )


class CacheMachine(RuleBasedStateMachine):
    """Whatever is put, forgotten, torn and reopened, in any order: the cache is the dictionary."""

    keys = st.sampled_from("abcdefgh")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.cache = FeatureCache(self.root)
        self.model: dict[str, Features] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(batch=st.lists(keys, min_size=1, max_size=4, unique=True), seed=st.integers(0, 99))
    def put(self, batch: list[str], seed: int) -> None:
        batch_features = {key: features(seed + at, count=at) for at, key in enumerate(batch)}
        self.cache.put(batch_features)
        self.model = {**batch_features, **self.model}  # what is there stays

    @rule(deleted=st.lists(keys, max_size=4))
    def discard(self, deleted: list[str]) -> None:
        assert self.cache.discard(deleted) == len(self.model.keys() & set(deleted))
        for key in deleted:
            self.model.pop(key, None)

    @rule()
    def reopen(self) -> None:
        self.cache = FeatureCache(self.root)

    @rule(cut=st.integers(0, 400))
    def tear_the_manifest(self, cut: int) -> None:
        manifest = self.root / MANIFEST
        if manifest.exists():
            manifest.write_bytes(manifest.read_bytes()[:-cut] if cut else b"\x00\xff")
        self.reopen()

    @rule()
    def lose_the_manifest(self) -> None:
        (self.root / MANIFEST).unlink(missing_ok=True)
        self.reopen()

    @invariant()
    def agrees(self) -> None:
        assert sorted(self.cache) == sorted(self.model)
        assert all(same(self.cache.get(key), result) for key, result in self.model.items())
        assert all(self.cache.get(key) is None for key in "abcdefgh" if key not in self.model)
        assert not list(self.root.glob(".*"))


TestCache = CacheMachine.TestCase


TestCache.settings = settings(
    max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_kill_between_the_two_shards_of_a_discard_doubles_nothing(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1), "b": features(2)})
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    cache.discard(["a"])
    for name, content in before.items():  # as if the old shard had not been removed yet
        (tmp_path / name).write_bytes(content)
    again = FeatureCache(tmp_path)
    assert sorted(again) == ["a", "b"]
    assert same(again.get("b"), features(2))
    again.discard(["a", "b"])
    assert list(FeatureCache(tmp_path)) == []
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_discard_rewrites_what_shares_a_shard_and_nothing_else(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1), "b": features(2)})
    cache.put({"c": features(3)})
    cache.discard(["a"])
    assert sorted(FeatureCache(tmp_path)) == ["b", "c"]
    listed = [json.loads(line)["keys"] for line in (tmp_path / MANIFEST).read_text().split("\n") if line]
    assert sorted(listed) == [["b"], ["c"]]


def test_shards_that_the_manifest_lists_are_not_opened_to_learn_their_keys(tmp_path, monkeypatch):
    FeatureCache(tmp_path).put({"a": features(1)})
    monkeypatch.setattr(FeatureCache, "_header", lambda cache, shard: pytest.fail(f"{shard} was opened"))
    assert list(FeatureCache(tmp_path)) == ["a"]


def test_a_reader_beside_a_writer_removes_nothing(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1), "b": features(2)})
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    cache.discard(["a"])
    for name, content in before.items():  # the writer is in the middle of it
        (tmp_path / name).write_bytes(content)
    (tmp_path / MANIFEST).unlink()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert same(FeatureCache(tmp_path, tidy=False).get("b"), features(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_damaged_shard_reads_as_not_there_and_can_be_replaced(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1)})
    cache.put({"b": features(2)})
    [shard] = {
        entry["shard"]
        for line in (tmp_path / MANIFEST).read_text().splitlines()
        if "a" in (entry := json.loads(line))["keys"]
    }
    whole = (tmp_path / shard).read_bytes()
    (tmp_path / shard).write_bytes(whole[: len(whole) // 2])
    cache = FeatureCache(tmp_path)
    assert cache.get("a") is None
    assert same(cache.get("b"), features(2))
    cache.put({"a": features(1)})
    assert same(FeatureCache(tmp_path).get("a"), features(1))


def test_a_shard_that_is_gone_reads_as_not_there(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1)})
    other = FeatureCache(tmp_path)
    cache.discard(["a"])
    assert "a" in other
    assert other.get("a") is None
    assert "a" not in other


def test_many_small_shards_become_few_whose_features_stay(tmp_path):
    cache = FeatureCache(tmp_path)
    stored = {f"{number:03d}": features(number) for number in range(80)}
    for number, (key, value) in enumerate(stored.items()):
        cache.put({key: value})
        if number == 10:
            reader, before = FeatureCache(tmp_path, tidy=False), list(cache)
            cache.merge_small_shards()
            assert len(list(tmp_path.glob("*.safetensors"))) == 11, "few stay as they are"
    cache.merge_small_shards()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert all(same(reader.get(key), stored[key]) for key in before), "who reads beside it has them again"
    for opened in (cache, FeatureCache(tmp_path)):
        assert set(opened) == set(stored)
        assert all(same(opened.get(key), value) for key, value in stored.items())


def test_fingerprints_are_found_again_where_their_shards_were_merged(tmp_path):
    cache, prints = FeatureCache(tmp_path), np.arange(192, dtype=np.uint8)[None]
    for number in range(64):
        cache.put({f"{number:03d}": replace(features(number), fingerprints=prints + np.uint8(number))})
    reader = FeatureCache(tmp_path, tidy=False)
    cache.merge_small_shards()
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    cache.put({"new": features(64)})
    read = reader.fingerprints([*(f"{number:03d}" for number in range(64)), "none", "new"])
    assert sorted(read) == [f"{number:03d}" for number in range(64)]
    assert all(np.array_equal(read[f"{number:03d}"], prints + np.uint8(number)) for number in range(64))
    assert cache.fingerprints(["new", "none"]) == {}


def test_shards_are_merged_until_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr("mmi_tvr.features.cache._LARGE_KEYS", 30)
    monkeypatch.setattr("mmi_tvr.features.cache._MANY", 8)
    cache = FeatureCache(tmp_path)
    for number in range(8):
        cache.put({f"{number} {key}": features(key) for key in range(10)})
    cache.merge_small_shards()
    lines = (FeatureCache(tmp_path).root / MANIFEST).read_text().splitlines()
    assert sorted(len(json.loads(line)["keys"]) for line in lines) == [20, 30, 30]


def test_a_kill_between_a_merge_and_the_end_of_the_small_shards_loses_nothing(tmp_path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    cache = FeatureCache(tmp_path)
    stored = {f"{number:03d}": features(number) for number in range(70)}
    for key, value in stored.items():
        cache.put({key: value})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.merge_small_shards()
    assert len(list(tmp_path.glob("*.safetensors"))) == 71
    again = FeatureCache(tmp_path)
    assert all(same(again.get(key), value) for key, value in stored.items())
    again.merge_small_shards()
    assert all(same(again.get(key), value) for key, value in stored.items())


def test_what_a_kill_left_aside_is_removed_when_it_is_old(tmp_path):
    FeatureCache(tmp_path)
    old, fresh = tmp_path / ".old.tmp", tmp_path / ".fresh.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    FeatureCache(tmp_path, tidy=False)
    assert old.exists()
    FeatureCache(tmp_path)
    assert (old.exists(), fresh.exists()) == (False, True)


def test_the_manifest_is_set_right_once(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1)})
    whole = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(b"torn\n")
    FeatureCache(tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == whole


def test_features_that_are_there_are_not_written_again(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put({"a": features(1)})
    cache.put({"a": features(2)})
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert same(cache.get("a"), features(1))
