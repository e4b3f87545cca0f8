"""The feature cache against a dictionary, with damage; decoding ahead; embedding with and without a cache."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, FakeModel, RecordedProgress, colour_video
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from PIL import Image

from mmi_tvr import plugins
from mmi_tvr.errors import MediaError, MmiTvrError
from mmi_tvr.features.cache import (
    MANIFEST,
    FeatureCache,
    Source,
    feature_key,
    sampling_fingerprint,
    source_of,
    stamp_of,
)
from mmi_tvr.features.embed import Embedder, embed_all, embedding_fingerprint
from mmi_tvr.features.extract import BATCH_VIDEOS, _ahead, extract
from mmi_tvr.features.lazy import StoredFeatures, stored_features
from mmi_tvr.types import Embeddings, Features, Video
from mmi_tvr.utils.batching import in_batches
from mmi_tvr.utils.memory import reused_memory

METHOD = plugins.build("keyimages", "disparity")


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


def test_work_runs_ahead_by_so_much_and_no_more():
    taken = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    results = _ahead(lambda item: item * item, items(), ahead=4)
    for expected in range(20):
        assert next(results) == expected**2
        assert len(taken) <= expected + 1 + 4
    assert list(results) == [item**2 for item in range(20, 50)]


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_as_much_work_waits_ahead_as_may(ahead):
    taken = []
    items = (taken.append(item) or item for item in range(9))
    assert next(_ahead(lambda item: item, items, ahead)) == 0
    assert len(taken) == ahead + 1


def test_leaving_ahead_work_waits_for_what_runs():
    started, finished = threading.Event(), threading.Event()

    def work(item: int) -> int:
        if item == 1:
            started.set()
            time.sleep(0.2)
            finished.set()
        return item

    results = _ahead(work, range(3), ahead=2)
    assert next(results) == 0
    started.wait()
    results.close()
    assert finished.is_set()


def test_an_error_in_ahead_work_reaches_the_consumer():
    with pytest.raises(ZeroDivisionError):
        list(_ahead(lambda item: 1 // item, [1, 0, 1], ahead=2))


def test_batches_close_when_full_or_when_time_is_up():
    assert list(in_batches(range(5), size=2, seconds=60)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches(range(3), size=2, seconds=0)) == [[0], [1], [2]]


def test_the_first_batch_closes_sooner():
    assert list(in_batches(range(5), size=3, seconds=60, first_seconds=0)) == [[0], [1, 2, 3], [4]]


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_used_again_and_given_back_at_the_end():
    import resource

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(40 << 20, np.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    outside = faults()
    with reused_memory(), reused_memory():
        faults()
        inside = faults()
    assert inside < outside / 10
    assert faults() > outside / 2


def test_pictures_are_encoded_together_in_larger_batches(tmp_path):
    film = Source(Video(colour_video(tmp_path / "film.mp4", "red")))
    pictures = []
    for number, name in enumerate([*COLOURS] * 2):
        Image.new("RGB", (8, 8), COLOURS[name]).save(tmp_path / f"{number}.png")
        pictures.append(Source(Video(tmp_path / f"{number}.png", picture=True)))
    batches = list(extract([film, *pictures, film], FakeModel(), METHOD))
    assert [len(batch) for batch in batches] == [1, len(pictures), 1]
    assert [position for batch in batches for position, _ in batch] == [*range(len(pictures) + 2)]
    assert [len(result.segments) for _, result in batches[1]] == [1] * len(pictures)
    assert np.allclose(
        [result.arrays["mean"][0] for _, result in batches[1]], [COLOURS[name] for name in [*COLOURS] * 2]
    )


def test_every_video_gets_features_or_the_reason_in_its_place(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"this is no video")
    names = [*sorted(COLOURS), *sorted(COLOURS)][: BATCH_VIDEOS + 3]
    sources = [Source(Video(colour_video(tmp_path / f"{at}.mp4", name))) for at, name in enumerate(names)]
    sources[4:4] = [Source(Video(bad)), Source(Video(tmp_path / "missing.mp4"))]
    batches = list(extract(sources, FakeModel(), METHOD))
    assert [len(batch) for batch in batches] == [BATCH_VIDEOS, 5]
    results = dict(entry for batch in batches for entry in batch)
    assert list(results) == list(range(len(sources)))
    assert [at for at, result in results.items() if isinstance(result, MediaError)] == [4, 5]
    good = [result for result in results.values() if isinstance(result, Features)]
    for name, result in zip(names, good, strict=True):
        assert len(result.segments) == len(result.arrays["mean"])
        assert np.allclose(result.arrays["mean"], COLOURS[name], atol=16)


def test_a_file_that_changed_since_it_was_hashed_is_refused(tmp_path):
    path = colour_video(tmp_path / "a.mp4", "red")
    [[(_, fine)]] = extract([Source(Video(path), "hash", stamp_of(path))], FakeModel(), METHOD)
    assert isinstance(fine, Features)
    [[(_, result)]] = extract([Source(Video(path), "hash", (1, 2))], FakeModel(), METHOD)
    assert isinstance(result, MediaError)
    assert "changed" in result.reason


def test_embedding_with_a_cache_gives_the_same_and_looks_once(tmp_path):
    videos = [Video(colour_video(tmp_path / f"{name}.mp4", name, "black")) for name in sorted(COLOURS)]
    videos.append(Video(tmp_path / "missing.mp4"))
    videos.append(Video(videos[0].path, 0.0, 2.0))
    plain = embed_all(videos, FakeModel(), METHOD)
    model, progress = FakeModel(), RecordedProgress()
    first = embed_all(videos, model, METHOD, FeatureCache(tmp_path / "cache"), progress)
    looked = model.images_encoded
    second = embed_all(videos, model, METHOD, FeatureCache(tmp_path / "cache"))
    assert looked == model.images_encoded > 0
    assert progress.stages == [("embedding", len(videos))]
    assert progress.steps == [len(videos)]
    for one, two, three in zip(plain, first, second, strict=True):
        if isinstance(one, MediaError):
            assert isinstance(two, MediaError)
            assert isinstance(three, MediaError)
        else:
            assert np.array_equal(one.video, two.video)
            assert np.array_equal(one.moments, three.moments)
            assert np.array_equal(one.segments, three.segments)
    assert isinstance(second[-2], MediaError)
    assert second[-1].segments[-1, 1] == pytest.approx(2.0, abs=0.2)  # the span is not the whole video


def test_another_head_reads_the_cache_and_another_tower_does_not(tmp_path):
    videos = [Video(colour_video(tmp_path / "a.mp4", "red", "blue"))]
    cache = FeatureCache(tmp_path / "cache")
    first, head, tower = FakeModel(), FakeModel(head=3), FakeModel(vision=1)
    for model in (first, head, tower):
        embed_all(videos, model, METHOD, cache)
    assert (head.images_encoded, tower.images_encoded) == (0, first.images_encoded)
    assert len({embedding_fingerprint(model, METHOD) for model in (first, head, tower)}) == 3
    assert sampling_fingerprint(first, METHOD) == sampling_fingerprint(head, METHOD)


def test_features_that_are_lost_under_way_are_computed_again(tmp_path):
    paths = [colour_video(tmp_path / f"{name}.mp4", name) for name in ("red", "blue")]
    sources = [Source(Video(path), path.stem) for path in paths]
    cache = FeatureCache(tmp_path / "cache")
    embedder = Embedder(FakeModel(), METHOD, cache)
    assert sum(len(batch) for batch in embedder.batches(sources)) == 2
    key = feature_key(sources[0], sampling_fingerprint(embedder.model, METHOD))
    FeatureCache(tmp_path / "cache").discard([key])  # another process
    results = [result for batch in embedder.batches(sources) for result in batch]
    assert sorted(at for at, _ in results) == [0, 1]
    assert all(isinstance(result, Embeddings) for _, result in results)


def test_keys_depend_on_content_span_and_sampling():
    video = Video(Path("a.mp4"), 1.0, 2.0)
    keys = {
        feature_key(Source(video, "content"), "sampling"),
        feature_key(Source(video, "other"), "sampling"),
        feature_key(Source(video, "content"), "other"),
        feature_key(Source(Video(video.path, 1.5, 2.0), "content"), "sampling"),
        feature_key(Source(Video(video.path, 1.0, 2.5), "content"), "sampling"),
    }
    assert len(keys) == 5
    assert feature_key(Source(Video(Path("b.mp4"), 1.0, 2.0), "content"), "sampling") in keys  # a path is no content


def test_sampling_depends_on_tower_key_images_and_picture_size():
    model, larger = FakeModel(), FakeModel()
    larger.image_size = model.image_size + 1
    fewer = plugins.build("keyimages", "disparity", {"count": 3})
    fingerprints = [
        sampling_fingerprint(model, METHOD),
        sampling_fingerprint(FakeModel(vision=1), METHOD),
        sampling_fingerprint(larger, METHOD),
        sampling_fingerprint(model, fewer),
    ]
    assert len(set(fingerprints)) == 4
    assert embedding_fingerprint(model, METHOD) != embedding_fingerprint(model, fewer)


def test_a_stamp_tells_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, ns=(7, 1_234_567_890))
    assert stamp_of(path) == (5, 1_234_567_890)
    assert source_of(Video(path)).stamp == (5, 1_234_567_890)
    missing = source_of(Video(tmp_path / "missing"))
    assert isinstance(missing, MediaError)
    assert missing.reason == "No such file or directory"


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


def test_ahead_work_is_stopped_when_the_consumer_leaves():
    stops = []
    results = _ahead(lambda item: item, range(10), ahead=2, stop=lambda: stops.append(True))
    assert next(results) == 0
    results.close()
    assert stops == [True]


def test_cached_videos_come_first_and_the_others_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("mmi_tvr.features.embed._CACHED_TOGETHER", 2)
    paths = [colour_video(tmp_path / f"{number}.mp4", name) for number, name in enumerate([*COLOURS][:5])]
    sources = [Source(Video(path), path.stem) for path in paths]
    cache = FeatureCache(tmp_path / "cache")
    list(Embedder(FakeModel(), METHOD, cache).batches([sources[number] for number in (1, 3, 4)]))
    batches = list(Embedder(FakeModel(), METHOD, cache).batches(sources))
    assert [[number for number, _ in batch] for batch in batches] == [[1, 3], [4], [0, 2]]
    plain = embed_all([source.video for source in sources], FakeModel(), METHOD)
    for number, embeddings in (result for batch in batches for result in batch):
        assert np.array_equal(embeddings.video, plain[number].video)


@pytest.fixture
def cached(tmp_path):
    cache = FeatureCache(tmp_path / "cache")
    keys = [f"key {number}" for number in range(4)]
    cache.put({key: features(number) for number, key in enumerate(keys[:3])})
    return cache, keys


def test_stored_features_are_a_sequence(cached):
    cache, keys = cached
    stored = StoredFeatures(cache, keys, {3: MediaError("3.mp4", "empty")})
    assert len(stored) == 4
    assert same(stored[1], features(1))
    assert same(stored[-2], features(2))
    assert all(same(result, features(number)) for number, result in enumerate(stored[:3]))
    assert stored.key(2) == "key 2"
    with pytest.raises(MediaError, match="empty"):
        _ = stored[3]
    with pytest.raises(IndexError):
        _ = stored[4]


def test_stored_features_stay_in_memory_while_there_is_room(cached):
    cache, keys = cached
    size = sum(array.nbytes for array in features(0).arrays.values())
    stored = StoredFeatures(cache, keys, {}, room=2 * size)
    for number in range(3):
        _ = stored[number]
    cache.discard(keys)
    assert same(stored[0], features(0))
    assert same(stored[1], features(1))
    with pytest.raises(MmiTvrError, match="run the same command again"):
        _ = stored[2]


def test_features_are_stored_once_counted_and_their_failures_named(tmp_path):
    paths = [colour_video(tmp_path / f"{name}.mp4", name) for name in ("red", "blue")]
    (tmp_path / "bad.mp4").write_bytes(b"this is no video")
    videos = [Video(tmp_path / "missing.mp4"), Video(paths[0]), Video(tmp_path / "bad.mp4"), Video(paths[1])]
    cache, model = FeatureCache(tmp_path / "cache"), FakeModel()
    steps: list[int] = []
    stored = stored_features(videos, model, METHOD, cache, steps.append)
    assert steps == [1, 3]
    assert sorted(stored.failures) == [0, 2]
    plain = [embeddings.video for embeddings in model.embed_videos([stored[1], stored[3]])]
    expected = embed_all([videos[1], videos[3]], FakeModel(), METHOD)
    assert all(np.array_equal(vector, result.video) for vector, result in zip(plain, expected, strict=True))
    pictures, steps = model.images_encoded, []
    again = stored_features(videos, model, METHOD, cache, steps.append)
    assert (model.images_encoded, sorted(again.failures)) == (pictures, [0, 2])
    assert steps == [3, 1]  # the file that is no video is tried again


def test_progress_counts_what_cannot_be_read_at_once(tmp_path):
    video = Video(colour_video(tmp_path / "a.mp4", "red"))
    videos = [video, Video(tmp_path / "missing.mp4"), Video(video.path, 0.0, 1.0)]
    progress = RecordedProgress()
    results = embed_all(videos, FakeModel(), METHOD, FeatureCache(tmp_path / "cache"), progress)
    assert progress.steps == [3]
    assert results[0].segments[-1, 1] > 1.5  # a span of the same file has features of its own
    assert results[2].segments[-1, 1] == pytest.approx(1.0, abs=0.2)
