"""The parts of scripts/bench.py."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench.py"


def test_every_part_can_be_run() -> None:
    parts = runpy.run_path(str(SCRIPT))["part_names"]()
    assert {"gpu", "search"} <= set(parts)
    sources = {part: (SCRIPT.parent / "benches" / f"{part}.py").read_text(encoding="utf-8") for part in parts}
    assert [part for part, source in sources.items() if "\ndef run(" not in source] == []
