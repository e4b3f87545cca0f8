"""A trained part of a model into the folder that the package carries: in float16, measured, with its part of a card.

Heads on vectors go through `bundle_head`; `rewrite` is what any such part goes through.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ... import models
from ...errors import UsageError
from ...models import mmi
from ...utils.files import write_atomically
from .bundle import CARD, halve, megabytes, write_json

_ABOUT_RUN = ("git", "python", "torch", "saved", "step", "validation")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Head:
    """A head on vectors: its `title`, the `file` of its weights, its section of the model's `origin`, the `options` of
    a model that go with it, and the `heading` of its part of the card."""

    title: str
    file: str
    origin: str
    options: tuple[str, ...]
    heading: str


# Measures the model in a folder with these settings, and returns the section of the card (without its heading) with it.
Measure = Callable[[Path, Mapping[str, Any]], tuple[str, Result]]


def bundle_head(head: Head, trained: Path, folder: Path, measure: Measure[Result]) -> Result:
    """Put the head of a run into a bundled model, and measure it.

    Args:
        head: Which head.
        trained: The model folder that the run wrote.
        folder: The bundled model, whose other weights the head was trained beside.
        measure: See above.

    Returns:
        What was measured.

    Raises:
        UsageError: The run has no such head, trained it beside other weights, or does not say how. The folder is then
            as it was.
    """
    run, settings = models.read(trained).as_dict(), models.read(folder).as_dict()
    if not (trained / head.file).is_file():
        raise UsageError(f"{trained}: no {head.title} here ({head.file} is missing)")
    origin = run.get("origin", {})
    if not (origin.get("settings") and origin.get("validation")):
        raise UsageError(
            f"{trained}: no run with validation data wrote it, and the card says how good the head was there"
        )
    with tempfile.TemporaryDirectory() as scratch:
        halve(trained / mmi.HEADS, Path(scratch) / mmi.HEADS)
        if (Path(scratch) / mmi.HEADS).read_bytes() != (folder / mmi.HEADS).read_bytes():
            raise UsageError(f"{trained}: its {head.title} was trained beside other weights than those of {folder}")
    settings["options"] |= {name: run["options"][name] for name in head.options if name in run["options"]}
    settings["origin"][head.origin] = {key: origin[key] for key in _ABOUT_RUN} | {
        key: origin["settings"][key] for key in ("data", "train")
    }

    def change(draft: Path) -> None:
        halve(trained / head.file, draft / head.file)
        write_json(draft / models.SETTINGS, settings)

    return rewrite(folder, (head.file, models.SETTINGS), head.heading, change, lambda draft: measure(draft, settings))


def rewrite(
    folder: Path,
    files: Sequence[str],
    heading: str,
    change: Callable[[Path], None],
    measure: Callable[[Path], tuple[str, Result]],
) -> Result:
    """Change a bundled model and its card, once the changed one is measured; until then it stays as it was.

    Args:
        folder: The bundled model.
        files: What `change` writes, below the folder; the first of them says that it is done.
        heading: Of the section of the card.
        change: Changes a copy of the folder.
        measure: Measures the changed copy, and returns the section (without its heading) with what it measured.

    Returns:
        What was measured.
    """
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / folder.name
        shutil.copytree(folder, draft)
        change(draft)
        section, result = measure(draft)
        card = with_section((draft / CARD).read_text(encoding="utf-8"), heading, section)
        card = re.sub(r"\d+\.\d MB in float16", f"{megabytes(draft):.1f} MB in float16", card)
        write_atomically(draft / CARD, card.encode())
        for name in (CARD, *reversed(files)):  # the first file last: where it is, nothing is half done
            (folder / name).parent.mkdir(exist_ok=True)
            write_atomically(folder / name, (draft / name).read_bytes())
    return result


def with_section(card: str, heading: str, section: str) -> str:
    """Put a section before the card's limits, in the place of the former one of that heading.

    >>> with_section("a\\n\\n## B\\n\\nold\\n\\n## Limits\\n\\nc\\n", "B", "new\\n")
    'a\\n\\n## B\\n\\nnew\\n\\n## Limits\\n\\nc\\n'
    """
    parts = re.split(r"(?m)^(?=## )", card)
    others = [part for part in parts if not part.startswith((f"## {heading}\n", "## Limits\n"))]
    [limits] = [part for part in parts if part.startswith("## Limits\n")]
    return "".join([*others, f"## {heading}\n\n{section}\n", limits])
