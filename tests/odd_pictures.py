"""Odd and broken pictures as recipes, each with what becomes of it. Deterministic: the same bytes each time."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from picture_files import (
    BLUE,
    RED,
    SIZE,
    STORED,
    Make,
    animation,
    cut,
    drawn,
    exif,
    grey,
    jpeg,
    noisy,
    pages,
    palette_with_alpha,
    png_blank,
    png_bomb,
    png_deep,
    profile,
    replaced,
    saved,
    swapped_profile,
    turned,
    with_alpha,
)
from PIL import Image, ImageCms

NO_PICTURE = "is no picture"
HEADER = "is no picture, or its header is damaged or cut off"
TOO_LARGE = "is of {} x {} pixels, more than the 178 million read here"
CUT_OFF = "it is damaged or cut off: shown as far as it can be decoded"


@dataclass(frozen=True)
class OddPicture:
    """A file and what becomes of it.

    `reason` is why it cannot be used; "" where it works. Then it has `frames`, the `colours` of what was drawn (any:
    something is to be seen), and `odd` things are said of it.
    """

    name: str
    make: Make
    reason: str = ""
    frames: int = 1
    colours: str = "rgb"  # "rgb", "over black", "grey", or "any"
    odd: tuple[str, ...] = ()


def _turned() -> list[OddPicture]:
    odd = [OddPicture(f"orientation-{number}.jpg", turned(number)) for number in STORED]
    odd += [OddPicture(f"orientation-6.{suffix}", turned(6, name)) for suffix, name in (
        ("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF"), ("avif", "AVIF")
    )]  # fmt: skip
    lie = "its orientation is {}, which means none"
    odd += [
        OddPicture("orientation-0.jpg", lambda: jpeg(exif=exif(t_274=0)), odd=(lie.format(0),)),
        OddPicture("orientation-9.jpg", lambda: jpeg(exif=exif(t_274=9)), odd=(lie.format(9),)),
        OddPicture(
            "sides-swapped.jpg",
            lambda: jpeg(exif=exif(t_274=1, e_40962=SIZE[1], e_40963=SIZE[0])),
            odd=("its EXIF data has width and height the other way round",),
        ),
        OddPicture("exif-garbage.jpg", lambda: jpeg(exif=b"Exif\0\0" + b"\xff" * 40)),
        OddPicture("exif-cut.jpg", lambda: jpeg(exif=exif(t_305="x" * 60).tobytes()[:24])),
        OddPicture("exif-loop.jpg", lambda: jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0")),
    ]
    return odd


def _modes() -> list[OddPicture]:
    gradient = drawn().convert("L")
    return [
        OddPicture("cmyk.jpg", lambda: jpeg(drawn(mode="CMYK")), colours="any"),
        OddPicture("cmyk.tif", lambda: saved(drawn(mode="CMYK"), "TIFF")),
        OddPicture("ycbcr.tif", lambda: saved(drawn(mode="YCbCr"), "TIFF")),
        OddPicture("lab.tif", lambda: saved(_lab(), "TIFF")),
        OddPicture("grey.jpg", lambda: jpeg(Image.fromarray(grey("uint8"))), colours="grey"),
        OddPicture("grey16.png", lambda: saved(Image.fromarray(grey("uint16")), "PNG"), colours="grey"),
        OddPicture("grey16.tif", lambda: saved(Image.fromarray(grey("uint16")), "TIFF"), colours="grey"),
        OddPicture("grey16-big-endian.tif", lambda: _big_endian(), colours="grey"),
        OddPicture("grey32.tif", lambda: saved(Image.fromarray(grey("int32")), "TIFF"), colours="any"),
        OddPicture("float.tif", lambda: saved(Image.fromarray(grey("float32")), "TIFF"), colours="grey"),
        OddPicture("float-nan.tif", lambda: saved(_with_nan(), "TIFF"), colours="any"),
        OddPicture("rgb16.png", png_deep),
        OddPicture("bilevel.png", lambda: saved(gradient.convert("1"), "PNG"), colours="any"),
        OddPicture("fax.tif", lambda: saved(gradient.convert("1"), "TIFF", compression="group4"), colours="any"),
        OddPicture("palette.png", lambda: saved(drawn().quantize(8), "PNG")),
        OddPicture("palette-alpha.png", palette_with_alpha),
        OddPicture("palette.bmp", lambda: saved(drawn().quantize(8), "BMP")),
        OddPicture("palette.tif", lambda: saved(drawn().quantize(8), "TIFF")),
        OddPicture("alpha.png", lambda: saved(with_alpha("RGBA"), "PNG"), colours="over black"),
        OddPicture("alpha.webp", lambda: saved(with_alpha("RGBA"), "WEBP", lossless=True), colours="over black"),
        OddPicture("alpha.tif", lambda: saved(with_alpha("RGBA"), "TIFF"), colours="over black"),
        OddPicture("alpha.avif", lambda: saved(with_alpha("RGBA"), "AVIF", quality=95), colours="over black"),
        OddPicture("grey-alpha.png", lambda: saved(with_alpha("LA"), "PNG"), colours="any"),
        OddPicture("colour-key.png", lambda: saved(drawn(), "PNG", transparency=BLUE), colours="over black"),
        OddPicture("transparent.gif", lambda: _transparent_gif(), colours="any"),
        OddPicture("adobe-rgb.jpg", lambda: jpeg(icc_profile=swapped_profile()), colours="any"),
        OddPicture("srgb.png", lambda: saved(drawn(), "PNG", icc_profile=profile())),
        OddPicture(
            "icc-garbage.png",
            lambda: saved(drawn(), "PNG", icc_profile=b"\0" * 200),
            odd=("its colour profile cannot be read",),
        ),
        OddPicture("icc-of-grey.png", lambda: saved(gradient, "PNG", icc_profile=profile()), colours="any"),
    ]


def _lab() -> Image.Image:
    return ImageCms.profileToProfile(
        drawn(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )  # type: ignore[return-value]


def _with_nan() -> Image.Image:
    values = grey("float32")
    values[:4, :4] = np.nan
    values[40:, 60:] = np.inf
    return Image.fromarray(values)


def _big_endian() -> bytes:
    """A TIFF of 16 bits whose bytes stand the other way round."""
    data = grey("uint16").astype(">u2").tobytes()
    tags = [(256, 4, SIZE[0]), (257, 4, SIZE[1]), (258, 3, 16 << 16), (259, 3, 1 << 16), (262, 3, 1 << 16),
            (273, 4, 8), (277, 3, 1 << 16), (278, 4, SIZE[1]), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + struct.pack(">H", len(tags)) + entries + b"\0" * 4


def _transparent_gif() -> bytes:
    return saved(with_alpha("RGBA").quantize(16), "GIF", transparency=0)


def _large() -> list[OddPicture]:
    return [
        OddPicture("one-pixel.png", lambda: saved(Image.new("RGB", (1, 1), RED), "PNG"), colours="any"),
        OddPicture("thin.png", lambda: saved(drawn((2000, 1)), "PNG"), colours="any"),
        OddPicture("banner.jpg", lambda: jpeg(drawn((8000, 16))), colours="any"),
        OddPicture("bomb.png", png_bomb, TOO_LARGE.format("60,000", "60,000")),
        OddPicture("bomb.gif", lambda: _gif_bomb(), TOO_LARGE.format("65,535", "65,535")),
        OddPicture("bomb.bmp", lambda: _bmp(30_000, 30_000), TOO_LARGE.format("30,000", "30,000")),
        OddPicture("zero.bmp", lambda: _bmp(0, 0), HEADER),
        OddPicture("zero.gif", lambda: b"GIF89a" + b"\0" * 7 + b",\0\0\0\0\0\0\0\0\0\x02\x02\x44\x01\0;", HEADER),
        OddPicture("bomb-progressive.jpg", lambda: _progressive_bomb(), TOO_LARGE.format("60,000", "60,000")),
        OddPicture("12-megapixels.jpg", lambda: jpeg(drawn((4000, 3000)), quality=30)),
        OddPicture("100-megapixels.png", lambda: png_blank(10_000, 10_000), colours="any"),
    ]  # fmt: skip


def _progressive_bomb() -> bytes:
    """A progressive JPEG whose header says 60,000 x 60,000: all of it would have to be in memory."""
    whole = bytearray(jpeg(progressive=True))
    at = whole.index(b"\xff\xc2") + 5
    whole[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(whole)


def _gif_bomb() -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff,"
        + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        + b"\x02\x02\x44\x01\0;"
    )


def _bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 12, 0, 0, 54) + header + b"\0" * 12


def _several() -> list[OddPicture]:
    return [
        OddPicture("animated.gif", animation("GIF", [200, 300, 500]), frames=3),
        OddPicture("animated-fast.gif", animation("GIF", [0, 10, 20]), frames=3),
        OddPicture("animated.webp", animation("WEBP", [200, 300, 500], lossless=True), frames=3),
        OddPicture("animated.png", animation("PNG", [200, 300, 500]), frames=3),
        OddPicture("animated-cover.png", animation("PNG", [9, 200, 300], default_image=True), frames=2, colours="any"),
        OddPicture("animated.avif", animation("AVIF", [200, 300, 500], quality=95), frames=3),
        OddPicture("animated-cut.gif", cut(animation("GIF", [200, 300, 500]), 0.7), frames=2, odd=(CUT_OFF,)),
        OddPicture("pages.tif", pages(3), frames=3),
        OddPicture("pages-thumbnail.tif", pages(2, thumbnail=True), frames=2),
        OddPicture("stereo.mpo", lambda: _stereo()),
    ]  # fmt: skip


def _stereo() -> bytes:
    return saved(drawn(), "MPO", save_all=True, append_images=[drawn()], quality=95)


def _damaged() -> list[OddPicture]:
    whole: Make = lambda: jpeg(noisy())  # noqa: E731
    progressive: Make = lambda: jpeg(noisy(), progressive=True)  # noqa: E731
    png: Make = lambda: saved(noisy(), "PNG")  # noqa: E731
    webp: Make = lambda: saved(noisy(), "WEBP")  # noqa: E731
    tiff: Make = lambda: saved(noisy(), "TIFF", compression="tiff_lzw")  # noqa: E731
    gif: Make = lambda: saved(noisy().quantize(64), "GIF")  # noqa: E731
    avif: Make = lambda: saved(noisy(), "AVIF")  # noqa: E731
    return [
        OddPicture("cut.jpg", cut(whole, 0.7), odd=(CUT_OFF,), colours="any"),
        OddPicture("cut-progressive.jpg", cut(progressive, 0.5), odd=(CUT_OFF,), colours="any"),
        OddPicture("cut-last-byte.jpg", cut(whole, 0.9999), odd=(CUT_OFF,), colours="any"),
        OddPicture("cut-header.jpg", cut(whole, 0.01), HEADER),
        OddPicture("cut.png", cut(png, 0.6), odd=(CUT_OFF,), colours="any"),
        OddPicture("cut-early.png", cut(png, 0.001), HEADER),
        OddPicture("cut.webp", cut(webp, 0.5), HEADER),
        OddPicture("cut.tif", cut(tiff, 0.5), HEADER),
        OddPicture("cut.gif", cut(gif, 0.6), odd=(CUT_OFF,), colours="any"),
        OddPicture("cut.avif", cut(avif, 0.6), HEADER),
        OddPicture("cut.bmp", cut(lambda: saved(noisy(), "BMP"), 0.6), odd=(CUT_OFF,), colours="any"),
        OddPicture("garbage-behind.jpg", lambda: jpeg() + b"\0" * 5000),
        OddPicture("crc.png", replaced(png, b"IEND", b"IENX"), colours="any"),
        OddPicture("scrambled.jpg", lambda: _scrambled(), colours="any"),
        OddPicture("sizes-lie.jpg", lambda: _taller(), colours="any"),
        OddPicture("empty.jpg", lambda: b"", "is empty (0 bytes)"),
        OddPicture("header-alone.jpg", lambda: b"\xff\xd8\xff", HEADER),
        OddPicture("header-alone.png", lambda: b"\x89PNG\r\n\x1a\n", HEADER),
        OddPicture("header-alone.avif", lambda: b"\0\0\0\x14ftypavif\0\0\0\0avif", HEADER),
    ]


def _scrambled() -> bytes:
    whole = bytearray(jpeg(noisy()))
    for place in range(2000, len(whole) - 2, 997):
        whole[place] ^= 0x55
    return bytes(whole)


def _taller() -> bytes:
    """A JPEG whose header says twice the height."""
    whole = bytearray(jpeg(noisy()))
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 2] = struct.pack(">H", 240)
    return bytes(whole)


def _lying_names() -> list[OddPicture]:
    return [
        OddPicture("jpeg-called.png", lambda: jpeg()),
        OddPicture("png-called.jpg", lambda: saved(drawn(), "PNG")),
        OddPicture("webp-called.mp4", lambda: saved(drawn(), "WEBP", lossless=True)),
        OddPicture("no-suffix", lambda: jpeg()),
        OddPicture("text.jpg", lambda: b"these are words, and no picture\n" * 9, NO_PICTURE),
        OddPicture("page.png", lambda: b"<!doctype html><title>404</title>", NO_PICTURE),
        OddPicture("drawing.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', NO_PICTURE),
        OddPicture("zeros.bmp", lambda: b"\0" * 4000, NO_PICTURE),
        OddPicture("words.bmp", lambda: b"BMW, and other makers of cars that begin so", NO_PICTURE),
        OddPicture("a.jxl", lambda: b"\xff\x0a" + b"\0" * 60, "is a JPEG XL picture, which is not read here"),
    ]


def recipes() -> list[OddPicture]:
    """Return all of them."""
    return [*_turned(), *_modes(), *_large(), *_several(), *_damaged(), *_lying_names()]


def write(folder: Path) -> list[OddPicture]:
    """Write every file into a folder (made if need be) and return what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = recipes()
    for picture in pictures:
        (folder / picture.name).write_bytes(picture.make())
    return pictures
