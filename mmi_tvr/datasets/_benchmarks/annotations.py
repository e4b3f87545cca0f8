"""Reads official annotation files as they are distributed, plain or inside their zip, and notes which of them are cut.

A file with fewer entries than the official one is cut: it is used, and `remarks` say so. One with more is not the
official file, which is an error. What does not parse, or does not look as it should, is a UsageError with the file.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import UsageError


class Annotations:
    """The annotation folder of a benchmark. Each file is read once."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder of annotations")
        self.folder = folder
        self._read: dict[str, Any] = {}
        self._cut: dict[str, str] = {}
        self._uncounted: set[str] = set()
        self.derived: dict[str, Any] = {}  # what an adapter made of files, for its next split
        self.used: list[str] = []  # of the split that is being read; `begin` forgets them

    def begin(self) -> None:
        """Another split: `remarks` and `whole` are about the files read from here on."""
        self.used = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """A phrase for each cut file."""
        return tuple(self._cut[name] for name in dict.fromkeys(self.used) if name in self._cut)

    @property
    def whole(self) -> bool:
        """Whether every file that was read has as many entries as the official one."""
        return not any(name in self._cut or name in self._uncounted for name in self.used)

    def has(self, *names: str) -> bool:
        """Whether one of these files (or zips with a file of that name) is there."""
        return self._find(names) is not None

    def json(self, *names: str, official: int | None = None, count: Callable[[Any], int] = len) -> Any:
        """The first of these JSON files that is there. count: its number of entries, held against `official`."""
        return self._once(names, lambda data: json.loads(data.decode("utf-8-sig")), official, count)

    def lines(self, *names: str, official: int | None = None) -> list[str]:
        """The lines of a list that are not empty, each once."""
        found: list[str] = self._once(names, _lines, official, len)
        return found

    def rows(self, *names: str, official: int | None = None) -> list[dict[str, str]]:
        """A comma-separated table with a header."""
        found: list[dict[str, str]] = self._once(names, _rows, official, len)
        return found

    def tabbed(self, *names: str, official: int | None = None) -> list[list[str]]:
        """A tab-separated table without a header; quotes are ordinary characters."""
        found: list[list[str]] = self._once(names, _tabbed, official, len)
        return found

    def plain_pickle(self, *names: str, official: int | None = None) -> Any:
        """A pickle of lists, mappings, texts and numbers. One that names anything else is refused, not run."""
        return self._once(names, _plain_pickle, official, len)

    @contextmanager
    def shaped(self, what: str) -> Iterator[None]:
        """What goes wrong inside means that the last file read does not look as `what` describes."""
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}"
            raise UsageError(f"{self.folder / self.used[-1]}: not as expected, {what} ({found})") from error

    def _once(
        self, names: tuple[str, ...], parse: Callable[[bytes], Any], official: int | None, count: Callable[[Any], int]
    ) -> Any:
        place = self._find(names)
        if place is None:
            raise UsageError(f"{self.folder}: there is no {' or '.join(names)}; it comes with the data set")
        path, member = place
        name = f"{path.name}/{member}" if member else path.name
        self.used.append(name)
        if name not in self._read:
            with self.shaped("it cannot be read"):
                found = parse(_content(path, member))
            with self.shaped("its parts cannot be counted"):
                self._count(name, count(found), official)
            self._read[name] = found
        return self._read[name]

    def _count(self, name: str, found: int, official: int | None) -> None:
        if official is None:
            self._uncounted.add(name)
        elif found > official:
            raise UsageError(f"{self.folder / name}: {found:,} entries, and the official file has {official:,}")
        elif found < official:
            self._cut[name] = f"{name} is cut: {found:,} of {official:,} entries"

    def _find(self, names: tuple[str, ...]) -> tuple[Path, str] | None:
        """The file, or a zip and its member."""
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name, ""
        for path in sorted(self.folder.glob("*.zip")):
            try:
                with zipfile.ZipFile(path) as archive:
                    members = {member.rpartition("/")[2]: member for member in archive.namelist()}
            except zipfile.BadZipFile as error:
                raise UsageError(f"{path}: not a zip file ({error})") from error
            for name in names:
                if name in members:
                    return path, members[name]
        return None


def _content(path: Path, member: str) -> bytes:
    if not member:
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, odd compression
        raise UsageError(f"{path}: {member} cannot be unpacked ({error})") from error


def _lines(data: bytes) -> list[str]:
    texts = (line.strip() for line in data.decode("utf-8-sig").splitlines())
    return list(dict.fromkeys(text for text in texts if text))


def _rows(data: bytes) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    try:
        found: list[dict[Any, Any]] = list(reader)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    if any(None in row or None in row.values() for row in found):
        raise ValueError("a row has more or fewer cells than the header")
    return found


def _tabbed(data: bytes) -> list[list[str]]:
    return [line.split("\t") for line in data.decode("utf-8-sig").splitlines() if line.strip()]


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it would run {module}.{name}")


def _plain_pickle(data: bytes) -> Mapping[Any, Any]:
    try:
        found = _Plain(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(found, dict):
        raise TypeError(f"a mapping, not {type(found).__name__}")
    return found
