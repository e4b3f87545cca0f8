"""Odd and broken sound files as recipes, each with what becomes of it. Deterministic: the same bytes each time.

What works is a tone of 440 Hz, or silence, of a length that is known: wrong rates, byte orders, channels and clocks
would be heard.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import av
import numpy as np
import picture_files
from av.stream import Disposition
from media_damage import EXACT, two_colours
from numpy.typing import NDArray

PITCH = 440.0  # Hz
SECONDS = 1.5  # of a whole file
NO_MEDIA = "is not a media file, or its header is damaged or cut off"
NOTHING = "none of its sound can be decoded (damaged or cut off)"
NO_SOUND = "has no sound"
NO_CODEC = "its audio codec is unknown here"

Make = Callable[[Path], object]


@dataclass(frozen=True)
class OddSound:
    """A file and what becomes of it.

    `reason` is why it cannot be used; "" where it works. Then it is of a `medium`, and has so many `seconds` of sound,
    give or take `within`: a tone, or silence where it is not `is_loud`. Where reading stops in a `damaged` file is for
    FFmpeg to decide: it has at most so many seconds.
    """

    name: str
    kind: str
    make: Make
    seconds: float = SECONDS
    reason: str = ""
    within: float = 0.12
    is_loud: bool = True
    damaged: bool = False
    medium: str = "audio"


def recipes() -> list[OddSound]:
    """Return all of them."""
    kinds = (_codecs, _rates, _samples, _short, _with_pictures, _tags, _times, _names, _cut, _lying, _nothing)
    return [sound for kind in kinds for sound in kind()]


def write(folder: Path) -> list[OddSound]:
    """Write every file into a folder (made if need be) and return what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    sounds = recipes()
    for sound in sounds:
        sound.make(folder / sound.name)
    return sounds


def tone(rate: int, seconds: float = SECONDS, channels: int = 1) -> NDArray[np.int16]:
    """The tone (N, channels) that is to be heard."""
    wave = 12_000 * np.sin(2 * np.pi * PITCH * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave.astype(np.int16)[:, None], channels, axis=1)


# Files that are whole


def encoded(
    target: Path | io.BytesIO,
    codec: str,
    rate: int = 16_000,
    layout: str = "mono",
    sample_format: str | None = None,
    bit_rate: int = 0,
    container: str | None = None,
    seconds: float = SECONDS,
    start: float = 0.0,
    tags: tuple[tuple[str, str], ...] = (),
    cover: bytes = b"",
    attachment: bytes = b"",
    **options: str,
) -> None:
    """Write a recording of the tone by one of FFmpeg's encoders; `cover` and `attachment` are the JPEG files of
    pictures, and `options` are the container's."""
    file = str(target) if isinstance(target, Path) else target
    with av.open(file, "w", format=container, container_options={**EXACT, **options}) as output:
        output.metadata.update(tags)
        track = output.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})  # of the vorbis encoder
        track.codec_context.flags |= av.codec.context.Flags.bitexact
        if bit_rate:
            track.bit_rate = bit_rate
        if sample_format:
            track.format = sample_format
        picture = _cover_track(output) if cover else None
        if attachment:
            output.add_attachment("cover.jpg", "image/jpeg", attachment)
        output.start_encoding()
        if picture is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, picture.time_base
            output.mux(packet)
        samples = tone(rate, seconds, len(track.layout.channels))
        resampler = av.AudioResampler(track.format.name, layout, rate, frame_size=track.frame_size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(track.encode(part))
        output.mux(track.encode())


def _cover_track(output: av.container.OutputContainer) -> av.VideoStream:
    picture = output.add_stream("mjpeg", rate=1)
    picture.width, picture.height, picture.pix_fmt = *picture_files.SIZE, "yuvj420p"
    picture.disposition = Disposition.attached_pic
    return picture


@cache
def whole(suffix: str, codec: str, **how: object) -> bytes:
    """The bytes of a recording."""
    buffer = io.BytesIO()
    buffer.name = f"a{suffix}"  # says the container
    encoded(buffer, codec, **how)  # type: ignore[arg-type]
    return buffer.getvalue()


def wave(
    samples: NDArray[np.generic],
    rate: int = 16_000,
    tag: int = 1,
    bits: int = 0,
    length: int | None = None,
    align: int | None = None,
) -> bytes:
    """A WAV file of samples (N, channels) as they lie in memory.

    Args:
        samples: numbers of the type that is stored.
        rate: samples a second, as the header says.
        tag: format of the samples: 1 whole numbers, 3 floating point.
        bits: of a sample, as the header says; 0: as many as it has.
        length: bytes of samples, as the header says; None: as many as there are.
        align: bytes of a sample of all channels, as the header says; None: as many as there are.
    """
    data, channels = samples.tobytes(), samples.shape[1]
    length = len(data) if length is None else length
    align = samples.itemsize * channels if align is None else align
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits or 8 * samples.itemsize)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", min(len(head) + length, 2**32 - 1)) + head + data


