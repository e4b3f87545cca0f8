"""The code speaks the field's language: words that may not come back as names, and one meaning for a class name."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mmi_tvr"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS_AND_SCRIPTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
# Names that say how somebody felt about a value instead of what it is.
FORBIDDEN = frozenset(
    {
        "found", "made", "told", "said", "heard", "wanted", "own", "asked", "asking", "beside", "near", "anyone",
        "everywhere", "pushed", "graves", "bury", "shelf",
    }
)  # fmt: skip
# Names that are contracts: the key of a settings file.
EXCEPTIONS = frozenset({("mmi_tvr/train/settings.py", "near")})
# Every file of these rooms is an implementation, offers the same names, and is never imported by them.
PLUGIN_NAMES = frozenset({"Options"})
# File -> how many calls: what looks at a module of others, or goes by a name that is data.
ALLOWED: dict[str, dict[str, int]] = {
    "getattr": {
        "__init__.py": 1,  # names that are imported when they are used
        "plugins.py": 2,  # whether somebody's module is a plug-in
        "prompt_templates.py": 1,  # the fields of a template
        "experiments/pretrain/layout.py": 1,  # a tokenizer's special tokens
        "index/faiss.py": 1,  # a flag that older versions of faiss lack
    },
    "hasattr": {},
}


def test_the_code_is_read() -> None:
    assert len(FILES) > 150
    assert len(TESTS_AND_SCRIPTS) > 80


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of everything that a module names: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_no_name_is_one_of_the_words_that_say_nothing() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in (*FILES, *TESTS_AND_SCRIPTS)
        for line, name in names(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_").lower() in FORBIDDEN and (path.relative_to(ROOT).as_posix(), name) not in EXCEPTIONS
    ]
    assert not places


def test_the_checker_sees_every_kind_of_name() -> None:
    code = "class Told:\n  def said(self, wanted):\n    self.own = 1\n    found = [asked for asked in wanted]\n"
    assert {name.lower() for _, name in names(ast.parse(code))} & FORBIDDEN == {
        "told", "said", "wanted", "own", "found", "asked",
    }  # fmt: skip


def test_no_class_name_occurs_twice() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in PLUGIN_NAMES:
                homes[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_what_is_private_to_a_room_stays_there() -> None:
    """A module with a leading underscore is imported by its own room alone."""
    foreign = []
    for path in FILES:
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = path.parent.parts[len(PACKAGE.parts) :]
            base = base[: len(base) - node.level + 1]
            target = [*base, *(node.module or "").split(".")]
            modules = [*target, *(alias.name for alias in node.names if not node.module)]
            private = [module for module in modules[1:] if module.startswith("_") and not module.startswith("__")]
            if private and target[0] != room:
                foreign.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {'.'.join(modules)}")
    assert not foreign


@pytest.mark.parametrize("capability", ["getattr", "hasattr"])
def test_a_capability_is_a_protocol(capability: str) -> None:
    """Objects of ours are asked by isinstance; what is left looks at modules of others, or by a name that is data."""
    calls = Counter(
        str(path.relative_to(PACKAGE))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == capability
    )
    assert dict(calls) == ALLOWED[capability]
