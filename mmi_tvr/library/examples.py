"""Examples that hits are to be like, as a library reads them: the stored vectors of its own items, else the pictures of
files, decoded in guarded processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import MediaError, UsageError
from ..keyimages import from_video
from ..media.guarded import DecoderPool, limits
from ..protocols import Index, KeyImageMethod
from ..types import FloatArray, ItemMoment, Pixels, QueryExample, Video, row_ids
from ..utils.names import SpelledPaths
from ..utils.printable import printable
from ..utils.seconds import parse_seconds
from .catalogue import Catalogue
from .items import ItemMissing
from .scan import real_path

MAX_PICTURES = 12  # of a video that is an example as a whole
_INSTANT = 1e-3  # seconds: as short as a span can be that has one picture


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """A picture or a video, and the second of the moment that counts (None: all of it)."""

    path: Path
    second: float | None = None

    @property
    def title(self) -> str:
        return str(self.path)


# What an example is taken of.
ExampleSource = ExampleFile | ItemMoment


def checked_like(value: object) -> ExampleSource:
    """Return what an example is taken of: a file, "FILE@SECONDS", or a moment of an item of the library.

    A file whose name ends like that is taken as it is. Raises UsageError where there is no such file, or for anything
    else.
    """
    if isinstance(value, ItemMoment):
        return ItemMoment(value.item, _checked_second(value.second))
    if isinstance(value, bytes) or not isinstance(value, str | os.PathLike):
        raise UsageError(
            f"like is a file, 'FILE@SECONDS' or a types.ItemMoment, not {value!r:.60} ({type(value).__name__})"
        )
    text = os.fspath(value)
    if not text or "\0" in text:
        raise UsageError("like names no file: give the path of a picture or a video")
    whole = SpelledPaths().find(Path(os.path.expanduser(text)))
    if os.path.lexists(whole):
        return ExampleFile(_checked_file(whole))
    name, at, time = text.rpartition("@")
    if not at or not name:
        raise UsageError(f"{printable(text)}: no such file")
    path = SpelledPaths().find(Path(os.path.expanduser(name)))
    if not os.path.lexists(path):
        raise UsageError(f"{printable(str(path))}: no such file")
    second = parse_seconds(time)
    if second is None:
        raise UsageError(f"{printable(text)}: behind @ stands a second such as 12.5 or 1:30, not {time!r}")
    return ExampleFile(_checked_file(path), second)


def _checked_second(second: object) -> float | None:
    if second is None:
        return None
    if isinstance(second, bool) or not isinstance(second, int | float) or not 0 <= second < float("inf"):
        raise UsageError(f"a moment is at a second, 0 or more, not {second!r:.60}")
    return float(second)


def _checked_file(path: Path) -> Path:
    if path.is_dir():
        raise UsageError(f"{printable(str(path))}: is a folder; like takes a picture or a video")
    return path


class ExampleReader:
    """Reads examples for the present vectors of a library."""

    def __init__(self, catalogue: Catalogue, index: Index, method: KeyImageMethod, picture_size: int) -> None:
        """Hold what is read from.

        Args:
            catalogue: of the library.
            index: its vectors.
            method: chooses the pictures that stand for a video.
            picture_size: the shorter side of the pictures that the model wants to see, in pixels.
        """
        self._catalogue = catalogue
        self._index = index
        self._method = method
        self._size = picture_size

    def read(self, source: ExampleSource) -> QueryExample:
        """Return an example.

        Raises:
            ItemMissing: the library has no such item, or nothing of it can be searched.
            MediaError: a file cannot be used, or ends before the second.
        """
        if isinstance(source, ItemMoment):
            entry = self._catalogue.entries([source.item]).get(source.item)
            if entry is None:
                raise ItemMissing(f"no item that can be searched has the number {source.item}")
            vectors = self._stored(source.item, source.second, entry.paths[0])
            return QueryExample(str(entry.paths[0]), vectors=vectors, second=source.second, item=source.item)
        item = self._item_of(source.path)
        if item is not None:
            vectors = self._stored(item, source.second, source.path)
            return QueryExample(source.title, vectors=vectors, second=source.second, item=item)
        with DecoderPool(limits(1)) as decoders:
            return QueryExample(source.title, pictures=self._pictures(source, decoders), second=source.second)

    def _item_of(self, path: Path) -> int | None:
        """Return the number of the indexed item of a file that has not changed since it was read."""
        try:
            status = path.stat()
        except OSError:
            return None
        number = self._catalogue.content_of(real_path(path), (status.st_size, status.st_mtime_ns))
        return number if number is not None and self._catalogue.entries([number]) else None

    def _stored(self, number: int, second: float | None, path: Path) -> FloatArray:
        """Return the vectors (E, D) of an item's moment, or of all its moments."""
        segments = self._catalogue.entries([number])[number].segments
        rows = np.unique(np.linspace(0, len(segments) - 1, min(len(segments), MAX_PICTURES)).astype(np.int64))
        if second is not None:
            end = float(segments[-1, 1])
            if second > end:
                raise MediaError(path, f"has no second {second:g}: it is {end:.2f} s long")
            rows = np.array([max(0, int(np.searchsorted(segments[:, 0], second, side="right")) - 1)])
        vectors: FloatArray = self._index.get(row_ids(number, len(segments))[1:][rows])
        return vectors

    def _pictures(self, source: ExampleFile, decoders: DecoderPool) -> tuple[Pixels, ...]:
        """Return the picture of a file at a second, or those that stand for all of it."""
        report = decoders.report(source.path)
        if report.error is not None or report.info is None:
            reason = report.error or "cannot be used"
            raise MediaError(source.path, reason if report.kind else f"{reason}; like takes a picture or a video")
        is_picture = report.kind == "image"
        if source.second is None:
            _, images = from_video(Video(source.path, picture=is_picture), self._method, self._size, decoders.sample)
            chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), MAX_PICTURES)).astype(np.int64))
            return tuple(images[place].pixels for place in chosen)
        if is_picture and report.facts is not None and report.facts.frames <= 1:
            raise MediaError(source.path, f"is a picture, which has no second {source.second:g}: leave out @")
        if source.second >= report.info.duration:
            raise MediaError(source.path, f"has no second {source.second:g}: it is {report.info.duration:.2f} s long")
        moment = Video(source.path, source.second, source.second + _INSTANT, is_picture)
        _, frames = decoders.sample(moment, 1 / _INSTANT, 1, self._size)
        return (frames.pixels[0],)
