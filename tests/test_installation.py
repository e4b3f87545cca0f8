"""Where the package came from, what its extras lack, and that a command that is printed would install it."""

from __future__ import annotations

import json
import pickle
import shlex
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from mmi_tvr.errors import MissingExtra
from mmi_tvr.utils import installation

METADATA = """\
Metadata-Version: 2.4
Name: tool-of-a-test
Version: 1.0
Provides-Extra: sound
Provides-Extra: dev
Requires-Dist: numpy>=1
Requires-Dist: pytest>=1; extra == "sound"
Requires-Dist: pydantic>=99; extra == "sound"
Requires-Dist: no-such-package[fast]>=2; extra == "sound"
Requires-Dist: pytest>=1; extra == "dev"
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dist-info folder of an installed package, which stands for ours."""
    folder = tmp_path / "site" / "tool_of_a_test-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(installation, "DISTRIBUTION", "tool-of-a-test")
    return folder


def came_from(distribution: Path, folder: Path, editable: bool) -> None:
    origin = {"url": folder.as_uri(), "dir_info": {"editable": True} if editable else {}}
    (distribution / "direct_url.json").write_text(json.dumps(origin))


def test_an_extra_is_shown_whole(distribution: Path) -> None:
    extras = installation.extras()
    assert list(extras) == ["sound"]  # dev is for work on the package
    states = {package.name: (package.version is not None, package.fits) for package in extras["sound"]}
    assert states == {"pytest": (True, True), "pydantic": (True, False), "no-such-package": (False, False)}


@pytest.mark.parametrize("editable", [True, False])
def test_the_command_names_the_checkout_that_was_installed_from(
    distribution: Path, tmp_path: Path, editable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    came_from(distribution, checkout, editable)
    expected = [sys.executable, "-m", "pip", "install", *(["-e"] if editable else []), f"{checkout}[sound]"]
    monkeypatch.chdir(tmp_path / "site")
    assert shlex.split(installation.install_extra("sound")) == expected
    monkeypatch.chdir(checkout)
    assert installation.install_extra("sound").endswith(" '.[sound]'")


def test_without_a_checkout_the_packages_are_named(distribution: Path, tmp_path: Path) -> None:
    packages = ["pytest>=1", "pydantic>=99", "no-such-package[fast]>=2"]
    assert shlex.split(installation.install_extra("sound"))[3:] == ["install", *packages]  # from a wheel
    came_from(distribution, tmp_path / "deleted", editable=False)
    assert shlex.split(installation.install_extra("sound"))[3:] == ["install", *packages]


def test_environments_of_uv_have_no_pip(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "installed", Mock(return_value=False))
    monkeypatch.chdir(distribution)
    words = shlex.split(installation.install_packages(["a", "b>=2"]))
    assert words == ["uv", "pip", "install", "--python", sys.executable, "a", "b>=2"]


def test_pipx_is_told_packages(distribution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came_from(distribution, Path(__file__).parent.parent, editable=False)
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    words = shlex.split(installation.install_extra("sound"))
    assert words == ["pipx", "inject", "tool-of-a-test", "pytest>=1", "pydantic>=99", "no-such-package[fast]>=2"]


def test_the_program_is_called_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    program = tmp_path / ".venv" / "bin" / "mmi-tvr"
    assert installation.program_path() == ".venv/bin/mmi-tvr"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert installation.program_path() == "mmi-tvr"


def test_a_checkout_on_the_path_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "DISTRIBUTION", "tool-that-nobody-installed")
    assert installation.extras() == {}
    assert shlex.split(installation.install_extra("train"))[-1].endswith("[train]")


def test_a_missing_dependency_carries_its_command(distribution: Path) -> None:
    with pytest.raises(MissingExtra, match=r"no_such_module is not installed: .* install 'pytest>=1' ") as raised:
        installation.require("no_such_module", "sound")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.extra) == (str(raised.value), "sound")
    (distribution.parent / "broken_module.py").write_text("import what_it_needs\n")
    with pytest.raises(ModuleNotFoundError, match="what_it_needs"):  # what an installed module lacks is another matter
        installation.require("broken_module", "sound")
