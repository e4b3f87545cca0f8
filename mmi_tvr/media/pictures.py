"""Pictures as data: what a file holds (`facts`), and its pixels as frames (`sample`).

A still is one frame that stands for a second. An animation (GIF, WebP, APNG, AVIF) is a film of one round, and the
pages of a TIFF are a second each. Frames are upright, RGB (sRGB, 8 bits), over black, as those of films are.

Decisions: EXIF orientation is obeyed as viewers do, whatever else the file says of its sides; one that is no number of
1 to 8 means none. Frames of a GIF, WebP or APNG that last 10 ms or less take 100 ms, as in browsers. Of files with
several pictures for other purposes (stereo pairs, gain maps, thumbnails) the main one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..errors import MediaError, UsageError
from ..types import Frames, Pixels
from ._picture import Orientation, bounded, fitted, padded
from ._picture_exif import EXIF_TAGS, GPS_TAGS, ORIENTATION, camera_of, content_id_of, date_of, position_of
from ._picture_files import CUT_OFF, format_of, load, open_picture, raw_tags
from ._picture_modes import as_standard
from ._slices import even
from .picture_facts import PictureFacts
from .signatures import HEIC, RAW

SECONDS = 1.0  # that a still, or a page, stands for
_SHORTEST, _INSTEAD = 0.010, 0.1  # seconds: frames of an animation that are no longer take so long instead
_MOST_FRAMES = 20_000  # of an animation; what comes later is passed over
_STORED_SIZE = (0xA002, 0xA003)  # tags of width and height
_REDUCED = 1  # the bit of a TIFF page that is a smaller copy of another
_SUBFILE_TYPE = 254
# How stored pixels become upright, by EXIF's number.
_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(0, True),
    3: Orientation(180),
    4: Orientation(180, True),
    5: Orientation(90, True),
    6: Orientation(270),
    7: Orientation(270, True),
    8: Orientation(90),
}


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Which frames of a file are shown, by their numbers, and when each comes up and the last one ends (seconds)."""

    numbers: list[int]
    starts: NDArray[np.float64]
    end: float


@contextmanager
def open_still(path: str | Path) -> Iterator[PictureFile]:
    """Open a picture file for several calls. Raises MediaError with the reason where it is not usable."""
    picture = PictureFile(Path(path))
    try:
        yield picture
    finally:
        picture.close()


