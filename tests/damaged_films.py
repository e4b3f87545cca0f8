"""Files that are no whole films: cut off, with flipped or lying bytes, without a video, no files at all."""

from __future__ import annotations

import io
import os
import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from media_damage import EXACT, Bytes, two_colours
from media_files import RED, make_sound
from odd_films import NO_FRAMES, NO_MEDIA, NO_VIDEO, Make, Odd, containing, renamed
from PIL import Image


def recipes(whole: Bytes, chance: random.Random) -> Iterator[Odd]:
    """Yield all of them; `whole` holds plain films by suffix."""
    yield from _cut(whole)
    yield from _flipped(whole, chance)
    yield from _lying(whole)
    yield from _no_video(whole, chance)
    yield from _no_file(whole)


def _cut(whole: Bytes) -> Iterator[Odd]:
    def cut(name: str, content: bytes, at: float, outcome: int | str) -> Odd:
        return Odd(f"cut {name}", "cut off", containing(content[: int(at)]), outcome, damaged=True)

    last, first = whole[".mp4"], whole["fast.mp4"]
    boxes, fast = boxes_of(last), boxes_of(first)
    gops = [at for at in _key_frames(first) if at > fast[b"mdat"][0] + 20]
    yield cut("inside ftyp.mp4", last, 10, NO_MEDIA)
    yield cut("behind ftyp.mp4", last, boxes[b"ftyp"][1], NO_MEDIA)
    yield cut("inside mdat, index last.mp4", last, np.mean(boxes[b"mdat"]), NO_MEDIA)
    yield cut("inside moov, index last.mp4", last, np.mean(boxes[b"moov"]), NO_FRAMES)
    yield cut("before its last byte.mp4", last, len(last) - 1, 2)
    yield cut("inside moov, index first.mp4", first, np.mean(fast[b"moov"]), NO_FRAMES)
    yield cut("behind moov.mp4", first, fast[b"mdat"][0], NO_FRAMES)
    yield cut("inside the first frame.mp4", first, fast[b"mdat"][0] + 20, NO_FRAMES)
    yield cut("inside mdat, index first.mp4", first, np.mean(fast[b"mdat"]), 1)
    yield cut("at a key frame.mp4", first, gops[0], 1)
    yield cut("behind a key frame's first byte.mp4", first, gops[-1] + 1, 1)
    yield cut("fragment.mp4", whole["fragments.mp4"], len(whole["fragments.mp4"]) * 0.6, 1)
    for suffix in (".mkv", ".avi", ".ts", ".flv", ".webm"):
        content = whole[suffix]
        yield cut(f"at 70 %{suffix}", content, len(content) * 0.7, 1)
        yield cut(f"at 30 bytes{suffix}", content, 30, NO_MEDIA)
    yield cut("header of matroska alone.mkv", whole[".mkv"], whole[".mkv"].index(b"\x1f\x43\xb6\x75"), NO_MEDIA)
    yield cut("header of avi alone.avi", whole[".avi"], whole[".avi"].index(b"movi") + 4, NO_FRAMES)


def boxes_of(content: bytes) -> dict[bytes, tuple[int, int]]:
    """The top boxes of an MP4 file: type -> (first byte, end)."""
    boxes, start = {}, 0
    while start + 8 <= len(content):
        size, name = struct.unpack(">I4s", content[start : start + 8])
        boxes[name] = start, start + max(8, size)
        start += max(8, size)
    return boxes


def _key_frames(content: bytes) -> list[int]:
    """Where the key frames of an MP4 file start."""
    with av.open(io.BytesIO(content)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.is_keyframe and packet.pos]


