"""Items of long work, read from lists: txt (one a line), csv, tsv, jsonl or parquet (a column each)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import Section
from ..datasets.folder import read_jsonl
from ..errors import UsageError
from ..library.scan import Root, scan

Item = dict[str, Any]  # "id", and what the work needs; JSON
Row = tuple[str, Mapping[str, Any]]  # where it stands, for messages, and its cells

PATHS = ("path", "file", "video")  # columns that are looked for, in this order
QUERIES = ("query", "text", "caption", "sentence")
_TEXT = "text"  # the only cell of a line of a .txt file


def queries(table: Path, column: str | None = None, ids: str | None = None) -> list[Item]:
    """{"id", "text"} of every query; without a column of ids (`id`), they are numbered from 1.

    Raises UsageError for an empty query, an id that comes twice, and whatever is wrong with the file.
    """
    items = [{"id": name, "text": text} for name, text, _ in _listed(table, QUERIES, column, ids, number=True)]
    _refuse_twins(items, table)
    return items


def videos(source: Path, column: str | None = None, ids: str | None = None, root: Path | None = None) -> list[Item]:
    """{"id", "path", "start", "end"} of every video below a folder, or of every row of a list.

    A list's paths are relative to `root`, else to the list's own folder; columns `start` and `end` (seconds) name a
    span. Without a column of ids (`id`), the path as it is written is the id. A file that is not there is no error
    here: it is set aside when its turn comes.
    """
    if source.is_dir():
        found = sorted(scan([Root(source.resolve())]).files)
        items = [_video(str(path.relative_to(source.resolve())), path) for path in found]
        if not items:
            raise UsageError(f"{source}: no video file is in this folder")
        return items
    below = (root or source.parent).absolute()
    items = []
    for name, path, (where, row) in _listed(source, PATHS, column, ids, number=False):
        start = _second(row.get("start"), where) or 0.0
        items.append(_video(name, below / path, start, _second(row.get("end"), where)))
    _refuse_twins(items, source)
    return items


def samples(section: Section) -> list[Item]:
    """The videos of a data set's split. Generated ones are rendered first."""
    dataset = plugins.build("datasets", section.name, section.options)
    if hasattr(dataset, "generate"):
        dataset.generate()
    found = [dataset.samples()[at] for at in range(len(dataset.samples()))]
    return [_video(each.id, each.video.path.absolute(), each.video.start, each.video.end) for each in found]


def rows(table: Path) -> Iterator[Row]:
    """The rows of a file, whatever its format; UsageError where it cannot be read."""
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".txt": _lines,
        ".csv": _separated,
        ".tsv": _separated,
        ".jsonl": _objects,
        ".parquet": _parquet,
    }
    reader = readers.get(table.suffix.lower())
    if reader is None:
        raise UsageError(f"{table}: a list is a {', '.join(readers)} file, not {table.suffix or 'a bare name'}")
    try:
        yield from reader(table)
    except FileNotFoundError:
        raise UsageError(f"{table}: no such file or folder") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{table}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _listed(
    table: Path, known: Sequence[str], column: str | None, ids: str | None, number: bool
) -> Iterator[tuple[str, str, Row]]:
    """Id, wanted cell and row; `number`: rows without an id are numbered, else the cell is its own id."""
    empty = True
    for at, (where, row) in enumerate(rows(table), start=1):
        empty = False
        chosen = _column(row, known, column, where)
        text = row[chosen]
        if not isinstance(text, str) or not text.replace("\0", " ").strip():
            raise UsageError(f"{where}: {chosen!r} is empty or no text")
        if ids is not None and ids not in row:
            raise UsageError(f"{where}: no column is called {ids!r}; there are: {', '.join(row)}")
        name = row.get(ids or "id")
        yield (str(at) if number else text.strip()) if name in (None, "") else str(name), text.strip(), (where, row)
    if empty:
        raise UsageError(f"{table}: it lists nothing")


def _column(row: Mapping[str, Any], known: Sequence[str], column: str | None, where: str) -> str:
    if column is not None:
        found = [column] if column in row or set(row) == {_TEXT} else []
        found = [_TEXT] if found and column not in row else found
    else:
        found = [name for name in (*known, _TEXT) if name in row]
    if not found:
        wanted = repr(column) if column else " or ".join(map(repr, known))
        raise UsageError(f"{where}: no column {wanted}; there are: {', '.join(row) or 'none'} (name one with --column)")
    return found[0]


def _refuse_twins(items: Sequence[Item], table: Path) -> None:
    seen: set[str] = set()
    for item in items:
        if item["id"] in seen:
            raise UsageError(f"{table}: id {item['id']!r} comes more than once; give each row an id of its own")
        seen.add(item["id"])


def _video(name: str, path: Path, start: float = 0.0, end: float | None = None) -> Item:
    return {"id": name, "path": str(path), "start": start, "end": end}


def _second(value: Any, where: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        second = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: start and end are seconds, not {value!r}") from None
    return None if second != second else second  # parquet writes an absent number as NaN


def _lines(table: Path) -> Iterator[Row]:
    with table.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield f"{table}, line {number}", {_TEXT: line.strip()}


def _separated(table: Path) -> Iterator[Row]:
    with table.open(encoding="utf-8-sig", newline="") as stream:
        if table.suffix.lower() == ".csv":
            reader = csv.DictReader(stream, strict=True)
        else:  # quotes are ordinary characters there, as in `datasets.folder`
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        try:
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if None in row:
                    raise UsageError(f"{where}: more cells than the header has columns")
                yield where, row
        except csv.Error as error:
            raise UsageError(f"{table}, line {reader.line_num}: {error}") from error


def _objects(table: Path) -> Iterator[Row]:
    for number, row in read_jsonl(table):
        yield f"{table}, line {number}", row


def _parquet(table: Path) -> Iterator[Row]:
    pyarrow, parquet = plugins.require("pyarrow", "train"), plugins.require("pyarrow.parquet", "train")
    try:
        with table.open("rb") as stream:
            at = 0
            for batch in parquet.ParquetFile(stream).iter_batches():
                for row in batch.to_pylist():
                    at += 1
                    yield f"{table}, row {at}", row
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"{table}: not readable as parquet ({str(error).splitlines()[0]})") from error
