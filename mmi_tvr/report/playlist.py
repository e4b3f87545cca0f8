"""Hits as a playlist: M3U in UTF-8, with the seconds of each moment as VLC reads them (EXTVLCOPT)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..types import Hit
from ..utils.addresses import file_uri
from ..utils.printable import printable

PLAYLIST_MARK = b"# made by mmi-tvr"


def hit_spans(hit: Hit) -> list[tuple[float, float]]:
    """Return start and end of each moment of a hit, in the order of time; of a hit without any, its own."""
    return sorted({(moment.start, moment.end) for moment in hit.moments}) or [(hit.start, hit.end)]


def playlist(hits: Iterable[Hit]) -> bytes:
    """Return a playlist that plays the moments of these hits, one behind another.

    A file whose name no line can hold stands there by its address.
    """
    lines = ["#EXTM3U", PLAYLIST_MARK.decode()]
    for hit in hits:
        for start, end in hit_spans(hit):
            seconds = max(0.0, end - start)
            lines.append(f"#EXTINF:{f'{seconds:.3f}' if seconds else '-1'},{printable(hit.path.name)}")
            if seconds:
                lines += [f"#EXTVLCOPT:start-time={start:.3f}", f"#EXTVLCOPT:stop-time={end:.3f}"]
            lines.append(_entry(hit.path))
    return "\n".join([*lines, ""]).encode()


def _entry(path: Path) -> str:
    absolute = os.path.abspath(path)
    return absolute if absolute.isprintable() else file_uri(path)
