"""Odd and broken media files, each with what indexing must make of it. Deterministic: the same seed, the same bytes.

`corpus(folder, seed)` writes them and returns the list. The test, the bench and scripts/make_odd_media.py share this
module; random damage without end is in media_damage.py.
"""

from __future__ import annotations

import io
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from media_damage import EXACT, Bytes, two_colours, whole_files
from media_files import BLUE, GREEN, RED, Colour, make_sound
from PIL import Image

from mmi_tvr.library import IndexReport, Library
from mmi_tvr.media import guarded

Make = Callable[[Path], object]

NO_MEDIA = "is not a media file, or its header is damaged or cut off"
NO_FRAMES = "none of its frames can be decoded (damaged or cut off)"
NO_VIDEO = "has no video stream"
MOST_MEMORY = 400  # megabytes that a decoding process may have in memory, whatever file of the corpora it reads


@dataclass(frozen=True)
class Odd:
    """A file and its fate: `outcome` is how many key images it has (at least so many where it is `damaged`), the reason
    why it cannot be used, or None for what is no file at all."""

    name: str
    kind: str
    make: Make
    outcome: int | str | None
    damaged: bool = False

    def agrees(self, actual: int | str | None) -> bool:
        """Whether this number of key images, or this reason, is the expected one."""
        if isinstance(actual, int) and isinstance(self.outcome, int):
            return actual >= self.outcome if self.damaged else actual == self.outcome
        # Where reading stops in a damaged file is for FFmpeg to decide, and changes with it.
        return actual == self.outcome or (self.damaged and {actual, self.outcome} == {NO_MEDIA, NO_FRAMES})


def corpus(folder: Path, seed: int = 0) -> list[Odd]:
    """Write every file into a folder (made if need be) and say what they are."""
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder talks to the terminal
    folder.mkdir(parents=True, exist_ok=True)
    whole = whole_files(folder)
    chance = random.Random(seed)
    odd = [*_codecs(), *_pictures(), *_times(), *_streams(whole), *_names(whole)]
    odd += [*_cut(whole), *_flipped(whole, chance), *_lying(whole), *_no_video(whole, chance), *_no_file(whole)]
    for file in odd:
        file.make(folder / file.name)
    return odd


def outcomes(library: Library, report: IndexReport) -> dict[str, int | str]:
    """What indexing made of each file, by name: its number of key images, or the reason why there are none."""
    catalogue = library._reader.catalogue()
    by_name: dict[str, int | str] = {path.name: reason for path, reason in report.quarantined}
    for content in catalogue.contents_with("kind = 'audio' AND state = 'indexed'"):
        by_name |= {path.name: 0 for path in content.paths}
    for entry in catalogue.entries(catalogue.searchable()).values():
        by_name |= {path.name: len(entry.segments) for path in entry.paths}
    return by_name


