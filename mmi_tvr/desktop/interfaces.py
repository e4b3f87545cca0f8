"""The interfaces on the bus: ours, GNOME Shell's, and that of KDE's KRunner, all of one object.

Names and signatures are contracts. Ours:

    Search(s query, u limit) -> (b found, s reason, aa{sv} results)
    Open(s id)
    Status() -> a{sv}
    Pause() -> b, Resume() -> b             of all work that nobody waits for; whether that changed it
    signal Progress(s stage, t done, t total), signal Changed()

A result has `id`, `uri`, `name`, `description` and `kind` (s), `start` and `end` (d, seconds), `relevance` (d, 0 to 1),
and `thumbnail` (s, a path) where there is one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from dbus_fast import DBusError, Variant
from dbus_fast.annotations import DBusBool, DBusDict, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

from ..errors import LibraryMissing, MmiTvrError
from ..utils.addresses import file_uri
from .names import BUS_NAME, ERROR
from .results import DesktopResult
from .service import DesktopService, TooManyCalls

Strings = Annotated[list[str], DBusSignature("as")]
Nothing = Annotated[None, DBusSignature("")]
Dictionaries = Annotated[list[dict[str, Variant]], DBusSignature("aa{sv}")]
SearchAnswer = Annotated[tuple[bool, str, list[dict[str, Variant]]], DBusSignature("bsaa{sv}")]
Matches = Annotated[list[list[Any]], DBusSignature("a(sssida{sv})")]
Actions = Annotated[list[list[str]], DBusSignature("a(sss)")]
Step = Annotated[tuple[str, int, int], DBusSignature("stt")]

_GNOME_RESULTS = 10
_KRUNNER_RESULTS = 10
_POSSIBLE_MATCH = 30  # KRunner's QueryMatch::PossibleMatch: behind programs and files of that name
_SHOW_IN_FOLDER = "folder"
_ICONS = {"image": "image-x-generic", "audio": "audio-x-generic"}
_DEFAULT_ICON = "video-x-generic"
Answer = TypeVar("Answer")


async def _answered(work: Awaitable[Answer]) -> Answer:
    """Return a result; what the package raises becomes an error of the bus."""
    try:
        return await work
    except MmiTvrError as error:
        kind = next((name for of, name in _ERRORS.items() if isinstance(error, of)), "Failed")
        raise DBusError(f"{ERROR}.{kind}", str(error)) from error


_ERRORS: dict[type[MmiTvrError], str] = {LibraryMissing: "LibraryMissing", TooManyCalls: "Overloaded"}


class SearchInterface(ServiceInterface):
    """`org.mmi_tvr.Search1`: all that a program of the session may want."""

    def __init__(self, service: DesktopService) -> None:
        super().__init__(BUS_NAME)
        self._service = service

    @dbus_method()
    async def Search(self, query: DBusStr, limit: DBusUInt32) -> SearchAnswer:
        results = await _answered(self._service.search(query, limit))
        pictures = await self._service.thumbnails(results.results)
        documents = []
        for one in results.results:
            document = {
                **_fields(self._service, one),
                "uri": Variant("s", file_uri(one.path)),
                "kind": Variant("s", one.kind),
                "start": Variant("d", one.second),
                "end": Variant("d", one.end),
                "relevance": Variant("d", one.relevance),
            }
            if one.id in pictures:
                document["thumbnail"] = Variant("s", str(pictures[one.id]))
            documents.append(document)
        return results.is_found, results.reason, documents

    @dbus_method()
    async def Open(self, id: DBusStr) -> Nothing:
        await _answered(self._service.open(id))

    @dbus_method()
    async def Status(self) -> DBusDict:
        return await self._service.run(self._status)

    @dbus_method()
    async def Pause(self) -> DBusBool:
        return await _answered(self._service.run(self._service.shared.pause))

    @dbus_method()
    async def Resume(self) -> DBusBool:
        return await _answered(self._service.run(self._service.shared.resume))

    @dbus_signal()
    def Progress(self, stage: str, done: int, total: int) -> Step:
        return stage, done, total

    @dbus_signal()
    def Changed(self) -> Nothing:
        return None

    def _status(self) -> dict[str, Variant]:
        shared = self._service.shared
        values = {
            "library": Variant("s", file_uri(shared.path)),
            "exists": Variant("b", shared.library.exists),
            "served": Variant("b", shared.service() is not None),
        }
        try:
            status = shared.status().as_dict()
            indexing = shared.indexing()
        except MmiTvrError as error:
            return {**values, "error": Variant("s", str(error))}
        return {
            **values,
            "model": Variant("s", status["model"] or ""),
            "videos": Variant("t", status["videos"]),
            "pending": Variant("t", status["pending"]),
            "set_aside": Variant("t", len(status["quarantined"])),
            "indexing": Variant("s", indexing["state"]),
            "done": Variant("t", indexing["done"]),
            "total": Variant("t", indexing["total"]),
        }


class GnomeInterface(ServiceInterface):
    """GNOME Shell's search provider."""

    def __init__(self, service: DesktopService) -> None:
        super().__init__("org.gnome.Shell.SearchProvider2")
        self._service = service

    @dbus_method()
    async def GetInitialResultSet(self, terms: Strings) -> Strings:
        return [one.id for one in await self._service.typed(" ".join(terms), _GNOME_RESULTS)]

    @dbus_method()
    async def GetSubsearchResultSet(self, previous_results: Strings, terms: Strings) -> Strings:
        return [one.id for one in await self._service.typed(" ".join(terms), _GNOME_RESULTS)]

    @dbus_method()
    async def GetResultMetas(self, identifiers: Strings) -> Dictionaries:
        results = await self._service.results(identifiers)
        pictures = await self._service.thumbnails(results)
        return [
            {**_fields(self._service, one), **_gnome_icon(one, str(pictures[one.id]) if one.id in pictures else None)}
            for one in results
        ]

    @dbus_method()
    async def ActivateResult(self, identifier: DBusStr, terms: Strings, timestamp: DBusUInt32) -> Nothing:
        await _answered(self._service.open(identifier))

    @dbus_method()
    async def LaunchSearch(self, terms: Strings, timestamp: DBusUInt32) -> Nothing:
        await _answered(self._service.show_page(" ".join(terms)))


