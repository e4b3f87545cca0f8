"""Channels: what is said and written, with its seconds. With recognisers that make it up, and with the real ones.

`data/speech.ogg` was spoken by espeak-ng: "The ship leaves the harbour at seven in the morning." from 1.0 to 3.9 s, and
"Nobody has seen the red umbrella." from 5.9 s. `data/text.png`: a line of Chinese, one of English (Noto Sans CJK).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import media_files as files
import numpy as np
import pytest
import typer
from fakes import FakeModel
from PIL import Image, ImageDraw, ImageFont
from test_sound import recording, tone
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.channels import _common, _whisper, heard, read
from mmi_tvr.channels._ocr import RapidOcr, TextLine, is_of_unknown_script
from mmi_tvr.channels._whisper import Speech
from mmi_tvr.cli import transcribe
from mmi_tvr.errors import MediaError, MissingExtra, MmiTvrError, ModelNotFound, UsageError
from mmi_tvr.fulltext.folding import tokens
from mmi_tvr.fulltext.index import TextIndex
from mmi_tvr.library import Library
from mmi_tvr.media.guarded import DecoderPool
from mmi_tvr.media.sound import RATE, SoundPiece, read_sound
from mmi_tvr.protocols import Channel
from mmi_tvr.types import FloatArray, MediaFile, Passage, Pixels, Query, Span
from mmi_tvr.utils.installation import installed

DATA = Path(__file__).parent / "data"
needs_whisper = pytest.mark.skipif(not installed("faster_whisper"), reason="the extra speech is not installed")


class Listener:
    """Takes every loud stretch of sound for a word."""

    def __init__(self) -> None:
        self.seconds: list[float] = []  # of each call

    def recognise(self, samples: FloatArray) -> list[Speech]:
        self.seconds.append(len(samples) / RATE)
        loud = np.abs(samples[: len(samples) // 1600 * 1600]).reshape(-1, 1600).max(axis=1) > 0.1
        edges = np.flatnonzero(np.diff(loud.astype(int), prepend=0, append=0)) / 10
        return [Speech(start, end, f"word {end - start:.1f}") for start, end in edges.reshape(-1, 2)]

    def weights_digest(self) -> str:
        return "listener"


class Reader:
    """Knows pictures by the level of grey in their middle, and what is written on each."""

    def __init__(self, lines: dict[int, list[tuple[str, float]]]) -> None:
        self._lines = lines
        self.calls = 0

    def recognise(self, picture: Pixels) -> list[TextLine]:
        self.calls += 1
        level = int(picture[picture.shape[0] // 2, picture.shape[1] // 2].mean())
        nearest = min(self._lines, key=lambda known: abs(known - level))
        return [TextLine(text, confidence) for text, confidence in self._lines[nearest]]

    def weights_digest(self) -> str:
        return "reader"


def hears(listener: Listener | None = None) -> heard.HeardSpeech:
    return heard.HeardSpeech(heard.Options(), listener or Listener())


def texts(passages: Sequence[Passage]) -> list[tuple[float, float, str]]:
    moments = [moment for passage in passages for moment in passage.moments]
    return [(round(moment.span.start, 2), round(moment.span.end, 2), moment.text or "") for moment in moments]


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes."""
    monkeypatch.setattr(heard, "STRETCH", 40)
    monkeypatch.setattr(heard, "_SEARCHED", 10)
    monkeypatch.setattr(read, "_PASSAGE", 48.0)


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


LEVELS = (40, 100, 160, 220)


def film(path: Path, levels: Sequence[int], seconds: float) -> Path:
    """A film that shows each level of grey for so many seconds."""
    pictures = [np.full((64, 96, 3), level, np.uint8) for level in levels for _ in range(round(seconds))]
    return files.make_video(path, fps=1, pictures=pictures, options={"qp": "10"})


def reads(lines: dict[int, list[tuple[str, float]]], **options: object) -> tuple[read.ReadText, Reader]:
    reader = Reader(lines)
    return read.ReadText(read.Options(**options), reader), reader  # type: ignore[arg-type]


