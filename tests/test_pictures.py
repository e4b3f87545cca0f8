"""Pictures as files: what each odd one becomes, what a picture says of itself, and its frames."""

from __future__ import annotations

import io
import json
import struct
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import media_files as files
import numpy as np
import odd_pictures as odd
import pytest
import typer
from PIL import Image, ImageCms
from typer.testing import CliRunner

from mmi_tvr.cli import probe as probe_command
from mmi_tvr.errors import MediaError, UnreadableFile, UsageError
from mmi_tvr.library.people.photos import list_photos
from mmi_tvr.media import _picture_files
from mmi_tvr.media._picture_exif import camera_of, content_id_of, date_of, position_of
from mmi_tvr.media._picture_files import load, open_picture
from mmi_tvr.media._picture_modes import as_standard
from mmi_tvr.media._signatures import picture_format
from mmi_tvr.media.file_report import FileReport, PictureOptions, report_on
from mmi_tvr.media.guarded import DecoderPool, Limits
from mmi_tvr.media.listing import MediaItem, items, visible
from mmi_tvr.media.picture_facts import PictureFacts, Position
from mmi_tvr.media.pictures import open_still
from mmi_tvr.media.video import check_usable, sample, sample_with_info
from mmi_tvr.types import Pixels, Video

RECIPES = odd.recipes()
INDIA = timezone(timedelta(hours=5, minutes=30))
BEFORE = timezone(-timedelta(hours=5))


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
    "rgb": [odd.RED, odd.GREEN, odd.BLUE],
    "over black": [odd.RED, odd.GREEN, (0, 0, 0)],
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
        assert (report.facts.width / report.facts.height) == pytest.approx(odd.SIZE[0] / odd.SIZE[1])
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
    for name, content, package in (("a.heic", odd.heic(), "pi_heif"), ("a.dng", odd.dng(), "rawpy")):
        (tmp_path / name).write_bytes(content)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UnreadableFile, match=r"photo: .*is not installed: .*install"):
            check_usable(Video(tmp_path / name, picture=True))


def test_heic_and_raw_photos(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    pytest.importorskip("rawpy")
    for name, content in (("a.heic", odd.heic()), ("turned.heic", odd.heic(irot=1))):
        (tmp_path / name).write_bytes(content)
        report = report_on(tmp_path / name, PictureOptions(size=32))
        assert report.facts is not None
        assert (report.facts.format, report.facts.width, report.facts.height) == ("HEIC", *odd.SIZE)
        assert np.abs(np.array(colours(report.pictures[0][1])) - EXPECTED["rgb"]).max() <= 8
    for name in ("a.dng", "called.tif"):
        (tmp_path / name).write_bytes(odd.dng((256, 192)))
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
        Image.new("RGB", (1, 1), odd.RED), _profile(), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert np.abs(np.subtract(colours(pixels)[0], shown.getpixel((0, 0)))).max() <= 4
    assert colours(pixels)[0][0] > odd.RED[0] + 20


def _profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(odd.swapped_profile()))


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
    odd.drawn((40, 20)).save(tmp_path / "a.tif", save_all=True, append_images=[odd.drawn((20, 40))])
    frames = sample(Video(tmp_path / "a.tif", picture=True), 1, 9, 20)
    assert (frames.times.tolist(), frames.pixels.shape) == ([0.0, 1.0], (2, 20, 40, 3))
    assert frames.pixels[1][:, :15].max() == 0
    assert frames.pixels[1][5, 17].tolist() == pytest.approx(odd.RED, abs=3)


# What a picture says of itself


def dated(text: object, offset: object = None, parts: object = None, gps: dict[int, object] | None = None) -> object:
    return date_of({}, {36867: text, 36881: offset, 37521: parts}, gps or {})[0]


