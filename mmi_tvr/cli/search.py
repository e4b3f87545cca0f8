"""`index`, `search`, `status`, `remove`: a folder of videos that answers sentences."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import config
from ..errors import LibraryMissing, UsageError
from ..library import DescribeReport, IndexReport, Library, Status
from ..report import answer_table, clock_time, key_image_times, search_page, time_range, verdict
from ..search import Coverage, SearchResult
from ..types import Explanation, Hit
from ..utils import files
from ..utils.printable import printable
from ..utils.wording import counted
from ._console import (
    MIN_SCORE_NOTICE,
    NOTHING_INDEXED,
    ConfigOption,
    DownloadOption,
    ForceOption,
    JsonOption,
    LibraryOption,
    MinScoreOption,
    ModelOption,
    SetOption,
    announce,
    chosen_model,
    fail,
    out,
    print_json,
    say,
    show_progress,
)
from ._pools import say_unread_pools

_SUFFIXES = ".mp4, .mov, .mkv, .avi, .webm, .mts and the like"
_MAX_NAMED = 20  # files that are listed by name
_PROBE = "mmi-tvr probe FILE shows what is in one"
_MAX_STDIN = 1 << 20  # bytes of a query
_SHOWN_END = 30  # characters of a long query, where its reading ended


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
    exclude: Annotated[list[str] | None, typer.Option(help="glob of names or paths to skip; may be repeated")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="try quarantined files again")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="embed everything again, with the model given now")
    ] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="ask every video the chosen questions, so that --rerank need not wait")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="seconds to wait while another process writes")] = 60.0,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make DIR... searchable, or bring the library up to date. Only new and changed files cost work."""
    options = config.load(settings, set_ or ())
    described = None
    with Library(library, settings=options) as opened:
        former_model = opened.status().model if opened.exists else None
        with show_progress() as progress:
            report = opened.index(
                folders or (),
                model=chosen_model(model, options, download),
                exclude=exclude,
                retry=retry,
                rebuild=rebuild,
                wait=wait,
                progress=progress,
            )
        state = opened.status()
        if state.model != former_model:
            announce(state.model or "")
        _say_report(report, state.videos, library)
        if describe:
            say_unread_pools(library)
            with show_progress() as progress:
                described = opened.describe(wait=wait, progress=progress)
    if as_json:
        print_json(_index_document(library, state.model, report, described))
    if described:
        say(
            f"{counted(described.videos, 'video')} described, "
            f"{counted(described.answers, 'new answer')} in {described.seconds:.1f} s"
        )
        for path, reason in described.incomplete[:1]:
            say(
                f"[yellow]without all answers: {counted(len(described.incomplete), 'video')}[/], "
                f"first {escape(str(path))}: {escape(reason)}"
            )


