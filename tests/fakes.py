"""Small stand-ins that behave: a model that knows colours, videos in those colours, and progress that is recorded."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from media_files import make_video
from numpy.typing import NDArray

from mmi_tvr.errors import MediaError
from mmi_tvr.library import IndexReport, Library
from mmi_tvr.types import (
    Block,
    ChannelMoment,
    Embeddings,
    Features,
    FloatArray,
    MediaFile,
    MediaKind,
    Passage,
    Pixels,
    Query,
    Scoring,
    Span,
)
from mmi_tvr.utils.hashing import digest

COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}

# What lies in the folder of a library of films, once nobody has it open.
LIBRARY_FILES = ["catalogue.sqlite", "duplicates.sqlite", "features", "vectors", "writer.lock"]


def unit(vectors: FloatArray) -> NDArray[np.float32]:
    """Return rows of length 1."""
    rows = np.asarray(vectors, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


class FakeModel:
    """Sees nothing but colour, and understands nothing but the names in COLOURS. Deterministic; loads nothing.

    `images_encoded` counts the pictures that went through the "vision tower"; `head` and `vision` change its
    fingerprints; `delay` is slept for each call of `encode_images`.
    """

    image_size = 32

    def __init__(
        self,
        name: str = "fake",
        scoring: Scoring = Scoring(moment_weight=0.5),  # noqa: B008 (frozen)
        head: int = 0,
        vision: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.name = name
        self.reads = frozenset({"text"})
        self.scoring = scoring
        self.head = head
        self.vision = vision
        self.delay = delay
        self.images_encoded = 0

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        time.sleep(self.delay)
        self.images_encoded += len(images)
        return {"mean": np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        embeddings = []
        for video in features:
            moments = self._embed(video.arrays["mean"])
            embeddings.append(Embeddings(unit(moments.mean(axis=0)), moments, video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        return self._embed(np.array([self._colour_of(query.text) for query in queries]))

    def _colour_of(self, text: str) -> FloatArray:
        """Return the mean of the colours that are named; where none is, some colour that the text alone decides."""
        named = [COLOURS[word] for word in text.split() if word in COLOURS]
        return np.mean(named or [np.random.default_rng(int(digest(text), 16)).uniform(0, 255, 3)], axis=0)

    def _embed(self, colours: FloatArray) -> NDArray[np.float32]:
        """(N, 3) colours of 0..255 -> (N, 4 + head) unit vectors; opposite colours are opposite vectors."""
        centred = np.asarray(colours, dtype=np.float32) / 127.5 - 1
        padding = np.full((len(centred), 1 + self.head), 0.1)
        return unit(np.concatenate([centred, padding], axis=1))

    def vision_fingerprint(self) -> str:
        return digest("fake", self.vision)

    def fingerprint(self) -> str:
        return digest(self.vision_fingerprint(), self.head)


class FakeBlockModel(FakeModel):
    """Knows colours as FakeModel does, in three blocks: all of a colour through a sigmoid, its hue, and its brightness.

    Queries have blocks of any length, the first one of `sharpness`.
    """

    sharpness = 6.0

    def __init__(self, name: str = "fake blocks", moment_weight: float = 0.0, **options: Any) -> None:
        blocks = (
            Block("whole", 4, 0.5, 0.4, squash=-2.0),
            Block("hue", 4, 0.3, 0.3),
            Block("brightness", 2, 0.2, 0.3),
        )
        super().__init__(name, Scoring(moment_weight=moment_weight, blocks=blocks), **options)

    def characters_read(self, text: str) -> int:
        return min(len(text), 120)

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        embeddings = []
        for video in features:
            means = video.arrays["mean"]
            rows = self._parts(np.concatenate([means.mean(axis=0, keepdims=True), means])) / np.float32(np.sqrt(3))
            embeddings.append(Embeddings(rows[0], rows[1:], video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        texts = [query.text[:120] for query in queries]
        nuances = np.array([np.random.default_rng(int(digest(text), 16)).uniform(0, 20, 3) for text in texts])
        vectors = self._parts(0.9 * np.array([self._colour_of(text) for text in texts]) + nuances)
        vectors[:, :4] *= self.sharpness
        return vectors

    def _parts(self, colours: FloatArray) -> NDArray[np.float32]:
        """(N, 3) colours of 0..255 -> (N, 10) unit blocks side by side."""
        shades = np.asarray(colours, dtype=np.float32)
        grey = shades.mean(axis=1, keepdims=True)
        padding = np.full((len(shades), 1), 0.1)
        whole = np.concatenate([shades / 127.5 - 1, padding], axis=1)
        hue = np.concatenate([(shades - grey) / 127.5, padding], axis=1)
        brightness = np.concatenate([grey / 127.5 - 1, padding], axis=1)
        return np.concatenate([unit(whole), unit(hue), unit(brightness)], axis=1)

    def vision_fingerprint(self) -> str:
        return digest("fake blocks", self.vision)


class ClippedScore:
    """Relevance that is the score itself, cut to 0..1."""

    def relevance(self, scores: FloatArray, query: FloatArray) -> FloatArray:
        return np.clip(scores, 0, 1)


def clipped(model: object, index: object) -> ClippedScore:
    """Return a calibration, as `Library(relevance=...)` takes it."""
    return ClippedScore()


class RecordedProgress:
    """A progress that records every call."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps: list[int] = []
        self.messages: list[str] = []

    def begin(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))
        self.steps.append(0)

    def advance(self, steps: int = 1) -> None:
        self.steps[-1] += steps

    def say(self, message: str) -> None:
        self.messages.append(message)


