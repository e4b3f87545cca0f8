"""VGGFace2 (Cao et al., FG 2018): 3.31 million pictures of 9,131 people, loosely cropped around one face each.

Layout of the release: pictures `train/n000002/0001_01.jpg`, lists of them `train_list.txt` and `test_list.txt`,
`identity_meta.csv` with the names, and `loose_bb_train.csv`, `loose_bb_test.csv` (in `bb_landmark`) with the box of the
face in each picture; lists may lie in `meta`. Names and boxes may be missing.

A picture is a sample, and its caption "an image of [n000002]"; the queries of val and test ask for all pictures of a
person but the first, which says who it is. `crops`: how the face in pictures that say who somebody is is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from ..errors import UsageError
from ..types import PersonPicture, Sample
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
    held_out_ids,
    person_queries,
)

FACTS = BenchmarkFacts(
    title="VGGFace2",
    protocol="mAP of a query for each person among all pictures; the picture that says who it is is not among them",
    validation="a share of the training people (hold_out), whom train does not have",
    pictures=True,
)
_TEMPLATES = {"single": "an image of {p}"}
_META = ("identity_meta.csv", "identity_meta_with_estimated_age.csv")
_BOX_CELLS = ("NAME_ID", "X", "Y", "W", "H")
Box = tuple[float, float, float, float]


class Options(BenchmarkOptions):
    """Options of the data set."""

    crops: Literal["tight", "loose"] = Field(
        "tight", description="the face is where its box is (tight), or the largest in the released picture (loose)"
    )
    hold_out: float = Field(0.05, gt=0, lt=1, description="share of the training people who are val")
    names: bool = Field(True, description="whether names are spoken; false: handles alone, as of strangers")
    per_person: int | None = Field(None, ge=2, description="only the first so many pictures of a person")


def build(options: Options) -> BenchmarkWithQueries:
    """Return the split that the options name."""
    annotations = Annotations(options.annotation_folder())
    benchmark = find_videos(options, FACTS, read(options, annotations))
    people: dict[str, list[Sample]] = {}
    for sample in benchmark.present:
        people.setdefault(_person(sample.id), []).append(sample)
    names = _names(annotations, options) if options.names else {}
    boxes = _boxes(annotations, options) if options.crops == "tight" else {}
    all_pictures = {
        person: tuple(PersonPicture(sample.video, boxes.get(_stem(sample.id))) for sample in samples)
        for person, samples in people.items()
    }
    spoken = {person: names.get(person, "") for person in people}
    if options.split == "train":
        present, queries, pictures = benchmark.present, [], all_pictures
    else:
        pictures = {person: of_person[:1] for person, of_person in all_pictures.items()}
        present = tuple(sample for samples in people.values() for sample in samples[1:])
        facts = [SampleFacts(sample.id, _person(sample.id)) for sample in present]
        queries = person_queries(facts, _TEMPLATES, spoken)
    if not present:
        raise UsageError(f"{options.root}: nobody has a second picture; a query and its answer are two")
    remarks = benchmark.remarks
    if boxes and (lacking := sum(_stem(sample.id) not in boxes for sample in benchmark.present)):
        remarks = (*remarks, f"{counted(lacking, 'picture')} without a box: the largest face there is taken")
    if options.names and not any(spoken.values()):
        remarks = (*remarks, f"no {_META[0]}: nobody has a name")
    return BenchmarkWithQueries(
        benchmark.title,
        present,
        benchmark.missing,
        remarks,
        tuple(queries),
        pictures,
        tuple(_person(sample.id) for sample in present),
        spoken,
    )


def read(options: Options, annotations: Annotations) -> Listing:
    """Return the split as its list has it."""
    part = "test" if options.split == "test" else "train"
    lines = annotations.lines(f"{part}_list.txt", f"meta/{part}_list.txt")
    with annotations.expecting("a picture a line, such as n000002/0001_01.jpg"):
        by_person: dict[str, list[str]] = {}
        for line in lines:
            person, _ = line.split("/")
            by_person.setdefault(person, []).append(line)
    folder = next((f"{name}/" for name in (part, f"data/{part}") if (options.root.expanduser() / name).is_dir()), "")
    chosen = set(by_person)
    if part == "train":
        held_out = held_out_ids(list(by_person), options.hold_out, seed=0)
        chosen = set(held_out) if options.split == "val" else chosen - held_out
    videos = [
        AnnotatedVideo(line, (_TEMPLATES["single"].format(p=f"[{person}]"),), (VideoLocation(f"{folder}{line}"),))
        for person, of_person in by_person.items()
        if person in chosen
        for line in of_person[: options.per_person]
    ]
    if not videos:
        raise UsageError(f"{annotations.folder / annotations.used[-1]}: no picture of the split {options.split}")
    return Listing(tuple(videos), remarks=annotations.remarks)


def _person(picture: str) -> str:
    return picture.partition("/")[0]


def _stem(picture: str) -> str:
    """Return a picture as the table of boxes names it."""
    return picture.rpartition(".")[0] or picture


def _names(annotations: Annotations, options: Options) -> Mapping[str, str]:
    """Return the names of people by handle; none where there is no table of them.

    The release writes Class_ID, Name, Sample_Num, Flag, Gender with a space behind each comma, names in quotation
    marks, and underscores for spaces; a comma in a name may stand without quotation marks.
    """
    tables = [name for meta in _META for name in (meta, f"meta/{meta}")]
    if not annotations.has(*tables):
        return {}
    rows = annotations.spaced_rows(*tables)
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if header[:2] != ["Class_ID", "Name"]:
        raise UsageError(f"{annotations.place(1)}: the header begins with Class_ID, Name, not {', '.join(header)[:60]}")
    names: dict[str, str] = {}
    for line, cells in rows[1:]:
        if len(cells) < len(header):
            raise UsageError(f"{annotations.place(line)}: {counted(len(cells), 'cell')} for {len(header)} columns")
        name = ", ".join(cell.strip() for cell in cells[1 : len(cells) - len(header) + 2])
        names[cells[0].strip()] = " ".join(name.replace("_", " ").split())
    return names


def _boxes(annotations: Annotations, options: Options) -> Mapping[str, Box]:
    """Return the box of the face in each picture, by the picture's name without suffix; none without a table."""
    part = "test" if options.split == "test" else "train"
    tables = [f"{folder}loose_bb_{part}.csv" for folder in ("", "bb_landmark/", "meta/", "meta/bb_landmark/")]
    if not annotations.has(*tables):
        return {}
    return dict(_box_rows(annotations, tables))


def _box_rows(annotations: Annotations, tables: list[str]) -> Iterator[tuple[str, Box]]:
    for line, row in annotations.rows(*tables):
        with annotations.expecting(f"columns {', '.join(_BOX_CELLS)}"):
            left, top, width, height = (float(row[cell]) for cell in _BOX_CELLS[1:])
            name = row[_BOX_CELLS[0]].strip()
        if not (width > 0 and height > 0):
            raise UsageError(f"{annotations.place(line)}: a box of {width:g} x {height:g} pixels")
        yield name, (left, top, left + width, top + height)
