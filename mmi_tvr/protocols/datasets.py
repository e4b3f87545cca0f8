"""What a data set may offer besides. Callers ask by isinstance, so every member is cheap to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..types import DescribedMoment, EvaluationQuery, Features, FloatArray, IdArray, Labels, PartialQuery, PersonPicture


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
class DatasetWithFeatures(Protocol):
    """A data set that brings vision features along, and no videos that could be decoded."""

    @property
    def vision(self) -> str:
        """What made them: the `vision_fingerprint` of the models that read them."""
        ...

    def features(self, number: int) -> Features:
        """Return the features of a sample's video: `arrays["image"]` (K, D), float32, has a vector of each frame.

        Raises the MediaError that says why they cannot be used.
        """
        ...


@runtime_checkable
class DatasetWithRoleGraphs(Protocol):
    """A data set that may have the role graphs of its captions."""

    @property
    def role_graphs(self) -> Path | None:
        """A file of them in HGR's format (`lexicon.roles.read_hgr`); None where there is none."""
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


@runtime_checkable
class PartialQueryDataset(Protocol):
    """A data set that has queries which say a part of a video, and knows which videos they are true of."""

    def partial_queries(self, rounds: int = 1) -> Mapping[str, Sequence[PartialQuery]]:
        """Return such queries by kind, drawn so many times."""
        ...


@runtime_checkable
class QueryDataset(Protocol):
    """A data set with queries of its own, each of which several samples may answer; people stand in them by handles.

    Every person of a query has a name, "" where nobody says one, and no faces yet (`Person.faces` (0, 0), `maker` ""):
    `people.portraits` puts them there, read from `person_pictures` by the encoder that the model wants.
    """

    def evaluation_queries(self) -> Sequence[EvaluationQuery]:
        """Return the queries; every sample of the data set is a candidate of each. A handle is one person in all."""
        ...

    def person_pictures(self) -> Mapping[str, Sequence[PersonPicture]]:
        """Return pictures of each person by handle; none is a sample's (a picture that finds itself shows nothing)."""
        ...


@runtime_checkable
class PersonDataset(Protocol):
    """A data set of people to learn from: each sample shows one of them, whose handle stands in its captions.

    A caption is "an image of [n000012]" where the handle is "n000012".
    """

    def identities(self) -> Sequence[str]:
        """Return the handle of the person that each sample shows, by the numbers of the samples."""
        ...

    def person_names(self) -> Mapping[str, str]:
        """Return the name of each person by handle, "" where nobody says one."""
        ...

    def person_pictures(self) -> Mapping[str, Sequence[PersonPicture]]:
        """Return pictures of each person by handle. They may be the samples' own; who trains takes another one than the
        target (`PersonPicture.video` is equal to `Sample.video` where they are the same)."""
        ...


@runtime_checkable
class GradedDataset(Protocol):
    """A data set whose captions fit videos to a degree: some fully, others in a part of what they say."""

    def relevance(self, captions: IdArray, videos: IdArray) -> FloatArray:
        """Return how well captions fit videos (captions, videos), in 0..1; 1 is a full match.

        captions: their numbers among the captions of all samples in order. videos: numbers of samples.
        """
        ...


@runtime_checkable
class FoldedDataset(Protocol):
    """A data set whose papers report the mean over parts of its test split, besides the whole."""

    def folds(self) -> Sequence[Sequence[int]]:
        """Return the numbers of the samples of each part; none where the split has no such parts."""
        ...
