"""Figure 3(a) of the paper on our data: questions that people edited beside those that an answerer proposes itself.

Decision: what is proposed from one source is asked of captions and of videos alike, so that rows differ in the source
alone. Decision: proposals start from no pool, so that none is dropped because ours has it. Decision: our pools have a
second row, with the questions that are chosen as those of proposals are, without trying them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import plugins, prompt_templates
from ..config import Section
from ..protocols import Answerer, Model
from ..questions import clustering
from ..questions.examples import Example
from ..questions.pool import About, Pool, PoolQuestion
from ..questions.proposals import Proposals, generate
from ..questions.selection import selected_questions
from ..utils.progress import Progress
from ..utils.tables import markdown_table
from .question_ablation import Case

SOURCES: Mapping[About, str] = {"text": "captions", "video": "key images"}


@dataclass(frozen=True, slots=True)
class ProposedQuestions:
    """Questions that were proposed from one source, and those of them that are asked."""

    source: str
    proposals: Proposals
    chosen: tuple[PoolQuestion, ...]


def propose(
    about: About,
    examples: Sequence[Example],
    answerer: Answerer,
    model: Model,
    progress: Progress,
    *,
    count: int,
    questions: int,
    seed: int = 0,
) -> ProposedQuestions:
    """Return questions that are proposed from one source, as `prompts generate` and `prompts choose` do.

    Args:
        about: "text" proposes from captions, "video" from key images.
        examples: Of the training split; each request draws some of them.
        answerer: Proposes.
        model: Compares the meanings of questions, and clusters them.
        progress: Follows the requests.
        count: Number of requests for a question.
        questions: How many clusters are made of those that are kept; the one closest to each centre is chosen.
        seed: Of the draws and of the clustering.

    Raises:
        AnswerError: No request got a reply.
        UsageError: Fewer different questions than `questions` were kept.
    """
    progress.begin(f"proposals from {SOURCES[about]}", count)
    result = generate(
        Pool(Path(f"{about}.yaml"), about, ()), examples, answerer, model, prompt_templates.generate(), count,
        origin=answerer.name, seed=seed, advance=progress.advance,
    )  # fmt: skip
    enabled = [replace(question, enabled=True) for question in result.kept]
    return ProposedQuestions(SOURCES[about], result, _closest(enabled, model, questions, seed))


def proposer(section: Section, model: Model, device: str) -> Answerer:
    """Return the answerer of a section of settings, with as many words for a question as `prompts generate` gives it.

    Args:
        section: The answerer and its options; one that does not know `max_tokens` gets none.
        model: Whose language model answers, unless the options name another one.
        device: Where it runs.
    """
    words = {"max_tokens": prompt_templates.generate().max_tokens}
    known = plugins.load("answerers", section.name).Options.model_fields
    options = {**{name: value for name, value in words.items() if name in known}, **section.options}
    answerer: Answerer = plugins.build("answerers", section.name, options, device=device, model=model)
    return answerer


def compared_cases(
    texts: Pool, videos: Pool, proposed: Sequence[ProposedQuestions], model: Model, questions: int, seed: int = 0
) -> list[Case]:
    """Return the rows of the comparison.

    Args:
        texts: The pool that people edited, of questions about captions; some are chosen.
        videos: The same about videos.
        proposed: The questions of all sources.
        model: Clusters the questions of the two pools.
        questions: How many clusters.
        seed: Of the clustering.
    """
    closest_texts, closest_videos = (_closest(pool.enabled, model, questions, seed) for pool in (texts, videos))
    return [
        Case("edited", "edited by hand", selected_questions(texts), selected_questions(videos)),
        Case("edited, closest", "edited by hand, closest to the centres", closest_texts, closest_videos),
        *(Case(one.source, f"proposed from {one.source}", one.chosen, one.chosen) for one in proposed),
    ]


def _closest(questions: Sequence[PoolQuestion], model: Model, count: int, seed: int) -> tuple[PoolQuestion, ...]:
    """Return the question closest to the centre of each of `count` clusters, as `prompts choose` does."""
    points = clustering.question_vectors([question.text for question in questions], model)
    return tuple(questions[number] for number in clustering.cluster(points, count, seed).closest())


def counts_table(proposed: Sequence[ProposedQuestions]) -> list[str]:
    """Return a Markdown table of how many questions of each source were proposed, kept, dropped and chosen."""
    rows = [["proposed from", "proposed", "kept", "dropped", "chosen"]]
    for one in proposed:
        result = one.proposals
        counts = (result.proposed, len(result.kept), len(result.dropped), len(one.chosen))
        rows.append([one.source, *map(str, counts)])
    return markdown_table(rows, padded=True)


def questions_table(cases: Sequence[Case]) -> list[str]:
    """Return a Markdown table of the questions of cases, in the order in which they are asked."""
    rows = [["case", "of", "question"]]
    for case in cases:
        if case.texts == case.videos:
            rows += [[case.title, "both", question.text] for question in case.texts]
            continue
        for side, questions in (("captions", case.texts), ("videos", case.videos)):
            rows += [[case.title, side, question.text] for question in questions]
    return markdown_table(rows, padded=True)
