"""Numbers with their intervals, and rows of cells as plain text or as Markdown: the one formatter of the package."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from .printable import printable


def bounds(low: float, high: float, *, signed: bool = False, digits: int = 1) -> str:
    """Return the two ends of an interval in brackets; `signed` shows the plus of a difference.

    >>> bounds(1.25, 3), bounds(-1, 3, signed=True), bounds(0.5, 2, digits=2)
    ('[1.2, 3.0]', '[-1.0, +3.0]', '[0.50, 2.00]')
    """
    return f"[{_number(low, signed, digits)}, {_number(high, signed, digits)}]"


def interval(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """Return a number with its interval behind it, with one decimal place.

    >>> interval(50, 40, 60), interval(2, -1, 3, signed=True)
    ('50.0 [40.0, 60.0]', '+2.0 [-1.0, +3.0]')
    """
    return f"{_number(value, signed, 1)} {bounds(low, high, signed=signed)}"


def text_table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,), widths: Sequence[int] = ()) -> list[str]:
    """Return rows of cells as lines of plain text in columns that are two spaces apart.

    Args:
        rows: Cells; all rows have equally many.
        left: The columns that are aligned to the left; the others are aligned to the right.
        widths: The least width of each column, where it should not depend on the cells alone.

    >>> text_table([["", "n"], ["one", "10"], ["three", "9"]])
    ['        n', 'one    10', 'three   9']
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    needed = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if widths:
        needed = [max(pair) for pair in zip(needed, widths, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, needed, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown_row(cells: Iterable[str]) -> str:
    r"""Return one row of a Markdown table, with whatever would end a cell or be HTML escaped.

    >>> markdown_row(["a", "b"]), markdown_row(["x|y", "<b>"])
    ('| a | b |', '| x\\|y | &lt;b> |')
    """
    return f"| {' | '.join(map(_markdown_cell, cells))} |"


def markdown_table(rows: Sequence[Sequence[str]], padded: bool = False) -> list[str]:
    """Return the lines of a Markdown table, of which the first row is the header.

    padded: fill the cells up, so that the columns stand below each other in plain text, too.

    >>> markdown_table([["a", "b"], ["1", "long"]])
    ['| a | b |', '|---|---|', '| 1 | long |']
    >>> markdown_table([["a", "b"], ["1", "long"]], padded=True)
    ['| a | b    |', '|---|------|', '| 1 | long |']
    """
    rule = ["---"] * len(rows[0])
    if padded:
        rows = [[_markdown_cell(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
        rule = ["-" * (width + 2) for width in widths]
    header, *body = (markdown_row(row) for row in rows)
    return [header, f"|{'|'.join(rule)}|", *body]


def _markdown_cell(cell: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", printable(cell)).replace("<", "&lt;")


def _number(value: float, signed: bool, digits: int) -> str:
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
