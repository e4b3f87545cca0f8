"""Question pools: YAML files of questions about texts or about videos, and their parser, which names faulty lines.

Source: Li et al., "Multi-Modal Inductive Framework for Text-Video Retrieval", ACM MM 2024, section 4.2 (two pools of 50
questions). People edit the files by hand, so every problem is shown at once and by its line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import yaml
from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

from .. import config
from ..errors import ConfigError, UsageError, one_line
from ..types import clean_text
from ..utils.hashing import digest
from ..utils.textfiles import decode

About = Literal["text", "video"]
ABOUT: tuple[About, ...] = ("text", "video")
KINDS = (
    "entities", "attributes", "counts", "actions", "relations", "places", "order", "interaction", "changes", "people",
    "mood", "purpose",
)  # fmt: skip
MAX_LENGTH = 500  # characters of a question
_INNER_BREAKS = dict.fromkeys((0x85, 0x2028, 0x2029), " ")  # YAML 1.1 would end a line there; no editor does
FOLDER = "prompts"  # of a library, with the pools of its own
_FIELDS = ("id", "text", "kind", "language", "enabled", "note", "counterparts", "provenance")
_TAG = "tag:yaml.org,2002:"
_ID = re.compile(r"[A-Za-z][\w-]{0,31}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class PoolQuestion:
    """One question of a pool. `counterparts` are the ids of questions of the other pool whose answers can be compared
    with its own; `provenance` says who proposed it: model, template, date; empty where a person did."""

    id: str
    text: str
    kind: str
    language: str = "en"
    enabled: bool = True
    note: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict, hash=False)
    counterparts: tuple[str, ...] = ()


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
        """Return the question with this id. Raises UsageError where there is none."""
        for question in self.questions:
            if question.id == id:
                return question
        raise UsageError(f"{self.path}: no question has the id {id!r} (mmi-tvr prompts list shows them)")

    def __contains__(self, id: str) -> bool:
        return any(question.id == id for question in self.questions)

    def digest(self) -> str:
        """Hash all that a selection rests on: ids and texts of the enabled questions; the rest is for people."""
        return digest(self.about, sorted((question.id, question.text) for question in self.enabled))


def load(which: str | Path = "text", about: About | None = None) -> Pool:
    """Return the pool of a file, or the packaged one of a name (`text`, `video`).

    Raises UsageError where there is no such file, or its questions are not about what they are to be (`about`; None:
    either), ConfigError with every problem and its line where it is no pool.
    """
    path = config.find("prompts", which)
    pool = parse(read_text(path), path)
    if about not in (None, pool.about):
        raise UsageError(f"{path}: its questions are about a {pool.about}, where a {about} is to be asked")
    return pool


def in_folder(folder: Path | None) -> dict[About, str | Path]:
    """Return what `load` takes for each pool: the file of a folder (of a library) where it has one, else the packaged
    pool's name."""
    files = {about: folder / f"{about}.yaml" for about in ABOUT} if folder is not None else {}
    return {about: files[about] if about in files and files[about].is_file() else about for about in ABOUT}


def is_packaged(path: Path) -> bool:
    """Return whether a pool's file is one that came with the package."""
    return path.resolve().parent == (config.PACKAGED / "prompts").resolve()


def read_text(path: Path) -> str:
    """Return a pool's file as text, with its line ends. Raises UsageError where it is not UTF-8."""
    return decode(path.read_bytes(), path)


def parse(text: str, path: Path) -> Pool:
    """Return the pool of a file's text; `path` is for messages and the lock file. Raises ConfigError as `load` does."""
    parser = _PoolParser()
    try:
        pool = parser.pool(yaml.compose(text.translate(_INNER_BREAKS), Loader=yaml.SafeLoader), path)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(path), [_syntax_problem(error)]) from error
    if parser.problems:
        raise ConfigError(str(path), [f"line {line}: {problem}" for line, problem in sorted(parser.problems)])
    return pool


