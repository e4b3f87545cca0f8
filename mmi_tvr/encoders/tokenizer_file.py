"""A checkpoint's tokenizer.json, read by the package `tokenizers` alone: a search need not wait for transformers.

Held to transformers' tokenizers by a test. Texts with a special token written out are left to these: how they read such
a one depends on more than the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_FILE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_AS_IN_THE_FILE = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})  # classes that add nothing to it
_CLIP = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MORE = ("extra_special_tokens", "additional_special_tokens")  # the former is the newer name
_CHANGES = ("add_bos_token", "add_eos_token", "auto_map", "split_special_tokens")  # settings that change the ids
_MOST_WORDS = 100_000  # transformers mends some of the larger vocabularies
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class FileTokenizer:
    """Texts -> token ids, with those that a checkpoint puts around them."""

    def __init__(self, tokenizer: Tokenizer, special_tokens: Sequence[str], padding: str) -> None:
        """Take over a tokenizer, the tokens that are no text, and the one of them that fills up."""
        self.special_tokens = tuple(special_tokens)
        self._tokenizer = tokenizer
        self._padding = padding

    @classmethod
    def read(cls, folder: Path) -> FileTokenizer | None:
        """Return the tokenizer of a checkpoint; None where transformers may read it otherwise."""
        from tokenizers import Tokenizer

        try:
            settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            tokenizer = Tokenizer.from_file(str(folder / _FILE))
            names = [_content(settings[name]) for name in _NAMED if settings.get(name)]
            names += map(
                _content, settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or ()
            )
        except Exception:  # tokenizers raises nothing narrower; transformers says what is wrong
            return None
        padding = settings.get("pad_token") or settings.get("eos_token")
        if padding is None or any(settings.get(name) for name in _CHANGES):
            return None
        if tokenizer.get_vocab_size() > _MOST_WORDS or any(tokenizer.token_to_id(name) is None for name in names):
            return None
        kind = settings.get("tokenizer_class")
        if kind in _CLIP:
            if not _is_clip(tokenizer):
                return None
            _as_clip(tokenizer, _content(settings["bos_token"]), _content(settings["eos_token"]))
        elif kind not in _AS_IN_THE_FILE or tokenizer.post_processor is None or not _are_special(tokenizer, names):
            return None
        return cls(tokenizer, list(dict.fromkeys(names)), _content(padding))

    def reads(self, texts: Sequence[str]) -> bool:
        """Return whether no text has a special token written out."""
        special = [token.lower() for token in self.special_tokens]
        return not any(token in text.lower() for text in texts for token in special)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, whole."""
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def padded(self, texts: Sequence[str], limit: int | None = None) -> dict[str, Any]:
        """Return `input_ids` and `attention_mask` (N, L) of N texts as tensors, padded on the right.

        limit: so many tokens are read; None: all.
        """
        import torch

        if limit is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(limit)
        self._tokenizer.enable_padding(pad_id=self._tokenizer.token_to_id(self._padding), pad_token=self._padding)
        encodings = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": torch.tensor([encoding.ids for encoding in encodings]),
            "attention_mask": torch.tensor([encoding.attention_mask for encoding in encodings]),
        }

    def first_tokens(self, text: str, limit: int) -> str:
        """Return the beginning of a text that has so many tokens at most."""
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        encoding: Encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = encoding.offsets[:limit]
        return text[: offsets[-1][1]] if offsets else ""


def _content(token: str | Mapping[str, Any]) -> str:
    """Return the text of a token as settings name it."""
    return token if isinstance(token, str) else str(token["content"])


def _are_special(tokenizer: Tokenizer, names: Sequence[str]) -> bool:
    """Return whether a file says of all these tokens that they are no text; transformers would add what is not."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    return special >= set(names)


def _is_clip(tokenizer: Tokenizer) -> bool:
    """Return whether a file's words are pieces as CLIP's are."""
    from tokenizers.models import BPE

    model = tokenizer.model
    if not isinstance(model, BPE) or model.fuse_unk or model.dropout is not None:
        return False
    return model.end_of_word_suffix == "</w>" and not model.continuing_subword_prefix


def _as_clip(tokenizer: Tokenizer, begin: str, end: str) -> None:
    """Have a tokenizer split texts as openai/CLIP does, whatever its file says; so does transformers."""
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    end_id, begin_id = (cast(int, tokenizer.token_to_id(token)) for token in (end, begin))
    tokenizer.post_processor = processors.RobertaProcessing((end, end_id), (begin, begin_id), False, False)