def colour_video(path: Path, *colours: str, seconds: float = 2.0, fps: int = 8) -> Path:
    """A small H.264 file that shows each colour for so many seconds. Equal videos have equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [np.full((48, 48, 3), COLOURS[colour], np.uint8) for colour in colours or ("red",)]
    return make_video(path, fps=fps, pictures=[picture for picture in shown for _ in range(int(seconds * fps))])


def counts(report: IndexReport) -> dict[str, int]:
    """Return the counts of a report that are not zero."""
    names = ("added", "unchanged", "moved", "changed", "copies", "embedded")
    numbers = {name: getattr(report, name) for name in names}
    numbers |= {name: len(getattr(report, name)) for name in ("removed", "quarantined", "unreadable")}
    return {name: count for name, count in numbers.items() if count}


def best(library: Library, text: str) -> str:
    """Return the name, without suffix, of the first hit."""
    return library.search(text, top=1)[0].path.stem


class FakeChannel:
    """Reads what stands in FILE.said: lines of a second, and a text that lasts a second; each `lines` are a passage.

    A line "cannot be read" sets the file aside, and "a kill" raises KeyboardInterrupt, unless `unkillable`. Vectors are
    of the words of a text. `read` has the seconds from which files were read, by name.
    """

    width = 64

    def __init__(
        self, name: str = "heard", kinds: Collection[MediaKind] = ("audio", "video"), version: int = 0
    ) -> None:
        self.name = name
        self.kinds: frozenset[MediaKind] = frozenset(kinds)
        self.version = version
        self.lines = 1
        self.unkillable = False
        self.read: list[tuple[str, float]] = []

    def moments(self, source: MediaFile, start: float = 0.0) -> Iterator[Passage]:
        self.read.append((source.path.name, start))
        script, moments = source.path.with_suffix(".said"), []
        for line in script.read_text().splitlines() if script.exists() else ():
            second, _, text = line.partition(" ")
            time = float(second)
            if time < start:
                continue
            if text == "cannot be read":
                raise MediaError(source.path, text)
            if text == "a kill" and not self.unkillable:
                raise KeyboardInterrupt
            moments.append(ChannelMoment(Span(time, time + 1, time), word_vectors([text])[0], text))
            if len(moments) == self.lines:
                yield Passage(moments[0].span.start, time + 1, moments)
                moments = []
        if moments:
            yield Passage(moments[0].span.start, moments[-1].span.end, moments)

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        return word_vectors([query.spoken for query in queries])

    def fingerprint(self) -> str:
        return digest("fake channel", self.name, self.version)


def word_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """(N, 64) unit vectors of the words of texts; what has no word in common has a cosine near 0."""
    rows = np.full((len(texts), FakeChannel.width), 1e-3)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().replace('"', " ").split():
            row += np.random.default_rng(int(digest(word), 16)).normal(size=len(row))
    return unit(rows)
