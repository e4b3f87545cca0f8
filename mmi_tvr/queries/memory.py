"""The vectors of queries that were embedded before: a resident process reads the same sentences again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from ..protocols import Model
from ..types import FloatArray, Query


class QueryMemory:
    """Remembers the last queries of one model, in this process alone. Queries of persons are embedded anew (decision):
    whoever is forgotten is not to live on here."""

    def __init__(self, size: int) -> None:
        """size: how many queries; 0: none."""
        self._size = size
        self._model: Model | None = None
        self._vectors: OrderedDict[str, FloatArray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def resize(self, size: int) -> None:
        """Remember so many queries from now on; of those that are too many, the oldest are forgotten."""
        self._size = size
        while len(self._vectors) > size:
            self._vectors.popitem(last=False)

    def embed(self, model: Model, queries: Sequence[Query]) -> FloatArray:
        """Return the vectors (N, D) of N queries, float32; those that are new are embedded together."""
        if not self._size:
            return _embedded(model, queries)
        if model is not self._model:
            self._model = model
            self._vectors.clear()
        texts = [None if query.persons else query.text for query in queries]
        rows: list[FloatArray | None] = [None if text is None else self._vectors.get(text) for text in texts]
        fresh = [row for row, vector in enumerate(rows) if vector is None]
        if fresh:
            for row, vector in zip(fresh, _embedded(model, [queries[row] for row in fresh]), strict=True):
                rows[row] = vector
        for text, vector in zip(texts, rows, strict=True):
            if text is not None and vector is not None:
                self._vectors[text] = vector
                self._vectors.move_to_end(text)
        self.resize(self._size)
        return np.stack([vector for vector in rows if vector is not None])


def _embedded(model: Model, queries: Sequence[Query]) -> FloatArray:
    vectors: FloatArray = np.asarray(model.embed_queries(queries), dtype=np.float32)
    return vectors
