"""Lists of items that are worked on, and committed, together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_batches(items: Iterable[T], size: int, seconds: float, first_seconds: float | None = None) -> Iterator[list[T]]:
    """Yield lists of at most `size` items; a list is closed early once it has been open for `seconds`, the first one
    for `first_seconds` (None: the same)."""
    batch: list[T] = []
    opened, most = time.monotonic(), seconds if first_seconds is None else first_seconds
    for item in items:
        batch.append(item)
        if len(batch) >= size or time.monotonic() - opened >= most:
            yield batch
            batch, opened, most = [], time.monotonic(), seconds
    if batch:
        yield batch
