"""Films that are whole and odd: codecs, pixels, sizes, times, streams, names."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from media_damage import EXACT, Bytes, two_colours
from media_files import BLUE, GREEN, RED, Colour
from odd_films import Odd, containing, in_container, renamed


def recipes(whole: Bytes) -> Iterator[Odd]:
    """Yield all of them; `whole` holds plain films by suffix."""
    for kind in (_codecs(), _pictures(), _times(), _streams(whole), _names(whole)):
        yield from kind


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
    yield Odd("codec gif.mkv", "codecs", in_container(".gif", codec="gif", pix_fmt="rgb8", b_frames=0), 2)
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
    yield Odd("no cues.mkv", kind, containing(_without(whole[".mkv"], b"\x1c\x53\xbb\x6b")), 2)
    yield Odd("no index.avi", kind, containing(renamed(whole[".avi"], b"idx1", b"JUNK")), 2)
    yield Odd("garbage behind.mp4", kind, containing(whole[".mp4"] + bytes(range(256)) * 400), 2)
    yield Odd("garbage before.ts", kind, containing(b"G" + bytes(99) + whole[".ts"]), 2)
    yield Odd("twice in one.ts", kind, containing(whole[".ts"] * 2), 2, damaged=True)


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


def _names(whole: Bytes) -> Iterator[Odd]:
    kind = "names and suffixes"

    def named(name: str, suffix: str, number: int) -> Odd:
        return Odd(name, kind, containing(whole[suffix] + bytes(number)), 2)  # of different bytes

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
