"""Looking at files of which nothing is known yet: what they are, by their bytes, and what they say of themselves.

New contents are looked at before they are embedded, those of older versions by the next run. What is no usable medium
is set aside here. Recordings have nothing to be embedded: they are in the library once they were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ..errors import MediaError, UnreadableFile
from ..features.cache import stamp_of
from ..media.guarded import DecoderPool, limits
from ..types import MediaFacts
from ..utils.progress import Progress
from .catalogue import Catalogue, Content
from .facts import UNKNOWN, put_facts
from .pairing import note_unpaired

CHANGED = "changed while it was being read; index it again"
_TOGETHER = 64  # contents that are looked at and committed together


def unknown_contents(catalogue: Catalogue) -> list[Content]:
    """Return the contents of which nothing is known and to which a file leads now."""
    return catalogue.contents_with(f"{UNKNOWN} AND state != 'quarantined'")


def probe_contents(catalogue: Catalogue, progress: Progress, contents: Sequence[Content]) -> dict[int, str]:
    """Look at contents.

    Args:
        catalogue: that the run works on; the caller holds the writer's lock.
        progress: counts contents.
        contents: of which nothing is known.

    Returns:
        Why contents go on waiting that cannot be looked at now, by number.
    """
    if not contents:
        return {}
    waiting: dict[int, str] = {}
    stamps = {path: file.stamp for path, file in catalogue.files().items()}
    progress.begin("looking at files", len(contents))
    chosen = limits()
    # The decoders end first, also after Ctrl-C: what threads wait for then comes at once.
    with ThreadPoolExecutor(max(1, chosen.workers)) as threads, DecoderPool(chosen) as decoders:
        for first in range(0, len(contents), _TOGETHER):
            batch = contents[first : first + _TOGETHER]
            outcomes = list(threads.map(partial(_probe, decoders, stamps), batch))
            waiting |= _commit(catalogue, batch, outcomes)
            progress.advance(len(batch))
    return waiting


def _probe(
    decoders: DecoderPool, stamps: dict[Path, tuple[int, int]], content: Content
) -> MediaFacts | MediaError | None:
    """Return what a content is, or why it is nothing; None where no file of it is at hand."""
    path = next((path for path in content.paths if path.exists()), None)
    if path is None:
        return None
    try:
        outcome: MediaFacts | MediaError = decoders.facts(path)
    except MediaError as error:
        outcome = error
    try:
        return outcome if stamp_of(path) == stamps[path] else UnreadableFile(path, CHANGED)
    except OSError as error:
        return UnreadableFile(path, error.strerror or str(error))


def _commit(
    catalogue: Catalogue, contents: Sequence[Content], outcomes: Sequence[MediaFacts | MediaError | None]
) -> dict[int, str]:
    """Write what became of a batch, and return why some of it goes on waiting, by number."""
    waiting = {}
    states = catalogue.content_states()
    waits = all(
        states[content.number] == "pending"
        and (outcome is None or isinstance(outcome, UnreadableFile) or _is_to_be_embedded(outcome))
        for content, outcome in zip(contents, outcomes, strict=True)
    )
    with catalogue.transaction(is_searched=not waits):
        for content, outcome in zip(contents, outcomes, strict=True):
            number = content.number
            if isinstance(outcome, MediaFacts):
                put_facts(catalogue.connection, number, outcome)
                if outcome.kind == "audio" and states[number] == "pending":
                    catalogue.set_unseen(number, outcome.seconds)
            elif isinstance(outcome, UnreadableFile):
                waiting[number] = outcome.reason
            elif outcome is not None and states[number] == "pending":
                catalogue.set_quarantined(number, outcome.reason)
            elif outcome is not None:  # it was embedded by an older version, whatever is wrong with it now
                put_facts(catalogue.connection, number, MediaFacts())
        note_unpaired(catalogue, [path for content in contents for path in content.paths])
    return waiting


def _is_to_be_embedded(outcome: MediaFacts | MediaError) -> bool:
    """Return whether there is something to see in what was looked at, so that it goes on waiting."""
    return isinstance(outcome, MediaFacts) and outcome.kind != "audio"
