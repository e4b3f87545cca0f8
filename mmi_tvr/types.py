"""The frozen records that cross from one room to the next. Times are seconds on a player's clock.

Texts of people and of servers are cleaned where they become a record (`clean_text`), so that whatever stands behind
needs no care of its own: queries, captions, what is asked and what is answered.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

Level = Literal["video", "moment"]  # what a vector of an index stands for
Direction = Literal["t2v", "v2t"]  # who asks: a text looks for videos, or a video for texts
FloatArray = NDArray[np.floating[Any]]
IdArray = NDArray[np.int64]
Pixels = NDArray[np.uint8]  # (H, W, 3), RGB, rotation applied

MOMENT_BITS = 12
MAX_MOMENTS = (1 << MOMENT_BITS) - 1

# Controls that are white space (tab, line breaks, U+0085) part words; all others, and byte order marks, mean nothing.
_CONTROLS = {code: " " if chr(code).isspace() else None for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF)}
_UNCLEAN = re.compile("[\0-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MAX_MARKS = 30  # on one letter: Unicode's stream-safe format (UAX 15); composing takes the square of their number
_NAMES_OF_SCORES = ("moment", "cosine", "probability", "joint")  # in `Hit.scores`, besides those of blocks
_SHORT = 4096  # characters that are composed quickly whatever they are


def clean_text(text: str) -> str:
    """Return a text that every tokenizer, file format and page can take; ordinary text stays as it is.

    Halves of a character (lone surrogates) become U+FFFD and two that belong together one character; NUL and other
    control characters go, those that part words (tabs, line breaks) become spaces; the rest is in the composed form of
    Unicode (NFC), so that a word is the same word however it was typed. Cleaning twice changes nothing more.

    >>> clean_text("a\\tdog\\0 \\ud83d"), clean_text("cafe\\u0301") == "caf\\u00e9"
    ('a dog \ufffd', True)
    """
    if text.isascii() and text.isprintable():
        return text
    if _UNCLEAN.search(text):
        if _SURROGATES.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = text.translate(_CONTROLS)
    return _without_stacked_marks(unicodedata.normalize("NFC", _without_stacked_marks(text)))


def _without_stacked_marks(text: str) -> str:
    """Drop the combining marks of a long text that stand behind the first _MAX_MARKS of a letter."""
    if len(text) <= _SHORT:
        return text
    characters, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MAX_MARKS:
            characters.append(character)
    return "".join(characters)


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, or a span of one (`start`, `end` in seconds; `end=None` is the end of the file)."""

    path: Path
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Decoded frames in order of time: `times` (N,) seconds, `pixels` (N, H, W, 3)."""

    times: NDArray[np.float64]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class KeyImage:
    """The picture that stands for the stretch [start, end) of a video; it was on screen at `time`."""

    start: float
    end: float
    time: float
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """One annotated video of a dataset's split; `captions` may be several, and are cleaned (`clean_text`)."""

    id: str
    video: Video
    captions: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "captions", tuple(map(clean_text, self.captions)))


