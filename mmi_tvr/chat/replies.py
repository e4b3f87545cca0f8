"""What a language model replies: the answer behind its thinking, and what a server's chat completion holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from ..errors import AnswerError
from ..types import clean_text
from .refusals import is_refusal

# What reading a server's JSON raises, where it is not what it should be: another shape, no number, nested without end.
NOT_A_COMPLETION = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

_MOST_TOKENS = 10**9  # a count above is no count
_LONGEST_TOKEN = 40  # characters a token, on the average of a whole answer
_TAGS = "(?:think|thinking|thought|reasoning)"  # of DeepSeek, Qwen and those that follow them; Kimi's are of its own
_THINKING_BEGINS = re.compile(rf"<{_TAGS}>|◁think▷", re.IGNORECASE)
_THINKING_ENDS = re.compile(rf"</{_TAGS}>|◁/think▷", re.IGNORECASE)
_REFUSAL_LENGTH = 200  # characters of it that are shown
_TEXT_PARTS = ("text", "output_text")  # of a reply; others hold thinking, or pictures
_LABEL = re.compile(r"^[^\w{[]{0,3}(?:answer|答案|回答)\W{0,3}[:：]\W{0,3}", re.IGNORECASE)
_PAIRS = frozenset(zip("\"'“‘«「*_`", "\"'”’»」*_`", strict=True))  # what stands around an answer
_FULL_STOPS = (".", "。", "．")
_SENTENCE_ENDS = re.compile(r"[.!?]\s|[。！？]")


def as_answer(reply: str) -> str | AnswerError:
    """Return a reply as an answer: one clean line, without what the model thought before it, and never an empty one.

    Decisions: an answer begins behind the last end of thinking; where thinking begins and does not end, there is none.
    Labels, quotation marks, emphasis and a full stop around it are no part of it. A refusal is no answer.

    >>> as_answer("<think>\\nIt may be blue.\\n</think>\\n a red circle\\n"), as_answer(" ")
    ('a red circle', AnswerError('the model said nothing'))
    >>> as_answer("**Answer:** Yes."), as_answer("是。"), as_answer("I'm sorry, I can't see images.")
    ('Yes', '是', AnswerError("the model refuses: I'm sorry, I can't see images."))
    """
    if is_still_thinking(reply):
        return AnswerError("the model was still thinking when its reply ended: give it more tokens (max_tokens)")
    answer = " ".join(clean_text(reply[thinking_end(reply) :]).split())
    if is_refusal(answer):
        return _refused(answer)
    return _bare(answer) or AnswerError("the model said nothing")


def _bare(answer: str) -> str:
    """Return an answer without its label, what surrounds it, and the full stop of an only sentence."""
    bare = _LABEL.sub("", answer).strip()
    while len(bare) > 1 and (bare[0], bare[-1]) in _PAIRS:
        bare = bare[1:-1].strip()
    if bare[-1:] in _FULL_STOPS and not _SENTENCE_ENDS.search(bare[:-1]) and not bare.endswith(".."):
        bare = bare[:-1].rstrip()
    return bare


def _refused(text: str) -> AnswerError:
    return AnswerError(f"the model refuses: {shorten(text, _REFUSAL_LENGTH)}")


def thinking_end(reply: str) -> int:
    """Return where the answer begins: behind the last end of thinking; 0 where there is none.

    >>> thinking_end("<think> hm </think>yes"), thinking_end("yes")
    (19, 0)
    """
    return max((match.end() for match in _THINKING_ENDS.finditer(reply)), default=0)


def is_still_thinking(reply: str) -> bool:
    """Return whether a reply begins to think and does not end."""
    return bool(_THINKING_BEGINS.search(reply, thinking_end(reply)))


def completion(document: Any, limit: int) -> str | AnswerError:
    """Return the answer in a chat completion, or why it holds none.

    Decision: a reply that was cut off is none, because half an answer is another one.

    Args:
        document: the server's JSON.
        limit: the tokens that it was allowed, for the message.
    Raises:
        NOT_A_COMPLETION: it is no chat completion.
    """
    choice = document["choices"][0]
    message, end = choice["message"], choice.get("finish_reason")
    text, refusal = message_text(message), message.get("refusal")
    if end == "length":
        return AnswerError(f"the reply was cut off after {limit} tokens: give it more (max_tokens)")
    if end == "content_filter":
        return AnswerError("the server's filter kept the reply back")
    if isinstance(text, str):
        answer = as_answer(text)
        if isinstance(answer, str) and len(answer) > _LONGEST_TOKEN * limit:
            return AnswerError(f"the reply has {len(answer):,} characters, though {limit} tokens were asked for")
        return answer
    if refusal:
        return _refused(clean_text(str(refusal)))
    return AnswerError("the server's reply holds no text")


def message_text(message: Mapping[str, Any]) -> Any:
    """Return the text of a message, where it comes in parts, too; None, or what is no text, where it holds none.

    >>> message_text({"content": [{"type": "thinking"}, {"type": "text", "text": "yes"}]})
    'yes'
    """
    text = message.get("content")
    if isinstance(text, list):
        return "".join(part["text"] for part in text if part.get("type") in _TEXT_PARTS)
    return text


def counted_tokens(document: Any, *names: str) -> int | None:
    """Return a number of tokens that a server counted, by its place in `usage`; None where there is no such number.

    >>> counted_tokens({"usage": {"prompt_tokens": 3}}, "prompt_tokens")
    3
    >>> counted_tokens({"usage": "n/a"}, "prompt_tokens") is None
    True
    """
    value = document
    for name in ("usage", *names):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None
