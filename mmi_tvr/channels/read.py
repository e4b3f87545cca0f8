"""What is written in pictures and films, by PP-OCR: lines that come and go together are a moment.

Decisions: of a film the picture in the middle of every second second is looked at, of animated pictures and of files
with several pages that of every second, and read only where it differs from the one that was read last. A line of text
counts as the same for as long as it is read in every such picture, give or take a wrong letter, and as it was read
best; lines of the same stretch are one text. Passages are five minutes long: that bounds what a kill costs, and a
moment's length. Lines of which the recogniser is not sure, and lone characters, are noise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import MediaError
from ..media.guarded import DecoderPool, limits
from ..media.video import MediaInfo
from ..plugins import BaseOptions
from ..types import ChannelMoment, FloatArray, Frames, MediaFile, MediaKind, Passage, Pixels, Query, Span, Video
from ..utils.hashing import digest
from ._common import ENCODER, WIDTH, query_vectors, text_moments
from ._ocr import RapidOcr, TextLine

_PASSAGE = 300.0  # seconds
_DECODED = {"video": 16, "image": 8}  # pictures of a film, or pages, that are in memory together
_SIDES = {"video": 720, "image": 1600}  # pixels of the shorter side at which a picture is read
_PAGE = 1.0  # seconds that a still picture, or a page of a file of several, stands for
_SAME = 0.8  # similarity of two readings of one line, at least
_THUMBNAIL = (72, 128)  # rows, columns: the size at which two pictures are compared
_PLACE = 2  # of these pixels: the side of a place that is compared
_CHANGE = 12.0  # of 255: mean difference of a place that has changed
_LEAST_CHARACTERS = 2
_VERSION = 3  # of which pictures are read, and of how lines become moments


class TextReader(Protocol):
    """Turns a picture into lines of text."""

    def recognise(self, picture: Pixels) -> list[TextLine]:
        """Return the lines of text in a picture (H, W, 3), from top to bottom."""
        ...

    def weights_digest(self) -> str:
        """Return a hash of what it was trained to."""
        ...


class Options(BaseOptions):
    """How text is looked for."""

    confidence: float = Field(0.85, ge=0, le=1, description="of the recogniser, at least, for a line")
    side: int = Field(736, ge=64, description="pixels of the longer side at which text is looked for")
    interval: float = Field(2.0, ge=0.04, description="seconds of a film between two pictures")
    threads: int = Field(1, ge=1, description="of the CPU, at most")


embed_queries = query_vectors  # `protocols.QueryEmbeddingModule`


def build(options: Options) -> ReadText:
    return ReadText(options, RapidOcr(options.side, options.threads))


class ReadText:
    """See `mmi_tvr.protocols.Channel`."""

    name = "read"
    kinds: frozenset[MediaKind] = frozenset({"image", "video"})
    width = WIDTH

    def __init__(self, options: Options, reader: TextReader) -> None:
        self._options = options
        self._reader = reader

    def moments(self, source: MediaFile, start: float = 0.0) -> Iterator[Passage]:
        """Yield what is written from a second on, five minutes at a time; a picture is one passage."""
        if source.kind not in self.kinds:
            return
        with DecoderPool(limits(1)) as decoders:
            yield from self._of_film(source, start, decoders)

    def _of_film(self, source: MediaFile, start: float, decoders: DecoderPool) -> Iterator[Passage]:
        tracks, last_read, first = LineTracks(), LastPicture(), start
        duration = _duration(source, decoders)
        while start < duration:
            end = min(start + _DECODED[source.kind] * self._interval(source), first + _PASSAGE)
            info, frames = self._sampled(source, start, end, decoders)
            duration = info.duration
            end = min(end, duration)
            for left, right, picture in _segments(frames, start, end, source.kind):
                if last_read.differs(picture):
                    last_read.lines = self._lines(picture)
                tracks.add(left, right, last_read.lines)
            start = end
            if end - first >= _PASSAGE or end >= duration:
                yield Passage(first, end, _as_moments(tracks))
                tracks, first = LineTracks(), end

    def _sampled(self, source: MediaFile, start: float, end: float, decoders: DecoderPool) -> tuple[MediaInfo, Frames]:
        interval = self._interval(source)
        pictures = max(1, round((end - start) / interval))
        video = Video(source.path, start, end, source.kind == "image")
        return decoders.sample(video, 1 / interval, pictures, _SIDES[source.kind])

    def _interval(self, source: MediaFile) -> float:
        """Return the seconds between two pictures that are looked at."""
        return _PAGE if source.kind == "image" else self._options.interval

    def _lines(self, picture: Pixels) -> list[TextLine]:
        """The lines of a picture that are no noise."""
        lines = self._reader.recognise(picture)
        return [line for line in lines if line.confidence >= self._options.confidence and _is_text(line.text)]

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Return unit vectors (N, D) of what queries say."""
        return query_vectors(queries)

    def fingerprint(self) -> str:
        options = self._options.model_dump(exclude={"threads"})
        return digest(self.name, _VERSION, self._reader.weights_digest(), options, ENCODER)


