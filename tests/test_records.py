"""Records do not change once they are built, but for the few that gather something; read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import mmi_tvr

GATHERING = {
    "RankedQuery",
    "ReadPhotos",
    "Scan",
    "ServerAbilities",
    "TwinSampler",
    "Worklist",
    "_Census",
    "_Clip",
    "_Count",
    "_LineTrack",
    "_OpenTrack",
    "_Pictures",
    "_Progress",
    "_RunningJob",
    "_WaitingSearch",
    "_WatchedFolder",
}


def test_records_are_frozen_but_for_those_that_gather_something():
    thawed = set()
    for path in Path(mmi_tvr.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and _is_record(node) and not _is_frozen(node):
                thawed.add(node.name)
    assert thawed == GATHERING


def _is_record(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _is_frozen(node: ast.ClassDef) -> bool:
    return any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)