class Triplet(NamedTuple):
    """Who does what to whom, or stands how to whom: ("dog", "chases", "cat"), ("dog", "on", "grass"). The object is
    "" where there is none."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What a text says, or a video shows, on three levels, each label once."""

    entities: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    relations: tuple[Triplet, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribedMoment:
    """A sentence, and when it happens: from `start` to `end` (seconds of the file) of sample number `sample`.

    `events` are the stretches that the sentence is about, where the span has others between them; none means the whole
    span. `elsewhere` holds (sample, start, end) of moments of other samples of which the sentence is true as well, and
    `repeated` (start, end) of further ones of the same sample.
    """

    text: str
    sample: int
    start: float
    end: float
    events: tuple[tuple[float, float], ...] = ()
    elsewhere: tuple[tuple[int, float, float], ...] = ()
    repeated: tuple[tuple[float, float], ...] = ()


class Span(NamedTuple):
    """Where in a video something is: the stretch [start, end], and the `time` that shows it best."""

    start: float
    end: float
    time: float


@dataclass(frozen=True, slots=True)
class Filter:
    """Which vectors a search may return: of one level, and only these videos (None: no restriction)."""

    level: Level | None = None
    videos: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asks for, cleaned (`clean_text`). `cut`: it was longer, and this is its beginning."""

    text: str
    cut: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UsageError(f"the text of a query is a str, not {self.text!r:.60} ({type(self.text).__name__})")
        object.__setattr__(self, "text", clean_text(self.text))


@dataclass(frozen=True, slots=True)
class Features:
    """What a vision tower said about the key images of one video, before any query, adapter or head.

    `segments` is (K, 3): start, end, time of each key image. `arrays` maps a name chosen by the model to an
    array whose first axis is K.
    """

    segments: NDArray[np.float64]
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The unit vectors of one video: `video` (D,), `moments` (K, D), and `segments` (K, 3) as in Features."""

    video: NDArray[np.float32]
    moments: NDArray[np.float32]
    segments: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the vectors that is compared by itself: `width` numbers, shown as `name`.

    Its similarity is the dot product q.v, or sigmoid(squash + q.v); it counts `t2v` times where a text asks, and `v2t`
    times where a video asks.
    """

    name: str
    width: int
    t2v: float = 1.0
    v2t: float = 1.0
    squash: float | None = None

    def weight(self, direction: Direction) -> float:
        """Return how much the block counts in one direction."""
        return self.t2v if direction == "t2v" else self.v2t


@dataclass(frozen=True, slots=True)
class PartialQueries:
    """What the score of a query is worth that says only a part of what is in a video: "a red circle".

    A query q (D,) is whole to the share 1 / (1 + exp(-(weights . q + bias))).

    Attributes:
        middle: Score of relevance 0.5 of a query that is not whole at all, in a collection of one video.
        growth: What is added to that per unit of ln(videos): the best of more unrelated videos is better.
        weights: (D,), of the numbers of the query's vector.
        bias: Of a vector of zeros.
    """

    middle: float
    growth: float
    weights: tuple[float, ...]
    bias: float


@dataclass(frozen=True, slots=True)
class ScoreLaw:
    """What a model's score is worth: relevance = 1 / (1 + exp(-slope * (score - middle))).

    `middle` is the same in every collection; where `partial` is known, that is so of whole queries, and a query that is
    whole to the share s has the middle s * middle + (1 - s) * (partial.middle + partial.growth * ln(videos)).
    """

    middle: float
    slope: float
    partial: PartialQueries | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """How the vectors of a query and a video become a score (the model says; search and evaluation both obey).

    score = (1 - moment_weight) * s(q, video) + moment_weight * mean of the `top_moments` largest s(q, moment).
    A search whose best hit has a relevance below `min_relevance` has found nothing (chosen per model). Relevance comes
    from `score_law`, where the model was measured on queries with and without an answer; else from the collection
    (`scoring.relevance`).

    Without `blocks`, s is the dot product: the cosine. With n of them, one behind the other, each is a part of length
    1 / sqrt(n) of a video's vector, and s = the sum over blocks of weight * g(sqrt(n) q_b.v_b), g as `Block` says.
    """

    moment_weight: float = 0.0
    top_moments: int = 1
    min_relevance: float = 0.0
    blocks: tuple[Block, ...] = ()
    score_law: ScoreLaw | None = None

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if twice := {name for name in names if names.count(name) > 1 or name in _NAMES_OF_SCORES}:
            raise UsageError(f"blocks have names of their own, none of {', '.join(_NAMES_OF_SCORES)}; not {min(twice)}")
        for block in self.blocks:
            if block.width < 1 or not all(0 <= weight < math.inf for weight in (block.t2v, block.v2t)):
                raise UsageError(f"block {block.name}: its width is at least 1, and its weights are at least 0")
            if block.squash is not None and not math.isfinite(block.squash):
                raise UsageError(f"block {block.name}: squash is a finite number, not {block.squash}")

    @property
    def symmetric(self) -> bool:
        """Whether a text that asks and a video that asks get the same scores."""
        return all(block.t2v == block.v2t for block in self.blocks)


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What an answerer gets: a question about a `text`, or about the key images of a video.

    Of a video, `features` are for answerers that share the vision tower, `pictures` (one a key image) for all others
    (`protocols.Answerer.video_input`). Both texts are cleaned (`clean_text`).
    """

    question: str
    text: str | None = None
    features: Features | None = None
    pictures: tuple[Pixels, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "question", clean_text(self.question))
        if self.text is not None:
            object.__setattr__(self, "text", clean_text(self.text))


@dataclass(frozen=True, slots=True)
class ShownVideo:
    """What a judge that looks at a video gets of its key images: `features` or `pictures`, as `AnswerRequest` has them
    (`protocols.SeeingJudge.video_input`)."""

    features: Features | None = None
    pictures: tuple[Pixels, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of a skeleton: a question of a pool (its id, its words) and the `text` of its answer.

    `times` are those of the key images that were shown; `error` says why there is no answer, where there is none.
    """

    question_id: str
    question: str
    text: str
    times: tuple[float, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `times` and `error` only where there are any."""
        values: dict[str, Any] = {"question": self.question, "answer": self.text}
        if self.times:
            values["times"] = list(self.times)
        if self.error is not None:
            values["error"] = self.error
        return values


Skeleton = tuple[Answer, ...]


# What a probability was read from: those of the answer's first token; one reply that had to be one of the two answers;
# the share of several replies.
JudgedBy = Literal["log-probabilities", "choice", "samples"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The probability, in 0..1, that two descriptions are of one scene, or that a video shows what a text says; and
    what it was read from."""

    probability: float
    judged_by: JudgedBy = "log-probabilities"


@dataclass(frozen=True, slots=True)
class VisualJudgement:
    """What a judge says who was shown the key images (at `times`, in seconds): the `probability` that the video shows
    what the query says; the `prior`, which it gives the same video with sentences about nothing in particular (None:
    they were not put to it); and the probability as the joint score has it, `normalised` by the prior."""

    probability: float
    prior: float | None
    normalised: float
    judged_by: JudgedBy = "log-probabilities"
    times: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `visual` in the `skeleton` of a hit)."""
        return {
            "probability": self.probability,
            "prior": self.prior,
            "normalised": self.normalised,
            "judged_by": self.judged_by,
            "times": list(self.times),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit has its rank: the skeletons of query and video, the probability that both describe one scene, what a
    look at the video says (`visual`), the cosine, and the joint score of these; or why there is no joint score
    (`failure`). `judge` is the name of the one that judged, or failed to. What was not looked for is None."""

    text_skeleton: Skeleton
    video_skeleton: Skeleton
    probability: float | None
    cosine: float
    joint_score: float | None
    failure: str | None = None
    judge: str | None = None
    judged_by: JudgedBy | None = None
    visual: VisualJudgement | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `skeleton` of a hit); `visual` where there is one."""
        values: dict[str, Any] = {
            "text": [answer.as_dict() for answer in self.text_skeleton],
            "video": [answer.as_dict() | {"times": list(answer.times)} for answer in self.video_skeleton],
            "probability": self.probability,
            "cosine": self.cosine,
            "joint": self.joint_score,
            "judge": self.judge,
            "judged_by": self.judged_by,
            "missing": self.failure,
        }
        if self.visual is not None:
            values["visual"] = self.visual.as_dict()
        return values


@dataclass(frozen=True, slots=True)
class Availability:
    """One way in which an implementation could be used on this machine, as `mmi-tvr models` and `doctor` show it.

    `detail` says what it is good for where it is `ready`, and what to do where it is not; `checkpoint` names the
    checkpoint that it would use, where it needs one.
    """

    ready: bool
    detail: str
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of an ablation table: the model's options with `changes`, trained without the loss terms `without_terms`.

    `published` is R@1 in percent, text-to-video and video-to-text, that the paper gives for this row on MSR-VTT.
    `baseline` makes the settings section of an untrained model from the full model's options; such a row is not
    trained.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[float, float] | None = None
    without_terms: frozenset[str] = frozenset()
    baseline: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class DescriptionMatch:
    """What a video was described as, and how that matches a query: the `words` that both have, the `cosine` of the two,
    and how well it matches by words (BM25, 0 or more)."""

    text: str
    words: tuple[str, ...]
    cosine: float
    word_score: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `description` of a hit)."""
        return {"text": self.text, "words": list(self.words), "cosine": self.cosine}


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: the best moment of a video.

    `score` is the model's own, comparable within one query; `relevance` is in 0..1 and comparable across
    queries (see `mmi_tvr.search`); `scores` names the parts that made `score`; `copies` are further paths of the same
    content; `explanation` is there after a re-ranking. `score` is that of the search, re-ranked or not.

    `path` and `copies` name existing files first; `missing` are those of them at which there is no file now, because it
    was moved or deleted, or because its disk is away. Where `path` itself is missing, all are.

    `description` is what the video answered when it was described, where it was.
    """

    path: Path
    start: float
    end: float
    time: float
    score: float
    relevance: float
    scores: Mapping[str, float] = field(default_factory=dict)
    copies: tuple[Path, ...] = ()
    explanation: Explanation | None = None
    missing: tuple[Path, ...] = ()
    description: DescriptionMatch | None = None

    @property
    def is_missing(self) -> bool:
        """Whether there is no file at any of its paths."""
        return self.path in self.missing


def row_ids(video: int, moments: int) -> IdArray:
    """Ids of one video's vectors in an index: the video's own first, then its key images'. Shape (1 + moments,).

    The id carries video and key image (decision), so an index needs no second table and an upsert is idempotent.

    >>> row_ids(3, 2)
    array([12288, 12289, 12290])
    """
    if not 0 <= moments < MAX_MOMENTS:
        raise ValueError(f"a video may have at most {MAX_MOMENTS - 1} key images, not {moments}")
    ids: IdArray = (np.int64(video) << MOMENT_BITS) + np.arange(moments + 1, dtype=np.int64)
    return ids


def video_of(ids: IdArray) -> IdArray:
    """Return the video number inside each id."""
    numbers: IdArray = ids >> MOMENT_BITS
    return numbers


def moment_of(ids: IdArray) -> IdArray:
    """Return the key image number inside each id; -1 for the vector of the whole video.

    >>> moment_of(np.array([12288, 12289, 12290]))
    array([-1,  0,  1])
    """
    moments: IdArray = (ids & MAX_MOMENTS) - 1
    return moments
