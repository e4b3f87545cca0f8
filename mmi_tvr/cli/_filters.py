"""Options that restrict a search to some items of a library, and what they mean; and what is not to be there."""

from __future__ import annotations

from typing import Annotated

import typer

from ..library.filters import FilterKeywords
from ..utils.printable import decoded
from ._terminal import working_folder

KindOption = Annotated[
    str | None, typer.Option(metavar="KIND,...", help="only some of image, video, audio (of a library)")
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="DATE", help="taken then or later: 2024, 2024-05, 2024-05-01, today, yesterday")
]
UntilOption = Annotated[str | None, typer.Option(metavar="DATE", help="taken then, all of that day or year, or before")]
InOption = Annotated[
    list[str] | None, typer.Option("--in", metavar="FOLDER", help="only what lies below; may be repeated")
]
LongerOption = Annotated[str | None, typer.Option(metavar="SECONDS", help="at least so long: 90, or 1:30")]
ShorterOption = Annotated[str | None, typer.Option(metavar="SECONDS", help="at most so long; stills have no length")]
PlaceOption = Annotated[
    str | None,
    typer.Option(metavar="LAT,LON,KM", help="taken so near to a place; or in a box SOUTH,WEST,NORTH,EAST"),
]
NotOption = Annotated[
    list[str] | None, typer.Option("--not", metavar="TEXT", help="what is not to be there; may be repeated")
]


def filter_keywords(
    kind: str | None,
    since: str | None,
    until: str | None,
    folders: list[str] | None,
    longer: str | None,
    shorter: str | None,
    place: str | None,
) -> FilterKeywords:
    """Return what `Library.search` takes for these options; folders are from where the person stands.

    Args:
        kind: some of the kinds.
        since: a date.
        until: a date.
        folders: in one of which it lies.
        longer: seconds.
        shorter: seconds.
        place: a circle or a box.
    """
    below = [str(working_folder() / decoded(folder)) for folder in folders or ()]
    keywords: FilterKeywords = {
        "kind": kind, "since": since, "until": until, "longer": longer, "shorter": shorter, "place": place,
    }  # fmt: skip
    return {**keywords, "folder": below} if below else keywords