GPS = {29: "2024:05:06", 7: (12.0, 8.0, 9.0)}  # UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dated("2024:05:06 07:08:09"), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", "-05:00", "5"), datetime(2024, 5, 6, 7, 8, 9, 500_000, BEFORE)),
        (dated("2024:05:06 07:08:09\0", "+05:30\0", b"012\0"), datetime(2024, 5, 6, 7, 8, 9, 12_000, INDIA)),
        (dated("2024:05:06 07:08:09", "Z"), datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)),
        (dated("2024:05:06 07:08:09", "+99:00"), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", "   :  "), datetime(2024, 5, 6, 7, 8, 9)),
        (dated("2024:05:06 07:08:09", gps=GPS), datetime(2024, 5, 6, 7, 8, 9, tzinfo=BEFORE)),
        (dated("2024:05:06 07:28:09", gps=GPS), datetime(2024, 5, 6, 7, 28, 9)),  # a clock that was wrong
        (dated("2024-05-06T07:08:09.25"), datetime(2024, 5, 6, 7, 8, 9, 250_000)),
        (dated("2024/05/06 7:08"), datetime(2024, 5, 6, 7, 8)),
        (dated("2024:05:06"), datetime(2024, 5, 6)),
        (dated("0000:00:00 00:00:00"), None),
        (dated("    :  :     :  :  "), None),
        (dated("2024:13:45 99:00:00"), None),
        (dated("9024:05:06 07:08:09"), None),
        (dated("1024:05:06 07:08:09"), None),
        (dated(20240506), None),
        (dated(None, gps=GPS), datetime(2024, 5, 6, 12, 8, 9, tzinfo=timezone.utc)),
        (dated(None, gps={29: "2024:05:06", 7: (25.0, 0.0, 0.0)}), None),
    ],
)  # fmt: skip
def test_dates(value: object, expected: object) -> None:
    assert value == expected
    if isinstance(value, datetime) and isinstance(expected, datetime):
        assert value.utcoffset() == expected.utcoffset()


def test_the_first_date_that_can_be_counts() -> None:
    main, exif = {306: "2020:01:01 00:00:00"}, {36867: "0000:00:00 00:00:00", 36868: "2019:01:01 00:00:00"}
    assert date_of(main, exif, {}) == (datetime(2019, 1, 1), "exif")
    assert date_of(main, {}, GPS)[1] == "exif"
    assert date_of({}, {}, GPS)[1] == "gps"
    assert date_of({}, {}, {}) == (None, None)


@pytest.mark.parametrize(
    ("gps", "expected"),
    [
        ({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.2)}, Position(48.8583333, 2.2945)),
        ({1: "S", 2: (48.0, 51.0, 30.0), 3: "W", 4: (2.0, 17.0, 40.2)}, Position(-48.8583333, -2.2945)),
        ({1: b"s\0", 2: (48.5,), 3: " w", 4: 2.5}, Position(-48.5, -2.5)),
        ({1: "N", 2: (-48.5,), 3: "S", 4: (2.5,)}, Position(-48.5, -2.5)),
        ({1: "S", 2: (-48.5,), 3: "W", 4: (-2.5,)}, Position(-48.5, -2.5)),
        ({2: (48.5,), 4: (2.5,)}, Position(48.5, 2.5)),
        ({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (4.0, 5.0, 6.0), 5: b"\1", 6: 9.5}, Position(1.0341667, 4.085, -9.5)),
        ({1: "N", 2: (1.0,), 3: "E", 4: (2.0,), 6: float("nan")}, Position(1.0, 2.0)),
        ({1: "N", 2: (91.0,), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (float("nan"), 1.0, 1.0), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (1.0, 75.0, 0.0), 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: "x", 3: "E", 4: (2.0,)}, "no place on Earth"),
        ({1: "N", 2: (1.0,)}, "no place on Earth"),
        ({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, "0, 0"),
        ({}, None),
    ],
)  # fmt: skip
def test_positions(gps: dict[int, object], expected: object) -> None:
    position, problem = position_of(gps)
    if isinstance(expected, str):
        assert position is None
        assert expected in str(problem)
    else:
        assert (position, problem) == (expected, None)


def test_a_camera_and_the_id_of_a_live_photo() -> None:
    assert camera_of({271: "Canon\0", 272: "Canon  EOS 5D"}) == "Canon EOS 5D"
    assert camera_of({271: "Apple", 272: "iPhone 12"}) == "Apple iPhone 12"
    assert camera_of({}) is None
    name = b"0F1E-2D3C\0"
    note = b"Apple iOS\0\0\1MM" + b"\0\1" + b"\0\x11\0\2\0\0\0\x0a\0\0\0\x20" + b"\0\0\0\0" + name
    assert note[32:] == name
    assert content_id_of({37500: note}) == "0F1E-2D3C"
    assert content_id_of({37500: note[:20]}) is None
    assert content_id_of({37500: b"Nikon\0"}) is None


