"""`prompts`: the question pools, listed, edited and checked; commands that need a model are in `selection.py` and
`chosen_questions.py`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..errors import MmiTvrError, UsageError
from ..library import pools_folder
from ..questions import checking, editing, pool
from ..questions import selection as question_selection
from ..questions.pool import Pool, PoolQuestion
from ..questions.selection import chosen_ids, question_document
from ..utils.printable import printable
from ..utils.wording import counted
from . import chosen_questions, selection
from ._console import JsonOption, LibraryOption, ModelOption, out, print_json, say
from ._pools import (
    AboutOption,
    PoolChoice,
    PoolOption,
    say_unread_pools,
)

group = typer.Typer(help="The questions that are asked about texts and videos.", no_args_is_help=True)

KindChoice = Enum("KindChoice", {name: name for name in pool.KINDS}, type=str)  # type: ignore[misc]
KindOption = Annotated[KindChoice | None, typer.Option(help="what the question asks for")]
NoteOption = Annotated[str | None, typer.Option(help="when the question helps")]
LanguageOption = Annotated[str | None, typer.Option(help="code of the question's language")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="of a question, such as t07")]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="of questions, such as t07 v12")]


def register(app: typer.Typer) -> None:
    """Add the group `prompts` to the command line."""
    app.add_typer(group, name="prompts")


@group.command("list")
def list_(
    *,
    about: AboutOption = None,
    library: LibraryOption,
    kind: KindOption = None,
    chosen: Annotated[bool, typer.Option("--chosen", help="only the questions that are asked")] = False,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every question: * is chosen, - is disabled."""
    documents: dict[str, list[dict[str, Any]]] = {}
    for questions in PoolChoice(about, file, library).load():
        chosen_now = chosen_ids(questions)
        rows = []
        for question in questions.questions:
            if kind is not None and question.kind != kind.value:
                continue
            if not chosen or question.id in chosen_now:
                rows.append(question_document(question, chosen_now))
        documents[questions.about] = rows
        question_selection.warn_if_stale(questions)
        if not as_json:
            _print_list(questions, rows, len(chosen_now))
    if as_json:
        print_json(documents)


