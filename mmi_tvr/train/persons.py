"""Sentences with persons in them, and samples that show these persons, as batches; and their validation.

Source: Korbar and Zisserman 2022 (CLIP-PAD). A person is said by a face, by a name, or by both. The face is one of
another picture than the one to be found (decision): else the way to it would lead through the picture, not through the
person.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from ..errors import MediaError, UsageError
from ..evaluation import metrics
from ..evaluation.identity import identity_accuracy
from ..features.lazy import LazyFeatures
from ..people.portraits import portraits, read_face, with_faces
from ..protocols import (
    Dataset,
    FaceEncoder,
    Model,
    ModelLearningFaces,
    PersonDataset,
    QueryDataset,
    TrainableModel,
)
from ..types import Embeddings, Features, FloatArray, IdArray, Person, PersonPicture, Query, Scoring, Video
from ..utils import distributed
from ..utils.loading import late_property
from ..utils.progress import Progress
from ..utils.wording import counted
from .cached import in_shares
from .pairs import usable_groups
from .persons_options import HANDLE, PersonOptions
from .protocol import Batch
from .sampler import TwinSampler

_IMAGE, _TEXT, _BOTH = "image", "text", "both"
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_LAPS = 1 << 20  # of one kind of sentences in an epoch, at most


class PersonMention(NamedTuple):
    """How a sentence says a person. `way` is "image": by faces alone; "text": by the name alone; "both": by the name,
    and the faces behind it. `pictures`: which of the person's."""

    way: str
    pictures: IdArray


@dataclass(frozen=True)
class PersonData:
    """Who is on the samples of a data set.

    Args:
        samples: the video, and the handle of the person, of each sample that takes part, by its number.
        ids: of these samples, by their numbers.
        names: of each handle, "" where there is none.
        faces: of each handle the descriptors (n, F) of its pictures, and the videos that these are.
        captions: of each sample, by its number, those that say more of the person than that it is there; in some stand
            other persons, too.
        maker: of the descriptors.
    """

    samples: Mapping[int, tuple[Video, str]]
    ids: Mapping[int, str]
    names: Mapping[str, str]
    faces: Mapping[str, tuple[FloatArray, Sequence[Video]]]
    captions: Mapping[int, Sequence[str]]
    maker: str

    def pictures_for(self, row: int, same_picture: bool = False) -> IdArray:
        """Return which pictures of a sample's person may stand in a sentence about that sample: those of others."""
        video, handle = self.samples[row]
        return self._pictures(handle, video, same_picture)

    def others_in(self, text: str, row: int) -> dict[str, IdArray]:
        """Return who stands in a sentence about a sample besides its person, and which pictures of them may."""
        video, handle = self.samples[row]
        others = [who for who in handles_in(text) if who != handle and who in self.faces]
        return {who: self._pictures(who, video) for who in others}

    def _pictures(self, handle: str, target: Video, same_picture: bool = False) -> IdArray:
        _, videos = self.faces.get(handle, (None, ()))
        return np.array([place for place, other in enumerate(videos) if (other == target) == same_picture], np.int64)

    @late_property
    def numbers(self) -> Mapping[str, int]:
        """A number for each handle."""
        return {handle: number for number, handle in enumerate(sorted({who for _, who in self.samples.values()}))}

    def query(self, text: str, cues: Mapping[str, PersonMention]) -> Query:
        """Return a sentence with handles in brackets, whose persons are said as the cues of their handles have it."""
        names = {handle: self.names.get(handle, "") for handle in cues}
        words = {handle: names[handle] for handle, cue in cues.items() if cue.way == _TEXT}
        words |= {handle: f"{names[handle]} [{handle}]" for handle, cue in cues.items() if cue.way == _BOTH}
        faces = {handle: self.faces[handle][0][cue.pictures] for handle, cue in cues.items() if cue.way != _TEXT}
        persons = {handle: Person(vectors, self.maker) for handle, vectors in faces.items()}
        return Query(Query(text).text_with(words), persons=persons)


def handles_in(text: str) -> list[str]:
    """Return what stands in brackets in a sentence, each once, in order.

    >>> handles_in("[anna] waves to [ben], and [anna] smiles")
    ['anna', 'ben']
    """
    return list(dict.fromkeys(_BRACKETS.findall(text)))


