"""EPIC-KITCHENS-100, multi-instance retrieval (Damen et al., IJCV 2022, section 5.5): actions of a few seconds in long
films of kitchens, with a narration each. A narration fits an action to a degree: half by the verb, half by the nouns.

Annotation: `EPIC_100_retrieval_train.csv`, `EPIC_100_retrieval_test.csv`, `EPIC_100_retrieval_test_sentence.csv`.
Videos: `P01_11.MP4` in any folder (of which an action's span is used), or `P01_11_0.mp4`, cut out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..types import FloatArray, IdArray
from ..utils.wording import counted
from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    Benchmark,
    BenchmarkFacts,
    HoldOutOptions,
    Listing,
    SplitSize,
    VideoLocation,
    caption,
    checked_listing,
    find_videos,
)

FACTS = BenchmarkFacts(
    title="EPIC-KITCHENS-100",
    protocol="multi-instance retrieval: each different narration is a query among all actions, and each action among "
    "all narrations; mAP and nDCG by graded relevance: half the verb's class, half the overlap of the nouns' classes",
    validation="there is none: 5 % of the training films, chosen by a hash of their ids, are kept out of train",
    graded=True,
)
_ACTIONS = {"train": 67_217, "test": 9_668}
_SENTENCES = 3_842  # queries of test
_VERBS = 97  # classes
_NOUNS = frozenset(range(300))
_HELD_OUT_SHARE = 0.05
_TIME = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_COLUMNS = "columns narration_id, video_id, start_timestamp, stop_timestamp, narration, verb_class, noun_class, "
_COLUMNS += "all_noun_classes"


class Options(HoldOutOptions):
    pass


@dataclass(frozen=True, slots=True)
class ActionClasses:
    """The class of an action's verb, and those of all its nouns; `first_noun` is the one that it is named after."""

    verb: int
    nouns: frozenset[int]
    first_noun: int


@dataclass(frozen=True, slots=True)
class Action:
    """A line of the annotation: a span of a film, in seconds, what is said of it, and its classes."""

    id: str
    film: str
    start: float
    end: float
    narration: str
    classes: ActionClasses


@dataclass(frozen=True, slots=True)
class EpicKitchens(Benchmark):
    """A split with the classes of its samples, in their order."""

    classes: tuple[ActionClasses, ...] = ()

    def relevance(self, captions: IdArray, videos: IdArray) -> FloatArray:
        """Return how well captions fit videos (`protocols.GradedDataset`)."""
        owners = [number for number, sample in enumerate(self.present) for _ in sample.captions]
        return relevance([self.classes[owners[row]] for row in captions], [self.classes[column] for column in videos])

    def describes(self, captions_of: int, video: int) -> bool:
        """Return whether the captions of one sample fully fit another one (`protocols.DescribingDataset`)."""
        first, second = self.classes[captions_of], self.classes[video]
        return first.verb == second.verb and first.nouns == second.nouns


def relevance(captions: Sequence[ActionClasses], actions: Sequence[ActionClasses]) -> FloatArray:
    """Return how well captions fit actions (captions, actions): the mean of whether the verb is of the same class, and
    of the intersection over union of the classes of the nouns. 1 is a full match.

    >>> cut_onion, cut = ActionClasses(7, frozenset({16}), 16), ActionClasses(7, frozenset({16, 4}), 16)
    >>> relevance([cut_onion], [cut_onion, cut])
    array([[1.  , 0.75]])
    """
    same_verb = np.equal.outer([action.verb for action in captions], [action.verb for action in actions])
    of_captions, of_actions = _noun_table(captions), _noun_table(actions)
    shared = of_captions @ of_actions.T
    either = of_captions.sum(axis=1)[:, None] + of_actions.sum(axis=1) - shared
    fits: FloatArray = (same_verb + shared / either) / 2
    return fits


def _noun_table(actions: Sequence[ActionClasses]) -> FloatArray:
    """Return which nouns actions have (actions, 300), 0 or 1."""
    table = np.zeros((len(actions), len(_NOUNS)))
    for row, action in enumerate(actions):
        table[row, list(action.nouns)] = 1
    return table


