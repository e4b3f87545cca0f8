"""A checkpoint's tokenizer.json, read by the package `tokenizers` alone: a search need not wait for transformers.

Held to transformers' tokenizers by a test. Texts with a special token written out are left to these: how they read such
a one depends on more than the file.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from . import hub

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_FILE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_LEGACY_NAMES, _LEGACY_ADDED = "special_tokens_map.json", "added_tokens.json"  # of settings without _ADDED
_AS_IN_THE_FILE = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})  # classes that add nothing to it
_CLIP = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
# Kinds of checkpoints whose tokenizers have the class that their settings name. transformers overrules those of others.
_KINDS = {"clip": _AS_IN_THE_FILE | _CLIP, "llava": _AS_IN_THE_FILE, None: _AS_IN_THE_FILE | _CLIP}
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_NEEDED_BY_CLIP = ("bos_token", "eos_token", "unk_token", "pad_token")  # its class has defaults of its own for these
_MORE = ("extra_special_tokens", "additional_special_tokens")  # the former is the newer name
_ADDED = "added_tokens_decoder"
# Settings that change no ids, whatever they say. Decision: a tokenizer with any other setting that is not known here is
# left to transformers, which knows more of them from year to year.
_SILENT = frozenset(
    {
        "add_prefix_space",
        "chat_template",
        "clean_up_tokenization_spaces",
        "do_lower_case",
        "errors",
        "is_local",
        "local_files_only",
        "model_max_length",
        "name_or_path",
        "padding_side",
        "processor_class",
        "special_tokens_map_file",
        "tokenizer_class",
    }
)
# Settings that change no ids as long as they say this.
_USUAL = {
    "add_bos_token": False,
    "add_eos_token": False,
    "backend": "tokenizers",
    "split_special_tokens": False,
    "truncation_side": "right",
}
_MOST_WORDS = 100_000  # transformers mends some of the larger vocabularies
# As transformers' CLIPTokenizer has it, whatever a checkpoint calls these two tokens.
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class FileTokenizer:
    """Texts -> token ids, with those that a checkpoint puts around them."""

    def __init__(self, tokenizer: Tokenizer, special_tokens: Sequence[str], padding: str) -> None:
        """Take over a tokenizer, the tokens that are no text, and the one of them that fills up."""
        self.special_tokens = tuple(special_tokens)
        self._tokenizer = tokenizer
        self._padding_id = cast(int, tokenizer.token_to_id(padding))
        tokenizer.no_truncation()  # both are done here: threads share a tokenizer, and its settings with it
        tokenizer.no_padding()
        self._added = [_folded(token.content) for token in tokenizer.get_added_tokens_decoder().values()]

    @classmethod
    def read(cls, folder: Path) -> FileTokenizer | None:
        """Return the tokenizer of a checkpoint; None where transformers may read it otherwise."""
        from tokenizers import Tokenizer

        try:
            settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            tokenizer = Tokenizer.from_file(str(folder / _FILE))
            names = _special_tokens(settings)
            is_plain = _is_plain(folder, settings, tokenizer)
            padding = settings.get("pad_token") or settings.get("eos_token")
        except Exception:  # tokenizers raises nothing narrower; transformers says what is wrong
            return None
        if not is_plain or padding is None or not _are_special(tokenizer, names):
            return None
        if settings["tokenizer_class"] in _CLIP:
            if not _is_clip(tokenizer, settings):
                return None
            _as_clip(tokenizer, _content(settings["bos_token"]), _content(settings["eos_token"]))
        elif tokenizer.post_processor is None:
            return None
        return cls(tokenizer, names, _content(padding))

    def reads(self, texts: Sequence[str]) -> bool:
        """Return whether no text has a special token written out, however it is spaced, composed or capitalised."""
        return not any(token in _folded(text) for text in texts for token in self._added)

    def is_a_token(self, number: int) -> bool:
        """Return whether the token of an id, written out, is this id alone."""
        token = self._tokenizer.id_to_token(number)
        return token is not None and self._tokenizer.encode(token, add_special_tokens=False).ids == [number]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts, whole."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def padded(self, texts: Sequence[str], limit: int | None = None) -> dict[str, Any]:
        """Return `input_ids` and `attention_mask` (N, L) of N texts as tensors, padded on the right.

        limit: so many tokens are read; None: all.
        """
        import torch

        rows = self.ids(texts)
        if limit is not None:
            rows = [self._cut(text, limit) if len(ids) > limit else ids for text, ids in zip(texts, rows, strict=True)]
        longest = max(map(len, rows))
        return {
            "input_ids": torch.tensor([ids + [self._padding_id] * (longest - len(ids)) for ids in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in rows]),
        }

    def _cut(self, text: str, limit: int) -> list[int]:
        """Return the ids of the beginning of a text, so many of them with those that stand around it."""
        encoding: Encoding = self._tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(limit - self._tokenizer.num_special_tokens_to_add(False))
        ids: list[int] = self._tokenizer.post_process(encoding).ids
        return ids

    def first_tokens(self, text: str, limit: int) -> str:
        """Return the beginning of a text that has so many tokens at most."""
        encoding: Encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = encoding.offsets[:limit]
        return text[: offsets[-1][1]] if offsets else ""


def _content(token: str | Mapping[str, Any]) -> str:
    """Return the text of a token as settings name it."""
    return token if isinstance(token, str) else str(token["content"])


def _folded(text: str) -> str:
    """Return a text composed, in lower case and with single spaces, as a tokenizer may read it."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).lower()


