"""CLIP-ViP without further training: its vision tower reads all key images of a video together, in their order.

Source: Xue et al., "CLIP-ViP", ICLR 2023. Decisions: the key images are the frames; each of them alone is a video of
one frame, as in the paper's training on pictures; what is cached of a video is its squares, which any such checkpoint
of that size reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.clip_vip import ClipVipTowers
from ..types import Embeddings, Features, Pixels, Query, Scoring
from ..utils.hashing import digest


class ClipVip:
    """One vector of all key images, and one of each. It is `clip4clip` to its users, by its checkpoint."""

    name = "clip4clip"
    reads = frozenset({"text", "pictures"})

    def __init__(self, scoring: Scoring, towers: ClipVipTowers) -> None:
        self.scoring = scoring
        self.image_size = towers.image_size
        self._towers = towers

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return {"pixels": (N, S, S, 3)}, uint8: the tower reads all key images of a video together."""
        return {"pixels": self._towers.squares(images)}

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Return unit vectors (D,) of each video and (K, D) of its key images."""
        embeddings = []
        for video in features:
            squares = video.arrays["pixels"]
            whole, moments = self._towers.embed_video(squares), self._towers.embed_pictures(squares)
            embeddings.append(Embeddings(whole, moments, video.segments))
        return embeddings

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return unit vectors (N, D)."""
        return self._towers.embed_texts([query.spoken for query in queries])

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return self._towers.characters_read(text)

    def vision_fingerprint(self) -> str:
        return digest("clip vip squares", self.image_size)

    def fingerprint(self) -> str:
        return digest("clip vip", self.vision_fingerprint(), self._towers.digest)
