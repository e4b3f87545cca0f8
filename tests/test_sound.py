"""Sound as 16 kHz mono on a player's clock: where it is, in pieces, from any second, in processes of their own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import media_files as files
import numpy as np
import pytest
from av.stream import Disposition

from mmi_tvr.errors import MediaError, UnreadableFile
from mmi_tvr.media.guarded import DecoderPool, Limits
from mmi_tvr.media.sound import RATE, SECONDS, SoundPiece, read_sound

CODECS = {
    "mp4": "aac",
    "mkv": "libopus",
    "ogg": "libopus",
    "mp3": "mp3",
    "wav": "pcm_s16le",
    "flac": "flac",
    "ts": "aac",
}


def tone(seconds: float, rate: int, pitch: float = 440.0) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (12_000 * np.sin(2 * np.pi * pitch * times)).astype(np.int16)


def recording(
    path: Path,
    parts: list[tuple[float, np.ndarray]],
    rate: int = 48_000,
    layout: str = "stereo",
    codec: str | None = None,
    flags: tuple[Disposition, ...] = (Disposition.default,),
    picture: bool = False,
) -> Path:
    """Write a recording: `parts` are samples and the second at which they begin; a track for each of `flags`, the
    second one an octave higher, and so on; with `picture`, black from 0:00 on besides."""
    with av.open(str(path), "w") as output:
        film = output.add_stream("libx264", rate=10) if picture else None
        tracks = [output.add_stream(codec or CODECS[path.suffix[1:]], rate=rate, layout=layout) for _ in flags]
        for track, flag in zip(tracks, flags, strict=True):
            track.disposition = flag
        if film:
            film.width = film.height = 16
            film.pix_fmt = "yuv420p"
            for number in range(40):
                frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                output.mux(film.encode(frame))
            output.mux(film.encode())
        for number, track in enumerate(tracks):
            resampler = av.AudioResampler(
                format=track.format.name, layout=layout, rate=rate, frame_size=track.frame_size
            )
            for start, samples in parts:
                copies = (
                    np.repeat(samples[:: 2**number], 2)[None] if layout == "stereo" else samples[None, :: 2**number]
                )
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(copies), format="s16", layout=layout)
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate)
                for part in resampler.resample(frame):
                    output.mux(track.encode(part))
            for part in resampler.resample(None):
                output.mux(track.encode(part))
            output.mux(track.encode())
    return path


def onsets(pieces: list[SoundPiece]) -> list[float]:
    """The seconds at which it becomes loud."""
    seconds = []
    for piece in pieces:
        loud = np.abs(piece.samples.astype(int)) > 3000
        nearby = np.convolve(loud, np.ones(RATE // 50), "same") > 0
        seconds += [
            piece.start + number / RATE for number in np.flatnonzero(np.diff(nearby.astype(int), prepend=0) == 1)
        ]
    return seconds


@pytest.mark.parametrize("suffix", CODECS)
def test_a_tone_is_at_its_second_in_every_format(suffix: str, tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(96_000, np.int16), tone(0.5, 48_000), np.zeros(24_000, np.int16)])
    pieces = list(read_sound(recording(tmp_path / f"a.{suffix}", [(0.0, samples)])))
    assert onsets(pieces) == [pytest.approx(2.0, abs=0.05)]
    assert pieces[0].start == pytest.approx(0, abs=0.03)
    assert pieces[-1].end == pytest.approx(3.0, abs=0.1)


def test_sound_that_begins_later_than_the_picture_is_later(tmp_path: Path) -> None:
    (piece,) = read_sound(recording(tmp_path / "a.mkv", [(1.5, tone(1.0, 48_000))], picture=True))
    assert piece.start == pytest.approx(1.5, abs=0.03)


def test_a_gap_ends_a_piece_and_a_short_one_is_silence(tmp_path: Path) -> None:
    parts = [(0.0, tone(0.5, 48_000)), (1.0, tone(0.5, 48_000)), (60.0, tone(0.5, 48_000))]
    path = recording(tmp_path / "a.mkv", parts, codec="pcm_s16le")
    pieces = list(read_sound(path))
    assert [piece.start for piece in pieces] == [pytest.approx(0, abs=0.03), pytest.approx(60, abs=0.03)]
    assert onsets(pieces) == [pytest.approx(second, abs=0.03) for second in (0, 1, 60)]


@pytest.mark.parametrize(
    ("flags", "track"),
    [
        ((Disposition(0), Disposition.default), 1),
        ((Disposition.comment, Disposition(0)), 1),
        ((Disposition(0), Disposition(0)), 0),
        ((Disposition.visual_impaired, Disposition.comment), 0),
    ],
)
def test_of_several_tracks_the_main_one_is_listened_to(
    flags: tuple[Disposition, ...], track: int, tmp_path: Path
) -> None:
    path = recording(
        tmp_path / "a.mkv", [(0.0, tone(1.0, RATE))], rate=RATE, layout="mono", codec="pcm_s16le", flags=flags
    )
    (piece,) = read_sound(path)
    spectrum = np.abs(np.fft.rfft(piece.samples[: RATE // 2]))
    assert int(spectrum.argmax() * 2) == pytest.approx(440 * 2**track, rel=0.02)


def test_a_long_recording_comes_in_pieces_and_from_any_second(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 70 * 8000).astype(np.int16)
    path = recording(tmp_path / "a.flac", [(0.0, samples)], rate=8000, layout="mono")
    pieces = list(read_sound(path))
    assert [len(piece.samples) / RATE for piece in pieces] == [SECONDS, SECONDS, pytest.approx(10, abs=0.01)]
    whole = np.concatenate([piece.samples for piece in pieces])
    later = list(read_sound(path, 61.25))
    assert later[0].start == pytest.approx(61.25, abs=1e-4)
    rest = np.concatenate([piece.samples for piece in later])
    expected = whole[round(61.25 * RATE) :][: len(rest)].astype(int)
    assert np.abs(rest - expected)[RATE // 10 :].max() < 100  # the resampler began elsewhere
    assert list(read_sound(path, 80.0)) == []


def test_workers_hand_out_what_is_read_here(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.flac", [(0.0, tone(40, 8000))], rate=8000, layout="mono")
    other = recording(tmp_path / "b.flac", [(0.0, tone(1, 8000))], rate=8000, layout="mono")
    decoders = DecoderPool(Limits(workers=1))
    try:
        pieces = []
        for piece in decoders.sound(path):
            pieces.append(piece)
            assert len(list(decoders.sound(other))) == 1  # takes the worker meanwhile
        expected = list(read_sound(path))
        assert [piece.start for piece in pieces] == [piece.start for piece in expected]
        for piece, same in zip(pieces, expected, strict=True):
            assert np.abs(piece.samples.astype(int) - same.samples)[RATE // 10 :].max() < 100
        assert next(decoders.sound(path)).end == 30
        assert next(decoders.sound(path, 10.0)).start == pytest.approx(10)  # not what comes next of that file
        with pytest.raises(UnreadableFile, match="no such file"):
            list(decoders.sound(tmp_path / "nothing.wav"))
        with pytest.raises(MediaError, match="not a media file"):
            list(decoders.sound(Path(__file__)))
    finally:
        decoders.stop()


def test_damaged_sound_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mp3", [(0.0, tone(4, 48_000))])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    assert list(read_sound(path))[-1].end == pytest.approx(4, abs=0.3)
    path.write_bytes(content[: len(content) // 4])
    assert 0.5 < list(read_sound(path))[-1].end < 2


def test_a_film_without_sound_has_no_pieces(tmp_path: Path) -> None:
    assert list(read_sound(files.make_video(tmp_path / "a.mp4", seconds=0.2))) == []
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(MediaError, match="is empty"):
        list(read_sound(tmp_path / "a.wav"))
