"""Items of long work, read from lists: txt (one a line), csv, tsv, jsonl or parquet (a column each)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import Section
from ..errors import UsageError, one_line
from ..library.scan import Root, scan
from ..media.names import AUDIO_SUFFIXES
from ..protocols import DatasetWithFeatures, GeneratedDataset
from ..types import as_where, clean_text
from ..utils.installation import require
from ..utils.names import SpelledPaths
from ..utils.textfiles import comma_separated, json_objects, numbered_lines, tab_separated, with_header

Item = dict[str, Any]  # "id", and what the work needs; JSON
Row = tuple[str, Mapping[str, Any]]  # where it stands, for messages, and its cells

PATHS = ("path", "file", "video")  # columns that are looked for, in this order
QUERIES = ("query", "text", "caption", "sentence")
LIKE = "like"  # the column of examples
_TEXT = "text"  # the only cell of a line of a .txt file


def queries(table: Path, column: str | None = None, id_column: str | None = None) -> list[Item]:
    """Return {"id", "text"} of every query; without a column of ids (`id`), they are numbered from 1.

    Where an object in the column `where` (jsonl, parquet) restricts a query, its item has "where", too: names of
    classes by level. Of a query with an example in the column `like` (FILE or FILE@SECONDS, relative to the list), it
    has "like", and the text may be empty.

    Raises UsageError for an empty query, an id that comes twice, and whatever is wrong with the file.
    """
    items = [
        {"id": str(cell.row_number) if cell.row_id is None else cell.row_id, "text": clean_text(cell.text).strip()}
        | _where(cell)
        | _like(cell, table)
        for cell in _cells(table, QUERIES, column, id_column, instead=LIKE)
    ]
    _refuse_repeated_ids(items, table)
    return items


def videos(
    source: Path, column: str | None = None, id_column: str | None = None, root: Path | None = None
) -> list[Item]:
    """Return {"id", "path", "start", "end"} of every video and picture below a folder, or of every row of a list.

    Args:
        source: a folder of videos and pictures, or a list.
        column: the list's column of paths; default: the first of PATHS that is there.
        id_column: the list's column of ids, else `id`; without one, the path as it is written is the id.
        root: folder that a list's paths are relative to; default: the list's own folder.
    Returns:
        Items with absolute paths; a list's columns `start` and `end` (seconds) name a span. A file that is not there
        is no error here: it is set aside when its turn comes. A name may be in another form of Unicode than the file's.
    Raises:
        UsageError: no video in the folder, an id that comes twice, or whatever is wrong with the list.
    """
    if source.is_dir():
        files = scan([Root(source.resolve())]).files
        paths = sorted(path for path in files if path.suffix.lower() not in AUDIO_SUFFIXES)
        if not paths:
            raise UsageError(f"{source}: no video file and no picture is in this folder")
        return [_video(str(path.relative_to(source.resolve())), path) for path in paths]
    folder = (root or source.parent).absolute()
    items, disk = [], SpelledPaths()
    for cell in _cells(source, PATHS, column, id_column):
        start = _seconds(cell.row.get("start"), cell.where) or 0.0
        end = _seconds(cell.row.get("end"), cell.where)
        path = disk.find(folder / cell.text)
        items.append(_video(cell.text if cell.row_id is None else cell.row_id, path, start, end))
    _refuse_repeated_ids(items, source)
    return items


def samples(section: Section) -> list[Item]:
    """Return the videos of a data set's split, as `videos` does. Generated ones are rendered first; those of one that
    brings features along have their "number" in it."""
    dataset = plugins.build("datasets", section.name, section.options)
    if isinstance(dataset, GeneratedDataset):
        dataset.generate()
    listed = dataset.samples()
    items = [
        _video(sample.id, sample.video.path.absolute(), sample.video.start, sample.video.end)
        for sample in (listed[number] for number in range(len(listed)))
    ]
    if isinstance(dataset, DatasetWithFeatures):
        return [{**item, "number": number} for number, item in enumerate(items)]
    return items


def rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a file, whatever its format. Raises UsageError where it cannot be read."""
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".txt": _read_lines,
        ".csv": _read_separated,
        ".tsv": _read_separated,
        ".jsonl": _read_objects,
        ".parquet": _read_parquet,
    }
    reader = readers.get(table.suffix.lower())
    if reader is None:
        raise UsageError(f"{table}: a list is a {', '.join(readers)} file, not {table.suffix or 'a bare name'}")
    try:
        yield from reader(table)
    except FileNotFoundError:
        raise UsageError(f"{table}: no such file or folder") from None


@dataclass(frozen=True, slots=True)
class _Cell:
    """The cell of a row that names an item: its text, the row's number from 1 and its id, if it has one."""

    text: str
    row_number: int
    row_id: str | None
    where: str  # for messages
    row: Mapping[str, Any]


