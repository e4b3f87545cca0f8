"""Names that may be spelled otherwise: in another form of Unicode than on the disk (an "é" is one character, or two),
or wrongly."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from ..errors import UsageError

_NEAREST = 3  # names that are proposed for one that is unknown


def composed(name: str) -> str:
    """Return a name in the composed form of Unicode: an "é" is one character, where macOS may write two."""
    return unicodedata.normalize("NFC", name)


class SpelledNames:
    """Files by name: the exact name first, else the only one that differs in its Unicode form alone."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._spellings: dict[str, list[str]] = {}  # by composed name; of names that are not ASCII

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def add(self, name: str, path: Path) -> None:
        """Add a name, unless it is there."""
        if name not in self._paths:
            self._paths[name] = path
            if not name.isascii():
                self._spellings.setdefault(composed(name), []).append(name)

    def find(self, name: str) -> Path | None:
        """Return the file of a name, or None. Raises UsageError where several spellings fit, and none exactly."""
        if name in self._paths or name.isascii():
            return self._paths.get(name)
        return only_fit(name, [self._paths[spelling] for spelling in self._spellings.get(composed(name), ())])


class SpelledPaths:
    """Finds what written paths mean on the disk. Folders are listed once, and only for names that are not ASCII."""

    def __init__(self) -> None:
        self._listings: dict[Path, SpelledNames] = {}

    def find(self, path: Path) -> Path:
        """Return the path as the disk spells it; as it is written where it is there so, or nothing fits.

        Raises UsageError where several spellings fit, and none exactly.
        """
        if str(path).isascii() or path.parent == path or os.path.lexists(path):
            return path
        folder = self.find(path.parent)
        return self._listing(folder).find(path.name) or folder / path.name

    def _listing(self, folder: Path) -> SpelledNames:
        if folder not in self._listings:
            names = self._listings[folder] = SpelledNames()
            try:
                for name in sorted(os.listdir(folder)):
                    names.add(name, folder / name)
            except (OSError, ValueError):  # no folder, a closed one, no name at all: what uses the path will say so
                pass
        return self._listings[folder]


def only_fit(name: object, paths: Sequence[Path]) -> Path | None:
    """Return the only path, or None where there is none. Raises UsageError where there are several."""
    if len(paths) > 1:
        raise UsageError(
            f"{name}: {len(paths)} files are called so in other forms of Unicode, and none in this one, the first: "
            f"{str(paths[0])!a}; rename one of them"
        )
    return paths[0] if paths else None


def nearest_names(name: str, known: Mapping[str, str]) -> list[str]:
    """Return the names that an unknown one may mean: those that are spelled like it, and those that have it as a word.

    Args:
        name: without capital letters.
        known: names, by what they are without capital letters.

    >>> nearest_names("spin", {"left": "left", "spins": "Spins"}), nearest_names("ring", {"red ring": "red ring"})
    (['Spins'], ['red ring'])
    """
    nearest = [*get_close_matches(name, known, _NEAREST), *(fold for fold in known if name in fold.split())]
    return [known[fold] for fold in dict.fromkeys(nearest)][:_NEAREST]
