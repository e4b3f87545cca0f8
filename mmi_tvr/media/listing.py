"""What a folder of media holds, from a list of its names alone: what is passed over, and which files are one.

Pure functions; who walks folders calls them once a folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from .names import PICTURE_SUFFIXES, RAW_SUFFIXES, VIDEO_SUFFIXES

# What file systems and appliances keep to themselves; all names that begin with a dot are hidden, too.
HIDDEN = frozenset(
    ("@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX")
)
# A folder with one of these in it is left out, with all that is below: its owner, or a program, said so.
STOPS = frozenset((".nomedia", ".trackerignore"))
CLIP_SUFFIXES = frozenset((".mov", ".mp4"))


@dataclass(frozen=True, slots=True)
class MediaItem:
    """What a person takes for one thing: a file, and a second one that belongs to it.

    `companion` is the clip of a live photo, or the RAW photo of a picture that the camera also wrote.
    """

    name: str
    companion: str | None = None


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over: hidden, a trash, or an appliance's own."""
    return name.startswith(".") or name in HIDDEN


def visible(names: Iterable[str]) -> list[str]:
    """Return the names in a folder that are looked at, in order; none where a mark says that the folder is left out.

    Sidecars (`IMG_1.jpg.xmp`, `IMG_1.AAE`) are no media by their suffixes.

    >>> visible(["b.jpg", "@eaDir", "._a.jpg", ".git", "a.jpg"])
    ['a.jpg', 'b.jpg']
    >>> visible(["a.jpg", ".nomedia"])
    []
    """
    names = list(names)
    if STOPS & set(names):
        return []
    return sorted(name for name in names if not is_hidden(name))


def items(names: Sequence[str], content_ids: Mapping[str, str] | None = None) -> list[MediaItem]:
    """Return what the pictures and films of one folder are: each alone, or two of them as one.

    One are a picture and a clip with the same content id (Apple's live photos); where neither has one, a picture and a
    `.mov` or `.mp4` of the same stem; and a picture and a RAW photo of the same stem. A stem that several pictures or
    several clips share joins nothing, because nobody knows which belong together.

    Args:
        names: of files in one folder.
        content_ids: of files that have one.

    >>> items(["a.HEIC", "a.MOV", "b.jpg", "b.nef", "c.jpg"])  # doctest: +NORMALIZE_WHITESPACE
    [MediaItem(name='a.HEIC', companion='a.MOV'), MediaItem(name='b.jpg', companion='b.nef'),
     MediaItem(name='c.jpg', companion=None)]
    """
    ids = content_ids or {}
    pictures = [name for name in names if _suffix(name) in PICTURE_SUFFIXES - RAW_SUFFIXES]
    clips = [name for name in names if _suffix(name) in CLIP_SUFFIXES]
    raws = [name for name in names if _suffix(name) in RAW_SUFFIXES]
    joined = _joined([name for name in pictures if name in ids], [name for name in clips if name in ids], ids)
    taken = {*joined, *joined.values()}
    stems = {name: PurePath(name).stem.casefold() for name in names}
    joined |= _joined(
        [name for name in pictures if name not in taken],
        [name for name in clips if name not in taken],
        stems,
        unlike=ids,
    )
    joined |= _joined([name for name in pictures if name not in joined], raws, stems)
    companions = set(joined.values())
    media = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    return [
        MediaItem(name, joined.get(name)) for name in sorted(names) if _suffix(name) in media and name not in companions
    ]


def _joined(
    firsts: Sequence[str], seconds: Sequence[str], keys: Mapping[str, str], unlike: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Pair names that alone have a key in common; not where both are in `unlike` with different values."""
    by_key: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for place, names in enumerate((firsts, seconds)):
        for name in names:
            by_key[keys[name]][place].append(name)
    ids = unlike or {}
    return {
        first[0]: second[0]
        for first, second in by_key.values()
        if len(first) == len(second) == 1 and not (first[0] in ids and second[0] in ids)
    }


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()
