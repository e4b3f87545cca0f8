"""What a server can do, seen by asking it: each check is a short question whose answer is known.

A server that takes what it cannot do, and says nothing, is the reason: one that drops pictures, or the beginning of a
long prompt, answers all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import AnswerError, ServerUnusable
from ..types import Judgement, Pixels
from ..utils.budget import Budget, BudgetLimits
from ..utils.wording import counted
from .abilities import THINKING_TOKENS, ServerAbilities, ServerCheck
from .answer_words import AnswerWords
from .client import PICTURE_TOKENS, ServerClient, ServerOptions, listed_models, offer
from .closed_questions import ClosedQuestionClient, ClosedQuestionOptions
from .content import around_pictures, data_url, picture_part
from .eyesight import HEIGHT, QUESTION, SEVERAL, WIDTH, names_colour, plain_picture
from .refusals import advice
from .replies import NOT_A_COMPLETION, completion, counted_tokens

TOTAL_SECONDS = 60.0  # of all checks together (decision: as long as somebody waits for a diagnosis)
_FIRST_SECONDS, _SECONDS = 25.0, 15.0  # of the first answer, before which a model may be loaded; of every other one
KEY_IMAGES = 12  # of a video in one message, as the settings have it
_ANSWER_TOKENS = 48  # as prompts/answer.yaml has it
_PROMPT_WORDS = 2400  # of a long prompt: more than the 2,048 tokens that Ollama reads by default
_QUESTION_TOKENS = 200  # that stand beside the pictures of a video
_CUT_SHARE = 0.95  # tokens a word, below which a server has not counted all of a prompt
_DECLARED = ("max_model_len", "loaded_context_length", "context_length", "context_window")  # of a listed model
_FILLER = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NO_LOGPROBS = "it gives none, or not of the answer's first token"
_NO_CHOICE = "replies cannot be held to two answers"
# Fields of a request that keep a model from thinking: of Qwen's template and its like, of Ollama, of OpenAI.
_QUIET: tuple[dict[str, Any], ...] = (
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "minimal"},
)


@dataclass(frozen=True, slots=True)
class ClosedQuestions:
    """Two questions as a judge asks them: one whose answer is positive, one whose answer is negative; and the words."""

    fits: str
    fits_not: str
    words: AnswerWords


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply: its text, or why there is none; the server's JSON, and the seconds that it took."""

    text: str | AnswerError
    document: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def says(self, *words: str) -> bool:
        return isinstance(self.text, str) and any(word in self.text.lower() for word in words)

    def count(self, name: str) -> int | None:
        """Return a number of tokens that the server counted, by its name in `usage`; None where it did not."""
        return counted_tokens(self.document, name)

    @property
    def thought(self) -> bool:
        """Whether the model thought before it answered."""
        counted_thoughts = counted_tokens(self.document, "completion_tokens_details", "reasoning_tokens")
        choices: Sequence[Mapping[str, Any]] = self.document.get("choices") or [{}]
        message = choices[0].get("message") or {}
        tags = isinstance(message.get("content"), str) and "<think" in message["content"]
        return bool(tags or message.get("reasoning_content") or message.get("reasoning") or counted_thoughts)