def _duration(source: MediaFile, decoders: DecoderPool) -> float:
    """The seconds of a film by its header; sampling it may find less. MediaError where it cannot be used."""
    report = decoders.report(source.path)
    if report.info is None:
        raise MediaError(source.path, report.error or "cannot be used")
    return report.info.duration


class LastPicture:
    """The picture that was read last, small, and its lines."""

    def __init__(self) -> None:
        self.lines: list[TextLine] = []
        self._thumbnail: NDArray[np.float32] | None = None

    def differs(self, picture: Pixels) -> bool:
        """Return whether a picture differs from the last one that did, in any place where a line may stand."""
        thumbnail = _thumbnail(picture)
        if self._thumbnail is not None and self._thumbnail.shape == thumbnail.shape:
            change = np.abs(thumbnail - self._thumbnail)
            rows, columns = (length // _PLACE for length in change.shape)
            places = change[: rows * _PLACE, : columns * _PLACE].reshape(rows, _PLACE, columns, _PLACE)
            if places.mean(axis=(1, 3)).max() < _CHANGE:
                return False
        self._thumbnail = thumbnail
        return True


def _thumbnail(picture: Pixels) -> NDArray[np.float32]:
    """A picture in grey, of about 72 x 128 means of its pixels."""
    grey = picture.mean(axis=2, dtype=np.float32)
    steps = [max(1, length // target) for length, target in zip(grey.shape, _THUMBNAIL, strict=True)]
    rows, columns = (length // step for length, step in zip(grey.shape, steps, strict=True))
    cells = grey[: rows * steps[0], : columns * steps[1]].reshape(rows, steps[0], columns, steps[1])
    means: NDArray[np.float32] = cells.mean(axis=(1, 3))
    return means


def _segments(frames: Frames, start: float, end: float, kind: MediaKind) -> Iterator[tuple[float, float, Pixels]]:
    """The stretch that each picture stands for: of a film, from halfway to the one before until halfway to the next; a
    page or a picture of an animation, until the next one comes."""
    times = frames.times.tolist()
    changes = times[1:] if kind == "image" else [(one + other) / 2 for one, other in pairwise(times)]
    bounds = [start, *changes, end]
    yield from zip(bounds[:-1], bounds[1:], frames.pixels, strict=True)


def _is_text(text: str) -> bool:
    """Whether a line has at least two letters or digits."""
    return sum(unicodedata.category(character)[0] in "LN" for character in text) >= _LEAST_CHARACTERS


@dataclass
class _LineTrack:
    """A line over the pictures in which it is read."""

    start: float
    end: float
    best: TextLine


class LineTracks:
    """Lines of text that stay from one picture to the next."""

    def __init__(self) -> None:
        self.tracks: list[_LineTrack] = []  # in the order in which they begin

    def add(self, start: float, end: float, lines: Sequence[TextLine]) -> None:
        """Take the lines of the next picture, which stands for the stretch from `start` to `end`."""
        current = [track for track in self.tracks if track.end == start]
        for line in lines:
            track = max(current, key=lambda track: _similarity(track.best.text, line.text), default=None)
            if track is None or _similarity(track.best.text, line.text) < _SAME:
                self.tracks.append(_LineTrack(start, end, line))
                continue
            current.remove(track)
            track.end = end
            if line.confidence > track.best.confidence:
                track.best = line


def _similarity(one: str, other: str) -> float:
    """1 for the same text but for spaces and case, 0 for texts without a character in common."""
    return SequenceMatcher(None, _folded(one), _folded(other), autojunk=False).ratio()


def _folded(text: str) -> str:
    return "".join(text.casefold().split())


def _as_moments(tracks: LineTracks) -> list[ChannelMoment]:
    """A moment for all lines that come and go together."""

    def stretch(track: _LineTrack) -> tuple[float, float]:
        return track.start, track.end

    spans, texts = [], []
    for (start, end), group in groupby(sorted(tracks.tracks, key=stretch), stretch):
        spans.append(Span(start, end, (start + end) / 2))
        texts.append(" ".join(track.best.text for track in group))
    return text_moments(spans, texts)
