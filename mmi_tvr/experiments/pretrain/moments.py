"""A trained moment head into the folder that the package carries (`heads`), measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluation.moments import NAMES, MomentReport, evaluate_moments
from ...models import mmi
from ...utils.progress import Progress, Silent
from ...utils.tables import interval, markdown_row
from .bundle import loaded, rendered
from .heads import Head, bundle_head

_SETS = {"events": "single events", "captions": "whole captions"}
_HEAD = Head("moment head", mmi.MOMENTS, "moments", ("moment_head",), "Moments")


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
        UsageError: As `bundle_head`.
    """

    def measure(draft: Path, settings: Mapping[str, Any]) -> tuple[str, MomentReport]:
        model, embed = loaded(draft, settings, progress or Silent())
        test = rendered("test", limit)
        samples = test.samples()
        report = evaluate_moments(model, samples, embed([sample.video for sample in samples]), test.moments())
        return _section(report, settings["origin"]["moments"]), report

    return bundle_head(_HEAD, trained, folder, measure)


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


_TEXT = """When in a video it happens (`mmi-tvr evaluate moving_shapes --moments`): test split, percent, 95 % bootstrap
over videos.

{header}
{rule}
{rows}

A head of its own (`moments.safetensors`), trained beside all other weights, which stayed as they were:
`scripts/train.py --config configs/moving_shapes_moments.yaml` (seed 0), {sentences:,} sentences of the first {videos:,}
training videos; step {step:,} of {steps:,}, with an mIoU of {validation:.1f} on the validation split.
"""
