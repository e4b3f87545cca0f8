"""`prompts` commands that try chosen questions: they are previewed, drawn and scored."""

from __future__ import annotations

from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..errors import UsageError
from ..questions import selection
from ..types import Answer, Sample, Skeleton, Video
from ..utils import files
from ..utils.installation import require
from ..utils.printable import printable
from ..utils.tables import bounds
from ..utils.wording import counted
from ._answering import (
    GENERATED_DATA,
    AnswererOption,
    AnswererSetOption,
    DataOption,
    answering_setup,
    load_model,
    load_samples,
)
from ._console import (
    DownloadOption,
    ForceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    out,
    print_json,
    say,
    show_progress,
)
from ._pools import AboutChoice, AboutOption, PoolChoice, PoolOption, PoolsOption

if TYPE_CHECKING:
    from ..questions.leave_one_out import LeaveOneOut


class MethodChoice(str, Enum):
    """How vectors are projected to two dimensions."""

    pca = "pca"
    tsne = "tsne"


def register(group: typer.Typer) -> None:
    """Add the commands to the group `prompts`."""
    for command in (preview, plot, score):
        group.command()(command)


def preview(
    *,
    library: LibraryOption,
    pools: PoolsOption = None,
    text: Annotated[str | None, typer.Option(help="a query or caption that answers the text questions")] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="that answers the video questions")
    ] = None,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the chosen questions of a text and of a video, and show the answers side by side."""
    from ..skeletons.skeletons import text_skeleton, video_skeleton

    if text is None and video is None:
        raise UsageError("say what is asked: --text TEXT, --video FILE, or both")
    abouts = [about for about, given in ((AboutChoice.text, text), (AboutChoice.video, video)) if given is not None]
    chosen = [questions for about in abouts for questions in PoolChoice(about, None, library).load(pools)]
    questions = {pool.about: selection.selected_questions(pool) for pool in chosen}
    skeletons: dict[str, Skeleton] = {}
    with show_progress() as progress:
        setup = answering_setup(model, download, answerer, answerer_set, library=library)
        for pool in chosen:
            selection.warn_if_stale(pool, setup.model.fingerprint())
        if text is not None:
            skeletons["text"] = text_skeleton(text, questions["text"], setup.answerer)
        if video is not None:
            (example,) = setup.examples([Sample(str(video), Video(video.absolute()), ("",))], progress)
            skeletons["video"] = video_skeleton(example.view, questions["video"], setup.answerer)
    if as_json:
        print_json({name: [_answer_json(answer) for answer in skeleton] for name, skeleton in skeletons.items()})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in skeletons:
        table.add_column(f"{name} question", style="dim", overflow="fold")
        table.add_column(name, overflow="fold")
    for row in zip_longest(*skeletons.values()):
        cells: list[Text] = []
        for answer in row:
            question, reply = (answer.question, answer.text or f"({answer.error})") if answer else ("", "")
            cells += (Text(printable(question)), Text(printable(reply)))
        table.add_row(*cells)
    out.print(table, soft_wrap=False)


def plot(
    target: Annotated[Path, typer.Argument(metavar="FILE.png", help="where the picture goes")],
    *,
    library: LibraryOption,
    force: ForceOption = False,
    about: Annotated[AboutChoice, typer.Option("--about", help="which pool")] = AboutChoice.text,
    method: Annotated[MethodChoice, typer.Option(help="PCA keeps distances; t-SNE keeps neighbours")] = (
        MethodChoice.pca
    ),
    model: ModelOption = None,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the questions in two dimensions, coloured by cluster, the chosen ones marked; needs the extra plots."""
    from ..questions import clustering, plots

    require("matplotlib", "plots")
    files.check_output(target, files.PICTURE_MARK, force)
    (pool,) = PoolChoice(about if file is None else None, file, library).load()
    lock = selection.read(pool)
    if lock is None:
        raise UsageError(f"{pool.path}: no questions are chosen yet; run: {selection.choose_command(pool)}")
    _, embedder = load_model(model or lock.model, download)
    selection.warn_if_stale(pool, embedder.fingerprint())
    points = clustering.question_vectors([question.text for question in pool.enabled], embedder)
    picture = plots.selection_png(pool, lock, points, method.value)
    files.write_output(target, picture, files.PICTURE_MARK, force)
    if as_json:
        print_json({"picture": str(target), "about": pool.about, "questions": len(points), "clusters": lock.k})
    else:
        say(f"picture: {escape(str(target))}")


def score(
    *,
    about: AboutOption = None,
    library: LibraryOption,
    every: Annotated[bool, typer.Option("--all", help="all enabled questions instead of the chosen ones")] = False,
    model: ModelOption = None,
    answerer: AnswererOption = "transformers",
    answerer_set: AnswererSetOption = None,
    data: DataOption = GENERATED_DATA,
    limit: Annotated[int, typer.Option(min=2, help="videos of the validation split")] = 50,
    file: PoolOption = None,
    download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say by how much R@1 falls where a question is left out.

    The mean of the answers' vectors is the query, and the videos of a validation split are ranked by it. A drop is
    R@1 with all questions minus R@1 without this one, in points, with a 95 % bootstrap interval over videos.
    """
    from ..questions.leave_one_out import leave_one_out

    pools = PoolChoice(about, file, library).load()
    questions = {pool.about: pool.enabled if every else selection.selected_questions(pool) for pool in pools}
    scores: dict[str, LeaveOneOut] = {}
    with show_progress() as progress:
        setup = answering_setup(model, download, answerer, answerer_set, library=library)
        examples = setup.examples(load_samples(data, "val", limit, progress), progress)
        for pool in () if every else pools:
            selection.warn_if_stale(pool, setup.model.fingerprint())
        for pool in pools:
            progress.begin(pool.about, len(examples))
            scores[pool.about] = leave_one_out(
                examples, questions[pool.about], pool.about, setup.answerer, setup.model, progress.advance
            )
    if as_json:
        print_json({name: result.as_dict() for name, result in scores.items()})
        return
    for name, result in scores.items():
        out.print(
            f"[bold]{name}[/]: R@1 {result.r1:.1f} with all "
            f"{counted(len(result.questions), 'question')}, n = {result.n}"
        )
        out.print("id     drop  [95 %]          alone  hedged  question", style="dim", markup=False)
        for row in sorted(result.questions, key=lambda row: -row.drop):
            numbers = f"{row.drop:>5.1f}  {bounds(row.low, row.high):<14} {row.alone:>6.1f}  {row.hedged:>6.0%}"
            out.print(f"{row.question:<5} {numbers}  {row.text}", markup=False)


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "question": answer.question_id,
        "asked": answer.question,
        "text": answer.text,
        "times": list(answer.times),
        "error": answer.error,
    }
