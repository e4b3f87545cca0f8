"""Where in a video a query happens, where people are in it: at a time at which they are in the picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ..protocols import Model
from ..types import Appearance, Embeddings, FloatArray, Span
from .blocks import similarities
from .moments import locate

_GAP = 2.0  # seconds: who is out of the picture for no longer has not gone


def merged(appearances: Iterable[Appearance]) -> list[Appearance]:
    """Return appearances in order of time, where those of one person that touch, or nearly, are one.

    >>> seen = [Appearance("anna", start, end, 0.5) for start, end in ((0, 2), (3, 4), (9, 9))]
    >>> [(one.start, one.end) for one in merged(seen)]
    [(0, 4), (9, 9)]
    """
    latest: dict[str, Appearance] = {}
    done = []
    for one in sorted(appearances, key=_in_time):
        before = latest.get(one.name)
        if before is not None and one.start <= before.end + _GAP:
            confidence = max(before.confidence, one.confidence)
            latest[one.name] = replace(before, end=max(before.end, one.end), confidence=confidence)
            continue
        if before is not None:
            done.append(before)
        latest[one.name] = one
    return sorted([*done, *latest.values()], key=_in_time)


def stretches(appearances: Iterable[Appearance], names: Collection[str]) -> list[tuple[float, float]]:
    """Return the stretches of seconds in which all of these people are in the picture; where there is none, those in
    which one of them is."""
    by_name = {name: [(one.start, one.end) for one in appearances if one.name == name] for name in names}
    together: list[tuple[float, float]] | None = None
    for of_one in by_name.values():
        if together is not None:
            pairs = [(max(a, c), min(b, d)) for a, b in together for c, d in of_one]
            of_one = [(start, end) for start, end in pairs if start <= end]
        together = of_one
    return sorted(together or [stretch for of_one in by_name.values() for stretch in of_one])


def locate_seen(
    model: Model,
    queries: FloatArray,
    videos: Sequence[Embeddings],
    seen: Sequence[Sequence[tuple[float, float]]],
) -> list[Span]:
    """Return where each of N queries (N, D) happens in its own one of N videos (`moments.locate`), at a time of these
    stretches.

    A span that touches none gives way to the key image among those that do which is most like the query; a video
    without any stretch goes by its pictures alone.
    """
    spans = locate(model, queries, videos)
    return [
        _seen(span, query, video, stretch, model) if stretch else span
        for span, query, video, stretch in zip(spans, queries, videos, seen, strict=True)
    ]


def _seen(span: Span, query: FloatArray, video: Embeddings, seen: Sequence[tuple[float, float]], model: Model) -> Span:
    overlaps = _overlaps(span.start, span.end, seen)
    if not overlaps:
        parts = [_overlaps(float(start), float(end), seen) for start, end, _ in video.segments]
        scores = similarities(video.moments, query, model.scoring)
        rows = [row for row, part in enumerate(parts) if part]
        if not rows:
            return span
        best = max(rows, key=lambda row: float(scores[row]))
        start, end, time = map(float, video.segments[best])
        span, overlaps = Span(start, end, time), parts[best]
    start, end = min(overlaps, key=lambda part: max(part[0] - span.time, span.time - part[1], 0.0))
    return Span(span.start, span.end, min(max(span.time, start), end))


def _overlaps(start: float, end: float, seen: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return what of each stretch lies in [start, end]."""
    return [(max(start, a), min(end, b)) for a, b in seen if a <= end and b >= start]


def _in_time(appearance: Appearance) -> tuple[float, float, str]:
    return appearance.start, appearance.end, appearance.name
