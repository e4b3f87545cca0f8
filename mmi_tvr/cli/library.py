"""`index`, `status`, `remove`: folders of videos, pictures and recordings become a library, and what is in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import config, plugins
from ..errors import UsageError
from ..library import DescribeReport, IndexReport, Library, PeopleReport, Status, TranslationReport
from ..library.report import PeopleStatus
from ..library.translating import MIN_PAIRS
from ..report import clock_time
from ..scoring.vector_map import MapQuality
from ..utils.printable import printable
from ..utils.tables import interval
from ..utils.wording import counted, counted_kinds, library_option
from ._channels import channel_rows, print_channel_problems, say_channels
from ._console import (
    ConfigOption,
    DownloadOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    SetOption,
    announce,
    chosen_model,
    out,
    print_json,
    say,
    show_progress,
)
from ._libraries import open_library
from ._pools import say_unread_pools
from ._reasons import MAX_NAMED, print_reasons, say_reasons

_SUFFIXES = ".mp4, .mkv, .jpg, .png, .mp3, .wav and the like"
_PROBE = "mmi-tvr probe FILE shows what is in one"


TranslateOption = Annotated[
    int | None,
    typer.Option(
        "--translate",
        metavar="N",
        min=MIN_PAIRS,
        help="with another model: embed N videos, translate the vectors of the others; later runs embed them",
    ),
]
PeopleOption = Annotated[
    bool | None,
    typer.Option(
        "--people/--no-people", help="look for faces, from now on, or no more; default: as remembered, which is no"
    ),
]
ChannelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="search what is said and written, too: heard, read (with a comma); default: as remembered, which is none",
    ),
]
NoChannelsOption = Annotated[
    bool, typer.Option("--no-channels", help="read new files by no channel any more; what is known stays")
]


def register(app: typer.Typer) -> None:
    for command in (index, status, remove):
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
    translate: TranslateOption = None,
    describe: Annotated[
        bool, typer.Option("--describe", help="ask every video the chosen questions, so that --rerank need not wait")
    ] = False,
    people: PeopleOption = None,
    channels: ChannelsOption = None,
    no_channels: NoChannelsOption = False,
    wait: Annotated[float, typer.Option(min=0, help="seconds to wait while another process writes")] = 60.0,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make DIR... searchable, or bring the library up to date. Only new and changed files cost work."""
    options = config.load(settings, set_ or (), model_is_named=model is not None)
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
                translate=translate,
                people=people,
                channels=_channel_names(channels, no_channels),
                wait=wait,
                progress=progress,
            )
        state = opened.status()
        if state.model != former_model:
            announce(state.model or "")
        _say_report(report, state, library)
        if report.people:
            _say_people(report.people, library)
        if report.channels:
            say_channels(report.channels, library)
        if describe:
            say_unread_pools(library)
            with show_progress() as progress:
                described = opened.describe(wait=wait, progress=progress)
    if as_json:
        document = {"library": str(library), "model": state.model, **report.as_dict()}
        print_json({**document, "described": described.as_dict()} if described else document)
    if described:
        _say_described(described)


def _channel_names(channels: str | None, no_channels: bool) -> list[str] | None:
    """Return the channels that files are read by from now on; None: as the library remembers."""
    if no_channels:
        if channels is not None:
            raise UsageError("--channels says which channels read files, and --no-channels that none does: give one")
        return []
    if channels is None:
        return None
    names = [name.strip() for name in channels.split(",") if name.strip()]
    if not names:
        raise UsageError(f"--channels names none of: {', '.join(plugins.names('channels'))}; none: --no-channels")
    return names


def status(library: LibraryOption, as_json: JsonOption = False) -> None:
    """Show what is in the library: videos, pictures, recordings, model, size, quarantined files and why."""
    with open_library(library) as opened:
        state = replace(opened.status(), path=library)  # as it was named here
    if as_json:
        print_json(state.as_dict())
    else:
        _print_status(state)


def remove(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="files or folders to forget")],
    library: LibraryOption,
) -> None:
    """Forget files, or all below a folder. The files themselves are left alone."""
    with Library(library) as opened, show_progress() as progress:
        forgotten = opened.remove(paths, progress=progress)
    say(f"forgot {counted(len(forgotten), 'file')}; what a folder that is indexed still holds comes back: --exclude it")