def test_lines_that_stay_are_one_moment_and_those_that_come_and_go_together_one_text(tmp_path: Path) -> None:
    title, watermark = "Chapter one", "CHANNEL 5"
    channel, reader = reads(
        {
            40: [(watermark, 0.99)],
            100: [(title, 0.9), ("The storm", 0.99), (watermark, 0.99)],
            160: [("Chapter 0ne", 0.95), ("The storm", 0.9), ("CHANNEL S", 0.95)],
            220: [(watermark, 0.99)],
        }
    )
    (passage,) = channel.moments(MediaFile(film(tmp_path / "a.mp4", LEVELS, 8), "video"))
    assert texts([passage]) == [(0, 32, watermark), (8, pytest.approx(24, abs=1), "Chapter 0ne The storm")]
    assert (passage.start, passage.end) == (0, 32)
    assert reader.calls == 4  # sixteen pictures, four that differ


def test_noise_is_not_read(tmp_path: Path) -> None:
    channel, _ = reads({40: [("unsure", 0.5), ("l", 0.99), ("...|", 0.99), ("ok", 0.9), ("车", 0.99), ("红车", 0.99)]})
    (passage,) = channel.moments(MediaFile(film(tmp_path / "a.mp4", [40], 4), "video"))
    assert texts([passage]) == [(0, 4, "ok 红车")]


def test_a_long_film_is_read_passage_by_passage_and_from_any_of_them(tmp_path: Path) -> None:
    channel, reader = reads({40: [("one", 0.99)], 220: [("two", 0.99)]})
    path = film(tmp_path / "a.mp4", [40, 220], 32)
    passages = list(channel.moments(MediaFile(path, "video")))
    assert [(passage.start, passage.end) for passage in passages] == [(0, 48), (48, 64)]
    assert texts(passages) == [(0, 32, "one"), (32, 48, "two"), (48, 64, "two")]
    assert reader.calls == 2
    assert texts(list(channel.moments(MediaFile(path, "video"), 48.0))) == [(48, 64, "two")]
    assert list(channel.moments(MediaFile(path, "video"), 64.0)) == []  # cut off before it could be said to be whole


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    channel, _ = reads({40: [("one", 0.99)], 220: [("two", 0.99)]})
    whole = files.make_video(
        tmp_path / "a.mp4",
        fps=1,
        pictures=[np.full((64, 96, 3), level, np.uint8) for level in (40, 220) for _ in range(40)],
        gop=1,
        options={"qp": "10"},
        container_options={"movflags": "faststart"},
    )
    for share in (0.9, 0.75):
        cut = files.truncate(whole, tmp_path / f"{share}.mp4", share)
        passages = list(channel.moments(MediaFile(cut, "video")))
        assert [text for _, _, text in texts(passages)][:2] == ["one", "two"]
        assert passages[-1].end < 80


def test_however_often_a_film_is_looked_at_few_pictures_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, sample = [], DecoderPool.sample

    def counted(pool: DecoderPool, *arguments: Any) -> Any:
        info, frames = sample(pool, *arguments)
        counts.append(len(frames))
        return info, frames

    monkeypatch.setattr(DecoderPool, "sample", counted)
    path = film(tmp_path / "a.mp4", [40, 220], 32)
    for interval, least in ((0.5, 60), (2.0, 30), (1e6, 1)):
        counts.clear()
        channel, _ = reads({40: [("one", 0.99)], 220: [("two", 0.99)]}, interval=interval)
        assert texts(list(channel.moments(MediaFile(path, "video"))))[0][2] == "one"
        assert max(counts) <= 16
        assert sum(counts) >= least


def test_a_line_that_changes_in_one_corner_is_read_again() -> None:
    last, picture = read.LastPicture(), np.full((720, 1280, 3), 90, np.uint8)
    assert last.differs(picture)
    assert not last.differs(picture + 3)
    written = Image.fromarray(picture)
    ImageDraw.Draw(written).text((1100, 650), "seven", font=ImageFont.load_default(24), fill=(255, 255, 255))
    assert last.differs(np.asarray(written))
    assert last.differs(np.full((64, 64, 3), 90, np.uint8))


