"""Edits of a question pool's file: comments and order stay, an invalid pool is never written, a backup is left.

ruamel.yaml keeps comments. It hangs what stands between two questions (an empty line, a headline) on the last value of
the first one, so an edit of that question takes this trailing comment off and puts it back.
"""

from __future__ import annotations

import io
import re
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

from ..errors import UsageError, one_line
from ..utils.files import write_atomically
from . import pool as pools
from .pool import Pool, PoolQuestion
from .selection import BACKUP, lock_path

_REQUIRED_FIELDS = ("id", "text", "kind", "language", "enabled")  # written for a new question even where empty


def editable_path(path: Path, folder: Path) -> tuple[Path, bool]:
    """Return the file to edit for a pool, and whether it was just copied there.

    A packaged pool belongs to the installation: it is copied, with its lock file, into `folder` (a library's), which is
    made where it is not there.
    """
    if not pools.is_packaged(path):
        return path, False
    target = folder / path.name
    if target.is_file():
        return target, False
    folder.mkdir(parents=True, exist_ok=True)
    for file in (lock_path(path), path):  # the pool last: it is what others look for
        if file.is_file():
            write_atomically(folder / file.name, file.read_bytes())
    return target, True


def add(path: Path, questions: Sequence[PoolQuestion]) -> Pool:
    """Append questions and return the new pool.

    This and the other edits raise ConfigError, and leave the file as it is, where the result would be no pool.
    """

    def append(entries: CommentedSeq) -> None:
        entries.extend(_as_entry(question) for question in questions)

    return _edit(path, append)


def change(path: Path, ids: Sequence[str], values: Mapping[str, str | bool]) -> Pool:
    """Set fields of questions and return the new pool; an empty note is removed."""

    def set_values(entries: CommentedSeq) -> None:
        for id in ids:
            entry = entries[_position(path, entries, id)]
            comment = _take_trailing_comment(entry)
            for name, value in values.items():
                if name == "note" and value == "":
                    entry.pop(name, None)
                else:
                    entry[name] = _yaml_text(value) if isinstance(value, str) else value
            _put_trailing_comment(entry, comment)

    return _edit(path, set_values)


def remove(path: Path, ids: Sequence[str]) -> Pool:
    """Delete questions and return the new pool. What stands between them and the next (a headline) stays."""

    def delete(entries: CommentedSeq) -> None:
        for id in ids:
            position = _position(path, entries, id)
            comment = _take_trailing_comment(entries[position])
            del entries[position]
            if position:
                _put_trailing_comment(entries[position - 1], comment)
            elif comment.strip():
                leading = entries.ca.comment[1] if entries.ca.comment else None
                if leading is not None:
                    indentation = " " * entries.lc.col
                    leading.append(CommentToken(f"{indentation}{comment.strip()}\n", CommentMark(0), None))

    return _edit(path, delete)


def replace(path: Path, id: str, text: str) -> Pool:
    """Put the YAML of one question, as `question_yaml` writes it, in the place of the question `id`.

    Returns the new pool. Raises UsageError where the text is not the YAML of a question.
    """
    try:
        values = _round_trip("").load(text)
    except YAMLError as error:
        raise UsageError(f"not readable as YAML, nothing is changed: {one_line(error, limit=None)}") from error
    if not isinstance(values, dict):
        raise UsageError("a question is a mapping with id, text and kind; nothing is changed")

    def put(entries: CommentedSeq) -> None:
        entry = entries[_position(path, entries, id)]
        comment = _take_trailing_comment(entry)
        for name in [name for name in entry if name not in values]:
            del entry[name]
        entry.update(values)
        _put_trailing_comment(entry, comment)

    return _edit(path, put)


def question_yaml(question: PoolQuestion) -> str:
    """Return one question as YAML."""
    stream = io.StringIO()
    _round_trip("").dump(_as_entry(question), stream)
    return stream.getvalue()


def free_id(pool: Pool, taken: Sequence[str] = ()) -> str:
    """Return the id after the highest one in the pool and in `taken`: t51 after t50, t01 where there is none."""
    letter = "t" if pool.about == "text" else "v"
    highest = 0
    for id in (*(question.id for question in pool.questions), *taken):
        match = re.fullmatch(r"[tv](\d+)", id)
        if match:
            highest = max(highest, int(match[1]))
    return f"{letter}{highest + 1:02d}"


