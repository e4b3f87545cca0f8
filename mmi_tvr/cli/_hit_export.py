"""`search --export`: hits as a playlist, a timeline, an edit decision list, or paths for `xargs -0`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import UsageError
from ..report.playlist import PLAYLIST_MARK, playlist
from ..report.timeline import TIMELINE_MARK, edit_decision_list, require_timeline, timeline
from ..search import SearchResult
from ..types import Hit
from ..utils import files
from ..utils.printable import printable
from ..utils.wording import counted
from ._console import say

PATHS = "paths0"  # prints paths, each with a NUL behind it
ExportOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|paths0",
        help="write the hits: FILE.m3u (playlist), .otio or .edl (timeline); paths0 prints paths for xargs -0",
    ),
]


@dataclass(frozen=True, slots=True)
class _Format:
    """How hits are written: the content of a file, its mark, and what is needed for it."""

    content: Callable[[Sequence[Hit], str], bytes]
    mark: bytes
    check: Callable[[], None] = lambda: None


_FORMATS = {
    ".m3u": _Format(lambda hits, title: playlist(hits), PLAYLIST_MARK),
    ".m3u8": _Format(lambda hits, title: playlist(hits), PLAYLIST_MARK),
    ".otio": _Format(timeline, TIMELINE_MARK, require_timeline),
    ".edl": _Format(edit_decision_list, TIMELINE_MARK, require_timeline),
}


def check_export(export: str | None, force: bool, as_json: bool) -> None:
    """Raise UsageError or MissingExtra where hits could not be written, before the search."""
    if export is None:
        return
    if export == PATHS:
        if as_json:
            raise UsageError("--json and --export paths0 both print on stdout; leave out one")
        return
    chosen = _format(export)
    chosen.check()
    files.check_output(Path(export), chosen.mark, force)


def write_export(result: SearchResult, export: str | None, force: bool) -> None:
    """Write the hits whose files are there, as `--export` says. Raises OSError."""
    if export is None:
        return
    hits = [hit for hit in result if not hit.is_missing]
    if len(hits) < len(result):
        say(f"left out: {counted(len(result) - len(hits), 'hit')} whose file is away")
    if export == PATHS:
        with files.naming("the output"):
            sys.stdout.buffer.write(b"".join(os.fsencode(os.path.abspath(hit.path)) + b"\0" for hit in hits))
            sys.stdout.buffer.flush()
        return
    chosen = _format(export)
    files.write_output(Path(export), chosen.content(hits, result.query.text), chosen.mark, force)
    say(escape(f"{counted(len(hits), 'hit')}: {printable(export)}"))


def _format(export: str) -> _Format:
    chosen = _FORMATS.get(Path(export).suffix.lower())
    if chosen is None:
        raise UsageError(f"--export {export}: name a file that ends in {', '.join(_FORMATS)}, or {PATHS}")
    return chosen
