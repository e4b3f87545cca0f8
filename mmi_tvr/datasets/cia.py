"""Celebrities in Action (Korbar and Zisserman, BMVC 2022): film clips of Hollywood2 (Marszalek, Laptev and Schmid, CVPR
2009) and TV High-Five (Patron-Perez et al., BMVC 2010) with the actor in each.

Layout of Hollywood2: clips `AVIClips/actioncliptrain00001.avi` and `AVIClipsScenes/...` in root; lists
`ClipSets/<Class>_train.txt`, `_autotrain.txt`, `_test.txt` with a clip and 1 or -1 a line, those of scenes in
`ClipSetsScenes` or `ClipSets`. Of TV High-Five: `tv_human_interactions_videos/handShake_0001.avi` ... Who is in a clip,
`cia.json` says, which `mmi-tvr data build-cia` writes; without it nobody is named.

Queries are the paper's: "[p] is doing {action}", "[p] in {place}", "[p] in {place} doing {action}"; its R@1 and R@5 are
of these three groups. Decisions: classes are put into words; val is a fifth of the training clips, by clip as in the
paper; TV High-Five is train.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import Field

from ..errors import UsageError
from ..media.names import VIDEO_SUFFIXES
from ..types import PersonPicture
from ..utils.textfiles import numbered_lines, read_json_object
from ..utils.wording import counted
from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    BenchmarkFacts,
    BenchmarkOptions,
    BenchmarkWithQueries,
    Listing,
    SampleFacts,
    VideoLocation,
    find_videos,
    handle_of,
    held_out_ids,
    person_queries,
    portraits_in,
    stem,
)

ACTIONS: Mapping[str, str] = {
    "AnswerPhone": "answering a phone", "DriveCar": "driving a car", "Eat": "eating", "FightPerson": "fighting",
    "GetOutCar": "getting out of a car", "HandShake": "shaking hands", "HugPerson": "hugging", "Kiss": "kissing",
    "Run": "running", "SitDown": "sitting down", "SitUp": "sitting up", "StandUp": "standing up",
    "HighFive": "a high five",
}  # fmt: skip
SCENES: Mapping[str, str] = {
    "EXT-House": "front of a house", "EXT-Road": "a road", "INT-Bedroom": "a bedroom", "INT-Car": "a car",
    "INT-Hotel": "a hotel", "INT-Kitchen": "a kitchen", "INT-LivingRoom": "a living room", "INT-Office": "an office",
    "INT-Restaurant": "a restaurant", "INT-Shop": "a shop",
}  # fmt: skip
# The classes of TV High-Five, by the beginning of a clip's name.
_HIGH_FIVE = {"handShake": "HandShake", "highFive": "HighFive", "hug": "HugPerson", "kiss": "Kiss"}
CAST_FILE = "cia.json"
_LISTS = {"train": ("train", "autotrain"), "test": ("test",)}
_VAL_SHARE = 0.2  # of the training clips
_TEMPLATES = {
    "action": "{p} is doing {action}",
    "place": "{p} in {place}",
    "both": "{p} in {place} doing {action}",
}
FACTS = BenchmarkFacts(
    title="CiA",
    protocol="R@1 and R@5 of queries that name an actor with an action, a place, or both, among the clips of a split",
    validation="a fifth of the training clips, cut by clip as in the paper, so that films are in both",
)


class Options(BenchmarkOptions):
    """Options of the data set."""

    cast: Path | None = Field(
        None, description="pictures of the actors, <film>/<actor>/*.jpg: who [p] is; default: nobody has a face"
    )


@dataclass(frozen=True, slots=True)
class ClipLabels:
    """What the lists say of a clip: its `part` (train or test) and the names of its classes."""

    part: str
    actions: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Labels:
    """What the lists say of a clip, as they are read."""

    actions: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)


def build(options: Options) -> BenchmarkWithQueries:
    """Return the split that the options name."""
    annotations = Annotations(options.annotation_folder())
    benchmark = find_videos(options, FACTS, read(options, annotations))
    labels, actors = _labels(options, annotations), _actors(annotations)
    facts = [_facts(sample.id, labels[sample.id], actors) for sample in benchmark.present]
    names = {one.person: one.person for one in facts if one.person}
    pictures = _portraits(options.cast, names)
    remarks = benchmark.remarks
    if names and (lacking := len(names) - len(pictures)):
        remarks = (*remarks, f"{counted(lacking, 'actor')} without a picture in a cast folder")
    return BenchmarkWithQueries(
        benchmark.title,
        benchmark.present,
        benchmark.missing,
        remarks,
        tuple(person_queries(facts, _TEMPLATES, names)),
        pictures,
        tuple(one.person for one in facts),
        names,
    )


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the clips of a split: those with an actor, where `cia.json` is there."""
    labels, actors = _labels(options, annotations), _actors(annotations)
    part = "test" if options.split == "test" else "train"
    clips = [clip for clip, of_clip in labels.items() if of_clip.part == part and (actors is None or clip in actors)]
    if part == "train" and len(clips) > 1:
        held_out = held_out_ids(clips, _VAL_SHARE, seed=0)
        clips = [clip for clip in clips if (clip in held_out) == (options.split == "val")]
    if not clips:
        raise UsageError(f"{annotations.folder}: no clip of the split {options.split}")
    videos = [
        AnnotatedVideo(clip, _captions(_facts(clip, labels[clip], actors)), (VideoLocation(clip),)) for clip in clips
    ]
    remarks = () if actors is not None else (f"no {CAST_FILE}: nobody is named; mmi-tvr data build-cia writes it",)
    return Listing(tuple(videos), remarks=(*annotations.remarks, *remarks))


