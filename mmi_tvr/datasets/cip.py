"""Celebrities in Places (Zhong, Arandjelović and Zisserman, ACCV 2016), as CLIP-PAD uses it: pictures of celebrities
in 16 places, and distractors.

Decision: how the release lays its lists out was not to be learned, so the list is a table of ours, `cip.tsv`: UTF-8,
tab-separated, with a header. `picture` is the name of a file in any folder, or a path in root; `celebrity` and `place`
may be empty; `faces` is seen or unseen: whether the face encoder was trained on the celebrity; `distractor` is 1 for a
picture that answers no query, else 0 or empty; `split` (optional) is train, val or test, where it is missing test.
Several lines of one picture are several celebrities in it.

Queries: "an image of [p]" (single), "an image of {place}" (places), "[p] in {place}" (compound); the first and the last
apart for seen and unseen faces. Who [p] is, pictures in `portraits` say: a folder for each celebrity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from ..errors import UsageError
from ..types import PersonPicture
from ..utils.wording import counted
from ._benchmarks import (
    AnnotatedVideo,
    Annotations,
    BenchmarkFacts,
    BenchmarkOptions,
    BenchmarkWithQueries,
    Listing,
    SampleFacts,
    VideoLocation,
    find_videos,
    handle_of,
    key_of,
    person_queries,
    portrait_folders,
)

FACTS = BenchmarkFacts(
    title="CiP",
    protocol="mAP of queries that name a celebrity by a face, a place, or both, among all pictures and distractors",
    validation="the lines of cip.tsv whose split is val",
    pictures=True,
)
_FILE = "cip.tsv"
_TEMPLATES = {"single": "an image of {p}", "places": "an image of {place}", "compound": "{p} in {place}"}
_COLUMNS = ("picture", "celebrity", "place", "faces", "distractor")
_FACES = ("seen", "unseen")
_NO, _YES = ("", "0", "no", "false"), ("1", "yes", "true")


class Options(BenchmarkOptions):
    """Options of the data set."""

    portraits: Path | None = Field(
        None, description="pictures that show who the celebrities are, a folder for each; default: portraits in root"
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the list: the `celebrity` (a handle), "" where there is none, and whether the encoder saw the face."""

    picture: str
    celebrity: str
    place: str
    is_seen: bool
    is_distractor: bool


def build(options: Options) -> BenchmarkWithQueries:
    """Return the split that the options name."""
    annotations = Annotations(options.annotation_folder())
    benchmark = find_videos(options, FACTS, read(options, annotations))
    lines = _lines(options, annotations)
    there = {sample.id for sample in benchmark.present}
    facts = [
        SampleFacts(line.picture, line.celebrity, (line.place,) if line.place else ())
        for line in lines
        if line.picture in there and not line.is_distractor
    ]
    seen = {line.celebrity for line in lines if line.is_seen}
    names = {line.celebrity: line.celebrity for line in lines if line.celebrity}
    first = {one.sample_id: one.person for one in reversed(facts)}
    pictures, remarks = _portraits(options, names)
    return BenchmarkWithQueries(
        benchmark.title,
        benchmark.present,
        benchmark.missing,
        (*benchmark.remarks, *remarks),
        tuple(person_queries(facts, _TEMPLATES, names, lambda group, person: _group(group, person, seen))),
        pictures,
        tuple(first.get(sample.id, "") for sample in benchmark.present),
        names,
    )


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as the list has it; distractors have no caption."""
    captions: dict[str, dict[str, None]] = {}
    for line in _lines(options, annotations):
        texts = captions.setdefault(line.picture, {})
        if line.celebrity and not line.is_distractor:
            texts[_TEMPLATES["single"].format(p=f"[{line.celebrity}]")] = None
    if not captions:
        raise UsageError(f"{annotations.folder / _FILE}: no picture of the split {options.split}")
    distractors = sum(not texts for texts in captions.values())
    remarks = (f"{counted(distractors, 'picture')} of no celebrity, or distractors",) if distractors else ()
    videos = (AnnotatedVideo(name, tuple(texts), (VideoLocation(name),)) for name, texts in captions.items())
    return Listing(tuple(videos), remarks=(*annotations.remarks, *remarks))


def _lines(options: Options, annotations: Annotations) -> list[_Line]:
    """Return the lines of a split. UsageError for one that cannot be meant."""
    rows = annotations.tab_rows(_FILE)
    if rows and (lacking := [column for column in _COLUMNS if column not in rows[0][1]]):
        raise UsageError(f"{annotations.folder / _FILE}: the header lacks {', '.join(lacking)}")
    lines: list[_Line] = []
    faces: dict[str, bool] = {}
    for number, cells in rows:
        row = {column: cell.strip() for column, cell in cells.items()}
        place = annotations.place(number)
        line = _line(row, place)
        if line.celebrity and not line.is_distractor:
            before = faces.setdefault(line.celebrity, line.is_seen)
            if before != line.is_seen:
                here, there = ("seen", "unseen") if line.is_seen else ("unseen", "seen")
                raise UsageError(f"{place}: {line.celebrity} is {here} here and {there} elsewhere")
        if (row.get("split") or "test") == options.split:
            lines.append(line)
    return lines


def _line(row: Mapping[str, str], place: str) -> _Line:
    if not row["picture"]:
        raise UsageError(f"{place}: the picture's name is missing")
    celebrity, faces, distractor = handle_of(row["celebrity"]), row["faces"].lower(), row["distractor"].lower()
    if distractor not in (*_NO, *_YES):
        raise UsageError(f"{place}: distractor is 0 or 1, not {row['distractor'][:40]!r}")
    is_distractor = distractor in _YES
    if celebrity and not is_distractor and faces not in _FACES:
        raise UsageError(f"{place}: faces is seen or unseen, not {row['faces'][:40]!r}")
    if (row.get("split") or "test") not in ("train", "val", "test"):
        raise UsageError(f"{place}: split is train, val or test, not {row['split'][:40]!r}")
    words = " ".join(row["place"].replace("_", " ").split())
    return _Line(row["picture"], celebrity, words, faces == "seen", is_distractor)


def _group(group: str, person: str, seen: set[str]) -> str:
    """Return a group, apart for faces that the encoder was trained on and others."""
    return f"{group}/{'seen' if person in seen else 'unseen'}" if person else group


def _portraits(
    options: Options, names: Mapping[str, str]
) -> tuple[dict[str, tuple[PersonPicture, ...]], tuple[str, ...]]:
    """Return the pictures of the celebrities, and a remark where some have none."""
    folder = options.portraits or options.root.expanduser() / "portraits"
    if options.portraits is None and not folder.is_dir():
        return {}, ("no folder of portraits: nobody is shown by a face",)
    by_name = portrait_folders(folder.expanduser())
    pictures = {handle: by_name[key_of(handle)] for handle in names if by_name.get(key_of(handle))}
    lacking = len(names) - len(pictures)
    return pictures, (f"{counted(lacking, 'celebrity', 'celebrities')} without a portrait",) if lacking else ()
