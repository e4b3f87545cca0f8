"""What an annotation says, before any video is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import UsageError
from ...utils.hashing import digest
from .annotations import Annotations


@dataclass(frozen=True, slots=True)
class Place:
    """Where a video may lie: a file of this name (suffix optional, any folder), and the span inside it in seconds."""

    name: str
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One annotated video; the first of `places` that is there is taken."""

    id: str
    captions: tuple[str, ...]
    places: tuple[Place, ...]

    @property
    def source(self) -> Place | None:
        """The longer video that it is a span of, where the annotation tells."""
        return next((place for place in self.places if place.end is not None), None)


@dataclass(frozen=True, slots=True)
class Size:
    """How many videos and captions a split has; None where that is not published."""

    videos: int | None
    captions: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A split as the annotation has it. `remarks` say what is cut, or other than it should be."""

    records: tuple[Record, ...]
    official: Size = field(default_factory=lambda: Size(None, None))
    remarks: tuple[str, ...] = ()

    @property
    def captions(self) -> int:
        return sum(len(record.captions) for record in self.records)


def listing(records: Sequence[Record], official: Size, read: Annotations, remarks: Sequence[str] = ()) -> Listing:
    """A Listing of the records that have captions. `read` knows which files are whole.

    Raises UsageError where all files are whole and the split has another size than the official one, where it has
    more than that in any case, and where nothing is left.
    """
    told = tuple(record for record in records if record.captions)
    found = Listing(told, official, (*read.remarks, *remarks))
    for count, wanted, unit in (
        (len(told), official.videos, "videos"),
        (found.captions, official.captions, "captions"),
    ):
        if wanted is not None and (count > wanted or (count < wanted and read.whole)):
            raise UsageError(
                f"{read.folder}: the split has {count:,} {unit}, and the official one {wanted:,}; "
                f"a file is missing, or they do not belong together ({', '.join(dict.fromkeys(read.used))})"
            )
    if not told:
        files = ", ".join(read.remarks or dict.fromkeys(read.used))
        raise UsageError(f"{read.folder}: no video of the split has a caption ({files})")
    if not found.remarks and official.videos is not None and len(told) < official.videos:
        return Listing(told, official, (f"cut: {len(told):,} of {official.videos:,} videos have captions",))
    return found


def carve(ids: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """A share of the ids, at least one and not all, chosen by a hash of seed and id: the same on every machine.

    >>> sorted(carve(["a", "b", "c", "d"], 0.5, seed=0)) == sorted(carve(["d", "c", "b", "a"], 0.5, seed=0))
    True
    """
    count = min(max(1, round(share * len(ids))), len(ids) - 1)
    return frozenset(sorted(ids, key=lambda each: (digest(seed, each), each))[:count])


def clip_of_youtube(name: str) -> tuple[Place, ...]:
    """The places of a clip named <YouTube id>_<start>_<end>: its own file, else its span of the whole video.

    Ids may hold underscores and hyphens themselves.

    >>> clip_of_youtube("-_b_c_0_12")[1]
    Place(name='-_b_c', start=0.0, end=12.0)
    """
    source, start, end = name.rsplit("_", 2) if name.count("_") >= 2 else (name, "", "")
    if not (source and start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        return (Place(name),)
    return Place(name), Place(source, float(start), float(end))
