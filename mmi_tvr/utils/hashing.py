"""Short hashes of everything that changes a number, so that vectors of different makers never meet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_BLOCK = 1 << 20


def digest(*parts: object) -> str:
    """Return 16 hex digits of the SHA-256 of the parts' canonical JSON. Anything JSON cannot carry raises TypeError.

    >>> digest("clip", {"size": 224}) == digest("clip", {"size": 224})
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in blocks (hashlib.file_digest needs Python 3.11)."""
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha256.update(block)
    return sha256.hexdigest()