def normalized_text(text: str) -> str:
    """Return a text without case, punctuation and extra spaces, by which two questions are the same.

    >>> normalized_text("Which  COLOURS are there?") == normalized_text("which colours are there")
    True
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def text_problem(text: str) -> str | None:
    """Return what is wrong with the text of a question (one line, as `parse` reads it); None where nothing is."""
    if not normalized_text(text):
        return "the question is empty"
    if len(text) > MAX_LENGTH:
        return f"the question has {len(text):,} characters; at most {MAX_LENGTH} are asked: shorten it"
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            return f"the question holds a control character (U+{ord(character):04X}): delete it"
    return None


class _PoolParser:
    """Turns YAML nodes, which know their lines, into a pool, and collects (line, problem) of all that is wrong."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []

    def pool(self, node: yaml.Node | None, path: Path) -> Pool:
        if not isinstance(node, yaml.MappingNode):
            self._report(node, f"a pool is a mapping (about: text or video, questions: a list), not {_node_type(node)}")
            return Pool(path, "text", ())
        values = self._mapping(node, ("about", "questions"))
        about = self._text(values["about"]) if "about" in values else ""
        if about not in ABOUT:
            self._report(values.get("about", node), f"about says what is asked about: text or video, not {about!r}")
        question_list = values.get("questions", node)
        if not isinstance(question_list, yaml.SequenceNode):
            self._report(question_list, "questions: a list is needed, one '- id: ...' after the other")
            return Pool(path, "text", ())
        questions = [self._question(item) for item in question_list.value]
        if not questions:
            self._report(question_list, "the pool has no questions: add one (mmi-tvr prompts add)")
        elif not any(question.enabled for question in questions):
            self._report(question_list, "no question is enabled: set enabled to true for one at least")
        self._report_duplicates(questions, [_line_number(item) for item in question_list.value])
        return Pool(path, cast(About, about), tuple(questions))

    def _question(self, node: yaml.Node) -> PoolQuestion:
        if not isinstance(node, yaml.MappingNode):
            self._report(node, f"a question is a mapping with id, text and kind, not {_node_type(node)}")
            return PoolQuestion("", "", "")
        nodes = self._mapping(node, _FIELDS)
        for name in ("id", "text", "kind"):
            if name not in nodes:
                self._report(node, f"the question has no {name}")
        values: dict[str, str] = {}
        for name in ("id", "text", "kind", "language", "note"):
            text = self._text(nodes[name]) if name in nodes else None
            if text is not None:
                values[name] = text
        if "id" in values and not _ID.fullmatch(values["id"]):
            self._report_value(nodes, values, "id", "is a letter, then letters, digits, - or _, such as t51")
        if "kind" in values and values["kind"] not in KINDS:
            self._report_value(nodes, values, "kind", f"is one of {', '.join(KINDS)}")
        if "language" in values and not _LANGUAGE.fullmatch(values["language"]):
            self._report_value(nodes, values, "language", "is a code such as en, zh or de")
        if "text" in values and (problem := text_problem(values["text"])):
            self._report(nodes["text"], problem)
        return PoolQuestion(
            id=values.get("id", ""),
            text=clean_text(values.get("text", "")),
            kind=values.get("kind", ""),
            language=values.get("language", "en"),
            enabled=self._boolean(nodes["enabled"]) if "enabled" in nodes else True,
            note=values.get("note", ""),
            counterparts=self._ids(nodes["counterparts"]) if "counterparts" in nodes else (),
            provenance=self._provenance(nodes["provenance"]) if "provenance" in nodes else {},
        )

    def _mapping(self, node: yaml.MappingNode, allowed: Iterable[str] | None) -> dict[str, yaml.Node]:
        """Return the values of the allowed keys (None: all), and report the other keys and those that occur twice."""
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else _node_type(key)
            if allowed is not None and name not in allowed:
                self._report(key, f"unknown key {name!r} (there are: {', '.join(allowed)})")
                continue
            if name in values:
                self._report(key, f"{name} is there twice")
            values[name] = value
        return values

    def _text(self, node: yaml.Node) -> str | None:
        """Return one line of text: white space of any kind is one space, no value is an empty text. None: no text."""
        if isinstance(node, yaml.ScalarNode) and (node.tag == f"{_TAG}str" or not node.value):
            return " ".join(node.value.split())
        is_scalar = isinstance(node, yaml.ScalarNode)
        value = f"{node.value!r}, which YAML reads as no text" if is_scalar else _node_type(node)
        self._report(node, f"a text is needed, not {value}: put it in quotation marks")
        return None

    def _boolean(self, node: yaml.Node) -> bool:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}bool":
            return bool(yaml.SafeLoader.bool_values.get(node.value.lower()))
        value = node.value if isinstance(node, yaml.ScalarNode) else _node_type(node)
        self._report(node, f"enabled is true or false, not {value!r}")
        return True

    def _ids(self, node: yaml.Node) -> tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode):
            ids = [str(item.value) if isinstance(item, yaml.ScalarNode) else "" for item in node.value]
            if all(_ID.fullmatch(id) for id in ids):
                return tuple(ids)
        self._report(node, "counterparts is a list of ids, such as [t08, t09]")
        return ()

    def _provenance(self, node: yaml.Node) -> dict[str, str]:
        if isinstance(node, yaml.MappingNode) and all(isinstance(value, yaml.ScalarNode) for _, value in node.value):
            return {name: str(value.value) for name, value in self._mapping(node, None).items()}
        self._report(node, "provenance is a mapping of texts: model, template, date")
        return {}

    def _report_duplicates(self, questions: Sequence[PoolQuestion], lines: Sequence[int]) -> None:
        line_by_id: dict[str, int] = {}
        line_by_text: dict[str, int] = {}
        for question, line in zip(questions, lines, strict=True):
            text = normalized_text(question.text)
            if question.id in line_by_id:
                problem = f"the id {question.id!r} is taken by the question in line {line_by_id[question.id]}"
                self.problems.append((line, problem))
            elif question.id:
                line_by_id[question.id] = line
            if text in line_by_text:
                self.problems.append(
                    (line, f"the same question as in line {line_by_text[text]}: {question.text[:80]!r}")
                )
            elif text:
                line_by_text[text] = line

    def _report_value(self, nodes: Mapping[str, yaml.Node], values: Mapping[str, str], name: str, rule: str) -> None:
        self._report(nodes[name], f"{name} {rule}, not {values[name][:80]!r}")

    def _report(self, node: yaml.Node | None, problem: str) -> None:
        self.problems.append((_line_number(node), problem))


def _line_number(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node is not None else 1


def _node_type(node: yaml.Node | None) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.ScalarNode):
        return "a single value"
    return "an empty file"


def _syntax_problem(error: yaml.YAMLError | RecursionError) -> str:
    """Return a parser's complaint with the line, in words for people."""
    if isinstance(error, RecursionError):
        return "nested too deep for a pool"
    mark, reason = None, one_line(error, limit=None)
    if isinstance(error, MarkedYAMLError):
        mark, reason = error.problem_mark or error.context_mark, error.problem or reason
    elif isinstance(error, ReaderError):
        reason = error.reason
    if "'\\t'" in reason:
        reason = "a tab: indent with spaces"
    return f"line {mark.line + 1}: not readable as YAML: {reason}" if mark else f"not readable as YAML: {reason}"
