"""Question pools: a YAML file of questions about texts or about videos, checked with the lines of all that is wrong.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.2 (two pools of 50
questions). People edit the files by hand, so every problem is told at once and by its line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import yaml

from .. import config
from ..errors import ConfigError, UsageError, one_line
from ..utils.hashing import digest

About = Literal["text", "video"]
ABOUT: tuple[About, ...] = ("text", "video")
KINDS = (
    "entities", "attributes", "counts", "actions", "relations", "places", "order", "interaction", "changes", "people",
    "mood", "purpose",
)  # fmt: skip
MAX_LENGTH = 500  # characters of a question
_FIELDS = ("id", "text", "kind", "language", "enabled", "note", "provenance")
_TAG = "tag:yaml.org,2002:"
_ID = re.compile(r"[A-Za-z][\w-]{0,31}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class PoolQuestion:
    """One question of a pool. `provenance` says who proposed it: model, template, date; empty where a person did."""

    id: str
    text: str
    kind: str
    language: str = "en"
    enabled: bool = True
    note: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Pool:
    """The questions of one file, in its order; at least one of them is enabled."""

    path: Path
    about: About
    questions: tuple[PoolQuestion, ...]

    @property
    def enabled(self) -> tuple[PoolQuestion, ...]:
        return tuple(question for question in self.questions if question.enabled)

    def __getitem__(self, id: str) -> PoolQuestion:
        """The question of this id. UsageError where there is none."""
        for question in self.questions:
            if question.id == id:
                return question
        raise UsageError(f"{self.path}: no question has the id {id!r} (mmi-tvr prompts list shows them)")

    def __contains__(self, id: str) -> bool:
        return any(question.id == id for question in self.questions)

    def digest(self) -> str:
        """Hash of all that a choice rests on: ids and words of the enabled questions; the rest is for people."""
        return digest(self.about, sorted((question.id, question.text) for question in self.enabled))


def load(which: str | Path = "text") -> Pool:
    """The pool of a name (`text`, `video`) or file; one in ./prompts comes before the packaged one.

    Raises UsageError where there is no such file, ConfigError with every problem and its line where it is no pool.
    """
    path = config.find("prompts", which)
    return parse(read_text(path), path)


def read_text(path: Path) -> str:
    """A pool's file as text, line ends and all."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error


def parse(text: str, path: Path) -> Pool:
    """A pool from the text of its file; `path` is for messages and look-ups beside it. ConfigError as `load`."""
    checker = _Checker()
    try:
        pool = checker.pool(yaml.compose(text, Loader=yaml.SafeLoader), path)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(path), [_syntax(error)]) from error
    if checker.problems:
        raise ConfigError(str(path), [f"line {line}: {problem}" for line, problem in sorted(checker.problems)])
    return pool


