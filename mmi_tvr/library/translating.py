"""Another model at once: its vectors are made for a sample of the videos, and translated for all others.

A rebuild (`rebuild`) with `translate` in its catalogue's meta embeds that many videos, spread over the library. From
their old and new vectors a map is learned, measured on videos that it was not learned on, and, where it is good enough,
applied to the old vectors of all others: nothing is decoded for them. Decision: key images are translated as well, by a
map of their own, because scores and moments need them; they keep the times that the former model chose.

Steps are as durable as those of any rebuild: after a kill, embedded videos stay, and the rest is done again (seconds).
Marks and states of all translated videos come in one transaction, after their vectors.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import Settings
from ..errors import IndexMissing, TranslationRefused, UsageError
from ..protocols import Index
from ..scoring import vector_map
from ..scoring.similarity import Gallery
from ..scoring.vector_map import EmbeddingsMap, MapQuality
from ..types import Block, Embeddings, row_ids, video_of
from ..utils.progress import Progress
from ..utils.wording import counted, library_option
from .catalogue import Catalogue, Content
from .components import Components
from .report import TranslationReport
from .translated import count_translated, mark_translated

MIN_PAIRS = 8  # videos that both models embed
FLOOR = 85.0  # percent, the least lower end of R@1 (decision: then no worse than the former model, docs/scale.md)
_TOGETHER = 500  # videos that are translated at once


class StoredVectors:
    """The vectors of a library as its catalogue has them, by video."""

    def __init__(self, catalogue: Catalogue, index: Index) -> None:
        """Args: a catalogue, and its open index."""
        self._catalogue = catalogue
        self.index = index

    @classmethod
    def of_library(cls, folder: Path, catalogue: Catalogue) -> StoredVectors:
        """Open the vectors that a library searches by.

        Raises UsageError where there are none, where they are lost, or where some are translated ones themselves.
        """
        refuse_untranslatable(folder, catalogue)
        try:
            index = Components(folder, catalogue, Settings(), None).open_index(create=False)
        except IndexMissing as error:
            raise UsageError(
                f"{folder}: its vectors are lost, and cannot be translated; embed all videos: --rebuild instead of "
                f"--translate"
            ) from error
        assert index is not None
        return cls(catalogue, index)

    def numbers(self) -> frozenset[int]:
        """Return the numbers of the videos all of whose vectors are there."""
        expected, stored = self._catalogue.expected_ids(), self.index.ids()
        lost = np.unique(video_of(np.setdiff1d(expected, stored)))
        return frozenset(self._catalogue.searchable()).difference(lost.tolist())

    def embeddings(self, numbers: Sequence[int]) -> list[Embeddings]:
        """Return the vectors of videos, in order."""
        entries = self._catalogue.entries(numbers)
        segments = [entries[number].segments for number in numbers]
        ids = [row_ids(number, len(times)) for number, times in zip(numbers, segments, strict=True)]
        gallery = Gallery.from_index(self.index, np.concatenate(ids))
        moments = np.split(gallery.moments, gallery.offsets[1:-1])
        rows = zip(gallery.videos, moments, segments, strict=True)
        return [Embeddings(video, key_images, times) for video, key_images, times in rows]


def refuse_untranslatable(folder: Path, catalogue: Catalogue) -> None:
    """Raise UsageError where a library has no vectors that could be translated."""
    left, option = count_translated(catalogue), library_option(folder)
    if left:
        raise UsageError(
            f"{folder}: {counted(left, 'video')} still have translated vectors, which are not translated once more; "
            f"embed them first: mmi-tvr index {option}"
        )
    if not catalogue.counts().indexed_contents or catalogue.meta("dim") is None:
        raise UsageError(f"{folder}: there are no vectors to translate yet; make some: mmi-tvr index DIR {option}")


class Translation:
    """The part of an indexing run that translates: which videos it embeds, and what becomes of the others."""

    def __init__(self, folder: Path, catalogue: Catalogue, former: StoredVectors, progress: Progress) -> None:
        """Refer to a rebuild.

        Args:
            folder: of the library.
            catalogue: of the rebuild.
            former: the vectors that the library searches by.
            progress: hears how many videos are translated.
        """
        self.folder = folder
        self.catalogue = catalogue
        self.former = former
        self.progress = progress
        self._started = time.monotonic()

    def close(self) -> None:
        self.former.index.close()

    def contents_to_embed(self, size: int) -> list[Content]:
        """Return the pending contents that are not to be translated: `size` of all that have a file now, evenly spread,
        and new ones."""
        translatable = self.former.numbers()
        reachable = [
            content.number
            for content in self.catalogue.contents_with("TRUE")
            if content.number in translatable and any(path.exists() for path in content.paths)
        ]
        places = np.unique(np.linspace(0, len(reachable) - 1, min(size, len(reachable))).round().astype(int))
        others = translatable.difference(reachable[place] for place in places)
        return [content for content in self.catalogue.pending_contents() if content.number not in others]

    def run(self, index: Index | None, blocks: Sequence[Block]) -> TranslationReport:
        """Translate the vectors of all pending videos that have old ones.

        Args:
            index: of the new vectors; None where the model could embed no video.
            blocks: of the new vectors.

        Raises:
            TranslationRefused: too few videos were embedded, or the translations are not good enough. The rebuild is
                marked as one that has not begun, so that nothing is left of it.
        """
        translatable = self.former.numbers()
        pairs = sorted(translatable.intersection(self.catalogue.searchable()))
        rest = sorted(translatable.intersection(content.number for content in self.catalogue.pending_contents()))
        quality = None
        if rest:
            if index is None or len(pairs) < MIN_PAIRS:
                self._refuse(f"{counted(len(pairs), 'video')} could be embedded, and at least {MIN_PAIRS} are needed")
            assert index is not None
            old = self.former.embeddings(pairs)
            new = StoredVectors(self.catalogue, index).embeddings(pairs)
            quality = self._checked(old, new, blocks)
            self._write(index, rest, vector_map.learn_embeddings(old, new, blocks))
        with self.catalogue.transaction():
            mark_translated(self.catalogue, rest)
            self.catalogue.set_meta(translate=None)
        return TranslationReport(len(pairs), len(rest), quality, time.monotonic() - self._started)

    def _checked(self, old: Sequence[Embeddings], new: Sequence[Embeddings], blocks: Sequence[Block]) -> MapQuality:
        """Return how good translations are on videos that had no part in them."""
        vectors = np.stack([video.video for video in new])
        quality = vector_map.quality(vector_map.video_inputs(old), vectors, blocks)
        if quality.low < FLOOR:
            self._refuse(
                f"of {quality.n} videos that a translation was not learned on, {quality.r1:.1f} % "
                f"[{quality.low:.1f}, {quality.high:.1f}] get a vector that is nearest to their true new one, and the "
                f"lower end has to reach {FLOOR:.0f} %"
            )
        return quality

    def _refuse(self, reason: str) -> None:
        with self.catalogue.transaction():
            self.catalogue.set_meta(rebuilding=None)
        raise TranslationRefused(
            f"{self.folder}: not translated, and nothing was changed: {reason}; embed all videos (--rebuild instead of "
            f"--translate), or more of them (a larger --translate)"
        )

    def _write(self, index: Index, numbers: Sequence[int], translate: EmbeddingsMap) -> None:
        """Write the translated vectors of videos, durably."""
        self.progress.begin("translating", len(numbers))
        for first in range(0, len(numbers), _TOGETHER):
            batch = numbers[first : first + _TOGETHER]
            videos = translate(self.former.embeddings(batch))
            ids = [row_ids(number, len(video.moments)) for number, video in zip(batch, videos, strict=True)]
            index.upsert(np.concatenate(ids), np.concatenate([np.vstack([one.video, one.moments]) for one in videos]))
            self.progress.advance(len(batch))
        index.flush()