@group.command()
def show(
    id: IdArgument,
    *,
    about: AboutOption = None,
    library: LibraryOption,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """All that is known of one question."""
    choice = PoolChoice(about, file, library)
    questions = choice.with_question(id)
    document = {"pool": str(questions.path), **question_document(questions[id], chosen_ids(questions))}
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {text}" for key, text in value.items())
        if value not in ("", None):
            out.print(f"{name:<11} {str(value).lower() if isinstance(value, bool) else value}", markup=False)


@group.command()
def add(
    text: Annotated[str, typer.Argument(help="the question")],
    *,
    about: AboutOption = None,
    library: LibraryOption,
    kind: KindOption = None,
    note: NoteOption = None,
    language: LanguageOption = None,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append a question; its id is the next one."""
    if about is None and file is None:
        raise UsageError("say what the question is about: --about text or --about video")
    if kind is None:
        raise UsageError(f"say what the question asks for: --kind, one of {', '.join(pool.KINDS)}")
    choice = PoolChoice(about, file, library)
    (questions,) = choice.load()
    question = PoolQuestion(editing.free_id(questions), text, kind.value, language or "en", note=note or "")
    changed = editing.add(choice.editable(questions).path, [question])
    _report_questions(changed, [question.id], "added", as_json)


@group.command()
def edit(
    id: IdArgument,
    *,
    library: LibraryOption,
    text: Annotated[str | None, typer.Option(help="other words")] = None,
    kind: KindOption = None,
    note: NoteOption = None,
    language: LanguageOption = None,
    about: AboutOption = None,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change one question: by the options, or without any, in $EDITOR. What is no question is not written."""
    choice = PoolChoice(about, file, library)
    questions = choice.with_question(id)
    fields = {"text": text, "kind": kind.value if kind else None, "note": note, "language": language}
    values: dict[str, str | bool] = {name: value for name, value in fields.items() if value is not None}
    if not values:
        changed = _edit_in_editor(choice, questions, id)
    else:
        path = choice.editable(questions).path
        changed = editing.change(path, [id], values)
    changed_ids = [question.id for question in changed.questions if question not in questions.questions]
    _report_questions(changed, changed_ids, "changed", as_json)


@group.command()
def disable(
    ids: IdsArgument,
    *,
    about: AboutOption = None,
    library: LibraryOption,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep questions, and ask them no more."""
    _set_enabled(ids, PoolChoice(about, file, library), as_json, enabled=False)


@group.command()
def enable(
    ids: IdsArgument,
    *,
    about: AboutOption = None,
    library: LibraryOption,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let questions be chosen and asked (again)."""
    _set_enabled(ids, PoolChoice(about, file, library), as_json, enabled=True)


@group.command()
def remove(
    ids: IdsArgument,
    *,
    about: AboutOption = None,
    library: LibraryOption,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take questions out for good; the file as it was stays beside it as *.bak."""
    _edit_pools(ids, PoolChoice(about, file, library), "removed", as_json, editing.remove)


@group.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="pools; none: the library's")] = None,
    *,
    library: LibraryOption,
    model: ModelOption = None,
    similar: Annotated[
        float, typer.Option(min=0, max=1, help="likeness from which two questions are pointed out")
    ] = checking.SIMILAR,
    no_similar: Annotated[bool, typer.Option("--no-similar", help="do not compare meanings; needs no model")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with the pools, with line numbers (exit code 1), and what may be: questions that mean nearly
    the same, a choice that is out of date."""
    comparing_model = None if no_similar else checking.comparing_model(model)
    documents = [checking.check_document(which, comparing_model, similar) for which in files or _library_files(library)]
    ok = not any(document["problems"] for document in documents)
    if as_json:
        print_json({"ok": ok, "pools": documents})
    else:
        for document in documents:
            _print_check(document)
    if not ok:
        raise typer.Exit(1)


selection.register(group)  # after the commands above, so that --help lists these last
chosen_questions.register(group)


def _library_files(library: Path) -> list[str | Path]:
    say_unread_pools(library)
    return [*pool.in_folder(pools_folder(library)).values()]


def _set_enabled(ids: Sequence[str], choice: PoolChoice, as_json: bool, *, enabled: bool) -> None:
    def change(path: Path, pool_ids: Sequence[str]) -> Pool:
        return editing.change(path, pool_ids, {"enabled": enabled})

    _edit_pools(ids, choice, "enabled" if enabled else "disabled", as_json, change)


def _edit_pools(
    ids: Sequence[str],
    choice: PoolChoice,
    participle: str,
    as_json: bool,
    change: Callable[[Path, Sequence[str]], Pool],
) -> None:
    """Change the questions of each pool in one go; an unknown id stops all before anything is written.

    Args:
        ids: of questions of either pool.
        choice: of the pools.
        participle: what is printed of the questions: added, removed.
        as_json: whether a document is printed.
        change: writes the change of the questions with these ids in this file.
    """
    pools: dict[Path, Pool] = {}
    ids_of: dict[Path, list[str]] = {}
    for id in dict.fromkeys(ids):
        questions = choice.with_question(id)
        pools[questions.path] = questions
        ids_of.setdefault(questions.path, []).append(id)
    documents = []
    for path, questions in pools.items():
        changed = change(choice.editable(questions).path, ids_of[path])
        documents.append({"pool": str(changed.path), participle: ids_of[path], "enabled": len(changed.enabled)})
        if not as_json:
            _say_changed(changed, ids_of[path], participle)
    if as_json:
        print_json({"pools": documents})


def _report_questions(changed: Pool, ids: Sequence[str], participle: str, as_json: bool) -> None:
    if as_json:
        documents = [question_document(changed[id], chosen_ids(changed)) for id in ids]
        print_json({"pool": str(changed.path), participle: documents})
    else:
        _say_changed(changed, ids, participle)


def _say_changed(changed: Pool, ids: Sequence[str], participle: str) -> None:
    change = f"{participle} {', '.join(ids)}" if ids else "nothing changed"
    say(f"{change} in {escape(str(changed.path))} ({len(changed.enabled)} of {len(changed.questions)} enabled)")
    if ids and (warning := checking.selection_warning(changed)):
        say(f"[yellow]{escape(warning)}[/]")


def _edit_in_editor(choice: PoolChoice, questions: Pool, id: str) -> Pool:
    """Open one question in $VISUAL or $EDITOR and return the changed pool; a refused draft is left on disk."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("no editor is set: set EDITOR, or say what to change (--text, --kind, --note, --language)")
    folder = Path(tempfile.mkdtemp(prefix="mmi-tvr-"))
    draft = folder / f"{id}.yaml"
    before = editing.question_yaml(questions[id])
    draft.write_text(before, encoding="utf-8")
    try:
        code = subprocess.run([*shlex.split(editor), str(draft)], check=False).returncode
    except (OSError, ValueError) as error:
        raise UsageError(f"EDITOR={editor}: cannot be started ({error})") from error
    if code:
        raise UsageError(f"EDITOR={editor} ended with {code}: nothing is changed")
    try:
        text = pool.read_text(draft)
        changed = questions if text == before else editing.replace(choice.editable(questions).path, id, text)
    except MmiTvrError:
        say(f"nothing is changed; your draft is {escape(str(draft))}")
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return changed


def _print_list(questions: Pool, rows: Sequence[dict[str, Any]], chosen: int) -> None:
    counts = f"{len(questions.enabled)} of {len(questions.questions)} enabled, {chosen} chosen"
    out.print(f"[bold]{escape(printable(questions.path))}[/] ({counts})")
    for row in rows:
        mark = "*" if row["chosen"] else " " if row["enabled"] else "-"
        out.print(f"{mark} {row['id']:<5} {row['kind']:<11} {row['text']}", markup=False)


def _print_check(document: dict[str, Any]) -> None:
    if document["problems"]:
        count = len(document["problems"])
        out.print(f"[red]{escape(document['path'])}[/]: {count} problem{'s' if count > 1 else ''}")
    else:
        counts = f"{document['enabled']} of {counted(document['questions'], 'question')} enabled"
        out.print(f"[green]{escape(document['path'])}[/]: {counts}, no problem")
    for problem in document["problems"]:
        out.print(f"  {problem}", markup=False)
    for warning in document["warnings"]:
        out.print(f"  warning: {warning}", markup=False)
