"""Other wordings of a query, which a language model writes: paraphrases, and the other of English and Chinese.

Source: the averaging of prompts in Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, section 3.1.4. What a wording counts beside the query is in `queries.prepared`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

from ..errors import MODEL_FAILURES, AnswerError, one_line
from ..prompt_templates import ExpandTemplate
from ..protocols import Answerer
from ..queries import Expansion, PreparedQuery
from ..queries.negation import split
from ..types import AnswerRequest, clean_text
from ..utils.budget import BudgetLimits, Usage, current, spending
from ..utils.chinese import has_chinese
from ..utils.hashing import digest
from ..utils.wording import counted
from .store import SkeletonStore

EXPANSIONS_FILE = "expansions.sqlite"
MAX_WORDINGS = 8  # of one query, without the translation
_LONGEST = 3  # a wording has at most so many times the characters of the query,
_MORE = 60  # and so many,
_SHORTEST = 5  # and at least this part of them
_CHINESE_IS_SHORTER = 4  # a Chinese sentence has about a quarter of the characters of an English one
_PREAMBLE = re.compile(
    r"^(?:sure|okay|ok|certainly|of course|here(?:'s| is| are)|caption|好的|当然)\b[^:：]{0,60}[:：]\s*", re.I
)
_QUOTES = "\"'“”‘’「」『』* "


class QueryExpander:
    """Asks an answerer for other wordings, each once: they are stored by query, request and answerer.

    Whatever goes wrong on the way costs wordings, never a search, and stands in the expansion.
    """

    def __init__(self, answerer: Answerer, template: ExpandTemplate, store: SkeletonStore | None = None) -> None:
        self.answerer = answerer
        self.template = template
        self.store = store

    def expand(self, queries: Sequence[PreparedQuery], count: int, seconds: float | None = None) -> list[PreparedQuery]:
        """Return the queries with wordings of what they look for; all are asked for in one batch.

        Args:
            queries: any number.
            count: of paraphrases of each, besides the translation; at most as many as the template has requests.
            seconds: for each query; None: any number.
        """
        started = time.monotonic()
        requests = [self._requests(query.positive.without_names().spoken, count) for query in queries]
        limit = None if seconds is None else seconds * len(queries)
        with spending(BudgetLimits(seconds=limit, section="search")) as budget:
            try:
                replies = self._replies([request for of_query in requests for request in of_query])
            except MODEL_FAILURES as error:
                replies = [AnswerError(one_line(error))] * sum(map(len, requests))
        used, share = budget.usage, 1 / max(1, len(queries))
        usage = Usage(round(used.calls * share), round(used.tokens * share), used.seconds * share, used.cached)
        seconds_each = (time.monotonic() - started) * share
        rest = iter(replies)
        expanded = []
        for query, of_query in zip(queries, requests, strict=True):
            wordings, problem = _usable(query.positive.without_names().spoken, [next(rest) for _ in of_query])
            expanded.append(replace(query, expansion=Expansion(wordings, problem, seconds_each, usage)))
        return expanded

    def _requests(self, text: str, count: int) -> list[AnswerRequest]:
        translate = self.template.english if has_chinese(text) else self.template.chinese
        return [AnswerRequest(question, text=text) for question in (*self.template.wordings[:count], translate)]

    def _replies(self, requests: Sequence[AnswerRequest]) -> list[str | AnswerError]:
        """Return a reply to each request: the stored one, else a new one, which is stored where it is no error."""
        maker = self.answerer.fingerprint()
        keys = [(digest("query", request.text), digest(request.question, maker)) for request in requests]
        stored = self.store.get({content for content, _ in keys}, {key for _, key in keys}) if self.store else {}
        missing = [row for row, key in enumerate(keys) if key not in stored]
        current().add(cached=len(keys) - len(missing))
        answers = self.answerer.answer([requests[row] for row in missing]) if missing else []
        if len(answers) != len(missing):
            raise AnswerError(f"{self.answerer.name} gave {counted(len(answers), 'answer')} to {len(missing)} requests")
        replies: list[str | AnswerError] = [stored.get(key, AnswerError("no answer")) for key in keys]
        for row, answer in zip(missing, answers, strict=True):
            replies[row] = answer if isinstance(answer, str | AnswerError) else AnswerError("no answer")
        new = [(*keys[row], reply) for row in missing if isinstance(reply := replies[row], str)]
        if self.store is not None and new:
            self.store.put(new)
        return replies


def _usable(text: str, replies: Sequence[str | AnswerError]) -> tuple[tuple[str, ...], str | None]:
    """Return the wordings of a query among the replies, and why others are none; None where all are.

    The last reply is to be its translation.
    """
    wordings: dict[str, str] = {_normalized(text): text}
    problems = []
    for position, reply in enumerate(replies):
        translated = position == len(replies) - 1
        wording = "" if isinstance(reply, AnswerError) else wording_in(reply)
        problem = str(reply) if isinstance(reply, AnswerError) else _problem(text, wording, translated)
        if problem:
            problems.append(problem)
        else:
            wordings.setdefault(_normalized(wording), wording)
    if not problems:
        return tuple(wordings.values())[1:], None
    missing = f"{len(problems)} of {counted(len(replies), 'wording')} missing: {problems[0]}"
    return tuple(wordings.values())[1:], missing


def wording_in(reply: str) -> str:
    """Return the wording in a reply, on one line, without preamble and quotation marks.

    >>> wording_in('Sure! Here is the caption: "A dog runs."'), wording_in("a dog\\n runs")
    ('A dog runs.', 'a dog runs')
    """
    return _PREAMBLE.sub("", " ".join(clean_text(reply).split()).strip(_QUOTES)).strip(_QUOTES)


def _problem(text: str, wording: str, translated: bool) -> str:
    """Return why a reply is no wording of a text; empty where it may be one."""
    if not wording:
        return "an empty reply"
    shown = repr(wording if len(wording) <= 60 else f"{wording[:56]}...")
    chinese, wants_chinese = has_chinese(wording), has_chinese(text) != translated
    if chinese != wants_chinese:
        language = "Chinese" if wants_chinese else "English" if translated else "the language of the query"
        return f"not in {language}: {shown}"
    length = len(text) * (_CHINESE_IS_SHORTER if has_chinese(text) else 1)
    size = len(wording) * (_CHINESE_IS_SHORTER if chinese else 1)
    if size > _LONGEST * length + _MORE:
        return f"too long: {shown}"
    if size * _SHORTEST < length:
        return f"too short: {shown}"
    if wording.rstrip()[-1:] in "?？" and text.rstrip()[-1:] not in "?？":
        return f"a question: {shown}"
    if split(wording).excluded:
        return f"it excludes something: {shown}"
    return ""


def _normalized(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()
