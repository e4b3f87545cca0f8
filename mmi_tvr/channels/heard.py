"""What is said in recordings and films, by Whisper: each sentence is a moment.

Decisions: a long recording is read in stretches of at most two minutes, which are cut where it is quietest, so that
memory is bounded and a kill costs one stretch. What nobody says is no text: Silero's detector of speech comes first
(silence, noise, music without singing), and what Whisper itself is unsure of is dropped (`_whisper`). A sentence that
is recognised several times in a row is one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import Field

from ..media.guarded import DecoderPool, limits
from ..media.sound import RATE, SoundPiece
from ..plugins import BaseOptions
from ..types import ChannelMoment, FloatArray, MediaFile, MediaKind, Passage, Query, Span
from ..utils.hashing import digest
from ._common import ENCODER, WIDTH, query_vectors, text_moments
from ._whisper import PACKAGED, Speech, Whisper

STRETCH = 120  # seconds that are recognised together, at most
_SEARCHED = 30  # seconds at the end of a stretch in which a quiet place to cut is looked for
_QUIET = 0.2  # seconds that such a place lasts
_JOINED = 0.01  # seconds between two pieces that belong together
_REPEATED = 1.0  # seconds between two sentences that one may be the repetition of the other
_VERSION = 2  # of how sound is cut, and of what counts as speech


class Recogniser(Protocol):
    """Turns sound into sentences."""

    def recognise(self, samples: FloatArray) -> list[Speech]:
        """Return what is said in sound (N,), 16 kHz, -1..1, in order of time."""
        ...

    def weights_digest(self) -> str:
        """Return a hash of what it was trained to."""
        ...


class Options(BaseOptions):
    """Which recogniser listens."""

    model: str = Field(
        PACKAGED,
        description="of Whisper: base (which the extra carries), a folder, or a hub name of CTranslate2 layout",
    )
    language: str | None = Field(None, description="code of the language that is spoken; default: it is recognised")
    threads: int = Field(1, ge=1, description="of the CPU, at most")


embed_queries = query_vectors  # `protocols.QueryEmbeddingModule`


def build(options: Options) -> HeardSpeech:
    return HeardSpeech(options, Whisper(options.model, options.language, options.threads))


class HeardSpeech:
    """See `mmi_tvr.protocols.Channel`."""

    name = "heard"
    kinds: frozenset[MediaKind] = frozenset({"audio", "video"})
    width = WIDTH

    def __init__(self, options: Options, recogniser: Recogniser) -> None:
        self._options = options
        self._recogniser = recogniser

    def moments(self, source: MediaFile, start: float = 0.0) -> Iterator[Passage]:
        """Yield what is said from a second on, in stretches of at most two minutes."""
        if source.kind not in self.kinds:
            return
        for stretch in stretches(_sound(source.path, start)):
            yield Passage(stretch.start, stretch.end, self._recognised(stretch))

    def _recognised(self, stretch: SoundPiece) -> list[ChannelMoment]:
        speech = self._recogniser.recognise(stretch.samples.astype(np.float32) / 32768)
        sentences = _without_repetition(speech)
        spans = []
        for sentence in sentences:
            start = stretch.start + max(0.0, sentence.start)
            spans.append(Span(start, max(start, min(stretch.end, stretch.start + sentence.end)), start))
        return text_moments(spans, [sentence.text for sentence in sentences])

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Return unit vectors (N, D) of what queries say."""
        return query_vectors(queries)

    def fingerprint(self) -> str:
        return digest(self.name, _VERSION, self._recogniser.weights_digest(), self._options.language, ENCODER)


def stretches(pieces: Iterable[SoundPiece]) -> Iterator[SoundPiece]:
    """Join pieces of sound that follow one another to stretches of at most `STRETCH` seconds, cut where it is quiet."""
    stretch: SoundPiece | None = None
    for piece in pieces:
        if stretch is not None and piece.start - stretch.end > _JOINED:
            yield stretch
            stretch = None
        stretch = piece if stretch is None else SoundPiece(stretch.start, np.append(stretch.samples, piece.samples))
        while len(stretch.samples) > STRETCH * RATE:
            cut = _quiet_place(stretch)
            yield SoundPiece(stretch.start, stretch.samples[:cut])
            stretch = SoundPiece(stretch.start + cut / RATE, stretch.samples[cut:])
    if stretch is not None and len(stretch.samples):
        yield stretch


def _quiet_place(stretch: SoundPiece) -> int:
    """Return the number of the sample in the middle of the quietest place near the end of a full stretch."""
    length = round(_QUIET * RATE)
    first = (STRETCH - _SEARCHED) * RATE
    places = stretch.samples[first : STRETCH * RATE].astype(np.float64)
    loudness = np.square(places).reshape(-1, length).sum(axis=1)
    return int(first + (int(loudness.argmin()) + 0.5) * length)


def _sound(path: Path, start: float) -> Iterator[SoundPiece]:
    """The sound of a file, decoded in a process of its own."""
    with DecoderPool(limits(1)) as decoders:
        yield from decoders.sound(path, start)


def _without_repetition(speech: Sequence[Speech]) -> list[Speech]:
    """Join what is recognised several times in a row: a refrain, or a recogniser that is stuck."""
    joined: list[Speech] = []
    for sentence in speech:
        repeats = joined and joined[-1].text.strip() == sentence.text.strip()
        if repeats and sentence.start - joined[-1].end < _REPEATED:
            joined[-1] = Speech(joined[-1].start, sentence.end, sentence.text)
        else:
            joined.append(sentence)
    return joined
