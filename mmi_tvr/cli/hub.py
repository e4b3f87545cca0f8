"""`hub`: trained models to the Hugging Face hub, and from it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import UsageError
from ._console import out, say, show_progress

group = typer.Typer(help="Trained models on the Hugging Face hub.", no_args_is_help=True)
ModelArgument = Annotated[str, typer.Argument(metavar="RUN/model", help="what training wrote, or a bundled model")]
NameArgument = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="its name on the hub")]
ReportOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="what `evaluate --output` wrote, for the card; may be repeated"),
]
BaseOption = Annotated[
    str | None,
    typer.Option(metavar="OWNER/NAME", help="where others find the base checkpoint; default: a local one goes along"),
]
LicenseOption = Annotated[str | None, typer.Option(help="as the hub spells it: apache-2.0, mit, ...")]
NoteOption = Annotated[str, typer.Option(help="a sentence about limits, for the card")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="hub")


@group.command()
def push(
    model: ModelArgument,
    name: NameArgument,
    report: ReportOption = None,
    private: Annotated[bool, typer.Option("--private", help="a new repository that only you see")] = False,
    base: BaseOption = None,
    license: LicenseOption = None,
    note: NoteOption = "",
    card: Annotated[Path | None, typer.Option("--card", metavar="FILE", help="a card that you wrote")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="keep here what is pushed; default: a temporary folder")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write and show everything, and send nothing")] = False,
) -> None:
    """Upload adapter, heads, settings and a model card. With --dry-run nothing leaves this machine."""
    from .. import hub

    text = _read_text(card) if card else None
    with tempfile.TemporaryDirectory() as temporary:
        prepared = hub.prepare(
            model,
            name,
            output or Path(temporary) / "model",
            reports=report or (),
            base=base,
            license=license,
            note=note,
            text=text,
        )
        for file, size in prepared.files:
            say(f"{size:>13,}  {escape(file)}")
        say(f"{prepared.size:>13,}  bytes{f' in {escape(str(output))}' if output else ''}")
        if dry_run:
            out.print(prepared.card, markup=False)
        else:
            out.print(hub.push(prepared, private=private), markup=False)


@group.command()
def card(
    model: ModelArgument,
    name: NameArgument,
    report: ReportOption = None,
    base: BaseOption = None,
    license: LicenseOption = None,
    note: NoteOption = "",
) -> None:
    """Print the model card that `push` would upload; edit it, and push it with --card."""
    from .. import hub

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        prepared = hub.prepare(model, name, folder, reports=report or (), base=base, license=license, note=note)
    out.print(prepared.card, markup=False)


@group.command()
def pull(name: NameArgument) -> None:
    """Fetch a trained model, and the base that it refers to, into the local Hugging Face cache."""
    from .. import hub, models

    with show_progress() as progress:
        section = hub.resolve(name, download=True, progress=progress)
    out.print(f"--model {models.spelled(section)}", markup=False)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as text: {error}") from error