def check_persons(model: Model, dataset: Dataset) -> None:
    """Raise UsageError where the model learns no faces, or the data set does not know who is on a picture."""
    if not isinstance(model, ModelLearningFaces):
        raise UsageError(
            f"data.persons: the model {model.name} reads no faces: take clip_pad, or leave the section out"
        )
    if not isinstance(dataset, PersonDataset):
        raise UsageError("data.persons: the data set does not say who is on a picture: take another one")


def person_data(
    model: Model, dataset: Dataset, rows: Sequence[int], options: PersonOptions, progress: Progress
) -> PersonData:
    """Return who is on the samples of a data set; every process calls this, and describes its share of the pictures.

    Args:
        model: says who describes faces; a picture on which that one sees none is left out.
        dataset: has the samples.
        rows: numbers of the samples that take part.
        options: how many pictures of a person are described.
        progress: is told how many persons are done.

    Raises:
        UsageError: as `check_persons`, or nobody is seen on any of the pictures.
    """
    check_persons(model, dataset)
    assert isinstance(model, ModelLearningFaces)
    assert isinstance(dataset, PersonDataset)
    encoder, pictures = model.face_encoder(), dataset.person_pictures()
    handles, samples = dataset.identities(), dataset.samples()
    captions = {row: _compound(samples[row].captions, handles[row], options.template) for row in rows}
    mentioned = {who for row in rows if handles[row] for text in captions[row] for who in handles_in(text)}
    shown = sorted({handles[row] for row in rows} | (mentioned & pictures.keys()))

    def described(block: Sequence[str]) -> list[tuple[FloatArray, list[Video]]]:
        return [_described(pictures.get(handle, ())[: options.pictures], encoder) for handle in block]

    faces = dict(zip(shown, in_shares(shown, described, "persons", progress, shared=True), strict=True))
    if not any(videos for _, videos in faces.values()):
        raise UsageError(f"data.persons: {encoder.name} sees nobody on any of the pictures of persons")
    people = {row: (samples[row].video, handles[row]) for row in rows}
    ids = {row: samples[row].id for row in rows}
    return PersonData(people, ids, dataset.person_names(), faces, captions, encoder.fingerprint())


def _compound(captions: Sequence[str], handle: str, template: str) -> list[str]:
    """Return the captions that say of a person more than a plain sentence does; of nobody, all."""
    if not handle:
        return list(captions)
    plain = template.replace(f"[{HANDLE}]", f"[{handle}]")
    return [caption for caption in captions if f"[{handle}]" in caption and caption != plain]


def _described(pictures: Sequence[PersonPicture], encoder: FaceEncoder) -> tuple[FloatArray, list[Video]]:
    """Return the descriptors (n, F) of a person's pictures, and the n pictures on which somebody is seen."""
    faces, videos = [np.zeros((0, encoder.width), np.float32)], []
    for picture in pictures:
        try:
            pixels, face = read_face(picture, encoder)
        except MediaError:  # nobody is seen on it, or it cannot be read: others show that person
            continue
        faces.append(encoder.describe(pixels, [face]))
        videos.append(picture.video)
    return np.concatenate(faces), videos


