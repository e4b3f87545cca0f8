"""Finding a benchmark's videos: one walk through the folder, then every look-up is by name; none for paths in it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ...errors import UsageError
from ...media.names import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from ...types import Video
from ...utils.loading import late_property
from ...utils.names import SpelledNames, SpelledPaths
from .records import AnnotatedVideo


class VideoFolder:
    """The video files below a folder, by name and by name without suffix.

    Of several files with one name the one nearest to the top counts, then the first by path. Files without a suffix
    count too (DiDeMo has some). Links to folders are followed, each real folder once. A name may be in another form of
    Unicode than the file's, where only one file fits. `pictures`: the files are still pictures.
    """

    def __init__(self, root: Path, pictures: bool = False) -> None:
        self._pictures, self._suffixes = pictures, PICTURE_SUFFIXES if pictures else VIDEO_SUFFIXES
        self._root = root.expanduser().absolute()
        if not self._root.is_dir():
            raise UsageError(f"{self._root}: not a folder")
        self._disk = SpelledPaths()

    @late_property
    def names(self) -> SpelledNames:
        """Every file by its name. Walks through the folder."""
        names = SpelledNames()
        for path in self._files:
            names.add(path.name, path)
        return names

    @late_property
    def _stems(self) -> SpelledNames:
        stems = SpelledNames()
        for path in self._files:
            stems.add(stem(path.name, self._suffixes), path)
        return stems

    @late_property
    def _files(self) -> list[Path]:
        return sorted(_files(self._root, self._suffixes), key=lambda path: (len(path.parts), path))

    def find(self, video: AnnotatedVideo) -> Video | None:
        """Return the video at the first of its locations that is there."""
        for location in video.locations:
            path = self.path(location.name)
            if path is not None:
                return Video(path, location.start, location.end, self._pictures)
        return None

    def path(self, name: str) -> Path | None:
        """Return the file of this name, or path in the folder; else one that differs in its suffix alone (a converted
        copy).

        Raises UsageError where several files fit that differ in their Unicode form.
        """
        if "/" in name:
            path = Path(os.path.normpath(self._root / name))
            return self._inside(path) if path.is_relative_to(self._root) else None
        return self.names.find(name) or self._stems.find(name) or self._stems.find(stem(name, self._suffixes))

    def _inside(self, path: Path) -> Path | None:
        """Return a path in the folder as the disk spells it, with its suffix or that of a converted copy."""
        spelled = self._disk.find(path)
        if spelled.is_file():
            return spelled
        copies = (spelled.with_name(stem(spelled.name, self._suffixes) + suffix) for suffix in sorted(self._suffixes))
        return next((copy for copy in copies if copy.is_file()), None)


def stem(name: str, suffixes: Collection[str] = VIDEO_SUFFIXES) -> str:
    """Return a file's name without one of these suffixes; other dots stay (LSMDC's names are full of them).

    >>> stem("v_abc.mp4"), stem("1_Film_00.01.02.003-00.01.04.000"), stem("35034348999@N01_6060447507_dc.")
    ('v_abc', '1_Film_00.01.02.003-00.01.04.000', '35034348999@N01_6060447507_dc')
    """
    root, dot, suffix = name.rpartition(".")
    return root if root and dot and (not suffix or f".{suffix.lower()}" in suffixes) else name


def _files(root: Path, suffixes: Collection[str]) -> Iterator[Path]:
    visited: set[tuple[int, int]] = set()  # device and inode of each folder
    for folder, subfolders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))  # os.walk reads it back
        for name in names:
            if not name.startswith(".") and (stem(name, suffixes) != name or "." not in name):
                yield Path(folder, name)
