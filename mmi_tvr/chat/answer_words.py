"""The two answers of a closed question in the spellings of models and tokenizers: "Yes.", " yes", "▁YES", "是"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

# Other words for the same: what a model of another language says to an English question.
_OTHER_WORDS = {"yes": ("是", "是的", "对", "对的"), "no": ("否", "不", "不是", "不对", "不是的")}
_SPACES = "Ġ▁ĊĉÂ"  # how vocabularies write white space, where a server hands out their entries as they are
_ENDS = re.compile(r"^[\W_]+|[\W_]+$")
_LABEL = re.compile(r"^[\W_]*(?:answer|答案)[\W_]+", re.IGNORECASE)
MIN_SHARE = 0.05  # of the two answers together, below which a model says something else (decision)


class AnswerWords:
    """The words that count for and against, and what counts as one of them.

    >>> words = AnswerWords("yes", "no")
    >>> words.verdict("**Yes**, both do."), words.verdict('{"answer": "no"}'), words.verdict("是。")
    (True, False, True)
    >>> words.verdict("I cannot say.") is None
    True
    """

    def __init__(self, positive: str, negative: str) -> None:
        self.positive, self.negative = positive, negative
        self._words = dict.fromkeys(_same_words(positive), True) | dict.fromkeys(_same_words(negative), False)

    def verdict(self, reply: str) -> bool | None:
        """Return whether a reply begins with the positive answer or the negative one; None: with neither."""
        text = _plain(reply[label_end(reply) :])
        for word in sorted(self._words, key=len, reverse=True):
            if text == word or (text.startswith(word) and not text[len(word)].isalnum()):
                return self._words[word]
        return None

    def token_verdict(self, token: str) -> bool | None:
        """Return which answer a reply's first token begins; None: none, or it may be the beginning of either.

        >>> words = AnswerWords("yes", "no")
        >>> words.token_verdict("▁Y"), words.token_verdict("no"), words.token_verdict("now")
        (True, False, None)
        """
        text = _plain(token)
        answers = {answer for word, answer in self._words.items() if text and word.startswith(text)}
        return answers.pop() if len(answers) == 1 else None

    def _sum(self, answer: bool, shares: Sequence[tuple[str, float]]) -> float:
        """Return the probability of all tokens that are an answer, else of those that begin it."""
        tokens = [(token, share) for token, share in shares if self.token_verdict(token) is answer]
        return sum(share for token, share in tokens if _plain(token) in self._words) or sum(
            share for _, share in tokens
        )

    def probability(self, alternatives: Iterable[tuple[str, float]]) -> float | None:
        """Return P(positive) / (P(positive) + P(negative)) of the first token of an answer.

        All spellings of a word count together; a token that only begins one, where no whole one is listed. Decision: of
        an answer that is not listed, the most that it can have is counted: the probability of the last that is listed,
        or all that is left.

        Args:
            alternatives: tokens with their log-probabilities, the likeliest ones, any number.

        Returns:
            The probability; None where both answers together are unlikely: the model says something else.

        >>> words = AnswerWords("yes", "no")
        >>> words.probability([("Yes", math.log(0.6)), (" yes", math.log(0.2)), ("no", math.log(0.2))])
        0.8
        >>> words.probability([("yes", math.log(0.6))])
        0.6
        """
        shares = [(token, math.exp(min(logprob, 0.0))) for token, logprob in alternatives]
        sums = {answer: self._sum(answer, shares) for answer in (True, False)}
        if sums[True] + sums[False] < MIN_SHARE:
            return None
        unlisted = min(min(share for _, share in shares), max(0.0, 1 - sum(share for _, share in shares)))
        positive, negative = sums[True] or unlisted, sums[False] or unlisted
        return round(positive / (positive + negative), 12)


def spellings(word: str) -> tuple[str, ...]:
    """Return a word as models write it at the beginning of an answer, with and without a space before it.

    >>> spellings("yes")[:4]
    ('yes', ' yes', 'Yes', ' Yes')
    """
    words = [form for plain in _same_words(word) for form in (plain, plain.capitalize(), plain.upper())]
    return tuple(space + form for form in dict.fromkeys([word, *words]) for space in ("", " "))


def label_end(text: str) -> int:
    """Return where a text begins behind a label: `Answer:`, or the key of a JSON object; 0 where there is none.

    >>> label_end("Answer: yes"), label_end('{"answer": "yes"}'), label_end("yes")
    (8, 12, 0)
    """
    label = _LABEL.match(text)
    return label.end() if label else 0


def is_blank(token: str) -> bool:
    """Return whether a token holds no word: white space, quotation marks, emphasis."""
    return not _plain(token)


def _plain(text: str) -> str:
    """Return a text in lower case, without white space, marks and emphasis at its ends."""
    return _ENDS.sub("", text.strip(_SPACES).casefold())


def _same_words(word: str) -> tuple[str, ...]:
    plain = _plain(word) or word
    return (plain, *_OTHER_WORDS.get(plain, ()))
