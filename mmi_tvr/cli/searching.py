"""`index`, `search`, `status`, `remove`: a folder of videos that answers sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import config
from ..library import IndexReport, Library
from ..report import clock, moment, search_page
from ..search import SearchResult
from ..types import Hit
from ._console import (
    DownloadOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    Watch,
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
    wait: Annotated[float, typer.Option(help="seconds to wait while another process writes")] = 60.0,
    settings: Annotated[Path | None, typer.Option("--config", help="settings file (YAML)")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="change one setting")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make DIR... searchable, or bring the library up to date. Only new and changed files cost work."""
    wanted = config.load(settings, set_ or ())
    with Library(library, settings=wanted) as held, Watch() as watch:
        report = held.index(
            folders or (),
            model=chosen_model(model, wanted, download),
            exclude=exclude,
            retry=retry,
            rebuild=rebuild,
            wait=wait,
            progress=watch,
        )
    with Library(library) as held:
        state = held.status()
    if as_json:
        print_json(_index_document(library, state.model, report))
    announce(state.model or "")
    _say_report(report, state.videos, library)


def search(
    text: Annotated[str, typer.Argument(help="what happens in the video you look for")],
    *,
    library: LibraryOption,
    top: Annotated[int, typer.Option(help="at most so many videos")] = 5,
    min_score: Annotated[
        float | None,
        typer.Option(help="drop hits of smaller relevance (0..1); default: say so if even the best is not convincing"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write the hits as one self-contained page")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the moment that TEXT describes."""
    with Library(library) as held:
        result = held.search(text, top=top, min_score=min_score)
    if result.coverage.pending:
        say(f"{result.coverage.pending} videos are not indexed yet: mmi-tvr index --library {library} goes on")
    if html:
        html.write_text(search_page(result), encoding="utf-8")
        say(f"page: {html}")
    if as_json:
        print_json(_search_document(result))
    else:
        announce(result.model)
        print_hits(result)


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
    with Library(library) as held, Watch() as watch:
        gone = held.remove([*paths], progress=watch)
    say(f"forgot {len(gone)} files; they come back if a folder that is indexed still holds them: use --exclude then")


def _index_document(library: Path, model: str | None, report: IndexReport) -> dict[str, object]:
    return {
        "library": str(library),
        "model": model,
        **{name: getattr(report, name) for name in ("added", "unchanged", "moved", "changed", "copies", "embedded")},
        "removed": [str(path) for path in report.removed],
        "quarantined": [{"path": str(path), "reason": reason} for path, reason in report.quarantined],
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in report.unreadable],
        "seconds": report.seconds,
    }


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
    return {
        "path": str(hit.path),
        "start": round(hit.start, 3),
        "end": round(hit.end, 3),
        "time": round(hit.time, 3),
        "score": hit.score,
        "relevance": hit.relevance,
        "scores": dict(hit.scores),
        "also": [str(path) for path in hit.also],
    }


def print_hits(result: SearchResult) -> None:
    """A line a hit on stdout; where there is none, that, and the closest video on stderr."""
    if not result:
        out.print(f"nothing found for {escape(repr(result.query.text))}")
        if best := result.closest:
            where = f"{escape(str(best.path))} {moment(best)}"
            say(f"closest: {where}, relevance {best.relevance:.2f}; --min-score 0 shows what there is")
        return
    width = max(len(moment(hit)) for hit in result)
    out.print(f"   {'moment':>{width}}  relevance  score  video", style="dim")
    for rank, hit in enumerate(result, 1):
        also = f"  (+{len(hit.also)} copies)" if hit.also else ""
        line = f"{rank:>2} {moment(hit):>{width}}  {hit.relevance:9.2f}  {hit.score:5.3f}  {hit.path}{also}"
        out.print(line, markup=False)
    say(f"[dim]{result.seconds['total'] * 1000:.0f} ms[/]")
