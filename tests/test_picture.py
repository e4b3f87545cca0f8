"""From a decoded frame to a picture: upright, unstretched, opaque, of standard dynamic range."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import product
from math import cos, radians, sin
from pathlib import Path

import av
import media_files as files
import numpy as np
import picture_media as media
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmi_tvr.media import _colour
from mmi_tvr.media._picture import Converter, Orientation, bounded, fitted, from_matrix, padded
from mmi_tvr.media.video import frames_at, open_video, probe, sample
from mmi_tvr.types import Video

QUARTERS = media.quarters()
SMALL = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3)


# Orientation


@pytest.mark.parametrize("linear", media.LINEAR, ids=str)
def test_each_matrix_turns_pixels_as_it_says(linear) -> None:
    turned = from_matrix(media.matrix_of(linear)).apply(SMALL)
    assert np.array_equal(turned, media.shown_by(linear, SMALL))


@given(
    quarter=st.integers(0, 3),
    mirrored=st.booleans(),
    off=st.floats(-44, 44),
    scales=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
)
def test_other_angles_become_the_nearest_quarter_turn(quarter, mirrored, off, scales) -> None:
    angle = radians(90 * quarter + off)
    size = scales[0]
    flip = -1 if mirrored else 1
    linear = (size * flip * cos(angle), -size * flip * sin(angle)), (size * sin(angle), size * cos(angle))
    assert from_matrix(media.matrix_of(linear)) == Orientation(90 * quarter, mirrored)
    if off == 0:  # stretched besides
        stretched = tuple(tuple(number * scale for number in row) for row, scale in zip(linear, scales, strict=True))
        assert from_matrix(media.matrix_of(stretched)) == Orientation(90 * quarter, mirrored)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=9, max_size=9))
def test_any_matrix_has_an_orientation(numbers) -> None:
    assert from_matrix(tuple(numbers)).rotation in (0, 90, 180, 270)


@pytest.mark.parametrize(
    "linear",
    [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((1, 0), (0, 0)), ((-32768, -32768), (-32768, -32768)), ((0, 1), (0, 1))],
)
def test_a_singular_matrix_means_none(linear) -> None:
    """What is no number in Matroska comes as the smallest integer."""
    assert from_matrix(media.matrix_of(linear)) == Orientation()


def test_of_two_quarter_turns_the_smaller_one() -> None:
    diagonal = 0.5**0.5
    assert from_matrix(media.matrix_of(((diagonal, diagonal), (-diagonal, diagonal)))) == Orientation()


@pytest.mark.parametrize(
    ("suffix", "linear"),
    [*product([".mp4"], media.LINEAR[1:]), *product([".mkv"], media.LINEAR[2:5]), (".mov", media.LINEAR[7])],
    ids=str,
)
def test_files_are_shown_as_their_matrix_says(tmp_path: Path, suffix: str, linear) -> None:
    path = media.write(tmp_path / f"a{suffix}", [QUARTERS] * 2, matrix=media.matrix_of(linear))
    expected = media.shown_by(linear, QUARTERS)
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert Orientation(info.rotation, info.mirrored) == from_matrix(media.matrix_of(linear))
    for picture in (frames_at(path, [0]).pixels[0], open_pictures(path)[0]):
        assert_alike(picture, expected)
    assert sample(Video(path), 2, 1, 32).pixels[0].shape[:2] == bounded(*expected.shape[:2], 32)


@pytest.mark.parametrize(("rotate", "flip"), [(90, ""), (0, "horizontal"), (270, "vertical")])
def test_the_bitstream_may_say_it(tmp_path: Path, rotate: int, flip: str) -> None:
    """H.264 has a message for it: mirrored, then turned counter-clockwise."""
    plain = media.write(tmp_path / "plain.mp4", [QUARTERS] * 2)
    options = f"display_orientation=insert:rotate={rotate}" + (f":flip={flip}" if flip else "")
    path = media.with_orientation_message(plain, tmp_path / "a.mkv", options)
    flipped = {"": QUARTERS, "horizontal": QUARTERS[:, ::-1], "vertical": QUARTERS[::-1]}[flip]
    expected = np.rot90(flipped, rotate // 90)
    assert_alike(frames_at(path, [0]).pixels[0], expected)


def open_pictures(path: Path, fps: float = 2, limit: int = 8, size: int = 1080) -> list[np.ndarray]:
    with open_video(path) as video:
        return [pixels for _, pixels in video.pictures(fps, limit, size)]


def assert_alike(picture: np.ndarray, expected: np.ndarray, most: float = 6.0) -> None:
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).mean() < most


# Sizes that change midway


@pytest.mark.parametrize(("orientation", "rotation"), [(1, 0), (6, 270), (3, 180)])
def test_frames_may_carry_what_pyav_has_no_name_for(tmp_path: Path, orientation: int, rotation: int) -> None:
    """Cameras write EXIF into each frame of Motion JPEG."""
    path = tmp_path / "camera.avi"
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(QUARTERS).save(content, "JPEG", exif=exif)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(3):
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            output.mux(packet)
    picture = frames_at(path, [0.15]).pixels[0]
    assert np.abs(picture.astype(int) - np.rot90(QUARTERS, rotation // 90)).mean() < 12


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.webm", "libvpx", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("b.ts", "mpeg2video", "yuv420p"),
    ],
)
def test_each_frame_has_its_own_size(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    parts = [[media.square(size)] * 20 for size in ((160, 96), (96, 160))]
    path = media.write_sizes(tmp_path / name, parts, codec, pixels)
    assert (probe(path).width, probe(path).height) == (160, 96)
    pictures = open_pictures(path)
    assert [picture.shape[:2] for picture in pictures] == [(96, 160)] * 4 + [(160, 96)] * 4
    assert [square_sides(picture) for picture in pictures] == [pytest.approx((40, 40), abs=2)] * 8
    frames = sample(Video(path), 2, 8, 48)
    assert frames.pixels.shape == (8, 48, 80, 3)
    assert [square_sides(picture) for picture in frames.pixels[:4]] == [pytest.approx((20, 20), abs=2)] * 4
    assert [square_sides(picture) for picture in frames.pixels[4:]] == [pytest.approx((12, 12), abs=2)] * 4
    assert frames.pixels[4:, :, :24].max() == 0  # black around it
    assert frames_at(path, [0.5, 3.5]).pixels.shape == (2, 96, 160, 3)


def square_sides(picture: np.ndarray) -> tuple[int, int]:
    bright = picture.mean(axis=-1) > 128
    return int(bright.any(axis=0).sum()), int(bright.any(axis=1).sum())


@given(st.tuples(*[st.integers(1, 5000)] * 4), st.integers(1, 300))
def test_what_is_fitted_lies_inside(sides: tuple[int, int, int, int], size: int) -> None:
    canvas = bounded(sides[0], sides[1], size)
    width, height = fitted(sides[2], sides[3], canvas)
    assert 1 <= width <= canvas[0]
    assert 1 <= height <= canvas[1]
    assert width == canvas[0] or height == canvas[1]


def test_padding_puts_a_picture_into_the_middle() -> None:
    whole = padded(np.full((2, 4, 3), 9, np.uint8), (8, 6))
    assert whole.shape == (6, 8, 3)
    assert (whole[2:4, 2:6] == 9).all()
    assert whole.sum() == 9 * 24


# Dynamic range and colours


def light_of(code: float, transfer: int) -> float:
    """Whites of 203 cd/m2 on a screen for a grey, straight from the standards: ST 2084, BT.2100."""
    if transfer == 16:
        power = code ** (1 / 78.84375)
        return 10_000 * (max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125) / 203
    scene = code**2 / 3 if code <= 0.5 else (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return 1000 * scene**1.2 / 203


def srgb(light: float) -> float:
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


def shown(code: float | tuple[float, float, float], transfer: int, primaries: int = 9) -> np.ndarray:
    pixel = np.round(np.broadcast_to(code, 3) * np.float64(65535)).astype(np.uint16)
    return _colour.to_standard(pixel[None, None], transfer, primaries)[0, 0]


@pytest.mark.parametrize("transfer", [16, 18])
def test_greys_below_the_knee_keep_their_light(transfer: int) -> None:
    below = [(code, light) for code in np.linspace(0, 1, 40) if (light := light_of(code, transfer)) < 0.7]
    assert len(below) > 10
    for code, light in below:
        assert shown(code, transfer) == pytest.approx(srgb(light), abs=0.7)


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.58), (18, 0.75)])
def test_white_is_white_and_what_is_brighter_lies_above_it(transfer: int, white: float) -> None:
    greys = [int(shown(code, transfer)[1]) for code in np.linspace(0, 1, 200)]
    assert greys == sorted(greys)
    assert (greys[0], greys[-1]) == (0, 255)
    assert 230 <= shown(white, transfer)[0] < 250
    assert int(shown(1.0, transfer)[0]) > int(shown(white, transfer)[0]) + 5


def test_hues_stay() -> None:
    red = shown((0.7, 0.3, 0.3), 16, primaries=1)
    assert red[0] > 230
    assert red[1] == red[2] < 100
    assert (shown((0.5, 0.5, 0.5), 16, 9) == shown((0.5, 0.5, 0.5), 16, 1)).all()  # white is the same in both
    assert (shown((0.7, 0.3, 0.3), 16, 2) == shown((0.7, 0.3, 0.3), 16, 9)).all()  # nothing is said: BT.2020
    assert (shown((0.7, 0.3, 0.3), 16, 2) != shown((0.7, 0.3, 0.3), 16, 1)).any()
    wide = shown((0.2, 0.8, 0.2), 1, 9)  # a green of BT.2020 is greener than its numbers say
    assert wide[0] < 0.2 * 255 - 20
    assert wide[1] > 0.8 * 255


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("a.ts", "libx265", "yuv420p10le", media.QUIET),
        ("a.mkv", "libx264", "yuv420p10le", {"qp": "1"}),
        ("b.mkv", "ffv1", "yuv422p10le", {}),
        ("a.mov", "prores_ks", "yuv422p10le", {}),
    ],
)
@pytest.mark.parametrize("transfer", [16, 18])
def test_files_of_high_dynamic_range(tmp_path: Path, name, codec, pixels, options, transfer: int) -> None:
    codes = (0.75 if transfer == 18 else 0.58, 0.38, 0.25, 0.1)
    picture = np.repeat(np.array(codes), 24)[None, :, None] * np.full((64, 1, 3), 65535.0)
    path = media.write(
        tmp_path / name,
        [np.round(picture).astype(np.uint16)] * 2,
        codec,
        pixels,
        source="rgb48le",
        colour=(9, transfer, 9),
        options=options,
    )
    row = frames_at(path, [0]).pixels[0, 32, 12::24].astype(int)
    assert row[0].min() >= 230
    for value, code in list(zip(row, codes, strict=True))[1:]:
        assert value == pytest.approx(srgb(light_of(code, transfer)), abs=5)


def test_standard_pictures_are_left_alone(tmp_path: Path) -> None:
    """Every other characteristic, also numbers that FFmpeg keeps free, costs nothing and changes nothing."""
    rest = (*range(16), 17, 19)
    assert not any(_colour.needs_conversion(transfer, primaries) for transfer in rest for primaries in (1, 2, 5, 6, 8))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuva420p10le", "gbrp"])
def test_any_marks_give_a_picture(pixels: str) -> None:
    """Also numbers that are reserved, which swscale refuses."""
    converter = Converter()
    for matrix, transfer, primaries in product(range(20), (0, 1, 3, 16, 18, 19), (0, 1, 9, 12, 30)):
        frame = av.VideoFrame(32, 32, pixels)
        frame.colorspace, frame.color_trc, frame.color_primaries = matrix, transfer, primaries
        assert converter.convert(frame, 8, 8, Orientation()).shape == (8, 8, 3)


def converted(matrix: int, primaries: int, full: bool = False, pixels: str = "yuv444p") -> np.ndarray:
    """The picture of Y 120, Cb 90, Cr 180 (of 8 bits) under these marks."""
    frame = av.VideoFrame(32, 32, pixels)
    deep = frame.format.components[0].bits - 8
    for plane, value in zip(frame.planes, (120, 90, 180), strict=True):
        values = np.full(plane.buffer_size // (2 if deep else 1), value << deep, np.uint16 if deep else np.uint8)
        plane.update(values.tobytes())
    frame.colorspace, frame.color_primaries, frame.color_range = matrix, primaries, 2 if full else 1
    return Converter().convert(frame, 8, 8, Orientation())[4, 4]


def test_a_matrix_without_a_conversion_is_the_plain_one_of_the_primaries() -> None:
    assert converted(10, 9) == pytest.approx(converted(9, 9))
    assert converted(12, 1) == pytest.approx(converted(1, 1))
    assert converted(8, 1) == pytest.approx(converted(2, 1))


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv444p10le", "yuv444p12le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (9, 0.2627, 0.0593)])
def test_each_frame_has_its_own_matrix_and_range(matrix: int, red: float, blue: float, full: bool, pixels: str) -> None:
    luma = 120 / 255 if full else (120 - 16) / 219
    cb, cr = ((value - 128) / (255 if full else 224) for value in (90, 180))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    assert converted(matrix, 1, full, pixels) == pytest.approx([255 * r, 255 * g, 255 * b], abs=2)


# Transparency


def with_alpha() -> np.ndarray:
    """Green; its right half transparent, with magenta below; one stripe half transparent."""
    picture = np.empty((64, 96, 4), np.uint8)
    picture[:, :48], picture[:, 48:] = (0, 200, 0, 255), (255, 0, 255, 0)
    picture[48:, :48, 3] = 128
    return picture


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "qtrle", "argb"),
        ("b.mov", "png", "rgba"),
        ("c.mov", "prores_ks", "yuva444p10le"),
        ("a.mkv", "ffv1", "bgra"),
        ("b.mkv", "ffv1", "gbrap12le"),
        ("a.avi", "utvideo", "gbrap"),
        ("c.mkv", "ffv1", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
        ("b.webm", "libvpx-vp9", "yuva420p"),
    ],
)
def test_what_is_transparent_shows_black(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    options = {"auto-alt-ref": "0"} if codec.startswith("libvpx") else {}
    path = media.write(tmp_path / name, [with_alpha()] * 2, codec, pixels, source="rgba", options=options)
    picture = frames_at(path, [0]).pixels[0].astype(int)
    assert picture[20, 20] == pytest.approx([0, 200, 0], abs=14)
    assert picture[20, 80] == pytest.approx([0, 0, 0], abs=2)
    assert picture[56, 20] == pytest.approx([0, 100, 0], abs=10)
    small = sample(Video(path), 2, 1, 21).pixels[0].astype(int)  # nothing of what is hidden comes to light
    assert (small[..., 0] + small[..., 2]).max() < 40


def test_high_dynamic_range_may_be_transparent() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 4), (38000, 38000, 38000, 65535), np.uint16), format="rgba64le")
    frame.color_trc, frame.color_primaries = 16, 9
    assert Converter().convert(frame, 8, 8, Orientation())[4, 4] == pytest.approx([237] * 3, abs=2)


def test_a_second_decoder_jumps_as_the_first_one_does(tmp_path: Path) -> None:
    """Transparency in WebM needs a decoder of its own; numbers of frames show at which one it is."""
    numbers = [np.dstack([picture, np.full((64, 96), 255, np.uint8)]) for picture in files.counted(40)]
    options = {"auto-alt-ref": "0", "g": "10", "b": "2M", "deadline": "realtime"}
    path = media.write(tmp_path / "a.webm", numbers, "libvpx", "yuva420p", source="rgba", options=options)
    frames = frames_at(path, [3.95, 0.05, 2.55, 1.05])
    assert [files.number_of(picture) for picture in frames.pixels] == [39, 0, 25, 10]
    with open_video(path) as video:
        ends = [video.frames_at([time]).times[0] for time in (3.95, 1.05, 3.95, 0.05)]  # each drains the decoder
    assert ends == pytest.approx([3.9, 1.0, 3.9, 0.0])
    sampled = sample(Video(path), 0.5, 2, 64)
    assert [files.number_of(picture) for picture in sampled.pixels] == [10, 30]  # key frames, decoded alone


@pytest.mark.parametrize("pixels", ["ya8", "pal8"])
def test_grey_and_palettes_may_be_transparent(tmp_path: Path, pixels: str) -> None:
    arrays = []
    for _ in range(2):
        frame = av.VideoFrame(96, 64, pixels)
        plane = frame.planes[0]
        if pixels == "ya8":
            row = bytes((200, 255)) * 48 + bytes((200, 0)) * 48
            plane.update((row + bytes(plane.line_size - len(row))) * 64)
            arrays.append(frame)
        else:
            palette = np.array([[255, 10, 200, 10], [0, 255, 0, 255], *[[255, 0, 0, 0]] * 254], np.uint8)
            numbers = np.repeat(np.repeat([[0, 1]], 48, axis=1), 64, axis=0).astype(np.uint8)
            arrays.append(av.VideoFrame.from_ndarray((numbers, palette), format="pal8"))
    path = media.write_frames(tmp_path / "a.mov", arrays, "png", pixels)
    picture = frames_at(path, [0]).pixels[0].astype(int)
    assert picture[32, 20, 1] == pytest.approx(200, abs=2)
    assert picture[32, 80].max() <= 2
