"""`prompts`: the question pools, looked at, edited and checked. What needs a model is in `questions.py`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..errors import ConfigError, MmiTvrError, UsageError
from ..questions import editing, pool, selection
from ..questions.pool import Pool, PoolQuestion
from ._console import JsonOption, ModelOption, out, print_json, say

_SHOWN = 10  # pairs of like questions
group = typer.Typer(help="The questions that are asked about texts and videos.", no_args_is_help=True)


class About(str, Enum):
    """Which of the two pools."""

    text = "text"
    video = "video"


Kind = Enum("Kind", {name: name for name in pool.KINDS}, type=str)  # type: ignore[misc]
AboutOption = Annotated[About | None, typer.Option("--about", help="one of the two pools; default: both")]
PoolOption = Annotated[Path | None, typer.Option("--pool", metavar="FILE", help="a pool of yours, instead of the two")]
KindOption = Annotated[Kind | None, typer.Option(help="what the question asks for")]
NoteOption = Annotated[str | None, typer.Option(help="when the question helps")]
LanguageOption = Annotated[str | None, typer.Option(help="code of the question's language")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="of a question, such as t07")]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="of questions, such as t07 v12")]


def register(app: typer.Typer) -> None:
    from . import questions

    app.add_typer(group, name="prompts")
    for name in ("generate", "cluster", "choose", "preview", "plot", "score"):
        group.command(name)(getattr(questions, name))


@group.command("list")
def list_(
    about: AboutOption = None,
    kind: KindOption = None,
    chosen: Annotated[bool, typer.Option("--chosen", help="only the questions that are asked")] = False,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every question: * is chosen, - is disabled."""
    documents: dict[str, list[dict[str, Any]]] = {}
    for found in pools(about, file):
        asked = _chosen(found)
        documents[found.about] = listed = [
            _document(question, asked)
            for question in found.questions
            if (kind is None or question.kind == kind.value) and (question.id in asked or not chosen)
        ]
        if as_json:
            continue
        counts = f"{len(found.enabled)} of {len(found.questions)} enabled, {len(asked)} chosen"
        out.print(f"[bold]{escape(str(found.path))}[/] ({counts})")
        for each in listed:
            mark = "*" if each["chosen"] else " " if each["enabled"] else "-"
            out.print(f"{mark} {each['id']:<5} {each['kind']:<11} {each['text']}", markup=False)
    if as_json:
        print_json(documents)


@group.command()
def show(id: IdArgument, about: AboutOption = None, file: PoolOption = None, as_json: JsonOption = False) -> None:
    """All that is known of one question."""
    found = holder(id, about, file)
    document = {"pool": str(found.path), **_document(found[id], _chosen(found))}
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
    about: AboutOption = None,
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
    (found,) = pools(about, file)
    question = PoolQuestion(editing.free_id(found), text, kind.value, language or "en", note=note or "")
    changed = editing.add(_own(found), [question])
    _report(changed, [question.id], "added", as_json)


