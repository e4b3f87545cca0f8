"""What an implementation of each room must offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..errors import AnswerError
from ..types import (
    AnswerRequest,
    Appearance,
    Attributes,
    DescriptionMatch,
    Embeddings,
    Explanation,
    Face,
    FacetSelection,
    Features,
    Filter,
    FloatArray,
    Frames,
    IdArray,
    Judgement,
    KeyImage,
    MediaFile,
    MediaKind,
    Passage,
    Person,
    Pixels,
    Query,
    Sample,
    Scoring,
    VideoInput,
    Where,
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
class FaceEncoder(Protocol):
    """Finds the faces in a picture, and describes each by a unit vector."""

    name: str
    width: int  # F, numbers of a descriptor
    threshold: float  # the cosine of two descriptors from which on they are taken for one person's

    def detect(self, picture: Pixels) -> list[Face]:
        """Return the faces of a picture (H, W, 3), the largest first."""
        ...

    def describe(self, picture: Pixels, faces: Sequence[Face]) -> FloatArray:
        """Return the descriptors (n, F) of faces in a picture (H, W, 3): unit rows, float32."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes a descriptor."""
        ...


@runtime_checkable
class Channel(Protocol):
    """One way in which a file can be searched: turns it into moments, and queries into vectors of the same space."""

    name: str
    kinds: frozenset[MediaKind]  # of files that it reads
    width: int  # D, numbers of a vector

    def moments(self, source: MediaFile, start: float = 0.0) -> Iterator[Passage]:
        """Yield what a file has from the second `start` on, passage by passage, in order of time.

        Whoever has stored all passages up to one may go on from its end later, with `start`. A file in which the
        channel has nothing to read (a film without sound) has passages without moments, or none. Raises MediaError for
        a file that cannot be used.
        """
        ...

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Return unit vectors (N, D), float32, to compare with those of moments."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes a moment: its span, its text or its vector."""
        ...


@runtime_checkable
class Model(Protocol):
    """A retrieval model: pictures -> features (cached) -> embeddings, and queries -> embeddings.

    Of what a query consists, it `reads` "text", and maybe "persons" and "pictures": an example picture, which goes the
    way of a video of one key image, and whose moment is then compared with those of videos.
    """

    name: str
    image_size: int  # the shorter side, in pixels, of the pictures it wants to see
    scoring: Scoring

    @property
    def reads(self) -> frozenset[str]:
        """The parts of a query that it reads."""
        ...

    def encode_images(self, images: Sequence[Pixels]) -> Mapping[str, NDArray[Any]]:
        """Return what the vision tower says: arrays whose first axis is the picture. The expensive part, cached."""
        ...

    def embed_videos(self, features: Sequence[Features]) -> list[Embeddings]:
        """Unit vectors for each video and each of its key images. Cheap: runs again when a head changes."""
        ...

    def embed_queries(self, queries: Sequence[Query]) -> NDArray[Any]:
        """Vectors (N, D), float32: unit vectors, or blocks of any length where `scoring` has blocks."""
        ...

    def vision_fingerprint(self) -> str:
        """Hash of all that changes `encode_images`."""
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes any vector; includes `vision_fingerprint`."""
        ...


@runtime_checkable
class Index(Protocol):
    """Stores unit vectors by id and finds those with the largest dot product.

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
        """Forget ids and return how many of them were stored. Unknown ids are ignored."""
        ...

    def search(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return scores and ids (N, k), best first, ties by smaller id; short rows are padded with -inf and -1.

        Queries (N, D) are finite, and of any length. k is `limit`; beyond 1,000 it is no more than there are vectors:
        a million costs what the collection costs.
        """
        ...

    def get(self, ids: IdArray) -> FloatArray:
        """Return the vectors (N, D) of ids. KeyError for an unknown id."""
        ...

    def ids(self) -> IdArray:
        """Return every stored id, ascending."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return how many vectors pass the filter; None: how many there are."""
        ...

    def flush(self) -> None:
        """Make all writes so far durable."""
        ...

    def close(self) -> None:
        """Make all writes durable and let go of files and connections. The index is not used again."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Lists the samples of one official split. It never decodes."""

    def samples(self) -> Sequence[Sample]: ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about texts and about key images."""

    name: str
    video_input: VideoInput  # what an `AnswerRequest` about a video must carry

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        """Return an answer to each question, in the order of the questions; `advance` is called once for each.

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

    name: str

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return a judgement of one text skeleton with each video skeleton, all as plain text, in the videos' order.

        `advance` is called once for each. A pair that cannot be judged gives the AnswerError that says why, and the
        rest goes on. Any other error is raised: the judge cannot work at all.
        """
        ...

    def fingerprint(self) -> str:
        """Hash of all that changes a judgement."""
        ...


@runtime_checkable
class RelevanceCalibration(Protocol):
    """Makes scores comparable across queries, on one collection (`scoring.relevance`)."""

    def relevance(self, scores: FloatArray, query: FloatArray) -> FloatArray:
        """Return the relevance (M,) of the scores (M,) of a query (D,), in 0..1 and in the order of the scores."""
        ...


@runtime_checkable
class DescriptionSource(Protocol):
    """What videos were described as, for a search to look at besides their vectors."""

    def nearest(self, text: str, vector: FloatArray, limit: int) -> frozenset[int]:
        """Return the numbers of videos whose descriptions match a query and its vector (D,): at most `limit` by words,
        and as many by meaning."""
        ...

    def matches(self, text: str, vector: FloatArray, numbers: Iterable[int]) -> Mapping[int, DescriptionMatch]:
        """Return how a query and its vector (D,) match the descriptions of those of these videos that have one."""
        ...


@runtime_checkable
class AttributeSource(Protocol):
    """What the videos of a collection show, for a search to restrict itself by, and to explain its hits with."""

    def select(self, where: Where) -> FacetSelection:
        """Return the videos that show all of these classes. Raises UsageError for a class that nobody can know of."""
        ...

    def named(self, queries: Sequence[Query]) -> Sequence[Attributes]:
        """Return what each query names."""
        ...

    def shared(self, query: Attributes, numbers: Iterable[int]) -> Mapping[int, Mapping[str, Sequence[str]]]:
        """Return number -> level -> labels of what a query names and a video shows, of those that have any."""
        ...


@runtime_checkable
class AppearanceSource(Protocol):
    """Who was recognised in the videos of a collection, and when."""

    def appearances(self, person: Person) -> Mapping[int, Sequence[Appearance]]:
        """Return number -> when somebody is in a video, in order of time, of the videos in which they are.

        Raises UsageError where the faces are of another encoder than those of the collection.
        """
        ...

    def people(self, numbers: Iterable[int]) -> Mapping[int, Sequence[Appearance]]:
        """Return number -> all who were recognised in a video, in order of time, of those of these that have any."""
        ...

    def unseen(self) -> int:
        """Return in how many videos nobody has looked for faces yet."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores a query and videos together; may reorder hits, never invents one."""

    depth: int  # how many of the best candidates it wants to see
    seconds: Mapping[str, float]  # that the parts of the last call took

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> Sequence[Explanation]:
        """Return an explanation of each candidate (video numbers, best first, at most `depth`), in the order given.

        Those with a joint score are put in its order, among the places that they held together; the others keep theirs.
        """
        ...
