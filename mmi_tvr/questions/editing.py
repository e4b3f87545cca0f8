"""Changing a question pool by command: comments and order stay, what is no pool is not written, a backup is kept."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

from .. import config
from ..errors import UsageError, one_line
from ..utils.files import write_atomically
from . import pool as pools
from .pool import Pool, PoolQuestion
from .selection import lock_path

BACKUP = ".bak"
_ALWAYS = ("id", "text", "kind", "language", "enabled")  # what a new question has in the file, empty or not


def own(path: Path) -> tuple[Path, bool]:
    """The file to be edited in place of a pool's, and whether it was just copied there.

    A packaged pool belongs to the installation: it is copied, with its choice, into ./prompts, which comes before it
    (`config.find`), unless the working folder is the checkout itself.
    """
    packaged = config.PACKAGED / "prompts"
    if path.resolve().parent != packaged.resolve() or Path.cwd().resolve() == config.PACKAGED.resolve():
        return path, False
    target = Path.cwd() / "prompts" / path.name
    target.parent.mkdir(exist_ok=True)
    copied = not target.is_file()
    if copied:
        for file in (path, lock_path(path)):
            if file.is_file():
                write_atomically(target.with_name(file.name), file.read_bytes())
    return target, copied


def add(path: Path, questions: Sequence[PoolQuestion]) -> Pool:
    """Append questions. Raises ConfigError, and leaves the file alone, where the result would be no pool; so do all."""

    def change(listed: CommentedSeq) -> None:
        listed.extend(_as_values(question) for question in questions)

    return _edit(path, change)


def change(path: Path, ids: Sequence[str], values: Mapping[str, str | bool]) -> Pool:
    """Set fields of questions; an empty note is taken away."""

    def apply(listed: CommentedSeq) -> None:
        for id in ids:
            own = listed[_place(path, listed, id)]
            below = _take_below(own)
            for name, value in values.items():
                if value != "" or name != "note":
                    own[name] = _scalar(value) if isinstance(value, str) else value
                else:
                    own.pop(name, None)
            _put_below(own, below)

    return _edit(path, apply)


def remove(path: Path, ids: Sequence[str]) -> Pool:
    """Take questions out for good. What stands between them and the next (a headline, an empty line) stays."""

    def change(listed: CommentedSeq) -> None:
        for id in ids:
            at = _place(path, listed, id)
            below = _take_below(listed[at])
            del listed[at]
            if at:
                _put_below(listed[at - 1], below)
            elif below.strip():
                above = listed.ca.comment[1] if listed.ca.comment else None
                if above is not None:
                    above.append(CommentToken(f"{' ' * listed.lc.col}{below.strip()}\n", CommentMark(0), None))

    return _edit(path, change)


def replace(path: Path, id: str, text: str) -> Pool:
    """Put the YAML of one question, as `shown` gives it, in the place of what it was."""
    try:
        values = _round_trip("").load(text)
    except YAMLError as error:
        raise UsageError(f"not readable as YAML, nothing is changed: {one_line(error, limit=None)}") from error
    if not isinstance(values, dict):
        raise UsageError("a question is a mapping with id, text and kind; nothing is changed")

    def change(listed: CommentedSeq) -> None:
        own = listed[_place(path, listed, id)]
        below = _take_below(own)
        for name in [name for name in own if name not in values]:
            del own[name]
        own.update(values)
        _put_below(own, below)

    return _edit(path, change)


def shown(question: PoolQuestion) -> str:
    """One question as YAML."""
    stream = io.StringIO()
    _round_trip("").dump(_as_values(question), stream)
    return stream.getvalue()


def free_id(pool: Pool, taken: Sequence[str] = ()) -> str:
    """An id that no question of the pool has or, counting upwards, had: t51 after t50."""
    letter = "t" if pool.about == "text" else "v"
    used = [
        found for id in (*(each.id for each in pool.questions), *taken) if (found := re.fullmatch(r"[tv](\d+)", id))
    ]
    return f"{letter}{max((int(found[1]) for found in used), default=0) + 1:02d}"


def _edit(path: Path, change: Callable[[CommentedSeq], None]) -> Pool:
    old = pools.read_text(path)
    trip = _round_trip(old)
    try:
        document = trip.load(old.replace("\r\n", "\n"))
    except (YAMLError, RecursionError):
        return pools.parse(old, path)  # raises, with the line
    if not isinstance(document, CommentedMap) or not isinstance(document.get("questions"), CommentedSeq):
        return pools.parse(old, path)
    change(document["questions"])
    stream = io.StringIO()
    trip.dump(document, stream)
    new = stream.getvalue()
    if "\r\n" in old:
        new = new.replace("\n", "\r\n")
    pool = pools.parse(new, path)
    if new != old:
        shutil.copyfile(path, path.with_name(path.name + BACKUP))
        write_atomically(path, new.encode())
    return pool


def _take_below(own: CommentedMap) -> str:
    """Take away the comment below a question, which ruamel.yaml hangs on its last value; one beside that stays."""
    holder, name = _last(own)
    comment = (holder.ca.items.get(name) or [None] * 4)[2]
    if comment is None:
        return ""
    beside, _, below = comment.value.partition("\n")
    if beside:
        comment.value = f"{beside}\n"
    else:
        del holder.ca.items[name]
    return str(below)


def _put_below(own: CommentedMap, below: str) -> None:
    if below:
        holder, name = _last(own)
        comments = holder.ca.items.setdefault(name, [None] * 4)
        beside = comments[2].value if comments[2] is not None else "\n"
        comments[2] = CommentToken(beside + below, CommentMark(0), None)


def _last(own: CommentedMap) -> tuple[CommentedMap, Any]:
    """The mapping and key of a question's last value; the mapping may be one inside it (provenance)."""
    name = next(reversed(own))
    return _last(own[name]) if isinstance(own[name], CommentedMap) and own[name] else (own, name)


def _place(path: Path, listed: Sequence[Any], id: str) -> int:
    for at, each in enumerate(listed):
        if isinstance(each, dict) and each.get("id") == id:
            return at
    raise UsageError(f"{path}: no question has the id {id!r} (mmi-tvr prompts list shows them)")


def _round_trip(text: str) -> YAML:
    """ruamel.yaml's reader and writer that keep comments; lists are indented as in `text`."""
    trip = YAML(typ="rt")
    trip.preserve_quotes = True
    trip.allow_unicode = True
    trip.width = 1 << 16
    found = re.search(r"^( *)- ", text, re.MULTILINE)
    offset = len(found[1]) if found else 2
    trip.indent(mapping=2, sequence=offset + 2, offset=offset)
    return trip


def _as_values(question: PoolQuestion) -> dict[str, Any]:
    values = {name: value for name, value in asdict(question).items() if value or name in _ALWAYS}
    return {
        name: _scalar(value)
        if isinstance(value, str)
        else {key: _scalar(text) for key, text in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }


def _scalar(text: str) -> str:
    """The text so that every YAML reader takes it for a text: in quotation marks where it looks like something else."""
    try:
        plain = yaml.safe_load(text) == text
    except (yaml.YAMLError, ValueError):
        plain = False
    return text if plain else DoubleQuotedScalarString(text)
