"""`models`: which there are, which are worth downloading, and how one comes onto this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from .. import models
from ..encoders import curated, hub
from ..encoders.clip import MODEL_TYPES
from ._console import JsonOption, out, print_json, say, show_progress

group = typer.Typer(help="Which models could answer now; which are worth downloading; and `get`, which downloads one.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="models")


@group.callback(invoke_without_command=True)
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """The models there are, which of them could be loaded now, and which one `auto` means."""
    if context.invoked_subcommand:
        return
    lines = list(usable_models())
    auto = models.resolve(models.section("auto"))
    if as_json:
        print_json({"models": lines, "auto": {"name": auto.name, **auto.options}})
        return
    for line in lines:
        out.print(f"{line['name']:<14} {'ready' if line['ready'] else 'needs'}  {line['detail']}", markup=False)
    checkpoint = auto.options.get("checkpoint")
    out.print(f"{'auto':<14} means  {auto.name}{f' with {checkpoint}' if checkpoint else ''}", markup=False)


@group.command("list")
def list_curated(as_json: JsonOption = False) -> None:
    """Checkpoints worth downloading: size, languages, licence, and what each is good at."""
    on_disk = {model.name for model in hub.cached(MODEL_TYPES)}
    if as_json:
        print_json({"models": [_curated_line(model, on_disk) for model in curated.CURATED]})
        return
    for number, model in enumerate(curated.CURATED):
        notes = ["recommended"] * (number == 0) + ["on this machine"] * (model.repository in on_disk)
        out.print(f"{model.name:<17} {model.size / 1e9:>4.1f} GB  {', '.join(notes)}".rstrip(), markup=False)
        out.print(f"  {model.repository}; languages: {model.languages}; licence: {model.licence}", markup=False)
        out.print(f"  {model.strength}", markup=False)
    out.print("to fetch one: mmi-tvr models get NAME", markup=False)


@group.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a name of `models list`, recommended, or a hub name")],
) -> None:
    """Download a model into the Hugging Face cache; new libraries may take it by themselves from then on."""
    from ..hub import resolve

    repository = curated.repository(name)
    with show_progress() as progress:
        section = resolve(repository, download=True, progress=progress)
    folder = hub.locate(repository)
    kind = hub.model_type(folder)
    if not models.settings_file(folder) and kind not in MODEL_TYPES:
        say(f"{escape(repository)} is on this machine: a {kind} checkpoint, which a settings file can name as a base.")
        return
    spelling = models.spelled(section)
    automatic = models.resolve(models.section("auto")) == section
    say(
        f"{escape(repository)} is on this machine. "
        + ("New libraries take it by themselves" if automatic else f"To use it: --model {escape(spelling)}")
        + "; a library that has a model goes on with that one, and --rebuild changes it."
    )
    out.print(f"--model {spelling}", markup=False)


def usable_models() -> Iterator[dict[str, Any]]:
    """Yield every way of using a model: what is bundled, ours, and those of other packages."""
    for name, line in models.availability():
        checkpoint = {"checkpoint": line.checkpoint} if line.checkpoint else {}
        yield {"name": name, "ready": line.ready, "detail": line.detail, **checkpoint}


def _curated_line(model: curated.CuratedModel, on_disk: set[str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "repository": model.repository,
        "bytes": model.size,
        "languages": model.languages,
        "licence": model.licence,
        "strength": model.strength,
        "recommended": model is curated.CURATED[0],
        "on_disk": model.repository in on_disk,
    }
