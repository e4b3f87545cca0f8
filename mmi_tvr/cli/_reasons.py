"""Lists of files that cannot be used, with the reason of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from ..utils.printable import printable
from ..utils.wording import library_option
from ._console import out, say

MAX_NAMED = 20  # files that a command lists by name, besides `status`


def say_reasons(title: str, reasons: Sequence[tuple[Path, str]], library: Path) -> None:
    """List the first files on stderr, below a title (rich markup); `status` lists all."""
    say(f"{title}:")
    for path, reason in reasons[:MAX_NAMED]:
        say(f"  {escape(printable(path))}: {escape(reason)}")
    if len(reasons) > MAX_NAMED:
        command = f"mmi-tvr status {library_option(library)}"
        say(f"  and {len(reasons) - MAX_NAMED:,} more: {escape(command)} lists all")


def print_reasons(title: str, reasons: Sequence[tuple[Path, str]]) -> None:
    """List all files on stdout, below a title and an empty line."""
    out.print(f"\n{title}:", markup=False)
    for path, reason in reasons:
        out.print(f"  {printable(path)}: {printable(reason)}", markup=False)
