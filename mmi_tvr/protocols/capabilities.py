"""What a model, an answerer, a judge or an index may offer besides. Callers ask by isinstance, so every member is cheap
to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import AnswerError
from ..types import (
    Attributes,
    Embeddings,
    FacetCalibration,
    Features,
    Filter,
    FloatArray,
    IdArray,
    Judgement,
    Labels,
    LabelSource,
    Query,
    ShownVideo,
    Side,
    Span,
    VideoInput,
)
from .rooms import FaceEncoder, Model


@runtime_checkable
class ModelNamingAnswerer(Protocol):
    """An answerer that knows which model gives its answers."""

    def answering_model(self, search_model: str) -> str | None:
        """Return the name of that model, where `search_model` is the spelling of the model that searches."""
        ...


@runtime_checkable
class SeeingJudge(Protocol):
    """A judge that can look at videos."""

    name: str
    video_input: VideoInput  # what a `ShownVideo` must carry

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
class ExactIndex(Protocol):
    """An index that can search without missing any vector, also where its `search` may (a graph)."""

    def search_exact(self, queries: FloatArray, limit: int, where: Filter | None = None) -> tuple[FloatArray, IdArray]:
        """Return what `Index.search` returns, from all vectors that pass the filter."""
        ...


@runtime_checkable
class SnapshotIndex(Protocol):
    """An index whose reader keeps the state that it opened while another process writes."""

    def is_outdated(self) -> bool:
        """Return whether somebody has written since, so that opening it anew would give another state."""
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
    def label_source(self) -> LabelSource:
        """Where labels come from: parsed captions, or the data set (`LabelledDataset`)."""
        ...

    @property
    def parses(self) -> str | None:
        """A CoNLL-U file with the parses of all captions; None: they are to be parsed."""
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
class ModelWithAttributes(Protocol):
    """A model that says how likely it is that a video shows, and a sentence names, each class of its vocabularies.

    Levels of classes that data sets label are called entity, action and relation (`types.Labels`). `embed_videos` gives
    `Embeddings.attributes`.
    """

    def attribute_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the classes by level; no level where it was trained without any."""
        ...

    def query_attributes(self, queries: Sequence[Query]) -> list[Attributes]:
        """Return the likeliest classes of each query (`scoring.attributes.likeliest`)."""
        ...

    def facet_calibration(self) -> FacetCalibration | None:
        """Return from which probabilities on its classes are to be believed; None where nobody has measured that."""
        ...


@runtime_checkable
class LabellingModel(Protocol):
    """A model that says how likely it is that a video shows each of its labels, and knows how rare they are.

    Levels are as in `ModelWithAttributes`.
    """

    def label_counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return level -> its K labels, with how many of the training captions name each."""
        ...

    def label_probabilities(self, features: Sequence[Features]) -> Mapping[str, FloatArray]:
        """Return level -> (N, K) of N videos, in the order of `label_counts`."""
        ...


@runtime_checkable
class ModelWithKeyImages(Protocol):
    """A model that was trained on key images of one method."""

    def key_image_section(self) -> Mapping[str, Any] | None:
        """Return the settings section of these key images; None where any will do."""
        ...


@runtime_checkable
class TranslatingModel(Protocol):
    """A model that translates texts and videos into each other's space, and back."""

    def query_cycle_errors(self, queries: Sequence[Query]) -> FloatArray:
        """Return how far each of N queries is from itself when it has been to the other space and back, (N,)."""
        ...

    def video_cycle_errors(self, features: Sequence[Features]) -> FloatArray:
        """Return the same of N videos, (N,)."""
        ...


@runtime_checkable
class TextLimitedModel(Protocol):
    """A model that reads only the beginning of a long sentence, and can say how much."""

    def characters_read(self, text: str) -> int:
        """Return how many characters of a text, from its start, count for its vector; len(text) where all do."""
        ...


@runtime_checkable
class ModelOfFeatures(Protocol):
    """A model that may read what data sets bring along (`DatasetWithFeatures`) in place of pictures."""

    @property
    def reads_pictures(self) -> bool:
        """Whether it looks at pictures; else `encode_images` raises UsageError, and `image_size` is 0."""
        ...


@runtime_checkable
class ModelOfRoleGraphs(Protocol):
    """A model that may read captions by role graphs that were made elsewhere (`DatasetWithRoleGraphs`)."""

    def use_role_graphs(self, path: Path) -> None:
        """Take them from a file in HGR's format. UsageError where it cannot be read."""
        ...


@runtime_checkable
class RemarkingModel(Protocol):
    """A model that can say of a query what it cannot make of it."""

    def query_remarks(self, query: Query) -> Sequence[str]:
        """Return clauses for the person who asks, without full stops; none of a query that it reads as it was meant."""
        ...


@runtime_checkable
class ModelReadingFaces(Protocol):
    """A model that reads who stands in a query from faces ("persons" is among what it `reads`)."""

    def face_encoder(self) -> FaceEncoder:
        """Return the encoder whose descriptors it reads. UsageError, or MissingExtra, where it cannot be used."""
        ...


@runtime_checkable
class ModelLearningFaces(ModelReadingFaces, Protocol):
    """One that learns to, from sentences with faces in them."""

    def query_batch(
        self, queries: Sequence[Query], features: Sequence[Features], numbers: Sequence[int]
    ) -> Mapping[str, Any]:
        """Return what `TrainableModel.batch` does, of B queries; pairs that share a number are positives."""
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
class ModelWithTranslatedSides(Protocol):
    """A model that translates texts into the space of videos, or videos into that of texts, and compares there."""

    def translated_sides(self) -> Mapping[str, Side]:
        """Return for each block of such a space which side of it is the translation."""
        ...


@runtime_checkable
class MatchingModel(Protocol):
    """A model that may have a head of its own for whether a video shows what a query says."""

    def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray | None:
        """Return how well each of N queries (N, D) matches a video of its own (N,), in any unit; None where there is no
        such head.

        What the numbers are worth, `Scoring.match_law` says.
        """
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

    def language_fingerprint(self, adapted: bool) -> str:
        """Hash all that changes what its language model says: with the trained adapter, or as the base without it."""
        ...

    def vision_fingerprint(self) -> str: ...


@runtime_checkable
class ModelWithJudge(Protocol):
    """An `AnsweringModel` that may have an adapter of its own for judging (`encoders.llava.Llava.judging`)."""

    def judge_adapter_folder(self) -> Path | None:
        """Return the folder of that adapter; None where the model judges as it searches."""
        ...