def clip_labels(folder: Path, clips: Iterable[str]) -> dict[str, ClipLabels]:
    """Return what the lists of Hollywood2, and the names of TV High-Five, say of clips.

    Args:
        folder: with `ClipSets`, and `ClipSetsScenes` where there is one.
        clips: names of the clips that are there, without suffix.

    Returns:
        Labels by clip, in the order of the lists; those of TV High-Five come last.

    Raises:
        UsageError: A line is not a clip and 1 or -1, a clip is in a list as both, or in train and test; a list names a
            class that is none.
    """
    labels: dict[str, _Labels] = {}
    for names, scenes in ((ACTIONS, False), (SCENES, True)):
        for name in names:
            for part, suffixes in _LISTS.items():
                for path in _list_files(folder, name, suffixes, scenes):
                    for clip in _positives(path):
                        one = labels.setdefault(clip, _Labels())
                        one.parts.add(part)
                        of_kind = one.scenes if scenes else one.actions
                        if name not in of_kind:
                            of_kind.append(name)
    for clip in clips:
        if (action := _HIGH_FIVE.get(clip.rpartition("_")[0])) and clip not in labels:
            labels[clip] = _Labels([action], parts={"train"})
    if torn := next((clip for clip, one in labels.items() if len(one.parts) > 1), None):
        raise UsageError(f"{folder}: the clip {torn} is in lists of train and of test")
    return {
        clip: ClipLabels(next(iter(one.parts)), tuple(one.actions), tuple(one.scenes)) for clip, one in labels.items()
    }


def _list_files(folder: Path, name: str, suffixes: Iterable[str], scenes: bool) -> list[Path]:
    places = ("ClipSetsScenes", "ClipSets") if scenes else ("ClipSets",)
    paths = [folder / place / f"{name}_{suffix}.txt" for suffix in suffixes for place in places]
    return [path for path in paths if path.is_file()]


