"""The model card: what a trained model is, what was measured of it, how it was made, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .. import models
from ..types import PRECOMPUTED
from ..utils.tables import interval, markdown_row
from ..utils.wording import counted

_TEMPLATE = Path(__file__).with_name("card.md.j2")
_TAGS = ["mmi-tvr", "text-video-retrieval", "video-retrieval", "video-search", "clip", "llava", "lora"]
_TASKS = {"t2v": "text-to-video retrieval", "v2t": "video-to-text retrieval"}
_SHOWN = ("R@1", "R@5", "R@10")


def render(
    repository: str,
    known: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]] = (),
    *,
    revision: str | None = None,
    license: str | None = None,
    note: str = "",
) -> str:
    """Return the card of a model whose `model.json` says `known`, with the metadata that the hub reads, as Markdown.

    reports: saved evaluations (report.json). revision: of the base that is referred to by its hub name.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base, *others = [models.get_option(known["options"], option) for option in models.checkpoint_options(known["name"])]
    others = [place for place in others if place]
    name = base if base and "/" in base else None
    data = ModelCardData(
        library_name="mmi-tvr",
        pipeline_tag="feature-extraction",
        tags=_TAGS,
        license=license,
        base_model=name,
        base_model_relation="adapter" if name else None,
        model_name=repository.rpartition("/")[2],
        eval_results=[result for report in reports for result in _results(report)] or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        repository=repository,
        base=name,
        revision=revision,
        base_folder=None if base == PRECOMPUTED else base,
        reads_features=base == PRECOMPUTED,
        clip=others[0] if base and others else None,
        starts=[] if base else others,
        name=known["name"],
        summary=models.summary(known["name"]),
        trained=" and ".join(f"`{place}`" for place in models.trained_places(known["name"])),
        options=known["options"],
        keyimages=known.get("keyimages"),
        origin=known["origin"],
        rows=[row for report in reports for row in _rows(report)],
        left_out=[line for report in reports for line in _left_out(report)],
        as_yaml=_as_yaml,
        note=note,
        licensed=license,
    )
    return str(card)


def _sides(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(direction, what else there is to say of it, its numbers), the re-ranked ones before those of the search."""
    searched = (report.get("rerank") or {}).get("searched", {})
    for side in _TASKS:
        yield side, ", re-ranked" if searched else "", report[side]
    for side, numbers in searched.items():
        yield side, "", numbers


def _name(report: Mapping[str, Any]) -> str:
    """The data set's name; of a folder the last part, since where it lies is nobody's business."""
    return Path(report["config"]["target"]).name


def _split(report: Mapping[str, Any]) -> str | None:
    split = report["config"].get("split")
    return split if _name(report) == report["config"]["target"] else None  # a folder has none


def _rows(report: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the card's table."""
    about = " ".join(filter(None, (_name(report), _split(report))))
    for side, more, numbers in _sides(report):
        recalls = [interval(numbers[key], *numbers["ci95"][key]) for key in _SHOWN]
        sizes = f"{counted(report['n'], 'caption')}, {counted(report['videos'], 'video')}"
        cells = [about, sizes, _TASKS[side] + more, *recalls, f"{numbers['MdR']:.1f}", f"{numbers['MnR']:.1f}"]
        yield markdown_row(cells)


def _left_out(report: Mapping[str, Any]) -> Iterator[str]:
    out = report.get("left_out") or {}
    if out.get("videos"):
        yield (
            f"{_name(report)}: {counted(len(out['videos']), 'unreadable video')} "
            f"with {counted(out['captions'], 'caption')}"
        )


def _results(report: Mapping[str, Any]) -> Iterator[Any]:
    """The same numbers as the hub's own records. The search's and the re-ranked ones are of different tasks."""
    from huggingface_hub import EvalResult

    for side, more, numbers in _sides(report):
        task = _TASKS[side] + more
        for key in _SHOWN:
            yield EvalResult(
                task_type=task.replace(", ", "-").replace(" ", "-"),
                task_name=task,
                dataset_type=_name(report),
                dataset_name=_name(report),
                dataset_split=_split(report),
                dataset_args={"captions": report["n"], "videos": report["videos"]},
                metric_type=f"recall_at_{key[2:]}",
                metric_name=f"{key}, percent",
                metric_value=round(float(numbers[key]), 2),
            )


def _as_yaml(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=True, allow_unicode=True).strip()
