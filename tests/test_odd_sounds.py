"""Odd and broken recordings: what each becomes in a library, and what is heard of it, in guarded processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import odd_sounds
import pytest
from fakes import FakeModel
from media_damage import mutants
from odd_media import MOST_MEMORY, most_memory
from odd_sounds import PITCH, OddSound, tone, wave, whole

from mmi_tvr.errors import MediaError
from mmi_tvr.library import Library
from mmi_tvr.media.guarded import DecoderPool, Limits
from mmi_tvr.media.sound import RATE, read_sound


@dataclass(frozen=True)
class Corpus:
    """Where the files are, and what becomes of them."""

    folder: Path
    sounds: list[OddSound]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("sounds")
    return Corpus(folder, odd_sounds.write(folder))


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(Limits(workers=1)) as pool:
        yield pool


def pitch(samples: np.ndarray) -> float:
    """The frequency of which there is most."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * RATE / len(samples)


def difference(sound: OddSound, path: Path, pool: DecoderPool) -> str | None:
    """What is heard of a file and should not be, or should be and is not; None where all is right."""
    try:
        facts = pool.facts(path)
    except MediaError as error:
        return None if error.reason == sound.reason else error.reason
    if sound.reason or facts.kind != sound.medium:
        return f"is {facts.kind}"
    if facts.kind == "image":
        return None
    pieces = list(pool.sound(path))
    samples = np.concatenate([piece.samples for piece in pieces]) if pieces else np.zeros(0)
    seconds = len(samples) / RATE
    if seconds > sound.seconds + sound.within or (not sound.damaged and seconds < sound.seconds - sound.within):
        return f"{seconds:.2f} s"
    if seconds > 0.1 and (abs(pitch(samples) - PITCH) < 5) != sound.is_loud:
        return f"{pitch(samples):.0f} Hz"
    return None


def test_the_corpus_is_large(corpus: Corpus) -> None:
    assert len(corpus.sounds) >= 30
    assert len({sound.name for sound in corpus.sounds}) == len(corpus.sounds)


def test_a_library_takes_them_in_or_says_why_not(corpus: Corpus, tmp_path: Path) -> None:
    expected = {sound.name: sound.reason for sound in corpus.sounds if sound.reason}
    media = {(corpus.folder / sound.name).read_bytes(): sound.medium for sound in corpus.sounds if not sound.reason}
    with Library(tmp_path / "library", model=FakeModel()) as library:
        report = library.index(corpus.folder)
        assert {path.name: reason for path, reason in report.quarantined} == expected
        assert library.status().kinds == Counter(media.values())
        assert most_memory() < MOST_MEMORY
        again = library.index()
        assert (again.quarantined, again.added) == (report.quarantined, 0)


def test_what_is_heard_of_each(corpus: Corpus, pool: DecoderPool) -> None:
    differences = {sound.name: difference(sound, corpus.folder / sound.name, pool) for sound in corpus.sounds}
    assert {name: difference for name, difference in differences.items() if difference} == {}


def test_a_channel_without_a_place_is_heard(tmp_path: Path) -> None:
    """Of 64 channels one that is loud is a sixty-fourth of the whole, in every format of samples."""
    samples = np.zeros((RATE, 64), np.int16)
    samples[:, 40:41] = tone(RATE, 1.0) * 2
    as_float = samples / 32_768
    files = {
        "s16": wave(samples),
        "u8": wave((as_float * 127 + 128).astype(np.uint8)),
        "float": wave(as_float.astype(np.float32), tag=3),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
        mixed = np.concatenate([piece.samples for piece in read_sound(tmp_path / f"{name}.wav")])
        assert pitch(mixed) == pytest.approx(PITCH, abs=2)
        assert np.abs(mixed).max() == pytest.approx(24_000 / 64, rel=0.1)


def test_random_damage_is_a_matter_of_one_file(tmp_path: Path, pool: DecoderPool) -> None:
    kinds = {".mp3": "libmp3lame", ".flac": "flac", ".m4a": "aac", ".mka": "flac", ".caf": "pcm_s16be"}
    files = {suffix: whole(suffix, codec) for suffix, codec in kinds.items()}
    outcomes = []
    for name, content in islice(mutants({**files, ".wav": wave(tone(RATE))}, seed=3), 120):
        (tmp_path / name).write_bytes(content)
        try:
            outcomes.append(len([*pool.sound(tmp_path / name)]))
        except MediaError as error:
            outcomes.append(error.reason)
    counts = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(counts) > 60
    assert max(counts) < 20
    reasons = {outcome for outcome in outcomes if isinstance(outcome, str)}
    assert reasons <= {odd_sounds.NO_MEDIA, odd_sounds.NOTHING, odd_sounds.NO_CODEC}


def test_the_same_bytes_each_time() -> None:
    for suffix, codec in ((".mp3", "libmp3lame"), (".m4a", "aac"), (".ogg", "libopus"), (".mka", "flac")):
        contents = []
        for _ in range(2):
            whole.cache_clear()
            contents.append(whole(suffix, codec, rate=48_000))
        assert contents[0] == contents[1], suffix
