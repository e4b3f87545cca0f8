"""Closed questions to a server: how likely the first of two answers is, by the best way that the server has.

From the log-probabilities of the answer's first token; where a server gives none, from one reply that can be no other
than one of the two answers; where it cannot be held to them, from the share of several replies.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from ..errors import AnswerError, ServerUnusable
from ..plugins import BaseOptions
from ..types import Judgement, clean_text
from .answer_words import AnswerWords, is_blank, label_end
from .client import ServerClient
from .content import Content, count_pictures
from .eyesight import BlindnessCheck
from .refusals import advice, is_too_long, takes_fewer_pictures, takes_no_pictures
from .replies import NOT_A_COMPLETION, as_answer, is_still_thinking, message_text, thinking_end
from .request_styles import RequestStyle

_SHOWN = 60  # characters of a reply that is neither answer
_NO_CHAT = (404, 405, 501)  # of a server that knows plain completions alone
_MOST_REFUSALS = 3  # questions that may be refused before one is taken: then it is the server's way


class ClosedQuestionOptions(BaseOptions):
    """How closed questions are put to a server."""

    api: Literal["auto", "chat", "completions"] = Field(
        "auto",
        description="chat completions, or plain ones; auto: chat, and plain without a chat template",
    )
    samples: int = Field(
        5, ge=1, le=100, description="replies to a question, where a server gives neither log-probabilities nor choice"
    )
    thinking_tokens: int = Field(
        1024, ge=0, description="tokens for thinking, of a model that cannot be kept from it; 0: it is not waited for"
    )


class ClosedQuestionClient:
    """Puts questions with two answers to one server, and remembers how that likes to be asked. For several threads."""

    def __init__(
        self, words: AnswerWords, options: ClosedQuestionOptions, blindness: BlindnessCheck | None = None
    ) -> None:
        """Args: words: the two answers; options: how to ask; blindness: the check of questions with pictures."""
        self.words, self.options, self._blindness = words, options, blindness
        self.style = RequestStyle(chat=options.api != "completions")
        self._accepted = False  # the server has taken a request of this style, or of one before it
        self._reads_logprobs = False  # an answer could be read from them
        self._refusals = 0
        self._lock = threading.Lock()

    def ask(self, server: ServerClient, model: str, content: Content) -> Judgement | AnswerError:
        """Return the probability of the first answer, and what it was read from; or why there is none.

        Args:
            server: open.
            model: the model's name there.
            content: of the message.

        Raises:
            ServerUnusable: the server refuses every question.
        """
        try:
            while True:  # ends, because every other style has fewer fields, or more tokens for thinking
                style = self.style
                result = self._attempt(server, model, content, style)
                if not isinstance(result, RequestStyle):
                    return result
                self._settle(style, result)
        except AnswerError as error:
            return error

    def _attempt(
        self, server: ServerClient, model: str, content: Content, style: RequestStyle
    ) -> Judgement | RequestStyle:
        """Return the judgement, or the style to ask in instead. Raises AnswerError where there is neither."""
        verdicts: list[bool | None] = []
        pictures = count_pictures(content)
        count = self.options.samples if style.judged_by == "samples" else 1
        for _ in range(count):
            body = style.body(model, content, self.words, self.options.thinking_tokens) | server.options.extra
            reply = server.request("POST", style.path, body)
            if reply.status_code != 200:
                return self._style_instead(server, style, reply, content)
            self._accepted = True
            try:
                document = reply.json()
                if self._blindness and (error := self._blindness.error(server, model, document, pictures)):
                    raise error
                result = self._read(style, Reply.of(document["choices"][0]))
            except NOT_A_COMPLETION as error:
                raise AnswerError(f"the server's reply is no completion: {server.message(reply)}") from error
            if not isinstance(result, bool) and result is not None:
                return result
            verdicts.append(result)
        return self._share(verdicts)

    def _read(self, style: RequestStyle, reply: Reply) -> Judgement | RequestStyle | bool | None:
        """Return a judgement; of samples, which answer this one is (None: neither); or the style to ask in instead."""
        if reply.end == "content_filter":
            raise AnswerError("the server's filter kept the reply back")
        if reply.is_unfinished_thought:
            return self._with_thinking(style)
        if style.judged_by == "samples":
            return self.words.verdict(_text(reply))
        if style.judged_by == "choice":
            verdict = style.chosen(reply.answer, self.words)
            if verdict is not None:
                return Judgement(float(verdict), "choice")
            _text(reply)  # a refusal is no lack of the server's
            return style.with_next_constraint()
        if not reply.tokens:
            return replace(style, alternatives=0)
        token = reply.first_answer_token()
        if token is None:
            return self._with_thinking(style)
        probability = self.words.probability(token)
        if probability is None:
            text = _text(reply)
            if self.words.verdict(text) is not None and not self._reads_logprobs:  # they are of something else
                return replace(style, alternatives=0)
            raise AnswerError(self._neither(text))
        self._reads_logprobs = True
        return Judgement(probability, "log-probabilities")

    def _share(self, verdicts: list[bool | None]) -> Judgement:
        """Return the share of positive answers; where most replies are neither answer, there is none."""
        clear = [verdict for verdict in verdicts if verdict is not None]
        if 2 * len(clear) < len(verdicts) or not clear:
            raise AnswerError(f"of {len(verdicts)} replies, {len(clear)} are {self._answers}")
        return Judgement(sum(clear) / len(clear), "samples")

    def _with_thinking(self, style: RequestStyle) -> RequestStyle:
        if style.thinks or not self.options.thinking_tokens:
            raise AnswerError(
                f"the model thinks, and has no answer within {self.options.thinking_tokens} tokens: give it more "
                "(thinking_tokens), or a model that can be kept from it"
            )
        return replace(style, thinks=True)

    def _style_instead(self, server: ServerClient, style: RequestStyle, reply: Any, content: Content) -> RequestStyle:
        """Return how to ask a server that refused a request. Raises AnswerError where it is the question that it
        refuses, ServerUnusable where it is every question."""
        message, status = server.message(reply), reply.status_code
        if count_pictures(content) and takes_no_pictures(message):
            raise ServerUnusable(f"the server says {status}: {message}{advice(message)}")
        plain_is_possible = self.options.api == "auto" and style.chat and isinstance(content, str)
        other: RequestStyle | None = None
        if status in (400, 422):
            other = style.without_refused(message)
            if other is None and not self._accepted and not (is_too_long(message) or takes_fewer_pictures(message)):
                other = style.plainer()
        elif status in _NO_CHAT and not self._accepted and "model" not in message.lower():
            other = replace(style, chat=False)
        if other is not None and (other.chat == style.chat or plain_is_possible):
            return other
        error = f"the server says {status}: {message}{advice(message)}"
        with self._lock:
            self._refusals += not self._accepted
            if self._refusals >= _MOST_REFUSALS:
                raise ServerUnusable(f"every question is refused; {error}")
            if not self._accepted:  # perhaps it was about this question alone: the next one begins with all fields
                self.style = RequestStyle(chat=self.options.api != "completions")
        raise AnswerError(error)

    def _settle(self, style: RequestStyle, other: RequestStyle) -> None:
        """Ask in another style from now on, unless another thread has changed it meanwhile."""
        with self._lock:
            if self.style == style:
                self.style = other

    def _neither(self, text: str) -> str:
        return f'the model says "{text[:_SHOWN]}", which is {self._answers_not}'

    @property
    def _answers(self) -> str:
        return f"{self.words.positive} or {self.words.negative}"

    @property
    def _answers_not(self) -> str:
        return f"neither {self.words.positive} nor {self.words.negative}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice of a completion, chat or plain: its text, why it ended, and its tokens with their alternatives."""

    text: str
    end: str | None
    refusal: str
    has_thought: bool  # apart from the text
    tokens: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, choice: Mapping[str, Any]) -> Reply:
        """Return a server's JSON as a reply. KeyError, TypeError, AttributeError where it is none."""
        message = choice.get("message") or {}
        text = choice["text"] if "text" in choice else message_text(message)
        thought = message.get("reasoning_content") or message.get("reasoning") or message.get("thinking")
        refusal = str(message.get("refusal") or "")
        return cls(text or "", choice.get("finish_reason"), refusal, bool(thought), tuple(_tokens(choice)))

    @property
    def is_unfinished_thought(self) -> bool:
        """Whether the tokens ended before there was an answer."""
        if is_still_thinking(self.text):
            return True
        return not self.text.strip() and not self.refusal and (self.end == "length" or self.has_thought)

    @property
    def answer(self) -> str:
        """The text behind what the model thought, as it was written."""
        return self.text[thinking_end(self.text) :].strip()

    def first_answer_token(self) -> list[tuple[str, float]] | None:
        """Return the first token of the answer, as its alternatives with their log-probabilities; None: there is none.

        Before it may be what the model thought, tokens of its template, a label ("Answer:"), and white space.
        """
        whole = "".join(str(token["token"]) for token in self.tokens)
        start = thinking_end(whole)
        if not start and self.answer:
            start = max(0, whole.rfind(self.answer))
        start += label_end(whole[start:])
        position = 0
        for token in self.tokens:
            position += len(str(token["token"]))
            if position > start and not is_blank(str(token["token"])):
                return list(_alternatives(token))
        return None


def _text(reply: Reply) -> str:
    """Return what is answered. Raises AnswerError where it is nothing, or a refusal."""
    if reply.refusal and not reply.text:
        raise AnswerError(f"the model refuses: {' '.join(clean_text(reply.refusal).split())[:_SHOWN]}")
    answer = as_answer(reply.text)
    if isinstance(answer, AnswerError):
        raise answer
    return answer


def _tokens(choice: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the tokens of a choice with their alternatives, as chat completions have them."""
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content"):
        yield from logprobs["content"]
        return
    alternatives = logprobs.get("top_logprobs") or ()  # a plain completion has columns
    for token, logprob, others in zip(
        logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), alternatives, strict=False
    ):
        top = [{"token": text, "logprob": value} for text, value in (others or {}).items()]
        yield {"token": token, "logprob": logprob, "top_logprobs": top}


def _alternatives(token: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield a token and those that might have stood in its place, each once; those without a number are left out."""
    others = {str(other["token"]): other["logprob"] for other in token.get("top_logprobs") or ()}
    for text, logprob in ({str(token["token"]): token["logprob"]} | others).items():
        value = math.nan if logprob is None else float(logprob)
        if not math.isnan(value):
            yield text, value
