"""`index`, `search`, `status`, `remove`: a folder of videos that answers sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import config
from ..library import DescribeReport, IndexReport, Library
from ..report import aligned, clock, moment, search_page, times, verdict
from ..search import SearchResult
from ..types import Explanation, Hit
from ._console import (
    ConfigOption,
    DownloadOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    ProgressBars,
    SetOption,
    announce,
    chosen_model,
    out,
    print_json,
    say,
)

_SHOWN = 20  # quarantined files listed by name


def register(app: typer.Typer) -> None:
    for command in (index, search, status, remove):
        app.command()(command)


def index(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR...", help="folders or files; none: all known")
    ] = None,
    *,
    library: LibraryOption,
    model: ModelOption = None,
    download: DownloadOption = False,
    exclude: Annotated[list[str] | None, typer.Option(help="glob of paths to skip; may be repeated")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="try quarantined files again")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="embed everything again, with the model given now")
    ] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="ask every video the chosen questions, so that --rerank need not wait")
    ] = False,
    wait: Annotated[float, typer.Option(help="seconds to wait while another process writes")] = 60.0,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make DIR... searchable, or bring the library up to date. Only new and changed files cost work."""
    wanted = config.load(settings, set_ or ())
    described = None
    with Library(library, settings=wanted) as held:
        with ProgressBars() as progress:
            report = held.index(
                folders or (),
                model=chosen_model(model, wanted, download),
                exclude=exclude,
                retry=retry,
                rebuild=rebuild,
                wait=wait,
                progress=progress,
            )
        state = held.status()
        announce(state.model or "")
        _say_report(report, state.videos, library)
        if describe:
            with ProgressBars() as progress:
                described = held.describe(wait=wait, progress=progress)
    if as_json:
        print_json(_index_document(library, state.model, report, described))
    if described:
        say(f"{described.videos} videos described, {described.answers} new answers in {described.seconds:.1f} s")
        for path, reason in described.incomplete[:1]:
            say(f"[yellow]{len(described.incomplete)} lack an answer[/], first {escape(str(path))}: {escape(reason)}")


