"""What an indexing run makes of each file: new, changed, moved, a copy; and its bytes as a hash, or why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from ..errors import MediaError, UnreadableFile
from ..features.cache import Source, stamp_of
from ..types import Embeddings
from ..utils.hashing import file_digest
from ..utils.names import composed, only_fit
from .catalogue import File
from .scan import NOT_A_FILE, UNREADABLE, Scan, is_away

Tag = Literal["added", "unchanged", "moved", "changed", "copies"]


def count_tags(tags: Mapping[Path, Tag], resumed: Collection[Path]) -> Counter[str]:
    """Count files by tag; of unchanged ones, those whose embedding an earlier run left to this one are added."""
    return Counter("added" if tag == "unchanged" and path in resumed else tag for path, tag in tags.items())


def hash_file(path: Path, scanned: Scan) -> tuple[str | None, str | None]:
    """Return the SHA-256 of a file and None, or None and the reason why there is none."""
    if scanned.files[path] == UNREADABLE:
        return None, scanned.refused[path]
    try:
        return file_digest(path), None
    except OSError as error:
        return None, error.strerror or str(error)


def may_come_back(path: Path, reason: str) -> bool:
    """Return whether a known file that cannot be read now may be as it was: its disk or its permissions are away.

    Of a link to nothing, the folder that it points into says whether its disk is away.
    """
    return reason != NOT_A_FILE and (not path.is_symlink() or is_away(path))


def known_spelling(path: Path, known: Collection[Path]) -> Path:
    """Return the known path, or folder of known paths, that differs from a path in its Unicode form alone; else it.

    Raises UsageError where several do, and none is spelled like it.
    """
    if str(path).isascii() or any(other.is_relative_to(path) for other in known):
        return path
    above = {Path(*other.parts[: len(path.parts)]) for other in known}
    return only_fit(path, sorted(other for other in above if composed(str(other)) == composed(str(path)))) or path


def tag_of(before: File | None, number: int | None, content_was_known: bool) -> Tag:
    """Return what a freshly read file is.

    Args:
        before: the catalogue's last word on its path; None for a new path.
        number: the content that it leads to; None where it could not be read.
        content_was_known: whether the catalogue knew that content.
    """
    if before is None:
        return "copies" if content_was_known else "added"
    if before.content == number:
        return "unchanged"
    return "added" if before.content is None else "changed"


def is_final(source: Source, outcome: Embeddings | MediaError) -> bool:
    """Return whether an outcome is about the bytes that were hashed; if not, their content goes on waiting."""
    if isinstance(outcome, Embeddings):
        return True
    if isinstance(outcome, UnreadableFile):
        return False
    try:
        return stamp_of(source.video.path) == source.stamp
    except OSError:
        return False
