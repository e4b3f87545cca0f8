"""Asking the indexed videos the chosen questions ahead of time, so that no re-ranked search has to wait for it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from ..rerank import skeleton_options
from ..skeletons.skeletons import description_text
from ..skeletons.store import SKELETONS_FILE, SkeletonStore
from ..types import Query, Skeleton
from ..utils.progress import Progress
from .catalogue import Catalogue
from .components import Components
from .descriptions import Description, Descriptions
from .indexing import FEATURES
from .report import DescribeReport
from .turns import LoadedModel
from .video_lookup import VideoLookup

_TOGETHER = 16  # videos that are described in one turn, and stored together


def describe(catalogue: Catalogue, components: Components, progress: Progress) -> DescribeReport:
    """Ask every indexed video the questions that it has no answer to yet.

    Searches by other threads take turns with it, batch by batch.

    Args:
        catalogue: the library's open catalogue.
        components: its model and settings.
        progress: hears how many videos are done.

    Raises:
        UsageError: the library's model or settings cannot answer.
        Exception: what the answerer raises.
    """
    from ..rerank import skeleton

    started = time.monotonic()
    loaded = components.load()
    options = skeleton_options(components.reranking(loaded.model), loaded.model)
    with SkeletonStore(components.folder / SKELETONS_FILE) as store:
        describer = skeleton.describer(options, model=loaded.model, store=store, device=components.device)
        lookup = VideoLookup(components.folder / FEATURES, lambda: catalogue, loaded.model, loaded.key_image_method)
        descriptions = Descriptions(catalogue, loaded.fingerprint)
        answers_before, numbers = store.count(), catalogue.searchable()
        progress.begin("describing", len(numbers))
        incomplete = []
        for first in range(0, len(numbers), _TOGETHER):
            views = lookup(numbers[first : first + _TOGETHER])
            with components.models.turn:
                skeletons = describer.video_skeletons([*views.values()])
            progress.advance(len(views))
            with components.models.turn:
                _store_descriptions(descriptions, loaded, dict(zip(views, skeletons, strict=True)))
            for number, answers in zip(views, skeletons, strict=True):
                reason = next((answer.error for answer in answers if answer.error), None)
                if reason is not None:
                    paths = catalogue.entries([number])[number].paths
                    incomplete.append((paths[0], reason))
        answers_now = store.count()
    return DescribeReport(
        videos=len(numbers) - len(incomplete),
        answers=answers_now - answers_before,
        incomplete=tuple(sorted(incomplete)),
        seconds=time.monotonic() - started,
    )


def _store_descriptions(descriptions: Descriptions, loaded: LoadedModel, skeletons: Mapping[int, Skeleton]) -> None:
    """Store what videos answered, by their numbers, for searches to look at; what is stored already stays."""
    texts = {number: description_text(skeleton) for number, skeleton in skeletons.items()}
    stored = descriptions.stored(texts)
    changed = {number: text for number, text in texts.items() if text and stored.get(number) != text}
    emptied = [number for number in stored if not texts[number]]
    if not changed and not emptied:
        return
    vectors = np.asarray(loaded.model.embed_queries([Query(text) for text in changed.values()])) if changed else ()
    descriptions.put(
        {
            number: Description(text, loaded.fingerprint, vector)
            for (number, text), vector in zip(changed.items(), vectors, strict=True)
        },
        emptied,
    )
