"""Text files as people and programs write them: lines, tables and JSON, with errors that name the file and the line.

Lines end in \\n or \\r\\n and in nothing else: what Unicode calls a line break besides (U+0085, U+2028, a form feed)
may stand inside a sentence. Files are UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..types import clean_text
from .wording import counted

_CSV_ERRORS = {  # part of Python's message -> what it means
    "new-line character": "a carriage return in a cell without quotation marks",
    "unexpected end of data": "a quotation mark is never closed",
}
_SHOWN = 40  # characters of a wrong line in a message

NumberedLines = Iterable[tuple[int, str]]  # from 1, without the line's end


def numbered_lines(stream: Iterable[bytes], path: object) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of every line.

    Args:
        stream: a file that is open in binary mode, which splits at \\n alone.
        path: of the file, for messages.
    Raises:
        UsageError: the file is in another encoding, or its lines end in \\r alone.
    """
    for number, line in enumerate(stream, start=1):
        if number == 1:
            _refuse_other_encoding(line, path)
            line = line.removeprefix(codecs.BOM_UTF8)
            if b"\r" in line.rstrip(b"\r\n") and not line.endswith(b"\n"):
                raise UsageError(f"{path}: its lines end in carriage returns alone; save it with ordinary line ends")
        try:
            text = line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(error, path, number) from error
        yield number, text


def decode(data: bytes, path: object) -> str:
    """Return the text of a whole file. Raises UsageError where it is in another encoding."""
    _refuse_other_encoding(data, path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, data.count(b"\n", 0, error.start) + 1) from error


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises ValueError, with a reason in a few words, also where it nests too deep or has a key twice, of which one would
    be lost.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except json.JSONDecodeError as error:
        line = f" in line {error.lineno}" if error.lineno > 1 else ""
        raise ValueError(f"{error.msg}{line}") from error


def read_json_object(path: Path, expected: str) -> dict[str, Any]:
    """Return the JSON object of a whole file. Raises UsageError, which says what is `expected`, where it has none."""
    try:
        document = parse_json(decode(path.read_bytes(), path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: no JSON ({error})") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected {expected}")
    return document


def json_objects(
    lines: NumberedLines, path: object, expected: str = "an object"
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of every line that is not blank.

    Raises UsageError, which says what is `expected`, at a line that is no object.
    """
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise UsageError(f"{path}, line {number}: {expected}, not {line.strip()[:_SHOWN]}")
        yield number, value


def tab_separated(lines: NumberedLines) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that is not blank; quotes are ordinary characters."""
    for number, line in lines:
        if line.strip():
            yield number, line.split("\t")


def comma_separated(lines: NumberedLines, path: object, spaced: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the cells of every record that is not blank.

    A cell in quotation marks may hold commas, tabs and line ends; where cells are `spaced`, spaces may stand in front.
    Raises UsageError where a record is none.
    """
    last = 0  # line that was read last

    def texts() -> Iterator[str]:
        nonlocal last
        for last, line in lines:  # noqa: B007  the reader asks how far it is
            yield f"{line}\n"

    reader = csv.reader(texts(), strict=True, skipinitialspace=spaced)
    while True:
        first = last + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = next((words for part, words in _CSV_ERRORS.items() if part in str(error)), str(error))
            raise UsageError(f"{path}, line {first}: {reason}") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield first, cells


def with_header(
    rows: Iterable[tuple[int, Sequence[str]]], path: object, advice: str = ""
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the cells by column of every row but the first, whose cells name the columns.

    Args:
        rows: with the numbers of their lines. Cells that a row lacks at its end are empty.
        path: of the file, for messages.
        advice: what to say of a row with more cells than columns.
    Raises:
        UsageError: a column is there twice, or a row has more cells than there are columns.
    """
    header: list[str] | None = None
    for number, cells in rows:
        if header is None:
            header = [clean_text(cell).strip() for cell in cells]
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise UsageError(f"{path}: the header has {', '.join(repeated)} more than once")
            continue
        if len(cells) > len(header):
            sizes = f"{counted(len(cells), 'cell')} for {counted(len(header), 'column')}"
            raise UsageError(f"{path}, line {number}: {sizes}{advice}")
        yield number, dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=True))


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name[:_SHOWN]!r} is there twice")
    return values


def _refuse_other_encoding(start: bytes, path: object) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start[:4]:
        raise UsageError(f"{path}: not UTF-8 text, but UTF-16 or no text at all; save it as UTF-8")


def _not_utf8(error: UnicodeDecodeError, path: object, line: int) -> UsageError:
    byte = error.object[error.start]
    return UsageError(f"{path}, line {line}: not UTF-8 text (byte 0x{byte:02x}: {error.reason}); save it as UTF-8")