def _flipped(whole: Bytes, chance: random.Random) -> Iterator[Odd]:
    def flip(name: str, suffix: str, start: int, end: int, count: int, outcome: int | str) -> Odd:
        content = bytearray(whole[suffix])
        for _ in range(count):
            content[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
        return Odd(f"flipped {name}", "flipped bytes", containing(content), outcome, damaged=True)

    size = {suffix: len(content) for suffix, content in whole.items()}
    mdat = boxes_of(whole[".mp4"])[b"mdat"]
    yield flip("type.mp4", ".mp4", 4, 8, 8, 2)
    yield flip("payload.mp4", ".mp4", mdat[0] + 800, mdat[1], 5, 1)
    yield flip("sample sizes.mp4", ".mp4", *_table(whole[".mp4"], b"stsz", 52, 40), 6, 1)
    yield flip("payload.mkv", ".mkv", size[".mkv"] // 2, size[".mkv"] * 3 // 4, 8, 1)
    yield flip("ebml.mkv", ".mkv", 0, 4, 6, NO_MEDIA)
    yield flip("payload.avi", ".avi", size[".avi"] // 2, size[".avi"] * 3 // 4, 8, 1)
    yield flip("index.avi", ".avi", size[".avi"] - 300, size[".avi"], 40, 1)
    yield flip("payload.ts", ".ts", size[".ts"] // 2, size[".ts"], 20, 1)
    yield flip("payload.webm", ".webm", size[".webm"] // 2, size[".webm"] * 3 // 4, 8, 1)
    zeros = bytes(mdat[1] - mdat[0] - 8)
    content = whole[".mp4"]
    yield Odd(
        "zeros for payload.mp4",
        "flipped bytes",
        containing(content[: mdat[0] + 8] + zeros + content[mdat[1] :]),
        NO_FRAMES,
    )


def _table(content: bytes, name: bytes, skip: int, length: int) -> tuple[int, int]:
    at = content.index(name) + 4 + skip
    return at, at + length


def _lying(whole: Bytes) -> Iterator[Odd]:
    """Headers that claim what is not so, above all huge sizes."""

    def lie(
        name: str, suffix: str, where: bytes, offset: int, value: bytes, outcome: int | str, last: bool = False
    ) -> Odd:
        content = bytearray(whole[suffix])
        at = (content.rindex if last else content.index)(where) + offset
        content[at : at + len(value)] = value
        return Odd(f"claims {name}", "false claims", containing(content), outcome, damaged=True)

    most = b"\xff\xff\xff\xff"
    yield lie("65535x65535.mp4", ".mp4", b"avc1", 28, most, 2, last=True)
    yield lie("the largest track header.mp4", ".mp4", b"tkhd", 80, most * 2, 2)
    yield lie("4 billion samples.mp4", ".mp4", b"stsz", 12, most, NO_MEDIA)
    yield lie("4 billion chunks.mp4", ".mp4", b"stco", 8, most, 2)
    yield lie("a moov of 4 GB.mp4", ".mp4", b"moov", -4, most, 2)
    yield lie("an mdat of 4 GB.mp4", "fast.mp4", b"mdat", -4, most, 2)
    yield lie("no time scale.mp4", ".mp4", b"mdhd", 16, bytes(4), 1)
    yield lie("to last for years.mp4", ".mp4", b"mvhd", 20, most, 2)
    yield Odd("claims 60000x60000, raw.avi", "false claims", partial(_huge_raw, side=60_000), NO_FRAMES, damaged=True)
    yield Odd("claims 16000x16000, raw.avi", "false claims", partial(_huge_raw, side=16_000), NO_FRAMES, damaged=True)
    yield Odd("claims 30000x30000, png.mov", "false claims", _huge_png, NO_FRAMES, damaged=True)
    yield Odd(
        "claims 100000x100000.y4m",
        "false claims",
        containing(b"YUV4MPEG2 W100000 H100000 F25:1 C420\nFRAME\n" + bytes(9999)),
        NO_MEDIA,
    )
    yield Odd("claims 65500x65500, jpeg.avi", "false claims", _huge_jpeg, NO_FRAMES, damaged=True)


def _huge_raw(path: Path, side: int) -> None:
    content = bytearray(two_colours(path, codec="rawvideo", pix_fmt="yuv420p", b_frames=0, seconds=1).read_bytes())
    at = content.index(b"strf") + 8
    content[at + 4 : at + 12] = struct.pack("<ii", side, side)
    path.write_bytes(content)


def _huge_png(path: Path) -> None:
    content = two_colours(path, codec="png", pix_fmt="rgb24", b_frames=0).read_bytes()
    path.write_bytes(
        content.replace(b"IHDR" + struct.pack(">II", 96, 64), b"IHDR" + struct.pack(">II", 30_000, 30_000))
    )


def _huge_jpeg(path: Path) -> None:
    content = two_colours(path, codec="mjpeg", pix_fmt="yuvj420p", b_frames=0).read_bytes()
    path.write_bytes(content.replace(struct.pack(">HH", 64, 96), struct.pack(">HH", 65_500, 65_500)))


def _no_video(whole: Bytes, chance: random.Random) -> Iterator[Odd]:
    def none(name: str, make: Make, outcome: int | str = NO_MEDIA) -> Odd:
        return Odd(name, "no video", make, outcome)

    last = whole[".mp4"]
    ftyp, moov = (slice(*boxes_of(last)[name]) for name in (b"ftyp", b"moov"))
    yield none("empty.mp4", containing(b""), "is empty (0 bytes)")
    yield none("one byte.mp4", containing(b"\0"))
    yield none("text.mp4", containing(b"this is no video\n" * 500))
    yield none("page.webm", containing(b"<!doctype html><title>404</title>" + b"<p>not found</p>" * 99))
    yield none("zeros.mp4", containing(bytes(100_000)))
    yield none("random.mkv", containing(chance.randbytes(100_000)))
    yield none("archive.avi", containing(b"PK\x03\x04" + chance.randbytes(5000)))
    yield none("playlist.mp4", containing(b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n"))
    yield none("list of files.mkv", containing(b"ffconcat version 1.0\nfile 'text.mp4'\n"))
    yield none("still.mp4", partial(_still, form="JPEG"), 1)
    yield none("still.mkv", partial(_still, form="PNG"), 1)
    yield none("sound.mp4", _sound, 0)
    yield none("sound with a cover.mp4", _sound_with_cover, 0)
    yield none("no streams.mp4", containing(last[ftyp] + struct.pack(">I4s", 8, b"moov")), NO_VIDEO)
    yield none("no track.mp4", containing(last[ftyp] + renamed(last[moov], b"trak", b"free")), NO_VIDEO)
    yield none("no frames.mp4", partial(_no_frames), NO_VIDEO)
    yield none("no frames.mkv", partial(_no_frames), NO_MEDIA)
    yield none("unknown codec.mp4", containing(renamed(last, b"avc1", b"zzzz")), "its video codec is unknown here")


def _still(path: Path, form: str) -> None:
    Image.new("RGB", (40, 30), RED).save(path, format=form)


def _sound(path: Path) -> None:
    draft = make_sound(path.with_name(".draft.m4a"))
    draft.rename(path)


def _sound_with_cover(path: Path) -> None:
    with av.open(str(path), "w", format="mp4", container_options=EXACT) as output:
        sound = output.add_stream("aac", rate=16_000, layout="mono")
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 48, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((48, 48, 3), RED, np.uint8), format="rgb24")))
        output.mux(cover.encode())
        for number in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, number * 1024, Fraction(1, 16_000)
            output.mux(sound.encode(frame))
        output.mux(sound.encode())


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w", container_options=EXACT) as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        output.start_encoding()


def _no_file(whole: Bytes) -> Iterator[Odd]:
    kind = "no ordinary file"
    closed = "Permission denied" if os.geteuid() else 2  # root reads everything
    yield Odd("folder.mp4", kind, Path.mkdir, None)
    yield Odd("link to nothing.mp4", kind, lambda path: path.symlink_to("nowhere.mp4"), "a link that points to nothing")
    yield Odd("link to itself.mp4", kind, lambda path: path.symlink_to(path.name), "Too many levels of symbolic links")
    yield Odd("pipe.mp4", kind, os.mkfifo, "not a regular file")
    yield Odd("link to a file.mp4", kind, lambda path: path.symlink_to("one frame.mp4"), 1)
    yield Odd("closed.mp4", kind, partial(_closed, content=whole[".mp4"] + bytes(12)), closed)


def _closed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0)