def _print_status(state: Status) -> None:
    duration = clock_time(state.duration)
    rows = {
        "library": f"{state.path} ({state.size / 1e6:.1f} MB)",
        "model": state.model_title or "none yet",
        "index": state.index,
        "holds": f"{counted_kinds(state.kinds)} ({duration} to play, {counted(state.moments, 'key image')}), "
        f"{counted(state.files, 'file')}",
        "pending": str(state.pending),
        "folders": ", ".join(str(root.path) for root in state.roots) or "none",
        "writing now": state.writer or "nobody",
    }
    index_command = f"mmi-tvr index {library_option(state.path)}"
    if state.unseen and "heard" not in state.channels.channels:
        recordings = counted(state.unseen, "recording")
        rows["not seen"] = f"{recordings}: nothing to see; {index_command} --channels heard hears them (extra speech)"
    if not state.writable:
        rows["read-only"] = "this library can be searched, and cannot be written where it lies"
    if state.rebuilding is not None:
        to_go = (
            f"{counted(state.rebuilding, 'video')} to go"
            if state.translating is None
            else f"{counted(state.rebuilding, 'video')} to go, of which all but {state.translating:,} are translated"
        )
        rows["rebuilding"] = f"{to_go} ({index_command} goes on); until then, searches find the old"
    if state.translated:
        rows["translated"] = (
            f"{state.translated:,} of {counted(state.videos, 'vector')} ({index_command} embeds these videos); "
            f"back until then: {index_command} --model {state.former}"
        )
    if state.people is not None:
        rows["people"] = _people_text(state.people, state.path)
    rows |= channel_rows(state.channels, state.path)
    for name, value in rows.items():
        out.print(f"{name:<12} {printable(value)}", markup=False)
    if state.quarantined:
        count = counted(len(state.quarantined), "file")
        print_reasons(f"{count} set aside ({index_command} --retry tries again, {_PROBE})", state.quarantined)
    if state.people is not None and state.people.problems:
        count = counted(len(state.people.problems), "file")
        title = f"{count} in which nobody can look for faces ({index_command} --retry tries again)"
        print_reasons(title, state.people.problems)
    print_channel_problems(state.channels, index_command)


def _people_text(people: PeopleStatus, library: Path) -> str:
    """Return who is known, and in how many videos faces were looked for."""
    if people.error is not None:
        return people.error
    known = f"{people.named:,} with a name, {people.unnamed:,} without; "
    looked_at = f"faces looked for in {counted(people.looked_at, 'file')}, {people.pending:,} pending"
    if people.problems:
        looked_at += f", {len(people.problems):,} set aside"
    switch = "" if people.is_on else f" (off: mmi-tvr index --people {library_option(library)})"
    return known + looked_at + switch


def _say_report(report: IndexReport, state: Status, library: Path) -> None:
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
        f"{counted_kinds(state.kinds)} in {escape(str(library))}"
    )
    if report.translation and report.translation.quality:
        _say_translation(report.translation, report.translation.quality)
    for path in report.removed[:MAX_NAMED]:
        say(f"removed: {escape(str(path))} is gone")
    if len(report.removed) > MAX_NAMED:
        say(f"  and {len(report.removed) - MAX_NAMED} more")
    for path, contents in report.without_videos:
        say(f"{escape(printable(path))} {contents}; names end in {_SUFFIXES}")
    for title, reasons in (("quarantined", report.quarantined), ("not readable", report.unreadable)):
        if reasons:
            say_reasons(f"[yellow]{len(reasons)} {title}[/]", reasons, library)
    if report.quarantined:
        say(_PROBE)


def _say_translation(translation: TranslationReport, quality: MapQuality) -> None:
    """Say what was translated, and how good that is."""
    say(
        f"{counted(translation.translated, 'vector')} translated, learned from {counted(translation.pairs, 'video')}; "
        f"on videos left out: R@1 {escape(interval(quality.r1, quality.low, quality.high))}, "
        f"recall@10 {quality.recall:.1f}; later runs of index embed these videos, those first that searches show"
    )


def _say_described(described: DescribeReport) -> None:
    """Say how many videos were described, and which is the first without all answers."""
    say(
        f"{counted(described.videos, 'video')} described, "
        f"{counted(described.answers, 'new answer')} in {described.seconds:.1f} s"
    )
    for path, reason in described.incomplete[:1]:
        say(
            f"[yellow]without all answers: {counted(len(described.incomplete), 'video')}[/], "
            f"first {escape(str(path))}: {escape(reason)}"
        )


def _say_people(people: PeopleReport, library: Path) -> None:
    """Say in how many videos faces were looked for, and what is known now."""
    option = escape(library_option(library))
    known = (
        f"{counted(people.people, 'person', 'people')} with a name ({counted(people.named, 'sighting')}), "
        f"{people.clusters:,} without"
    )
    if not people.is_on:
        say(f"faces are looked for no more; what is known stays: {known}")
        say(f"mmi-tvr people forget --all {option} removes it")
        return
    say(
        f"faces: {counted(people.videos, 'file')} looked at, {counted(people.sightings, 'sighting')} "
        f"in {people.seconds:.1f} s; {known}: mmi-tvr people list {option}"
    )
    if people.problems:
        title = f"[yellow]{counted(len(people.problems), 'file')} without a look for faces[/] (--retry tries again)"
        say_reasons(title, people.problems, library)
