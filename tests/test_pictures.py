"""Pictures as files: what each odd one becomes, their formats and colours, and their frames."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import media_files as files
import numpy as np
import odd_pictures as odd
import picture_files as pictures
import pytest
from PIL import Image, ImageCms

from mmi_tvr.errors import MediaError, UnreadableFile, UsageError
from mmi_tvr.media import _picture_files
from mmi_tvr.media._picture_files import load, open_picture
from mmi_tvr.media._picture_modes import as_standard
from mmi_tvr.media.file_report import FileReport, PictureOptions, report_on
from mmi_tvr.media.guarded import DecoderPool, Limits
from mmi_tvr.media.pictures import open_still
from mmi_tvr.media.signatures import picture_format
from mmi_tvr.media.video import check_usable, sample, sample_with_info
from mmi_tvr.types import Pixels, Video

RECIPES = odd.recipes()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    odd.write(folder)
    return folder


def colours(pixels: Pixels) -> list[list[int]]:
    """What is to be seen upper left, upper right and below."""
    height, width = pixels.shape[:2]
    places = ((height // 4, width // 4), (height // 4, 3 * width // 4), (3 * height // 4, width // 2))
    return [pixels[place].tolist() for place in places]


EXPECTED = {
    "rgb": [pictures.RED, pictures.GREEN, pictures.BLUE],
    "over black": [pictures.RED, pictures.GREEN, (0, 0, 0)],
    "grey": [(26,) * 3, (230,) * 3, (128,) * 3],
}


# The corpus


def test_the_corpus_is_large() -> None:
    assert len(RECIPES) >= 60
    assert len({picture.name for picture in RECIPES}) == len(RECIPES)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("picture", RECIPES, ids=lambda picture: picture.name)
def test_each_odd_picture_works_or_says_why_not(picture: odd.OddPicture, corpus: Path) -> None:
    report = report_on(corpus / picture.name, PictureOptions(fps=1000, limit=9, size=32))
    assert (report.error or "") == picture.reason
    if picture.reason:
        assert (report.pictures, report.facts) == ([], None)
        return
    assert report.kind == "image"
    assert report.facts is not None
    assert report.facts.odd == picture.odd
    assert report.facts.frames == len(report.pictures) == picture.frames
    assert max(report.pictures[0][1].shape) <= 16 * 32
    expected = EXPECTED.get(picture.colours)
    if expected is not None:
        assert (report.facts.width / report.facts.height) == pytest.approx(pictures.SIZE[0] / pictures.SIZE[1])
        assert np.abs(np.array(colours(report.pictures[0][1])) - expected).max() <= 8


@pytest.mark.parametrize("name", ["alpha.png", "animated.webp", "bomb.png", "cut.jpg", "text.jpg"])
def test_a_worker_says_the_same(name: str, corpus: Path) -> None:
    pool = DecoderPool(Limits(workers=1))
    options = PictureOptions(fps=5, limit=3, size=32)
    try:
        guarded, here = pool.report(corpus / name, options), report_on(corpus / name, options)
    finally:
        pool.stop()
    assert [(time, colours(pixels)) for time, pixels in guarded.pictures] == [
        (time, colours(pixels)) for time, pixels in here.pictures
    ]
    assert plain(guarded) == plain(here)


def plain(report: FileReport) -> tuple[object, ...]:
    return report.kind, report.info, report.container, report.facts, report.error


def test_too_large_is_said_before_anything_is_decoded(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_picture_files, "MOST_PIXELS", 64 * 48 - 1)
    for name in ("orientation-6.png", "animated.gif", "rgb16.png"):
        with pytest.raises(MediaError, match=r"64 x 48 pixels|48 x 64 pixels"), open_still(corpus / name):
            raise AssertionError("must not open")
    with open_still(corpus / "orientation-1.jpg") as picture:  # which is decoded at an eighth
        assert picture.sample(1, 1, 6).pixels.shape == (1, 6, 8, 3)
        with pytest.raises(MediaError, match="64 x 48 pixels"):
            picture.sample(1, 1, 48)


def test_a_large_jpeg_is_decoded_at_a_share_of_its_size(corpus: Path) -> None:
    path = corpus / "12-megapixels.jpg"
    image, whole = load(open_picture(path, "JPEG"), path, 300)
    assert (image.size, whole) == ((500, 375), True)


@pytest.mark.parametrize("error", [TypeError, RuntimeError, SyntaxError])
def test_whatever_a_damaged_picture_raises_is_said_of_its_file(
    error: type[Exception], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(picture: Image.Image) -> None:
        raise error("as Pillow's readers do")

    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load", damaged)
        with pytest.raises(MediaError, match="none of it can be decoded"):
            sample(Video(corpus / "palette.png", picture=True), 1, 1, 32)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile._open", damaged)
    with pytest.raises(MediaError, match="its header is damaged"):
        sample(Video(corpus / "palette.png", picture=True), 1, 1, 32)


def test_what_cannot_be_read_now_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableFile, match="no such file"):
        check_usable(Video(tmp_path / "missing.png", picture=True))
    for name, content, package in (("a.heic", pictures.heic(), "pi_heif"), ("a.dng", pictures.dng(), "rawpy")):
        (tmp_path / name).write_bytes(content)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UnreadableFile, match=r"photo: .*is not installed: .*install"):
            check_usable(Video(tmp_path / name, picture=True))


def test_heic_and_raw_photos(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    pytest.importorskip("rawpy")
    for name, content in (("a.heic", pictures.heic()), ("turned.heic", pictures.heic(irot=1))):
        (tmp_path / name).write_bytes(content)
        report = report_on(tmp_path / name, PictureOptions(size=32))
        assert report.facts is not None
        assert (report.facts.format, report.facts.width, report.facts.height) == ("HEIC", *pictures.SIZE)
        assert np.abs(np.array(colours(report.pictures[0][1])) - EXPECTED["rgb"]).max() <= 8
    for name in ("a.dng", "called.tif"):
        (tmp_path / name).write_bytes(pictures.dng((256, 192)))
        report = report_on(tmp_path / name, PictureOptions(size=32))
        assert report.facts is not None
        assert (report.facts.format, report.facts.camera, report.facts.odd) == ("RAW", "Odd One", ())
        seen = np.array(colours(report.pictures[0][1]))
        assert seen.argmax(axis=1).tolist() == [0, 1, 2]
    (tmp_path / "damaged.nef").write_bytes(b"II*\0" + b"\0" * 90)
    with pytest.raises(MediaError, match="is a RAW photo that cannot be decoded"):
        check_usable(Video(tmp_path / "damaged.nef", picture=True))


# Formats, colours


def tiff(*tags: tuple[int, int]) -> bytes:
    """The start of a TIFF file with these tags and numbers."""
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(tags)) + entries


@pytest.mark.parametrize(
    ("header", "suffix", "expected"),
    [
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "jpg", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0avifmif1", "heic", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "cr3", "RAW"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "heic", None),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42heic", "mp4", None),
        (b"II*\0\x10\0\0\0CR\2\0", "jpg", "RAW"),
        (b"II*\0\x08\0\0\0", "nef", "RAW"),
        (b"II*\0\x08\0\0\0", "tif", "TIFF"),
        (tiff((254, 1), (271, 0), (330, 0)), "tif", "RAW"),
        (tiff((271, 0), (330, 0)), "tif", "TIFF"),  # pages of several sizes from a scanner
        (tiff((50706, 1)), "jpg", "RAW"),
        (b"FUJIFILMCCD-RAW ", "raf", "RAW"),
        (b"P6 1 1 255 abc", "ppm", "PPM"),
        (b"PK\3\4", "jpg", None),
    ],
)
def test_formats_go_by_the_bytes(header: bytes, suffix: str, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(header + b"\0" * 40)
    assert picture_format(path) == expected


def test_kinds_go_by_the_bytes(tmp_path: Path) -> None:
    film = files.make_video(tmp_path / "film.mp4", seconds=1).rename(tmp_path / "film.jpg")
    sound = files.make_sound(tmp_path / "sound.m4a").rename(tmp_path / "sound.png")
    assert (report_on(film).kind, report_on(film).error) == ("video", None)
    assert report_on(sound).kind == "audio"
    (tmp_path / "words.mp4").write_bytes(b"words")
    assert report_on(tmp_path / "words.mp4").kind is None


def test_wide_colours_look_as_they_did(corpus: Path) -> None:
    pixels = sample(Video(corpus / "adobe-rgb.jpg", picture=True), 1, 1, 48).pixels[0]
    shown = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), pictures.RED), _profile(), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert np.abs(np.subtract(colours(pixels)[0], shown.getpixel((0, 0)))).max() <= 4
    assert colours(pixels)[0][0] > pictures.RED[0] + 20


def _profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(pictures.swapped_profile()))


def test_hidden_colours_do_not_bleed() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = 255
    pixels[:, ::2, :] = (0, 255, 0, 255)  # opaque green between transparent white
    shrunk, problem = as_standard(Image.fromarray(pixels), (2, 2))
    assert (np.asarray(shrunk)[..., (0, 2)].max(), problem) == (0, None)


def test_a_dark_picture_of_16_bits_stays_dark() -> None:
    dark = np.full((4, 4), 2570, np.uint16)
    assert np.asarray(as_standard(Image.fromarray(dark), (4, 4))[0]).tolist()[0][0] == [10, 10, 10]


# Frames and their times


def test_an_animation_is_a_short_film(corpus: Path) -> None:
    video = Video(corpus / "animated.gif", picture=True)
    info, frames = sample_with_info(video, 100, 99, 32)
    assert (info.duration, info.frames, info.fps) == (1.0, 3, 3.0)
    assert frames.times.tolist() == pytest.approx([0, 0.2, 0.5])
    assert sample(video, 1, 1, 32).times.tolist() == [0.5]  # on screen in the middle of the whole
    span = Video(video.path, 0.25, 0.45, picture=True)
    assert sample(span, 10, 9, 32).times.tolist() == pytest.approx([0.2])
    with pytest.raises(MediaError, match="has no picture at 2 s: it ends at 1 s"):
        sample(Video(video.path, 2.0, picture=True), 1, 1, 32)
    with pytest.raises(UsageError, match="must be positive"):
        sample(video, 0, 1, 32)


def test_frames_without_a_length_take_a_tenth_of_a_second(corpus: Path) -> None:
    frames = sample(Video(corpus / "animated-fast.gif", picture=True), 1000, 999, 32)
    assert frames.times.tolist() == pytest.approx([0, 0.1, 0.2])


def test_pages_of_other_sides_fit_into_the_first(tmp_path: Path) -> None:
    pictures.drawn((40, 20)).save(tmp_path / "a.tif", save_all=True, append_images=[pictures.drawn((20, 40))])
    frames = sample(Video(tmp_path / "a.tif", picture=True), 1, 9, 20)
    assert (frames.times.tolist(), frames.pixels.shape) == ([0.0, 1.0], (2, 20, 40, 3))
    assert frames.pixels[1][:, :15].max() == 0
    assert frames.pixels[1][5, 17].tolist() == pytest.approx(pictures.RED, abs=3)