def _positives(path: Path) -> list[str]:
    """Return the clips of a list that are of its class."""
    signs: dict[str, str] = {}
    with path.open("rb") as stream:
        for number, line in numbered_lines(stream, path):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != 2 or cells[1] not in ("1", "+1", "-1"):
                raise UsageError(f"{path}, line {number}: a clip and 1 or -1, not {line.strip()[:40]!r}")
            clip, sign = stem(cells[0]), cells[1].lstrip("+")
            if signs.setdefault(clip, sign) != sign:
                raise UsageError(f"{path}, line {number}: {clip} is 1 and -1 in one list")
    return [clip for clip, sign in signs.items() if sign == "1"]


def _labels(options: Options, annotations: Annotations) -> Mapping[str, ClipLabels]:
    """Return the labels of all clips, those of TV High-Five where their files are there."""
    if "labels" not in annotations.derived:
        root = options.root.expanduser()
        there = {stem(path.name) for path in root.rglob("*_*") if path.suffix.lower() in VIDEO_SUFFIXES}
        lists = next((place for place in (annotations.folder, root) if (place / "ClipSets").is_dir()), None)
        if lists is None:
            raise UsageError(f"{annotations.folder}: there is no folder ClipSets; it comes with Hollywood2")
        labels = clip_labels(lists, sorted(there))
        if not labels:
            raise UsageError(f"{lists / 'ClipSets'}: no list such as Kiss_train.txt; they come with Hollywood2")
        annotations.derived["labels"] = labels
    by_clip: Mapping[str, ClipLabels] = annotations.derived["labels"]
    return by_clip


def _actors(annotations: Annotations) -> Mapping[str, str] | None:
    """Return the actor of each clip that has one, as `cia.json` has it; None without that file."""
    path = annotations.folder / CAST_FILE
    if not path.is_file():
        return None
    if "actors" not in annotations.derived:
        document = read_json_object(path, "what mmi-tvr data build-cia wrote")
        try:
            clips = [(stem(PurePosixPath(clip["clip"]).name), clip["actor"]) for clip in document["clips"]]
            annotations.derived["actors"] = {clip: _actor(actor) for clip, actor in clips if actor is not None}
        except (KeyError, TypeError) as error:
            raise UsageError(f"{path}: not what mmi-tvr data build-cia writes ({type(error).__name__})") from error
    actors: Mapping[str, str] = annotations.derived["actors"]
    return actors


def _facts(clip: str, labels: ClipLabels, actors: Mapping[str, str] | None) -> SampleFacts:
    places = tuple(SCENES[name] for name in labels.scenes)
    return SampleFacts(clip, (actors or {}).get(clip, ""), places, tuple(ACTIONS[name] for name in labels.actions))


def _portraits(cast: Path | None, names: Mapping[str, str]) -> dict[str, tuple[PersonPicture, ...]]:
    """Return the pictures of actors, those of all films together."""
    pictures: dict[str, tuple[PersonPicture, ...]] = {}
    for of_film in cast_of(cast.expanduser()).values() if cast else ():
        for actor in of_film.keys() & names.keys():
            pictures[actor] = pictures.get(actor, ()) + of_film[actor]
    return pictures


def _captions(facts: SampleFacts) -> tuple[str, ...]:
    """Return what the queries say of a clip."""
    return tuple(dict.fromkeys(query.query.text for query in person_queries([facts], _TEMPLATES, {})))


def cast_of(folder: Path) -> dict[str, dict[str, tuple[PersonPicture, ...]]]:
    """Return film -> actor -> pictures from folders CAST/<film>/<actor>; an underscore in an actor's folder is a space.

    Raises UsageError where `folder` is none, or no actor has a picture.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder of casts, <film>/<actor>/*.jpg")
    cast: dict[str, dict[str, tuple[PersonPicture, ...]]] = {}
    for film in _folders(folder):
        of_film = {_actor(actor.name): portraits_in(actor) for actor in _folders(film)}
        cast[film.name] = {actor: pictures for actor, pictures in of_film.items() if pictures}
    if not any(cast.values()):
        raise UsageError(f"{folder}: no picture of an actor in it; they lie in <film>/<actor>/*.jpg")
    return cast


def _actor(name: str) -> str:
    return handle_of(name.replace("_", " "))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
