"""Sentences as each layout's text tower was trained to read them: words, length, padding.

A tower answers to anything that can be tokenized, and answers worse the less it looks like its training; nothing fails.
So the rules stand here, whatever a checkpoint's tokenizer files say or leave open:

| layout | words | tokens | padding | what is read |
|---|---|---|---|---|
| CLIP | lower case (by its tokenizer) | 77 | changes nothing | the end token |
| MetaCLIP 2 | as they are | 77 | changes nothing | the end token |
| SigLIP, SigLIP 2 | lower case, no ASCII punctuation | 64 | all of it, right, not masked | the last place |
| Chinese-CLIP | lower case, straight quotation marks | 52 of 512 | masked | [CLS] |
| Jina-CLIP v2 | as they are | 512 | masked | the mean of all |
| DistilBERT | by its tokenizer | 512 | masked | [CLS] |

Sources: openai/CLIP `clip.tokenize`; facebookresearch/MetaCLIP `mini_clip/factory.py` and `model_worldwide.py`;
google-research/big_vision `prompt_engineering.canonicalize_text`, as open_clip and transformers' SiglipTokenizer have
it; NVlabs/RADIO PR 142 (12 points of zero-shot accuracy hang on it); transformers PR 43101, and its
`convert_siglip_to_hf` (no attention mask); OFA-Sys/Chinese-CLIP `training/data.py`, `clip/utils.py`;
jinaai/jina-clip-implementation `modeling_clip.py`. No prompt is put around a sentence: captions are what they were
trained on; only an instruction that settings of a Jina-CLIP name stands in front. What a tokenizer's file says of case
(`do_lower_case`) is obeyed where SigLIP's says no.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, one_line
from ..utils.loading import late_property
from ..utils.reading import MAX_CHARACTERS, characters_read
from . import pretrained
from .hub import LOCAL
from .quiet import quiet_loading
from .tokenizer_file import FileTokenizer

_CHINESE_CLIP_TOKENS = 52
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class TextRules:
    """What a layout does to sentences.

    `version` is part of the model's fingerprint, for what is computed from sentences is cached under that; empty for
    the layouts whose sentences go to the tokenizer as they are.
    """

    tokens: int
    normalise: Callable[[str], str] = str
    full_length: bool = False
    version: str = ""


def text_rules(config: Any, *, cased: bool = False) -> TextRules:
    """Return the rules of a checkpoint, from its settings as transformers reads them.

    `cased` is for the SigLIP checkpoints whose tokenizer's file says that they tell upper case from lower.
    """
    if config.model_type == "distilbert":
        return TextRules(int(config.max_position_embeddings))
    tokens = int(config.text_config.max_position_embeddings)
    if config.model_type == "jina_clip":
        instruction = config.text_config.instruction
        return TextRules(tokens, instruction.__add__, version=instruction)
    if config.model_type in ("siglip", "siglip2"):
        words = unpunctuated if cased else canonical
        return TextRules(tokens, words, full_length=True, version=f"{words.__name__}, unmasked")
    if config.model_type == "chinese_clip":
        return TextRules(min(tokens, _CHINESE_CLIP_TOKENS), straight_quotes, version="straight quotes, 52")
    return TextRules(tokens)


def canonical(text: str) -> str:
    """Return a sentence in lower case, without ASCII punctuation, and with single spaces.

    >>> canonical("A dog's  DAY: 骑自行车的人。")
    'a dogs day 骑自行车的人。'
    """
    return unpunctuated(text.lower())


def unpunctuated(text: str) -> str:
    """Return a sentence without ASCII punctuation, and with single spaces."""
    return " ".join(text.translate(_PUNCTUATION).split())


def straight_quotes(text: str) -> str:
    """Return a sentence in lower case, with the quotation marks that Chinese BERT's vocabulary has.

    >>> straight_quotes("“红色”的 CAR")
    '"红色"的 car'
    """
    return text.lower().replace("“", '"').replace("”", '"')


class SentenceReader:
    """Tokenizer of a checkpoint, held to the rules of its layout."""

    def __init__(self, folder: Path, config: Any) -> None:
        """Load the tokenizer; CLIP's without transformers, where its files allow it.

        Args:
            folder: of the checkpoint.
            config: its settings (`clip_settings.read`), or as transformers reads them.

        Raises:
            ModelNotFound: where it has none, or its end token is not the one that the tower looks for.
        """
        self._folder = folder
        self._file = FileTokenizer.read(folder) if config.model_type == "clip" else None
        if self._file is not None:
            self.rules = text_rules(config)
            return
        self.rules = text_rules(config, cased=self._tokenizer.init_kwargs.get("do_lower_case") is False)
        if config.model_type == "metaclip_2" and self._tokenizer.eos_token_id != config.text_config.eos_token_id:
            # The tower would read the first place instead, and every sentence would be the same.
            raise ModelNotFound(
                f"{folder}: its tokenizer ends a sentence with token {self._tokenizer.eos_token_id}, its text tower "
                f"looks for {config.text_config.eos_token_id}"
            )

    @late_property
    def _tokenizer(self) -> Any:
        """As transformers reads it."""
        return _load(self._folder)

    def __call__(self, texts: Sequence[str]) -> Mapping[str, Any]:
        """Return the inputs of the text tower for N sentences, as tensors; what is longer than it reads is cut."""
        normal = [self.rules.normalise(text[:MAX_CHARACTERS]) for text in texts]
        if self._file is not None and self._file.reads(normal):
            return self._file.padded(normal, self.rules.tokens)
        inputs: Mapping[str, Any] = self._tokenizer(
            normal,
            return_tensors="pt",
            truncation=True,
            max_length=self.rules.tokens,
            padding="max_length" if self.rules.full_length else True,
            padding_side="right",
            return_token_type_ids=False,
            return_attention_mask=not self.rules.full_length,
        )
        return inputs

    def characters_read(self, text: str) -> int:
        """Return how many characters of a sentence, from its start, the text tower reads."""
        return characters_read(text, lambda part: self.lengths([part])[0], self.rules.tokens)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens sentences have, with those that stand around them, before anything is cut."""
        if not texts:
            return []
        normal = [self.rules.normalise(text) for text in texts]
        if self._file is not None and self._file.reads(normal):
            return list(map(len, self._file.ids(normal)))
        return list(map(len, self._tokenizer(normal)["input_ids"]))


@quiet_loading()
def _load(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    try:
        return pretrained.tokenizer(folder)
    except ImportError as error:  # SigLIP's class needs sentencepiece; tokenizer.json says the same without it
        if (folder / "tokenizer.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(folder, **LOCAL)
        raise ModelNotFound(
            f"{folder}: its tokenizer needs packages that are not here: pip install sentencepiece protobuf"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{folder}: its tokenizer cannot be read: {one_line(error)}") from error
