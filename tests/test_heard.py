"""What is heard: stretches of a recording, where they are cut, and the real recogniser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import media_files as files
import numpy as np
import pytest
from fakes import FakeModel
from recognisers import DATA, Listener, hears, needs_whisper, texts
from test_sound import recording, tone

from mmi_tvr import plugins
from mmi_tvr.channels import _whisper, heard
from mmi_tvr.channels._whisper import Speech
from mmi_tvr.errors import MediaError, ModelNotFound, UsageError
from mmi_tvr.fulltext.index import TextIndex
from mmi_tvr.library import Library
from mmi_tvr.media.sound import RATE, SoundPiece, read_sound
from mmi_tvr.types import FloatArray, MediaFile, Passage


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes."""
    monkeypatch.setattr(heard, "STRETCH", 40)
    monkeypatch.setattr(heard, "_SEARCHED", 10)


def noise_and_words(seconds: int, at: Sequence[float]) -> np.ndarray:
    """Quiet noise with loud stretches of half a second."""
    samples = np.random.default_rng(0).integers(-900, 900, seconds * 8000).astype(np.int16)
    for second in at:
        samples[round(second * 8000) :][: 8000 // 2] = tone(0.5, 8000)
    return samples


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = noise_and_words(90, [3, 38, 46, 80])
    samples[round(33.0 * 8000) : round(33.4 * 8000)] = 0  # the quietest place to cut
    path = tmp_path_factory.mktemp("sound") / "a.flac"
    return recording(path, [(0.0, samples)], rate=8000, layout="mono")


def test_a_long_recording_is_heard_in_stretches_that_are_cut_where_it_is_quiet(long_recording: Path) -> None:
    listener = Listener()
    passages = list(hears(listener).moments(MediaFile(long_recording, "audio")))
    assert [start for start, _, _ in texts(passages)] == pytest.approx([3, 38, 46, 80], abs=0.15)
    assert passages[0].end == pytest.approx(33.2, abs=0.2)
    assert passages[0].start == 0
    assert [one.end for one in passages[:-1]] == [other.start for other in passages[1:]]
    assert passages[-1].end == pytest.approx(90, abs=0.01)
    assert max(listener.seconds) <= heard.STRETCH
    assert all(np.linalg.norm(moment.vector) == pytest.approx(1) for one in passages for moment in one.moments)


def test_a_recording_goes_on_where_it_was_cut_off(long_recording: Path, tmp_path: Path) -> None:
    source, channel = MediaFile(long_recording, "audio"), hears()
    with TextIndex(tmp_path / "texts.sqlite") as index:
        assert index.begin("content", "heard", channel.fingerprint()) == 0
        index.append("content", "heard", next(channel.moments(source)))
        start = index.begin("content", "heard", channel.fingerprint())
        assert start == pytest.approx(33.2, abs=0.2)
        for passage in channel.moments(source, start):
            index.append("content", "heard", passage)
        index.finish("content", "heard")
        whole = texts(list(channel.moments(source)))
        stored = [(moment.span.start, moment.text) for moment in index.texts("content")]
        assert stored == [(pytest.approx(start, abs=0.15), text) for start, _, text in whole]
        assert [hit.moment.span.start for hit in index.search("word")] != []


def test_a_library_reads_no_stretch_of_a_long_recording_twice(
    long_recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second stretch: the next run begins with that one, and holds no more than one in memory."""

    class Interrupted(Listener):
        def recognise(self, samples: FloatArray) -> list[Speech]:
            if len(self.seconds) == 1:
                raise KeyboardInterrupt
            return super().recognise(samples)

    first, second = Interrupted(), Listener()
    monkeypatch.setattr(heard, "build", lambda options: hears(first))
    with Library(tmp_path / "library", model=FakeModel()) as library:
        with pytest.raises(KeyboardInterrupt):
            library.index([long_recording], channels=["heard"])
        assert first.seconds == [pytest.approx(33.2, abs=0.2)]
        monkeypatch.setattr(heard, "build", lambda options: hears(second))
        report = library.index().channels
        assert report is not None
        assert (report.channels["heard"].files, report.channels["heard"].moments) == (1, 3)
        assert sum(second.seconds) == pytest.approx(90 - first.seconds[0], abs=0.2)
        assert max(second.seconds) <= heard.STRETCH
        again = library.index().channels
        assert again is not None
        assert again.channels["heard"].files == 0


def test_a_gap_parts_stretches(tmp_path: Path) -> None:
    parts = [(0.0, tone(0.5, 48_000)), (60.0, tone(0.5, 48_000))]
    path = recording(tmp_path / "a.mkv", parts, codec="pcm_s16le")
    assert [start for start, _, _ in texts(list(hears().moments(MediaFile(path, "video"))))] == pytest.approx(
        [0, 60], abs=0.1
    )


def test_what_is_recognised_several_times_in_a_row_is_one_moment() -> None:
    class Stuck(Listener):
        def recognise(self, samples: FloatArray) -> list[Speech]:
            return [
                Speech(0, 1, "So."),
                Speech(1, 2, " So."),
                Speech(2, 5, "So."),
                Speech(8, 8.5, "So."),
                Speech(9, 99, "Well"),
                Speech(99, 99, " "),
            ]

    passage = hears(Stuck())._recognised(SoundPiece(100.0, np.zeros(10 * RATE, np.int16)))
    assert texts([Passage(100.0, 110.0, passage)]) == [(100, 105, "So."), (108, 108.5, "So."), (109, 110, "Well")]


def test_files_that_say_nothing(tmp_path: Path) -> None:
    silent = files.make_video(tmp_path / "a.mp4", seconds=0.2)
    assert list(hears().moments(MediaFile(silent, "video"))) == []
    assert list(hears().moments(MediaFile(DATA / "text.png", "image"))) == []
    with pytest.raises(MediaError, match="not a media file"):
        list(hears().moments(MediaFile(Path(__file__), "audio")))


@needs_whisper
def test_models_that_are_not_here_are_one_line(tmp_path: Path) -> None:
    for model, reason in (("small", "no model of the layout"), (str(tmp_path), "no model"), ("a/b", "hf download a/b")):
        with pytest.raises(ModelNotFound, match=reason):
            plugins.build("channels", "heard", {"model": model})
    with pytest.raises(UsageError, match="no language"):
        plugins.build("channels", "heard", {"language": "klingon"})


@pytest.fixture(scope="module")
def whisper() -> _whisper.Whisper:
    return _whisper.Whisper("base", None, 1)


@needs_whisper
def test_speech_is_heard_where_it_is_spoken(whisper: _whisper.Whisper) -> None:
    (passage,) = heard.HeardSpeech(heard.Options(), whisper).moments(MediaFile(DATA / "speech.ogg", "audio"))
    first, second = passage.moments
    assert "harbor at seven in the morning" in (first.text or "").replace("harbour", "harbor").replace("7", "seven")
    assert "red umbrella" in (second.text or "")
    assert first.span.start == pytest.approx(1.0, abs=0.5)
    assert second.span.start == pytest.approx(6.0, abs=0.6)


@needs_whisper
@pytest.mark.parametrize("sound", ["silence", "noise", "hum", "short"])
def test_what_nobody_says_is_no_text(whisper: _whisper.Whisper, sound: str) -> None:
    times = np.arange(5 * RATE) / RATE
    samples = {
        "silence": np.zeros(5 * RATE),
        "noise": np.random.default_rng(0).normal(size=5 * RATE) * 0.1,
        "hum": 0.3 * np.sin(2 * np.pi * 50 * times),
        "short": np.zeros(3),
    }
    assert whisper.recognise(samples[sound].astype(np.float32)) == []


@needs_whisper
def test_the_language_is_recognised_anew_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a second language within a stretch is lost."""
    options: list[bool] = []

    class Model:
        def transcribe(self, samples: FloatArray, **more: Any) -> tuple[list[Speech], Any]:
            options.append(more["multilingual"])
            return [], SimpleNamespace(language_probability=1.0)

    monkeypatch.setattr(_whisper.Whisper, "_model", Model())
    monkeypatch.setattr("faster_whisper.vad.get_speech_timestamps", lambda *arguments: [{"start": 0, "end": 1}])
    for language in (None, "en"):
        assert _whisper.Whisper("base", language, 1).recognise(np.zeros(1000, np.float32)) == []
    assert options == [True, False]


@needs_whisper
def test_damaged_weights_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_whisper, "_SHA256", "0" * 64)
    with pytest.raises(ModelNotFound, match="damaged"):
        _whisper.Whisper("base", None, 1).recognise(
            np.concatenate([piece.samples for piece in read_sound(DATA / "speech.ogg")]).astype(np.float32) / 32768
        )
