"""Measure again what the README and docs say of the package's own models: `measure_bundled.py RUN [NAME ...]`.

Each measurement is one command. What it prints goes into RUN/NAME.txt, and all of it, with the commands and the pages
on which the numbers stand, into RUN/measurements.md. What is there is not measured again: after a stop, the same
command goes on.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from mmi_tvr.cli._console import command, say
from mmi_tvr.datasets.moving_shapes import CONTRAST_SETS
from mmi_tvr.encoders import hub
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.steps import ScriptRun, Step, run_steps
from mmi_tvr.utils.files import write_atomically
from mmi_tvr.utils.hashing import digest, file_digest

SCRIPTS = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("mmi-tvr")
SUMMARY = "measurements.md"
_MODELS = ("moving-shapes", "lat-shapes", "mcsan-shapes")
_SECONDS = 120.0  # of a measurement, for the time that is left until the first are timed
_KEY_IMAGES = "keyimages={name: disparity, fps: 4, min_length: 0.5, floor: 0.001, count: 12}"  # those of the models
_MEAN = "clip4clip:moving-shapes/base/clip"
_DATA = "moving_shapes"
_SCRIPT = ".py"
_FEWEST = 10  # videos, as measure_translation.py needs them


@dataclass(frozen=True, slots=True)
class Measurement:
    """A command whose output is kept.

    Args:
        pages: Where its numbers stand.
        words: Of `mmi-tvr`, or a script of this folder and its arguments; `{run}` is the folder of the run.
        limited: Whether it takes `--limit`.
    """

    pages: str
    words: Sequence[str]
    limited: bool = True

    def line(self, run: Path, limit: int | None) -> list[str]:
        """Return the words with the folder of a run in its place, of the first `limit` videos alone (None: of all)."""
        words = [word.replace("{run}", str(run)) for word in self.words]
        if limit is None or not self.limited:
            return words
        if "--limit" in words:
            words[words.index("--limit") + 1] = str(limit)
            return words
        return [*words, "--limit", str(limit)]


def _evaluate(*words: str, name: str | None = None) -> tuple[str, ...]:
    return ("evaluate", _DATA, *words, *(("--output", f"{{run}}/{name}") if name else ()))


def _listed() -> Iterator[tuple[str, Measurement]]:
    """Yield the measurements by name, in an order in which each finds what it compares."""
    results = "docs/results.md"
    mean = ("--model", _MEAN, "--set", _KEY_IMAGES)
    yield "mean", Measurement(results, _evaluate(*mean, name="mean"))
    with_moments = _evaluate("--model", "moving-shapes", "--moments", name="moving-shapes")
    yield "moving-shapes", Measurement(f"README.md, {results}", with_moments)
    for name in ("lat", "mcsan"):
        yield f"{name}-shapes", Measurement(results, _evaluate("--model", f"{name}-shapes", name=f"{name}-shapes"))
    for name in ("moving", "lat", "mcsan"):
        words = ("compare", "{run}/mean", f"{{run}}/{name}-shapes")
        yield f"{name}-minus-mean", Measurement(results, words, limited=False)
    for kind in CONTRAST_SETS:
        words = ("evaluate", "contrast", _DATA, "--kind", kind, "--model", "moving-shapes")
        yield f"contrast-{kind}", Measurement(results, words)
    for direction in ("t2v", "v2t", "paper"):
        model = f"model={{name: lat, weights: lat-shapes, retrieval: {direction}}}"
        yield f"lat-{direction}", Measurement("docs/training.md", _evaluate("--set", model, "--set", _KEY_IMAGES))
    headless = "model={name: mmi, weights: moving-shapes, moment_head: null}"
    yield "moments-without-head", Measurement(results, _evaluate("--moments", "--set", headless, "--set", _KEY_IMAGES))
    for images in ("disparity", "uniform", "scenes"):
        words = ("--model", "moving-shapes", "--limit", "400")
        chosen = ("--set", f"keyimages={{name: {images}, count: 12}}")
        yield f"keyimages-{images}", Measurement(results, _evaluate(*words, *chosen))
    for seed in ("1", "2"):
        words = ("nothing_found.py", _DATA, "--model", "moving-shapes", "--seed", seed)
        yield f"nothing-found-{seed}", Measurement(f"README.md, {results}", words)
    words = ("nothing_found.py", _DATA, "--model", "moving-shapes", "--set", "model.matching_head=null")
    yield "nothing-found-law", Measurement(results, words)
    for name in ("moving-shapes", "lat-shapes", "mcsan-shapes"):
        yield f"gap-{name}", Measurement(results, ("gap", name, _DATA))
    yield "gap-mean", Measurement(results, ("gap", mean[1], _DATA, *mean[2:]))
    answers = ("evaluate", "answers", _DATA, "--model", "moving-shapes", "--limit", "300")
    yield "answers", Measurement("docs/reranking.md", answers)
    yield "answers-by-question", Measurement("docs/reranking.md", (*answers, "--by", "question"))
    with_adapter = (*answers, "--set", "rerank.answerer.adapter=true")
    yield "answers-with-adapter", Measurement("docs/reranking.md", with_adapter)
    yield "judge", Measurement("docs/reranking.md", ("measure_judge.py", "--model", "moving-shapes"))
    yield "instructions", Measurement("docs/answerers.md", ("measure_instructions.py", "--model", "moving-shapes"))
    yield (
        "reranked",
        Measurement("docs/reranking.md", _evaluate("--model", "moving-shapes", "--rerank", name="reranked")),
    )
    knowledge = ("ablate_knowledge.py", "--model", "moving-shapes")
    words = (*knowledge, "--output", "{run}/knowledge", "--mean", "--limit", "300", "--seeds", "2", "--weights", "100")
    yield "knowledge", Measurement("docs/reranking.md", words)
    words = (*knowledge, "--output", "{run}/weights", "--weights", "0.05,0.1,0.3", "--only", "lambda_s")
    yield "weights", Measurement("docs/reranking.md", words)
    words = (*knowledge, "--output", "{run}/weights-mean", "--mean", "--weights", "0.1,0.3", "--only", "lambda_s")
    yield "weights-mean", Measurement("docs/reranking.md", words)
    words = ("measure_proposals.py", "--model", "moving-shapes")
    yield "proposals", Measurement("docs/reranking.md", words)
    yield "levels", Measurement(results, ("measure_levels.py",))
    yield "closer-look", Measurement(results, ("measure_moments.py",))
    for name, words in _translations():
        yield f"translation{name}", Measurement("docs/scale.md", ("measure_translation.py", *words))
    yield "facets", Measurement("docs/search.md", ("evaluate", "facets", _DATA, "--model", "mcsan-shapes"))
    for name, limited in (("exclusions", False), ("wordings", True), ("descriptions", True)):
        words = (f"measure_{name}.py", "--model", "moving-shapes")
        yield name, Measurement("docs/search.md", words, limited)
        yield f"{name}-mean", Measurement("docs/search.md", (*words, "--mean"), limited)


def _translations() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what is measured of translated vectors: the end of the measurement's name, and its options."""
    yield "", ("--ways",)
    yield "-floor", ("--split", "val", "--sizes", "100", "150", "200", "600")
    yield "-back", ("--old", "moving-shapes", "--new", _MEAN, "--sizes", "100")
    yield "-refused", ("--old", "label_bridge", "--sizes", "150", "--limit", "300")  # half a second of a core a video


