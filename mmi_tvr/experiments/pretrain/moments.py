"""A trained moment head into the folder that the package carries: in float16, measured, with its part of the card."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import models
from ...errors import UsageError
from ...evaluation.moments import NAMES, MomentReport, evaluate_moments
from ...models import mmi
from ...utils.files import write_atomically
from ...utils.progress import Progress, Silent
from ...utils.tables import interval, markdown_row
from .bundle import CARD, halve, loaded, megabytes, rendered, write_json

_SETS = {"events": "single events", "captions": "whole captions"}
_ABOUT_RUN = ("git", "python", "torch", "saved", "step", "validation")


def bundle_moments(
    trained: Path, folder: Path, *, limit: int | None = None, progress: Progress | None = None
) -> MomentReport:
    """Put the moment head of a run into a bundled model, and measure it on the test split.

    Args:
        trained: The model folder that the run wrote.
        folder: The bundled model, whose other weights the head was trained beside.
        limit: Videos that are measured; None takes all.
        progress: Of the measuring.

    Raises:
        UsageError: The run has no moment head, trained it beside other weights, or does not say how. The folder is
            then as it was.
    """
    run, settings = models.read(trained).as_dict(), models.read(folder).as_dict()
    if not (trained / mmi.MOMENTS).is_file():
        raise UsageError(f"{trained}: no moment head here ({mmi.MOMENTS} is missing)")
    origin = run.get("origin", {})
    if not (origin.get("settings") and origin.get("validation")):
        raise UsageError(
            f"{trained}: no run with validation data wrote it, and the card says how good the head was there"
        )
    with tempfile.TemporaryDirectory() as scratch:
        halve(trained / mmi.HEADS, Path(scratch) / mmi.HEADS)
        if (Path(scratch) / mmi.HEADS).read_bytes() != (folder / mmi.HEADS).read_bytes():
            raise UsageError(f"{trained}: its moment head was trained beside other weights than those of {folder}")
        settings["options"]["moment_head"] = run["options"]["moment_head"]
        settings["origin"]["moments"] = {key: origin[key] for key in _ABOUT_RUN} | {
            key: origin["settings"][key] for key in ("data", "train")
        }
        draft = Path(scratch) / folder.name  # the package changes when all is measured
        shutil.copytree(folder, draft)
        halve(trained / mmi.MOMENTS, draft / mmi.MOMENTS)
        write_json(draft / models.SETTINGS, settings)
        report = _measure(draft, settings, limit, progress or Silent())
        for name in (mmi.MOMENTS, models.SETTINGS, CARD):
            write_atomically(folder / name, (draft / name).read_bytes())
    return report


def _measure(folder: Path, settings: Mapping[str, Any], limit: int | None, progress: Progress) -> MomentReport:
    """Measure the moment head in a folder on the test split, and write the section about it into the folder's card."""
    model, embed = loaded(folder, settings, next(iter(models.checkpoint_options(settings["name"]))), progress)
    test = rendered("test", limit)
    samples = test.samples()
    report = evaluate_moments(model, samples, embed([sample.video for sample in samples]), test.moments())
    card = _with_section((folder / CARD).read_text(encoding="utf-8"), _section(report, settings["origin"]["moments"]))
    card = re.sub(r"\d+\.\d MB in float16", f"{megabytes(folder):.1f} MB in float16", card)
    write_atomically(folder / CARD, card.encode())
    return report


def _section(report: MomentReport, origin: Mapping[str, Any]) -> str:
    rows = []
    for name, title in _SETS.items():
        for metrics, where in ((report.sets[name], "the right video given"), (report.collection[name], "all videos")):
            cells = [interval(metrics.values[key], *metrics.ci95[key]) for key in NAMES]
            rows.append(markdown_row([f"{title}, {where}", str(metrics.n), *cells]))
    steps = sum(stage["steps"] for stage in origin["train"]["stages"])
    return _TEXT.format(
        header=markdown_row(["sentences", "n", *NAMES]),
        rule=markdown_row(["---"] * (2 + len(NAMES))),
        rows="\n".join(rows),
        step=origin["step"],
        steps=steps,
        videos=origin["data"]["train"].get("count", 24_000),
        sentences=origin["data"]["moments"]["sentences"],
        validation=origin["validation"]["value"],
    )


def _with_section(card: str, section: str) -> str:
    """Put the section before the card's limits, in the place of the former one."""
    before, limits = card.split("## Limits", 1)
    return before.split("## Moments", 1)[0] + section + "## Limits" + limits


_TEXT = """## Moments

When in a video it happens (`mmi-tvr evaluate moving_shapes --moments`): test split, percent, 95 % bootstrap
over videos.

{header}
{rule}
{rows}

A head of its own (`moments.safetensors`), trained beside all other weights, which stayed as they were:
`scripts/train.py --config configs/moving_shapes_moments.yaml` (seed 0), {sentences:,} sentences of the first {videos:,}
training videos; step {step:,} of {steps:,}, with an mIoU of {validation:.1f} on the validation split.

"""
