"""Odd and broken pictures as recipes, each with what becomes of it. Deterministic: the same bytes each time.

A picture that works is red on its upper left, green on its upper right and blue below, as it is to be seen upright;
`shades` are those of grey: as dark, light, middle.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

Make = Callable[[], bytes]
RED, GREEN, BLUE = (200, 40, 30), (40, 180, 60), (30, 60, 200)
SIZE = (64, 48)  # upright
NO_PICTURE = "is no picture"
HEADER = "is no picture, or its header is damaged or cut off"
DAMAGED = "none of it can be decoded (damaged or cut off)"
TOO_LARGE = "is of {} x {} pixels, more than the 178 million read here"
CUT_OFF = "it is damaged or cut off: shown as far as it can be decoded"
# How the upright picture is stored under each number of EXIF's orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class OddPicture:
    """A file and what becomes of it.

    `reason` is why it cannot be used; "" where it works. Then it has `frames`, the colours (`exact`: of what was drawn,
    else only that something is to be seen), and `odd` things are said of it.
    """

    name: str
    make: Make
    reason: str = ""
    frames: int = 1
    colours: str = "rgb"  # "rgb", "grey", or "any"
    odd: tuple[str, ...] = ()


def drawn(size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """The picture that is to be seen."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :] = BLUE
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    return saved(image or drawn(), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def exif(**tags: Any) -> Image.Exif:
    """EXIF data: `t_NUMBER` of the picture, `e_NUMBER` of its EXIF list, `g_NUMBER` of its GPS list."""
    data = Image.Exif()
    for name, value in tags.items():
        place, number = name.split("_")
        target: Any = {"t": data, "e": data.get_ifd(0x8769), "g": data.get_ifd(0x8825)}[place]
        target[int(number)] = value
    return data


def turned(number: int, format: str = "JPEG") -> Make:
    def make() -> bytes:
        method = STORED[number]
        image = drawn() if method is None else drawn().transpose(method)
        options = {"quality": 95} if format in ("JPEG", "AVIF") else {}
        if format == "WEBP":
            options = {"lossless": True}
        return saved(image, format, exif=exif(t_274=number), **options)

    return make


def animation(format: str, durations: list[int], **options: Any) -> Make:
    def make() -> bytes:
        first, *others = [drawn().point(lambda value, by=by: value // (1 + by)) for by in range(len(durations))]
        return saved(first, format, save_all=True, append_images=others, duration=durations, loop=0, **options)

    return make


def cut(make: Make, share: float) -> Make:
    def cut_off() -> bytes:
        whole = make()
        return whole[: int(len(whole) * share)]

    return cut_off


def replaced(make: Make, old: bytes, new: bytes) -> Make:
    def other() -> bytes:
        whole = make()
        assert old in whole
        return whole.replace(old, new, 1)

    return other


def noisy(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """The picture with noise, so that its file has a length that can be cut."""
    pixels = np.asarray(drawn(size)).astype(int) + np.random.default_rng(0).integers(-12, 12, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def grey(kind: str) -> NDArray[Any]:
    """Shades of grey of a depth: dark, light, and middle where red, green and blue are."""
    height, width = SIZE[1], SIZE[0]
    shades = np.zeros((height, width), np.float64)
    shades[: height // 2, : width // 2], shades[: height // 2, width // 2 :], shades[height // 2 :] = 0.1, 0.9, 0.5
    most = {"float32": 1.0, "uint16": 65535, "int32": 2**31 - 1, "uint8": 255}[kind]
    return (shades * most).astype(kind)


def png_chunks(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    whole = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        whole += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return whole


def png_deep() -> bytes:
    """A PNG of 16 bits a channel, in colour."""
    deep = np.asarray(drawn()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    return png_chunks(struct.pack(">IIBBBBB", *SIZE, 16, 2, 0, 0, 0), (b"IDAT", zlib.compress(rows)))


def png_bomb() -> bytes:
    """60,000 x 60,000 pixels in a few kilobytes, by what the header says."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return png_chunks(header, (b"IDAT", zlib.compress(b"\0" * 1_000_000)))


def with_alpha(mode: str) -> Image.Image:
    """The picture with an opaque upper half and a lower half of white that is transparent, over blue nothing."""
    image = drawn().convert("RGBA")
    pixels = np.array(image)
    pixels[: SIZE[1] // 2, :, 3] = 255
    pixels[SIZE[1] // 2 :] = (255, 255, 255, 0)
    return Image.fromarray(pixels).convert(mode)


def palette_with_alpha() -> bytes:
    image = drawn().quantize(8)
    return saved(image, "PNG", transparency=bytes([255] * 8))


def profile(kind: str = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


def swapped_profile() -> bytes:
    """A wide-gamut profile: sRGB whose primaries are pulled apart, so that its colours are stronger when shown."""
    whole = bytearray(profile())
    count = struct.unpack(">I", whole[128:132])[0]
    for number in range(count):
        name, offset, _ = struct.unpack(">4sII", whole[132 + 12 * number : 144 + 12 * number])
        if name == b"desc":
            text = "sRGB built-in".encode("utf-16-be")
            whole[:] = bytes(whole).replace(text, "wide built-in".encode("utf-16-be"))
        if name in WIDE:
            whole[offset + 8 : offset + 20] = struct.pack(">3i", *(round(number * 65536) for number in WIDE[name]))
    return bytes(whole)


# Adobe RGB (1998), adapted to D50.
WIDE = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}


def pages(count: int, thumbnail: bool = False) -> Make:
    def make() -> bytes:
        buffer = io.BytesIO()
        with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
            for _ in range(count):
                drawn().save(writer, "TIFF")
                writer.newFrame()
            if thumbnail:
                drawn((16, 12)).save(writer, "TIFF", tiffinfo={254: 1})
                writer.newFrame()
        return buffer.getvalue()

    return make


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


def heic(**transform: int) -> bytes:
    """A HEIC file of the picture, turned by `irot` (quarter turns counter-clockwise) where that is given."""
    image = drawn()
    for _ in range(transform.get("irot", 0)):
        image = image.transpose(Image.Transpose.ROTATE_270)
    config, sample = _hevc(np.asarray(image))
    ispe = _box(b"ispe", struct.pack(">III", 0, *image.size))
    properties = [_box(b"hvcC", config), ispe]
    properties += [_box(b"irot", bytes([transform["irot"]]))] if transform else []
    links = struct.pack(">IIHB", 0, 1, 1, len(properties)) + bytes(range(0x81, 0x81 + len(properties)))
    entry = _box(b"infe", struct.pack(">BBHHH4sB", 2, 0, 0, 1, 0, b"hvc1", 0))
    parts = [
        _box(b"hdlr", struct.pack(">II4s12xB", 0, 0, b"pict", 0)),
        _box(b"pitm", struct.pack(">IH", 0, 1)),
        _box(b"iinf", struct.pack(">IH", 0, 1) + entry),
        _box(b"iprp", _box(b"ipco", b"".join(properties)) + _box(b"ipma", links)),
    ]
    start = _box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(offset: int) -> bytes:
        place = struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, offset, len(sample))
        return _box(b"meta", struct.pack(">I", 0) + b"".join([*parts, _box(b"iloc", place)]))

    return start + meta(len(start) + len(meta(0)) + 8) + _box(b"mdat", sample)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def _hevc(pixels: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """The decoder's configuration (hvcC) and the one sample of a picture as HEVC."""
    encoder = av.CodecContext.create("libx265", "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.options = {"crf": "5", "x265-params": "log-level=none:pools=1:frame-threads=1"}
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    units = re.split(b"\0\0\0?\x01", b"".join(bytes(packet) for packet in packets))[1:]
    kinds = [unit[0] >> 1 & 63 for unit in units]
    sets = [
        (kind, next(unit for unit, other in zip(units, kinds, strict=True) if other == kind)) for kind in (32, 33, 34)
    ]
    profile_tier_level = sets[1][1][3:15]
    config = b"\1" + profile_tier_level + b"\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f" + bytes([len(sets)])
    for kind, unit in sets:
        config += struct.pack(">BHH", 0x80 | kind, 1, len(unit)) + unit
    slices = [unit for unit, kind in zip(units, kinds, strict=True) if kind < 32]
    return config, b"".join(struct.pack(">I", len(unit)) + unit for unit in slices)


def dng(size: tuple[int, int] = (64, 48)) -> bytes:
    """A RAW photo (DNG) without a preview: a red and blue mosaic of 16 bits."""
    width, height = size
    colours = np.asarray(drawn(size)).astype(np.uint16) * 200
    mosaic = np.zeros((height, width), "<u2")
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = colours[row::2, column::2, channel]
    data = mosaic.tobytes()
    matrix = struct.pack("<18i", *(number for value in (1, 0, 0, 0, 1, 0, 0, 0, 1) for number in (value, 1)))
    entries = [
        (254, 4, 1, 0), (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 32803),
        (271, 2, 4, b"Odd\0"), (272, 2, 4, b"One\0"), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height),
        (279, 4, 1, len(data)), (33421, 3, 2, struct.pack("<HH", 2, 2)), (33422, 1, 4, bytes([0, 1, 1, 2])),
        (50706, 1, 4, bytes([1, 4, 0, 0])), (50708, 2, 4, b"Odd\0"), (50717, 4, 1, 65535),
        (50721, 10, 9, 8 + len(data)),
    ]  # fmt: skip
    packed = b"".join(
        struct.pack("<HHI", tag, kind, count) + (value if isinstance(value, bytes) else struct.pack("<I", value))
        for tag, kind, count, value in entries
    )
    directory = 8 + len(data) + len(matrix)
    return (
        b"II*\0" + struct.pack("<I", directory) + data + matrix + struct.pack("<H", len(entries)) + packed + b"\0" * 4
    )


def recipes() -> list[OddPicture]:
    """Return all of them."""
    return [*_turned(), *_modes(), *_large(), *_several(), *_damaged(), *_lying_names()]


def write(folder: Path) -> list[OddPicture]:
    """Write every file into a folder and return what they are."""
    pictures = recipes()
    for picture in pictures:
        (folder / picture.name).write_bytes(picture.make())
    return pictures
