"""CLIP4Clip without training: a video is the mean of its key images' CLIP embeddings.

Source: Luo et al., "CLIP4Clip: An Empirical Study of CLIP for End to End Video Clip Retrieval", 2021, the
parameter-free similarity (mean pooling). The frames are key images instead of uniform ones (decision). Of a CLIP-ViP,
which reads the frames of a video together, `_clip_vip.py` makes the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..encoders import hub
from ..encoders.clip import ClipTowers, cached_towers
from ..errors import UsageError
from ..plugins import BaseOptions
from ..types import Availability, Embeddings, Features, Pixels, Query, Scoring
from ..utils.hashing import digest
from ._folder import cached_checkpoints

if TYPE_CHECKING:
    from ._clip_vip import ClipVip


class Options(BaseOptions):
    """Options of the zero-shot CLIP baseline."""

    checkpoint: str = Field(
        description="folder or hub name of a CLIP, MetaCLIP 2, SigLIP, Chinese-CLIP, Jina-CLIP v2 or CLIP-ViP"
    )
    batch: int = Field(32, ge=1, description="pictures or sentences that the towers read at once")
    width: int | None = Field(None, ge=8, description="numbers of a vector that are kept (Matryoshka); default: all")
    moment_weight: float = Field(0.0, ge=0, le=1, description="share of the best key images in a video's score")
    top_moments: int = Field(1, ge=1, description="how many best key images")
    min_relevance: float = Field(0.5, ge=0, le=1, description="relevance of the best hit below which nothing is found")


AUTOMATIC = 10  # better than any model that needs no checkpoint
CHECKPOINT = "checkpoint"
CHECKPOINTS = {"checkpoint": "base"}
_VIDEO_TYPE = "clip_vip"  # of checkpoints whose vision tower reads the key images of a video together


def build(options: Options, *, device: str) -> Clip4Clip | ClipVip:
    folder = hub.locate(options.checkpoint)
    if hub.model_type(folder) == _VIDEO_TYPE:
        from ..encoders.clip_vip import ClipVipTowers
        from ._clip_vip import ClipVip

        if options.width is not None:
            raise UsageError(f"width: {folder} is a CLIP-ViP, whose vectors were not trained to be cut")
        return ClipVip(_scoring(options), ClipVipTowers(folder, device, options.batch))
    return Clip4Clip(options, ClipTowers(folder, device, options.batch, text_first=True))


def _scoring(options: Options) -> Scoring:
    return Scoring(options.moment_weight, options.top_moments, options.min_relevance)


def reads_checkpoint(name: str) -> bool:
    """Return True: any folder or hub name may hold a checkpoint of a layout that the towers know; `build` looks."""
    return True


def automatic() -> Mapping[str, Any] | None:
    """Return the checkpoint of the local cache that `encoders.hub.cached` prefers."""
    cached = cached_towers()
    return {"checkpoint": cached[0].name} if cached else None


def availability() -> Sequence[Availability]:
    """Return a line for each checkpoint of the local cache."""
    advice = "a CLIP-layout checkpoint: mmi-tvr models get recommended, or --model FOLDER"
    return cached_checkpoints(cached_towers(), advice)


class Clip4Clip:
    """Mean of the key images' unit vectors, made a unit vector again."""

    name = "clip4clip"
    reads = frozenset({"text", "pictures"})

    def __init__(self, options: Options, towers: ClipTowers) -> None:
        self.scoring = _scoring(options)
        self.image_size = towers.image_size
        self._towers = towers
        self._width = options.width

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"image": (N, D)}, unit vectors, float32."""
        return {"image": self._towers.embed_images(images)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors (D,) of each video and (K, D) of its key images."""
        return [mean_of_key_images(video, self._width) for video in features]

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return unit vectors (N, D)."""
        return _cut(self._towers.embed_texts([query.spoken for query in queries]), self._width)

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self._towers.characters_read(text)

    def vision_fingerprint(self) -> str:
        return vision_fingerprint(self._towers)

    def fingerprint(self) -> str:
        text = [self._towers.text_version] if self._towers.text_version else []
        width = [] if self._width is None else [self._width]
        return digest(self.name, self.vision_fingerprint(), "mean", *text, *width)


def mean_of_key_images(video: Features, width: int | None = None) -> Embeddings:
    """Return the unit vectors of a video's key images, and their mean's; of `width` numbers, as `_cut` has them."""
    moments = _cut(video.arrays["image"], width)
    mean = moments.mean(axis=0)
    return Embeddings(mean / np.linalg.norm(mean), moments, video.segments)


def _cut(vectors: NDArray[np.float32], width: int | None) -> NDArray[np.float32]:
    """Return the first `width` numbers of unit vectors (N, D), as unit vectors; None: the vectors.

    Raises UsageError where they have fewer.
    """
    if width is None:
        return vectors
    if width > vectors.shape[1]:
        raise UsageError(f"width: this checkpoint has vectors of {vectors.shape[1]} numbers, not {width}")
    parts = vectors[:, :width]
    unit: NDArray[np.float32] = parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def vision_fingerprint(towers: ClipTowers) -> str:
    """Return the hash of all that changes the features of models that compare pictures as these towers do."""
    return digest(Clip4Clip.name, towers.digest)
