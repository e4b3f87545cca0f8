"""Pictures for tests, as the bytes of files: one that is drawn, in many formats, some of which nothing here writes.

Upright, it is red on its upper left, green on its upper right and blue below; in shades of grey dark, light, middle.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

Make = Callable[[], bytes]
RED, GREEN, BLUE = (200, 40, 30), (40, 180, 60), (30, 60, 200)
SIZE = (64, 48)  # upright
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
# Adobe RGB (1998), adapted to D50.
WIDE = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}


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


def png_blank(width: int, height: int) -> bytes:
    """A PNG of white pixels, one bit each, all of which are there."""
    rows = (b"\0" + b"\xff" * ((width + 7) // 8)) * height
    return png_chunks(struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), (b"IDAT", zlib.compress(rows, 1)))


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
