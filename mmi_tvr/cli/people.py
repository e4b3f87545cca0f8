"""`people`: whom a library knows, where they are seen, and how they are forgotten. All of it stays on this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import config
from ..errors import UsageError
from ..library.people import NAME, Consent, Forgotten, People, SeenAt, Sighting, StoredPerson
from ..report import FaceCard, NumberedPhoto, SeenFace, clock_time, people_page, photos_page
from ..utils import files
from ..utils.printable import printable
from ..utils.tables import text_table
from ..utils.wording import counted, library_option
from ._console import (
    ConfigOption,
    ForceOption,
    JsonOption,
    LibraryOption,
    SetOption,
    out,
    print_json,
    say,
    show_progress,
)

group = typer.Typer(help="Whom the library knows; nothing of it leaves this machine.", no_args_is_help=True)
PAGE, PHOTOS = "people.html", "photos.html"
_MAX_NAMED = 20  # files, or traces, that are listed
_MAX_FACES = 24  # of a person, on the page
WhoArgument = Annotated[str, typer.Argument(metavar="WHO", help="a name, or the number of somebody without one")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="people")


@group.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help='as queries will have it in brackets; "me" is yourself')],
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="photos of them, or folders of photos")],
    *,
    library: LibraryOption,
    source: Annotated[str, typer.Option(help="where the photos come from, and that they may be used: kept")] = "",
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="day of that; default: today")] = None,
    face: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="of photos with several faces, the Nth from the left")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="also faces that look like somebody else's")] = False,
    show: Annotated[
        Path | None, typer.Option(metavar="DIR", help=f"add nothing; write {PHOTOS}, with the faces numbered, there")
    ] = None,
    force: ForceOption = False,
    settings: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a person by photos of their face, or more photos to one. Photos are read, and not kept."""
    consent = Consent(source, _day(date)) if source or date else Consent()
    people = People(library, config.load(settings, set_ or ()))
    if show is not None:
        _show_photos(people, photos, show, force)
        return
    with show_progress() as progress:
        added = people.add(name, photos, consent, face=face, anyway=anyway, progress=progress)
    person = added.person
    for path, reason in added.skipped[:_MAX_NAMED]:
        say(f"passed over: {escape(printable(path))}: {escape(printable(reason))}")
    if len(added.skipped) > _MAX_NAMED:
        say(f"  and {len(added.skipped) - _MAX_NAMED:,} more")
    verb = "more of" if added.was_known else "of"
    say(f"{counted(added.added, 'photo')} {verb} {escape(str(person.name))}; {escape(_seen(person))}")
    if not people.looks_for_faces():
        say(f"to find them in videos: mmi-tvr index {escape(library_option(library))} --people")
    if as_json:
        print_json(added.as_dict())


