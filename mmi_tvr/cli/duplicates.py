"""`duplicates`: the same pictures and films of a library, saved again."""

from __future__ import annotations

import typer

from ..errors import LibraryMissing
from ..library.duplicates import DuplicateItem
from ..utils.printable import printable
from ..utils.wording import counted, time_span
from ._console import NOTHING_INDEXED, JsonOption, LibraryOption, fail, out, print_json, say, show_progress
from ._libraries import open_library


def register(app: typer.Typer) -> None:
    app.command()(duplicates)


def duplicates(library: LibraryOption, as_json: JsonOption = False) -> None:
    """List near-duplicates: pictures and films that were saved again, smaller or in another format. Deletes nothing.

    `search` shows those of one group as one hit. What was indexed before `index` looked for them is decoded once. Exit
    code 3: there is no library.
    """
    try:
        with open_library(library) as opened, show_progress() as progress:
            report = opened.duplicates(progress)
    except LibraryMissing as error:
        fail(str(error), NOTHING_INDEXED)
    if report.unread:
        say(f"[yellow]not looked at: {counted(report.unread, 'item')}[/], whose files are away or cannot be read")
    if as_json:
        print_json(report.as_dict())
        return
    for group in report.groups:
        for place, item in enumerate(group):
            out.print(f"{'  ' if place else '- '}{_line(item)}", markup=False)
    out.print(f"{counted(len(report.groups), 'group')} of near-duplicates among {counted(report.items, 'item')}")


def _line(item: DuplicateItem) -> str:
    """Return an item as people read it: how large it is, and where."""
    facts = item.facts
    sides = f"{facts.width} x {facts.height}, " if facts.width and facts.height else ""
    length = "" if facts.is_still else f"{time_span(facts.seconds)}, "
    copies = f" (+{counted(len(item.paths) - 1, 'copy', 'copies')})" if len(item.paths) > 1 else ""
    return f"{sides}{length}{item.size / 1e6:,.2f} MB  {printable(item.paths[0])}{copies}"