class KRunnerInterface(ServiceInterface):
    """A runner of KDE's KRunner, which searches for Plasma's menus, too."""

    def __init__(self, service: DesktopService) -> None:
        super().__init__("org.kde.krunner1")
        self._service = service

    @dbus_method()
    async def Actions(self) -> Actions:
        return [[_SHOW_IN_FOLDER, self._service.labels.show_in_folder, "document-open-folder"]]

    @dbus_method()
    async def Match(self, query: DBusStr) -> Matches:
        results = await self._service.typed(query, _KRUNNER_RESULTS)
        pictures = await self._service.thumbnails(results)
        matches = []
        for one in results:
            properties = {
                "subtext": Variant("s", one.description(self._service.labels.picture)),
                "category": Variant("s", self._service.labels.title),
                "urls": Variant("as", [file_uri(one.path)]),
                "actions": Variant("as", [_SHOW_IN_FOLDER]),
            }
            pixels = await self._service.pixels(pictures[one.id]) if one.id in pictures else None
            if pixels is not None:
                properties["icon-data"] = Variant("(iiibiiay)", [*pixels])
            matches.append([one.id, one.name, _icon(one), _POSSIBLE_MATCH, float(one.relevance), properties])
        return matches

    @dbus_method()
    async def Run(self, match_id: DBusStr, action_id: DBusStr) -> Nothing:
        await _answered(self._service.open(match_id, folder=action_id == _SHOW_IN_FOLDER))

    @dbus_method()
    def Teardown(self) -> Nothing:
        return None


def _fields(service: DesktopService, result: DesktopResult) -> dict[str, Variant]:
    return {
        "id": Variant("s", result.id),
        "name": Variant("s", result.name),
        "description": Variant("s", result.description(service.labels.picture)),
    }


def _icon(result: DesktopResult) -> str:
    return _ICONS.get(result.kind, _DEFAULT_ICON)


def _gnome_icon(result: DesktopResult, thumbnail: str | None) -> dict[str, Variant]:
    """Return the icon of a result: a serialised GIcon of its picture, or the name of one for files of its kind."""
    if thumbnail is None:
        return {"gicon": Variant("s", _icon(result))}
    return {"icon": Variant("(sv)", ["file", Variant("s", thumbnail)])}