def _bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


# Odd and right


def _codecs() -> Iterator[OddSound]:
    table = [
        ("aac adts.aac", "aac", {}),
        ("aac.m4a", "aac", {}),
        ("alac.m4a", "alac", {}),
        ("audio book.m4b", "aac", {"container": "ipod"}),
        ("ac3.ac3", "ac3", {"rate": 48_000, "layout": "stereo"}),
        ("eac3.eac3", "eac3", {"rate": 48_000, "layout": "stereo"}),
        ("amr.amr", "libopencore_amrnb", {"rate": 8_000}),
        ("mp2.mp2", "mp2", {}),
        ("mp3.mp3", "libmp3lame", {}),
        ("flac.flac", "flac", {}),
        ("opus.opus", "libopus", {"rate": 48_000}),
        ("vorbis.ogg", "vorbis", {"rate": 48_000, "layout": "stereo"}),
        ("flac.oga", "flac", {"container": "ogg"}),
        ("opus.weba", "libopus", {"rate": 48_000, "container": "webm"}),
        ("wma2.wma", "wmav2", {"rate": 44_100, "bit_rate": 64_000}),
        ("wma1.wma", "wmav1", {"rate": 44_100, "bit_rate": 64_000}),
        ("wavpack.wv", "wavpack", {}),
        ("tta.tta", "tta", {}),
        ("real.ra", "real_144", {"rate": 8_000, "container": "rm"}),
        ("alaw.wav", "pcm_alaw", {"rate": 8_000}),
        ("mulaw.au", "pcm_mulaw", {"rate": 8_000}),
        ("adpcm ms.wav", "adpcm_ms", {}),
        ("adpcm ima.wav", "adpcm_ima_wav", {}),
        ("adpcm.aifc", "adpcm_ima_qt", {"container": "aiff"}),
        ("g726.wav", "g726", {"rate": 8_000}),
        ("g722.wav", "g722", {}),
        ("wave 64.w64", "pcm_s16le", {}),
        ("mp3 in matroska.mka", "libmp3lame", {}),
        ("aac in transport.m4a", "aac", {"container": "mpegts"}),
        ("voc.voc", "pcm_u8", {}),
        ("caf.caf", "pcm_s16be", {}),
    ]
    for name, codec, how in table:
        yield OddSound(name, "codecs", partial(encoded, codec=codec, **how))  # type: ignore[arg-type]


def _rates() -> Iterator[OddSound]:
    def odd(name: str, make: Make, **how: object) -> OddSound:
        return OddSound(name, "rates and channels", make, **how)  # type: ignore[arg-type]

    for rate in (4_000, 11_025, 22_255, 192_000, 384_000):
        yield odd(f"{rate} a second.wav", _bytes(wave(tone(rate), rate)))
    yield odd("96000 a second.flac", partial(encoded, codec="flac", rate=96_000))
    for layout in ("2.1", "5.1", "7.1"):
        yield odd(f"{layout}.flac", partial(encoded, codec="flac", rate=48_000, layout=layout))
    yield odd("5.1.ac3", partial(encoded, codec="ac3", rate=48_000, layout="5.1(side)"))
    for count in (3, 9, 16, 65):  # what FFmpeg has no layout for is a mean
        yield odd(f"{count} channels.wav", _bytes(wave(tone(8_000, channels=count), 8_000)))
    # Speech on one channel alone is halved, and never lost.
    one = tone(16_000, channels=2)
    one[:, 0] = 0
    yield odd("one channel silent.wav", _bytes(wave(one)))
    yield odd("changes midway.mp3", _bytes(_other_rate_behind()), seconds=2 * SECONDS, within=0.25)