class PersonBatches:
    """Batches of (sentence, sample); a `protocol.EpochDataLoader`.

    All sentences of a batch are plain ones ("an image of [p]"), whose positives are all samples of that person, or all
    are captions that say more, whose positives are the pairs of the same video. Captions of samples that show nobody
    are among the latter, as they are: what is said of nobody is not to be forgotten (decision).

    What is drawn hangs on seed, epoch, batch and process alone.

    Args:
        model: makes the network's input.
        people: who is on which sample.
        features: of every sample, by its number.
        options: kinds of sentences, and how persons are said.
        groups: twins among all samples, which share a batch of captions; None: no two are.
        batch: pairs of all processes together.
        seed: of all draws.
    """

    def __init__(
        self,
        model: ModelLearningFaces,
        people: PersonData,
        features: Sequence[Features],
        options: PersonOptions,
        *,
        groups: Sequence[Sequence[int]] | None = None,
        batch: int,
        seed: int,
    ) -> None:
        self._model, self._people, self._features = model, people, features
        self._options, self._seed = options, seed
        self._ways = list(options.mix)
        self._shares = np.array([options.mix[way] for way in self._ways]) / sum(options.mix.values())
        self._pictures = {row: people.pictures_for(row, options.same_picture) for row in people.samples}
        self._videos = {video: number for number, (video, _) in enumerate(people.samples.values())}
        usable = [row for row in people.samples if len(self._pictures[row]) and self._can_be_named(row)]
        nobody = [row for row, (_, handle) in people.samples.items() if not handle]
        kinds = {"plain": usable, "compound": [row for row in (*usable, *nobody) if people.captions.get(row)]}
        self._samplers = {}
        for kind, share in (("plain", 1 - options.compound), ("compound", options.compound)):
            if share and len(kinds[kind]) < batch:
                raise UsageError(
                    f"data.persons: {counted(len(kinds[kind]), 'sample')} for {kind} sentences with a face of another "
                    f"picture, fewer than a batch of {batch}: take a smaller batch, or other data"
                )
            if share:
                together = usable_groups(kinds[kind], groups if kind == "compound" else None)
                self._samplers[kind] = TwinSampler(together, batch, seed, distributed.rank(), distributed.world_size())

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of one epoch, without the first `skip`, which are not loaded."""
        batches = {kind: self._of_kind(kind, number) for kind in self._samplers}
        for batch_number in range(max(map(len, self._samplers.values()))):
            of_all_processes = np.random.default_rng([self._seed, number, batch_number])
            kind = "compound" if of_all_processes.random() < self._options.compound else "plain"
            rows = next(batches[kind])
            if batch_number >= skip:
                dice = np.random.default_rng([self._seed, number, batch_number, distributed.rank()])
                yield self._batch(rows, kind, dice)

    def _can_be_named(self, row: int) -> bool:
        """Return whether the mix has a way to say the person of a sample: who has no name is said by a face alone."""
        return self._options.mix.get(_IMAGE, 0) > 0 or bool(self._people.names.get(self._people.samples[row][1]))

    def _of_kind(self, kind: str, epoch: int) -> Iterator[list[int]]:
        for lap in count():
            yield from self._samplers[kind].batches(epoch * _LAPS + lap)

    def _batch(self, rows: Sequence[int], kind: str, dice: np.random.Generator) -> Batch:
        queries, groups = [], []
        for row in rows:
            handle = self._people.samples[row][1]
            if kind == "plain":
                text = self._options.template.replace(f"[{HANDLE}]", f"[{handle}]")
                groups.append(self._people.numbers[handle])
            else:
                captions = self._people.captions[row]
                text = captions[int(dice.integers(len(captions)))]
                groups.append(self._videos[self._people.samples[row][0]])
            queries.append(self._query(row, text, handle, dice))
        samples = [self._features[row] for row in rows]
        return {"ids": [str(row) for row in rows], **self._model.query_batch(queries, samples, groups)}

    def _query(self, row: int, text: str, handle: str, dice: np.random.Generator) -> Query:
        if not handle:
            return Query(text)
        cues = {handle: self._cue(handle, self._pictures[row], dice)}
        cues |= {who: self._cue(who, pictures, dice) for who, pictures in self._people.others_in(text, row).items()}
        return self._people.query(text, cues)

    def _cue(self, handle: str, candidates: IdArray, dice: np.random.Generator) -> PersonMention:
        """Draw how a sentence says a person of whom these pictures may stand there."""
        way = self._ways[int(dice.choice(len(self._ways), p=self._shares))]
        pictures = dice.choice(candidates, min(self._options.faces, len(candidates)), replace=False)
        if not len(pictures):
            return PersonMention(_TEXT, pictures)
        named = bool(self._people.names.get(handle))
        return PersonMention(way if named else _IMAGE, pictures)  # nobody says a name that is none


class PersonValidation:
    """How well persons are recognised, and the data set's queries answered, in percent.

    The first is zero-shot accuracy: for how many persons the plain sentence, with half of their pictures, finds another
    picture of theirs first, among one of each (`identity_accuracy`). The second, where the training has compound
    sentences and the data set has queries, is the mean of their mAP over groups, persons said by faces. Where both are
    measured, the result is their mean; plain sentences count where the training has some, or nothing else is measured.
    """

    def __init__(
        self,
        model: TrainableModel,
        dataset: Dataset,
        people: PersonData,
        features: LazyFeatures,
        options: PersonOptions,
        progress: Progress,
    ) -> None:
        self._model = model
        self._tests: list[_IdentityTest | _QueryTest] = []
        if options.compound > 0 and isinstance(dataset, QueryDataset):
            self._tests.append(_query_test(model, dataset, people, features, progress))
        if options.compound < 1 or not self._tests:
            queries, rows = _plain_queries(people, options.template)
            if not rows:
                raise UsageError("validation data: no sample shows a person of whom there are other pictures, too")
            pictures = model.embed_videos([features[row] for row in rows])
            self._tests.append(_IdentityTest(queries, pictures, model.scoring))

    def __call__(self, network: Any) -> float:
        """Return the number; process 0's counts, so the others do not work for it."""
        if distributed.rank() != 0:
            return 0.0
        return float(np.mean([test.percent(self._model.embed_queries(test.queries)) for test in self._tests]))