def test_fingerprints_say_what_changes_a_moment() -> None:
    assert hears().fingerprint() == heard.HeardSpeech(heard.Options(threads=4), Listener()).fingerprint()
    assert hears().fingerprint() != heard.HeardSpeech(heard.Options(language="en"), Listener()).fingerprint()
    assert reads({})[0].fingerprint() == reads({}, threads=2)[0].fingerprint()
    assert reads({})[0].fingerprint() != reads({}, interval=1.0)[0].fingerprint()


@pytest.mark.parametrize("name", ["heard", "read"])
def test_channels_are_plugins_of_one_space(name: str) -> None:
    if name == "heard" and not installed("faster_whisper"):
        pytest.skip("the extra speech is not installed")
    channel = plugins.build("channels", name)
    assert isinstance(channel, Channel)
    assert (channel.name, channel.embed_queries([Query("a dog")]).shape) == (name, (1, channel.width))
    assert channel.fingerprint() == plugins.build("channels", name).fingerprint()


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_whisper, "require", _missing)
    monkeypatch.setattr("mmi_tvr.channels._ocr.require", _missing)
    for name, extra in (("heard", "speech"), ("read", "ocr")):
        with pytest.raises(MissingExtra, match=f"{extra}"):
            plugins.build("channels", name)


def _missing(module: str, extra: str) -> None:
    raise MissingExtra(module, extra, f"pip install {extra}")


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


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_text_is_read_whichever_way_it_lies(turn: int) -> None:
    with Image.open(DATA / "text.png") as picture:
        pixels = np.asarray(picture.convert("RGB").rotate(turn, expand=True))
    lines = OCR.recognise(pixels)
    assert {tuple(tokens(line.text)) for line in lines} >= {
        tuple("今日特价红烧牛肉面"),
        ("open", "from", "9", "to", "17"),
    }
    assert min(line.confidence for line in lines) > 0.9


OCR = RapidOcr(736, 1) if installed("rapidocr") else None


def test_pictures_are_read(tmp_path: Path) -> None:
    channel = plugins.build("channels", "read")
    (passage,) = channel.moments(MediaFile(DATA / "text.png", "image"))
    assert [moment.text for moment in passage.moments] == ["今日特价：红烧牛肉面 Open from 9 to 17"]
    assert (passage.start, passage.end, passage.moments[0].span.start) == (0, 1, 0)
    with pytest.raises(MediaError):
        list(channel.moments(MediaFile(Path(__file__), "image")))
    assert OCR is not None
    assert OCR.recognise(np.zeros((4, 400, 3), np.uint8)) == []
    assert OCR.recognise(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)) == []


def test_chinese_is_embedded_in_simplified_characters_and_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[str] = []

    def encode(texts: Sequence[str]) -> FloatArray:
        embedded.extend(texts)
        return np.zeros((len(texts), _common.WIDTH), np.float32)

    monkeypatch.setattr(_common.e5, "encode", encode)
    [moment] = _common.text_moments([Span(0, 1, 0)], ["設定 29 度"])
    _common.query_vectors([Query("設定"), Query("時刻を設定する")])
    assert embedded == ["设定 29 度", "设定", "時刻を設定する"]  # the last one is Japanese
    assert moment.text == "設定 29 度"


def test_of_ten_scripts_those_are_read_that_the_recogniser_knows_and_nothing_is_made_up() -> None:
    """Latin, Chinese, Japanese; Korean, Cyrillic, Greek, Hebrew, Arabic, Georgian and Armenian, a line each."""
    (passage,) = plugins.build("channels", "read").moments(MediaFile(DATA / "scripts.png", "image"))
    assert [moment.text for moment in passage.moments] == [
        "The museum opens at nine 博物馆九点开门 はくぶつかんは九時に開く"
    ]
    assert is_of_unknown_script("Το μουσείο ανοίγει")
    assert not any(map(is_of_unknown_script, ("Łódź: 5 kΩ, 3 µm", "ラーメン", "ＡＢＣ 々〆", "Δt = 4", "x² ﬁne")))


