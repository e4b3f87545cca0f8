"""CPU seconds of a process and of all that it started."""

from __future__ import annotations

import os
from pathlib import Path

_PARENT, _USED = 1, slice(11, 15)  # columns behind the name in /proc/PID/stat: parent; own and waited-for ticks


def tree_cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """Return the CPU seconds that a process and its living descendants used, and ended ones that were waited for.

    None where there is no /proc, or the process is gone.
    """
    ticks: dict[int, float] = {}
    parents: dict[int, int] = {}
    try:
        names = [name for name in os.listdir(proc) if name.isdecimal()]
    except OSError:
        return None
    for name in names:
        try:
            text = (proc / name / "stat").read_text(encoding="utf-8", errors="replace")
            columns = text.rpartition(")")[2].split()  # the name may hold anything
            parents[int(name)] = int(columns[_PARENT])
            ticks[int(name)] = sum(map(int, columns[_USED]))
        except (OSError, ValueError, IndexError):  # it has just ended
            continue
    if pid not in ticks:
        return None
    tree, grown = {pid}, True
    while grown:
        children = {child for child, parent in parents.items() if parent in tree} - tree
        tree |= children
        grown = bool(children)
    return sum(ticks.get(number, 0.0) for number in tree) / os.sysconf("SC_CLK_TCK")
