"""What a search needs of videos, remembered for one state of a catalogue: the best candidates are the same again and
again, and reading them takes longer than scoring them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from ..search import Lookup
from ..types import VideoEntry

_REMEMBERED = 10_000  # videos, about 2 KB each


class EntryMemory:
    """A `search.Lookup` that remembers. Whoever holds it drops it when the catalogue changes."""

    def __init__(self, lookup: Lookup) -> None:
        """lookup: reads what is not remembered."""
        self._lookup = lookup
        self._entries: OrderedDict[int, VideoEntry] = OrderedDict()

    def __call__(self, numbers: Iterable[int]) -> Mapping[int, VideoEntry]:
        """Return the entries of those of these videos that may be shown, by number."""
        looked_up = [*numbers]
        known = {number: self._entries[number] for number in looked_up if number in self._entries}
        for number in known:
            self._entries.move_to_end(number)
        missing = [number for number in looked_up if number not in known]
        if not missing:
            return known
        read = self._lookup(missing)
        self._entries.update(read)
        while len(self._entries) > _REMEMBERED:
            self._entries.popitem(last=False)
        return {**known, **read}