def test_pages_and_animated_pictures_are_read_as_films_are(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((60, 80, 3), level, np.uint8)) for level in (10, 120, 240)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=1_000)
    lines = {10: [("first page", 0.99)], 120: [("second page", 0.99)], 240: []}
    for name in ("a.tiff", "a.gif"):
        channel = read.ReadText(read.Options(), Reader(lines))
        passages = list(channel.moments(MediaFile(tmp_path / name, "image")))
        assert texts(passages) == [(0.0, 1.0, "first page"), (1.0, 2.0, "second page")]
        assert passages[-1].end == 3.0
    many = [Image.fromarray(np.full((60, 80, 3), 10 + 220 * (page % 2), np.uint8)) for page in range(60)]
    many[0].save(tmp_path / "many.tiff", save_all=True, append_images=many[1:])
    channel = read.ReadText(read.Options(), Reader({10: [("odd", 0.99)], 230: [("even", 0.99)]}))
    passages = list(channel.moments(MediaFile(tmp_path / "many.tiff", "image")))
    assert [one.end for one in passages] == [48.0, 60.0]
    assert sum(len(one.moments) for one in passages) == 60
    assert next(channel.moments(MediaFile(tmp_path / "many.tiff", "image"), 48.0)).start == 48.0


def transcribed(*words: object, code: int = 0) -> str:
    """Run `transcribe` in this process, and return what it prints."""
    app = typer.Typer()
    app.callback()(lambda: None)
    transcribe.register(app)
    result = CliRunner().invoke(app, ["transcribe", *map(str, words)])
    if isinstance(result.exception, MmiTvrError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_transcribe_prints_what_is_written_and_why_a_file_cannot_be_used(tmp_path: Path) -> None:
    silent = recording(tmp_path / "a.flac", [(0.0, tone(0.2, 8000))], rate=8000, layout="mono")
    words = (DATA / "text.png", tmp_path / "none.mp4", silent, "--channels", "read")
    picture, missing, sound = json.loads(transcribed(*words, "--json", code=1))["files"]
    assert picture["channels"]["read"][0]["text"].startswith("今日特价")
    assert (picture["kind"], missing["kind"], sound["kind"]) == ("image", None, "audio")
    assert (picture["error"], missing["error"], sound["channels"]) == (None, "no such file", {})
    text = transcribed(*words, code=1)
    assert "  read                 今日特价：红烧牛肉面 Open from 9 to 17" in text
    assert "  error  no such file" in text


def test_transcribe_takes_what_is_installed_and_names_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_whisper, "require", _missing)
    printed = transcribed(DATA / "text.png")
    assert "今日特价" in printed
    with pytest.raises(MissingExtra, match="pip install speech"):
        transcribed(DATA / "text.png", "--channels", "heard")
    monkeypatch.setattr("mmi_tvr.channels._ocr.require", _missing)
    with pytest.raises(MissingExtra):
        transcribed(DATA / "text.png")
    for words, reason in (
        (("--channels", "smell"), "no channel"),
        (("--channels", ","), "none of"),
        (("--set", "smell.a=1"), "unknown option"),
        (("--set", "read.b=1"), "unknown option"),
    ):
        monkeypatch.undo()
        with pytest.raises(UsageError, match=reason):
            transcribed(DATA / "text.png", *words)


def test_two_lines_that_read_the_same_stay_two() -> None:
    tracks, exits = read.LineTracks(), [TextLine("Exit", 0.9), TextLine("Exit", 0.9)]
    for start in range(0, 8, 2):
        tracks.add(start, start + 2, exits)
    assert [(track.start, track.end) for track in tracks.tracks] == [(0, 8), (0, 8)]
