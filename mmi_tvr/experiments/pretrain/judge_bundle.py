"""A judge's adapter into the folder that the package carries: in float16, measured, with its part of the card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import models, plugins
from ...datasets.moving_shapes import single_event, without_surroundings
from ...errors import UsageError
from ...judges.llava import LlavaJudge
from ...models import mmi
from ...protocols import Judge
from ...types import Judgement
from ...utils.progress import Progress, Silent
from ...utils.tables import markdown_table
from .bundle import base_option, halve, loaded, write_json
from .conversations import draw_caption, draw_one
from .heads import rewrite
from .judge import RECORD
from .judge_pairs import true_skeleton
from .noise import LEARNED, UNSEEN, Noise

_TEXTS = 100  # test captions that each kind of skeleton is judged beside
REPEATED = "the own video, each answer its caption"
_ONE_EVENT = "the own video, beside one event of it"
_TWIN = "its twin, where the answers differ"
_ABOUT_RUN = ("git", "python", "torch", "saved", "step", "right", "options")
_HEADER = ["video skeleton", "n", "mean p", "p above 0.5, percent"]
_FILES = (f"{mmi.JUDGE}/adapter_model.safetensors", f"{mmi.JUDGE}/adapter_config.json", models.SETTINGS)


@dataclass(frozen=True, slots=True)
class JudgeMeasure:
    """How probable a judge takes it to be that one scene is described: p beside each text, of one kind of skeleton."""

    kind: str
    probabilities: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean of p."""
        return float(np.mean(self.probabilities))


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
        measures = judge_measures(LlavaJudge(model), limit or _TEXTS, progress or Silent())
        table = markdown_table([_HEADER, *map(_row, measures)])
        return _section(table, settings["origin"]["judge"]), table

    return rewrite(folder, _FILES, "Judge", change, measure)


def judge_measures(judge: Judge, texts: int, progress: Progress) -> list[JudgeMeasure]:
    """Return p of each kind of video skeleton beside true skeletons of so many test captions."""
    dataset: Any = plugins.build("datasets", "moving_shapes", {"split": "test", "count": 2 * texts})
    specs = dataset.specs()
    twins = {row: other for group in dataset.groups() for row in group for other in group if other != row}
    kinds: Mapping[str, Callable[[int, np.random.Generator], str]] = {
        "the own video": lambda row, dice: true_skeleton(specs[row], "video"),
        _TWIN: lambda row, dice: true_skeleton(specs[twins.get(row, row)], "video"),
        "some other video": lambda row, dice: true_skeleton(draw_one(specs, dice), "video"),
        REPEATED: lambda row, dice: _repeated(draw_caption(specs[row], dice)),
        "some other video, each answer its caption": lambda row, dice: _repeated(
            draw_caption(draw_one(specs, dice), dice)
        ),
        **{f"noise: {name}": _noise(draw) for name, draw in LEARNED.items()},
        **{f"noise, not learned: {name}": _noise(draw) for name, draw in UNSEEN.items()},
    }
    probabilities: dict[str, list[float]] = {kind: [] for kind in (*kinds, _ONE_EVENT)}
    progress.begin("judging", texts)
    for row in range(texts):
        dice = np.random.default_rng(row)
        videos = [make(row, dice) for make in kinds.values()]
        judgements = judge.judge(true_skeleton(specs[row], "text"), videos)
        for kind, video, judgement in zip(kinds, videos, judgements, strict=True):
            same = kind == _TWIN and video == videos[0]  # there is none, or nothing that is asked tells it apart
            if isinstance(judgement, Judgement) and not same:
                probabilities[kind].append(judgement.probability)
        event = single_event(specs[row], int(dice.integers(len(specs[row].events))))
        [judgement] = judge.judge(true_skeleton(without_surroundings(event), "text"), videos[:1])
        if isinstance(judgement, Judgement):
            probabilities[_ONE_EVENT].append(judgement.probability)
        progress.advance()
    return [JudgeMeasure(kind, tuple(values)) for kind, values in probabilities.items()]


def _repeated(answer: str) -> str:
    return "; ".join([answer] * 6)


def _noise(draw: Noise) -> Callable[[int, np.random.Generator], str]:
    return lambda row, dice: draw(dice)


def _row(measure: JudgeMeasure) -> list[str]:
    values = measure.probabilities
    if not values:
        return [measure.kind, "0", "-", "-"]
    above = 100 * np.mean(np.array(values) > 0.5)
    return [measure.kind, str(len(values)), f"{measure.mean:.3f}", f"{above:.0f}"]


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
