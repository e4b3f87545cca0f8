"""Every command and file that a page names is there; what stands in blocks of `bash` is run besides (`test_readme`)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from mmi_tvr.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENDS = {"|", "&&", ";", ">"}  # of a command, in a line of a shell


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words behind `mmi-tvr`, of every command of a block or in the text."""
    blocks, lines = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", page, re.DOTALL | re.MULTILINE), []
    for block in blocks:
        lines += block.replace("\\\n", " ").splitlines()
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(quoted.split()) for quoted in re.findall(r"`(mmi-tvr [^`]+)`", text)]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["mmi-tvr"]:
            end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
            yield [word.strip("[]") for word in words[1:end]]


@cache
def parts(path: tuple[str, ...]) -> dict[str, Any]:
    """Return the commands of a group, by the names that lead to it; none of what is no group."""
    command = program()
    for name in path:
        command = command.get_command(typer.Context(command), name)
    names = command.list_commands(typer.Context(command)) if isinstance(command, TyperGroup) else []
    return {name: command.get_command(typer.Context(command), name) for name in names}


@cache
def program() -> Any:
    return typer.main.get_command(app)


def unknown(words: Sequence[str]) -> list[str]:
    """Return what of a command's words is no command or option."""
    words, path = list(words), []
    while there := parts(tuple(path)):
        if words and words[0] in there:
            path.append(words.pop(0))
        elif path == ["evaluate"]:  # of a data set, or of matrices
            path.append("similarities" if "--similarities" in words else "retrieval")
        elif words and not words[0].startswith("-"):
            return words[:1]
        else:
            return []
    command = parts(tuple(path[:-1]))[path[-1]]
    known = {"--help", "--similarities"}
    known |= {name for part in command.params for name in (*part.opts, *part.secondary_opts)}
    return [word for word in words if word.startswith("--") and word.split("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_of_a_page_are_there(page: Path) -> None:
    named = list(commands(page.read_text(encoding="utf-8")))
    assert {" ".join(words): wrong for words in named if (wrong := unknown(words))} == {}


def test_commands_of_pages_are_seen() -> None:
    page = """
```sh
mmi-tvr index a --library b \\
  --modle c | sort --up     # --not-one
```
text `mmi-tvr serach x` and `mmi-tvr evaluate NAME [--limit 4]` and `mmi-tvr evaluate contrast --limt 4`
"""
    assert [unknown(words) for words in commands(page)] == [["--modle"], ["serach"], [], ["--limt"]]
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 200


def test_files_that_pages_name_are_there() -> None:
    path = re.compile(r"(?<![\w/.])(?:scripts|configs|prompts|tests|mmi_tvr|docs)/[\w./-]+\.[a-z]+\b")
    named = {(page.name, file) for page in PAGES for file in path.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 50
    assert [(page, file) for page, file in sorted(named) if not (ROOT / file).exists()] == []
