"""What an implementation of each room must offer, what it may offer besides, and the conventions between rooms.

Conventions
- A video's vector, and each of its key images', is a float32 unit vector. Of n blocks (`types.Block`), each has the
  length 1 / sqrt(n). A query's vector is a unit vector, too; its blocks may have any length.
- The score of two is their dot product, or what their blocks say (`types.Scoring`); larger is better. Scores of several
  queries can be compared (relevance) as long as nobody scales a query's blocks: what an index is asked with, which is
  scaled, finds candidates and orders nothing.
- Who batches: the caller hands over as much as it holds; the implementation cuts it to what its memory allows.
- Ids are int64 and carry video and key image (`types.row_ids`); the id space belongs to the caller.
- A fingerprint is a short hash of everything that changes the numbers (`utils.hashing.digest`).
- "Can embed" (Model) and "can score a pair" (Reranker) are different abilities, with different verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from .errors import AnswerError
from .types import (
    AnswerRequest,
    Availability,
    DescribedMoment,
    DescriptionMatch,
    Embeddings,
    Explanation,
    Features,
    Filter,
    FloatArray,
    Frames,
    IdArray,
    Judgement,
    KeyImage,
    Labels,
    Pixels,
    Query,
    Sample,
    Scoring,
    ShownVideo,
    Span,
    Variant,
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
    reads: frozenset[str]  # the parts of a query that it reads: {"text"}
    image_size: int  # the shorter side, in pixels, of the pictures it wants to see
    scoring: Scoring

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
    video_input: Literal["features", "pictures"]  # what an `AnswerRequest` about a video must carry

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
class ModelNamingAnswerer(Protocol):
    """An answerer that knows which model gives its answers."""

    def answering_model(self, search_model: str) -> str | None:
        """Return the name of that model, where `search_model` is the spelling of the model that searches."""
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
class SeeingJudge(Protocol):
    """A judge that can look at videos."""

    name: str
    video_input: Literal["features", "pictures"]  # what a `ShownVideo` must carry

    def judge_videos(
        self, text: str, videos: Sequence[ShownVideo], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        """Return how likely it is that each video shows what a text says, in the videos' order.

        `advance` and errors as in `Judge.judge`.
        """
        ...

    def visual_fingerprint(self) -> str:
        """Hash of all that changes a judgement of a video."""
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
class Reranker(Protocol):
    """Scores a query and videos together; may reorder hits, never invents one."""

    depth: int  # how many of the best candidates it wants to see
    seconds: Mapping[str, float]  # that the parts of the last call took

    def rerank(self, query: Query, candidates: IdArray, cosines: FloatArray) -> Sequence[Explanation]:
        """Return an explanation of each candidate (video numbers, best first, at most `depth`), in the order given.

        Those with a joint score are put in its order, among the places that they held together; the others keep theirs.
        """
        ...


# Capabilities: what an object may offer besides. Callers ask by isinstance, so every member is cheap to look at.


@runtime_checkable
class ExactIndex(Protocol):
    """An index that can search without missing any vector, also where its `search` may (a graph)."""

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return what `Index.search` returns, from all vectors that pass the filter."""
        ...


@runtime_checkable
class PublishedIndex(Protocol):
    """An index that others know by a name of its own (`milvus`)."""

    def publish(self) -> None:
        """Make everything in it findable, and have the name mean this index from now on."""
        ...


@runtime_checkable
class TrainedModel(Protocol):
    """A model that may come from a model folder (`models.folder`)."""

    @property
    def weights(self) -> str | None:
        """The folder, hub name or bundled name of the trained weights; None where it is untrained."""
        ...