def _other_rate_behind() -> bytes:
    """Two MP3 files in one: 16,000 samples a second, then 44,100 of two channels."""
    return whole(".mp3", "libmp3lame") + whole(".mp3", "libmp3lame", rate=44_100, layout="stereo")


def _samples() -> Iterator[OddSound]:
    def odd(name: str, make: Make, **how: object) -> OddSound:
        return OddSound(name, "samples", make, **how)  # type: ignore[arg-type]

    whole_numbers = tone(16_000)
    share = whole_numbers.astype(np.float64) / 32_768
    yield odd("8 bits.wav", _bytes(wave(((share + 1) * 127).astype(np.uint8))))
    yield odd("24 bits.wav", partial(encoded, codec="pcm_s24le"))
    yield odd("32 bits.wav", _bytes(wave(whole_numbers.astype("<i4") << 16)))
    yield odd("32 bits.aiff", partial(encoded, codec="pcm_s32be"))
    yield odd("float.wav", _bytes(wave(share.astype("<f4"), tag=3)))
    yield odd("double.wav", _bytes(wave(share.astype("<f8"), tag=3)))
    yield odd("louder than full.wav", _bytes(wave((share * 2).astype("<f4"), tag=3)))
    broken = share.astype("<f4")
    broken[4_000:4_100] = np.nan
    broken[8_000:8_100] = np.inf
    yield odd("no numbers.wav", _bytes(wave(broken, tag=3)))
    yield odd("nothing but no numbers.wav", _bytes(wave(np.full_like(broken, np.nan), tag=3)), is_loud=False)
    yield odd("silence.wav", _bytes(wave(np.zeros((48_000, 1), np.int16))), seconds=3, is_loud=False)
    yield odd("a constant.wav", _bytes(wave(np.full((48_000, 1), 9_000, np.int16))), seconds=3, is_loud=False)
    yield odd("24 bits.flac", partial(encoded, codec="flac", sample_format="s32"))


def _short() -> Iterator[OddSound]:
    def odd(name: str, make: Make, seconds: float, reason: str = "") -> OddSound:
        return OddSound(name, "short", make, seconds, reason, is_loud=False)

    yield odd("one sample.wav", _bytes(wave(tone(16_000)[:1])), 0)
    yield odd("no sample.wav", _bytes(wave(tone(16_000)[:0])), 0, NOTHING)
    yield odd("no sample.flac", _bytes(_without_frames(whole(".flac", "flac"))), 0, NOTHING)
    yield odd("one frame.mp3", partial(encoded, codec="libmp3lame", seconds=0.02), 0.1)
    yield odd("header alone.ogg", _bytes(_pages(whole(".ogg", "flac", container="ogg"))[0]), 0, NO_MEDIA)
    yield odd("header alone.m4a", partial(_no_packets, codec="aac"), 0, NO_SOUND)


def _without_frames(flac: bytes) -> bytes:
    return flac[: flac.index(b"\xff\xf8")]


def _without_padding(flac: bytes) -> bytes:
    """A FLAC file of its first block of metadata and its frames."""
    return flac[:4] + b"\x80" + flac[5:42] + flac[flac.index(b"\xff\xf8") :]


def _many_pages() -> bytes:
    """An Opus file of pages of a tenth of a second."""
    return whole(".opus", "libopus", rate=48_000, page_duration="100000")