def search(
    text: Annotated[str, typer.Argument(help="what happens in the video you look for")],
    *,
    library: LibraryOption,
    top: Annotated[int, typer.Option(help="at most so many videos")] = 5,
    min_relevance: Annotated[
        float | None,
        typer.Option(help="drop hits of smaller relevance (0..1); default: say so if even the best is not convincing"),
    ] = None,
    min_score: Annotated[float | None, typer.Option(hidden=True, help="former name of --min-relevance")] = None,
    rerank: Annotated[
        bool | None,
        typer.Option(
            "--rerank/--no-rerank", help="order the best by what they and TEXT answer; default: as the library says"
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="show these answers (re-ranks)")] = False,
    html: Annotated[Path | None, typer.Option(help="write the hits as one self-contained page")] = None,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the moment that TEXT describes."""
    if explain and rerank is False:
        raise typer.BadParameter("--explain shows what --rerank found; leave out --no-rerank")
    if min_score is not None:
        say("--min-score is called --min-relevance now; the former name goes with the next release")
        min_relevance = min_score if min_relevance is None else min_relevance
    with Library(library, settings=config.load(settings, set_ or ())) as held:
        result = held.search(text, top=top, min_relevance=min_relevance, rerank=True if explain else rerank)
    if result.coverage.pending:
        say(f"{result.coverage.pending} videos are not indexed yet: mmi-tvr index --library {library} goes on")
    if html:
        html.write_text(search_page(result), encoding="utf-8")
        say(f"page: {html}")
    if as_json:
        print_json(_search_document(result))
    else:
        announce(result.model)
        print_hits(result, explain)


def status(library: LibraryOption, as_json: JsonOption = False) -> None:
    """What is in the library: videos, model, size, quarantined files and why."""
    with Library(library) as held:
        state = held.status()
    if as_json:
        print_json(
            {
                "library": str(state.path),
                "model": state.model,
                "fingerprint": state.fingerprint,
                "index": state.index,
                "videos": state.videos,
                "key_images": state.moments,
                "pending": state.pending,
                "files": state.files,
                "seconds": state.duration,
                "bytes": state.size,
                "folders": [str(root.path) for root in state.roots],
                "quarantined": [{"path": str(path), "reason": reason} for path, reason in state.quarantined],
                "writer": state.writer,
                "rebuilding": state.rebuilding,
            }
        )
        return
    rows = {
        "library": f"{state.path} ({state.size / 1e6:.1f} MB)",
        "model": state.model or "none yet",
        "index": state.index,
        "videos": f"{state.videos} ({clock(state.duration)} of video, {state.moments} key images), {state.files} files",
        "pending": str(state.pending),
        "folders": ", ".join(str(root.path) for root in state.roots) or "none",
        "writing now": state.writer or "nobody",
    }
    if state.rebuilding is not None:
        rows["rebuilding"] = (
            f"{state.rebuilding} videos to go (mmi-tvr index goes on); until then, searches find the old"
        )
    for name, value in rows.items():
        out.print(f"{name:<12} {escape(value)}")
    if state.quarantined:
        out.print(f"\n{len(state.quarantined)} files cannot be used (mmi-tvr index --retry tries them again):")
        for path, reason in state.quarantined:
            out.print(f"  {path}: {reason}", markup=False)


def remove(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="files or folders to forget")],
    library: LibraryOption,
) -> None:
    """Forget files, or all below a folder. The files themselves are left alone."""
    with Library(library) as held, ProgressBars() as progress:
        gone = held.remove([*paths], progress=progress)
    say(f"forgot {len(gone)} files; they come back if a folder that is indexed still holds them: use --exclude then")


def _index_document(
    library: Path, model: str | None, report: IndexReport, described: DescribeReport | None
) -> dict[str, object]:
    document: dict[str, object] = {
        "library": str(library),
        "model": model,
        **{name: getattr(report, name) for name in ("added", "unchanged", "moved", "changed", "copies", "embedded")},
        "removed": [str(path) for path in report.removed],
        "quarantined": [{"path": str(path), "reason": reason} for path, reason in report.quarantined],
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in report.unreadable],
        "seconds": report.seconds,
    }
    if described:
        document["described"] = {
            "videos": described.videos,
            "answers": described.answers,
            "incomplete": [{"path": str(path), "reason": reason} for path, reason in described.incomplete],
            "seconds": described.seconds,
        }
    return document


def _say_report(report: IndexReport, videos: int, library: Path) -> None:
    counts = {name: getattr(report, name) for name in ("added", "changed", "moved", "copies", "unchanged")}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    say(f"{', '.join(parts) or 'nothing to do'} in {report.seconds:.1f} s; {videos} videos in {escape(str(library))}")
    for path in report.removed[:_SHOWN]:
        say(f"removed: {escape(str(path))} is gone")
    if len(report.removed) > _SHOWN:
        say(f"  and {len(report.removed) - _SHOWN} more")
    for title, found in (("quarantined", report.quarantined), ("not readable", report.unreadable)):
        if found:
            say(f"[yellow]{len(found)} {title}[/]:")
            for path, reason in found[:_SHOWN]:
                say(f"  {escape(str(path))}: {escape(reason)}")
            if len(found) > _SHOWN:
                say(f"  and {len(found) - _SHOWN} more: mmi-tvr status lists all")


def _search_document(result: SearchResult) -> dict[str, object]:
    return {
        "query": result.query.text,
        "model": result.model,
        "hits": [_hit_document(hit) for hit in result],
        "closest": _hit_document(result.closest) if result.closest else None,
        "seconds": dict(result.seconds),
    }


def _hit_document(hit: Hit) -> dict[str, object]:
    document: dict[str, object] = {
        "path": str(hit.path),
        "start": round(hit.start, 3),
        "end": round(hit.end, 3),
        "time": round(hit.time, 3),
        "score": hit.score,
        "relevance": hit.relevance,
        "scores": dict(hit.scores),
        "also": [str(path) for path in hit.copies],
    }
    if hit.explanation:
        document["skeleton"] = hit.explanation.as_dict()
    return document


def print_hits(result: SearchResult, explain: bool = False) -> None:
    """A line a hit on stdout, each with its explanation if wanted; where there is none, that, and the closest video on
    stderr."""
    if not result:
        out.print(f"nothing found for {escape(repr(result.query.text))}")
        if best := result.closest:
            where = f"{escape(str(best.path))} {moment(best)}"
            say(f"closest: {where}, relevance {best.relevance:.2f}; --min-relevance 0 shows what there is")
        return
    width = max(len(moment(hit)) for hit in result)
    joint = any(hit.explanation for hit in result)
    out.print(f"   {'moment':>{width}}  relevance  score  {'joint  ' if joint else ''}video", style="dim")
    for rank, hit in enumerate(result, 1):
        also = f"  (+{len(hit.copies)} copies)" if hit.copies else ""
        told = f"{_joint(hit):>5}  " if joint else ""
        line = f"{rank:>2} {moment(hit):>{width}}  {hit.relevance:9.2f}  {hit.score:5.3f}  {told}{hit.path}{also}"
        out.print(line, markup=False)
        if explain and hit.explanation:
            _print_explanation(hit.explanation)
    say(f"[dim]{result.seconds['total'] * 1000:.0f} ms[/]")


def _joint(hit: Hit) -> str:
    return (
        "-" if hit.explanation is None or hit.explanation.joint_score is None else f"{hit.explanation.joint_score:.3f}"
    )


def _print_explanation(why: Explanation) -> None:
    """The verdict, both skeletons side by side, and where the video was looked at."""
    titles, rows = aligned(why)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as it is: answers are data, not markup
    seen = ", ".join(f"{time:.1f}" for time in times(why))
    out.print(f"   {verdict(why)}", markup=False)
    if rows:
        out.print(Padding(table, (0, 0, 0, 3)), soft_wrap=False)
    if seen:
        out.print(f"   key images at {seen} s", style="dim")
