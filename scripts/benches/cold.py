"""The first search of a process: CPU seconds and modules of `mmi-tvr search`, against what it cannot do without.

Each row is a new interpreter; CPU time is user and system, so that a busy machine changes little.
Above 1, a search takes so many times as long as `import torch`.
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

_COUNTED = "import sys, atexit; atexit.register(lambda: print(len(sys.modules), file=sys.stderr)); "
_SEARCH = _COUNTED + "sys.argv[0] = 'mmi-tvr'; from mmi_tvr.cli import main; main()"
MODELS = ("label_bridge", "clip4clip:moving-shapes/base/clip", "moving-shapes")
QUERY = "the red circle moves left"


def run(args: argparse.Namespace) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _video(root / "videos" / "grey.mp4")
        rows: dict[str, Sequence[str]] = {
            "python": [_COUNTED],
            "import torch": [_COUNTED + "import torch"],
            "import transformers' CLIP": [_COUNTED + "from transformers import CLIPTextModelWithProjection"],
            "mmi-tvr --help": [_SEARCH, "--help"],
        }
        for number, model in enumerate(MODELS[:1] if args.small else MODELS):
            library = str(root / str(number))
            _cpu([_SEARCH, "index", str(root / "videos"), "--library", library, "--model", model])
            rows[f"search, {model}"] = [_SEARCH, "search", QUERY, "--library", library]
        yield f"a new process, CPU seconds (median of {args.repeats}), modules"
        torch_seconds = None
        for name, words in rows.items():
            measured = [_cpu(words) for _ in range(args.repeats)]
            seconds, modules = median(part[0] for part in measured), measured[0][1]
            torch_seconds = seconds if name == "import torch" else torch_seconds
            ratio = "" if torch_seconds is None else f"   {seconds / torch_seconds:5.2f}x"
            yield f"  {name:<42} {seconds:6.2f} s {modules:6,}{ratio}"


def _cpu(words: Sequence[str]) -> tuple[float, int]:
    """Return the CPU seconds of `python -c` with these words, and how many modules it had at its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words}: {errors.strip()}")
    return usage.ru_utime + usage.ru_stime, int(errors.strip().splitlines()[-1])


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
