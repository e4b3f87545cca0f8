"""What an implementation of each kind must offer, and the conventions that hold between rooms.

Conventions
- Every embedding is a float32 unit vector; the score of two is their dot product; larger is better.
- Who batches: the caller hands over as much as it holds; the implementation cuts it to what its memory allows.
- Ids are int64 and carry video and key image (`types.row_ids`); the id space belongs to the caller.
- A fingerprint is a short hash of everything that changes the numbers (`utils.hashing.digest`).
- "Can embed" (Model) and "can score a pair" (Reranker) are different abilities, with different verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from .errors import AnswerError
from .types import (
    AnswerRequest,
    Embeddings,
    Explanation,
    Features,
    Filter,
    FloatArray,
    Frames,
    IdArray,
    KeyImage,
    Pixels,
    Query,
    Sample,
    Scoring,
)


@runtime_checkable
class KeyImageMethod(Protocol):
    """Chooses the pictures that stand for a video."""

    fps: float  # frames per second that `choose` wants to look at
    max_frames: int  # at most so many, evenly spread where the video is longer

    def choose(self, frames: Frames, duration: float) -> list[KeyImage]:
        """Key images in order of time; their segments tile [0, duration] without gaps."""
        ...

    def fingerprint(self) -> str: ...


@runtime_checkable
class Model(Protocol):
    """A retrieval model: pictures -> features (cached) -> embeddings, and queries -> embeddings."""

    name: str
    image_size: int  # the shorter side, in pixels, of the pictures it wants to see
    scoring: Scoring

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """What the vision tower says: arrays whose first axis is the picture. The expensive part, cached."""
        ...

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Unit vectors for each video and each of its key images. Cheap: runs again when a head changes."""
        ...

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        """Unit vectors (N, D), float32."""
        ...

    def vision_fingerprint(self) -> str:
        """Hash of all that changes `encode_images`."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes any vector; includes `vision_fingerprint`."""
        ...


@runtime_checkable
class Index(Protocol):
    """Stores unit vectors by id and finds the nearest by dot product.

    Writes are durable when `flush` returns; a process killed before that loses at most the writes since the last
    flush and never corrupts what was there. One writer at a time; the library holds the lock.
    """

    fingerprint: str
    dim: int

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store new vectors (N, D). An id that is there already raises UsageError and nothing is stored."""
        ...

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Store vectors, replacing those whose id is there already."""
        ...

    def delete(self, ids: IdArray) -> int:
        """Forget these ids; returns how many were there. Unknown ids are ignored."""
        ...

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Scores and ids (N, limit), best first, ties by smaller id; short rows are padded with -inf and -1."""
        ...

    def get(self, ids: IdArray) -> FloatArray:
        """The vectors (N, D) of these ids. An unknown id raises KeyError."""
        ...

    def ids(self) -> IdArray:
        """Every stored id, ascending."""
        ...

    def count(self, where: Filter | None = None) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class Dataset(Protocol):
    """Lists the samples of one official split. It never decodes."""

    def samples(self) -> Sequence[Sample]: ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about texts and about key images."""

    name: str
    video_input: Literal["features", "pictures"]  # what an `AnswerRequest` about a video must carry

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        """An answer to each question, in the order of the questions; `advance` is called once for each.

        A question that cannot be answered gives the AnswerError that says why, and the rest goes on. Any other error
        is raised: the answerer cannot work at all.
        """
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes an answer."""
        ...


@runtime_checkable
class Judge(Protocol):
    """Says how likely it is that skeletons describe one scene."""

    def probabilities(self, text: str, videos: Sequence[str]) -> FloatArray:
        """p in 0..1 (N,) of one text skeleton with each of N video skeletons, all as plain text."""
        ...

    def fingerprint(self) -> str: ...


@runtime_checkable
class Reranker(Protocol):
    """Scores a query and videos together; may reorder hits, never invents one."""

    depth: int  # how many of the best candidates it wants to see
    seconds: Mapping[str, float]  # that the parts of the last call took

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> Sequence[Explanation]:
        """An explanation of each candidate (video numbers, best first, at most `depth`), in the order given.

        Those with a joint score are put in its order, among the places that they held together; the others keep theirs.
        """
        ...
