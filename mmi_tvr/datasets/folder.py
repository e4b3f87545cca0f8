"""A folder of videos with their captions in one table: the data set that anybody can make.

`captions.tsv`: UTF-8, tab-separated, a header with `file`; other columns hold captions, in any language. Quotes are
ordinary characters (decision: captions are full of apostrophes and quotes, and a caption holds no tab or line break).
`captions.jsonl`: one object per line, {"file": ..., "caption": "..." or ["...", "..."]}.

Several rows for one file are several captions; a caption repeated for the same file counts once. An empty cell is no
caption, a file left without any is an error. A path may not leave the folder (links inside it are followed: who made
them owns the folder).
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .. import plugins
from ..errors import UsageError
from ..types import Sample, Video
from ..utils.wording import counted

_TABLE_NAMES = ("captions.tsv", "captions.jsonl")
_MAX_NAMED = 5  # files in a message


class Options(plugins.BaseOptions):
    root: Path = Field(description="the folder that holds the videos")
    captions: Path | None = Field(
        None, description="the table (.tsv or .jsonl); default: captions.tsv or .jsonl in root"
    )
    column: str | None = Field(
        None,
        description="which columns hold captions: one name, several with commas, or * for all; "
        "default: caption (or caption1, caption2 ...), or the only one there is",
    )
    missing: Literal["error", "skip"] = Field("error", description="what to do about files that are not there")
    limit: int | None = Field(None, ge=1, description="only the first so many videos of the table")


@dataclass(frozen=True, slots=True)
class FolderDataset:
    """The samples of a folder, in the order of its table; `missing` are the listed files that are not there."""

    present: tuple[Sample, ...]
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def samples(self) -> tuple[Sample, ...]:
        return self.present


def build(options: Options) -> FolderDataset:
    """Read and check the table; no video is opened. A Sample's id is the file as the table writes it.

    Raises UsageError for whatever is wrong with the table, and for missing files unless `missing` is skip.
    """
    root = options.root.expanduser().absolute()
    if not root.is_dir():
        raise UsageError(f"{options.root}: not a folder")
    table = _table_path(options, root)
    samples = _samples(table, root, options.column)[: options.limit]
    present = tuple(sample for sample in samples if sample.video.path.is_file())
    present_ids = {sample.id for sample in present}
    missing = tuple(sample.id for sample in samples if sample.id not in present_ids)
    if missing and (options.missing == "error" or not present):
        raise UsageError(
            f"{table}: {len(missing)} of {counted(len(samples), 'file')} "
            f"missing in {options.root}: {_first_names(missing)}; "
            "put them there, correct the table, or set missing to skip"
        )
    return FolderDataset(present, missing)


def _table_path(options: Options, root: Path) -> Path:
    """Return the table's path: as given, else inside the folder; without one, its usual names there."""
    if options.captions is None:
        candidates = [root / name for name in _TABLE_NAMES]
        problem = f"{options.root} has no {' or '.join(_TABLE_NAMES)}; make one, or name the table with captions"
    else:
        captions = options.captions.expanduser()
        candidates = [captions, root / captions]
        problem = f"{captions}: no such file, neither as given nor in {options.root}"
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(problem)


def _samples(table: Path, root: Path, column: str | None) -> list[Sample]:
    """Return a sample for each file of the table, with the captions of all its rows."""
    ids: dict[Path, str] = {}
    captions: dict[Path, dict[str, None]] = {}  # a dict keeps the order and drops repetitions
    for line, file, texts in _rows(table, column):
        path = _path_inside(root, file, f"{table}, line {line}")
        ids.setdefault(path, file)
        captions.setdefault(path, {}).update(dict.fromkeys(texts))
    if not ids:
        raise UsageError(f"{table}: it lists no file")
    if uncaptioned := [ids[path] for path, texts in captions.items() if not texts]:
        count = f"{len(uncaptioned)} of {counted(len(ids), 'file')}"
        raise UsageError(f"{table}: {count} without a caption: {_first_names(uncaptioned)}")
    return [Sample(ids[path], Video(path), tuple(texts)) for path, texts in captions.items()]


