"""Questions, answers, judgements, and the explanation of a hit by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .arrays import Pixels
from .media import Features
from .text import clean_text

VideoInput = Literal["features", "pictures"]  # what of its key images a video comes with, for whoever looks at it


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

    @classmethod
    def of_video(cls, question: str, video: ShownVideo) -> AnswerRequest:
        """Return a question about a video."""
        return cls(question, features=video.features, pictures=video.pictures)


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


# What two comparable answers say of each other: the video has all that the query says, or a part of that; or each says
# something that the other does not, and the judge takes both for one scene (or there is no judgement), or for two.
Agreement = Literal["agrees", "partly", "differs", "conflicts"]


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """Two answers that can be compared, by their positions in the query's and in the video's skeleton; `agreement` is
    None where one of them says nothing."""

    text: int
    video: int
    agreement: Agreement | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: an item of `pairs` in the `skeleton` of a hit)."""
        return {"text": self.text, "video": self.video, "agreement": self.agreement}


@dataclass(frozen=True, slots=True)
class ScoreTerm:
    """A term of a joint score: weight * value. `name` is "cosine", "probability" or "look"."""

    name: str
    weight: float
    value: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: an item of `terms` in the `skeleton` of a hit)."""
        return {"name": self.name, "weight": self.weight, "value": self.value}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit has its rank: the skeletons of query and video, the probability that both describe one scene, what a
    look at the video says (`visual`), the cosine, and the joint score of these; or why there is no joint score
    (`failure`). `judge` is the name of the one that judged, or failed to. What was not looked for is None. `pairs` are
    the answers that can be compared, `terms` those that the joint score is the sum of."""

    text_skeleton: Skeleton
    video_skeleton: Skeleton
    probability: float | None
    cosine: float
    joint_score: float | None
    failure: str | None = None
    judge: str | None = None
    judged_by: JudgedBy | None = None
    visual: VisualJudgement | None = None
    pairs: tuple[AnswerPair, ...] = ()
    terms: tuple[ScoreTerm, ...] = ()

    @property
    def formula(self) -> str | None:
        """How the joint score comes about, with the numbers of this hit; None where there is no joint score."""
        if self.joint_score is None:
            return None
        terms = " + ".join(f"{term.weight:g} x {term.name} {term.value:.3f}" for term in self.terms)
        return f"joint {self.joint_score:.3f} = {terms}"

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
            "pairs": [pair.as_dict() for pair in self.pairs],
            "terms": [term.as_dict() for term in self.terms],
            "formula": self.formula,
        }
        if self.visual is not None:
            values["visual"] = self.visual.as_dict()
        return values