@dataclass(frozen=True, slots=True)
class _IdentityTest:
    """A query for each person, and a picture or video of each, as `scoring` compares them."""

    queries: Sequence[Query]
    pictures: Sequence[Embeddings]
    scoring: Scoring

    def percent(self, vectors: FloatArray) -> float:
        """Return how many of the persons are recognised."""
        return identity_accuracy(vectors, self.pictures, self.scoring)


@dataclass(frozen=True, slots=True)
class _QueryTest:
    """Queries of several groups, the vectors (N, D) of samples, and which samples are right for each query."""

    queries: Sequence[Query]
    groups: Sequence[str]
    right: Sequence[frozenset[int]]
    videos: FloatArray

    def percent(self, vectors: FloatArray) -> float:
        """Return the mean of the groups' mean average precision."""
        precisions = metrics.average_precision([vectors @ self.videos.T], self.right, metrics.SCORE_TOLERANCE)
        of_group: defaultdict[str, list[float]] = defaultdict(list)
        for group, precision in zip(self.groups, precisions.tolist(), strict=True):
            of_group[group].append(precision)
        return float(np.mean([np.mean(values) for values in of_group.values()]))


def _query_test(
    model: TrainableModel, dataset: QueryDataset, people: PersonData, features: LazyFeatures, progress: Progress
) -> _QueryTest:
    """Return the queries of a data set that are about samples which can be read, with faces."""
    assert isinstance(model, ModelLearningFaces)
    queries = list(dataset.evaluation_queries())
    handles = {handle for query in queries for handle in query.query.persons}
    pictures = {handle: shown for handle, shown in dataset.person_pictures().items() if handle in handles}
    seen = portraits(pictures, model.face_encoder(), progress)
    columns = {people.ids[row]: column for column, row in enumerate(people.samples)}
    right = [frozenset(columns[name] for name in query.right if name in columns) for query in queries]
    usable = [number for number, samples in enumerate(right) if samples]
    queries = with_faces([queries[number] for number in usable], seen, "face")
    return _QueryTest(
        [query.query for query in queries],
        [query.group for query in queries],
        [right[number] for number in usable],
        np.stack([video.video for video in model.embed_videos([features[row] for row in people.samples])]),
    )


def _plain_queries(people: PersonData, template: str) -> tuple[list[Query], list[int]]:
    """Return a plain query about each person, and a sample of each that is none of the pictures in it."""
    queries, rows = [], []
    for handle in people.numbers:
        _, videos = people.faces[handle]
        half = -(-len(videos) // 2)
        known = set(videos[:half])
        others = [row for row, (video, who) in people.samples.items() if who == handle and video not in known]
        if half and others:
            text = template.replace(f"[{HANDLE}]", f"[{handle}]")
            queries.append(people.query(text, {handle: PersonMention(_IMAGE, np.arange(half))}))
            rows.append(others[0])
    return queries, rows