def normalized_text(text: str) -> str:
    """What two questions share that differ in case, spaces and punctuation alone.

    >>> normalized_text("Which  COLOURS are there?") == normalized_text("which colours are there")
    True
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def text_problem(text: str) -> str | None:
    """What is wrong with the words of a question (one line, as `parse` makes it); None where nothing is."""
    if not normalized_text(text):
        return "the question is empty"
    if len(text) > MAX_LENGTH:
        return f"the question has {len(text):,} characters; at most {MAX_LENGTH} are asked: shorten it"
    if bad := next((sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs")), None):
        return f"the question holds a control character (U+{ord(bad):04X}): delete it"
    return None


class _Checker:
    """Turns YAML nodes, which know their lines, into a pool, and notes (line, problem) of all that is wrong."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []

    def pool(self, node: yaml.Node | None, path: Path) -> Pool:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"a pool is a mapping (about: text or video, questions: a list), not {_kind(node)}")
            return Pool(path, "text", ())
        values = self._mapping(node, ("about", "questions"))
        about = self._text(values.get("about")) if "about" in values else ""
        if about not in ABOUT:
            self._wrong(values.get("about", node), f"about says what is asked about: text or video, not {about!r}")
        listed = values.get("questions", node)
        if not isinstance(listed, yaml.SequenceNode):
            self._wrong(listed, "questions: a list is needed, one '- id: ...' after the other")
            return Pool(path, "text", ())
        questions = [self._question(each) for each in listed.value]
        if not questions:
            self._wrong(listed, "the pool has no questions: add one (mmi-tvr prompts add)")
        elif not any(question.enabled for question in questions):
            self._wrong(listed, "no question is enabled: set enabled to true for one at least")
        self._repeated(questions, [_line(each) for each in listed.value])
        return Pool(path, cast(About, about), tuple(questions))

    def _question(self, node: yaml.Node) -> PoolQuestion:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"a question is a mapping with id, text and kind, not {_kind(node)}")
            return PoolQuestion("", "", "")
        values = self._mapping(node, _FIELDS)
        for name in ("id", "text", "kind"):
            if name not in values:
                self._wrong(node, f"the question has no {name}")
        told = {name: self._text(each) for name, each in values.items() if name not in ("enabled", "provenance")}
        found = {name: text for name, text in told.items() if text is not None}
        self._unless(_ID.fullmatch, found, values, "id", "is a letter, then letters, digits, - or _, such as t51")
        self._unless(lambda kind: kind in KINDS, found, values, "kind", f"is one of {', '.join(KINDS)}")
        self._unless(_LANGUAGE.fullmatch, found, values, "language", "is a code such as en, zh or de")
        if "text" in found and (problem := text_problem(found["text"])):
            self._wrong(values["text"], problem)
        return PoolQuestion(
            id=found.get("id", ""),
            text=found.get("text", ""),
            kind=found.get("kind", ""),
            language=found.get("language", "en"),
            enabled=self._truth(values["enabled"]) if "enabled" in values else True,
            note=found.get("note", ""),
            provenance=self._provenance(values["provenance"]) if "provenance" in values else {},
        )

    def _mapping(self, node: yaml.MappingNode, known: Iterable[str] | None) -> dict[str, yaml.Node]:
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else _kind(key)
            if known is not None and name not in known:
                self._wrong(key, f"unknown key {name!r} (there are: {', '.join(known)})")
            elif name in values:
                self._wrong(key, f"{name} is there twice")
            values[name] = value
        return {name: value for name, value in values.items() if known is None or name in known}

    def _text(self, node: yaml.Node | None) -> str | None:
        """One line of text: white space of any kind is one space, nothing is an empty text. None: it is no text."""
        if isinstance(node, yaml.ScalarNode) and (node.tag == f"{_TAG}str" or not node.value):
            return " ".join(node.value.split())
        found = f"{node.value!r}, which YAML reads as no text" if isinstance(node, yaml.ScalarNode) else _kind(node)
        self._wrong(node, f"a text is needed, not {found}: put it in quotation marks")
        return None

    def _truth(self, node: yaml.Node) -> bool:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}bool":
            return bool(yaml.SafeLoader.bool_values.get(node.value.lower()))
        self._wrong(node, f"enabled is true or false, not {node.value if _is_scalar(node) else _kind(node)!r}")
        return True

    def _provenance(self, node: yaml.Node) -> dict[str, str]:
        if not isinstance(node, yaml.MappingNode) or not all(_is_scalar(value) for _, value in node.value):
            self._wrong(node, "provenance is a mapping of texts: model, template, date")
            return {}
        return {name: str(value.value) for name, value in self._mapping(node, None).items()}

    def _repeated(self, questions: list[PoolQuestion], lines: list[int]) -> None:
        ids: dict[str, int] = {}
        texts: dict[str, int] = {}
        for at, question in enumerate(questions):
            if question.id and (first := ids.setdefault(question.id, at)) != at:
                self._note(lines[at], f"the id {question.id!r} is taken by the question in line {lines[first]}")
            words = normalized_text(question.text)
            if words and (first := texts.setdefault(words, at)) != at:
                self._note(lines[at], f"the same question as in line {lines[first]}: {question.text[:80]!r}")

    def _unless(
        self,
        good: Callable[[str], object],
        found: Mapping[str, str],
        nodes: Mapping[str, yaml.Node],
        name: str,
        rule: str,
    ) -> None:
        if name in found and not good(found[name]):
            self._wrong(nodes[name], f"{name} {rule}, not {found[name][:80]!r}")

    def _wrong(self, node: yaml.Node | None, problem: str) -> None:
        self._note(_line(node), problem)

    def _note(self, line: int, problem: str) -> None:
        self.problems.append((line, problem))


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node is not None else 1


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _kind(node: yaml.Node | None) -> str:
    names = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
    return next((name for kind, name in names.items() if isinstance(node, kind)), "an empty file")


def _syntax(error: Exception) -> str:
    """A parser's complaint with the line, in words for people."""
    if isinstance(error, RecursionError):
        return "nested too deep for a pool"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or getattr(error, "reason", None) or one_line(error, limit=None))
    if "'\\t'" in said:
        said = "a tab: indent with spaces"
    return f"line {mark.line + 1}: not readable as YAML: {said}" if mark else f"not readable as YAML: {said}"
