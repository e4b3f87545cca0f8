"""`mmi-tvr search` where a service of the library runs, against the same command without one: CPU seconds of the
command, user and system, so that a busy machine changes little. Above 1, the service saves so many times as much."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from mmi_tvr import plugins
from mmi_tvr.utils.tables import bounds

from . import timing

_COMMAND = [sys.executable, "-m", "mmi_tvr.cli"]
MODELS = ("moving-shapes", "label_bridge")  # the bundled one, and the offline default
QUERY = "the red circle moves left"


def run(args: argparse.Namespace) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        options = {"split": "test", "root": str(Path(name) / "films"), "count": 1}
        data = plugins.build("datasets", "moving_shapes", options)
        data.generate()
        film = data.samples()[0].video.path
        yield f"mmi-tvr search, CPU seconds of the command (median of {args.repeats}; ratio: without / with a service)"
        for model in MODELS[:1] if args.small else MODELS:
            library = Path(name) / model
            subprocess.run(
                [*_COMMAND, "index", str(film), "--library", str(library), "--model", model],
                check=True,
                capture_output=True,
            )
            alone = [_cpu_seconds(library) for _ in range(args.repeats)]
            serve = [*_COMMAND, "serve", "--library", str(library), "--json"]
            with subprocess.Popen(serve, stdout=subprocess.PIPE) as service:
                assert service.stdout is not None
                service.stdout.readline()
                _cpu_seconds(library)  # which waits until the model is loaded
                served = [_cpu_seconds(library) for _ in range(args.repeats)]
                service.terminate()
            ratios = [one / other for one, other in zip(alone, served, strict=True)]
            times = f"{median(alone):6.2f} s   with a service {median(served):6.3f} s"
            yield f"  {model:<16} {times}   {median(ratios):6.1f}x {bounds(min(ratios), max(ratios), digits=1)}"


def _cpu_seconds(library: Path) -> float:
    """Return the CPU seconds of a search."""
    command = [*_COMMAND, "search", QUERY, "--library", str(library), "--min-relevance", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    answer = process.stdout.read()
    seconds = timing.cpu_seconds(process)
    if process.returncode or b'"hits"' not in answer:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    return seconds
