"""Decoding ahead, embedding with and without a cache, and stored features as a sequence."""

from __future__ import annotations

import os
import platform
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, FakeModel, RecordedProgress, colour_video
from PIL import Image
from test_feature_cache import features, same

from mmi_tvr import plugins
from mmi_tvr.errors import MediaError, MmiTvrError
from mmi_tvr.features.cache import (
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