class ServerProbe:
    """Checks one server, once. `abilities` hold what was seen."""

    def __init__(self, options: ServerOptions, closed: ClosedQuestions) -> None:
        self._closed = closed
        self.options = options.model_copy(update={"retries": min(1, options.retries), "timeout": TOTAL_SECONDS})
        self.abilities = ServerAbilities()
        self._end = time.monotonic() + TOTAL_SECONDS
        self._listed: Mapping[str, Any] = {}
        self._text_seconds = self._video_seconds = 0.0

    def checks(self) -> Iterator[ServerCheck]:
        """Yield one check after the other; those that others depend on come first, and end it where they fail."""
        with ServerClient(self.options) as self._server:
            yield from self._reach()
            if self.abilities.model:
                yield from self._texts()
            if self.abilities.texts:
                yield self._chinese()
                yield from self._judging()
                yield from self._pictures()
                yield self._context()
                yield self._speed()

    # The server

    def _reach(self) -> Iterator[ServerCheck]:
        options, server = self.options, self._server
        server.budget = Budget(BudgetLimits(seconds=_SECONDS))
        try:
            reply = server.request("GET", "/models", retries=0)
        except AnswerError as error:
            yield ServerCheck("reachable", False, _too_slow(_SECONDS) if server.budget.shortage else str(error))
            return
        status, message, listed = reply.status_code, server.message(reply), listed_models(reply)
        location = reply.headers.get("location")
        if 300 <= status < 400:
            yield ServerCheck(
                "reachable", False, f"it sends elsewhere ({location}); name that address: nothing is followed"
            )
            return
        if status in (401, 403):
            yield ServerCheck("reachable", True, options.base_url)
            what = "the key is refused" if server.has_key else "a key is needed"
            yield ServerCheck("key", False, f"{what}; it is read from ${options.key_variable} ({message})")
            return
        if status == 200 and listed is None:
            yield ServerCheck("reachable", False, f"no list of models, but {message:.60}; does the address end in /v1?")
            return
        if status not in (200, 404, 405):
            yield ServerCheck("reachable", False, f"the server says {status}: {message}")
            return
        yield ServerCheck("reachable", True, options.base_url)
        yield ServerCheck("key", True, f"${options.key_variable} is taken" if server.has_key else "none is needed")
        yield self._choose(listed or {})

    def _choose(self, listed: Mapping[str, Mapping[str, Any]]) -> ServerCheck:
        abilities, name = self.abilities, self.options.model
        abilities.models = list(listed)
        models = offer(listed) or "it does not say which it has"
        if name is None and len(listed) != 1:
            return ServerCheck("model", False, f"name the one to check (--model NAME): {models}")
        if name is not None and listed and name not in listed:
            return ServerCheck("model", False, f"it has no {name!r}: {models}")
        abilities.model = name or next(iter(listed))
        self._listed = listed.get(abilities.model, {})
        return ServerCheck("model", True, offer([abilities.model]))

    # What the model does

    def _texts(self) -> Iterator[ServerCheck]:
        abilities = self.abilities
        question = 'Text: "a red circle moves to the left" Question: What colour is the circle? Answer with one word:'
        reply = self._ask(question, seconds=_FIRST_SECONDS)
        thinking = ServerCheck("thinking", True, "none")
        if reply.thought:
            thinking, reply = self._quiet(question, reply)
        else:
            again = self._ask(question)
            reply = again if again.says("red") else reply
        abilities.texts = reply.says("red")
        self._text_seconds = reply.seconds
        yield ServerCheck("answers about texts", abilities.texts, _seen(reply, "red"))
        yield thinking

    def _quiet(self, question: str, reply: _Reply) -> tuple[ServerCheck, _Reply]:
        """Return how to keep a model that thinks from it, and its answer to the question."""
        for extra in _QUIET:
            quiet = self._ask(question, **extra)
            if quiet.says("red") and not quiet.thought:
                self.abilities.extra = extra
                self._server.options = self.options.model_copy(update={"extra": extra})
                return ServerCheck("thinking", True, f"switched off by extra: {extra}"), quiet
        self.abilities.thinks = True
        detail = f"it thinks before each answer: slow, and max_tokens must leave room ({4 * THINKING_TOKENS})"
        return ServerCheck("thinking", False, detail), self._ask(question, seconds=_FIRST_SECONDS)

    def _chinese(self) -> ServerCheck:
        reply = self._ask("文本：“一个红色的圆向左移动” 问题：圆是什么颜色？只用一个词回答：")
        self.abilities.chinese = reply.says("红", "red")
        return ServerCheck("Chinese", self.abilities.chinese, _seen(reply, "红"))

    def _judging(self) -> Iterator[ServerCheck]:
        """Check by what the server can judge, as the judge `openai` would."""
        questions = ClosedQuestionClient(self._closed.words, ClosedQuestionOptions())
        results = [self._judge(questions, prompt) for prompt in (self._closed.fits, self._closed.fits_not)]
        error = next((result for result in results if isinstance(result, AnswerError)), None)
        if error is not None:
            yield ServerCheck("judging", False, str(error))
            return
        yes, no = (result for result in results if isinstance(result, Judgement))
        by = no.judged_by
        seen = f"p = {yes.probability:.2f} for a pair that fits, {no.probability:.2f} for one that does not"
        yield ServerCheck(
            "log-probabilities", by == "log-probabilities", "" if by == "log-probabilities" else _NO_LOGPROBS
        )
        if by != "log-probabilities":
            yield ServerCheck(
                "choice", by == "choice", str(questions.style.constraint) if by == "choice" else _NO_CHOICE
            )
        if yes.probability > no.probability:
            self.abilities.judged_by = by
        yield ServerCheck("judging", yes.probability > no.probability, f"by {by}: {seen}")

    def _judge(self, questions: ClosedQuestionClient, prompt: str) -> Judgement | AnswerError:
        seconds = min(_SECONDS, self._end - time.monotonic())
        self._server.budget = Budget(BudgetLimits(seconds=max(seconds, 0.0)))
        try:
            result = questions.ask(self._server, self.abilities.model, prompt)
        except ServerUnusable as error:
            return AnswerError(str(error))
        return (
            AnswerError(_too_slow(seconds))
            if isinstance(result, AnswerError) and self._server.budget.shortage
            else result
        )

    def _pictures(self) -> Iterator[ServerCheck]:
        abilities = self.abilities
        replies = {colour: self._ask(QUESTION, pictures=[plain_picture(colour)]) for colour in ("green", "purple")}
        wrong = {colour: reply for colour, reply in replies.items() if not names_colour(reply.text, colour)}
        abilities.pictures = not wrong
        colour, reply = next(iter((wrong or replies).items()))
        shown = _seen(reply, f"a {colour} picture")
        unseen = "" if isinstance(reply.text, AnswerError) else ": it does not see what it is sent"
        yield ServerCheck("pictures", abilities.pictures, shown + (unseen if wrong else ""))
        if not abilities.pictures:
            return
        reply = self._ask(SEVERAL, pictures=[plain_picture("red")] * KEY_IMAGES, seconds=_FIRST_SECONDS)
        abilities.key_images = names_colour(reply.text, "red")
        self._video_seconds = reply.seconds
        tokens = reply.count("prompt_tokens")
        detail = _seen(reply, f"{KEY_IMAGES} red pictures")
        if tokens is not None and abilities.key_images:
            abilities.picture_tokens = max(1, round(tokens / KEY_IMAGES))
            detail += f"; {abilities.picture_tokens} tokens a picture of {WIDTH} x {HEIGHT}"
        yield ServerCheck(f"{KEY_IMAGES} pictures at once", abilities.key_images, detail)

    def _context(self) -> ServerCheck:
        abilities = self.abilities
        tokens = abilities.picture_tokens or (PICTURE_TOKENS if abilities.key_images else 0)
        needed = _QUESTION_TOKENS + KEY_IMAGES * tokens
        need = f"a video needs {needed:,}" if tokens else "questions about texts need no more"
        declared = next(filter(None, (_length(self._listed.get(name)) for name in _DECLARED)), None)
        if declared is not None:
            abilities.context = declared >= needed
            return ServerCheck("context", abilities.context, f"{declared:,} tokens, as it says; {need}")
        read = 0  # words of the longest prompt that is read
        for words in sorted({_PROMPT_WORDS, max(_PROMPT_WORDS, needed)}):
            started = time.monotonic()
            problem = self._unread(words)
            if problem is not None:
                abilities.context = read >= needed or (
                    read == 0 and needed < _PROMPT_WORDS and not self._unread(needed)
                )
                return ServerCheck("context", abilities.context and read > 0, f"{problem}; {need}")
            read = words
            if (time.monotonic() - started) * needed / words > min(_FIRST_SECONDS, self._end - time.monotonic()):
                break  # a longer one would take too long
        unsure = "" if read >= needed else ", and longer ones are too slow to check"
        return ServerCheck("context", True, f"at least {read:,} tokens{unsure}; {need}")

    def _unread(self, words: int) -> str | None:
        """Return what happens to a prompt of so many words; None where all of it is read."""
        reply = self._ask(_with_secret(words), seconds=_FIRST_SECONDS)
        tokens = reply.count("prompt_tokens")
        if isinstance(reply.text, AnswerError):
            return f"to a prompt of {words:,} words: {reply.text}"
        more = "(Ollama reads more by OLLAMA_CONTEXT_LENGTH=16384 ollama serve)"
        if reply.says("walnut"):
            return None
        if tokens is not None and tokens < _CUT_SHARE * words:
            return f"a prompt of {words:,} words is cut to {tokens:,} tokens, and nothing says so {more}"
        if tokens is not None or not self._ask(_with_secret(50)).says("walnut"):
            return None  # all was counted, or the model repeats nothing, so that nothing can be learned
        return f"the beginning of a prompt of {words:,} words is not read, and nothing says so {more}"

    def _speed(self) -> ServerCheck:
        reply = self._ask("Count from 1 to 20, in digits:")
        tokens = reply.count("completion_tokens")
        parts = [f"{self._text_seconds:.2f} s a question about a text"]
        if self._video_seconds:
            parts.append(f"{self._video_seconds:.2f} s about {KEY_IMAGES} pictures")
        if tokens and reply.seconds:
            parts.append(f"{tokens / reply.seconds:.0f} tokens a second")
        return ServerCheck("speed", True, "; ".join(parts))

    # Asking

    def _ask(
        self,
        question: str,
        pictures: Sequence[Pixels] = (),
        seconds: float = _SECONDS,
        **fields: Any,
    ) -> _Reply:
        """Return the reply to a question, within so many seconds and those that are left of all."""
        seconds = min(seconds, self._end - time.monotonic())
        if seconds <= 0:
            return _Reply(AnswerError(f"not checked: the {TOTAL_SECONDS:.0f} seconds of all checks are over"))
        parts = [picture_part(data_url(picture, "jpeg")) for picture in pictures]
        limit = THINKING_TOKENS if self.abilities.thinks else _ANSWER_TOKENS
        body = {
            "model": self.abilities.model,
            "messages": [{"role": "user", "content": around_pictures("", parts, question)}],
            "temperature": 0,
            "max_tokens": limit,
            **fields,
        }
        self._server.budget = budget = Budget(BudgetLimits(seconds=seconds))
        try:
            reply = self._server.chat(body)
        except AnswerError as error:
            return _Reply(AnswerError(_too_slow(seconds)) if budget.shortage else error)
        return _read(self._server, reply, limit, budget.usage.seconds)


