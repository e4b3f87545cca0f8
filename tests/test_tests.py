"""The tests themselves: none may pass whatever the code does."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RAISING = {"raises", "warns", "fail", "deprecated_call"}  # of pytest
AS_LONG = {"enumerate", "sorted", "reversed", "list", "tuple", "set", "dict", "items", "keys", "values", "product"}


def without_a_check(tree: ast.Module) -> list[str]:
    """Return the tests, and the helpers that begin with `assert_`, in which nothing is checked for certain.

    What stands under an `if`, in an inner function, or in a loop over what may be empty is not certain.
    """
    methods = [node for statement in tree.body if isinstance(statement, ast.ClassDef) for node in statement.body]
    constants = filled_names(tree.body, set())
    return [
        function.name
        for function in (*tree.body, *methods)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and function.name.lstrip("_").startswith(("test", "assert_"))
        and not is_any_checked(function.body, filled_names(statements(function), constants))
    ]


def is_any_checked(nodes: Iterable[ast.AST], filled: set[str]) -> bool:
    return any(is_checked(node, filled) for node in nodes)


def is_checked(node: ast.AST, filled: set[str]) -> bool:
    """Return whether something is checked whenever `node` runs. `filled`: names of what is not empty."""
    if isinstance(node, ast.Assert):
        return not is_always_true(node.test) and not is_of_none(node.test, filled)
    if isinstance(node, ast.If):
        return is_any_checked(node.body, filled) and is_any_checked(node.orelse, filled)
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.ExceptHandler):
        return False
    if isinstance(node, ast.For) and not is_filled(node.iter, filled):
        return False
    return is_checker(node) or is_any_checked(ast.iter_child_nodes(node), filled)


def is_checker(node: ast.AST) -> bool:
    """Return whether this is pytest.raises or the like, or an `assert_...` of ours, numpy, torch or a mock."""
    if isinstance(node, ast.Name):
        return node.id.lstrip("_").startswith("assert_")
    if not isinstance(node, ast.Attribute):
        return False
    return node.attr.startswith("assert_") or (node.attr in RAISING and ast.unparse(node.value) == "pytest")


def is_always_true(expression: ast.expr) -> bool:
    if isinstance(expression, ast.BoolOp):
        always = [is_always_true(value) for value in expression.values]
        return any(always) if isinstance(expression.op, ast.Or) else all(always)
    if isinstance(expression, ast.Compare):
        sides = {ast.dump(side) for side in (expression.left, *expression.comparators)}
        with_calls = any(isinstance(node, ast.Call) for node in ast.walk(expression))  # they may return something else
        same = all(isinstance(operator, ast.Eq | ast.Is | ast.LtE | ast.GtE) for operator in expression.ops)
        return same and len(sides) == 1 and not with_calls
    if isinstance(expression, ast.Tuple | ast.List | ast.Set | ast.Dict | ast.Constant):
        return is_filled(expression, set())
    return isinstance(expression, ast.JoinedStr | ast.Lambda | ast.GeneratorExp)


def is_of_none(expression: ast.expr, filled: set[str]) -> bool:
    """Return whether this is `all(...)` or `not any(...)` of what may be empty."""
    called = "all"
    if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.Not):
        expression, called = expression.operand, "any"
    return (
        isinstance(expression, ast.Call)
        and ast.unparse(expression.func) == called
        and isinstance(expression.args[0], ast.GeneratorExp | ast.ListComp)
        and not is_filled(expression.args[0], filled)
    )


def is_filled(expression: ast.expr, filled: set[str]) -> bool:
    """Return whether one can see that this is not empty. Constants, in capitals, are taken not to be."""
    if isinstance(expression, ast.Constant):
        return bool(expression.value)
    if isinstance(expression, ast.Tuple | ast.List | ast.Set):
        return any(not isinstance(item, ast.Starred) or is_filled(item.value, filled) for item in expression.elts)
    if isinstance(expression, ast.Dict):
        return any(key is not None for key in expression.keys)
    if isinstance(expression, ast.Name | ast.Attribute):
        name = ast.unparse(expression)
        return name in filled or name.rpartition(".")[2].isupper()
    if isinstance(expression, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
        return all(is_filled(part.iter, filled) and not part.ifs for part in expression.generators)
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add | ast.BitOr):
        return is_filled(expression.left, filled) or is_filled(expression.right, filled)
    return isinstance(expression, ast.Call) and is_filled_call(expression, filled)


def is_filled_call(call: ast.Call, filled: set[str]) -> bool:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if function == "range":
        return isinstance(call.args[-1], ast.Constant)
    sources = call.args or ([call.func.value] if isinstance(call.func, ast.Attribute) else [])
    known = [is_filled(source, filled) for source in sources]
    if function == "zip" and any(word.arg == "strict" and ast.unparse(word.value) == "True" for word in call.keywords):
        return any(known)
    return function in AS_LONG | {"zip"} and bool(known) and all(known)


def statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield a statement and all that stand inside it."""
    yield node
    for block in ("body", "orelse", "finalbody"):
        for inner in getattr(node, block, ()):
            yield from statements(inner)


def filled_names(nodes: Iterable[ast.stmt], known: set[str]) -> set[str]:
    """Return `known` and the names to which these statements assign what is not empty."""
    names = set(known)
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and is_filled(node.value, names):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_test_checks_something() -> None:
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.py"))}
    assert len(trees) > 200
    assert [f"{file}::{name}" for file, tree in trees.items() for name in without_a_check(tree)] == []


@pytest.mark.parametrize(
    "body",
    [
        "assert 1 + x",
        "assert x or y",
        "assert f(x) == f(x)",
        "assert_alike(x)",
        "files.assert_alike(x)",
        "in_two_processes(assert_alike, x)",
        "client.flush.assert_not_called()",
        "np.testing.assert_allclose(1, x)",
        "with pytest.raises(ValueError): f()",
        "for y in (1, 2): assert y == x",
        "for y in COLOURS: assert y == x",
        "for y in x | {1}: assert y == x",
        "for y, z in zip((1, 2), x, strict=True): assert y == z",
        "rows = [f(y) for y in range(3)]\n    assert all(row == x for row in rows)",
        "if x: assert y\n    else: assert z",
        "rows = f()\n    assert len(rows) == 2\n    for row in rows: assert row == x",
    ],
)
def test_a_check_that_can_fail_is_seen(body: str) -> None:
    assert without_a_check(ast.parse(f"def test_x(x):\n    {body}")) == []


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "print(x)",
        "assert True",
        "assert x or True",
        "assert x == x",
        "assert x is x is x",
        "assert (x, 'a message')",
        "assert f'a message'",
        "assert (y == 1 for y in x)",
        "assert lambda: x",
        "check(x)",
        "reply.raises(x)",
        "def inner(): assert x",
        "if x: assert y",
        "for y in x: assert y",
        "for y in f(x): assert y",
        "for y in (*x,): assert y",
        "for y in {1, 2} - x: assert y",
        "for y in [z for z in (1, 2) if z in x]: assert y",
        "for y, z in zip((1, 2), x): assert y == z",
        "assert all(y == 1 for y in x)",
        "assert not any(y == 1 for y in x)",
        "try: f(x)\n    except ValueError as error: assert str(error) == 'x'",
    ],
)
def test_a_check_that_cannot_fail_is_none(body: str) -> None:
    assert without_a_check(ast.parse(f"def test_x(x):\n    {body}")) == ["test_x"]


def test_helpers_that_assert_are_looked_at_too() -> None:
    assert without_a_check(ast.parse("def _assert_x(): print(1)\ndef other(): print(1)")) == ["_assert_x"]