def _pages(ogg: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    return [b"OggS" + page for page in ogg.split(b"OggS")[1:]]


def _no_packets(path: Path, codec: str) -> None:
    with av.open(str(path), "w", container_options=EXACT) as output:
        output.add_stream(codec, rate=16_000, layout="mono")
        output.start_encoding()


def _with_pictures() -> Iterator[OddSound]:
    def odd(name: str, make: Make, **how: object) -> OddSound:
        return OddSound(name, "pictures beside it", make, **how)  # type: ignore[arg-type]

    jpeg = picture_files.jpeg()
    mp3 = whole(".mp3", "libmp3lame")
    yield odd("cover.m4a", partial(encoded, codec="aac", container="mp4", cover=jpeg))
    yield odd("cover.flac", partial(encoded, codec="flac", cover=jpeg))
    yield odd("cover.mka", partial(encoded, codec="flac", attachment=jpeg))
    yield odd("cover.mp3", _bytes(_id3(_apic(jpeg)) + mp3))
    yield odd("cover of 5 MB.mp3", _bytes(_id3(_apic(jpeg + bytes(5_000_000))) + mp3))
    yield odd("cover that is a bomb.mp3", _bytes(_id3(_apic(picture_files.png_bomb(), "png")) + mp3))
    yield odd("cover that is none.mp3", _bytes(_id3(_apic(b"no picture")) + mp3))
    yield odd("two covers.mp3", _bytes(_id3(_apic(jpeg) + _apic(jpeg, kind=4)) + mp3))
    yield odd("cover that is called a film.mp4", partial(encoded, codec="aac", cover=jpeg))
    film = partial(two_colours, sound=True)
    yield odd("film.mp3", partial(_called, make=film, suffix=".mp4"), seconds=4, is_loud=False, medium="video")


def _called(path: Path, make: Make, suffix: str) -> None:
    """Another kind of file under this name."""
    draft = path.with_name(f".draft{suffix}")
    make(draft)
    draft.rename(path)


def _id3(frames: bytes, size: int | None = None, version: int = 3) -> bytes:
    """An ID3v2 tag; its header says `size` bytes."""
    size = len(frames) if size is None else size
    return b"ID3" + bytes([version, 0, 0, *(size >> shift & 127 for shift in (21, 14, 7, 0))]) + frames


def _frame(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">IH", len(content), 0) + content


def _apic(picture: bytes, form: str = "jpeg", kind: int = 3) -> bytes:
    return _frame(b"APIC", b"\0image/" + form.encode() + bytes([0, kind, 0]) + picture)


def _tags() -> Iterator[OddSound]:
    def odd(name: str, content: bytes, **how: object) -> OddSound:
        return OddSound(name, "tags", _bytes(content), **how)  # type: ignore[arg-type]

    mp3 = whole(".mp3", "libmp3lame")
    title = _frame(b"TIT2", b"\0A title")
    yield odd("tags alone.mp3", _id3(title), seconds=0, reason=NO_MEDIA)
    yield odd("an old tag alone.mp3", b"TAG" + bytes(125), seconds=0, reason=NO_MEDIA)
    yield odd("no text.mp3", _id3(_frame(b"TIT2", b"\3\xff\xfe\xfd") + _frame(b"TPE1", b"\1\xff\xfe\0\xd8")) + mp3)
    yield odd("a tag twice.mp3", _id3(title) + _id3(title) + mp3)
    yield odd("a tag that ends too late.mp3", _id3(title, size=len(mp3) // 2) + mp3, damaged=True)
    yield odd("a tag of 256 MB.mp3", _id3(title, size=2**28 - 1) + mp3, seconds=0, reason=NO_MEDIA)
    yield odd("a frame of 4 GB.mp3", _id3(b"TIT2\xff\xff\xff\xff\0\0" + b"\0A title") + mp3)
    yield odd("padding of 3 MB.mp3", _id3(title + bytes(3_000_000)) + mp3)
    yield odd("an old tag behind.mp3", mp3 + b"TAG" + b"A title".ljust(125, b"\0"))
    yield odd("dates that cannot be.m4a", whole(".m4a", "aac", tags=(("creation_time", "9999-99-99T99:99:99Z"),)))
    yield odd("id3 before.flac", _id3(title) + whole(".flac", "flac"))


def _times() -> Iterator[OddSound]:
    def odd(name: str, make: Make, **how: object) -> OddSound:
        return OddSound(name, "times", make, **how)  # type: ignore[arg-type]

    one, other = (whole(".ogg", "flac", container="ogg", rate=rate) for rate in (16_000, 48_000))
    # FFmpeg goes on behind a change of stream where the codec's settings are the same.
    yield odd("starts after a day.mka", partial(encoded, codec="flac", start=86_400.0))
    yield odd("chained.ogg", _bytes(one + one), seconds=2 * SECONDS)
    yield odd("chained with another rate.ogg", _bytes(one + other))
    mp3 = whole(".mp3", "libmp3lame")
    yield odd("joined.mp3", _bytes(mp3 * 3), seconds=3 * SECONDS, within=0.5)
    adts = whole(".aac", "aac")
    yield odd("joined.aac", _bytes(adts * 2), seconds=2 * SECONDS, within=0.3)
    transport = whole(".ts", "aac", container="mpegts")
    yield odd("starts again.m4a", _bytes(transport * 2), seconds=2 * SECONDS, within=0.3)


def _names() -> Iterator[OddSound]:
    def odd(name: str, content: bytes, **how: object) -> OddSound:
        return OddSound(name, "names and suffixes", _bytes(content), **how)  # type: ignore[arg-type]

    flac = whole(".flac", "flac")
    yield odd("wave inside.mp3", wave(tone(16_000)[:, :1]))
    yield odd("mp3 inside.wav", whole(".mp3", "libmp3lame", rate=44_100))
    yield odd("flac inside.jpg", flac + b"\0")
    yield odd("flac inside.mp4", flac + b"\0\0")
    yield odd("ogg inside.m4a", whole(".ogg", "flac", container="ogg", rate=24_000))
    yield odd("picture inside.mp3", picture_files.jpeg(), seconds=0, medium="image")
    yield odd("LOUD.WAV", wave(tone(16_000, channels=2)))
    yield odd("录音 🎙.flac", flac + bytes(3))


# Broken


def _cut() -> Iterator[OddSound]:
    def cut(name: str, content: bytes, share: float, reason: str = "") -> OddSound:
        seconds = 0 if reason else share * SECONDS
        return OddSound(f"cut {name}", "cut off", _bytes(content[: int(share * len(content))]), seconds, reason, 0.2)

    yield cut("in the middle.mp3", whole(".mp3", "libmp3lame"), 0.5)
    yield cut("in the middle.wav", wave(tone(16_000)), 0.5)
    yield cut("in the middle.flac", _without_padding(whole(".flac", "flac")), 0.5)
    yield cut("in the middle.aac", whole(".aac", "aac"), 0.5)
    yield cut("in the middle.opus", _many_pages(), 0.5)
    yield cut("in the middle.mka", whole(".mka", "flac"), 0.5)
    yield cut("index last.m4a", whole(".m4a", "aac"), 0.7, NO_MEDIA)
    yield cut("in the header.wav", wave(tone(16_000)), 0.0006, NO_MEDIA)
    yield cut("in the header.flac", whole(".flac", "flac"), 0.003, NO_MEDIA)
    yield cut("in the header.wma", whole(".wma", "wmav2", rate=44_100, bit_rate=64_000), 0.005, NO_MEDIA)

    def damaged(name: str, content: bytes, start: float, end: float, filling: bytes = b"\0") -> OddSound:
        first, last = (int(share * len(content)) for share in (start, end))
        content = content[:first] + (filling * (last - first))[: last - first] + content[last:]
        return OddSound(name, "damaged in the middle", _bytes(content), damaged=True)

    for suffix, codec in ((".mp3", "libmp3lame"), (".flac", "flac"), (".aac", "aac"), (".mka", "flac")):
        yield damaged(f"zeros{suffix}", whole(suffix, codec), 0.4, 0.6)
    yield damaged("ones.m4a", whole(".m4a", "aac"), 0.3, 0.5, b"\xff")
    yield damaged("garbage.ogg", whole(".ogg", "flac", container="ogg"), 0.4, 0.5, bytes(range(256)))
    pages = _pages(_many_pages())
    yield OddSound(
        "a page is away.opus", "damaged in the middle", _bytes(b"".join(pages[:2] + pages[3:])), damaged=True
    )
    before = bytes(range(256)) * 20
    yield OddSound("garbage before.mp3", "damaged in the middle", _bytes(before + whole(".mp3", "libmp3lame")))
    yield OddSound("garbage behind.flac", "damaged in the middle", _bytes(whole(".flac", "flac") + before))


def _lying() -> Iterator[OddSound]:
    def lie(name: str, content: bytes, seconds: float = SECONDS, reason: str = "", **how: object) -> OddSound:
        return OddSound(f"claims {name}", "false claims", _bytes(content), seconds, reason, **how)  # type: ignore[arg-type]

    samples = tone(16_000)
    most = 2**32 - 1
    yield lie("4 GB of samples.wav", wave(samples, length=most))
    yield lie("no samples, as streams do.wav", wave(samples, length=0))
    yield lie("no length.flac", _replaced(whole(".flac", "flac"), 18 + 4, bytes(4), 0x0F))
    yield lie("36 hours.flac", _replaced(whole(".flac", "flac"), 18 + 4, b"\xff" * 4, 0x0F))
    yield lie("0 samples a second.wav", wave(samples, rate=0), 0, NO_MEDIA)
    yield lie("4 billion samples a second.wav", wave(samples, rate=most), 0, NO_MEDIA)
    yield lie("268 million samples a second.wav", wave(samples, rate=1 << 28), 0, NOTHING)
    caf = whole(".caf", "pcm_s16be", seconds=0.3)
    yield lie("a gap behind each sample.caf", _replaced(caf, caf.index(b"desc") + 32, b"\0\4\0\0"), 0, is_loud=False)
    yield lie("1 sample a second.wav", wave(samples[:20], rate=1), 20, within=1.1, is_loud=False)
    yield lie("no channel.wav", _replaced(wave(samples), 22, bytes(2)), 0, NOTHING)
    yield lie("65535 channels.wav", _replaced(wave(samples), 22, b"\xff\xff"), 0, NOTHING)
    yield lie("samples of 0 bits.wav", _replaced(wave(samples), 34, bytes(2)), 0, NO_CODEC)
    yield lie("an unknown codec.wav", _replaced(wave(samples), 20, b"\xee\xee"), 0, NO_CODEC)
    yield lie("blocks of no bytes.wav", wave(samples, align=0))
    m4a = whole(".m4a", "aac")
    yield lie("4 billion samples.m4a", _replaced(m4a, m4a.index(b"stsz") + 12, b"\xff" * 4), 0, NO_MEDIA)
    yield lie("an unknown codec.m4a", m4a.replace(b"mp4a", b"zzzz"))  # and describes a known one
    yield lie("no time scale.m4a", _replaced(m4a, m4a.index(b"mdhd") + 16, bytes(4)), damaged=True)


def _replaced(content: bytes, start: int, value: bytes, bits: int = 0) -> bytes:
    """Other bytes from `start` on, and before them the `bits` (a mask) of another byte, from the first of these."""
    changed = bytearray(content)
    changed[start : start + len(value)] = value
    changed[start - 1] = (changed[start - 1] & ~bits) | (value[0] & bits)
    return bytes(changed)


def _nothing() -> Iterator[OddSound]:
    def none(name: str, content: bytes, reason: str = NO_MEDIA) -> OddSound:
        return OddSound(name, "no sound", _bytes(content), 0, reason)

    chance = np.random.default_rng(0)
    yield none("empty.mp3", b"", "is empty (0 bytes)")
    yield none("one byte.wav", b"R")
    yield none("text.mp3", b"these are words, and no recording\n" * 99)
    yield none("page.m4a", b"<!doctype html><title>404</title>" + b"<p>not found</p>" * 99)
    yield none("nothing but zeros.mp3", bytes(50_000))
    yield none("random.flac", chance.bytes(50_000), NOTHING)
    yield none("playlist.mp3", b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:1/a.mp3\n")
    yield none("archive.wma", b"PK\x03\x04" + chance.bytes(5_000))
