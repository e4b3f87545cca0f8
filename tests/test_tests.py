"""The tests themselves: none may pass whatever the code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
# What raises where something is wrong, besides `assert`: of pytest, numpy and torch.
CHECKS = {"raises", "warns", "fail", "deprecated_call", "xfail"}
CHECKING_MODULES = {"testing"}  # np.testing.assert_allclose, torch.testing.assert_close
# Tests that pass as long as nothing is raised, which is all that they are about; each says so.
SILENT: set[str] = set()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def called(node: ast.AST) -> Iterator[str]:
    """Yield the names that are used anywhere inside: bare ones, and those of a module or class (`files.check`)."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            yield inner.attr


def checks_itself(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node)) or bool(
        {*called(node)} & (CHECKS | CHECKING_MODULES)
    )


def without_a_check(trees: dict[str, ast.AST]) -> list[str]:
    """Return file::test of every test in which nothing is asserted, by itself or by a helper of the tests."""
    helpers = {
        node.name: node for tree in trees.values() for node in functions(tree) if not node.name.startswith("test")
    }
    checking = {name for name, node in helpers.items() if checks_itself(node)}
    while more := {name for name, node in helpers.items() if name not in checking and {*called(node)} & checking}:
        checking |= more
    return [
        f"{name}::{node.name}"
        for name, tree in trees.items()
        for node in functions(tree)
        if node.name.startswith("test") and not checks_itself(node) and not {*called(node)} & checking
    ]


def test_every_test_asserts_something() -> None:
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.py"))}
    assert sum(node.name.startswith("test") for tree in trees.values() for node in functions(tree)) > 1000
    assert set(without_a_check(trees)) == SILENT


def test_the_checker_sees_what_asserts_nothing() -> None:
    code = """
def helper(x): check(x)
def check(x): assert x
def idle(x): print(x)
def test_a(): assert 1
def test_b(): helper(1)
def test_c(): idle(1)
def test_d():
    with pytest.raises(ValueError): f()
def test_e(): np.testing.assert_allclose(1, 1)
def test_f(): pass
"""
    assert without_a_check({"x.py": ast.parse(code)}) == ["x.py::test_c", "x.py::test_f"]
