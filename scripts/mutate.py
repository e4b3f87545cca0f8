"""Break the code in many small ways, and see whether the tests notice: `mutate.py --output runs/mutants.jsonl`.

Mutants are drawn by seed from all that cosmic-ray can make of the rooms below, and each is held against the tests of
its room, in a copy of the checkout. The output has a line for each mutant; called again, those that are in it are not
run again. Needs the extra `mutation`; takes some seconds a mutant, so it is no part of the gate.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Room -> files below mmi_tvr/ (glob patterns), and the tests that answer for them.
ROOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "evaluation": (("evaluation/*.py",), ("metrics", "rerank_blocks", "saved_evaluations", "evaluate")),
    "scoring": (("scoring/*.py",), ("scoring", "frame", "rerank_blocks", "search")),
    "index": (
        ("index/__init__.py", "index/flat.py", "index/faiss.py", "index/_exact.py", "index/_store.py",
         "index/_common.py"),
        ("index_flat", "index_store", "index_large", "index"),
    ),
    "library": (
        ("library/*.py",),
        ("catalogue", "scan", "library_components", "library_lock", "library_reading", "library_runs", "video_lookup",
         "library", "library_models", "library_folders", "library_threads"),
    ),
    "keyimages": (("keyimages/*.py",), ("keyimages",)),
    "train": (("train/sampler.py", "train/pairs.py", "train/dataloader.py"), ("sampler", "pairs", "train_parts")),
    "nn": (("nn/*.py",), ("heads", "losses")),
    "features": (("features/*.py",), ("feature_cache", "features")),
    "batch": (("batch/leases.py",), ("batch_leases", "batch_units")),
}  # fmt: skip
_PRELOADED = ("torch", "av", "PIL.Image", "safetensors.numpy", "hypothesis", "pydantic", "typer", "rich.progress")
OUTCOMES = {True: "survived", False: "killed", None: "timed out"}
_TIMEOUT_FACTOR = 4  # of the tests' time on unchanged code: a mutant that loops for ever is killed


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file: which occurrence of what cosmic-ray's `operator` replaces."""

    room: str
    path: str
    operator: str
    occurrence: int
    line: int