def _cells(
    table: Path, known: Sequence[str], column: str | None, id_column: str | None, instead: str | None = None
) -> Iterator[_Cell]:
    """Yield the cell of each row that names an item.

    Args:
        table: a list in any format.
        known: columns that are looked for, in this order, where none is named.
        column: the column of the cell, or None.
        id_column: the column of the id, which then has to be there; else `id`.
        instead: a column; where a row has a text in it, its own cell may be empty, or not there.
    Raises:
        UsageError: a column is not there, a cell is empty or no text, or the list has no row.
    """
    number = 0
    for number, (where, row) in enumerate(rows(table), start=1):
        excused = instead is not None and _names_file(row.get(instead))
        nothing_else = excused and not {*known, column} & set(row)
        name = str(instead) if nothing_else else _column(row, known, column, where)
        text = "" if nothing_else or (excused and row[name] is None) else row[name]
        if not isinstance(text, str) or not (excused or clean_text(text).strip()):
            raise UsageError(f"{where}: {name!r} is empty or no text")
        if id_column is not None and id_column not in row:
            raise UsageError(f"{where}: no column is called {id_column!r}; there are: {', '.join(row)}")
        row_id = row.get(id_column or "id")
        yield _Cell(text.strip(), number, None if row_id in (None, "") else str(row_id), where, row)
    if number == 0:
        raise UsageError(f"{table}: it lists nothing")


def _column(row: Mapping[str, Any], known: Sequence[str], column: str | None, where: str) -> str:
    """Return the column to read: the named one, else the first known one; the lines of a text file have only one."""
    if column is None:
        candidates = [name for name in (*known, _TEXT) if name in row]
    elif column in row:
        candidates = [column]
    else:
        candidates = [_TEXT] if set(row) == {_TEXT} else []
    if not candidates:
        expected = repr(column) if column else " or ".join(map(repr, known))
        names = ", ".join(row) or "none"
        raise UsageError(f"{where}: no column {expected}; there are: {names} (name one with --column)")
    return candidates[0]


def _refuse_repeated_ids(items: Sequence[Item], table: Path) -> None:
    ids: set[str] = set()
    for item in items:
        if item["id"] in ids:
            raise UsageError(f"{table}: id {item['id']!r} comes more than once; give each row an id of its own")
        ids.add(item["id"])


def _where(cell: _Cell) -> Item:
    """Return {"where"} of a query that is restricted; else nothing. A column of that name with texts is another one."""
    value = cell.row.get("where")
    if not isinstance(value, Mapping):
        return {}
    try:  # a column of parquet has every level in every row
        where = as_where({level: names for level, names in value.items() if names is not None})
    except UsageError as error:
        raise UsageError(f"{cell.where}: {error}") from error
    return {"where": {level: sorted(names) for level, names in where.items()}} if where else {}


def _like(cell: _Cell, table: Path) -> Item:
    """Return {"like"} of a query with an example, as an absolute path; else nothing. A column of that name with numbers
    is another one."""
    value = cell.row.get(LIKE)
    return {LIKE: str(table.absolute().parent / str(value).strip())} if _names_file(value) else {}


def _names_file(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not value.strip().replace(",", "").isdigit()


def _video(name: str, path: Path, start: float = 0.0, end: float | None = None) -> Item:
    return {"id": name, "path": str(path), "start": start, "end": end}


def _seconds(value: Any, where: str) -> float | None:
    """Read a cell of seconds; None where it is empty."""
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: start and end are seconds, not {value!r}") from None
    return None if math.isnan(seconds) else seconds  # parquet writes an absent number as NaN


def _read_lines(table: Path) -> Iterator[Row]:
    with table.open("rb") as stream:
        for number, line in numbered_lines(stream, table):
            if line.strip():
                yield f"{table}, line {number}", {_TEXT: line.strip()}


def _read_separated(table: Path) -> Iterator[Row]:
    with table.open("rb") as stream:
        lines = numbered_lines(stream, table)
        # In a .tsv quotes are ordinary characters, as in `datasets.folder`.
        cells = comma_separated(lines, table) if table.suffix.lower() == ".csv" else tab_separated(lines)
        for number, row in with_header(cells, table):
            yield f"{table}, line {number}", row


def _read_objects(table: Path) -> Iterator[Row]:
    with table.open("rb") as stream:
        for number, row in json_objects(numbered_lines(stream, table), table):
            yield f"{table}, line {number}", row


def _read_parquet(table: Path) -> Iterator[Row]:
    pyarrow, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    try:
        with table.open("rb") as stream:
            batches = parquet.ParquetFile(stream).iter_batches()
            listed = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(listed, start=1):
                yield f"{table}, row {number}", row
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"{table}: not readable as parquet ({one_line(error)})") from error
