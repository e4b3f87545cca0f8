"""Moving faces: a generated corpus of drawn people, for queries that name somebody by a face.

600 identities, whose faces have 14 parameters and differ in 3 at least: 400 for training (300 of them with a name),
100 for validation, 100 for testing. One of 12 things is done in one of 8 places. Turned heads, mirrored ones, open
mouths, light, size, noise and the codec are what varies. After CiP (pictures) and CiA (videos) of Korbar and Zisserman,
"Personalised CLIP", BMVC 2022.

Decisions. What is done shows in any one picture, by a thing that is held, as in CiA. Files have 64 pixels a side, so
that a face of 20 to 32 pixels is as large in the file as in the tower that reads it. Validation and test hold half of
their samples of people of the training split that have a name ("seen"), in other scenes, and half of people of their
own ("unseen"), whose names no training caption says.

Scenes and captions are the same on every machine, to the bit; files are rendered on demand (`generate`) into a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from .. import plugins
from ..types import EvaluationQuery, PersonPicture, Sample
from ..utils import array_cache
from ..utils.hashing import digest
from ..utils.loading import late_property
from ..utils.wording import counted
from ._moving_faces.captions import PartialDescription, captions, draw_description
from ._moving_faces.files import VERSION, Shot
from ._moving_faces.identities import APART, NAMED, TEST, TRAIN, VAL, identities, invented_names, is_close
from ._moving_faces.looks import PARAMETERS, Looks, differences, draw_looks
from ._moving_faces.people import TEXT_ONLY, Crop, handle, person_captions, portrait_box, queries
from ._moving_faces.picture import face_box
from ._moving_faces.picture import render as render_frames
from ._moving_faces.scenes import DOINGS, PLACES, SIZES, Kind, Scene, SplitName, draw_scene, portraits, scenes
from ._moving_shapes import files
from ._moving_shapes.dice import Dice

__all__ = [
    "APART",
    "DOINGS",
    "NAMED",
    "PARAMETERS",
    "PLACES",
    "TEST",
    "TEXT_ONLY",
    "TRAIN",
    "VAL",
    "Dice",
    "Looks",
    "MovingFaces",
    "Options",
    "PartialDescription",
    "Scene",
    "build",
    "differences",
    "draw_description",
    "draw_looks",
    "draw_scene",
    "face_box",
    "held_out",
    "identities",
    "invented_names",
    "is_close",
    "render_frames",
    "scenes",
]

CAPTIONS = 5  # descriptions of a sample
_REFERENCES = 3  # pictures of a person who is asked for
_STREAM = 41  # of dice


class Options(plugins.BaseOptions):
    split: SplitName = Field("test", description="train, val or test")
    kind: Kind = Field("videos", description="videos, or pictures")
    count: int | None = Field(None, ge=1, description="the first so many samples; default: the whole split")
    captions: Literal["people", "descriptions"] = Field(
        "people", description='captions name who it is, "[p0017] reads a book", or describe how they look'
    )
    reference: Literal["other", "same"] = Field(
        "other",
        description="val, test: people are known by pictures that are in no split, or (a leak) by the answers",
    )
    crop: Crop = Field("tight", description="what is the face of such a picture: itself, or (loose) as much again")
    seed: int = Field(0, ge=0, description="0 for the usual scenes; another number draws others of the same people")
    root: Path | None = Field(None, description="folder of the files; default: in the cache ($MMI_TVR_CACHE)")
    size: int = Field(64, ge=32, le=1024, multiple_of=2, description="width and height of the files, in pixels")
    fps: int = Field(10, ge=1, le=60, description="frames per second of the files")

    @model_validator(mode="after")
    def _not_more_than_there_are(self) -> Options:
        most = SIZES[self.split][self.kind]
        if self.split != "train" and self.count is not None and self.count > most:
            raise ValueError(f"{self.split} has {counted(most, 'sample')}")
        return self


def held_out() -> list[Looks]:
    """Return the faces of validation and testing, which nothing may be trained on."""
    return [identity.looks for identity in identities()[VAL.start : TEST.stop]]


def build(options: Options) -> MovingFaces:
    """Return the split that the options name. Nothing is rendered yet."""
    return MovingFaces(options)


class MovingFaces:
    """One split: samples and scenes run parallel (`protocols.PersonDataset`, `protocols.QueryDataset`)."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @late_property
    def items(self) -> tuple[Scene, ...]:
        """The scene of every sample."""
        options = self.options
        return scenes(options.split, options.kind, options.count or SIZES[options.split][options.kind], options.seed)

    def samples(self) -> Sequence[Sample]:
        """Return the samples. Their files exist after `generate`."""
        return [self.sample(number) for number in range(len(self.items))]

    def sample(self, number: int) -> Sample:
        """Return a sample by its number."""
        return Sample(self._id(number), self._shots[number].video(self._root), self._captions(number))

    def _captions(self, number: int) -> tuple[str, ...]:
        if self.options.captions == "people":
            return tuple(person_captions(self.items[number]))
        return self.descriptions(number)

    def descriptions(self, number: int) -> tuple[str, ...]:
        """Return captions of a sample that say how the person looks, what they do, and where; of nobody's name."""
        scene = self.items[number]
        return captions(scene, identities()[scene.identity].looks, Dice(_STREAM, scene.seed), CAPTIONS)

    def identities(self) -> Sequence[str]:
        """Return the handle of the person that each sample shows, by the numbers of the samples."""
        return [handle(scene.identity) for scene in self.items]

    def person_names(self) -> Mapping[str, str]:
        """Return the name of each person of the split by handle, "" of those who have none."""
        return {handle(identity): identities()[identity].name for identity in self._people}

    def person_pictures(self) -> Mapping[str, Sequence[PersonPicture]]:
        """Return pictures of each person of the split by handle. Their files exist after `generate`.

        In training those of the split's pictures, else pictures that are in no split; `reference` same: the samples
        themselves, which no honest evaluation has.
        """
        size, crop = self.options.size, self.options.crop
        return {
            handle(identity): [
                PersonPicture(shot.video(self._root), portrait_box(shot.scene, size, crop)) for shot in shots
            ]
            for identity, shots in self._portraits.items()
        }

    def evaluation_queries(self) -> Sequence[EvaluationQuery]:
        """Return the queries of this split with all that answer them; groups are `TEXT_ONLY`, and single, action, place
        and compound of seen and of unseen people (single/seen)."""
        return queries(self.items, [self._id(number) for number in range(len(self.items))])

    @late_property
    def _people(self) -> list[int]:
        return sorted({scene.identity for scene in self.items})

    @late_property
    def _shots(self) -> list[Shot]:
        """What is in each sample's file."""
        return [self._shot(self._id(number), scene, self.options.kind) for number, scene in enumerate(self.items)]

    @late_property
    def _portraits(self) -> dict[int, list[Shot]]:
        """The pictures of each person of the split."""
        options = self.options
        if options.split == "train":
            count = options.count if options.kind == "pictures" else None
            shown = scenes("train", "pictures", count or SIZES["train"]["pictures"], options.seed)
            named = [(self._id(number, "pictures"), scene) for number, scene in enumerate(shown)]
        elif options.reference == "same":
            named = [(self._id(number, "pictures"), scene) for number, scene in enumerate(self.items)]
        else:
            named = [
                (f"person{identity:04d}-{number}", scene)
                for identity in self._people
                for number, scene in enumerate(portraits(identity, _REFERENCES, options.seed))
            ]
        return {
            identity: [self._shot(id_, scene, "pictures") for id_, scene in named if scene.identity == identity]
            for identity in self._people
        }

    def _shot(self, id_: str, scene: Scene, kind: Kind) -> Shot:
        options = self.options
        return Shot(id_, scene, identities()[scene.identity].looks, options.size, options.fps, kind == "pictures")

    def pending(self, limit: int | None = None) -> list[int]:
        """Return the numbers of the samples, among the first `limit`, whose file is not there, or a picture of whose
        person is not. (Where that is a sample, too, it counts as one.)"""
        samples, first = set(self._shots), self.items[:limit]
        lacking = {
            identity
            for identity in {scene.identity for scene in first}
            if any(shot not in samples and self._is_missing(shot) for shot in self._portraits[identity])
        }
        return [
            number
            for number, scene in enumerate(first)
            if scene.identity in lacking or self._is_missing(self._shots[number])
        ]

    def _is_missing(self, shot: Shot) -> bool:
        return not shot.path(self._root).is_file()

    def path(self, number: int) -> Path:
        """Return where a sample's file lies."""
        return self._shots[number].path(self._root)

    def generate(
        self,
        limit: int | None = None,
        advance: Callable[[], object] = lambda: None,
        workers: int | None = None,
    ) -> None:
        """Render the files that are not there, and the pictures of people. One is there whole or not at all: call it
        again after an interruption.

        Args:
            limit: only those of the first so many samples, and of the people on them.
            advance: called once for each pending sample.
            workers: processes; None takes one for each processor.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        pending = self.pending(limit)
        jobs = self._jobs(self._shots[number] for number in pending)
        files.render(jobs, workers, advance)
        people = {scene.identity for scene in self.items[:limit]}
        pictures = (shot for identity in people for shot in self._portraits[identity])
        files.render(self._jobs(pictures), workers, lambda: None)
        for _ in range(len(pending) - len(jobs)):  # those of whom pictures alone were not there
            advance()

    def _jobs(self, shots: Iterable[Shot]) -> list[files.Job]:
        """Return what renders the files that are not there."""
        return [(shot.encode, shot.path(self._root)) for shot in shots if self._is_missing(shot)]

    def export(
        self,
        folder: Path,
        limit: int | None = None,
        workers: int | None = None,
        begin: Callable[[int], object] = lambda total: None,
        advance: Callable[[], object] = lambda: None,
    ) -> int:
        """Write samples with their descriptions as a folder, as `MovingShapes.export` does.

        Args:
            folder: where; it is made.
            limit: only the first so many samples.
            workers: processes; None takes one for each processor.
            begin: called with the number of files before they are rendered.
            advance: called after each.

        Returns:
            How many files were rendered; the others were there.

        Raises:
            UsageError: the folder holds other videos.
        """
        options, shots = self.options, self._shots[:limit]
        return files.export(
            folder,
            [Sample(shot.id, shot.video(self._root), self.descriptions(n)) for n, shot in enumerate(shots)],
            [shot.encode for shot in shots],
            [shot.duration for shot in shots],
            split=options.split,
            version=f"faces-{digest(VERSION, options.kind, options.seed, options.size, options.fps)}",
            title="moving faces",
            workers=workers,
            begin=begin,
            advance=advance,
        )

    def _id(self, number: int, kind: Kind | None = None) -> str:
        middle = "" if (kind or self.options.kind) == "videos" else "-picture"
        return f"{self.options.split}{middle}{number:05d}"

    @property
    def _root(self) -> Path:
        return self.options.root or array_cache.folder() / "moving_faces"
