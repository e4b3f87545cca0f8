"""The proof that somebody was forgotten: every file of the library, byte by byte, holds nothing of theirs."""

from __future__ import annotations

import json
import mmap
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import MmiTvrError
from ...types import FloatArray
from ..catalogue import Catalogue
from ..catalogue_file import CATALOGUE
from ..former import FORMER_FILE
from ..rebuild import REBUILD_FILE

# Bytes of a pattern that are looked up at every offset. Not the first ones, which are zeros in a float64 that was a
# float32, and files have long runs of zeros.
_ANCHOR = slice(4, 12)
_BLOCK = 1 << 24
NAME = "the name"  # what a trace is that may be a word like any other: it need not mean the person
_SHORT_NAME = 4  # bytes: shorter names are looked for where they stand in quotes or brackets
_NAME_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that is left: of `what` kind, in a file of the library, at a byte of it (None: the file cannot be read,
    so that nobody can say)."""

    file: str
    what: str
    offset: int | None

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON (a documented contract)."""
        return {"file": self.file, "what": self.what, "offset": self.offset}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What must be nowhere: bytes by what they are, and forms of the name."""

    patterns: Mapping[bytes, str]
    names: frozenset[bytes]

    @classmethod
    def of(cls, names: Iterable[str], descriptors: Iterable[FloatArray], secrets: Iterable[bytes]) -> Evidence:
        """Return what must be nowhere of people.

        Args:
            names: as they were given.
            descriptors: (F,) each, of photos and of sightings.
            secrets: keys, and what was sealed with them.
        """
        patterns = dict.fromkeys(secrets, "a key or an encrypted row")
        for descriptor in descriptors:
            for kind, number in (("float32", "<f4"), ("float16", "<f2"), ("float64", "<f8")):
                patterns[np.asarray(descriptor, np.dtype(number)).tobytes()] = f"a descriptor ({kind})"
        return cls(patterns, frozenset(form for name in names for form in _name_forms(name)))


def _name_forms(name: str) -> Iterator[bytes]:
    """Yield the bytes that a name can be written as, in lower case as far as ASCII goes."""
    spellings = {unicodedata.normalize(form, cased) for form in ("NFC", "NFD") for cased in (name, name.casefold())}
    texts = spellings | {json.dumps(spelling)[1:-1] for spelling in spellings}
    for text in texts:
        for encoding in _NAME_ENCODINGS:
            written = text.encode(encoding, "surrogatepass").lower()
            if len(text.encode()) >= _SHORT_NAME:
                yield written
            else:
                for before, after in ('""', "[]", "''"):
                    yield before.encode(encoding) + written + after.encode(encoding)


def traces(folder: Path, evidence: Evidence) -> list[Trace]:
    """Return what is left of a person in the files of a library.

    The paths of its videos are left out: they are the names that its owner gave to files. A name of fewer than four
    bytes is looked for in quotes and brackets alone, because two letters are somewhere in any file.
    """
    own_paths = [path for path in _known_paths(folder) if any(name in path.lower() for name in evidence.names)]
    anchors = _anchors(evidence.patterns)
    result = []
    for path in sorted(file for file in folder.rglob("*") if file.is_file() or file.is_symlink()):
        name = str(path.relative_to(folder))
        try:
            with path.open("rb") as stream:
                if not os.fstat(stream.fileno()).st_size:
                    continue
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    result += [Trace(name, *hit) for hit in _in_file(content, evidence, anchors, own_paths)]
        except FileNotFoundError:
            continue
        except OSError as error:
            result.append(Trace(name, f"cannot be read ({error.strerror})", None))
    return result


def _in_file(
    content: mmap.mmap, evidence: Evidence, anchors: Mapping[bytes, list[bytes]], own_paths: Collection[bytes]
) -> Iterator[tuple[str, int]]:
    """Yield what is at which byte of a file; of a name, once a file."""
    overlap = max(map(len, (*evidence.patterns, *evidence.names, *own_paths)), default=0)
    names_left = evidence.names
    seen = set()
    for start in range(0, len(content), _BLOCK):
        block = content[max(0, start - overlap) : start + _BLOCK + overlap]
        first = max(0, start - overlap)
        for offset, pattern in _patterns_in(block, anchors):
            if first + offset not in seen:
                seen.add(first + offset)
                yield evidence.patterns[pattern], first + offset
        lowered = _without(block, own_paths).lower()
        middle = start - first  # names that lie wholly before or behind are of another block, as are paths around them
        for name in names_left:
            place = lowered.find(name, max(0, middle - len(name) + 1), middle + _BLOCK + len(name) - 1)
            if place >= 0:
                yield NAME, first + place
                names_left = frozenset()
                break


def _anchors(patterns: Mapping[bytes, str]) -> dict[bytes, list[bytes]]:
    """Return the patterns by the bytes that are looked up."""
    anchors: dict[bytes, list[bytes]] = {}
    for pattern in patterns:
        anchors.setdefault(pattern[_ANCHOR], []).append(pattern)
    return anchors


def _patterns_in(block: bytes, anchors: Mapping[bytes, list[bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and pattern of all that is in a block."""
    begins = np.zeros(1 << 16, bool)  # most offsets are ruled out by two bytes
    begins[[int.from_bytes(anchor[:2], "little") for anchor in anchors]] = True
    length = _ANCHOR.stop - _ANCHOR.start
    for shift in range(2):
        pairs = np.frombuffer(block, np.dtype("<u2"), offset=shift, count=(len(block) - shift) // 2)
        for place in (np.flatnonzero(begins[pairs]) * 2 + shift).tolist():
            for pattern in anchors.get(block[place : place + length], ()):
                offset = place - _ANCHOR.start
                if offset >= 0 and block.startswith(pattern, offset):
                    yield offset, pattern


def _without(block: bytes, own_paths: Collection[bytes]) -> bytes:
    for path in own_paths:
        block = block.replace(path, bytes(len(path)))
    return block


def _known_paths(folder: Path) -> Iterator[bytes]:
    """Yield the paths of videos and folders that the catalogues of a library know, the longest first."""
    paths = set()
    for name in (CATALOGUE, REBUILD_FILE, FORMER_FILE):
        if (folder / name).is_file():
            with suppress(MmiTvrError):  # then its paths count as traces
                catalogue = Catalogue.open_to_read(folder / name)
                try:
                    paths |= {os.fsencode(path) for path in catalogue.files()}
                    paths |= {os.fsencode(root.path) for root in catalogue.roots()}
                finally:
                    catalogue.close()
    yield from sorted(paths, key=len, reverse=True)
