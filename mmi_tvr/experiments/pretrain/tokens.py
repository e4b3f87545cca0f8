"""Conversations as tokens: all turns lie in one sequence behind what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from ...nn.losses import IGNORE_INDEX
from .conversations import AnswerSpan, Conversation


def groups_of_like_length(lengths: Sequence[int], count: int, device: torch.device) -> list[list[int]]:
    """Return the numbers of texts in `count` groups of like length, so that little is padding.

    Decision: on an accelerator there is one group. What a small model takes there is starts, and not padding.

    >>> groups_of_like_length([30, 10, 20, 11], 2, torch.device("cpu"))
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    size = -(-len(order) // (count if device.type == "cpu" else 1))
    return [order[first : first + size] for first in range(0, len(order), size)]


class TokenizedConversation(NamedTuple):
    """The tokens of one conversation: their ids, labels (the replies' own, IGNORE_INDEX elsewhere), the number of the
    turn that each belongs to (0: what the conversation is about), positions, which go on behind that in every turn, and
    whether the answer that a token belongs to is as expected up to there (IGNORE_INDEX where it belongs to none)."""

    ids: Sequence[int]
    labels: Sequence[int]
    turns: Sequence[int]
    positions: Sequence[int]
    agrees: Sequence[int]


class ConversationTokenizer:
    """Makes tokens of conversations, for a language model.

    Args:
        tokenizer: Of the language model.
        image_token: That stands for a part of a picture.
        tokens_per_image: How many of them a key image takes.
    """

    def __init__(self, tokenizer: Any, image_token: str, tokens_per_image: int) -> None:
        self._tokenizer, self._size = tokenizer, tokens_per_image
        self._image_id = int(tokenizer.convert_tokens_to_ids(image_token))

    def __call__(self, conversation: Conversation, key_images: int) -> TokenizedConversation:
        """Return a conversation's tokens; so many key images stand before its context, where it shows them."""
        tokenizer = self._tokenizer
        shown = key_images * self._size if conversation.with_images else 0
        ids = [tokenizer.bos_token_id, *[self._image_id] * shown]
        ids += tokenizer.encode(conversation.context, add_special_tokens=False) if conversation.context else []
        start = len(ids)
        labels, turns, positions = [IGNORE_INDEX] * start, [0] * start, [*range(start)]
        agrees = [IGNORE_INDEX] * start
        answers = conversation.answers or [()] * len(conversation.turns)
        for number, ((prompt, reply), spans) in enumerate(zip(conversation.turns, answers, strict=True), 1):
            tokens = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
            prompt_ids = tokens["input_ids"]
            reply_ids = [*tokenizer.encode(f" {reply}", add_special_tokens=False), tokenizer.eos_token_id]
            size = len(prompt_ids) + len(reply_ids)
            ids += prompt_ids + reply_ids
            labels += [IGNORE_INDEX] * len(prompt_ids) + reply_ids
            agrees += [_agrees(end, spans) for _, end in tokens["offset_mapping"]] + [IGNORE_INDEX] * len(reply_ids)
            turns += [number] * size
            positions += range(start, start + size)
        return TokenizedConversation(ids, labels, turns, positions, agrees)


def _agrees(end: int, spans: Iterable[AnswerSpan]) -> int:
    """Return whether a token that ends there belongs to what is as expected, IGNORE_INDEX where it belongs to no
    answer."""
    return next((int(end <= span.agreed) for span in spans if span.start < end <= span.end), IGNORE_INDEX)
