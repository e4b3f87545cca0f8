"""Reading from a library while another process may write to it.

A search looks at the catalogue, then at the index, then at the catalogue again. A writer that replaces rows or files in
between makes the looks disagree. `StateChanged` says so and nothing else: what a caller or a model does wrong has other
errors. `Library.search` starts again when it is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ..errors import IndexMissing
from ..protocols import Index, SnapshotIndex
from ..scoring.candidates import exact_index
from ..types import Filter, FloatArray, IdArray
from .components import Components


class StateChanged(Exception):
    """A writer replaced rows or files between two looks at them. The cause is what went wrong for it."""


_FILES_VANISHED = (FileNotFoundError, IndexMissing)
_ROWS_VANISHED = (KeyError, *_FILES_VANISHED)


@contextmanager
def _changed_where(vanished: tuple[type[Exception], ...]) -> Iterator[None]:
    """Raise StateChanged instead of these errors."""
    try:
        yield
    except vanished as error:
        raise StateChanged from error


def state_changed_where_files_vanish() -> AbstractContextManager[None]:
    """Raise StateChanged where files of vectors are gone that were there a moment ago."""
    return _changed_where(_FILES_VANISHED)


def open_to_read(components: Components) -> ReadIndex | None:
    """Return the open index of the present vectors; None before the first embedding.

    Raises StateChanged where it is not there: a rebuild may have replaced it since the catalogue was read.
    """
    with _changed_where(_FILES_VANISHED):
        index = components.open_index(create=False)
    return None if index is None else ReadIndex(index)


class ReadIndex:
    """An index as a search reads it: `protocols.Index`, whose reads raise StateChanged where a writer was faster."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.fingerprint = index.fingerprint
        self.dim = index.dim

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        self._index.add(ids, vectors)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._index.upsert(ids, vectors)

    def delete(self, ids: IdArray) -> int:
        return self._index.delete(ids)

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        with _changed_where(_FILES_VANISHED):
            return self._index.search(queries, limit, where)

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Search all vectors (`protocols.ExactIndex`). UsageError where the index below cannot."""
        with _changed_where(_FILES_VANISHED):
            return exact_index(self._index).search_exact(queries, limit, where)

    def get(self, ids: IdArray) -> FloatArray:
        with _changed_where(_ROWS_VANISHED):
            return self._index.get(ids)

    def ids(self) -> IdArray:
        with _changed_where(_FILES_VANISHED):
            return self._index.ids()

    def is_outdated(self) -> bool:
        """Return whether another process may have written since this was opened (`protocols.SnapshotIndex`)."""
        return not isinstance(self._index, SnapshotIndex) or self._index.is_outdated()

    def count(self, where: Filter | None = None) -> int:
        with _changed_where(_FILES_VANISHED):
            return self._index.count(where)

    def flush(self) -> None:
        self._index.flush()

    def close(self) -> None:
        self._index.close()