def _path_inside(root: Path, file: str, where: str) -> Path:
    """Return the file's path in the folder; the check is of the written path, so links stay usable."""
    path = Path(os.path.normpath(root / file))
    if "\0" in file or not path.is_relative_to(os.path.normpath(root)):
        raise UsageError(f"{where}: {file!r} leaves the folder; paths are relative to it")
    return path


def _rows(table: Path, column: str | None) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line number, file and captions of every row, whatever the format."""
    readers = {".tsv": _read_tsv, ".jsonl": _read_jsonl}
    if table.suffix.lower() not in readers:
        raise UsageError(f"{table}: captions are read from .tsv or .jsonl, not from {table.suffix or 'a bare name'}")
    try:
        records = readers[table.suffix.lower()](table)
    except UnicodeDecodeError as error:
        raise UsageError(f"{table}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    if not records:
        return
    names = list(dict.fromkeys(name for _, record in records for name in record))
    if "file" not in names:
        raise UsageError(f"{table}: no column is called 'file'; there are: {', '.join(names) or 'none'}")
    caption_columns = _caption_columns([name for name in names if name != "file"], column, table)
    for line, record in records:
        where = f"{table}, line {line}"
        file = record.get("file")
        if not isinstance(file, str) or not file.strip():
            raise UsageError(f"{where}: the file's name is missing")
        yield line, file.strip(), [text for name in caption_columns for text in _texts(record.get(name), name, where)]


def _caption_columns(names: list[str], column: str | None, table: Path) -> list[str]:
    """Return which of a table's columns hold captions.

    A guess among several would rank licences as captions, so there the user has to say.
    """
    listing = ", ".join(names) or "none"
    if column is None:
        usual = [name for name in names if re.fullmatch(r"captions?[ _]?\d*", name, re.IGNORECASE)]
        if usual or len(names) == 1:
            return usual or names
        raise UsageError(f"{table}: which column holds the captions? Set column (there are: {listing})")
    if column.strip() == "*":
        columns = names
    elif column in names:
        columns = [column]
    else:
        columns = [name.strip() for name in column.split(",") if name.strip()]
    unknown = [name for name in columns if name not in names]
    if unknown or not columns:
        raise UsageError(f"{table}: no column {', '.join(map(repr, unknown)) or repr(column)}; there are: {listing}")
    return columns


def _texts(value: Any, name: str, where: str) -> Iterator[str]:
    """Yield the captions of a cell: a text, or a list of texts."""
    for text in value if isinstance(value, list) else [value]:
        if text is not None and not isinstance(text, str):
            raise UsageError(f"{where}: {name} is text or a list of texts, not {text!r}")
        if text and text.strip():
            yield text.strip()


def _read_tsv(table: Path) -> list[tuple[int, Mapping[str, Any]]]:
    records: list[tuple[int, Mapping[str, Any]]] = []
    with table.open(encoding="utf-8-sig") as stream:  # takes a byte order mark, and any line ending
        reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        try:
            header = [name.strip() for name in next(reader, [])]
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise UsageError(f"{table}: the header has {_first_names(repeated)} more than once")
            for cells in reader:
                if len(cells) > len(header):
                    raise UsageError(
                        f"{table}, line {reader.line_num}: {counted(len(cells), 'cell')} "
                        f"for {counted(len(header), 'column')}; "
                        "a caption holds no tab"
                    )
                if any(cell.strip() for cell in cells):
                    records.append((reader.line_num, dict(zip_longest(header, cells, fillvalue=""))))
        except csv.Error as error:
            raise UsageError(f"{table}, line {reader.line_num}: {error}") from error
    return records


def _read_jsonl(table: Path) -> list[tuple[int, Mapping[str, Any]]]:
    return list(read_jsonl(table, "an object with 'file' and 'caption'"))


def read_jsonl(table: Path, expected: str = "an object") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with one on each line, and the numbers of their lines.

    Raises UsageError, which says what is `expected`, at a line that is no object.
    """
    with table.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                record = json.loads(text)
            except json.JSONDecodeError as error:
                raise UsageError(f"{table}, line {line}: not JSON ({error.msg})") from error
            if not isinstance(record, dict):
                raise UsageError(f"{table}, line {line}: {expected}, not {text.strip()[:40]}")
            yield line, record


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