class TrainableModel(Model, TrainedModel, Protocol):
    """A model whose module offers `trainable` (`TrainableModule`)."""

    @property
    def network(self) -> Any:
        """The `torch.nn.Module` that training changes in place (`train.protocol.Trainable`)."""
        ...

    def batch(self, texts: Sequence[str], features: Sequence[Features], numbers: Sequence[int]) -> Mapping[str, Any]:
        """Return what `network` reads: B texts and their videos' features; pairs of one video share its number."""
        ...

    def save(
        self,
        folder: Path,
        keyimages: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        rerank: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a model folder: all that training changed, the options, and the settings sections that go with it."""
        ...


@runtime_checkable
class ModelWithLabels(Protocol):
    """A trainable model that learns which entities, actions and relations captions name and videos show."""

    @property
    def label_source(self) -> Literal["parsed", "exact"]:
        """Where labels come from: parsed captions, or the data set (`LabelledDataset`)."""
        ...

    def prepare(self, captions: Sequence[str], labels: Sequence[Labels]) -> None:
        """Get ready for all training captions and what each of them says: called once, before `network` is read.

        Raises UsageError where the model cannot learn from them.
        """
        ...

    def label_batch(self, captions: Sequence[Labels], videos: Sequence[Labels]) -> Mapping[str, Any]:
        """Return what `network` reads as `batch["labels"]`: the labels of B captions and of their videos."""
        ...


@runtime_checkable
class ModelWithKeyImages(Protocol):
    """A model that was trained on key images of one method."""

    def key_image_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of these key images; None where any will do."""
        ...


@runtime_checkable
class TextLimitedModel(Protocol):
    """A model that reads only the beginning of a long sentence, and can say how much."""

    def characters_read(self, text: str) -> int:
        """Return how many characters of a text, from its start, count for its vector; len(text) where all do."""
        ...


@runtime_checkable
class ModelWithReranking(Protocol):
    """A model that comes with settings for re-ranking."""

    def rerank_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of re-ranking; None where the defaults hold."""
        ...


@runtime_checkable
class LocatingModel(Protocol):
    """A model that may have a head of its own for finding where in a video a query happens."""

    def locate(self, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span] | None:
        """Return where each of N queries (N, D) happens in a video of its own; None where there is no such head."""
        ...


@runtime_checkable
class AnsweringModel(Protocol):
    """A model whose vision features its own language model can read: it can answer questions, and judge."""

    name: str

    def require_language_model(self) -> None:
        """Raise UsageError where the options switch the language model off. Loads nothing."""
        ...

    def language_model(self) -> Any:
        """Return the `encoders.llava.Llava` as training left it. UsageError as above."""
        ...

    def language_checkpoint(self) -> str:
        """Return the folder or hub name of the checkpoint that it was loaded from."""
        ...

    def adapter_folder(self) -> Path | None:
        """Return the folder of its trained LoRA adapter; None where there is none."""
        ...

    def fingerprint(self) -> str: ...

    def vision_fingerprint(self) -> str: ...


@runtime_checkable
class IncompleteDataset(Protocol):
    """A data set whose annotation may list videos that are not there."""

    @property
    def missing(self) -> Sequence[str]:
        """Ids of annotated videos that are not there; they are not among the samples."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the numbers should know of the data, a sentence each."""
        ...


@runtime_checkable
class GeneratedDataset(Protocol):
    """A data set that renders its videos on demand."""

    def pending(self, limit: int | None = None) -> Sequence[int]:
        """Return the numbers of the samples, among the first `limit`, whose files have yet to be rendered."""
        ...

    def generate(self, limit: int | None = None, *, advance: Callable[[], object] = lambda: None) -> object:
        """Render the pending files; `advance` is called once for each. A kill costs the files that were under way."""
        ...


@runtime_checkable
class GroupedDataset(Protocol):
    """A data set in which some samples belong together: twins that differ in one thing."""

    def groups(self) -> Sequence[Sequence[int]]:
        """Return the numbers of the samples of each group; every sample is in one."""
        ...


@runtime_checkable
class DescribingDataset(Protocol):
    """A data set that knows of which other videos its captions are true."""

    def describes(self, captions_of: int, video: int) -> bool:
        """Return whether the captions of one sample are true of the video of another one, by their numbers."""
        ...


@runtime_checkable
class LabelledDataset(Protocol):
    """A data set that knows the entities, actions and relations of its videos and captions, without parsing."""

    def video_labels(self, number: int) -> Labels:
        """Return what is true of the video of a sample, said or not."""
        ...

    def caption_labels(self, number: int) -> Sequence[Labels]:
        """Return what each caption of a sample says, in their order."""
        ...


@runtime_checkable
class MomentDataset(Protocol):
    """A data set that knows when in its videos things happen."""

    def moments(self) -> Mapping[str, Sequence[DescribedMoment]]:
        """Return sets of sentences with their spans, by name: `events` (single ones), `captions` (whole captions).

        A sentence is true of no moment of its video that it does not name.
        """
        ...


# Modules: what a file of a room, or a plug-in of a third party, offers besides `Options` and `build`.


@runtime_checkable
class AvailableModule(Protocol):
    """A module that knows whether it could be used on this machine."""

    def availability(self) -> Sequence[Availability]:
        """Return one line for each way of using it. Loads no weights and asks no network."""
        ...


@runtime_checkable
class AutomaticModule(Protocol):
    """A model that `auto` may choose. Of those that can be used, the one with the largest `AUTOMATIC` is taken."""

    AUTOMATIC: int

    def automatic(self) -> Mapping[str, Any] | None:
        """Return the options to use it with; None where it cannot be used on this machine."""
        ...


@runtime_checkable
class CheckpointModule(Protocol):
    """A model that is made from checkpoints."""

    CHECKPOINT: str  # the option that NAME:CHECKPOINT sets
    CHECKPOINTS: Mapping[str, str]  # dotted options that name a checkpoint -> the folder in which it travels to the hub

    def reads_checkpoint(self, name: str) -> bool:
        """Return whether `--model NAME`, a folder or hub name without a model.json, may mean this model."""
        ...


@runtime_checkable
class TrainableModule(Protocol):
    """A model that can be trained."""

    TRAINED: Sequence[str]  # glob patterns of the files of a model folder that training writes

    def trainable(self, options: Any, *, device: str) -> TrainableModel:
        """Return the model with what training changes: new, or that of the option `weights`."""
        ...


@runtime_checkable
class AblatedModule(Protocol):
    """A model with an ablation table."""

    VARIANTS: Mapping[str, Variant]  # the first row is the full model
