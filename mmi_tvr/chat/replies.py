"""What a language model replies: the answer behind its thinking, and what a server's chat completion holds."""

from __future__ import annotations

import re
from textwrap import shorten
from typing import Any

from ..errors import AnswerError
from ..types import clean_text

_TAGS = "(?:think|thinking|thought|reasoning)"  # of DeepSeek, Qwen and those that follow them; Kimi's are of its own
_THINKING_BEGINS = re.compile(rf"<{_TAGS}>|◁think▷", re.IGNORECASE)
_THINKING_ENDS = re.compile(rf"</{_TAGS}>|◁/think▷", re.IGNORECASE)
_REFUSAL_LENGTH = 200  # characters of it that are shown
_TEXT_PARTS = ("text", "output_text")  # of a reply; others hold thinking, or pictures


def as_answer(reply: str) -> str | AnswerError:
    """Return a reply as an answer: one clean line, without what the model thought before it, and never an empty one.

    Decision: an answer begins behind the last end of thinking; where thinking begins and does not end, there is none.

    >>> as_answer("<think>\\nIt may be blue.\\n</think>\\n a red circle\\n"), as_answer(" ")
    ('a red circle', AnswerError('the model said nothing'))
    """
    ends = [match.end() for match in _THINKING_ENDS.finditer(reply)]
    answer = reply[ends[-1] :] if ends else reply
    if _THINKING_BEGINS.search(answer):
        return AnswerError("the model was still thinking when its reply ended: give it more tokens (max_tokens)")
    return " ".join(clean_text(answer).split()) or AnswerError("the model said nothing")


def completion(document: Any, limit: int) -> str | AnswerError:
    """Return the answer in a chat completion, or why it holds none.

    Decision: a reply that was cut off is none, because half an answer is another one.

    Args:
        document: the server's JSON.
        limit: the tokens that it was allowed, for the message.
    Raises:
        KeyError, IndexError, TypeError: it is no chat completion.
    """
    choice = document["choices"][0]
    message, end = choice["message"], choice.get("finish_reason")
    if end == "length":
        return AnswerError(f"the reply was cut off after {limit} tokens: give it more (max_tokens)")
    if end == "content_filter":
        return AnswerError("the server's filter kept the reply back")
    text = message.get("content")
    if isinstance(text, list):
        text = "".join(part["text"] for part in text if part.get("type") in _TEXT_PARTS)
    if isinstance(text, str):
        return as_answer(text)
    refusal = message.get("refusal")
    if refusal:
        return AnswerError(f"the model refuses: {shorten(clean_text(str(refusal)), _REFUSAL_LENGTH)}")
    return AnswerError("the server's reply holds no text")
