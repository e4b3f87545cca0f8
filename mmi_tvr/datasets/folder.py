"""A folder of videos with their captions in one table: the data set that anybody can make.

`captions.tsv`: UTF-8, tab-separated, a header with `file`; other columns hold captions, in any language. Quotes are
ordinary characters (decision: captions are full of apostrophes and quotes, and a caption holds no tab or line break).
`captions.jsonl`: one object per line, {"file": ..., "caption": "..." or ["...", "..."]}.

Several rows for one file are several captions; a caption repeated for the same file counts once. Of several columns, or
of a list, some may be empty; a line without any caption is an error (decision: an empty sentence would be a query that
no video answers). A path may not leave the folder (links inside it are followed: who made them owns the folder), and
its letters may be composed otherwise than the disk has them ("é" as one character or as two).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .. import plugins
from ..errors import UsageError
from ..types import Sample, Video, clean_text
from ..utils.names import SpelledPaths
from ..utils.textfiles import NumberedLines, json_objects, numbered_lines, tab_separated, with_header
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
        advice = "or leave them out (--skip-missing; missing: skip)" if present else "or name the folder that has them"
        raise UsageError(
            f"{table}: {len(missing)} of {counted(len(samples), 'file')} "
            f"missing in {options.root}: {_first_names(missing)}; put them there, correct the table, {advice}"
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
    uncaptioned: list[tuple[int, str]] = []  # line and file
    disk = SpelledPaths()
    for line, file, texts in _rows(table, column):
        path = disk.find(_path_inside(root, file, f"{table}, line {line}"))
        ids.setdefault(path, file)
        captions.setdefault(path, {}).update(dict.fromkeys(texts))
        if not texts:
            uncaptioned.append((line, file))
    if not ids:
        raise UsageError(f"{table}: it lists no file")
    if uncaptioned:
        line, file = uncaptioned[0]
        all_lines = f" ({counted(len(uncaptioned), 'such line')})" if len(uncaptioned) > 1 else ""
        raise UsageError(f"{table}, line {line}: {file} has no caption{all_lines}; write one, or leave out the line")
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
    with table.open("rb") as stream:
        records = list(readers[table.suffix.lower()](numbered_lines(stream, table), table))
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
    """Yield the captions of a cell: a text, or a list of texts; one that is empty is none."""
    for text in value if isinstance(value, list) else [value]:
        if text is not None and not isinstance(text, str):
            raise UsageError(f"{where}: {name} is text or a list of texts, not {text!r}")
        if text and (caption := clean_text(text).strip()):
            yield caption


def _read_tsv(lines: NumberedLines, table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return with_header(tab_separated(lines), table, "; a caption holds no tab")


def _read_jsonl(lines: NumberedLines, table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return json_objects(lines, table, "an object with 'file' and 'caption'")


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