def build(options: Options) -> EpicKitchens:
    """Return the split that the options name."""
    annotations = Annotations(options.annotation_folder())
    split = find_videos(options, FACTS, read(options, annotations))
    classes = {action.id: action.classes for action in _read_actions(options, annotations)}
    of_samples = tuple(classes[sample.id] for sample in split.present)
    return EpicKitchens(split.title, split.present, split.missing, split.remarks, of_samples)


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the annotation has it.

    In train every action has its narration; else an action has a caption where it stands for a query, and the others
    are candidates alone.
    """
    actions = _read_actions(options, annotations)
    size, remarks = SplitSize(None, None), list[str]()
    if options.split == "train":
        sentences = {action.id: action.narration for action in actions}
        if not options.hold_out:
            size = SplitSize(_ACTIONS["train"], _ACTIONS["train"])
    elif options.split == "val":
        sentences = _queries(actions)
    else:
        sentences, remarks = _published_queries(actions, annotations)
        size = SplitSize(_ACTIONS["test"], _SENTENCES)
    videos = [
        AnnotatedVideo(
            action.id,
            (sentences[action.id],) if action.id in sentences else (),
            (VideoLocation(action.id), VideoLocation(action.film, action.start, action.end)),
        )
        for action in actions
    ]
    return checked_listing(videos, size, annotations, remarks, distractors=options.split != "train")


def _read_actions(options: Options, annotations: Annotations) -> list[Action]:
    """Read the actions of a split. Decision: whole films are held out: the actions of one resemble each other."""
    name = "test" if options.split == "test" else "train"
    file = f"EPIC_100_retrieval_{name}.csv"
    rows = annotations.rows(file, official=_ACTIONS[name])
    with annotations.expecting(_COLUMNS):
        if file not in annotations.derived:
            annotations.derived[file] = [_action(row, annotations.place(line)) for line, row in rows]
    actions: list[Action] = annotations.derived[file]
    films = set(options.in_split(list(dict.fromkeys(action.film for action in actions)), _HELD_OUT_SHARE))
    return [action for action in actions if action.film in films]


def _action(row: Mapping[str, str], place: str) -> Action:
    """Return a line's action. UsageError with the place where something is missing or wrong."""
    try:
        nouns = ast.literal_eval(row["all_noun_classes"])
        classes = ActionClasses(int(row["verb_class"]), frozenset(map(int, nouns)), int(row["noun_class"]))
        start, end = _seconds(row["start_timestamp"]), _seconds(row["stop_timestamp"])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(f"{place}: not an action ({error})") from error
    if not 0 <= classes.verb < _VERBS or not classes.nouns or not classes.nouns <= _NOUNS:
        raise UsageError(
            f"{place}: verb class {row['verb_class']}, noun classes {row['all_noun_classes']}: a verb is of class 0 to "
            f"{_VERBS - 1}, and an action has one or more nouns, of 0 to {len(_NOUNS) - 1}"
        )
    if not row["narration_id"].strip():
        raise UsageError(f"{place}: the narration_id is empty; correct the line, or leave it out")
    if start >= end:
        raise UsageError(f"{place}: from {row['start_timestamp']} to {row['stop_timestamp']} is no span of a film")
    text = caption(row["narration"], place)
    return Action(row["narration_id"].strip(), row["video_id"].strip(), start, end, text, classes)


def _seconds(timestamp: str) -> float:
    """Return the seconds of a time.

    >>> _seconds("00:01:10.60")
    70.6
    """
    match = _TIME.fullmatch(timestamp.strip())
    if match is None:
        raise ValueError(f"{timestamp!r} is no time such as 00:01:10.60")
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _queries(actions: Sequence[Action]) -> dict[str, str]:
    """Return the queries of a split without a list of them, by the id of the action that each stands for.

    As the published list was made: the first action of each different narration; then, of each pair of verb and first
    noun that none of these has, the first action.
    """
    first = {action.narration: action for action in reversed(actions)}
    queries = {action.id: action for action in actions if first[action.narration] is action}
    pairs = {(action.classes.verb, action.classes.first_noun) for action in queries.values()}
    for action in actions:
        pair = (action.classes.verb, action.classes.first_noun)
        if pair not in pairs:
            pairs.add(pair)
            queries[action.id] = action
    return {name: action.narration for name, action in queries.items()}


def _published_queries(actions: Sequence[Action], annotations: Annotations) -> tuple[dict[str, str], list[str]]:
    """Return the queries of the test split, by the id of the action that each stands for, and remarks on them.

    Decision: a sentence is graded by the action whose id stands beside it, also where that is not what was said of it:
    in the published file the last sentences stand one line too low, and published systems were measured so.
    """
    file = "EPIC_100_retrieval_test_sentence.csv"
    if not annotations.has(file):
        return _queries(actions), [f"no {file}: its queries are made of the narrations"]
    narrations = {action.id: action.narration for action in actions}
    queries: dict[str, str] = {}
    unknown = 0
    rows = annotations.rows(file, official=_SENTENCES)
    with annotations.expecting("columns narration_id and narration"):
        for line, row in rows:
            name, place = row["narration_id"].strip(), annotations.place(line)
            text = caption(row["narration"], place)
            if name in queries:
                raise UsageError(f"{place}: {name} is there twice; leave one of them")
            if name in narrations:
                queries[name] = text
            elif annotations.complete:
                raise UsageError(f"{place}: no action is called {name!r}; the files do not belong together")
            else:
                unknown += 1
    remarks = [f"without {counted(unknown, 'sentence')} of {file} whose actions are not there"] if unknown else []
    if other := sum(text != narrations[name] for name, text in queries.items()):
        remarks.append(
            f"{file} is as published: {counted(other, 'sentence')} {'is' if other == 1 else 'are'} beside an action of "
            f"which something else was said"
        )
    return queries, remarks
