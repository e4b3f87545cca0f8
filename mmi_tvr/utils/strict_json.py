r"""JSON that every parser reads and that still names every file: UTF-8 alone, no half characters, no NaN.

A file name that is no text stands there twice: as people see it (`printable`: "clip\xff.mp4"), and beside it, under
the same key with `_bytes` behind it, its bytes in base64, of a list those of each entry. Only such names have a second
entry. Decision: as ripgrep's --json does it, since `\udcff` alone is refused or changed by most parsers.

    os.fsdecode(base64.b64decode(hit["path_bytes"])) if "path_bytes" in hit else hit["path"]
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from .printable import UNSAFE, decoded, spelled

BYTES = "_bytes"
_HALF = re.compile("[\ud800-\udfff]")


def dumps(value: Any, *, indent: int | None = None, ascii_only: bool = False, sort_keys: bool = False) -> str:
    """Return a document as JSON. Raises ValueError for NaN and infinities.

    What a terminal would obey or hide (`printable`) is escaped, which says the same to every parser.

    Args:
        value: plain values: mappings, lists, texts, numbers.
        indent: spaces a level; None: one line.
        ascii_only: escape every other character, for a stream that is not UTF-8.
        sort_keys: order the keys of mappings.
    """
    encode = partial(json.dumps, indent=indent, allow_nan=False, sort_keys=sort_keys)
    try:
        text = encode(value, ensure_ascii=False)
    except TypeError:  # a mapping of another type than dict
        text = ""
    if not text or ascii_only or _HALF.search(text):
        text = encode(_strict(value), ensure_ascii=ascii_only)
    return UNSAFE.sub(lambda match: match[0] if match[0] in "\n\r" else f"\\u{ord(match[0]):04x}", text)


def loads(text: str | bytes) -> Any:
    """Return the document of `dumps`, names that are no text as Python has them. Raises ValueError where it is none."""
    return _restored(json.loads(text))


def _strict(value: Any) -> Any:
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, Mapping):
        strict: dict[Any, Any] = {}
        for key, inner in value.items():
            name = without_halves(key) if isinstance(key, str) else key
            strict[name] = _strict(inner)
            encoded = _encoded(inner)
            if encoded is not None:
                strict[f"{name}{BYTES}"] = encoded
        return strict
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    restored = {}
    for key, inner in value.items():
        name = key.removesuffix(BYTES)
        if name != key and name in value and type(inner) is type(value[name]):
            restored[name] = _decoded(inner)
        elif key not in restored:
            restored[key] = _restored(inner)
    return restored


def without_halves(text: str) -> str:
    """Return a text with its half characters spelled out."""
    return _HALF.sub(lambda match: spelled(match[0]), decoded(text)) if _HALF.search(text) else text


def _encoded(value: Any) -> str | list[str] | None:
    """Return the bytes of a name, or of each name of a list; None where all are texts."""
    if isinstance(value, str):
        return _base64(value) if _is_bytes(value) else None
    if isinstance(value, list | tuple) and value and all(isinstance(inner, str) for inner in value):
        return [_base64(inner) for inner in value] if any(map(_is_bytes, value)) else None
    return None


def _is_bytes(text: str) -> bool:
    """Return whether a text is a file name whose bytes are no UTF-8."""
    if not _HALF.search(text):
        return False
    try:
        return bool(_HALF.search(os.fsencode(text).decode("utf-8", "surrogateescape")))
    except UnicodeError:  # half characters of a text, which is no file name
        return False


def _base64(text: str) -> str:
    return base64.b64encode(os.fsencode(text)).decode("ascii")


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(inner) for inner in value]
    return os.fsdecode(base64.b64decode(value))