def test_probe_says_what_a_picture_is(tmp_path: Path) -> None:
    tags = odd.exif(
        t_271="Apple", t_272="iPhone 12", t_274=6, e_36867="2024:05:06 07:08:09", e_36881="+02:00", e_37521="12",
        g_1="N", g_2=(48.0, 51.0, 30.0), g_3="E", g_4=(2.0, 17.0, 40.2), g_5=b"\0", g_6=35.0,
    )  # fmt: skip
    app = typer.Typer()
    app.callback()(lambda: None)
    probe_command.register(app)
    image = odd.drawn().transpose(odd.STORED[6])
    (tmp_path / "a.jpg").write_bytes(odd.jpeg(image, exif=tags))
    lines = CliRunner().invoke(app, ["probe", str(tmp_path / "a.jpg")]).output.splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "picture    JPEG, 64x48, turned upright (EXIF orientation 6)",
        "date       2024-05-06 07:08:09.120000+02:00 (by its EXIF data)",
        "place      48.858333 N, 2.294500 E, 35 m",
        "camera     Apple iPhone 12",
    ]
    result = CliRunner().invoke(app, ["probe", str(tmp_path / "a.jpg"), "--json"])
    (document,) = json.loads(result.stdout)["files"]
    assert (document["kind"], document["error"], document["rotation"]) == ("image", None, 270)
    assert document["picture"]["date"] == "2024-05-06T07:08:09.120000+02:00"
    assert document["picture"]["position"] == {"latitude": 48.8583333, "longitude": 2.2945, "altitude": 35.0}
    facts = PictureFacts.from_dict(document["picture"])
    assert facts.as_dict() == document["picture"]


def test_a_picture_without_a_date_has_that_of_its_file(corpus: Path) -> None:
    with open_still(corpus / "palette.png") as picture:
        facts = picture.facts()
    assert facts.date_source == "file"
    assert facts.date is not None
    assert facts.date.timestamp() == pytest.approx((corpus / "palette.png").stat().st_mtime)


# Folders


def test_what_is_passed_over() -> None:
    names = ["a.jpg", "._a.jpg", ".git", "@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "b", "a.jpg.xmp"]
    assert visible(names) == ["a.jpg", "a.jpg.xmp", "b"]
    for mark in (".nomedia", ".trackerignore"):
        assert visible([*names, mark]) == []


def test_photos_of_people_are_looked_for_as_elsewhere(tmp_path: Path) -> None:
    for name in ("a.jpg", ".nomedia", "@eaDir/thumb.jpg", "left out/.nomedia", "left out/b.jpg", "below/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = [photo.path.relative_to(tmp_path).as_posix() for photo in list_photos([tmp_path])]
    assert photos == ["a.jpg", "below/c.jpg"]  # the folder that was named is meant, whatever is in it


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (["IMG_1.HEIC", "img_1.mov"], {}, {"IMG_1.HEIC": "img_1.mov"}),
        (["IMG_1.HEIC", "IMG_1.avi"], {}, {"IMG_1.HEIC": None, "IMG_1.avi": None}),
        (["a.jpg", "b.mov"], {"a.jpg": "X", "b.mov": "X"}, {"a.jpg": "b.mov"}),
        (["a.jpg", "a.mov"], {"a.jpg": "X", "a.mov": "Y"}, {"a.jpg": None, "a.mov": None}),
        (["a.jpg", "a.mov"], {"a.jpg": "X"}, {"a.jpg": "a.mov"}),
        (["a.jpg", "a.png", "a.mov"], {}, {"a.jpg": None, "a.png": None, "a.mov": None}),
        (["a.jpg", "a.NEF"], {}, {"a.jpg": "a.NEF"}),
        (["a.NEF"], {}, {"a.NEF": None}),
        (["a.NEF", "a.mov"], {}, {"a.NEF": None, "a.mov": None}),
        (["IMG_1.jpg", "IMG_E1.jpg", "IMG_1.mov"], {}, {"IMG_1.jpg": "IMG_1.mov", "IMG_E1.jpg": None}),
        (["a.jpg", "a.jpg.xmp", "a.aae"], {}, {"a.jpg": None}),
    ],
)
def test_which_files_are_one(names: list[str], ids: dict[str, str], expected: dict[str, str | None]) -> None:
    assert items(names, ids) == [MediaItem(name, expected[name]) for name in sorted(expected)]