@group.command(name="list")
def list_(
    who: Annotated[str | None, typer.Argument(metavar="WHO", help="where this one is seen; none: everybody")] = None,
    *,
    library: LibraryOption,
    everybody: Annotated[bool, typer.Option("--all", help="hidden people, too")] = False,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help=f"write {PAGE}, with their faces, there")] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the people with a name, and the groups of faces without one; or where somebody is seen."""
    people = People(library)
    if who is None:
        named, unnamed = people.listed(hidden=everybody)
        shown = named + unnamed
        if as_json:
            documents = {"people": named, "unnamed": unnamed}
            print_json({key: [person.as_dict() for person in persons] for key, persons in documents.items()})
        else:
            _print_people(named, unnamed, library)
    else:
        shown, sightings = [people.find(who)], people.sightings(who)
        if as_json:
            print_json({"sightings": [one.as_dict() for one in sightings]})
        else:
            _print_sightings(sightings)
    if output is not None:
        _write_page(output / PAGE, lambda: people_page([_card(people, person) for person in shown]), force)


@group.command()
def name(
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER", help="the number that `people list` shows")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="who that is")],
    library: LibraryOption,
) -> None:
    """Say who somebody without a name is."""
    _say_seen(People(library).name(cluster, name))


@group.command()
def merge(
    kept: Annotated[str, typer.Argument(metavar="A", help="who keeps the name")],
    merged: Annotated[str, typer.Argument(metavar="B", help="who is the same person")],
    library: LibraryOption,
) -> None:
    """Say that two are one person."""
    _say_seen(People(library).merge(kept, merged))


@group.command()
def split(
    who: WhoArgument,
    sightings: Annotated[list[int], typer.Argument(metavar="SIGHTING...", help="numbers that `people list WHO` shows")],
    library: LibraryOption,
) -> None:
    """Say that some sightings are of somebody else, who has no name yet."""
    person = People(library).split(who, sightings)
    _say_seen(person, f"; to name them: mmi-tvr people name {person.number} NAME {library_option(library)}")


@group.command()
def hide(
    who: Annotated[list[str], typer.Argument(metavar="WHO...", help="names, or numbers of people without one")],
    library: LibraryOption,
    undo: Annotated[bool, typer.Option("--undo", help="list them again")] = False,
) -> None:
    """Leave people out of the lists: passers-by, faces on posters."""
    for person in People(library).hide(who, not undo):
        say(f"{escape(_called(person))}: {'listed again' if undo else 'hidden; people list --all shows them'}")


@group.command()
def forget(
    who: Annotated[
        str | None, typer.Argument(metavar="WHO", help="a name, or the number of somebody without one")
    ] = None,
    *,
    library: LibraryOption,
    everybody: Annotated[bool, typer.Option("--all", help="everybody, and that faces were looked for at all")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="read every file of the library for what is left; exit code 1: something is")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget a person: name, faces, sightings, and the keys to all copies of them."""
    if (who is None) != everybody:
        raise UsageError("name one person, or --all: mmi-tvr people forget NAME")
    people = People(library)
    forgotten = people.forget_all(prove) if who is None else people.forget(who, prove)
    if as_json:
        print_json(forgotten.as_dict())
    _say_forgotten(who or "everybody", forgotten)
    if forgotten.traces:
        raise typer.Exit(1)


def _say_forgotten(who: str, forgotten: Forgotten) -> None:
    removed = forgotten.removed
    if not forgotten.was_known:
        say(
            f"{escape(repr(printable(who)))}: nobody is called so; of what was forgotten before, the name alone is left"
        )
    else:
        parts = [
            counted(removed.photos, "photo"),
            f"{counted(removed.sightings, 'sighting')} in {counted(removed.videos, 'file')}",
            *([f"{removed.alike:,} without a name that looked alike"] if removed.alike else []),
            counted(removed.keys, "key"),
        ]
        say(f"forgot {escape(printable(who))}: {', '.join(parts)}")
    if forgotten.traces is None:
        return
    if not forgotten.traces:
        say("proof: no file of the library holds anything of that, byte by byte")
        return
    for trace in forgotten.traces[:_MAX_NAMED]:
        at = "" if trace.offset is None else f" at byte {trace.offset:,}"
        say(f"[yellow]left[/]: {escape(printable(trace.file))}: {escape(trace.what)}{at}")
    if len(forgotten.traces) > _MAX_NAMED:
        say(f"  and {len(forgotten.traces) - _MAX_NAMED:,} more")
    names = [trace for trace in forgotten.traces if trace.what == NAME]
    if len(names) < len(forgotten.traces):
        say(
            "what is left is in files that mmi-tvr did not write, or in copies of its own: "
            "delete these, and prove again"
        )
    else:
        say("no face, key or encrypted row of them is left in any file")
    if names:
        say(
            "the name is a word that a video is described with, or that is spoken, written or classified in it, or "
            "that stands in a file of yours: where it means them, remove that video (mmi-tvr remove) or file, "
            "and prove again; where it is a word like any other, nothing is left to do"
        )


def _day(text: str | None) -> str:
    """Return the day of a consent as ISO has it."""
    if text is None:
        return Date.today().isoformat()
    try:
        return Date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--date takes a day such as 2026-11-27, not {text!r}") from error


