"""The features of one split: HDF5 files with an array for each video, a vector a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, UsageError, one_line
from ...types import Features
from ...utils.installation import require
from ...utils.wording import counted

EXTRA = "hgr"
_LARGEST = 1 << 28  # numbers of a video: a gigabyte; published ones have a million


class FrameFiles:
    """Features by the name of a video, of several kinds one behind the other."""

    def __init__(self, paths: Sequence[Path], frames: int) -> None:
        """See which videos the files have. They are open while they are read, and no longer.

        Args:
            paths: a file of each kind.
            frames: of a video with more, so many are read.

        Raises:
            MissingExtra: h5py is not installed.
            UsageError: a file is missing or damaged.
        """
        self.paths, self.frames = list(paths), frames
        self._width: int | None = None
        self._keys: list[frozenset[str]] = []
        for path in paths:
            with _opened(path) as file:
                self._keys.append(frozenset(file))

    def __contains__(self, name: str) -> bool:
        return all(_key(name) in keys for keys in self._keys)

    def path(self, name: str) -> Path:
        """Return where a video's features lie, as HDF5's own tools write it: FILE/NAME. No file has that path."""
        return self.paths[0] / _key(name)

    def width(self, names: Sequence[str]) -> int:
        """Return how many numbers a frame has: those of the first of these videos that has frames."""
        for name in names if self._width is None else ():
            try:
                self._width = self._rows(name).shape[1]
                break
            except MediaError:
                continue
        if self._width is None:
            raise UsageError(f"{self.paths[0]}: has no frames of any of the {counted(len(names), 'video')}")
        return self._width

    def features(self, name: str) -> Features:
        """Return the features of a video.

        Of n frames, as many as `frames` are picked, evenly (HGR): number round(k (n - 1) / (frames - 1)). No times are
        published. Decision: a frame counts as a second, so that what stands for a stretch of the video does.

        Raises MediaError where they cannot be used.
        """
        rows = self._rows(name)
        if self._width is not None and rows.shape[1] != self._width:
            raise self._error(
                name, f"its frames have {rows.shape[1]:,} numbers, and those of the others {self._width:,}"
            )
        count = min(len(rows), self.frames)
        picked = np.round(np.linspace(0, len(rows) - 1, count)).astype(np.int64)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            images = rows[picked].astype(np.float32)
        if bad := int((~np.isfinite(images).all(axis=1)).sum()):
            raise self._error(name, f"{counted(bad, 'frame')} of {count} with numbers that are not finite")
        ends = np.arange(count + 1) * (len(rows) / count)
        return Features(np.stack([ends[:-1], ends[1:], picked + 0.5], axis=1), {"image": images})

    def _rows(self, name: str) -> NDArray[Any]:
        """Return all frames of a video (n, width)."""
        parts = []
        for path in self.paths:
            with _opened(path) as file:
                parts.append(self._array(file, name))
        if len({len(part) for part in parts}) > 1:
            counts = ", ".join(
                f"{len(part)} in {path.parent.name}" for part, path in zip(parts, self.paths, strict=True)
            )
            raise self._error(name, f"its kinds of features have different numbers of frames: {counts}")
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def _array(self, file: Any, name: str) -> NDArray[Any]:
        h5py = require("h5py", EXTRA)
        key = _key(name)
        if key not in file:
            raise self._error(name, "no features are there")
        try:
            # A link is not followed before it is known to stay in this file.
            array = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
            if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
                raise self._error(name, "an array in this very file is expected")
            if array.ndim != 2 or array.dtype.kind not in "fiu" or not 0 < array.size <= _LARGEST:
                raise self._error(
                    name, f"frames of numbers are expected, (frames, width), not {array.dtype} {array.shape}"
                )
            rows: NDArray[Any] = array[()]
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise self._error(name, f"damaged ({one_line(error)})") from error
        return rows

    def _error(self, name: str, reason: str) -> MediaError:
        return MediaError(self.path(name), reason)


def _key(name: str) -> str:
    return name.replace("/", "_")


def _opened(path: Path) -> Any:
    h5py = require("h5py", EXTRA)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        return h5py.File(path, "r", locking=False)  # which disks that are read alone, and shares, may not have
    except OSError as error:
        raise UsageError(
            f"{path}: no HDF5 file, or only a part of one: copy it once more ({one_line(error)})"
        ) from error