def _edit(path: Path, change: Callable[[CommentedSeq], None]) -> Pool:
    """Apply `change` to the list of questions in a file, write the file where that changed it, return the new pool."""
    old = pools.read_text(path)
    round_trip = _round_trip(old)
    try:
        document = round_trip.load(old.replace("\r\n", "\n"))
    except (YAMLError, RecursionError):
        return pools.parse(old, path)  # raises, with the line
    if not isinstance(document, CommentedMap) or not isinstance(document.get("questions"), CommentedSeq):
        return pools.parse(old, path)
    change(document["questions"])
    stream = io.StringIO()
    round_trip.dump(document, stream)
    new = stream.getvalue()
    if "\r\n" in old:
        new = new.replace("\n", "\r\n")
    pool = pools.parse(new, path)
    put(path, new)
    return pool


def put(path: Path, text: str) -> Path:
    """Write the text of a pool in the place of its file, where it is another one; the former one stays as *.bak.

    Returns the path.
    """
    former, content = path.read_bytes(), text.encode()
    if content != former:
        write_atomically(path.with_name(path.name + BACKUP), former)
        write_atomically(path, content)
    return path


def _take_trailing_comment(entry: CommentedMap) -> str:
    """Remove and return the comment in the lines after a question; a comment in its last line stays."""
    holder, name = _last_value(entry)
    comment = (holder.ca.items.get(name) or [None] * 4)[2]
    if comment is None:
        return ""
    same_line, _, trailing = comment.value.partition("\n")
    if same_line:
        comment.value = f"{same_line}\n"
    else:
        del holder.ca.items[name]
    return str(trailing)


def _put_trailing_comment(entry: CommentedMap, trailing: str) -> None:
    if trailing:
        holder, name = _last_value(entry)
        comments = holder.ca.items.setdefault(name, [None] * 4)
        same_line = comments[2].value if comments[2] is not None else "\n"
        comments[2] = CommentToken(same_line + trailing, CommentMark(0), None)


def _last_value(entry: CommentedMap) -> tuple[CommentedMap, Any]:
    """Return the mapping and the key of a question's last value; the mapping may be one inside it (provenance)."""
    name = next(reversed(entry))
    if isinstance(entry[name], CommentedMap) and entry[name]:
        return _last_value(entry[name])
    return entry, name


def _position(path: Path, entries: Sequence[Any], id: str) -> int:
    for position, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("id") == id:
            return position
    raise UsageError(f"{path}: no question has the id {id!r} (mmi-tvr prompts list shows them)")


def _round_trip(text: str) -> YAML:
    """Return ruamel.yaml's reader and writer that keep comments; lists are indented as in `text`."""
    round_trip = YAML(typ="rt")
    round_trip.preserve_quotes = True
    round_trip.allow_unicode = True
    round_trip.width = 1 << 16
    dash = re.search(r"^( *)- ", text, re.MULTILINE)
    offset = len(dash[1]) if dash else 2
    round_trip.indent(mapping=2, sequence=offset + 2, offset=offset)
    return round_trip


def _as_entry(question: PoolQuestion) -> dict[str, Any]:
    """Return a question as it stands in the file, without its empty optional fields."""
    entry: dict[str, Any] = {}
    for name, value in asdict(question).items():
        if not value and name not in _REQUIRED_FIELDS:
            continue
        if isinstance(value, str):
            entry[name] = _yaml_text(value)
        elif isinstance(value, dict):
            entry[name] = {key: _yaml_text(text) for key, text in value.items()}
        elif isinstance(value, tuple):
            entry[name] = list(value)
        else:
            entry[name] = value
    return entry


def _yaml_text(text: str) -> str:
    """Return a text that every YAML reader takes for a text: in quotation marks where it looks like something else."""
    try:
        unquoted = yaml.safe_load(text) == text
    except (yaml.YAMLError, ValueError):
        unquoted = False
    return text if unquoted else DoubleQuotedScalarString(text)
