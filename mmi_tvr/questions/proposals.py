"""Questions that a language model proposes from captions or from key images: disabled until a person enables them.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, figure 3(a): generated
prompts (from captions) and multimodal-generated prompts (from key images).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ..errors import AnswerError
from ..prompt_templates import GenerateTemplate
from ..protocols import Answerer, Model
from ..types import AnswerRequest, Query, clean_text
from .clustering import similar_pairs
from .editing import free_id
from .examples import Example
from .pool import Pool, PoolQuestion, normalized_text, text_problem

MAX_SIMILARITY = 0.7  # centred cosine (`clustering.similar_pairs`) from which two questions are nearly the same
_KIND_PATTERNS = (  # kind of a question by its words; the first that matches
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
    """The kept proposals, disabled and with free ids; and those that were dropped (text, reason), of `proposed`."""

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
    template_name: str = "generate",
    seed: int = 0,
    similar: float = MAX_SIMILARITY,
    advance: Callable[[], object] = lambda: None,
) -> Proposals:
    """Return questions proposed by a language model from captions (text) or key images (video).

    A proposal is dropped where it is no question that a pool may hold, the same as one of the pool, or nearly the same.

    Args:
        pool: gets the questions, and says what they are about.
        examples: each request draws other captions, or another video.
        answerer: the language model.
        model: compares the meanings of questions.
        template: the words of the request.
        count: number of requests.
        origin: the name of the language model, for the provenance.
        template_name: for the provenance.
        seed: of the draws.
        similar: centred cosine from which a proposal is nearly the same as another question.
        advance: called once for each reply.

    Raises:
        AnswerError: where no request got a reply.
    """
    rng = random.Random(seed)
    requests = [_request(pool, examples, answerer, template, rng) for _ in range(count)]
    replies = answerer.answer(requests, advance)
    errors = [reply for reply in replies if isinstance(reply, AnswerError)]
    if errors and len(errors) == len(replies):
        raise AnswerError(f"nothing was proposed: {errors[0]}")
    provenance = {"model": origin, "template": template_name, "date": date.today().isoformat()}
    kept: list[PoolQuestion] = []
    dropped: list[tuple[str, str]] = []
    source_by_text = {normalized_text(question.text): question.id for question in pool.questions}
    for reply in replies:
        text = "" if isinstance(reply, AnswerError) else question_in(reply)
        problem = str(reply) if isinstance(reply, AnswerError) else text_problem(text)
        if problem is None and normalized_text(text) in source_by_text:
            problem = f"the same as {source_by_text[normalized_text(text)]}"
        if problem is not None:
            dropped.append((text, problem))
            continue
        id = free_id(pool, [question.id for question in kept])
        source_by_text[normalized_text(text)] = "another proposal"
        kept.append(PoolQuestion(id, text, kind_of(text), "en", False, "", provenance))
    distinct, similar_ones = _split_similar(pool, kept, model, similar)
    return Proposals(len(replies), distinct, (*dropped, *similar_ones))


def question_in(reply: str) -> str:
    """Return the question in a reply: its first line that is one, without number, bullet, quotation marks or preamble.

    >>> question_in('Sure!\\n1. "What is red?"\\n2. Why?')
    'What is red?'
    """
    lines = [clean_text(line).strip() for line in reply.split("\n") if line.strip()]
    first_line = lines[0] if lines else ""
    line = next((line for line in lines if "?" in line or "？" in line), first_line)
    line = re.sub(r"^(?:question\s*\d*\s*:|\d+\s*[.)]|[-*•])\s*", "", line, flags=re.IGNORECASE)
    end = re.search(r"[?？]", line)
    if end:
        line = line[: end.end()]
    return " ".join(line.strip("\"'“”‘’ ").split())


def kind_of(text: str) -> str:
    """Return a first guess at the kind of a question, from its words, for a person to correct.

    >>> kind_of("How many dogs are there?"), kind_of("Which objects are there?")
    ('counts', 'entities')
    """
    for kind, pattern in _KIND_PATTERNS:
        if re.search(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
            return kind
    return "entities"


def _request(
    pool: Pool, examples: Sequence[Example], answerer: Answerer, template: GenerateTemplate, rng: random.Random
) -> AnswerRequest:
    """Return one request for a question, with captions or a video drawn by `rng`.

    Captions are data: together with the words before them they are the text that is asked about, and the words after
    them in the template are the question.
    """
    if pool.about == "text":
        drawn = rng.sample(list(examples), min(template.samples, len(examples)))
        captions = "; ".join(example.caption for example in drawn)
        return AnswerRequest(template.request("text"), text=f"{template.before} {captions}")
    view = rng.choice(list(examples)).view
    shown = view.shown(answerer.video_input)
    few = replace(shown, pictures=shown.pictures[: template.samples])
    return AnswerRequest.of_video(template.request("video"), few)


def _split_similar(
    pool: Pool, proposed: Sequence[PoolQuestion], model: Model, similar: float
) -> tuple[tuple[PoolQuestion, ...], list[tuple[str, str]]]:
    """Return the proposals that are nearly the same as no question before them, and the others with the reason."""
    if not proposed:
        return (), []
    questions = [*pool.questions, *proposed]
    vectors = np.asarray(model.embed_queries([Query(question.text) for question in questions]), dtype=np.float64)
    reasons: dict[int, str] = {}  # by the number of a question that is dropped
    for first, second, cosine in sorted(similar_pairs(vectors, similar), key=lambda pair: pair[1]):
        if second >= len(pool.questions) and first not in reasons:
            reasons.setdefault(second, f"nearly the same as {questions[first].id} ({cosine:.2f})")
    distinct = [questions[number] for number in range(len(pool.questions), len(questions)) if number not in reasons]
    return tuple(distinct), [(questions[number].text, reason) for number, reason in reasons.items()]