@group.command()
def edit(
    id: IdArgument,
    text: Annotated[str | None, typer.Option(help="other words")] = None,
    kind: KindOption = None,
    note: NoteOption = None,
    language: LanguageOption = None,
    about: AboutOption = None,
    file: PoolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change one question: by the options, or without any, in $EDITOR. What is no question is not written."""
    found = holder(id, about, file)
    given = {"text": text, "kind": kind.value if kind else None, "note": note, "language": language}
    values: dict[str, str | bool] = {name: value for name, value in given.items() if value is not None}
    changed = editing.change(_own(found), [id], values) if values else _in_editor(found, id)
    _report(changed, [each.id for each in changed.questions if each not in found.questions], "changed", as_json)


@group.command()
def disable(ids: IdsArgument, about: AboutOption = None, file: PoolOption = None, as_json: JsonOption = False) -> None:
    """Keep questions, and ask them no more."""
    _switch(ids, about, file, as_json, False)


@group.command()
def enable(ids: IdsArgument, about: AboutOption = None, file: PoolOption = None, as_json: JsonOption = False) -> None:
    """Let questions be chosen and asked (again)."""
    _switch(ids, about, file, as_json, True)


@group.command()
def remove(ids: IdsArgument, about: AboutOption = None, file: PoolOption = None, as_json: JsonOption = False) -> None:
    """Take questions out for good; the file as it was stays beside it as *.bak."""
    _for_each(ids, about, file, "removed", as_json, editing.remove)


@group.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="pools; none: the two")] = None,
    model: ModelOption = None,
    similar: Annotated[
        float, typer.Option(min=0, max=1, help="likeness from which two questions are pointed out")
    ] = 0.7,
    no_similar: Annotated[bool, typer.Option("--no-similar", help="do not compare meanings; needs no model")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with the pools, with line numbers (exit code 1), and what may be: questions that mean nearly
    the same, a choice that is out of date."""
    documents = []
    made = None if no_similar else _comparing(model)
    for which in files or pool.ABOUT:
        document: dict[str, Any] = {"path": str(which), "problems": [], "warnings": []}
        try:
            found = pool.load(which)
            document |= {"path": str(found.path), "about": found.about}
            document |= {"questions": len(found.questions), "enabled": len(found.enabled)}
            if reason := _outdated(found):
                document["warnings"].append(reason)
            document["warnings"] += _alike(found, made, similar) if made else []
        except ConfigError as error:
            document["path"], document["problems"] = str(error).partition(": ")[0], list(error.problems)
        except UsageError as error:
            document["problems"] = [str(error)]
        documents.append(document)
    good = not any(document["problems"] for document in documents)
    if as_json:
        print_json({"ok": good, "pools": documents})
    else:
        for document in documents:
            _print_check(document)
    if not good:
        raise typer.Exit(1)


def pools(about: About | None, file: Path | None) -> list[Pool]:
    """The pools that are meant: the file, or one of the two, or both."""
    if file is not None:
        found = pool.load(file)
        if about is not None and found.about != about.value:
            raise UsageError(f"{found.path} is about {found.about}, not about {about.value}")
        return [found]
    return [pool.load(about.value)] if about else [pool.load(name) for name in pool.ABOUT]


def holder(id: str, about: About | None, file: Path | None) -> Pool:
    """The pool that holds this id. UsageError where none does, or both do."""
    found = pools(about, file)
    holding = [each for each in found if id in each]
    if len(holding) > 1:
        raise UsageError(f"both pools have the id {id!r}: say which with --about")
    if not holding:
        places = " and ".join(str(each.path) for each in found)
        raise UsageError(f"no question has the id {id!r} in {places} (mmi-tvr prompts list shows them)")
    return holding[0]


def writable(found: Pool) -> Pool:
    """The pool, or the copy of a packaged one that is to be changed in its place; says so where it was just made."""
    path, copied = editing.editable_path(found.path)
    if copied:
        say(f"the pool is the package's own: copied to {escape(str(path))}, which is used from here on")
    return found if path == found.path else pool.load(path)


def _own(found: Pool) -> Path:
    return writable(found).path


def _switch(ids: Sequence[str], about: About | None, file: Path | None, as_json: bool, enabled: bool) -> None:
    def change(path: Path, own: Sequence[str]) -> Pool:
        return editing.change(path, own, {"enabled": enabled})

    _for_each(ids, about, file, "enabled" if enabled else "disabled", as_json, change)


def _for_each(
    ids: Sequence[str],
    about: About | None,
    file: Path | None,
    done: str,
    as_json: bool,
    change: Callable[[Path, Sequence[str]], Pool],
) -> None:
    """Change the questions of each pool in one go; an id that is nowhere stops all before anything is written."""
    by_path: dict[Path, tuple[Pool, list[str]]] = {}
    for id in dict.fromkeys(ids):
        found = holder(id, about, file)
        by_path.setdefault(found.path, (found, []))[1].append(id)
    documents = []
    for found, own in by_path.values():
        changed = change(_own(found), own)
        documents.append({"pool": str(changed.path), done: own, "enabled": len(changed.enabled)})
        if not as_json:
            _say_changed(changed, own, done)
    if as_json:
        print_json({"pools": documents})


def _report(changed: Pool, ids: Sequence[str], done: str, as_json: bool) -> None:
    if as_json:
        questions = [_document(changed[id], _chosen(changed)) for id in ids]
        print_json({"pool": str(changed.path), done: questions})
    else:
        _say_changed(changed, ids, done)


def _say_changed(changed: Pool, ids: Sequence[str], done: str) -> None:
    told = f"{done} {', '.join(ids)}" if ids else "nothing changed"
    say(f"{told} in {escape(str(changed.path))} ({len(changed.enabled)} of {len(changed.questions)} enabled)")
    if ids and (reason := _outdated(changed)):
        say(f"[yellow]{escape(reason)}[/]")


def _in_editor(found: Pool, id: str) -> Pool:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("no editor is set: set EDITOR, or say what to change (--text, --kind, --note, --language)")
    folder = Path(tempfile.mkdtemp(prefix="mmi-tvr-"))
    draft = folder / f"{id}.yaml"
    draft.write_text(editing.question_yaml(found[id]), encoding="utf-8")
    try:
        code = subprocess.run([*shlex.split(editor), str(draft)], check=False).returncode
    except (OSError, ValueError) as error:
        raise UsageError(f"EDITOR={editor}: cannot be started ({error})") from error
    if code:
        raise UsageError(f"EDITOR={editor} ended with {code}: nothing is changed")
    try:
        text = pool.read_text(draft)
        changed = found if text == editing.question_yaml(found[id]) else editing.replace(_own(found), id, text)
    except MmiTvrError:
        say(f"nothing is changed; your draft is {escape(str(draft))}")
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return changed


def _document(question: PoolQuestion, chosen: Sequence[str]) -> dict[str, Any]:
    return {**asdict(question), "chosen": question.id in chosen}


def _chosen(found: Pool) -> tuple[str, ...]:
    """The ids that are asked now; none where nothing was chosen."""
    lock = selection.read(found)
    return tuple(id for id in lock.chosen if id in found and found[id].enabled) if lock else ()


def _outdated(found: Pool) -> str | None:
    lock = selection.read(found)
    return (
        selection.stale_reason(lock, found)
        if lock
        else f"no questions are chosen yet; run: {selection.choose_command(found)}"
    )


def _comparing(model: str | None) -> Any:
    """The model that compares meanings. Decision: the offline one if nothing else is said, which reads sentences of
    many languages; a model that was trained on a few captions finds all other sentences alike."""
    from .. import models

    return models.make(models.section(model or models.FALLBACK))


def _alike(found: Pool, model: Any, threshold: float) -> list[str]:
    """Pairs of enabled questions that mean nearly the same."""
    import numpy as np

    from ..questions.clustering import similar_pairs
    from ..types import Query

    asked = found.enabled
    vectors = np.asarray(model.embed_queries([Query(question.text) for question in asked]), dtype=np.float64)
    found_alike = similar_pairs(vectors, threshold)
    told = [
        f"{asked[one].id} and {asked[other].id} are nearly the same to {model.name} ({cosine:.2f}): "
        f"{asked[one].text} / {asked[other].text}"
        for one, other, cosine in found_alike[:_SHOWN]
    ]
    return [*told, f"and {len(found_alike) - _SHOWN} more such pairs"] if len(found_alike) > _SHOWN else told


def _print_check(document: dict[str, Any]) -> None:
    if document["problems"]:
        count = len(document["problems"])
        out.print(f"[red]{escape(document['path'])}[/]: {count} problem{'s' if count > 1 else ''}")
    else:
        counts = f"{document['enabled']} of {document['questions']} questions enabled"
        out.print(f"[green]{escape(document['path'])}[/]: {counts}, no problem")
    for problem in document["problems"]:
        out.print(f"  {problem}", markup=False)
    for warning in document["warnings"]:
        out.print(f"  warning: {warning}", markup=False)
