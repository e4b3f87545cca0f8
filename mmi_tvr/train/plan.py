"""What a run prepares before its first step, said beforehand with the time that it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..features.cache import FeatureCache
from ..features.lazy import stored_features
from ..protocols import GeneratedDataset, KeyImageMethod, Model
from ..types import Video
from ..utils import distributed
from ..utils.device import processors
from ..utils.progress import Progress
from ..utils.wording import counted, time_span

TRIAL = 24  # videos: three batches, the first of which waits for processes and weights, so that the others are timed


def prepare(
    title: str,
    generated: GeneratedDataset | None,
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: Path,
    progress: Progress,
) -> None:
    """Say the plan of a split, and render the videos that are missing, in process 0; the others wait.

    The arguments are those of `say_plan`.
    """

    def plan_and_render() -> None:
        say_plan(title, generated, videos, model, method, cache, progress)
        if generated is not None and (pending := len(generated.pending())):
            progress.begin("rendering", pending)
            generated.generate(advance=progress.advance)

    distributed.from_first(plan_and_render)


def say_plan(
    title: str,
    generated: GeneratedDataset | None,
    videos: Sequence[Video],
    model: Model,
    method: KeyImageMethod,
    cache: Path,
    progress: Progress,
) -> None:
    """Say what of a split has to be rendered, decoded and cached, and about how long that takes.

    The time is that of the first videos, which are done here; nothing is done twice. Few videos need no plan.

    Args:
        title: Of the split, in the message.
        generated: The data set, where it renders its videos on demand.
        videos: All videos of the split.
        model: Encodes the key images.
        method: Chooses the key images.
        cache: Folder of the features.
        progress: Of the trial; gets the message.
    """
    if len(videos) <= 2 * TRIAL:
        return
    pending = list(generated.pending()) if generated is not None else []
    trial = pending[:TRIAL] or list(range(0, len(videos), len(videos) // TRIAL))[:TRIAL]
    progress.begin("trial", len(trial))
    seconds = 0.0
    if generated is not None and pending:
        started = time.perf_counter()
        generated.generate(trial[-1] + 1)
        seconds += (time.perf_counter() - started) / len(trial) * (len(pending) - len(trial)) / processors()
    untouched = len(pending) or len(videos)
    a_video = _seconds_a_video([videos[number] for number in trial], model, method, cache, progress)
    if a_video is None:  # the features are there
        return
    seconds += a_video * (untouched - len(trial))
    rendered = f"{counted(len(pending), 'video')} to render, then" if pending else "its videos are"
    progress.say(
        f"{title}, {counted(len(videos), 'video')}: {rendered} to be decoded once and cached in {cache}: about "
        f"{time_span(seconds)} with {counted(processors(), 'processor')}"
    )


def _seconds_a_video(
    videos: Sequence[Video], model: Model, method: KeyImageMethod, cache: Path, progress: Progress
) -> float | None:
    """Return how long the features of one video take; None where the cache has them all."""
    batches = [(time.perf_counter(), 0)]

    def on_batch(count: int) -> None:
        batches.append((time.perf_counter(), count))
        progress.advance(count)

    stored_features(videos, model, method, FeatureCache(cache), on_batch, processors())
    encoded = batches[2:]  # after the start, and the videos that the cache had
    if not encoded:
        return None
    timed = encoded[1:] or encoded
    started = encoded[0][0] if len(encoded) > 1 else batches[1][0]
    share = sum(count for _, count in encoded) / len(videos)  # of the videos that the cache does not have
    return share * (timed[-1][0] - started) / max(1, sum(count for _, count in timed))
