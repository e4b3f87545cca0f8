"""Decoding and encoding: worker processes decode the next videos while the model encodes these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import keyimages
from ..errors import MediaError, UnreadableFile, UsageError
from ..media.guarded import DecoderPool, limits
from ..protocols import KeyImageMethod, Model, ModelOfFeatures
from ..scoring.fingerprints import video_fingerprints
from ..types import Features, KeyImage
from ..utils.batching import in_batches
from ..utils.memory import reused_memory
from .cache import Source, stamp_of

In = TypeVar("In")
Out = TypeVar("Out")

BATCH_VIDEOS = 8  # videos encoded and committed together,
BATCH_PICTURES = 96  # or pictures: about as many as the key images of these
BATCH_SECONDS = 10.0  # or fewer, once so much time has passed: what a kill may cost
FIRST_SECONDS = 1.0  # likewise of the first batch, where somebody waits for something to search


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What a model looks at in a video, and the fingerprints (P, 192) of the whole of it; None of a span."""

    images: list[KeyImage]
    fingerprints: NDArray[np.uint8] | None


def extract(
    sources: Sequence[Source],
    model: Model,
    method: KeyImageMethod,
    workers: int | None = None,
    first_seconds: float = BATCH_SECONDS,
) -> Iterator[list[tuple[int, Features | MediaError]]]:
    """Decode and encode: yield batches of (position in `sources`, features or why there are none), in order, all of
    them.

    Worker processes (`media.guarded`) decode the videos that come next while the model works on these; at most two
    batches of pictures are held at a time. Films and picture files have batches of their own. A file that hangs or
    crashes its decoder is one more MediaError.

    Args:
        sources: films and pictures.
        model: encodes pictures.
        method: chooses key images.
        workers: how many processes decode; None: as `media.guarded.limits` says.
        first_seconds: the first batch is yielded once so much time has passed.

    Raises:
        UsageError: the model sees no pictures.
    """
    require_pictures(model)
    size = model.image_size  # which may load the model: here, and not in all threads at once
    position = 0
    with reused_memory():
        for is_picture, alike in groupby(sources, key=lambda source: source.video.picture):
            decoders = DecoderPool(limits(workers))
            decode = partial(_decode, method=method, size=size, sample=decoders.sample)
            together = BATCH_PICTURES if is_picture else BATCH_VIDEOS
            ahead = _ahead(decode, alike, together, decoders.limits.workers, decoders.stop)
            for batch in in_batches(ahead, together, BATCH_SECONDS, None if position else first_seconds):
                yield list(enumerate(_encode(batch, model), start=position))
                position += len(batch)


def reads_pictures(model: Model) -> bool:
    """Return whether a model looks at pictures; else it reads features that data sets bring along."""
    return not isinstance(model, ModelOfFeatures) or model.reads_pictures


def require_pictures(model: Model) -> None:
    """Raise UsageError where a model does not look at pictures, so that nothing can be made of a video file for it."""
    if not reads_pictures(model):
        raise UsageError(
            f"{model.name} reads {model.vision_fingerprint()}, which nothing here makes of a video file: it works on "
            f"data sets that bring these features along (hgr)"
        )


def _decode(source: Source, method: KeyImageMethod, size: int, sample: keyimages.Sample) -> _Decoded | MediaError:
    video, path = source.video, source.video.path
    try:
        info, frames = sample(video, method.fps, method.max_frames, size)
        images = keyimages.from_frames(video, info, frames, method)
        if source.stamp is not None and stamp_of(path) != source.stamp:
            return MediaError(path, "the file changed while it was being read")
    except OSError as error:
        return UnreadableFile(path, error.strerror or str(error))
    except MediaError as error:
        return error
    if not images:
        return MediaError(path, "no picture could be decoded")
    is_whole = video.start == 0 and video.end is None
    return _Decoded(images, video_fingerprints(frames, info.duration) if is_whole else None)


def _encode(batch: Sequence[_Decoded | MediaError], model: Model) -> list[Features | MediaError]:
    """Return the features of each video, from one call to the model for all pictures of the batch."""
    pictures = [image.pixels for one in batch if not isinstance(one, MediaError) for image in one.images]
    arrays = {name: np.asarray(array) for name, array in model.encode_images(pictures).items()} if pictures else {}
    results: list[Features | MediaError] = []
    first = 0
    for decoded in batch:
        if isinstance(decoded, MediaError):
            results.append(decoded)
            continue
        last = first + len(decoded.images)
        segments = np.array([(image.start, image.end, image.time) for image in decoded.images], np.float64)  # (K, 3)
        of_video = {name: array[first:last] for name, array in arrays.items()}
        results.append(Features(segments, of_video, decoded.fingerprints))
        first = last
    return results


def _ahead(
    work: Callable[[In], Out],
    items: Iterable[In],
    ahead: int,
    threads: int = 1,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[Out]:
    """Yield results in order, from threads that run at most `ahead` items in front of the one that is yielded.

    Args:
        work: Is called with each item, in a thread.
        items: Are taken one by one, as the threads need them.
        ahead: How many items the threads may be in front.
        threads: How many items are worked on at once.
        stop: Is called at the end, also at an early one; it may cut short what still runs.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="decode")
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the consumer stops early or Ctrl-C arrives
        stop()
        pool.shutdown(wait=True, cancel_futures=True)
