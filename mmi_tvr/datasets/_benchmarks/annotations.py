"""Reads official annotation files as they are distributed, plain, inside their zip or gzipped, and notes which of them
are cut.

A file with fewer entries than the official one is cut: it is used, and `remarks` say so. One with more is not the
official file, which is an error. What does not parse, or does not look as it should, is a UsageError with the file.
"""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ...errors import UsageError
from ...utils.textfiles import comma_separated, decode, numbered_lines, parse_json, tab_separated, with_header
from ...utils.wording import counted

Key = TypeVar("Key")
Entry = TypeVar("Entry")
Parse = Callable[[bytes, Path], Any]  # a file's bytes, and its path for messages


class Annotations:
    """The annotation folder of a benchmark. Each file is read once."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder of annotations")
        self.folder = folder
        self._contents: dict[str, Any] = {}
        self._cut: dict[str, str] = {}  # name -> remark
        self._uncounted: set[str] = set()
        self.derived: dict[str, Any] = {}  # what an adapter computed from files, for its next split
        self.used: list[str] = []  # files of the split that is being read
        self._place = ""  # in the last file: of the entry that is being read

    def start_split(self) -> None:
        """Forget which files were used: `remarks` and `complete` are about those read from here on."""
        self.used = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """A phrase for each cut file."""
        return tuple(self._cut[name] for name in dict.fromkeys(self.used) if name in self._cut)

    @property
    def complete(self) -> bool:
        """Whether every file that was read has as many entries as the official one."""
        return not any(name in self._cut or name in self._uncounted for name in self.used)

    def has(self, *names: str) -> bool:
        """Return whether one of these files (or a zip with a file of that name, or its .gz) is there."""
        return self._locate(names) is not None

    def json(self, *names: str, official: int | None = None, count: Callable[[Any], int] = len) -> Any:
        """Read the first of these JSON files that is there. count: its number of entries, held against `official`."""
        return self._read_once(names, lambda data, path: parse_json(decode(data, path)), official, count)

    def json_lines(self, *names: str, official: int | None = None) -> list[tuple[int, Any]]:
        """Read a file with one JSON value a line: line numbers and values; empty lines are passed over."""
        values: list[tuple[int, Any]] = self._read_once(names, _parse_json_lines, official, len)
        return values

    def lines(self, *names: str, official: int | None = None) -> list[str]:
        """Read the lines of a list that are not empty, each once."""
        lines: list[str] = self._read_once(names, _parse_lines, official, len)
        return lines

    def rows(self, *names: str, official: int | None = None) -> list[tuple[int, dict[str, str]]]:
        """Read a comma-separated table with a header: line numbers and cells by column."""
        rows: list[tuple[int, dict[str, str]]] = self._read_once(names, _parse_rows, official, len)
        return rows

    def tab_rows(self, *names: str) -> list[tuple[int, dict[str, str]]]:
        """Read a tab-separated table with a header, where quotes are ordinary characters: as `rows`."""
        rows: list[tuple[int, dict[str, str]]] = self._read_once(names, _parse_tab_rows, None, len)
        return rows

    def spaced_rows(self, *names: str) -> list[tuple[int, list[str]]]:
        """Read a comma-separated table in which spaces follow commas: line numbers and cells, the header's first."""
        rows: list[tuple[int, list[str]]] = self._read_once(names, _parse_spaced_rows, None, len)
        return rows

    def cells(
        self, *names: str, count: int, separator: str | None, official: int | None = None
    ) -> list[tuple[int, list[str]]]:
        """Read a table without a header, in which quotes are ordinary characters: line numbers and cells.

        Args:
            names: the files.
            count: cells of a line.
            separator: between two cells; None is any white space.
            official: lines that the official file has.
        Raises:
            UsageError: a line has more or fewer cells; it is named by its number.
        """

        def parse(data: bytes, path: Path) -> list[tuple[int, list[str]]]:
            lines = [(number, line) for number, line in numbered_lines(io.BytesIO(data), path) if line.strip()]
            rows = [(number, line.split(separator)) for number, line in lines]
            for number, cells in rows:
                if len(cells) != count:
                    raise UsageError(f"{path}, line {number}: {counted(len(cells), 'cell')} instead of {count}")
            return rows

        rows: list[tuple[int, list[str]]] = self._read_once(names, parse, official, len)
        return rows

    def place(self, line: int) -> str:
        """Return the name of the file that was read last, and a line of it, for messages."""
        return f"{self.folder / self.used[-1]}, line {line}"

    def visit(self, entries: Iterable[tuple[Key, Entry]], word: str = "line") -> Iterator[tuple[Key, Entry]]:
        """Yield entries with their numbers or names; errors meanwhile say of which one they are (`expecting`)."""
        for key, entry in entries:
            self._place = f", {word} {key}"
            yield key, entry
        self._place = ""

    def plain_pickle(self, *names: str, official: int | None = None) -> Any:
        """Read a pickle of lists, mappings, texts and numbers. One that names anything else is refused, not run."""
        return self._read_once(names, _parse_plain_pickle, official, len)

    @contextmanager
    def expecting(self, layout: str) -> Iterator[None]:
        """Inside, an error means that the last file read does not look as `layout` describes: it is a UsageError, which
        names the entry that is being visited."""
        self._place = ""
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
            place = f"{self.folder / self.used[-1]}{self._place}"
            raise UsageError(f"{place}: not as expected, {layout} ({reason})") from error

    def _read_once(
        self, names: tuple[str, ...], parse: Parse, official: int | None, count: Callable[[Any], int]
    ) -> Any:
        """Return the parsed content of the first of these files that is there.

        Args:
            names: the files.
            parse: what makes the content of the bytes and the path.
            official: entries that the official file has, or None.
            count: entries that a content has.
        Raises:
            UsageError: none of them is there, it cannot be parsed, or has more entries than the official one.
        """
        location = self._locate(names)
        if location is None:
            raise UsageError(f"{self.folder}: there is no {' or '.join(names)}; it comes with the data set")
        path, member = location
        name = f"{path.name}/{member}" if member else path.relative_to(self.folder).as_posix()
        self.used.append(name)
        if name not in self._contents:
            with self.expecting("it cannot be read"):
                content = parse(_read_bytes(path, member), self.folder / name)
            with self.expecting("its parts cannot be counted"):
                self._compare(name, count(content), official)
            self._contents[name] = content
        return self._contents[name]

    def _compare(self, name: str, entries: int, official: int | None) -> None:
        """Remember whether a file is cut or cannot be compared; raise UsageError where it has too many entries."""
        if official is None:
            self._uncounted.add(name)
        elif entries > official:
            raise UsageError(
                f"{self.folder / name}: {counted(entries, 'entry', 'entries')}, and the official file has {official:,}"
            )
        elif entries < official:
            self._cut[name] = f"{name} is cut: {entries:,} of {counted(official, 'entry', 'entries')}"

    def _locate(self, names: tuple[str, ...]) -> tuple[Path, str] | None:
        """Return the first file that is there, or a zip and its member."""
        for name in (*names, *(f"{name}.gz" for name in names)):
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