def most_memory() -> int:
    """The most megabytes that a decoding process, of those that wait for the next file, has had in memory (Linux)."""
    statuses = [Path(f"/proc/{worker._process.pid}/status").read_text() for worker in guarded._idle._workers]
    return max(int(status.partition("VmHWM:")[2].split()[0]) // 1024 for status in statuses)


def _as(suffix: str, **how: object) -> Make:
    """A maker of a file whose container is another one than its name says."""

    def make(path: Path) -> None:
        draft = path.with_name(f".draft{suffix}")
        two_colours(draft, **how)
        draft.rename(path)

    return make


def _bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


# Whole and odd


def _codecs() -> Iterator[Odd]:
    table = [
        ("mjpeg", ".avi", "mjpeg", "yuvj420p", {}),
        ("mjpeg", ".mov", "mjpeg", "yuvj444p", {}),
        ("ffv1", ".mkv", "ffv1", "yuv420p", {}),
        ("huffyuv", ".avi", "huffyuv", "yuv422p", {}),
        ("ffvhuff", ".avi", "ffvhuff", "yuv420p", {}),
        ("vp8", ".webm", "libvpx", "yuv420p", {"size": (98, 66)}),
        ("vp9", ".webm", "libvpx-vp9", "yuv420p", {}),
        ("av1", ".mp4", "libsvtav1", "yuv420p", {"options": {"preset": "12", "svtav1-params": "lp=1"}}),
        ("hevc", ".mp4", "libx265", "yuv420p", {"options": {"x265-params": "log-level=none:pools=1:frame-threads=1"}}),
        ("prores", ".mov", "prores_ks", "yuv422p10le", {}),
        ("rawvideo", ".avi", "rawvideo", "yuv420p", {}),
        ("h263", ".3gp", "h263", "yuv420p", {"size": (176, 144)}),
        ("h263p", ".avi", "h263p", "yuv420p", {}),
        ("flv1", ".flv", "flv", "yuv420p", {}),
        ("wmv2", ".wmv", "wmv2", "yuv420p", {}),
        ("msmpeg4", ".avi", "msmpeg4", "yuv420p", {}),
        ("mpeg4", ".mp4", "mpeg4", "yuv420p", {}),
        ("dv", ".dv", "dvvideo", "yuv420p", {"size": (720, 576), "fps": 25}),
        ("dnxhd", ".mov", "dnxhd", "yuv422p", {"size": (256, 128), "options": {"profile": "dnxhr_lb"}}),
        ("qtrle", ".mov", "qtrle", "rgb24", {}),
        ("cinepak", ".avi", "cinepak", "rgb24", {}),
        ("png", ".mov", "png", "rgb24", {}),
        ("jpeg2000", ".mkv", "jpeg2000", "rgb24", {}),
        ("snow", ".avi", "snow", "yuv420p", {"fps": 5}),
        ("zmbv", ".avi", "zmbv", "bgr0", {}),
        ("svq1", ".mov", "svq1", "yuv410p", {}),
        ("utvideo", ".avi", "utvideo", "gbrp", {}),
        ("cineform", ".mov", "cfhd", "yuv422p10le", {}),
        ("flashsv", ".flv", "flashsv", "bgr24", {}),
    ]
    for title, suffix, codec, pixels, how in table:
        make = partial(two_colours, codec=codec, pix_fmt=pixels, b_frames=0, **how)
        yield Odd(f"codec {title}{suffix}", "codecs", make, 2)
    # FFmpeg's writer of RealMedia gives all frames of this file one time.
    yield Odd("codec rv10.rm", "codecs", partial(two_colours, codec="rv10", size=(176, 144), b_frames=0), 1)
    yield Odd("codec gif.mkv", "codecs", _as(".gif", codec="gif", pix_fmt="rgb8", b_frames=0), 2)
    for name in ("mpeg1.mpg", "mpeg2.ts", "mpeg2.vob", "mpeg2.mxf", "mpeg2.m2v"):
        codec = f"{name.partition('.')[0]}video"
        yield Odd(f"codec {name}", "codecs", partial(_plain, streams=[(codec, (96, 64), "yuv420p", (RED, GREEN))]), 2)


def _pictures() -> Iterator[Odd]:
    def odd(name: str, outcome: int = 2, **how: object) -> Odd:
        return Odd(name, "pixels and sizes", partial(two_colours, **how), outcome)

    yield odd("pixels yuv444p10.mkv", pix_fmt="yuv444p10le")
    yield odd("pixels gray.mkv", codec="ffv1", pix_fmt="gray", b_frames=0)
    yield odd("pixels rgb24.avi", codec="rawvideo", pix_fmt="bgr24", b_frames=0)
    yield odd("pixels rgb.mp4", codec="libx264rgb", pix_fmt="rgb24")
    yield Odd("pixels pal8.mov", "pixels and sizes", _palette, 2)
    yield odd("pixels rgb48.mov", codec="png", pix_fmt="rgb48be", b_frames=0)
    yield odd("pixels alpha.webm", codec="libvpx-vp9", pix_fmt="yuva420p", b_frames=0)
    yield odd("pixels one bit.mov", codec="png", pix_fmt="monob", b_frames=0)
    yield odd("size 1x1.mkv", codec="ffv1", pix_fmt="bgr0", b_frames=0, size=(1, 1))
    yield odd("size 2x2000.mp4", size=(2, 2000))
    yield odd("size 4000x2.mp4", size=(4000, 2))
    yield odd("size 97x63.mkv", size=(97, 63), pix_fmt="yuv444p")
    yield odd("size 4000x40.mp4", size=(4000, 40))
    yield odd("pixel aspect.mp4", aspect=Fraction(16, 11))
    yield odd("pixel aspect absurd.mkv", aspect=Fraction(4000, 1))
    for turn in (90, 180, 270):
        yield odd(f"rotated {turn}.mp4", rotation=turn if turn < 270 else -90)


def _times() -> Iterator[Odd]:
    def odd(name: str, outcome: int = 2, **how: object) -> Odd:
        return Odd(name, "times", partial(two_colours, **how), outcome)

    free = {"avoid_negative_ts": "disabled"}
    yield odd("variable rate.mkv", times=[0, 0.1, 0.2, 1.4, 2.0, 2.05, 3.1, 4.8])
    yield odd("one frame.mp4", 1, times=[0.0], colours=(RED,))
    yield odd("two frames.avi", 1, times=[0.0, 0.1], colours=(RED, RED), b_frames=0)
    yield odd("1 a second.mp4", fps=1)
    yield odd("1000 a second.mkv", fps=1000, codec="mpeg4", b_frames=0, options={"g": "200"})
    yield odd("starts late.mkv", times=[30 + number / 10 for number in range(40)])
    yield odd("starts before zero.mp4", times=[number / 10 - 1 for number in range(40)], container_options=free)
    yield odd("starts before zero.ts", times=[number / 10 - 1 for number in range(40)], container_options=free)
    yield odd("starts after eleven days.ts", times=[90_000 + number / 10 for number in range(40)])
    yield odd("a gap of a day.mkv", 2, times=[*(number / 10 for number in range(20)), 86_400.0])
    yield odd("edit list.mp4", b_frames=3)
    yield Odd("edit list that skips.mp4", "times", _skipping_edit, 2)
    yield odd("no duration.mkv", container_options={"live": "1"})
    yield odd("fragments.mp4", container_options={"movflags": "frag_keyframe+empty_moov"})


def _skipping_edit(path: Path) -> None:
    """An edit list that leaves out the first half second."""
    content = bytearray(two_colours(path, b_frames=0).read_bytes())
    at = content.index(b"elst") + 4 + 4 + 4  # flags, count; then duration, time of the media, rate
    base = struct.unpack(">I", content[content.index(b"mdhd") + 16 :][:4])[0]
    content[at + 4 : at + 8] = struct.pack(">i", base // 2)
    path.write_bytes(content)


def _streams(whole: Bytes) -> Iterator[Odd]:
    kind = "streams"
    yield Odd("video and sound.mp4", kind, partial(two_colours, sound=True), 2)
    yield Odd("sound of no length.mp4", kind, partial(_with_other_stream, audio=True), 2)
    two = [("mpeg4", (32, 32), "yuv420p", (BLUE,)), ("mpeg4", (96, 64), "yuv420p", (RED, GREEN))]
    yield Odd("two videos.mkv", kind, partial(_plain, streams=two), 2)  # the larger one counts
    yield Odd("subtitles.mkv", kind, partial(_with_other_stream, subtitles=True), 2)
    yield Odd("attachment.mkv", kind, partial(_with_other_stream, attachment=b"no font"), 2)
    yield Odd("no cues.mkv", kind, _bytes(_without(whole[".mkv"], b"\x1c\x53\xbb\x6b")), 2)
    yield Odd("no index.avi", kind, _bytes(_renamed(whole[".avi"], b"idx1", b"JUNK")), 2)
    yield Odd("garbage behind.mp4", kind, _bytes(whole[".mp4"] + bytes(range(256)) * 400), 2)
    yield Odd("garbage before.ts", kind, _bytes(b"G" + bytes(99) + whole[".ts"]), 2)
    yield Odd("twice in one.ts", kind, _bytes(whole[".ts"] * 2), 2, damaged=True)


def _with_other_stream(path: Path, audio: bool = False, subtitles: bool = False, attachment: bytes = b"") -> None:
    """The video, and another stream beside it: sound without a packet, subtitles, an attached file."""
    draft = two_colours(path.with_name(f".draft{path.suffix}"))
    with av.open(str(draft)) as source, av.open(str(path), "w", container_options=EXACT) as output:
        video = output.add_stream_from_template(source.streams.video[0])
        if audio:
            output.add_stream("aac", rate=16_000, layout="mono")
        text = output.add_stream("subrip") if subtitles else None
        if text is not None:
            text.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n"
        if attachment:
            output.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
        if text is not None:
            line = av.Packet(b"a line of text")
            line.stream, line.time_base, line.pts, line.dts, line.duration = text, Fraction(1, 1000), 500, 500, 900
            output.mux(line)
    draft.unlink()


def _plain(path: Path, streams: list[tuple[str, tuple[int, int], str, tuple[Colour, ...]]]) -> None:
    """Streams of four seconds, 25 frames a second, in the order given: codec, size, pixels, colours."""
    with av.open(str(path), "w", container_options=EXACT) as output:
        outputs = []
        for codec, (width, height), pixels, colours in streams:
            stream = output.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, pixels
            outputs.append((stream, [np.full((height, width, 3), colour, np.uint8) for colour in colours]))
        for number in range(100):
            for stream, pictures in outputs:
                frame = av.VideoFrame.from_ndarray(pictures[number * len(pictures) // 100], format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame))
        for stream, _ in outputs:
            output.mux(stream.encode())


def _palette(path: Path) -> None:
    """Pictures of one byte a pixel, and a palette each."""
    palette = np.array([[255, *RED], [255, *GREEN], *[[255, 0, 0, 0]] * 254], np.uint8)
    with av.open(str(path), "w", container_options=EXACT) as output:
        stream = output.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "pal8"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray((np.full((64, 96), number // 20, np.uint8), palette), format="pal8")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def _without(content: bytes, element: bytes) -> bytes:
    """A Matroska file whose last element of this id has another id, which no reader knows."""
    at = content.rindex(element)
    return content[:at] + b"\x1c\x53\xbb\x6c" + content[at + 4 :]


def _renamed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def _names(whole: Bytes) -> Iterator[Odd]:
    kind = "names and suffixes"

    def named(name: str, suffix: str, number: int) -> Odd:
        return Odd(name, kind, _bytes(whole[suffix] + bytes(number)), 2)  # of different bytes

    yield named("matroska inside.mp4", ".mkv", 1)
    yield named("mp4 inside.avi", ".mp4", 1)
    yield named("transport stream inside.mkv", ".ts", 188)
    yield named("avi inside.webm", ".avi", 2)
    yield named("CAPITALS.MP4", ".mp4", 2)
    yield named('it\'s "quoted" & $(odd); %20 #1?.mp4', ".mp4", 3)
    yield named("a line\nand another\ttab.mp4", ".mp4", 4)
    yield named("视频 🎬 ünï.mp4", ".mp4", 5)
    yield named(os.fsdecode(b"not utf-8 \xff\xfe.mp4"), ".mp4", 6)
    yield named("-i.mp4", ".mp4", 7)
    yield named("concat:a|b.mp4", ".mp4", 8)
    yield named("%03d.mp4", ".mp4", 9)
    yield named("x" * 250 + ".mp4", ".mp4", 10)
    yield named(" .mp4", ".mp4", 11)


# Damaged


def _cut(whole: Bytes) -> Iterator[Odd]:
    def cut(name: str, content: bytes, at: float, outcome: int | str) -> Odd:
        return Odd(f"cut {name}", "cut off", _bytes(content[: int(at)]), outcome, damaged=True)

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
        return Odd(f"flipped {name}", "flipped bytes", _bytes(content), outcome, damaged=True)

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
        "zeros for payload.mp4", "flipped bytes", _bytes(content[: mdat[0] + 8] + zeros + content[mdat[1] :]), NO_FRAMES
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
        return Odd(f"claims {name}", "false claims", _bytes(content), outcome, damaged=True)

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
        _bytes(b"YUV4MPEG2 W100000 H100000 F25:1 C420\nFRAME\n" + bytes(9999)),
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


# No videos


def _no_video(whole: Bytes, chance: random.Random) -> Iterator[Odd]:
    def none(name: str, make: Make, outcome: int | str = NO_MEDIA) -> Odd:
        return Odd(name, "no video", make, outcome)

    last = whole[".mp4"]
    ftyp, moov = (slice(*boxes_of(last)[name]) for name in (b"ftyp", b"moov"))
    yield none("empty.mp4", _bytes(b""), "is empty (0 bytes)")
    yield none("one byte.mp4", _bytes(b"\0"))
    yield none("text.mp4", _bytes(b"this is no video\n" * 500))
    yield none("page.webm", _bytes(b"<!doctype html><title>404</title>" + b"<p>not found</p>" * 99))
    yield none("zeros.mp4", _bytes(bytes(100_000)))
    yield none("random.mkv", _bytes(chance.randbytes(100_000)))
    yield none("archive.avi", _bytes(b"PK\x03\x04" + chance.randbytes(5000)))
    yield none("playlist.mp4", _bytes(b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n"))
    yield none("list of files.mkv", _bytes(b"ffconcat version 1.0\nfile 'text.mp4'\n"))
    yield none("still.mp4", partial(_still, form="JPEG"), 1)
    yield none("still.mkv", partial(_still, form="PNG"), 1)
    yield none("sound.mp4", _sound, 0)
    yield none("sound with a cover.mp4", _sound_with_cover, 0)
    yield none("no streams.mp4", _bytes(last[ftyp] + struct.pack(">I4s", 8, b"moov")), NO_VIDEO)
    yield none("no track.mp4", _bytes(last[ftyp] + _renamed(last[moov], b"trak", b"free")), NO_VIDEO)
    yield none("no frames.mp4", partial(_no_frames), NO_VIDEO)
    yield none("no frames.mkv", partial(_no_frames), NO_MEDIA)
    yield none("unknown codec.mp4", _bytes(_renamed(last, b"avc1", b"zzzz")), "its video codec is unknown here")


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