def _special_tokens(settings: Mapping[str, Any]) -> list[str]:
    """Return the tokens that settings name, each once, in transformers' order."""
    names = [_content(settings[name]) for name in _NAMED if settings.get(name)]
    names += [token for more in _MORE for token in settings.get(more) or ()]
    return list(dict.fromkeys(names))


def _is_plain(folder: Path, settings: Mapping[str, Any], tokenizer: Tokenizer) -> bool:
    """Return whether a checkpoint says nothing of its tokenizer that is not in its file, or known here to be silent."""
    if settings.get("tokenizer_class") not in _KINDS.get(hub.model_type(folder), frozenset()):
        return False
    if not settings.keys() <= {*_SILENT, *_USUAL, *_NAMED, *_MORE, _ADDED}:
        return False
    if any(settings.get(name, usual) != usual for name, usual in _USUAL.items()):
        return False
    more = [settings[name] for name in _MORE if settings.get(name)]
    if len(more) > 1 or not all(isinstance(token, str) for tokens in more for token in tokens):
        return False
    if not all(isinstance(tokens, list) for tokens in more) or tokenizer.get_vocab_size() > _MOST_WORDS:
        return False
    truncation, padding = tokenizer.truncation, tokenizer.padding
    if truncation is not None and truncation["direction"] != "right":
        return False
    if padding is not None and (padding["pad_to_multiple_of"] or not settings.get("pad_token")):
        return False
    if not settings.get("pad_token") and hub.model_type(folder) != "llava":  # `Llava` pads with the end token then
        return False
    return _added_as_in_the_file(folder, settings, tokenizer)


def _added_as_in_the_file(folder: Path, settings: Mapping[str, Any], tokenizer: Tokenizer) -> bool:
    """Return whether what else is said of added tokens repeats what the tokenizer's own file says."""
    from tokenizers import AddedToken

    added = tokenizer.get_added_tokens_decoder()
    if _ADDED in settings:
        return {int(number): AddedToken(**token) for number, token in settings[_ADDED].items()} == added
    if (folder / _LEGACY_NAMES).is_file():
        named = json.loads((folder / _LEGACY_NAMES).read_text(encoding="utf-8"))
        if any(name not in _NAMED or _content(token) != _content(settings[name]) for name, token in named.items()):
            return False
    if (folder / _LEGACY_ADDED).is_file():
        numbers = json.loads((folder / _LEGACY_ADDED).read_text(encoding="utf-8"))
        return all(number in added and added[number].content == token for token, number in numbers.items())
    return True


def _are_special(tokenizer: Tokenizer, names: Sequence[str]) -> bool:
    """Return whether a file says of all these tokens that they are no text; transformers would add what is not."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    return special >= set(names)


def _is_clip(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> bool:
    """Return whether a file's words are pieces as CLIP's are, and what is added to them are special tokens among these.

    transformers makes this kind anew, from the pieces in the file.
    """
    from tokenizers.models import BPE

    model = tokenizer.model
    if not isinstance(model, BPE) or any(not settings.get(name) for name in _NEEDED_BY_CLIP):
        return False
    if model.fuse_unk or model.byte_fallback or model.ignore_merges or model.dropout is not None:
        return False
    if model.unk_token != _content(settings["unk_token"]) or model.end_of_word_suffix != "</w>":
        return False
    added = tokenizer.get_added_tokens_decoder().items()
    return not model.continuing_subword_prefix and all(
        token.special and model.token_to_id(token.content) == number for number, token in added
    )


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
