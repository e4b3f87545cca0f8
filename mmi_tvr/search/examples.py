"""Searching by examples: which videos may be like one, and what their scores are worth."""

from __future__ import annotations

from ..protocols import Index, Model
from ..queries import PreparedQuery
from ..scoring.candidates import CandidateSearch
from ..scoring.examples import ExampleLaw, example_law, example_vectors, picture_scoring
from ..types import Filter, FloatArray
from .calibration import sampled

_DEEPER = 4  # times as many vectors are fetched where too few videos are among them


class ExampleSearch:
    """Compares examples with an index. What scores are worth is measured at the first one."""

    def __init__(self, model: Model, index: Index) -> None:
        self._model = model
        self._index = index
        self._laws: dict[bool, ExampleLaw] = {}

    def vectors(self, query: PreparedQuery) -> FloatArray | None:
        """Return the vectors (E, D) of a query's example; None where it has none. Raises as `example_vectors`."""
        example = query.positive.example
        return None if example is None else example_vectors(self._model, example)

    def law(self, with_text: bool) -> ExampleLaw:
        """Return what likeness is worth in this collection, alone or beside a sentence."""
        if with_text not in self._laws:
            self._laws[with_text] = example_law(self._model, *sampled(self._index, self._index.ids()), with_text)
        return self._laws[with_text]

    def candidates(self, example: FloatArray, limit: int, top: int, videos: frozenset[int] | None) -> frozenset[int]:
        """Return the numbers of the videos with the key images that are most like the pictures of an example.

        Args:
            example: (E, D).
            limit: so many vectors are fetched for each picture; more, where they are of fewer than `top` videos.
            top: how many videos are shown.
            videos: the numbers of those to search among; None for all.
        """
        search = CandidateSearch(self._index, picture_scoring(self._model.scoring), videos)
        most: int | None = None  # vectors that can be fetched
        while True:
            numbers = frozenset[int]().union(*(one.numbers for one in search.nearest(example, limit)))
            if len(numbers) >= top:
                return numbers
            most = self._index.count(Filter("moment", videos)) if most is None else most
            if limit >= most:
                return numbers
            limit = min(_DEEPER * limit, most)