def _called(person: StoredPerson) -> str:
    return person.name or f"number {person.number}"


def _seen(person: StoredPerson) -> str:
    """Return where a person is seen, in words."""
    if not person.sightings:
        return "seen in no file that was looked at for faces"
    return f"seen {counted(person.sightings, 'time')} in {counted(person.videos, 'file')}"


def _say_seen(person: StoredPerson, more: str = "") -> None:
    say(escape(f"{_called(person)}: {_seen(person)}{more}"))


def _consents(person: StoredPerson) -> list[str]:
    """Return what was noted of a person's consent, in words."""
    return [" ".join(filter(None, (consent.date, consent.source))) for consent in person.consents]


def _print_people(named: list[StoredPerson], unnamed: list[StoredPerson], library: Path) -> None:
    option = library_option(library)
    if not named:
        say(f"nobody has a name here; add somebody: mmi-tvr people add NAME PHOTO... {escape(option)}")
    else:
        rows = [["name", "photos", "sightings", "files", "consent"]]
        for person in named:
            consents = "; ".join(_consents(person))
            counts = [f"{person.photos:,}", f"{person.sightings:,}", f"{person.videos:,}"]
            rows.append([printable(person.name), *counts, printable(consents) or "none noted"])
        for line in text_table(rows, left=(0, 4)):
            out.print(line, markup=False)
    if unnamed:
        rows = [["number", "sightings", "files"]]
        rows += [[str(one.number), f"{one.sightings:,}", f"{one.videos:,}"] for one in unnamed[:_MAX_NAMED]]
        out.print(f"\nwithout a name: {len(unnamed):,}")
        for line in text_table(rows):
            out.print(line, markup=False)
        if len(unnamed) > _MAX_NAMED:
            out.print(f"and {len(unnamed) - _MAX_NAMED:,} more")
        say(f"their faces: --output DIR; who one is: mmi-tvr people name NUMBER NAME {escape(option)}")


def _print_sightings(sightings: list[SeenAt]) -> None:
    if not sightings:
        say("seen in no file that was looked at for faces")
        return
    rows = [["number", "from", "to", "confidence", "file"]]
    for seen in sightings:
        one, video = seen.sighting, printable(seen.path or "not indexed")
        confidence = "by hand" if one.by_hand else f"{one.confidence:.2f}"
        rows.append([str(one.number), clock_time(one.start), clock_time(one.end), confidence, video])
    for line in text_table(rows, left=(4,)):
        out.print(line, markup=False)


def _show_photos(people: People, photos: list[Path], folder: Path, force: bool) -> None:
    """Write the page of photos with numbered faces, of which none is added."""

    def page() -> str:
        with show_progress() as progress:
            seen = people.see(photos, progress)
        return photos_page(
            [NumberedPhoto(one.path, one.picture, [face.box for face in one.faces], one.problem) for one in seen]
        )

    _write_page(folder / PHOTOS, page, force)
    say("nothing was added; the same command with --face N in place of --show adds the face of that number")


def _write_page(path: Path, page: Callable[[], str], force: bool) -> None:
    """Write a page of faces into a folder, which is made where there is none; made once that is known to work."""
    files.check_folder(path.parent)
    if path.exists():
        files.check_output(path, files.PAGE_MARK, force)
    text = page()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_output(path, text.encode(), files.PAGE_MARK, force)
    say(f"page: {escape(str(path))}; it shows faces: it is yours to keep or to delete")


def _card(people: People, person: StoredPerson) -> FaceCard:
    seen = [
        _seen_face(one.path, one.sighting)
        for one in people.sightings(str(person.name or person.number))
        if one.path is not None
    ]
    counts = person.photos, person.sightings, person.videos
    return FaceCard(_called(person), *counts, _consents(person), seen[:_MAX_FACES])


def _seen_face(path: Path, sighting: Sighting) -> SeenFace:
    return SeenFace(path, sighting.time, sighting.box, sighting.start, sighting.end, sighting.number)