def _read(server: ServerClient, reply: Any, limit: int, seconds: float) -> _Reply:
    if reply.status_code != 200:
        message = server.message(reply)
        return _Reply(AnswerError(f"the server says {reply.status_code}: {message}{advice(message)}"))
    try:
        document = reply.json()
        return _Reply(completion(document, limit), document, seconds)
    except NOT_A_COMPLETION:
        problem = (
            "it answers in a stream alone" if reply.text.startswith("data:") else "the reply is no chat completion"
        )
        return _Reply(AnswerError(f"{problem}: {server.message(reply):.60}"))


def _with_secret(words: int) -> str:
    """Return a prompt of so many words whose beginning is asked for at its end."""
    filler = " ".join(_FILLER[number % len(_FILLER)] for number in range(words))
    return f'The secret word is "walnut".\n{filler}\nWhat is the secret word? Answer with one word:'


def _length(value: object) -> int | None:
    """Return a context's length as a server lists it; None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None


def _too_slow(seconds: float) -> str:
    return f"no reply within {counted(round(seconds), 'second')}"


def _seen(reply: _Reply, expected: str) -> str:
    """Return what was replied where something was expected."""
    if isinstance(reply.text, AnswerError):
        return str(reply.text)
    return f"{expected}: {reply.text[:40]!r}"
