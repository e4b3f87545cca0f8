"""A judge's adapter into the folder that the package carries: in float16, measured, with its part of the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import models
from ...errors import UsageError
from ...judges.llava import LlavaJudge
from ...models import mmi
from ...utils.progress import Progress, Silent
from .bundle import base_option, halve, loaded, write_json
from .heads import rewrite
from .judge import RECORD
from .judge_measures import judge_measures, measures_table

_TEXTS = 100  # test captions that each kind of skeleton is judged beside
_ABOUT_RUN = ("git", "python", "torch", "saved", "step", "right", "options")
_FILES = (f"{mmi.JUDGE}/adapter_model.safetensors", f"{mmi.JUDGE}/adapter_config.json", models.SETTINGS)


def bundle_judge(run: Path, folder: Path, *, limit: int | None = None, progress: Progress | None = None) -> list[str]:
    """Put the judge's adapter of a run into a bundled model, and measure it on the test split.

    Args:
        run: the folder that `train_judge` wrote.
        folder: the bundled model, whose other weights stay.
        limit: captions that each kind is judged beside; None takes 100.
        progress: of the measuring.

    Returns:
        The rows of the card's table.

    Raises:
        UsageError: the folder holds no such run. The bundled model is then as it was.
    """
    if not (run / RECORD).is_file():
        raise UsageError(f"{run}: no finished training of a judge ({RECORD} is missing)")
    record, settings = json.loads((run / RECORD).read_text(encoding="utf-8")), models.read(folder).as_dict()
    settings["origin"]["judge"] = {key: record[key] for key in _ABOUT_RUN}
    base = models.get_option(settings["options"], base_option(settings["name"]))
    weights, config = _FILES[:2]

    def change(draft: Path) -> None:
        (draft / weights).parent.mkdir(exist_ok=True)
        halve(run / weights, draft / weights)
        adapter = json.loads((run / config).read_text(encoding="utf-8"))
        write_json(draft / config, adapter | {"base_model_name_or_path": base})
        write_json(draft / models.SETTINGS, settings)

    def measure(draft: Path) -> tuple[str, list[str]]:
        model, _ = loaded(draft, settings, progress or Silent())
        assert isinstance(model, mmi.Mmi)
        table = measures_table(judge_measures(LlavaJudge(model), limit or _TEXTS, progress or Silent()))
        return _section(table, settings["origin"]["judge"]), table

    return rewrite(folder, _FILES, "Judge", change, measure)


def _section(table: Sequence[str], origin: Mapping[str, Any]) -> str:
    options = origin["options"]
    return _TEXT.format(table="\n".join(table), step=origin["step"], right=origin["right"], **options)


_TEXT = """How likely two skeletons describe one scene, read by an adapter of its own (`judge/`), which is active while
the model judges and at no other time. Test split, true skeletons of captions beside:

{table}

Begun as a copy of the adapter that searches, and trained beside all other weights, which stayed as they were:
`scripts/train_judge.py` (seed {seed}), {batch} pairs a step of {videos:,} training videos, step {step:,} of {steps:,};
{right:.1f} % of pairs of the validation split are judged right.
"""
