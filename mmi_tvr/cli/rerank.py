"""`rerank tune`: does re-ranking pay on my own videos, and with which settings?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from .. import config, plugins
from ..errors import UsageError
from ..evaluation.rerank_tuning import Measured, RerankSetting, Tuning
from ..library import Library
from ..library.tuning import RerankingTuned
from ..utils.tables import interval, text_table
from ..utils.wording import counted, library_option
from ._console import ConfigOption, JsonOption, LibraryOption, SetOption, out, print_json, say, show_progress
from ._pools import say_unread_pools

group = typer.Typer(help="Re-ranking, and whether it pays.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group `rerank` to the command line."""
    app.add_typer(group, name="rerank")


@group.callback()
def _group() -> None:
    """Keep `tune` a command of its own, though it is the only one."""


@group.command()
def tune(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="where the table's files are; default: the library's only folder"),
    ] = None,
    *,
    library: LibraryOption,
    captions: Annotated[
        Path, typer.Option(help="your captions: a table (.tsv with a header, or .jsonl) with a column `file`")
    ],
    column: Annotated[str | None, typer.Option(help="which column holds the captions; * for all")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many videos of the table")] = None,
    questions: Annotated[
        list[int] | None, typer.Option(min=1, help="try so many of the chosen questions; may be repeated")
    ] = None,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose weight, depth and number of questions on your own captions by cross-validation; say whether it pays.

    The settings of re-ranking in the library stay as they are. Run it again after an interruption: what was answered
    and judged is not asked for again.
    """
    say_unread_pools(library)
    with Library(library, settings=config.load(settings, set_ or ())) as opened:
        options = {
            "root": folder or _only_folder(opened),
            "captions": captions,
            "column": column,
            "missing": "skip",
            "limit": limit,
        }
        dataset = plugins.build("datasets", "folder", options)
        texts = {sample.video.path.resolve(): sample.captions for sample in dataset.samples()}
        with show_progress() as progress:
            tuned = opened.tune_reranking(texts, questions, progress)
    left_out = [*dataset.missing, *map(str, tuned.unknown)]
    if left_out:
        say(f"left out {counted(len(left_out), 'file')} that the library does not have, first {escape(left_out[0])}")
    if tuned.lambda_v:
        say(f"tuned without looks at the videos (rerank.lambda_v={tuned.lambda_v:g} counts in searches alone)")
    if as_json:
        print_json(_document(tuned))
    else:
        _print_tuned(tuned, library, [*(["--config", str(settings)] if settings else []), *_set_options(set_ or ())])


def _only_folder(library: Library) -> Path:
    roots = [root.path for root in library.status().roots]
    if len(roots) != 1 or not roots[0].is_dir():
        raise UsageError("say where the table's files are: mmi-tvr rerank tune DIR --captions FILE")
    return roots[0]


def _document(tuned: RerankingTuned) -> dict[str, Any]:
    return {
        **tuned.tuning.as_dict(),
        "judge": tuned.judge,
        "usage": tuned.usage.as_dict(),
        "left_out": [str(path) for path in tuned.unknown],
        "settings": _settings(tuned.tuning.best),
    }


def _settings(best: RerankSetting) -> list[str]:
    """Return the changes of settings that make a choice."""
    if best.lambda_s == 0:
        return ["rerank=null"]
    return [f"rerank.lambda_s={best.lambda_s:g}", f"rerank.depth={best.depth}", f"rerank.questions={best.questions}"]


def _set_options(changes: Sequence[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def _print_tuned(tuned: RerankingTuned, library: Path, options: Sequence[str]) -> None:
    """Print what was measured, and the command that has the library remember the choice.

    Args:
        tuned: what was measured.
        library: its folder.
        options: the settings that the command was given, which belong to what was measured.
    """
    tuning = tuned.tuning
    out.print(
        f"{counted(tuning.captions, 'caption')} of {counted(tuning.videos, 'video')}, judged by {tuned.judge}; "
        f"chosen and measured on different videos ({counted(tuning.folds, 'fold')}); R@1 in percent, 95 % intervals",
        markup=False,
    )
    rows = [["plain search", _recall(tuning.plain)], ["re-ranked", _recall(tuning.reranked)]]
    rows.append(["difference", interval(*tuning.gain, signed=True)])
    for line in [*text_table(rows), "", *_curves(tuning), "", _verdict(tuning)]:
        out.print(line, markup=False)
    usage = tuned.usage
    say(f"[dim]{usage.seconds:.0f} s, {counted(usage.calls, 'call')} of a language model, {usage.tokens:,} tokens[/]")
    needed = options if tuning.best.lambda_s else ()
    changes = shlex.join([*needed, *_set_options(_settings(tuning.best))])
    say(f"to have it so from now on: mmi-tvr index {escape(library_option(library))} {escape(changes)}")


def _curves(tuning: Tuning) -> list[str]:
    """Return, for each setting, what its values give while the two others are the best ones."""
    best = tuning.best if tuning.best.lambda_s else _best_judged(tuning)
    lines: list[str] = []
    for name in asdict(best):
        rows = [[name, "R@1", "MRR"]]
        for choice, measured in tuning.curve.items():
            values, others = asdict(choice), asdict(best)
            value = values.pop(name)
            others.pop(name)
            if values == others or (name == "lambda_s" and value == 0):
                mark = " *" if choice == tuning.best else ""
                rows.append([f"{value:g}{mark}", _recall(measured), f"{measured.reciprocal_rank:.3f}"])
        lines += [*text_table(rows), ""] if len(rows) > 2 else []
    held = f"lambda_s {best.lambda_s:g}, depth {best.depth}, {counted(best.questions, 'question')}"
    return [*lines, f"* the best on all captions; where one setting varies, the others are {held}"]


def _best_judged(tuning: Tuning) -> RerankSetting:
    judged = {choice: one.reciprocal_rank for choice, one in tuning.curve.items() if choice.lambda_s}
    return max(judged, key=lambda choice: judged[choice])


def _verdict(tuning: Tuning) -> str:
    value, low, _ = tuning.gain
    if tuning.pays:
        return f"re-ranking pays: {value:+.1f} R@1 on videos that took no part in the choice"
    if tuning.best.lambda_s == 0:
        return "re-ranking does not pay here: no weight of the judge ranks better than plain search"
    few = f", with {counted(tuning.captions, 'caption')}" if low <= 0 < value else ""
    return f"re-ranking is not shown to pay here: what it adds may be chance{few}"


def _recall(measured: Measured) -> str:
    return interval(measured.recall, measured.low, measured.high)
