"""A flat index that scans codes instead of vectors, and scores the best of them exactly from the store.

The codes are faiss's: half precision, or 8 bits between the least and the largest value of each dimension, compared by
inner product; or one bit (is a number above its median?), compared by Hamming distance. They lie in a file beside the
store, which stays the truth: a search by 8 bits touches a quarter of the memory, by one bit a thirty-second.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PoorRecall
from ..types import FloatArray
from . import flat
from .faiss import FaissIndex, Options

_LEAST_ROWS = 10_000  # fewer vectors than this are searched exactly
# One bit each of fewer numbers hardly tells vectors apart (tests/test_index_codes.py shows it): of the ten best in
# clusters many are missed with 32 numbers, next to none with 96. Decision: a warning; a larger `oversample` may do.
_LEAST_WIDTH = 96
_POOR_RECALL = (
    f"index.bits=1: vectors of {{}} numbers (fewer than {_LEAST_WIDTH}) are hardly told apart by one bit of each; from "
    f"{_LEAST_ROWS:,} vectors on, searches will miss some of the best hits: index.bits=8 misses none, a higher "
    "index.oversample fewer"
)


class CodeIndex(FaissIndex):
    """A flat index with codes. Scores are exact; which rows are returned is approximate."""

    def __init__(self, options: flat.Options, path: Path, dim: int, fingerprint: str, create: bool = True) -> None:
        """Open or make the index.

        Args:
            options: of the codes.
            path: its folder.
            dim: of the vectors.
            fingerprint: of the model that makes them.
            create: whether to make it where nothing is there.
        """
        super().__init__(Options(graph_from=_LEAST_ROWS), path, dim, fingerprint, create)
        self._bits = options.bits
        self._oversample = options.oversample
        self._built = flat.built(options)
        if create and not self.store.rows:
            self._warn_of_poor_recall()

    def _beam(self, limit: int, covered: int, allowed: int) -> int | None:
        """Return 0: a scan has no beam. None where most of what one-bit codes propose would not be allowed."""
        return None if self._bits == 1 and 2 * allowed < covered else 0

    def _propose(
        self, graph: Any, queries: FloatArray, limit: int, beam: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        proposed = min(limit * self._oversample, graph.ntotal)
        if self._bits == 1:  # faiss takes no selector there
            labels: NDArray[np.int64] = graph.search(queries, proposed)[1]
            passing = np.zeros(graph.ntotal, bool)
            passing[: self.store.rows] = True if allowed is None else allowed
            return np.where(passing[labels], labels, -1)
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        faiss = self._faiss()
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        labels = graph.search(queries, proposed, params=faiss.SearchParameters(sel=selector))[1]
        return labels

    def _new_graph(self, faiss: Any) -> Any:
        if self._bits == 1:
            codes = faiss.IndexLSH(self.dim, self.dim, False, True)
        else:
            code = faiss.ScalarQuantizer.QT_fp16 if self._bits == 16 else faiss.ScalarQuantizer.QT_8bit
            codes = faiss.IndexScalarQuantizer(self.dim, code, faiss.METRIC_INNER_PRODUCT)
        self._warn_of_poor_recall()
        codes.train(self._training_rows())
        return codes

    def _warn_of_poor_recall(self) -> None:
        """Warn of one bit of few numbers: where an index begins, and where codes are made of what is there."""
        if self._bits == 1 and self.dim < _LEAST_WIDTH:
            warnings.warn(PoorRecall(_POOR_RECALL.format(self.dim)), stacklevel=2)

    def _path(self) -> Path:
        return self.store.folder / f"graph-{self.store.generation}-{self._built}.faiss"
