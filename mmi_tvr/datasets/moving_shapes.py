"""Moving shapes: a generated corpus in which it is known exactly what happens.

One to three coloured shapes on a textured ground, one to three short events in a long stillness, 20 captions a video
(15 English, 5 Chinese), all true and complete. `train`, `val` and `test` share no description; within val and within
test no caption is true of another video, so R@1 can reach 100 %, and half of their videos have a twin that differs in
one thing. The contrast sets (`order`, `direction`, `relation`, `colour`, `shape`, `count`, `role`, and `order3`, of
three events) are pairs of such twins. `skew` gives train a long tail; entities, actions and relations of every video
and caption are known exactly.

Specs and captions are the same on every machine, to the bit. Files are rendered on demand (`generate`) into a
cache; `render_frames` gives the same pictures without a codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, overload

from pydantic import Field, model_validator

from .. import plugins
from ..errors import UsageError
from ..types import DescribedMoment, Labels, PartialQuery, Sample, Video
from ..utils import array_cache
from ..utils.hashing import digest
from ..utils.loading import late_property
from ..utils.wording import counted
from ._moving_shapes import files
from ._moving_shapes.captions import CAPTIONS, captions, relation_sentences, verb
from ._moving_shapes.contrast import PAIRS, ContrastAccuracy, contrast_accuracy, contrast_pairs
from ._moving_shapes.example import example
from ._moving_shapes.generate import (
    CONTRAST_SETS,
    CONTRASTS,
    SIZES,
    VERSION,
    Contrast,
    Item,
    contrast_specs,
    split,
    twin,
    twin_contrasts,
)
from ._moving_shapes.labels import ENTITIES, caption_labels, video_labels
from ._moving_shapes.moments import CaptionMoments, EventMoments, single_event
from ._moving_shapes.partial import partial_queries, without_surroundings
from ._moving_shapes.picture import render_frames
from ._moving_shapes.questions import QUESTION_KINDS, SceneQuestion, questions
from ._moving_shapes.stills import VisibleShape, stills, visible_shapes
from ._moving_shapes.tail import missing_classes
from ._moving_shapes.truth import answerable, truth
from ._moving_shapes.video import encode
from ._moving_shapes.world import ACTIONS, COLOURS, OPPOSITE, PASSING, SHAPES, Spec, ThingName, describes, spelled

__all__ = [
    "ACTIONS",
    "COLOURS",
    "CONTRASTS",
    "CONTRAST_SETS",
    "ENTITIES",
    "OPPOSITE",
    "PAIRS",
    "PASSING",
    "QUESTION_KINDS",
    "SHAPES",
    "ContrastAccuracy",
    "MovingShapes",
    "Options",
    "SceneQuestion",
    "Spec",
    "VisibleShape",
    "answerable",
    "build",
    "captions",
    "contrast_accuracy",
    "contrast_pairs",
    "describes",
    "encode",
    "example",
    "questions",
    "relation_sentences",
    "render_frames",
    "single_event",
    "stills",
    "truth",
    "twin",
    "twin_contrasts",
    "verb",
    "visible_shapes",
    "without_surroundings",
]

SplitName = Literal["train", "val", "test", Contrast]
_PICTURES = 2  # version of the pictures: other pixels need another number


class Options(plugins.BaseOptions):
    split: SplitName = Field("test", description="train, val, test, or a contrast set by its kind")
    count: int | None = Field(None, ge=1, description="the first so many videos; default: the whole split")
    twins: int = Field(1, ge=0, le=len(CONTRASTS), description="train: twins of each video, of different kinds")
    contrasts: tuple[Contrast, ...] = Field(CONTRASTS, min_length=1, description="train: kinds of twins, in turn")
    skew: float = Field(
        0.0, ge=0, le=2, description="train: long tail, colours, shapes and actions are drawn with p ~ rank^-skew"
    )
    seed: int = Field(
        0, ge=0, description="train, val, test: 0 for the usual videos; another number draws others of the same split"
    )
    captions: int = Field(CAPTIONS, ge=1, le=CAPTIONS, description="captions per video: English first, then Chinese")
    root: Path | None = Field(None, description="folder of the files; default: in the cache ($MMI_TVR_CACHE)")
    size: int = Field(96, ge=32, le=1024, multiple_of=2, description="width and height of the files, in pixels")
    fps: int = Field(10, ge=1, le=60, description="frames per second of the files")

    @model_validator(mode="after")
    def _not_more_than_there_are(self) -> Options:
        if self.split != "train" and self.count is not None and self.count > _size(self.split):
            raise ValueError(f"{self.split} has {counted(_size(self.split), 'video')}")
        if self.split != "train" and self.skew:
            raise ValueError(f"skew: the split train alone may have a long tail, not {self.split}")
        if self.seed and self.split not in SIZES:
            raise ValueError(f"seed: contrast sets have no other videos, and {self.split} is one")
        if self.twins > len(set(self.contrasts)):
            raise ValueError(f"twins: {self.twins}, of different kinds, and contrasts has {len(set(self.contrasts))}")
        return self


def build(options: Options) -> MovingShapes:
    """Return the split that the options name. Nothing is rendered yet."""
    return MovingShapes(options)


class MovingShapes:
    """One split: samples, specs and groups run parallel."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @late_property
    def items(self) -> tuple[Item, ...]:
        """Spec, group and contrast of every video."""
        name, count = self.options.split, self.options.count or _size(self.options.split)
        if name == "train":
            return self._training_items(count)
        if name in SIZES:
            return split(name, count, seed=self.options.seed)
        pairs = contrast_specs(name, -(-count // 2))
        items: list[Item] = []
        for group, (spec, twin_spec) in enumerate(pairs):
            items += [Item(spec, group), Item(twin_spec, group, contrast=name)]
        return tuple(items[:count])

    def _training_items(self, count: int) -> tuple[Item, ...]:
        options = self.options
        items = split("train", count, options.twins, options.contrasts, options.skew, options.seed)
        missing = missing_classes(item.spec for item in items) if options.skew else []
        if missing:
            raise UsageError(
                f"moving_shapes: with skew {options.skew:g} none of the {counted(count, 'training video')} shows "
                f"{', '.join(missing)}: take more videos (count), or less skew"
            )
        return items

    def specs(self) -> tuple[Spec, ...]:
        return tuple(item.spec for item in self.items)

    def samples(self) -> Sequence[Sample]:
        """Return the samples, each built when it is looked at, and once. Their files exist after `generate`."""
        return self._samples

    @late_property
    def _samples(self) -> Sequence[Sample]:
        return _Samples(self)

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Return the numbers of the samples that are twins of each other; a lone one is a group of one."""
        numbered = enumerate(item.group for item in self.items)
        return tuple(tuple(number for number, _ in group) for _, group in groupby(numbered, key=lambda pair: pair[1]))

    def describes(self, captions_of: int, video: int) -> bool:
        """Return whether the captions of one sample are true of the video of another one."""
        return self._names[captions_of] <= self._names[video] and describes(
            self.items[captions_of].spec, self.items[video].spec
        )

    def video_labels(self, number: int) -> Labels:
        """Return the entities (`ENTITIES`), actions (`ACTIONS`) and relations of a sample's video, said or not."""
        return video_labels(self.items[number].spec)

    def caption_labels(self, number: int) -> list[Labels]:
        """Return what each caption of a sample says; all of them say the same, in other words."""
        return [caption_labels(self.items[number].spec)] * self.options.captions

    @late_property
    def _names(self) -> tuple[frozenset[ThingName], ...]:
        """The names of the things of every video: most pairs are told apart by them alone."""
        return tuple(frozenset(thing.name for thing in spec.things) for spec in self.specs())

    def moments(self) -> dict[str, Sequence[DescribedMoment]]:
        """Return when what the captions say happens: `events`, each described by itself, and whole `captions`.

        Decision: of training videos nobody asks of which others a description is true, so that is not looked for.
        """
        specs, count = self.specs(), self.options.captions
        events = EventMoments(specs, count, exact=self.options.split != "train")
        return {"events": events, "captions": CaptionMoments(specs, count)}

    def partial_queries(self, rounds: int = 1) -> dict[str, list[PartialQuery]]:
        """Return queries that say a part of what is in a video, drawn so many times: `events`, and `short` ones such as
        "a red circle"."""
        return partial_queries(self.specs(), rounds)

    def pending(self, limit: int | None = None) -> list[int]:
        """Return the numbers of the samples, among the first `limit`, whose file is not there."""
        return [number for number in range(len(self.items[:limit])) if not self.path(number).is_file()]

    def generate(
        self,
        limit: int | None = None,
        advance: Callable[[], object] = lambda: None,
        workers: int | None = None,
    ) -> None:
        """Render the files that are not there. One is there whole or not at all: call it again after an interruption.

        Args:
            limit: only those of the first so many samples.
            advance: called after each file.
            workers: processes; None takes one for each processor.
        """
        jobs = [(self._encoder(number), self.path(number)) for number in self.pending(limit)]
        self._root.mkdir(parents=True, exist_ok=True)
        files.render(jobs, workers, advance)

    def _encoder(self, number: int) -> Callable[[], bytes]:
        return partial(encode, self.items[number].spec, self.options.size, self.options.fps)

    def sample(self, number: int) -> Sample:
        """Return a sample by its number."""
        texts = captions(self.items[number].spec)[: self.options.captions]
        return Sample(self.sample_id(number), self.video(number), texts)

    def video(self, number: int) -> Video:
        """Return a sample's video, without the work that its captions are."""
        return Video(self.path(number))

    def path(self, number: int) -> Path:
        """Return where a sample's file lies. A cached file is never stale: its name has a hash of all that is in it."""
        content = digest(spelled(self.items[number].spec), self.options.size, self.options.fps, _PICTURES)
        return self._root / f"{self.sample_id(number)}-{content}.mp4"

    def export(
        self,
        folder: Path,
        limit: int | None = None,
        workers: int | None = None,
        begin: Callable[[int], object] = lambda total: None,
        advance: Callable[[], object] = lambda: None,
    ) -> int:
        """Write samples as a folder: videos, annotation and captions.

        The folder gets `videos/<id>.mp4`, `<split>_videodatainfo.json` in MSR-VTT's layout and, when all videos are
        there, `captions.tsv` for `datasets.folder`. Call it again after an interruption, or with a larger limit, for
        the rest.

        Args:
            folder: where; it is made.
            limit: only the first so many samples.
            workers: processes; None takes one for each processor.
            begin: called with the number of files before they are rendered.
            advance: called after each.
        Returns:
            How many files were rendered; the others were there.
        Raises:
            UsageError: the folder holds another split, size or version.
        """
        samples = [self.sample(number) for number in range(len(self.items[:limit]))]
        return files.export(
            folder,
            samples,
            [self._encoder(number) for number in range(len(samples))],
            [item.spec.duration for item in self.items[: len(samples)]],
            split=self.options.split,
            version=f"{VERSION}.{_PICTURES}-{self.options.size}px-{self.options.fps}fps{self._draw()}",
            title="moving shapes",
            workers=workers,
            begin=begin,
            advance=advance,
        )

    def _draw(self) -> str:
        """Return which videos of the split these are, where they are not the usual ones."""
        training = ("twins", "contrasts", "skew") if self.options.split == "train" else ()
        usual = {name: Options.model_fields[name].default for name in (*training, "seed")}
        values = self.options.model_dump(include=set(usual))
        changed = {name: value for name, value in values.items() if value != usual[name]}
        return f"-{digest(changed)}" if changed else ""

    def sample_id(self, number: int) -> str:
        """Return the id of a sample by its number, without building the sample."""
        return f"{self.options.split}{number:05d}"

    @property
    def _root(self) -> Path:
        return self.options.root or array_cache.folder() / "moving_shapes"


class _Samples(Sequence[Sample]):
    """Samples by number, built on demand: captions of a whole training split take ten seconds."""

    def __init__(self, dataset: MovingShapes) -> None:
        self._dataset = dataset
        self._built: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._dataset.items)

    @overload
    def __getitem__(self, number: int) -> Sample: ...

    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[position] for position in range(len(self))[number]]
        position = range(len(self))[number]  # counts negative numbers from the end; IndexError beyond it
        if position not in self._built:
            self._built[position] = self._dataset.sample(position)
        return self._built[position]


def _size(name: str) -> int:
    return SIZES.get(name, 2 * PAIRS)
