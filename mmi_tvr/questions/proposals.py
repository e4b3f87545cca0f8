"""New questions that a language model proposes from captions or from key images: disabled until a person enables them.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, figure 3(a): generated
prompts (from captions) and multimodal-generated prompts (from key images).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from ..errors import AnswerError
from ..prompt_templates import GenerateTemplate
from ..protocols import Answerer, Model
from ..types import AnswerRequest, Query
from .clustering import alike
from .editing import free_id
from .examples import Example
from .pool import Pool, PoolQuestion, normalized_text, text_problem

SIMILAR = 0.7  # centred cosine (`clustering.alike`) from which two questions are nearly the same
_KIND_WORDS = (  # what a question asks for, by its words; the first that fits
    ("counts", r"how many|how often|number of"),
    ("order", r"first|last|before|after|then|order|next|finally"),
    ("changes", r"chang\w+|grows?|shrinks?|becomes?|appears?|disappears?|different at"),
    ("attributes", r"colou?rs?|shapes?|size|big|large|small|look like|made of"),
    ("people", r"people|person|man|woman|child|children|wear\w*"),
    ("mood", r"mood|feel\w*|atmosphere|emotions?"),
    ("purpose", r"why|purpose|goal|reason|trying"),
    ("interaction", r"together|each other|chas\w+|follow\w*|touch\w*"),
    ("relations", r"left|right|above|below|behind|next to|relations?\w*|between"),
    ("places", r"where|place|location|indoors|outdoors"),
    ("actions", r"do|does|doing|mov\w+|happen\w*|actions?|events?"),
)


@dataclass(frozen=True, slots=True)
class Proposals:
    """What came of it: the kept ones, disabled and with ids that are free; and what was dropped, with the reason."""

    proposed: int
    kept: tuple[PoolQuestion, ...]
    dropped: tuple[tuple[str, str], ...]


def generate(
    pool: Pool,
    examples: Sequence[Example],
    answerer: Answerer,
    model: Model,
    template: GenerateTemplate,
    count: int,
    *,
    origin: str,
    words: str = "generate",
    seed: int = 0,
    similar: float = SIMILAR,
    advance: Callable[[], object] = lambda: None,
) -> Proposals:
    """Ask `count` times for a question, each time with other captions, or with the key images of another example.

    origin, words: who is asked and with which template, for the provenance. A proposal is dropped where it is no
    question that a pool may hold, the same as one that is there, or nearly the same (`similar`, by `model`).
    Raises AnswerError where not one reply came.
    """
    chance = random.Random(seed)
    asks = [_ask(pool, examples, answerer, template, chance) for _ in range(count)]
    replies = answerer.answer(asks, advance)
    errors = [each for each in replies if isinstance(each, AnswerError)]
    if errors and len(errors) == len(replies):
        raise AnswerError(f"nothing was proposed: {errors[0]}")
    provenance = {"model": origin, "template": words, "date": date.today().isoformat()}
    kept: list[PoolQuestion] = []
    dropped: list[tuple[str, str]] = []
    there = {normalized_text(question.text): question.id for question in pool.questions}
    for reply in replies:
        text = "" if isinstance(reply, AnswerError) else cleaned(reply)
        problem = str(reply) if isinstance(reply, AnswerError) else text_problem(text)
        if problem is None and normalized_text(text) in there:
            problem = f"the same as {there[normalized_text(text)]}"
        if problem is not None:
            dropped.append((text, problem))
            continue
        id = free_id(pool, [each.id for each in kept])
        there[normalized_text(text)] = "another proposal"
        kept.append(PoolQuestion(id, text, kind_of(text), "en", False, "", provenance))
    fresh, near = _unlike(pool, kept, model, similar)
    return Proposals(len(replies), fresh, (*dropped, *near))


def cleaned(reply: str) -> str:
    """The question in a reply: its first line that is one, without number, bullet, quotation marks or preamble.

    >>> cleaned('Sure!\\n1. "What is red?"\\n2. Why?')
    'What is red?'
    """
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    line = next((each for each in lines if "?" in each or "？" in each), lines[0] if lines else "")
    line = re.sub(r"^(?:question\s*\d*\s*:|\d+\s*[.)]|[-*•])\s*", "", line, flags=re.IGNORECASE)
    end = re.search(r"[?？]", line)
    return " ".join(line[: end.end()].strip("\"'“”‘’ ").split()) if end else " ".join(line.strip("\"'“”‘’ ").split())


def kind_of(text: str) -> str:
    """A first guess at the kind of a question, from its words, for a person to correct.

    >>> kind_of("How many dogs are there?"), kind_of("Which objects are there?")
    ('counts', 'entities')
    """
    return next(
        (kind for kind, words in _KIND_WORDS if re.search(rf"\b(?:{words})\b", text, re.IGNORECASE)), "entities"
    )


def _ask(
    pool: Pool, examples: Sequence[Example], answerer: Answerer, template: GenerateTemplate, chance: random.Random
) -> AnswerRequest:
    """Captions are data: together with the words before them they are the text that is asked about, and what stands
    behind them in the template is the question."""
    if pool.about == "text":
        drawn = chance.sample(list(examples), min(template.samples, len(examples)))
        captions = "; ".join(example.caption for example in drawn)
        return AnswerRequest(template.asked("text"), text=f"{template.before} {captions}")
    view = chance.choice(list(examples)).view
    question = template.asked("video")
    if answerer.video_input == "features":
        return AnswerRequest(question, features=view.features())
    return AnswerRequest(question, pictures=tuple(view.pictures())[: template.samples])


def _unlike(
    pool: Pool, proposed: Sequence[PoolQuestion], model: Model, similar: float
) -> tuple[tuple[PoolQuestion, ...], list[tuple[str, str]]]:
    """The proposals that are nearly the same as no question before them, and the others with the reason."""
    both = [*pool.questions, *proposed]
    if not proposed:
        return (), []
    vectors = np.asarray(model.embed_queries([Query(question.text) for question in both]), dtype=np.float64)
    gone: dict[int, str] = {}
    for one, other, cosine in sorted(alike(vectors, similar), key=lambda pair: pair[1]):
        if other >= len(pool.questions) and one not in gone:
            gone.setdefault(other, f"nearly the same as {both[one].id} ({cosine:.2f})")
    fresh = [question for at, question in enumerate(both) if at >= len(pool.questions) and at not in gone]
    return tuple(fresh), [(both[at].text, reason) for at, reason in gone.items()]
