"""docs/configuration.md against the code: environment variables, sections, and where a settings file is found."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from mmi_tvr import config, plugins
from mmi_tvr.errors import UsageError
from mmi_tvr.utils import array_cache, environment

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mmi_tvr"
OURS = {name: value for name, value in vars(environment).items() if name.isupper()}
# Names that are only known when the code runs: an option, and a parameter that is called with two of ours.
READERS = {f"os.environ.{method}" for method in ("get", "setdefault", "pop")} | {"os.getenv", "xdg_folder"}
DYNAMIC = {
    ("chat/client.py", "key_variable"),
    ("media/guarded.py", "variable"),
    ("utils/desktop_files.py", "variable"),  # of `xdg_folder`
}


def table(heading: str) -> set[str]:
    """Return the first cells of the table that follows a sentence of the page."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = page.partition(heading)[2].partition("| variable |")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows
    return {re.findall(r"`([^`]+)`", row)[0] for row in rows}


def environment_keys() -> Iterator[tuple[str, ast.expr, ast.Module]]:
    """Yield the key of every access to os.environ in the package, with its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            key = None
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                key = node.slice
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in READERS:
                key = node.args[0]
            elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[-1]) == "os.environ":
                key = node.left
            if key is not None:
                yield path.relative_to(PACKAGE).as_posix(), key, tree


def resolved(key: ast.expr, tree: ast.Module) -> str | None:
    """Return the variable's name: a text, a constant of this file, or one of `utils.environment`."""
    if isinstance(key, ast.Constant):
        return str(key.value)
    name = key.attr if isinstance(key, ast.Attribute) else ast.unparse(key)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    return OURS.get(name)


def test_every_environment_variable_is_on_the_page_and_no_other() -> None:
    read: set[str] = set()
    dynamic = set()
    for file, key, tree in environment_keys():
        name = resolved(key, tree)
        if name is None:
            dynamic.add((file, key.attr if isinstance(key, ast.Attribute) else ast.unparse(key)))
        else:
            read.add(name)
    assert dynamic == DYNAMIC
    read |= {environment.API_KEY, environment.DECODE_SECONDS, environment.DECODE_WORKERS}
    assert set(OURS.values()) == table("## Environment variables") == {name for name in read if name in OURS.values()}
    assert read - set(OURS.values()) == table("Of other programs' variables")


def test_names_of_ours_are_written_in_one_file() -> None:
    """Elsewhere they stand in docstrings, as $NAME, alone."""
    elsewhere = [path for path in PACKAGE.rglob("*.py") if path.name != "environment.py"]
    assert len(elsewhere) > 100
    for path in elsewhere:
        constants = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert not set(OURS.values()) & {value for value in constants if isinstance(value, str)}, path


def test_every_section_of_the_settings_is_on_the_page() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = page.partition("| section |")[2].partition("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    sections = set(config.Settings.model_fields)
    assert named - {"data", "train"} == sections - {"data", "train"}


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    return tmp_path


def test_a_settings_file_is_a_path_then_in_configs_then_packaged(working_folder: Path) -> None:
    packaged = config.PACKAGED / "configs" / "default.yaml"
    assert config.find("configs", "default") == config.find("configs", "default.yaml") == packaged
    (working_folder / "configs" / "default.yaml").write_text("keyimages: {count: 3}\n")
    assert config.find("configs", "default") == working_folder / "configs" / "default.yaml"
    assert config.load("default").keyimages.options["count"] == 3
    (working_folder / "default.yaml").write_text("keyimages: {count: 4}\n")
    assert config.load("default.yaml").keyimages.options["count"] == 4
    with pytest.raises(UsageError, match=r"nowhere: no such file.*default\.yaml"):
        config.find("configs", "nowhere")


def test_a_folder_is_no_settings_file(working_folder: Path) -> None:
    (working_folder / "default.yaml").mkdir()
    assert config.find("configs", "default.yaml") == config.PACKAGED / "configs" / "default.yaml"


def test_library_and_cache_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.LIBRARY, str(tmp_path / "films"))
    monkeypatch.setenv(environment.CACHE, str(tmp_path / "cache"))
    assert environment.default_library() == tmp_path / "films"
    assert array_cache.folder() == tmp_path / "cache"
    monkeypatch.setenv(environment.LIBRARY, "")
    monkeypatch.delenv(environment.CACHE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home cache"))
    if sys.platform == "linux":
        assert environment.default_library() == tmp_path / "data" / "mmi-tvr" / "library"
        assert array_cache.folder() == tmp_path / "home cache" / "mmi-tvr"


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({"HF_HUB_DISABLE_PROGRESS_BARS": "0"}, "0")])
def test_the_hub_draws_no_bars_beside_ours_unless_a_person_says_so(
    before: dict[str, str], after: str, tmp_path: Path
) -> None:
    program = (
        "import os, sys, mmi_tvr.cli\n"
        "try:\n    mmi_tvr.cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print(os.environ.get('HF_HUB_DISABLE_PROGRESS_BARS'))"
    )
    variables = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--library", str(tmp_path / "library")],
        env={**variables, **before}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == after, done.stderr


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400"])
def test_a_number_that_is_none_or_without_an_end_is_refused(value: str) -> None:
    """Intervals, temperatures and shares are computed with, hours later."""
    with pytest.raises(UsageError, match=r"interval: Input should be a finite number"):
        plugins.options("channels", "read", {"interval": float(value)})
    with pytest.raises(ValidationError, match="finite number"):
        config.SearchSection(seconds=float(value))


@pytest.mark.parametrize("folder", ["configs", "prompts"])
@pytest.mark.parametrize("name", ["", ".", "..", "/", "nothing/"])
def test_what_has_no_name_is_no_settings_file(folder: str, name: str) -> None:
    with pytest.raises(UsageError, match="no such file, and no packaged"):
        config.find(folder, name)
