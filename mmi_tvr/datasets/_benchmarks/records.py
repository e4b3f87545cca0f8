"""What an annotation says, before any video is looked for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import UsageError
from ...types import Saliency, clean_text
from ...utils.hashing import digest
from ...utils.wording import counted
from .annotations import Annotations

_SECONDS = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class VideoLocation:
    """Where a video may lie: a file of this name (suffix optional, any folder), and the span inside it in seconds."""

    name: str
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedMoment:
    """A sentence, and when it happens, in seconds from where its video's location begins; `repeated` are further
    spans of which it is true as well, `annotated` those that several annotators gave, `saliency` their ratings.

    ValueError for a span that lies in no video: before its start, without an end, or written backwards.
    """

    text: str
    start: float
    end: float
    repeated: tuple[tuple[float, float], ...] = ()
    annotated: tuple[tuple[float, float], ...] = ()
    saliency: Saliency | None = None

    def __post_init__(self) -> None:
        for start, end in ((self.start, self.end), *self.repeated):
            if not 0 <= start < end < math.inf:
                raise ValueError(f"from {start:g} s to {end:g} s is no span of a video: {self.text[:40]!r}")


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """A video of an annotation; the first of its locations that is there is taken. `moments` say when in it things
    happen."""

    id: str
    captions: tuple[str, ...]
    locations: tuple[VideoLocation, ...]
    moments: tuple[AnnotatedMoment, ...] = ()

    @property
    def source(self) -> VideoLocation | None:
        """The longer video that it is a span of, where the annotation says."""
        return next((location for location in self.locations if location.end is not None), None)


@dataclass(frozen=True, slots=True)
class SplitSize:
    """How many videos and captions a split has; None where that is not published."""

    videos: int | None
    captions: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A split as the annotation has it. `remarks` say what is cut, or other than it should be."""

    videos: tuple[AnnotatedVideo, ...]
    official: SplitSize = field(default_factory=lambda: SplitSize(None, None))
    remarks: tuple[str, ...] = ()

    @property
    def captions(self) -> int:
        """How many captions all videos have together."""
        return sum(len(video.captions) for video in self.videos)


def checked_listing(
    videos: Sequence[AnnotatedVideo],
    official: SplitSize,
    annotations: Annotations,
    remarks: Sequence[str] = (),
    *,
    distractors: bool = False,
) -> Listing:
    """Return a Listing of the videos that have captions.

    Decision: of a list of captions the empty ones are left out, and a remark counts them; the size of the official
    split shows whether they should be there. Where a line holds a single caption, an empty one is an error (`caption`).

    Args:
        videos: of the split, in the order of the annotation.
        official: how many there should be.
        annotations: what they were read from; knows which files are complete.
        remarks: of the adapter, for a reader of results.
        distractors: videos without captions belong to the split, too.
    Raises:
        UsageError: all files are complete and the split has another size than the official one, it has more than that
            in any case, a video is listed twice, or nothing is left.
    """
    whole = [replace(video, captions=tuple(filter(None, video.captions))) for video in videos]
    captioned = tuple(video for video in whole if video.captions or distractors)
    _refuse_repeated(captioned, annotations)
    remarks = (*annotations.remarks, *remarks)
    if empty := sum(len(video.captions) for video in videos) - sum(len(video.captions) for video in captioned):
        remarks = (*remarks, f"without {counted(empty, 'empty caption')}")
    listing = Listing(captioned, official, remarks)
    for count, official_count, unit in (
        (len(captioned), official.videos, "video"),
        (listing.captions, official.captions, "caption"),
    ):
        if official_count is None or count == official_count:
            continue
        if count > official_count or annotations.complete:
            raise UsageError(
                f"{annotations.folder}: the split has {counted(count, unit)}, and the official one {official_count:,}; "
                f"a file is missing, or they do not belong together ({', '.join(dict.fromkeys(annotations.used))})"
            )
    if not listing.captions:
        files = ", ".join(annotations.remarks or dict.fromkeys(annotations.used))
        raise UsageError(f"{annotations.folder}: no video of the split has a caption ({files})")
    if not listing.remarks and official.videos is not None and len(captioned) < official.videos:
        return Listing(
            captioned, official, (f"cut: {len(captioned):,} of {counted(official.videos, 'video')} with captions",)
        )
    return listing


def _refuse_repeated(videos: Sequence[AnnotatedVideo], annotations: Annotations) -> None:
    """Raise UsageError where two videos have one id: captions could not be said to belong to either."""
    repeated = [name for name, count in Counter(video.id for video in videos).items() if count > 1]
    if repeated:
        files = ", ".join(dict.fromkeys(annotations.used))
        raise UsageError(
            f"{annotations.folder}: {counted(len(repeated), 'video')} listed more than once, the first: "
            f"{repeated[0]} ({files}); leave one of them"
        )


def caption(text: str, place: str) -> str:
    """Return the caption of a line, cleaned and without space around it. Raises UsageError where it is empty.

    place: file and line, for the message.
    """
    cleaned = clean_text(text).strip()
    if not cleaned:
        raise UsageError(f"{place}: the caption is empty; write one, or leave out the line")
    return cleaned


def captions(texts: Iterable[Any]) -> tuple[str, ...]:
    """Return a list's captions, cleaned and without space around them; an empty one stays empty.

    Raises TypeError where it is no list of texts.
    """
    if isinstance(texts, str):
        raise TypeError(f"a list of texts, not the text {texts[:40]!r}")
    texts = list(texts)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise TypeError(f"a caption is text, not {str(wrong[0])[:40]}")
    return tuple(clean_text(text).strip() for text in texts)


def empty_sentences(texts: Iterable[str]) -> list[str]:
    """Return the remark on sentences that say nothing, where they are joined to one caption; none where all do."""
    empty = sum(not text for text in texts)
    return [f"without {counted(empty, 'empty sentence')}"] if empty else []


def held_out_ids(ids: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Choose a share of the ids, at least one and not all, by a hash of seed and id: the same on every machine.

    >>> ids = ["a", "b", "c", "d"]
    >>> held_out_ids(ids, 0.5, seed=0) == held_out_ids(ids[::-1], 0.5, seed=0)
    True
    """
    count = min(max(1, round(share * len(ids))), len(ids) - 1)
    return frozenset(sorted(ids, key=lambda id_: (digest(seed, id_), id_))[:count])


def youtube_clip_locations(name: str) -> tuple[VideoLocation, ...]:
    """Return where a clip named <YouTube id>_<start>_<end> may lie: its own file, else its span of the whole video.

    Ids may hold underscores and hyphens themselves.

    >>> youtube_clip_locations("-_b_c_0_12")[1]
    VideoLocation(name='-_b_c', start=0.0, end=12.0)
    """
    source, start, end = name.rsplit("_", 2) if name.count("_") >= 2 else (name, "", "")
    if not (source and _SECONDS.fullmatch(start) and _SECONDS.fullmatch(end) and float(start) < float(end)):
        return (VideoLocation(name),)
    return VideoLocation(name), VideoLocation(source, float(start), float(end))