MEASUREMENTS: Mapping[str, Measurement] = dict(_listed())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of what is printed")
    known = ", ".join(MEASUREMENTS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these measurements, of: {known}")
    parser.add_argument("--limit", type=int, help="only the first so many videos: to try it, not to measure")
    args = parser.parse_intermixed_args()
    if args.limit is not None and args.limit < _FEWEST:
        parser.error(f"--limit is {_FEWEST} or more")
    for name in args.names:
        if name not in MEASUREMENTS:
            parser.error(f"no measurement is called {name}; there are {known}")
    measure(args.run, args.names or list(MEASUREMENTS), args.limit)
    say(escape(f"{args.run / SUMMARY}: written"))


def measure(run: Path, names: Sequence[str], limit: int | None) -> None:
    """Run measurements, and write what they print.

    Args:
        run: Folder; a measurement whose text is there is left out.
        names: Of `MEASUREMENTS`.
        limit: Only the first so many videos; None: all.

    Raises:
        UsageError: The folder has measurements of other copies of the models, or of another `limit`.
        MmiTvrError: A command failed, and has said why.
        Interrupted: It was stopped; the same call goes on.
    """
    run.mkdir(parents=True, exist_ok=True)
    _check_measured(run, limit)
    plan = [Step(name, [_task(run, name, limit)], _SECONDS) for name in names]
    try:
        run_steps(run, plan, lambda line: say(escape(line)))
    finally:
        write_atomically(run / SUMMARY, _summary(run, limit).encode())


def _check_measured(run: Path, limit: int | None) -> None:
    """Raise UsageError where a folder's measurements are of other weights, or of another number of videos."""
    files = sorted(path for name in _MODELS for path in (hub.BUNDLED / name).rglob("*") if path.is_file())
    measured = f"{limit or 'all'} videos, models {digest(*map(file_digest, files))}"
    path = run / "measured"
    if not path.exists():
        write_atomically(path, measured.encode())
    elif (former := path.read_text(encoding="utf-8")) != measured:
        raise UsageError(f"{run}: its measurements are of {former}, not of {measured}; take another folder")


def _task(run: Path, name: str, limit: int | None) -> ScriptRun:
    first, *others = MEASUREMENTS[name].line(run, limit)
    program = [str(SCRIPTS / first)] if first.endswith(_SCRIPT) else [str(PROGRAM), first]
    text = run / f"{name}.txt"
    return ScriptRun([*program, *others], text.is_file, output=text)


def _typed(words: Sequence[str]) -> str:
    """Return a command as it is typed."""
    return shlex.join(
        [*((f"scripts/{words[0]}",) if words[0].endswith(_SCRIPT) else ("mmi-tvr", words[0])), *words[1:]]
    )


def _summary(run: Path, limit: int | None) -> str:
    """Return all that was measured so far as a page."""
    blocks = []
    for name, measurement in MEASUREMENTS.items():
        text = run / f"{name}.txt"
        if text.is_file():
            line = _typed(measurement.line(run, limit))
            printed = text.read_text(encoding="utf-8").strip()
            blocks.append(f"## {name}\n\n{measurement.pages}\n\n```\n{line}\n\n{printed}\n```\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    with command():
        main()