def mutants_of(room: str) -> Iterator[Mutant]:
    """Yield every mutant of a room's files, but for those that change nothing (`_unobservable`)."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    paths = sorted({path for pattern in ROOMS[room][0] for path in (ROOT / "mmi_tvr").glob(pattern)})
    unobservable = {path: _unobservable(path) for path in paths}
    with tempfile.TemporaryDirectory() as folder, use_db(f"{folder}/mutants.sqlite", WorkDB.Mode.create) as database:
        init(paths, database, {})
        for item in database.work_items:
            (spec,) = item.mutations
            if spec.start_pos not in unobservable[spec.module_path]:
                relative = spec.module_path.relative_to(ROOT).as_posix()
                yield Mutant(room, relative, spec.operator_name, spec.occurrence, spec.start_pos[0])


def sample(count: int, seed: int, rooms: Sequence[str]) -> list[Mutant]:
    """Draw mutants, at most one for each place and family of operators.

    A binary operator has eleven replacements and a `not` one, so places are drawn first. Rooms share the count by the
    square root of their numbers of places: small rooms count, too.
    """
    places: dict[str, list[list[Mutant]]] = {}
    for room in rooms:
        by_place: dict[tuple[str, int, str], list[Mutant]] = {}
        for mutant in sorted(mutants_of(room), key=repr):
            by_place.setdefault((mutant.path, mutant.line, mutant.operator.partition("_")[0]), []).append(mutant)
        places[room] = list(by_place.values())
    total = sum(len(groups) ** 0.5 for groups in places.values())
    drawn: list[Mutant] = []
    for room, groups in places.items():
        dice = random.Random(f"{seed} {room}")
        share = min(len(groups), round(count * len(groups) ** 0.5 / total))
        drawn += [dice.choice(group) for group in dice.sample(groups, share)]
    return drawn


def run(mutant: Mutant, checkout: Path, timeout: float) -> dict[str, object]:
    """Test one mutant in a copy of the checkout, and return its line of the output."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    started = time.perf_counter()
    path = checkout / mutant.path
    with use_mutation(path, get_operator(mutant.operator)(), mutant.occurrence) as (code, mutated):
        outcome = OUTCOMES[passes(mutant.room, checkout, timeout)]
    diff = difflib.unified_diff(code.splitlines(), mutated.splitlines(), lineterm="", n=0)
    changes = [line for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return {**asdict(mutant), "outcome": outcome, "seconds": round(time.perf_counter() - started, 1), "diff": changes}


def passes(room: str, checkout: Path, timeout: float) -> bool | None:
    """Whether a room's tests pass in a checkout, or None where they take longer than `timeout` seconds.

    A child that shares what is imported here already runs them.
    """
    process = os.fork()
    if process == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.chdir(checkout)
        sys.path[:0] = [str(checkout), str(checkout / "tests")]
        os.environ["PYTHONPATH"] = str(checkout)
        files = [f"tests/test_{name}.py" for name in (*ROOMS[room][1], "records")]
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files])))
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        finished, status = os.waitpid(process, os.WNOHANG)
        if finished:
            return status == 0
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=300, help="how many, over all rooms")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="*", default=list(ROOMS), choices=list(ROOMS), metavar="ROOM")
    parser.add_argument("--output", type=Path, required=True, help="lines of JSON, one for each mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    drawn = sample(args.mutants, args.seed, args.rooms)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    finished = {_key(line) for line in _lines(args.output)}
    waiting = [mutant for mutant in drawn if _key(asdict(mutant)) not in finished]
    print(f"{len(drawn)} mutants, {len(drawn) - len(waiting)} of them known", flush=True)
    for module in _PRELOADED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        checkouts = [_copy(Path(folder) / str(job)) for job in range(args.jobs)]
        timeouts = _timeouts({mutant.room for mutant in waiting}, checkouts[0])
        waiting.sort(key=lambda mutant: timeouts[mutant.room])  # an early look shows most
        children = []
        for job, checkout in enumerate(checkouts):
            child = os.fork()
            if child == 0:
                _run_share(waiting[job :: args.jobs], checkout, timeouts, args.output)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
    _report(drawn, args.output)


def _run_share(mutants: Sequence[Mutant], checkout: Path, timeouts: dict[str, float], output: Path) -> None:
    for mutant in mutants:
        line = json.dumps(run(mutant, checkout, timeouts[mutant.room]))
        with output.open("a", encoding="utf-8") as stream:  # one write of one line: processes do not mix
            stream.write(line + "\n")


def _unobservable(path: Path) -> set[tuple[int, int]]:
    """Positions (line, column) where a change cannot be seen from outside: in annotations, which nothing evaluates; in
    keywords that guard or spare memory alone; in @overload."""
    nodes: list[ast.expr] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg in ("strict", "copy", "slots"):
            nodes.append(node.value)
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            nodes.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            nodes += [] if node.returns is None else [node.returns]
            nodes += [each for each in node.decorator_list if isinstance(each, ast.Name) and each.id == "overload"]
    positions: set[tuple[int, int]] = set()
    for node in nodes:
        first, last = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        lines = range(first[0], last[0] + 1)
        # A decorator's mutant starts at its @, one column before the name.
        positions |= {
            (line, column) for line in lines for column in range(200) if first <= (line, column + 1) <= last
        } | {(line, column) for line in lines for column in range(200) if first <= (line, column) <= last}
    return positions


def _copy(target: Path) -> Path:
    """Copy the files that git knows, with this environment beside them."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def _timeouts(rooms: Iterable[str], checkout: Path) -> dict[str, float]:
    """Time the tests of each room on unchanged code, where they must pass."""
    timeouts = {}
    for room in sorted(rooms):
        started = time.perf_counter()
        if not passes(room, checkout, 1800):
            sys.exit(f"{room}: its tests fail on unchanged code: {', '.join(ROOMS[room][1])}")
        seconds = time.perf_counter() - started
        timeouts[room] = _TIMEOUT_FACTOR * seconds + 20
        print(f"{room}: {seconds:.0f} s on unchanged code", flush=True)
    return timeouts


def _key(line: dict[str, object]) -> tuple[object, ...]:
    return tuple(line[name] for name in ("path", "operator", "occurrence"))


def _lines(output: Path) -> list[dict[str, object]]:
    if not output.exists():
        return []
    return [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n") if line]


def _report(drawn: Sequence[Mutant], output: Path) -> None:
    """Print a line for each room, and every mutant that survived."""
    known = {_key(line): line for line in _lines(output)}
    lines = [known[_key(asdict(mutant))] for mutant in drawn if _key(asdict(mutant)) in known]
    for room in [*dict.fromkeys(mutant.room for mutant in drawn), "all"]:
        outcomes = Counter(line["outcome"] for line in lines if room in (line["room"], "all"))
        viable = outcomes.total()
        share = 100 * outcomes["survived"] / viable if viable else 0.0
        print(f"{room:<11} {viable:>4} viable, {outcomes['survived']:>3} survived ({share:.1f} %)")
    for line in lines:
        if line["outcome"] == "survived":
            print(f"\n{line['path']}:{line['line']} {line['operator']}", *line["diff"], sep="\n")  # type: ignore[misc]


if __name__ == "__main__":
    main()