def _read_bytes(path: Path, member: str) -> bytes:
    if not member and path.suffix == ".gz":
        try:
            return gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{path}: cannot be unpacked ({error})") from error
    if not member:
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, odd compression
        raise UsageError(f"{path}: {member} cannot be unpacked ({error})") from error


def _parse_lines(data: bytes, path: Path) -> list[str]:
    lines = (line.strip() for _, line in numbered_lines(io.BytesIO(data), path))
    return list(dict.fromkeys(line for line in lines if line))


def _parse_json_lines(data: bytes, path: Path) -> list[tuple[int, Any]]:
    values = []
    for number, line in numbered_lines(io.BytesIO(data), path):
        if line.strip():
            try:
                values.append((number, parse_json(line)))
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
    return values


def _parse_rows(data: bytes, path: Path) -> list[tuple[int, dict[str, str]]]:
    return list(with_header(comma_separated(numbered_lines(io.BytesIO(data), path), path), path))


def _parse_tab_rows(data: bytes, path: Path) -> list[tuple[int, dict[str, str]]]:
    return list(with_header(tab_separated(numbered_lines(io.BytesIO(data), path)), path))


def _parse_spaced_rows(data: bytes, path: Path) -> list[tuple[int, list[str]]]:
    return list(comma_separated(numbered_lines(io.BytesIO(data), path), path, spaced=True))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it would run {module}.{name}")


def _parse_plain_pickle(data: bytes, path: Path) -> Mapping[Any, Any]:
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(content, dict):
        raise TypeError(f"a mapping, not {type(content).__name__}")
    return content
