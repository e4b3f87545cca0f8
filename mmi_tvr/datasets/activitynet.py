"""ActivityNet Captions (Krishna et al., ICCV 2017): about 15,000 YouTube videos of 2 minutes on average, with 3 to 4
sentences each, every one with its start and end.

Annotation: `train.json`, `val_1.json`, `val_2.json`. Videos: `v_<YouTube id>.mp4`, or without the `v_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ._benchmarks import Annotations, Benchmark, Facts, HeldOut, Listing, Place, Record, Size, carve, listing, make

FACTS = Facts(
    title="ActivityNet Captions",
    protocol="paragraph: a video's sentences, joined, are one query for the whole video; "
    "moment: each sentence is a query for its own span among all spans of the split; test is val_1",
    validation="there is none besides the test split: 5 % of train, chosen by a hash of their ids, kept out of train",
    variants={"paragraph": {"unit": "paragraph"}, "moment": {"unit": "moment"}},
)
_VIDEOS = {"train": 10_009, "val_1": 4_917, "val_2": 4_885}
_MOMENTS = {"val_1": 17_505, "val_2": 17_031}
_HELD = 0.05
_HELD_VIDEOS = 500
_SEED = 0


class Options(HeldOut):
    unit: Literal["paragraph", "moment"] = Field("paragraph", description="what is searched for: videos, or moments")
    annotator: Literal[1, 2] = Field(
        1, description="test: val_1 (the published protocol), or the second writing, val_2"
    )


def build(options: Options) -> Benchmark:
    return make(options, FACTS, read)


def read(options: Options, annotations: Annotations) -> Listing:
    """The split as the annotation has it."""
    name = f"val_{options.annotator}" if options.split == "test" else "train"
    found = annotations.json(f"{name}.json", official=_VIDEOS[name])
    with annotations.shaped("an object of videos with sentences and timestamps"):
        ids = list(found)
        if options.split != "test" and options.hold_out:
            held = carve(ids, _HELD, _SEED)
            ids = [each for each in ids if (each in held) == (options.split == "val")]
        make_records = _paragraph if options.unit == "paragraph" else _moments
        records = [record for each in ids for record in make_records(each, found[each])]
    return listing(records, _size(options, name), annotations)


def _size(options: Options, name: str) -> Size:
    if options.unit == "moment":
        return Size(_MOMENTS.get(name), _MOMENTS.get(name))
    count = _VIDEOS[name]
    if options.split == "val":
        count = _HELD_VIDEOS
    elif options.split == "train" and options.hold_out:
        count -= _HELD_VIDEOS
    return Size(count, count)


def _paragraph(name: str, told: Mapping[str, Any]) -> list[Record]:
    text = " ".join(" ".join(told["sentences"]).split())
    return [Record(name, (text,) if text else (), _places(name))]


def _moments(name: str, told: Mapping[str, Any]) -> list[Record]:
    """A sentence each. A span written backwards is turned round, one of no length is left out (decision; train.json
    has two of each)."""
    records = []
    for number, (span, sentence) in enumerate(zip(told["timestamps"], told["sentences"], strict=True)):
        start, end = sorted(float(time) for time in span)
        text = " ".join(sentence.split())
        if text and start < end:
            records.append(Record(f"{name}#{number}", (text,), _places(name, start, end)))
    return records


def _places(name: str, start: float = 0.0, end: float | None = None) -> tuple[Place, ...]:
    return Place(name, start, end), Place(name.removeprefix("v_"), start, end)
