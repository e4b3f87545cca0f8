"""One clock: what a video shows at a second, against a slow reference that decodes everything in order."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clock_media import FPS, Frame, Recipe, bars, on_screen, recipes, record, reference, shown
from media_files import make_video, usual_priority

from mmi_tvr import keyimages
from mmi_tvr.keyimages.uniform import Options, build
from mmi_tvr.media import _packets
from mmi_tvr.media._choice import choose
from mmi_tvr.media._slices import over_pictures
from mmi_tvr.media.video import frames_at, open_video, probe, sample
from mmi_tvr.types import Video


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_every_second_shows_what_a_player_shows(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / recipe.name
    recipe.make(path)
    frames = reference(path)
    if recipe.parts:
        _check_reference(frames, recipe)
    right = frames if not recipe.doubt else recipe.frames()
    seconds = [time + 0.03 for time, _ in right] if right[-1][0] > 100 else np.arange(0.03, right[-1][0] + 0.3, 0.13)
    with open_video(path) as video:
        samples = video.sample(5, 64, 32)
        sparse = video.sample(0.9, 64, 32)  # key frames are taken alone
        exact = video.frames_at(seconds)
        backwards = video.frames_at(seconds[::-5])
        info = video.info
    looks = [(samples, samples.times), (sparse, sparse.times), (exact, seconds), (backwards, seconds[::-5])]
    for pictures, times in looks:
        for picture, time in zip(pictures.pixels, times, strict=True):
            _check_picture(shown(picture), float(time), right, recipe.doubt)
    assert info.duration == pytest.approx(right[-1][0] + 1 / FPS, abs=0.3)
    assert info.start == pytest.approx(right[0][0], abs=0.11)
    assert len(samples) > 0.3 * len(right)  # of half of them


def _check_reference(frames: list[Frame], recipe: Recipe) -> None:
    """The reference is right about what the recipe was made of, but for what a container adds of its own."""
    expected = recipe.frames()
    if recipe.doubt:
        return
    assert [picture for _, picture in frames] == pytest.approx([picture for _, picture in expected])
    assert [time for time, _ in frames] == pytest.approx([time for time, _ in expected], abs=0.11)  # sound runs in


def _check_picture(picture: float, time: float, frames: list[Frame], doubt: float) -> None:
    around = [on_screen(frames, time + shift) for shift in np.arange(-doubt, doubt + 0.01, 1 / FPS)]
    assert any(abs(picture - right) < 0.01 for right in around), (time, picture, around)


def test_the_reference_tells_bars_apart() -> None:
    codes = [number / 10 for number in range(1024)]
    assert [shown(bars(code)) for code in codes] == codes
    frames = [(0.0, 5.0), (0.5, 6.0)]
    assert [on_screen(frames, second) for second in (-1.0, 0.49, 0.5, 9.0)] == [5.0, 5.0, 6.0, 6.0]


def test_moments_begin_with_the_pictures(tmp_path: Path) -> None:
    path = record(tmp_path / "late.mp4", sound="aac", clock=2.0)
    info, images = keyimages.from_video(Video(path), build(Options(count=2)), 32)
    assert info.start == pytest.approx(2.0, abs=0.01)
    assert [(image.start, image.end) for image in images] == [
        (pytest.approx(2.0, abs=0.01), pytest.approx(4.0, abs=0.3)),
        (pytest.approx(4.0, abs=0.3), pytest.approx(6.0, abs=0.01)),
    ]
    assert all(shown(image.pixels) == pytest.approx(image.time - 2.0, abs=0.01) for image in images)
    assert len(sample(Video(path), 2, 64, 32)) == 8  # of four seconds: nothing of the time before
    span = sample(Video(path, 0.5, 3.0), 2, 64, 32)
    assert span.times.min() >= 2.0 - 1e-6
    before = sample(Video(path, 0.5, 1.5), 2, 64, 32)  # nothing to see yet: the first picture
    assert [shown(picture) for picture in before.pixels] == [0.0]


def test_a_large_file_without_index_is_looked_at_in_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_packets, "_READ_WHOLE", 10_000)
    parts = [record(tmp_path / f"{number}.ts", number * 20.0, 20.0) for number in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    assert _numbered(parts[0]) is False
    assert _numbered(joined) is True
    assert probe(joined).duration == pytest.approx(40, abs=0.1)
    assert shown(frames_at(joined, [30.05]).pixels[0]) == 30.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these classes of scheduling")
def test_an_encoder_leaves_the_scheduling_of_the_tests_as_it_was(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    make_video(tmp_path / "av1.mp4", codec="libsvtav1", b_frames=0, options={"preset": "12"})
    assert os.sched_getscheduler(0) == before


def test_each_frame_of_av1_is_found_after_sampling_left_some_out(tmp_path: Path) -> None:
    path = tmp_path / "av1.mkv"
    with usual_priority(), av.open(str(path), "w") as output:
        stream = output.add_stream("libsvtav1", rate=FPS, options={"preset": "8", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 320, 64, "yuv420p"
        stream.codec_context.gop_size = 20
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(bars(number / FPS, scale=2), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    seconds, right = zip(*reference(path), strict=True)
    with open_video(path) as video:
        sampled = video.sample(5, 64, 32)
        pictures = video.frames_at(seconds).pixels
        again = video.sample(5, 64, 32)
        video._reader.packets.distrust()
        video.frames_at([0.1], exact=False)
        numbered = video.frames_at(seconds[21:]).pixels  # behind where it stands
    assert [shown(picture) for picture in pictures] == list(right)
    assert [shown(picture) for picture in numbered] == list(right[21:])
    assert right == pytest.approx(seconds)
    assert [shown(picture) for picture in sampled.pixels] == pytest.approx(sampled.times)
    assert np.array_equal(again.times, sampled.times)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_a_few_pictures_that_only_have_decoding_times(tmp_path: Path, count: int) -> None:
    path = record(tmp_path / "few.avi", seconds=count / FPS, b_frames=4)
    pictures = sample(Video(path), 20, 64, 32)
    assert [shown(picture) for picture in pictures.pixels] == pytest.approx(pictures.times)
    assert len(pictures) == count
    assert shown(frames_at(path, [(count - 1) / FPS]).pixels[0]) == (count - 1) / FPS


@pytest.mark.parametrize("suffix", [".ts", ".ogv"])
def test_slides_that_come_at_their_own_rate_are_no_jumps(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slides{suffix}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libvpx" if suffix == ".ogv" else "libx264", rate=Fraction(1, 20))
        stream.width, stream.height, stream.pix_fmt = 160, 32, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(bars(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(20)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    pictures = frames_at(path, [20 * number + 5.0 for number in range(5)])
    assert [shown(picture) for picture in pictures.pixels] == [0, 1, 2, 3, 4]
    assert pictures.times == pytest.approx([0, 20, 40, 60, 80])


def test_a_few_pictures_are_seen_where_the_header_promises_one(tmp_path: Path) -> None:
    path = record(tmp_path / "few.mpg", seconds=0.3, codec="mpeg2video", b_frames=0)
    assert [shown(picture) for picture in sample(Video(path), 50, 64, 32).pixels] == [0.0, 0.1, 0.2]


def test_the_first_picture_is_the_start_where_the_container_says_nothing(tmp_path: Path) -> None:
    for name in ("one.mpg", "raw.m2v"):
        path = record(tmp_path / name, seconds=0.1 if name == "one.mpg" else 1.0, codec="mpeg2video")
        with open_video(path) as video:
            assert video.info.start == 0
            assert video.frames_at([0.0]).times == [0]


def test_where_a_decoder_calls_nothing_a_key_frame_decoding_starts_at_the_first_packet(tmp_path: Path) -> None:
    path = record(tmp_path / "animation.mov", codec="qtrle", b_frames=0, pixels="rgb24")
    with open_video(path) as video:
        assert [shown(picture) for picture in video.frames_at([3.05, 1.05]).pixels] == [3.0, 1.0]
        assert video._reader.packets.trusted  # nothing was read to look for key frames


def _numbered(path: Path) -> bool:
    packets = _packets.Packets(path)
    packets.close()
    return not packets.trusted


def test_honest_files_are_trusted(tmp_path: Path) -> None:
    kinds = ("honest", "uneven", "late", "starts", "wraps", "stays", "promises")
    honest = [recipe for recipe in recipes() if recipe.name.startswith(kinds)]
    assert {kind for kind in kinds for recipe in honest if recipe.name.startswith(kind)} == set(kinds)
    for recipe in honest:
        recipe.make(tmp_path / recipe.name)
        assert not _numbered(tmp_path / recipe.name), recipe.name


@pytest.mark.parametrize(
    ("frames", "default", "expected"),
    [((40, 40), 1, 1), ((40, 40), None, 1), ((40, 20), 0, 0), ((40, 5), 1, 0), ((5, 40), 0, 1)],
)
def test_frames_come_before_the_default_and_the_default_before_the_size(
    tmp_path: Path, frames: tuple[int, int], default: int | None, expected: int
) -> None:
    """The second track has the larger pictures."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("mpeg4", rate=10) for _ in frames]
        for number, stream in enumerate(streams):
            stream.width = stream.height = 32 * (1 + number)
            stream.disposition = 1 if default == number else 0
        for number in range(max(frames)):
            for stream, count in zip(streams, frames, strict=True):
                if number < count:
                    picture = np.zeros((stream.height, stream.width, 3), np.uint8)
                    output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            output.mux(stream.encode())
    with av.open(str(path)) as container:
        assert choose(container).tracks == (expected,)


def test_a_picture_that_stays_counts_as_ten_seconds() -> None:
    slices = over_pictures([0.0, 1.0, 2.0, 1002.0, 1003.0], 0.0, 1004.0, 1.0, 64)
    assert len(slices.middles) == 14
    assert sum(2 < middle < 1002 for middle in slices.middles) == 10
    assert np.all(np.diff(slices.middles) > 0)
