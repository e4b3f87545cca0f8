"""The first search of a process: CPU seconds and modules of `mmi-tvr search`, against an earlier commit's and torch's.

Each row is a new interpreter; CPU time is user and system, so that a busy machine changes little. Rounds go in turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import av
import numpy as np

from . import earlier, timing

_COUNTED = "import sys, atexit; atexit.register(lambda: print(len(sys.modules), file=sys.stderr)); "
_SEARCH = _COUNTED + "sys.argv[0] = 'mmi-tvr'; from mmi_tvr.cli import main; main()"
MODELS = ("label_bridge", "clip4clip:moving-shapes/base/clip", "moving-shapes")
QUERY = "the red circle moves left"


def run(args: argparse.Namespace) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        codes = earlier.codes(args.against, root / "then")
        if "then" not in codes:
            yield f"no commit {args.against} here: nothing to compare with but torch"
        _video(root / "videos" / "grey.mp4")
        rows: dict[str, Sequence[str]] = {
            "python": [_COUNTED],
            "import torch": [_COUNTED + "import torch"],
            "mmi-tvr --help": [_SEARCH, "--help"],
        }
        for number, model in enumerate(MODELS[:1] if args.small else MODELS):
            rows[f"search, {model}"] = [_SEARCH, "search", QUERY, "--library", str(number)]
            for name, code in codes.items():
                (root / name).mkdir(exist_ok=True)
                _cpu(
                    [_SEARCH, "index", str(root / "videos"), "--library", str(number), "--model", model],
                    code,
                    root / name,
                )
        yield from _measured(rows, codes, root, args)


def _measured(
    rows: dict[str, Sequence[str]], codes: dict[str, Path], root: Path, args: argparse.Namespace
) -> Iterator[str]:
    yield f"a new process, CPU seconds (median of {args.repeats}) and modules; then: {args.against}"
    yield f"  {'':<42} {'now':>16} {'then':>16} {'then / now':>11} {'now / torch':>12}"
    torch_seconds = None
    for name, words in rows.items():
        measured: dict[str, list[tuple[float, int]]] = {code: [] for code in codes}
        for _ in range(args.repeats):
            for code, path in codes.items():
                measured[code].append(_cpu(words, path, root / code))
        seconds = {code: median(part[0] for part in parts) for code, parts in measured.items()}
        torch_seconds = seconds["now"] if name == "import torch" else torch_seconds
        cells = [
            f"{seconds[code]:6.2f} s ({measured[code][0][1]:,})" if code in codes else "" for code in ("now", "then")
        ]
        ratio = f"{seconds['then'] / seconds['now']:.2f}" if "then" in codes and words[0] == _SEARCH else ""
        share = "" if torch_seconds is None else f"{seconds['now'] / torch_seconds:.2f}"
        yield f"  {name:<42} {cells[0]:>16} {cells[1]:>16} {ratio:>11} {share:>12}"


def _cpu(words: Sequence[str], code: Path, folder: Path) -> tuple[float, int]:
    """Return the CPU seconds of `python -c` with these words in a folder, and how many modules it had at its end.

    code: where the package lies.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(code)}
    process = subprocess.Popen(
        [sys.executable, "-c", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    seconds = timing.cpu_seconds(process)
    if process.returncode:
        raise RuntimeError(f"{words}: {errors.strip()}")
    return seconds, int(errors.strip().splitlines()[-1])


def _video(path: Path) -> None:
    """Write two seconds of grey."""
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for number in range(20):
            picture = np.full((96, 96, 3), 100 + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
