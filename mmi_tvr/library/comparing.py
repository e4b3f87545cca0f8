"""Comparing items of a library by fingerprints: of each, those whose vectors are nearest are looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..features.cache import FeatureCache
from ..media.guarded import DecoderPool
from ..protocols import Index
from ..scoring.fingerprints import (
    LEAST,
    MOST_PICTURES,
    may_be_copies,
    still_likenesses,
    video_fingerprints,
    video_likeness,
)
from ..types import Filter, MediaFacts, Video, row_ids, video_of
from ..utils.progress import Progress
from .catalogue import Catalogue
from .duplicate_store import DuplicateStore
from .facts import known_facts

_NEAREST = 20  # items that are proposed for each
_REMEMBERED = 4096  # items whose fingerprints are in memory, 12 KB each
_TOGETHER = 64  # items that are looked at between two commits
_SIDE = 128  # pixels of the pictures that fingerprints are made of
_FPS = 2.0  # pictures of a film that are compared


@dataclass(frozen=True, slots=True)
class _ComparedItem:
    """A content: its number, the hash of its bytes, and what is known of it."""

    number: int
    sha256: str
    facts: MediaFacts


def compare(
    hashes: Collection[str],
    numbers: Mapping[str, int],
    store: DuplicateStore,
    reader: FingerprintReader,
    catalogue: Catalogue,
    index: Index,
    progress: Progress,
) -> None:
    """Compare contents with those whose vectors are nearest, and store which of them are alike.

    Args:
        hashes: of the contents.
        numbers: of all contents, by their hashes.
        store: of what is known.
        reader: of fingerprints.
        catalogue, index, progress: as `look_for_duplicates` has them.
    """
    by_number = {number: sha256 for sha256, number in numbers.items()}
    waiting = sorted(numbers[sha256] for sha256 in hashes)
    progress.begin("looking for near-duplicates", len(waiting))
    for first in range(0, len(waiting), _TOGETHER):
        some = waiting[first : first + _TOGETHER]
        proposed = _proposed(index, some)
        among = {number for pair in proposed for number in pair} & by_number.keys()
        facts = known_facts(catalogue.connection, among)
        items = {number: _ComparedItem(number, by_number[number], known) for number, known in facts.items()}
        pairs = [
            (items[one], items[other])
            for one, other in proposed
            if one in items and other in items and _can_be_alike(facts[one], facts[other])
        ]
        alike = [
            (one.sha256, other.sha256, likeness)
            for (one, other), likeness in zip(pairs, reader.likenesses(pairs), strict=True)
            if likeness is not None and likeness >= LEAST
        ]
        store.commit([by_number[number] for number in some if by_number[number] not in reader.unread], alike)
        progress.advance(len(some))


class FingerprintReader:
    """Fingerprints of items: out of the store, from beside their features, or made of their files.

    `unread`: contents of which there are none.
    """

    def __init__(
        self, store: DuplicateStore, cache: FeatureCache, catalogue: Catalogue, decoders: DecoderPool | None
    ) -> None:
        """Read fingerprints; without decoders, those that there are."""
        self._store = store
        self._catalogue = catalogue
        self._cache = cache
        self._decoders = decoders
        self._keys = {key.partition("-")[0]: key for key in cache}  # of any way of sampling
        self._remembered: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()  # of the last contents
        self.unread: set[str] = set()

    def likenesses(self, pairs: Sequence[tuple[_ComparedItem, _ComparedItem]]) -> list[float | None]:
        """Return how alike the contents of each pair are to the eye; None where one of them has no fingerprints."""
        likenesses: list[float | None] = [None] * len(pairs)
        fingerprints = self._read({item.sha256: item for pair in pairs for item in pair})
        stills: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        for position, (one, other) in enumerate(pairs):
            if one.sha256 not in fingerprints or other.sha256 not in fingerprints:
                continue
            left, right = fingerprints[one.sha256], fingerprints[other.sha256]
            if len(left) == len(right) == 1:
                stills[position] = left[0], right[0]
            else:
                likenesses[position] = video_likeness(left, right, one.facts.seconds, other.facts.seconds)
        if stills:
            left, right = (np.stack(side) for side in zip(*stills.values(), strict=True))
            for position, likeness in zip(stills, still_likenesses(left, right).tolist(), strict=True):
                likenesses[position] = likeness
        return likenesses

    def _read(self, items: Mapping[str, _ComparedItem]) -> dict[str, NDArray[np.uint8]]:
        """Return the fingerprints of those of these contents that have any."""
        remembered = {sha256: self._remembered[sha256] for sha256 in items if sha256 in self._remembered}
        fresh = self._store.fingerprints(items.keys() - remembered.keys())
        keys = {self._keys[sha256]: sha256 for sha256 in items if sha256 in self._keys}
        missing = [key for key, sha256 in keys.items() if sha256 not in remembered and sha256 not in fresh]
        fresh |= {keys[key]: one for key, one in self._cache.fingerprints(missing).items()}
        for sha256 in items.keys() - remembered.keys() - fresh.keys() - self.unread:
            decoded = self._decoded(items[sha256])
            if decoded is None:
                self.unread.add(sha256)
            else:
                self._store.put_fingerprints(sha256, decoded)
                fresh[sha256] = decoded
        self._remembered |= fresh
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return remembered | fresh

    def _decoded(self, item: _ComparedItem) -> NDArray[np.uint8] | None:
        if self._decoders is None:
            return None
        entry = self._catalogue.entries([item.number]).get(item.number)
        path = None if entry is None else next((path for path in entry.paths if path.exists()), None)
        if path is None:
            return None
        try:
            return _fingerprints(path, item.facts, self._decoders)
        except MediaError:
            return None


def _fingerprints(path: Path, facts: MediaFacts, decoders: DecoderPool) -> NDArray[np.uint8]:
    """Return the fingerprints of a still (1, 192), or of a film (P, 192)."""
    video = Video(path, picture=facts.kind == "image")
    _, frames = decoders.sample(video, _FPS, 1 if facts.is_still else MOST_PICTURES, _SIDE)
    return video_fingerprints(frames, facts.seconds)


def _can_be_alike(one: MediaFacts, other: MediaFacts) -> bool:
    """Return whether two items can be the same: both stills, or films of nearly one length."""
    if one.is_still or other.is_still:
        return one.is_still and other.is_still
    return may_be_copies(one.seconds, other.seconds)


def _proposed(index: Index, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of each of these items with those whose vectors are nearest, the smaller number first."""
    vectors = index.get(np.concatenate([row_ids(number, 0) for number in numbers]))
    _, ids = index.search(vectors, _NEAREST + 1, Filter(level="video"))
    pairs = {
        (min(number, other), max(number, other))
        for number, row in zip(numbers, ids, strict=True)
        for other in video_of(row[row >= 0]).tolist()
        if other != number
    }
    return sorted(pairs)
