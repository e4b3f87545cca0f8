"""The steps from nothing to the package's own model, and to those that stand on its towers.

RUN/frames, clips, language, base    pretraining (`run`)
RUN/tuned, moments, matching, judge  the runs of the train room behind it
RUN/bundle                           the model folder, with its card
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ... import models
from ...encoders import hub
from ...models import mmi
from ...utils.device import available, processors
from ...utils.tables import markdown_table
from ..steps import ScriptRun, Spent, Step, set_options
from . import acceptance
from .bundle import CARD
from .judge import RECORD
from .run import MEASURES

FOLDER = "bundle"
ON_TOWERS = ("lat", "mcsan")
_CONFIGS = Path("configs")
_LAW_VIDEOS = 2000  # training videos by which the law of scores reads queries
# Options of a chain that takes seconds: what each of its scripts does is done, and nothing is learned.
_SMALL: Mapping[str, Sequence[str]] = {
    "base": (
        "videos=24",
        *(f"{stage}.{option}" for stage in ("frames", "clips", "language") for option in ("steps=2", "batch=8")),
    ),
    "tuned": (
        "train.stages=[{name: masked, steps: 1, weights: {caption: 1.0, masked: 1.0}},"
        " {name: matched, steps: 2, weights: {contrastive: 1.0}}]",  # untrained, it has no answers for L_s
    ),
    "moments": ("train.stages=[{name: moments, steps: 2, weights: {moments: 1.0}}]", "data.moments.sentences=32"),
    "matching": ("train.stages=[{name: matching, steps: 2, weights: {matching: 1.0}}]", "data.matching.candidates=8"),
    "judge": ("steps=2", "batch=4", "videos=16"),
}
_NOTE = "This copy: one run of `scripts/make_bundle.sh`, with its defaults."
_SMALL_DATA = ("data.train.count=24", "data.validation.count=12", "data.batch=8")
_SMALL_LIMIT = 12  # videos that are measured


def plan(
    run: Path, scripts: Path, *, small: bool = False, processes: int | None = None, cpu: bool = False
) -> list[Step]:
    """Return the steps that make a model folder below `run`.

    Args:
        run: Folder of the runs.
        scripts: Where the scripts are; `configs` stands beside.
        small: Whether only the chain is run, in a minute or two.
        processes: That train together; None: one with an accelerator, else two where there are as many processors.
        cpu: Whether accelerators are left alone.
    """
    return _Plan(run.absolute(), scripts, small, processes or _processes(cpu), ["--cpu"] if cpu else []).steps()


def plan_on_towers(run: Path, scripts: Path, *, cpu: bool = False) -> list[Step]:
    """Return the steps that make the other models of the package which stand on the towers of its own model (`plan`
    says what the arguments are)."""
    return _Plan(run.absolute(), scripts, False, 1, ["--cpu"] if cpu else []).on_towers()


def has_option(folder: Path, name: str) -> bool:
    """Return whether a model folder is there and has an option."""
    return (folder / models.SETTINGS).is_file() and models.read(folder).options.get(name) is not None


def _same_run(trained: Path, bundled: Path) -> bool:
    """Return whether a model of the package is what a training wrote."""
    if not (trained.is_dir() and (bundled / CARD).is_file()):
        return False
    return bool(models.read(trained).as_dict()["origin"]["saved"] == models.read(bundled).as_dict()["origin"]["saved"])


def _processes(cpu: bool) -> int:
    return min(2, processors()) if cpu or available()[0] == "cpu" else 1


class _Plan:
    def __init__(self, run: Path, scripts: Path, small: bool, processes: int, cpu: Sequence[str]) -> None:
        self._run, self._scripts, self._small, self._processes, self._cpu = run, scripts, small, processes, cpu
        self._bundle = run / FOLDER

    def steps(self) -> list[Step]:
        bundle, run = self._bundle, self._run
        matching = run / "matching" / "model"
        pretraining = [self._script("pretrain_tiny"), str(run), *self._cpu, *self._small_options("base")]
        judge = [self._script("train_judge"), str(run / "judge"), "--model", str(bundle), *self._cpu]
        reading = [] if self._small else ["--train", str(_LAW_VIDEOS)]
        folder = self._put(str(run / "base"), str(run / "tuned" / "model"), "--note", _NOTE)
        return [
            Step("base", [ScriptRun(pretraining, (run / MEASURES).is_file, self._processes)], 5400),
            Step(
                "fine-tuning",
                [self._training("moving_shapes", "tuned", f"model.llava.checkpoint={run / 'base'}", self._processes)],
                900,
            ),
            Step("model folder", [ScriptRun(folder, (bundle / CARD).is_file)], 150),
            Step("law of scores", [self._law(bundle, "score_law", "--lost", "1", *reading)], 150),
            Step(
                "heads for moments and matching",
                [
                    self._training(f"moving_shapes_{name}", name, f"model.weights={bundle}")
                    for name in ("moments", "matching")
                ],
                700,
            ),
            Step(
                "judge, and law of matches",
                [
                    ScriptRun([*judge, *self._small_options("judge")], (run / "judge" / RECORD).is_file),
                    self._law(matching, "match_law", "--lost", "1", "--lost-parts", "2", "--score-weight", "10"),
                ],
                750,
            ),
            self._part("moment head", "--moments", run / "moments" / "model", mmi.MOMENTS),
            self._part("matching head", "--matching", matching, mmi.MATCHING),
            self._part("judge's adapter", "--judge", run / "judge", f"{mmi.JUDGE}/adapter_model.safetensors"),
            Step("measurement", [ScriptRun(self._check(), (run / acceptance.FILE).is_file)], 300),
        ]

    def on_towers(self) -> list[Step]:
        steps = []
        for name in ON_TOWERS:
            trained, target = self._run / name / "model", hub.BUNDLED / f"{name}-shapes"
            words = [self._script("bundle"), "--on-towers", str(trained), "--output", str(target)]
            steps += [
                Step(f"{name} on the towers", [self._training(f"{name}-moving-shapes", name)], 900),
                Step(f"{name} into the package", [ScriptRun(words, partial(_same_run, trained, target))], 120),
            ]
        return steps

    def _check(self) -> list[str]:
        words = (str(self._bundle), "--output", str(self._run / acceptance.FILE))
        return [self._script("check_bundle"), *words, *self._limits()]

    def _limits(self) -> list[str]:
        return ["--limit", str(self._limit)] if self._limit else []

    @property
    def _limit(self) -> int | None:
        return _SMALL_LIMIT if self._small else None

    def _script(self, name: str) -> str:
        return str(self._scripts / f"{name}.py")

    def _small_options(self, step: str) -> list[str]:
        return set_options(_SMALL[step]) if self._small else []

    def _training(self, config: str, name: str, weights: str | None = None, processes: int = 1) -> ScriptRun:
        """Return a run of the train room.

        Args:
            config: Name of its settings file.
            name: Of its folder.
            weights: Where it begins, as a change to the settings; None: where the settings say.
            processes: That train together.
        """
        settings = self._scripts.parent / _CONFIGS / f"{config}.yaml"
        changes = [*([weights] if weights else []), *(_SMALL_DATA if self._small else ())]
        words = (self._script("train"), "--config", str(settings), "--output", str(self._run / name), "--resume")
        return ScriptRun(
            [*words, *self._cpu, *set_options(changes), *self._small_options(name)],
            (self._run / name / "model" / models.SETTINGS).is_file,
            processes,
        )

    def _law(self, model: Path, name: str, *options: str) -> ScriptRun:
        words = ("moving_shapes", "--split", "val", "--model", str(model), "--law", "--save")
        return ScriptRun(
            [self._script("nothing_found"), *words, *options, *self._limits()], partial(has_option, model, name)
        )

    def _put(self, *words: str) -> list[str]:
        return [self._script("bundle"), *words, "--output", str(self._bundle), *self._limits()]

    def _part(self, name: str, option: str, source: Path, file: str) -> Step:
        task = ScriptRun(self._put(option, str(source)), (self._bundle / file).is_file)
        return Step(f"{name} into the folder", [task], 60)


def log(times: Mapping[str, Spent]) -> list[str]:
    """Return a table of what the steps took."""
    total = Spent(sum(spent.clock for spent in times.values()), sum(spent.processors for spent in times.values()))
    rows = [
        [name, f"{spent.clock / 60:.1f}", f"{spent.processors / 60:.1f}"]
        for name, spent in [*times.items(), ("all", total)]
    ]
    return markdown_table([["step", "minutes", "minutes of processors"], *rows])
