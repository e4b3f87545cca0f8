"""The fields of a closed question that a server takes: what is tried first, and what next where that is of no use.

Servers differ in what they know, and say so in words only. So a request begins with all that would help, and whatever
is refused is left out from then on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..types import JudgedBy
from .answer_words import AnswerWords
from .content import Content
from .refusals import is_too_long

_ALTERNATIVES = (20, 5, 0)  # tokens whose log-probabilities are asked for: most servers' limit, the smallest one, none
_EFFORTS = ("none", "minimal", "low", None)  # of thinking: none where a server knows that word
_CONSTRAINTS = ("response_format", "structured_outputs", "guided_choice", "grammar", None)
_ANSWER_TOKENS, _JSON_TOKENS = 8, 32


@dataclass(frozen=True, slots=True)
class RequestStyle:
    """What a request holds besides the question.

    Args:
        chat: a chat completion; false: a plain one, for models without a chat template.
        alternatives: so many likeliest tokens with their log-probabilities; 0: none.
        constraint: the field that allows the two answers alone, where there are no log-probabilities; None: no field,
            so replies are samples.
        template_arguments: tell the chat template that the model is not to think.
        effort: how much a model is to think; None: not said.
        temperature: say it.
        limit: what the limit of tokens is called.
        thinks: the model thinks all the same, and gets tokens for it.
    """

    chat: bool = True
    alternatives: int = _ALTERNATIVES[0]
    constraint: str | None = _CONSTRAINTS[0]
    template_arguments: bool = True
    effort: str | None = _EFFORTS[0]
    temperature: bool = True
    limit: str = "max_tokens"
    thinks: bool = False

    @property
    def judged_by(self) -> JudgedBy:
        """What a probability is read from."""
        if self.alternatives:
            return "log-probabilities"
        return "choice" if self.constraint else "samples"

    @property
    def path(self) -> str:
        return "/chat/completions" if self.chat else "/completions"

    def body(self, model: str, content: Content, words: AnswerWords, thinking_tokens: int) -> dict[str, Any]:
        """Return the JSON of a request.

        Args:
            model: the model's name on the server.
            content: the question, of which a plain completion takes a text alone.
            words: the two answers.
            thinking_tokens: for a model that thinks before it answers.
        """
        body: dict[str, Any] = {"model": model}
        if self.chat:
            body["messages"] = [{"role": "user", "content": content}]
            if self.template_arguments:
                body["chat_template_kwargs"] = {"enable_thinking": False}
            if self.effort is not None:
                body["reasoning_effort"] = self.effort
        else:
            body["prompt"] = content
        is_json = self.judged_by == "choice" and self.constraint == "response_format"
        body[self.limit] = (_JSON_TOKENS if is_json else _ANSWER_TOKENS) + (thinking_tokens if self.thinks else 0)
        if self.temperature:
            body["temperature"] = 1.0 if self.judged_by == "samples" else 0.0
        return body | self._way(words)

    def _way(self, words: AnswerWords) -> dict[str, Any]:
        """Return the fields that make an answer a probability."""
        if self.alternatives and self.chat:
            return {"logprobs": True, "top_logprobs": self.alternatives}
        if self.alternatives:
            return {"logprobs": self.alternatives}
        choice = [words.positive, words.negative]
        if self.constraint == "response_format":
            properties = {"answer": {"type": "string", "enum": choice}}
            schema = {"type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False}
            return {
                "response_format": {
                    "type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}
                }
            }  # fmt: skip
        if self.constraint == "structured_outputs":
            return {"structured_outputs": {"choice": choice}}
        if self.constraint == "guided_choice":
            return {"guided_choice": choice}
        if self.constraint == "grammar":
            return {"grammar": "root ::= " + " | ".join(json.dumps(word, ensure_ascii=False) for word in choice)}
        return {}

    def chosen(self, reply: str, words: AnswerWords) -> bool | None:
        """Return which answer a constrained reply is; None where the server ignored the constraint."""
        if self.constraint == "response_format":
            try:
                reply = str(json.loads(reply)["answer"])
            except (ValueError, KeyError, TypeError, RecursionError):
                return None
        return {words.positive: True, words.negative: False}.get(reply.strip())

    def without_refused(self, message: str) -> RequestStyle | None:
        """Return the style without the field that a server's message refuses; None where it names none of ours."""
        if is_too_long(message):
            return None
        text = message.lower()
        if self.alternatives and "logprob" in text:
            return self.with_fewer_alternatives()
        if self.chat and self.template_arguments and ("chat_template_kwargs" in text or "enable_thinking" in text):
            return replace(self, template_arguments=False)
        if self.chat and self.effort is not None and "reasoning" in text:
            return replace(self, effort=_next(_EFFORTS, self.effort))
        if self.limit == "max_tokens" and "max_completion_tokens" in text:
            return replace(self, limit="max_completion_tokens")
        if self.temperature and "temperature" in text:
            return replace(self, temperature=False)
        if not self.alternatives and self.constraint and self._constraint_is_refused(text):
            return self.with_next_constraint()
        if self.chat and "chat template" in text:
            return replace(self, chat=False)
        return None

    def plainer(self) -> RequestStyle | None:
        """Return the style without one of its fields, that which fewest servers know; None where none is left."""
        if self.chat and self.template_arguments:
            return replace(self, template_arguments=False)
        if self.chat and self.effort is not None:
            return replace(self, effort=None)
        if self.alternatives:
            return replace(self, alternatives=0)
        return self.with_next_constraint() if self.constraint else None

    def with_fewer_alternatives(self) -> RequestStyle:
        return replace(self, alternatives=_next(_ALTERNATIVES, self.alternatives))

    def with_next_constraint(self) -> RequestStyle:
        return replace(self, constraint=_next(_CONSTRAINTS, self.constraint))

    def _constraint_is_refused(self, text: str) -> bool:
        words = {"response_format": ("response_format", "json_schema", "schema"), "guided_choice": ("guided",)}
        assert self.constraint
        return any(word in text for word in words.get(self.constraint, (self.constraint,)))


def _next(values: Sequence[Any], value: object) -> Any:
    return values[values.index(value) + 1]
