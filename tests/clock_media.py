"""Videos whose pictures show their own time, made to mislead about it, and a slow reference that reads them.

A picture has ten vertical bars: the tenths of a second since its recording began, in binary, the most significant bit
left, bright for one.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.format import Flags

BARS, WIDTH, HEIGHT = 10, 160, 32
FPS = 10
EXACT = {"threads": "1", "strict": "-1"}  # any rate, the same bytes
Frame = tuple[float, float]  # second on a player's clock, and the second that the picture shows
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Recipe:
    """A file, how it is made, and the parts that it is made of: (second on the clock, second shown, length).

    `doubt` is by how many seconds the reference may be wrong near a join, where decoders lose pictures.
    """

    name: str
    make: Make
    parts: tuple[tuple[float, float, float], ...]
    doubt: float = 0.0

    def frames(self) -> list[Frame]:
        """Return what the file was made of."""
        return [
            (second + number / FPS, picture + number / FPS)
            for second, picture, length in self.parts
            for number in range(round(length * FPS))
        ]


def bars(seconds: float, scale: int = 1) -> np.ndarray:
    """Return the picture (H, W, 3) that shows a time."""
    code = round(seconds * 10)
    row = [255 if code >> bit & 1 else 0 for bit in reversed(range(BARS))]
    line = np.repeat(np.array(row, np.uint8), scale * WIDTH // BARS)
    return np.broadcast_to(line[None, :, None], (scale * HEIGHT, scale * WIDTH, 3)).copy()


def shown(pixels: np.ndarray) -> float:
    """Return the time that a picture shows, whatever its size."""
    height, width = pixels.shape[:2]
    middles = [(2 * bar + 1) * width // (2 * BARS) for bar in range(BARS)]
    levels = [pixels[height // 3 : 2 * height // 3, x - 1 : x + 2].mean() for x in middles]
    return sum(int(level > 110) << bit for level, bit in zip(levels, reversed(range(BARS)), strict=True)) / 10


def reference(path: Path) -> list[Frame]:
    """Decode a file from its first packet to its last, in order, and tell the time as a player does.

    0:00 is the start of the container, but for a format whose times may jump and whose film starts ten seconds later:
    there that is the start of a later track. A frame that falls behind the one before it goes on one frame after that;
    so does one that comes ten seconds late in such a format. Of several tracks the one that has most frames counts;
    where one begins in the file behind the end of another, they are one. What no decoder takes is passed over. H.264 in
    AVI has no times of its own: frames are counted.
    """
    with av.open(str(path), options={"scan_all_pmts": "1"}) as container:
        may_jump = Flags.ts_discont in Flags(container.format.flags)
        counts = container.format.name == "avi" and container.streams.video[0].codec_context.name == "h264"
        origin = Fraction(container.start_time or 0, av.time_base)
        tracks: dict[int, list[Frame]] = {}
        places: dict[int, list[int]] = {}
        for packet in container.demux(video=tuple(range(len(container.streams.video)))):
            frames = tracks.setdefault(packet.stream.index, [])
            if packet.size:
                places.setdefault(packet.stream.index, []).append(packet.pos or 0)
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                continue
            for picture in pictures:
                stamp = picture.pts if picture.pts is not None else picture.dts
                time = float(stamp * packet.stream.time_base - origin)
                frames.append((time, shown(picture.to_ndarray(format="rgb24"))))
    order = sorted(places, key=lambda index: min(places[index]))
    if may_jump and all(max(places[one]) < min(places[two]) for one, two in pairwise(order)):
        frames = [frame for index in order for frame in tracks[index]]
    else:
        frames = max(tracks.values(), key=len)
    if counts:
        return [(number / FPS, picture) for number, (_, picture) in enumerate(frames)]
    if may_jump and frames[0][0] > 10:
        frames = [(time - frames[0][0], picture) for time, picture in frames]
    return _going_on(frames, may_jump)


def _going_on(frames: Sequence[Frame], may_jump: bool) -> list[Frame]:
    """Frames in the order in which they are decoded, on a clock that goes on."""
    result: list[Frame] = []
    late = 0.0
    for time, picture in frames:
        if result:
            ahead = time + late - result[-1][0]
            if ahead < -0.01 or (may_jump and ahead > 10):
                late += 1 / FPS - ahead
        result.append((time + late, picture))
    return result


def on_screen(frames: Sequence[Frame], second: float) -> float:
    """Return what is shown at a second: the last frame that has come up, or the first one."""
    return frames[max(0, bisect_right(frames, (second + 1e-6, 1e9)) - 1)][1]


def record(
    path: Path,
    start: float = 0.0,
    seconds: float = 4.0,
    codec: str = "libx264",
    gop: int = 10,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    clock: float = 0.0,
    sound: str | None = None,
    quiet: float = 0.0,
    every_key: bool = False,
    pixels: str = "yuv420p",
    times: Sequence[float] | None = None,
) -> Path:
    """Write a recording.

    Args:
        path: the container follows the suffix.
        start: the second that the first picture shows.
        seconds: its length.
        codec: of the pictures.
        gop: frames from one key frame to the next.
        b_frames: the most in a row.
        options: of the encoder.
        container_options: of the muxer.
        clock: the second at which the container has the first picture.
        sound: the codec of the sound, if there is any.
        quiet: the second at which the container has the first sound.
        every_key: whether the container calls every frame a key frame.
        pixels: their format.
        times: when the pictures come up, in seconds, instead of ten a second.
    """
    times = [number / FPS for number in range(round(seconds * FPS))] if times is None else times
    with av.open(str(path), "w", container_options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=FPS, options=EXACT | (options or {}))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, pixels, 400_000
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        stream.codec_context.time_base = Fraction(1, FPS)
        audio = output.add_stream(sound, rate=16_000, layout="mono") if sound else None
        packets = []
        for second in times:
            frame = av.VideoFrame.from_ndarray(bars(start + second), format="rgb24")
            frame.pts, frame.time_base = round((clock + second) * FPS), Fraction(1, FPS)
            packets += stream.encode(frame)
        packets += stream.encode()
        if audio is not None:
            packets += _silence(audio, quiet, clock + times[-1] + 1 / FPS)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            packet.is_keyframe = packet.is_keyframe or every_key
            output.mux(packet)
    return path


def _silence(stream: av.AudioStream, start: float, end: float) -> list[av.Packet]:
    size = stream.codec_context.frame_size or 1024
    kind = stream.codec_context.format.name
    packets = []
    for first in range(round(16_000 * start), round(16_000 * end), size):
        samples = np.zeros((1, size), np.float32 if kind.startswith("flt") else np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, first, Fraction(1, 16_000)
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def recipes() -> list[Recipe]:
    """Return all recipes; nothing is written."""
    return [*_key_frames(), *_tracks(), *_joined(), *_starts(), *_promises(), *_cut(), *_gaps(), *_honest()]


PLAIN = {"sc_threshold": "1000000000"}  # no key frames but those of the group's size
MPEG4 = {"codec": "mpeg4", "b_frames": 0, "options": PLAIN}
MPEG2 = {"codec": "mpeg2video", "options": PLAIN}
FLV1 = {"codec": "flv", "b_frames": 0, "options": PLAIN}
VP8 = {"codec": "libvpx", "b_frames": 0, "options": {"deadline": "realtime", "cpu-used": "8"}}
HEVC = {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=1:frame-threads=1", "preset": "ultrafast"}}
FRAGMENTS = {"container_options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}}
FREE = {"container_options": {"avoid_negative_ts": "disabled"}}
LIVE = {"container_options": {"live": "1"}}
WHOLE = ((0.0, 0.0, 4.0),)
Options = dict[str, object]


def _key_frames() -> list[Recipe]:
    """Key frames every two seconds; the container calls all frames so."""
    table: list[tuple[str, Options]] = [
        ("mpeg4.avi", MPEG4),
        ("mpeg4.mp4", MPEG4),
        ("mpeg4.mkv", MPEG4),
        ("mpeg4 fragments.mp4", {**MPEG4, **FRAGMENTS}),
        ("flv1.flv", FLV1),
        ("hevc.mp4", HEVC),
        ("hevc.mkv", HEVC),
        ("h264.mkv", {}),
        ("h264.avi", {}),
        ("vp8.webm", VP8),
        ("qtrle.mov", {"codec": "qtrle", "b_frames": 0, "pixels": "rgb24"}),
        ("msvideo1.avi", {"codec": "msvideo1", "b_frames": 0, "pixels": "rgb555le"}),
    ]
    return [Recipe(f"all keys {name}", partial(record, gop=20, every_key=True, **how), WHOLE) for name, how in table]


def _tracks() -> list[Recipe]:
    """A film, and beside it a larger preview of a few frames, or a still, as the first or the last track."""
    return [
        Recipe(
            f"{title} {'before' if first else 'behind'}{suffix}",
            partial(_two_tracks, frames=frames, first=first),
            WHOLE,
        )
        for suffix in (".mp4", ".mkv", ".ts")
        for title, frames in (("still", 1), ("preview", 5))
        for first in (False, True)
    ]


def _two_tracks(path: Path, frames: int, first: bool) -> None:
    with av.open(str(path), "w") as output:
        sides = {1: round(FPS * 4), 3: frames}  # by how much larger the pictures are
        streams = {}
        for scale in sorted(sides, reverse=first):
            stream = streams[scale] = output.add_stream("libx264", rate=FPS, options=EXACT)
            stream.width, stream.height, stream.pix_fmt = scale * WIDTH, scale * HEIGHT, "yuv420p"
        for number in range(max(sides.values())):
            for scale, stream in streams.items():
                if number < sides[scale]:
                    code = number / FPS if scale == 1 else 90.0
                    frame = av.VideoFrame.from_ndarray(bars(code, scale), format="rgb24")
                    frame.pts, frame.time_base = number, Fraction(1, FPS)
                    output.mux(stream.encode(frame))
        for stream in streams.values():
            output.mux(stream.encode())


_PROGRAM = {"mpegts_service_id": "2", "mpegts_start_pid": "0x12c", "mpegts_pmt_start_pid": "0x1001"}


def _joined() -> list[Recipe]:
    """Two recordings in one file: four seconds, and three that begin at 50 s."""
    table: list[tuple[str, Options, Options]] = [
        ("again h264.ts", {}, {}),
        ("again mpeg2.ts", MPEG2, MPEG2),
        ("again mpeg2.mpg", MPEG2, MPEG2),
        ("again mpeg2.vob", MPEG2, MPEG2),
        ("again vp8.ogv", VP8, VP8),
        ("again h264.mkv", {}, {}),
        ("again vp8 live.webm", {**VP8, **LIVE}, {**VP8, **LIVE}),
        ("again mpeg4 fragments.mp4", {**MPEG4, **FRAGMENTS}, {**MPEG4, **FRAGMENTS}),
        ("again mpeg4.avi", MPEG4, MPEG4),
        ("again with sound.ts", {"sound": "aac"}, {"sound": "aac"}),
        ("again after an hour.ts", {"clock": 3600.0}, {}),
        ("ahead h264.ts", {}, {"clock": 3600.0}),
        ("ahead mpeg2.mpg", MPEG2, {**MPEG2, "clock": 3600.0}),
        ("ahead with sound.ts", {"sound": "aac"}, {"sound": "aac", "clock": 3600.0, "quiet": 3600.0}),
        ("another id.ts", {}, {"container_options": {"mpegts_start_pid": "0x12c"}}),
        ("another id later.ts", {}, {"clock": 4.0, "container_options": {"mpegts_start_pid": "0x12c"}}),
        ("another id earlier.ts", {"clock": 100.0}, {"container_options": {"mpegts_start_pid": "0x12c"}}),
        ("another program.ts", {}, {"container_options": _PROGRAM}),
        ("another program earlier.ts", {"clock": 100.0}, {"container_options": _PROGRAM}),
    ]
    parts = ((0.0, 0.0, 4.0), (4.0, 50.0, 3.0))
    doubts = {"again mpeg4 fragments.mp4": 1.0, "again vp8.ogv": 0.2, "ahead mpeg2.mpg": 0.1}
    two = [
        Recipe(name, partial(_join, parts=parts, hows=(first, second)), parts, doubts.get(name, 0.0))
        for name, first, second in table
    ]
    many = tuple((number * 1.5, number * 10.0, 1.5) for number in range(6))
    return [
        *two,
        Recipe("six times h264.ts", partial(_join, parts=many, hows=({},) * 6), many),
        Recipe("six times mpeg2.vob", partial(_join, parts=many, hows=(MPEG2,) * 6), many),
    ]


def _join(path: Path, parts: Sequence[tuple[float, float, float]], hows: Sequence[Options]) -> None:
    drafts = [path.with_name(f".{number}{path.suffix}") for number in range(len(parts))]
    for draft, (_, start, seconds), how in zip(drafts, parts, hows, strict=True):
        record(draft, start, seconds, **how)
    path.write_bytes(b"".join(draft.read_bytes() for draft in drafts))
    for draft in drafts:
        draft.unlink()


def _starts() -> list[Recipe]:
    """Pictures that begin two seconds after the sound, or at odd times."""
    late = ((2.0, 0.0, 4.0),)
    table: list[tuple[str, Options, tuple[tuple[float, float, float], ...]]] = [
        ("late h264.mp4", {"sound": "aac", "clock": 2.0}, late),
        ("late h264.mkv", {"sound": "aac", "clock": 2.0}, late),
        ("late h264.ts", {"sound": "aac", "clock": 2.0}, late),
        ("late mpeg2.mpg", {**MPEG2, "sound": "mp2", "clock": 2.0}, late),
        ("late flv1.flv", {**FLV1, "sound": "aac", "clock": 2.0}, late),
        ("starts at an hour.ts", {"clock": 3600.0}, WHOLE),
        ("starts at an hour.mkv", {"clock": 3600.0}, WHOLE),
        ("starts below zero.ts", {"clock": -1.0, **FREE}, WHOLE),
        ("starts below zero.mkv", {"clock": -1.0}, WHOLE),
        ("wraps.ts", {"clock": 2**33 / 90_000 - 3.4}, WHOLE),
        ("wraps.mpg", {**MPEG2, "clock": 2**33 / 90_000 - 2.5}, WHOLE),
    ]
    return [Recipe(name, partial(record, **how), parts) for name, how, parts in table]


def _promises() -> list[Recipe]:
    """Headers that say one second."""
    return [
        Recipe("promises one second.flv", partial(_patched, change=_flv_duration, **FLV1), WHOLE),
        Recipe("promises one second.mkv", partial(_patched, change=_matroska_duration), WHOLE),
        Recipe("promises one second without cues.mkv", partial(_patched, change=_matroska_without_cues), WHOLE),
        Recipe("promises one second.mp4", partial(_patched, change=_mp4_durations), WHOLE),
        Recipe("promises one second fragments.mp4", partial(_patched, change=_mp4_durations, **FRAGMENTS), WHOLE),
        Recipe("promises one second.avi", partial(_patched, change=_avi_length, **MPEG4), WHOLE),
    ]


def _cut() -> list[Recipe]:
    """An edit list leaves a second and a half; the rest is still in the file."""
    return [
        Recipe(f"cut {name}", partial(_patched, change=_mp4_edit, **how), ((0.0, 0.0, 1.5),))
        for name, how in (("h264.mp4", {}), ("h264.mov", {"gop": 40}), ("hevc.mp4", HEVC))
    ]


def _patched(path: Path, change: Callable[[bytearray], None], **how: object) -> None:
    content = bytearray(record(path, **how).read_bytes())
    change(content)
    path.write_bytes(content)


def _flv_duration(content: bytearray) -> None:
    at = content.index(b"duration") + len(b"duration") + 1
    content[at : at + 8] = struct.pack(">d", 1.0)


def _matroska_duration(content: bytearray) -> None:
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 1000.0)


def _matroska_without_cues(content: bytearray) -> None:
    _matroska_duration(content)
    at = content.rindex(b"\x1c\x53\xbb\x6b")
    content[at + 3] = 0x6C


def _mp4_durations(content: bytearray) -> None:
    for box, scale, length in ((b"mvhd", 16, 20), (b"mdhd", 16, 20)):
        at = content.index(box)
        content[at + length : at + length + 4] = content[at + scale : at + scale + 4]


def _mp4_edit(content: bytearray) -> None:
    at = content.index(b"elst") + 12
    content[at : at + 4] = struct.pack(">I", 1500)  # of a thousand a second


def _avi_length(content: bytearray) -> None:
    at = content.index(b"strh") + 8 + 32
    content[at : at + 4] = struct.pack("<I", FPS)


def _gaps() -> list[Recipe]:
    """Nothing new for ten minutes: a picture that stays, as a player has it."""
    times = [number / FPS for number in (*range(20), *range(6000, 6020))]
    table: list[tuple[str, Options]] = [("h264.mkv", {}), ("h264.mp4", {}), ("vp8.webm", VP8), ("flv1.flv", FLV1)]
    parts = ((0.0, 0.0, 2.0), (600.0, 600.0 % 102.4, 2.0))
    return [Recipe(f"stays {name}", partial(record, times=times, **how), parts) for name, how in table]


def _honest() -> list[Recipe]:
    refresh = {"options": {"x264-params": "intra-refresh=1:keyint=10"}}
    uneven = [0.0, 0.1, 0.2, 0.8, 0.9, 1.7, 1.8, 1.9, 3.0, 3.9]
    open_groups = {"options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}}
    table: list[tuple[str, Options]] = [
        ("open groups hevc.mp4", HEVC),
        ("open groups hevc.ts", HEVC),
        ("open groups h264.mkv", open_groups),
        ("open groups mpeg2.ts", MPEG2),
        ("refreshed h264.mp4", refresh),
        ("refreshed h264.ts", refresh),
        ("b-frames.ts", {"b_frames": 4, "gop": 40}),
        ("mpeg4.ts", MPEG4),
        ("b-frames.flv", {"b_frames": 4}),
        ("b-frames mpeg4.avi", {**MPEG4, "b_frames": 2}),
        ("b-frames h264.avi", {"b_frames": 4, "gop": 20}),
        ("low delay h264.avi", {"b_frames": 0, "sound": "mp2"}),
    ]
    even = [Recipe(f"honest {name}", partial(record, **how), WHOLE) for name, how in table]
    return [
        *even,
        *(Recipe(f"uneven{suffix}", partial(record, times=uneven), ()) for suffix in (".mkv", ".mp4", ".ts")),
    ]