class PictureFile:
    """A picture file held open. Use it through `open_still`, which closes it."""

    def __init__(self, path: Path) -> None:
        format_name = format_of(path)
        if format_name is None:
            raise MediaError(path, "is no picture")
        self.path = path
        self._format_name = format_name
        self._image = open_picture(path, format_name)
        self._decoded = False
        self._odd: list[str] = []
        try:
            self._main, self._exif, self._gps = self._tags()
            self._number = self._orientation_number()
            # Pillow turns TIFF pictures itself when it decodes them, and has their upright sides before.
            self.orientation = Orientation() if isinstance(self._image, TiffImageFile) else _ORIENTATIONS[self._number]
            width, height = self._image.size
            swaps = self.orientation.swaps_sides
            self.sides = (height, width) if swaps else (width, height)  # of the upright picture
            self._timeline = self._read_timeline()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._image.close()

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self._timeline.end

    def facts(self) -> PictureFacts:
        """Return what the file says of itself; what is odd about its pixels is known once they were sampled."""
        date, source = date_of(self._main, self._exif, self._gps)
        if date is None:
            date = datetime.fromtimestamp(self.path.stat().st_mtime, timezone.utc).astimezone()
            source = "file"
        position, problem = position_of(self._gps)
        odd = [*self._odd, problem] if problem else self._odd
        return PictureFacts(
            format=self._format_name if self._format_name in (HEIC, RAW) else str(self._image.format),
            width=self.sides[0],
            height=self.sides[1],
            orientation=self._number,
            frames=len(self._timeline.numbers),
            seconds=self.seconds,
            date=date,
            date_source=source,
            position=position,
            camera=camera_of(self._main),
            content_id=content_id_of(self._exif),
            odd=tuple(dict.fromkeys(odd)),
        )

    def sample(self, fps: float, max_frames: int, size: int, start: float = 0.0, end: float | None = None) -> Frames:
        """Return the frames on screen in the middles of equal slices of [start, end).

        Args:
            fps: frames per second of the span.
            max_frames: at most so many.
            size: the shorter side in pixels; a smaller picture is not enlarged.
            start: of the span, in seconds.
            end: of the span, in seconds; None is the end.

        Raises:
            UsageError: the numbers make no sense.
            MediaError: the span lies outside the picture, or nothing of it can be decoded.
        """
        if fps <= 0 or max_frames < 1 or size < 1:
            raise UsageError(f"fps, max_frames and size must be positive, not {fps}, {max_frames} and {size}")
        timeline = self._timeline
        end = timeline.end if end is None else min(end, timeline.end)
        if not 0 <= start < end:
            raise MediaError(self.path, f"has no picture at {start:g} s: it ends at {timeline.end:g} s")
        middles = even(start, end, fps, max_frames).middles
        shown = np.unique(np.maximum(np.searchsorted(timeline.starts, middles, side="right") - 1, 0))
        canvas = bounded(*self.sides, size)
        pixels = [padded(self._pixels(timeline.numbers[number], size, canvas), canvas) for number in shown]
        return Frames(timeline.starts[shown], np.stack(pixels))

    def frames_at(self, times: Sequence[float], size: int | None = None) -> Frames:
        """Return the frame on screen at each of `times`; the result's times are the frames' own.

        Args:
            times: seconds, in any order; behind the end, the last frame.
            size: the shorter side in pixels (never enlarged); None: as it is.

        Raises:
            UsageError: no time is given.
            MediaError: nothing can be decoded.
        """
        if len(times) == 0:
            raise UsageError("frames_at needs at least one time")
        timeline, shorter = self._timeline, min(self.sides) if size is None else size
        shown = np.maximum(np.searchsorted(timeline.starts, np.asarray(times), side="right") - 1, 0)
        canvas = bounded(*self.sides, shorter)
        frames = {
            place: padded(self._pixels(timeline.numbers[place], shorter, canvas), canvas) for place in sorted({*shown})
        }
        return Frames(timeline.starts[shown], np.stack([frames[place] for place in shown]))

    def _pixels(self, number: int, size: int, canvas: tuple[int, int]) -> Pixels:
        """One frame, upright; a page of other sides than the first fits into the canvas."""
        if self._decoded and len(self._timeline.numbers) == 1:  # maybe at a share of its size
            self._image.close()
            self._image = open_picture(self.path, self._format_name)
        self._decoded = True
        if number or self._image.tell():
            self._image.seek(number)
        width, height = self._image.size
        image, whole = load(self._image, self.path, min(size, width, height))
        upright = (height, width) if self.orientation.swaps_sides else (width, height)
        sides = canvas if upright == self.sides else fitted(*upright, canvas)
        standard, problem = as_standard(image, sides[::-1] if self.orientation.swaps_sides else sides)
        if not whole:
            self._odd.append(CUT_OFF)
        if problem:
            self._odd.append(problem)
        return np.ascontiguousarray(self.orientation.apply(np.asarray(standard)))

    def _tags(self) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
        """The tags of the picture, those of its EXIF data, and those of the satellites' receiver."""
        try:
            tags = self._image.getexif()
            main = dict(tags)
            if self._format_name == RAW:
                tags = raw_tags(self.path)
                main |= dict(tags)  # all but the orientation, which is that of the preview
            return main, dict(tags.get_ifd(EXIF_TAGS)), dict(tags.get_ifd(GPS_TAGS))
        except MemoryError:
            raise
        except Exception:  # whatever damaged tags make of Pillow's reader
            if not isinstance(self._image, PngImageFile):  # which is read to its end for them: its pixels will tell
                self._odd.append("its EXIF data cannot be read")
            return {}, {}, {}

    def _orientation_number(self) -> int:
        number = self._main.get(ORIENTATION, 1)
        if not isinstance(number, int) or number not in _ORIENTATIONS:
            self._odd.append(f"its orientation is {number!r:.20}, which means none")
            return 1
        stored = tuple(self._exif.get(tag) for tag in _STORED_SIZE)
        if self._image.width != self._image.height and stored == self._image.size[::-1]:
            self._odd.append("its EXIF data has width and height the other way round")
        return number

    def _read_timeline(self) -> _Timeline:
        if isinstance(self._image, TiffImageFile):
            numbers = self._pages(self._image)
            return _Timeline(numbers, np.arange(len(numbers), dtype=np.float64) * SECONDS, len(numbers) * SECONDS)
        if isinstance(self._image, GifImageFile | WebPImageFile | PngImageFile | AvifImageFile):
            lengths = self._lengths(self._image)
            if len(lengths) > 1:
                ends = np.cumsum([*lengths.values()], dtype=np.float64)
                return _Timeline([*lengths], np.concatenate([[0.0], ends[:-1]]), float(ends[-1]))
        return _Timeline([0], np.zeros(1), SECONDS)

    def _pages(self, image: TiffImageFile) -> list[int]:
        """The pages of a TIFF file that are no smaller copies of others."""
        numbers = []
        for number in range(_MOST_FRAMES):
            try:
                image.seek(number)
            except EOFError:
                break
            except MemoryError:
                raise
            except Exception:  # whatever a damaged list of tags makes of Pillow's reader
                self._odd.append("its pages are damaged: those before count")
                break
            purpose = image.tag_v2.get(_SUBFILE_TYPE, 0)
            if number == 0 or not (isinstance(purpose, int) and purpose & _REDUCED):
                numbers.append(number)
        image.seek(0)
        return numbers

    def _lengths(self, image: GifImageFile | WebPImageFile | PngImageFile | AvifImageFile) -> dict[int, float]:
        """How many seconds each frame of an animation is shown, by its number."""
        if not image.is_animated:
            return {}
        lengths: dict[int, float] = {}
        first = int(isinstance(image, PngImageFile) and bool(image.info.get("default_image")))
        for number in range(first, first + _MOST_FRAMES):
            try:
                image.seek(number)
                if isinstance(image, WebPImageFile | AvifImageFile):
                    image.load()  # which reads how long it is shown
            except EOFError:
                break
            except MemoryError:
                raise
            except Exception:  # whatever a damaged file makes of Pillow's reader
                self._odd.append(CUT_OFF)
                break
            seconds = float(image.info.get("duration") or 0) / 1000
            lengths[number] = seconds if seconds > _SHORTEST else _INSTEAD
        image.seek(0)
        return lengths
