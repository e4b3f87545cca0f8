"""How this package is installed: its extras, what they lack, and the command that adds it here.

Decision: no package index has this project, so `pip install 'mmi-tvr[train]'` works nowhere. The commands below name
the checkout that was installed from, where it is still there, and else the packages themselves, which every index has.
They name the Python that runs now, so that no environment need be activated.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import MissingExtra

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "mmi-tvr"
_SOURCES = Path(__file__).parents[2]  # the checkout, where the package runs from one
_OUR_EXTRAS = frozenset({"bench", "dev", "mutation"})  # of work on this package, not with it


@dataclass(frozen=True, slots=True)
class ExtraPackage:
    """A package of an extra; `version` is None where it is missing, `fits` says whether a version is new enough."""

    name: str
    version: str | None
    fits: bool


def require(module: str, extra: str) -> Any:
    """Import an optional dependency at use; where it is missing, the error carries the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == module.partition(".")[0]:
            raise MissingExtra(module, extra, install_extra(extra)) from error
        raise


def packaged_file(package: str, *parts: str, extra: str) -> Path:
    """Return a file or folder that another package, of an extra, carries, without importing that package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(package, extra, install_extra(extra))
    return Path(spec.submodule_search_locations[0], *parts)


def installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def extras() -> Mapping[str, tuple[ExtraPackage, ...]]:
    """Return the extras for users of the package, and what is installed of each."""
    try:
        names = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ()
    except importlib.metadata.PackageNotFoundError:  # a checkout that is on the path, and was never installed
        return {}
    return {
        name: tuple(_installed(requirement) for requirement in _requirements(name))
        for name in names
        if name not in _OUR_EXTRAS
    }


def install_extra(extra: str) -> str:
    """Return the command that adds an extra to this environment."""
    checkout, editable = _checkout()
    if checkout is None or _of_pipx():  # pipx takes packages alone
        return install_packages(_specification(requirement) for requirement in _requirements(extra))
    target = f"{relative_path(checkout)}[{extra}]"
    return f"{_installer()} {'-e ' if editable else ''}{shlex.quote(target)}"


def install_packages(names: Iterable[str]) -> str:
    """Return the command that adds packages of an index to this environment."""
    return f"{_installer()} {' '.join(map(shlex.quote, names))}"


def _installed(requirement: Requirement) -> ExtraPackage:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return ExtraPackage(requirement.name, None, False)
    return ExtraPackage(requirement.name, version, requirement.specifier.contains(version, prereleases=True))


def _requirements(extra: str) -> list[Requirement]:
    """Return what an extra adds to the plain installation."""
    from packaging.requirements import Requirement

    every = map(Requirement, importlib.metadata.requires(DISTRIBUTION) or ())
    return [
        requirement
        for requirement in every
        if requirement.marker
        and requirement.marker.evaluate({"extra": extra})
        and not requirement.marker.evaluate({"extra": ""})
    ]


def _specification(requirement: Requirement) -> str:
    """Return a requirement without its marker, as an installer takes it."""
    options = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{options}{requirement.specifier}"


def _checkout() -> tuple[Path | None, bool]:
    """Return the folder that this package was installed from (PEP 610), and whether as editable."""
    try:
        text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return _SOURCES, True
    origin = json.loads(text) if text else {}
    if "dir_info" not in origin:
        return None, False
    folder = Path(url2pathname(urlsplit(origin["url"]).path))
    return (folder if (folder / "pyproject.toml").is_file() else None), bool(origin["dir_info"].get("editable"))


def _installer() -> str:
    """Return the installer that works for this Python; environments of pipx and uv have no pip."""
    if _of_pipx():
        return f"pipx inject {DISTRIBUTION}"
    python = shlex.quote(relative_path(Path(sys.executable)))
    if not installed("pip"):
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"


def _of_pipx() -> bool:
    return (Path(sys.prefix) / "pipx_metadata.json").is_file()


def relative_path(path: Path) -> str:
    """Return a path as it is short from the working folder."""
    working_folder = Path.cwd()
    return str(path.relative_to(working_folder)) if path.is_relative_to(working_folder) else str(path)


def program_path() -> str:
    """Return how a person calls our program here: its name where a shell finds this environment's, else its path."""
    program = Path(sys.executable).with_name(DISTRIBUTION)
    on_path = shutil.which(DISTRIBUTION)
    return DISTRIBUTION if on_path and Path(on_path).resolve() == program.resolve() else relative_path(program)
