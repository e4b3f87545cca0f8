"""Paired timing: every contender runs once a round, in turn, so that a slow minute hits all of them alike."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmi_tvr.utils.tables import bounds


def rounds(
    contenders: Mapping[str, Callable[[], object]], repeats: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each contender in each round; the order rotates from round to round."""
    names = list(contenders)
    if warm_up:
        for name in names:
            contenders[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(seconds: Mapping[str, list[float]], ours: str) -> dict[str, tuple[float, float, float]]:
    """How many times longer each other contender took than `ours`, per round: min, median, max; > 1: ours is faster."""
    ratio_by_name = {}
    for name, times in seconds.items():
        if name != ours:
            each = [other / reference for other, reference in zip(times, seconds[ours], strict=True)]
            ratio_by_name[name] = (min(each), statistics.median(each), max(each))
    return ratio_by_name


def table(title: str, seconds: Mapping[str, list[float]], ours: str) -> list[str]:
    """A title line, then a line per contender: median milliseconds, and the ratio to ours as median [min, max]."""
    lines = [f"{title} ({len(seconds[ours])} rounds; ratio = time / {ours}, above 1: {ours} is faster)"]
    ratio_by_name = ratios(seconds, ours)
    for name, times in seconds.items():
        line = f"  {name:<28} {statistics.median(times) * 1000:10.2f} ms"
        if name in ratio_by_name:
            low, middle, high = ratio_by_name[name]
            line += f"   {middle:7.2f}x {bounds(low, high, digits=2)}"
        lines.append(line)
    return lines


def pooled(title: str, measured: Sequence[Mapping[str, list[float]]], ours: str) -> list[str]:
    """Like `table`, over several inputs: the ratio of the summed medians, then that of every input and round."""
    lines = [f"{title}: {len(measured)} inputs; ratio = time / {ours}, above 1: {ours} is faster; total, then each"]
    totals = {name: sum(statistics.median(seconds[name]) for seconds in measured) for name in measured[0]}
    for name, total in totals.items():
        line = f"  {name:<30} {total * 1000:10.1f} ms"
        if name != ours:
            each = [
                other / reference
                for seconds in measured
                for other, reference in zip(seconds[name], seconds[ours], strict=True)
            ]
            spread = bounds(min(each), max(each), digits=2)
            line += f"   {total / totals[ours]:6.2f}x   {statistics.median(each):6.2f}x {spread}"
        lines.append(line)
    return lines


def cpu_seconds(process: subprocess.Popen[Any]) -> float:
    """Wait for a process, whose output has been read, and return the CPU seconds, user and system, of itself alone."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds_so_far(process: int) -> float:
    """Return the CPU seconds, user and system, that a process has used by now. Linux alone."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(process: int | None = None) -> float:
    """Peak memory of a process in MB (None: of this one; of others on Linux alone). Linux keeps it per program;
    ru_maxrss there includes the parent's."""
    status = Path(f"/proc/{process or 'self'}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