def search(
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT", help="what happens in the video you look for, in quotes; - reads it from standard input"
        ),
    ],
    *,
    library: LibraryOption,
    top: Annotated[int, typer.Option(min=1, help="at most so many videos")] = 5,
    min_relevance: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="drop hits of smaller relevance (0..1); default: say so if even the best is not convincing",
        ),
    ] = None,
    min_score: MinScoreOption = None,
    rerank: Annotated[
        bool | None,
        typer.Option(
            "--rerank/--no-rerank", help="order the best by what they and TEXT answer; default: as the library says"
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="show these answers (re-ranks)")] = False,
    html: Annotated[Path | None, typer.Option(help="write the hits as one self-contained page")] = None,
    force: ForceOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the moment that TEXT describes.

    Exit code 0: hits, or nothing found; 3: nothing is indexed yet, or there is no library; 2: wrong use; 1: failed.
    """
    query = _one_text(text)
    if explain and rerank is False:
        raise UsageError("--explain shows what --rerank found; leave out --no-rerank")
    if min_score is not None:
        say(MIN_SCORE_NOTICE)
        min_relevance = min_score if min_relevance is None else min_relevance
    if html:
        files.check_output(html, files.PAGE_MARK, force)
    if rerank or explain:
        say_unread_pools(library)
    try:
        with Library(library, settings=config.load(settings, set_ or ())) as opened:
            result = opened.search(query, top=top, min_relevance=min_relevance, rerank=True if explain else rerank)
    except LibraryMissing as error:
        fail(str(error), NOTHING_INDEXED)
    say_read(result)
    _say_coverage(result.coverage, library)
    if html:
        files.write_output(html, search_page(result).encode(), files.PAGE_MARK, force)
        say(f"page: {escape(str(html))}")
    if as_json:
        print_json(_search_document(result))
    elif result.coverage.searched:
        print_hits(result, explain)
    if not result.coverage.searched:
        raise typer.Exit(NOTHING_INDEXED)


def _one_text(words: Sequence[str]) -> str:
    """Return the query; a shell makes several words of one without quotes. - stands for standard input."""
    if len(words) > 1:
        raise UsageError(f'put the text in quotes: mmi-tvr search "{" ".join(words)}"')
    return _query_from_stdin() if words[0] == "-" else words[0]


def _query_from_stdin() -> str:
    """Return standard input as one query (decision: its lines are one text; many queries are for `batch search`)."""
    try:
        start = sys.stdin.buffer.read(_MAX_STDIN)
        decoder = codecs.getincrementaldecoder("utf-8-sig")()  # forgives a character that the end of `start` cuts
        return " ".join(decoder.decode(start, final=len(start) < _MAX_STDIN).split())
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not text in UTF-8 ({error.reason} at byte {error.start})") from error


def say_read(result: SearchResult) -> None:
    """Say how much of the query was read, where it was not all of it."""
    if result.characters_read is not None:
        end = result.query.text[: result.characters_read][-_SHOWN_END:]
        say(
            f"[yellow]only the first {result.characters_read:,} characters of the query were read[/], up to "
            f"{escape(repr(end))}; a sentence or two is what the model was made for"
        )


def status(library: LibraryOption, as_json: JsonOption = False) -> None:
    """Show what is in the library: videos, model, size, quarantined files and why."""
    with Library(library) as opened:
        state = opened.status()
    if as_json:
        print_json(_status_document(state))
    else:
        _print_status(state)


def remove(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="files or folders to forget")],
    library: LibraryOption,
) -> None:
    """Forget files, or all below a folder. The files themselves are left alone."""
    with Library(library) as opened, show_progress() as progress:
        forgotten = opened.remove(paths, progress=progress)
    advice = "they come back if a folder that is indexed still holds them: use --exclude then"
    say(f"forgot {counted(len(forgotten), 'file')}; {advice}")


def _status_document(state: Status) -> dict[str, object]:
    return {
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
        "writable": state.writable,
    }


def _print_status(state: Status) -> None:
    duration = clock_time(state.duration)
    rows = {
        "library": f"{state.path} ({state.size / 1e6:.1f} MB)",
        "model": state.model or "none yet",
        "index": state.index,
        "videos": f"{state.videos} ({duration} of video, {counted(state.moments, 'key image')}), "
        f"{counted(state.files, 'file')}",
        "pending": str(state.pending),
        "folders": ", ".join(str(root.path) for root in state.roots) or "none",
        "writing now": state.writer or "nobody",
    }
    if not state.writable:
        rows["read-only"] = "this library can be searched, and cannot be written where it lies"
    if state.rebuilding is not None:
        rows["rebuilding"] = (
            f"{counted(state.rebuilding, 'video')} to go (mmi-tvr index goes on); until then, searches find the old"
        )
    for name, value in rows.items():
        out.print(f"{name:<12} {printable(value)}", markup=False)
    if state.quarantined:
        out.print(
            f"\n{counted(len(state.quarantined), 'file')} set aside (mmi-tvr index --retry tries again, {_PROBE}):"
        )
        for path, reason in state.quarantined:
            out.print(f"  {printable(path)}: {printable(reason)}", markup=False)


def _index_document(
    library: Path, model: str | None, report: IndexReport, described: DescribeReport | None
) -> dict[str, object]:
    document: dict[str, object] = {
        "library": str(library),
        "model": model,
        "added": report.added,
        "unchanged": report.unchanged,
        "moved": report.moved,
        "changed": report.changed,
        "copies": report.copies,
        "embedded": report.embedded,
        "removed": [str(path) for path in report.removed],
        "quarantined": [{"path": str(path), "reason": reason} for path, reason in report.quarantined],
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in report.unreadable],
        "without_videos": [{"path": str(path), "reason": reason} for path, reason in report.without_videos],
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
    counts = {
        "added": report.added,
        "changed": report.changed,
        "moved": report.moved,
        "copy" if report.copies == 1 else "copies": report.copies,
        "unchanged": report.unchanged,
    }
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    say(
        f"{', '.join(parts) or 'nothing to do'} in {report.seconds:.1f} s; "
        f"{counted(videos, 'video')} in {escape(str(library))}"
    )
    for path in report.removed[:_MAX_NAMED]:
        say(f"removed: {escape(str(path))} is gone")
    if len(report.removed) > _MAX_NAMED:
        say(f"  and {len(report.removed) - _MAX_NAMED} more")
    for path, contents in report.without_videos:
        say(f"{escape(printable(path))} {contents}; names of videos end in {_SUFFIXES}")
    for title, reasons in (("quarantined", report.quarantined), ("not readable", report.unreadable)):
        if reasons:
            say(f"[yellow]{len(reasons)} {title}[/]:")
            for path, reason in reasons[:_MAX_NAMED]:
                say(f"  {escape(str(path))}: {escape(reason)}")
            if len(reasons) > _MAX_NAMED:
                say(f"  and {len(reasons) - _MAX_NAMED} more: mmi-tvr status lists all")
    if report.quarantined:
        say(_PROBE)


def _say_coverage(coverage: Coverage, library: Path) -> None:
    """Say what a search could not look at, and what to do."""
    if not coverage.searched:
        unusable = counted(coverage.quarantined, "file")
        why = f" ({unusable} cannot be used: mmi-tvr status says why)" if coverage.quarantined else ""
        to_do = "--library" if coverage.pending else "DIR --library"
        say(f"nothing is indexed yet in {escape(str(library))}{why}: mmi-tvr index {to_do} {escape(str(library))}")
    if coverage.pending:
        pending = counted(coverage.pending, "video")
        say(f"not indexed yet: {pending}; mmi-tvr index --library {escape(str(library))} goes on")


def _search_document(result: SearchResult) -> dict[str, object]:
    return {
        "query": result.query.text,
        "characters_read": result.characters_read,
        "model": result.model,
        "hits": [_hit_document(hit) for hit in result],
        "closest": _hit_document(result.closest) if result.closest else None,
        "coverage": {
            "searched": result.coverage.searched,
            "pending": result.coverage.pending,
            "quarantined": result.coverage.quarantined,
        },
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
        "missing": hit.is_missing,
        "also_missing": [str(path) for path in hit.copies if path in hit.missing],
    }
    if hit.explanation:
        document["skeleton"] = hit.explanation.as_dict()
    return document


def print_hits(result: SearchResult, explain: bool = False) -> None:
    """Print one line for each hit on stdout, with `explain` each with its explanation.

    Where there is no hit, print that, and name the closest video on stderr.
    """
    if not result:
        out.print(f"nothing found for {result.query.text!r}", markup=False)
        if closest := result.closest:
            place = f"{escape(str(closest.path))} {time_range(closest)}"
            say(f"closest: {place}, relevance {closest.relevance:.2f}; --min-relevance 0 shows what there is")
        return
    width = max(len(time_range(hit)) for hit in result)
    reranked = any(hit.explanation for hit in result)
    out.print(f"   {'moment':>{width}}  relevance  score  {'joint  ' if reranked else ''}video", style="dim")
    for rank, hit in enumerate(result, 1):
        joint_score = f"{_joint_score(hit):>5}  " if reranked else ""
        numbers = f"{rank:>2} {time_range(hit):>{width}}  {hit.relevance:9.2f}  {hit.score:5.3f}  {joint_score}"
        out.print(f"{numbers}{printable(hit.path)}{_file_remark(hit)}", markup=False)
        if explain and hit.explanation:
            _print_explanation(hit.explanation)
    say(f"[dim]{result.seconds['total'] * 1000:.0f} ms[/]")


def _file_remark(hit: Hit) -> str:
    """Return what stands behind the path of a hit: whether its file is missing, and its copies."""
    remarks = ["missing"] if hit.is_missing else []
    if hit.copies:
        missing = sum(path in hit.missing for path in hit.copies)
        remarks.append(f"+{counted(len(hit.copies), 'copy', 'copies')}" + (f", {missing} missing" if missing else ""))
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _joint_score(hit: Hit) -> str:
    score = hit.explanation.joint_score if hit.explanation else None
    return "-" if score is None else f"{score:.3f}"


def _print_explanation(explanation: Explanation) -> None:
    """Print the verdict, both skeletons side by side, and when the key images are."""
    titles, rows = answer_table(explanation)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # not markup: answers are data
    seconds = ", ".join(f"{time:.1f}" for time in key_image_times(explanation))
    out.print(f"   {verdict(explanation)}", markup=False)
    if rows:
        out.print(Padding(table, (0, 0, 0, 3)), soft_wrap=False)
    if seconds:
        out.print(f"   key images at {seconds} s", style="dim")
