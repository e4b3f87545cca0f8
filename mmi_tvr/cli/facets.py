"""`facets`: what the videos of a library show, as classes that a search can be restricted to."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ..errors import LibraryMissing
from ..library import FacetReport
from ..report import precision_text
from ..types import FacetCalibration
from ..utils.tables import text_table
from ..utils.wording import counted, library_option
from ._console import NOTHING_INDEXED, JsonOption, LibraryOption, fail, out, print_json, say
from ._libraries import open_library

_UNRELIABLE = "*"


def register(app: typer.Typer) -> None:
    app.command()(facets)


def facets(
    library: LibraryOption,
    top: Annotated[int, typer.Option(min=1, help="at most so many classes of a level, in the text")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what the videos show, by level, and how often that is right. `search --where LEVEL=NAME` looks among them.

    Exit code 0: listed; 3: there is no library; 2: its model reads no classes off videos.
    """
    try:
        with open_library(library) as opened:
            report = opened.facets()
    except LibraryMissing as error:
        fail(str(error), NOTHING_INDEXED)
    _say_calibration(report.calibration)
    if report.missing:
        option = escape(library_option(library))
        say(
            f"[yellow]indexed before facets were stored: {counted(report.missing, 'video')} of {report.videos:,}[/]; "
            f"once more: mmi-tvr index {option} --rebuild"
        )
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report, top)


def _say_calibration(calibration: FacetCalibration | None) -> None:
    if calibration is None:
        say(
            "[yellow]nobody measured how often these are right[/]: "
            "mmi-tvr evaluate facets DATA --split val --checkpoint FOLDER --calibrate"
        )
    else:
        say(
            f"thresholds keep a precision of {100 * calibration.precision:.0f} %, measured on "
            f"{escape(calibration.data)}; {_UNRELIABLE} too little evidence"
        )


def _print(report: FacetReport, top: int) -> None:
    for level, listed in report.levels.items():
        if not listed:
            out.print(f"{level}: no video counts as showing any class of it", markup=False)
            continue
        shown = listed[:top]
        rows = [[level, "videos", "precision", ""]]
        for facet in shown:
            mark = "" if facet.threshold.is_reliable else _UNRELIABLE
            rows.append([facet.name, f"{facet.videos:,}", precision_text(facet.threshold), mark])
        for line in text_table(rows, left=(0, 2, 3)):
            out.print(line, markup=False)
        if len(listed) > top:
            out.print(f"and {len(listed) - top:,} more (--top)")
