"""One door for extensions: a folder of implementations is its own registry.

A file `mmi_tvr/<room>/<name>.py` is the implementation `<name>` of that room. It offers

- `Options`: a pydantic model (a subclass of `plugins.BaseOptions`); its fields are the YAML keys, its
  descriptions the help text, its validators the cross-field rules;
- `build(options, ...)`: makes the object; the room's protocol says which further arguments it gets.

Adding an implementation is adding one file. Files whose name starts with an underscore are shared helpers. Another
package adds one by an entry point of the group `mmi_tvr.<room>` that names such a module (docs/extending.md). What a
module may offer besides is in `protocols` (`AvailableModule`, `TrainableModule` ...).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import UsageError, one_line

# Of an address: what stands before its host, and behind the question mark.
_LOGIN = re.compile(r"(?<=://)[^\s'\"/]*@")
_QUERY = re.compile(r"(://[^\s'\"?]*)\?[^\s'\"]+")

ROOMS = (
    "answerers",
    "channels",
    "datasets",
    "index",
    "judges",
    "keyimages",
    "models",
    "people.faces",
    "rerank",
)  # where an implementation may be added


class BaseOptions(BaseModel):
    """Base of every options class: frozen, and an unknown key is an error instead of being ignored; so is a number that
    is none, or without an end."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Plugin:
    """An implementation that another package offers; `problem` says why it cannot be used, None where it can."""

    room: str
    name: str
    package: str
    problem: str | None


def names(room: str) -> tuple[str, ...]:
    """Return the implementations of a room: its files, and the entry points of other packages. Imports none of them.

    >>> "disparity" in names("keyimages")
    True
    """
    return tuple(sorted({*_files(room), *_entry_points(room)}))


def load(room: str, name: str) -> ModuleType:
    """Return the module of one implementation.

    A file of the room comes before an entry point of the same name (decision: a package that is installed besides
    changes nothing that was there); of two packages, the one that is first on Python's path. UsageError where nothing
    has that name, or where a plug-in cannot be imported or lacks `Options` or `build`.
    """
    if name in _files(room):
        return importlib.import_module(f"mmi_tvr.{room}.{name}")
    if name not in _entry_points(room):
        raise UsageError(f"no {room.removesuffix('s')} is called {name!r}; there are: {', '.join(names(room))}")
    entry_point = _entry_points(room)[name]
    package = _package(entry_point)
    try:
        module: ModuleType = entry_point.load()
    except Exception as error:  # whatever somebody else's module raises while it is imported
        raise UsageError(f"{room} {name!r} of {package} cannot be loaded: {one_line(error)}") from error
    if not (_is_options(getattr(module, "Options", None)) and callable(getattr(module, "build", None))):
        raise UsageError(
            f"{room} {name!r} of {package} is no plug-in: {entry_point.value} must offer a class Options (of "
            "mmi_tvr.plugins.BaseOptions) and a function build"
        )
    return module


def origin(room: str, name: str) -> str | None:
    """Return the package that an implementation comes from; None for one of ours.

    >>> origin("keyimages", "disparity")
    """
    if name in _files(room) or name not in _entry_points(room):
        return None
    return _package(_entry_points(room)[name])


def third_party() -> Iterator[Plugin]:
    """Yield what other packages offer, room by room, and import it. The ones that are never used are among them."""
    for room in ROOMS:
        for entry_point in entry_points(group=f"mmi_tvr.{room}"):
            yield Plugin(room, entry_point.name, _package(entry_point), _problem(room, entry_point))


def _problem(room: str, entry_point: EntryPoint) -> str | None:
    """Return why a plug-in cannot be used; None where it can."""
    name = entry_point.name
    if name in _files(room):
        return f"never used: mmi_tvr has {room} {name!r} of its own, which comes first"
    first = _package(_entry_points(room)[name])
    if first != _package(entry_point):
        return f"never used: {room} {name!r} of {first} comes first"
    try:
        load(room, name)
    except UsageError as error:
        return str(error)
    return None


def _package(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else "an unknown package"


def _files(room: str) -> set[str]:
    package = importlib.import_module(f"mmi_tvr.{room}")
    return {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}


@cache
def _entry_points(room: str) -> dict[str, EntryPoint]:
    """What other packages offer to a room, by name: their entry points of the group `mmi_tvr.ROOM`."""
    first: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=f"mmi_tvr.{room}"):
        first.setdefault(entry_point.name, entry_point)
    return first


def _is_options(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseOptions)


def options(room: str, name: str, values: Mapping[str, Any] | None = None) -> BaseOptions:
    """Return the validated options of one implementation. UsageError with every problem in one message."""
    options_class: type[BaseOptions] = load(room, name).Options
    try:
        return options_class(**(values or {}))
    except ValidationError as error:
        raise UsageError(f"{room}.{name}: " + "; ".join(explain(error, options_class))) from error


def build(room: str, name: str, values: Mapping[str, Any] | None = None, **context: Any) -> Any:
    """Make the implementation `name` of a room from plain values (as read from YAML)."""
    return load(room, name).build(options(room, name, values), **context)


def explain(error: ValidationError, options_class: type[BaseModel]) -> list[str]:
    """Return pydantic's findings as short phrases; an unknown key names the known ones."""
    phrases = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_fields(options_class, problem["loc"][:-1])) or "none"
            phrases.append(f"unknown option {where!r} (there are: {known})")
        elif problem["type"] == "missing":
            phrases.append(f"{where} is missing, and has no default")
        else:
            phrases.append(f"{where or 'options'}: {problem['msg']}, not {without_secrets(repr(problem['input']))}")
    return phrases


def without_secrets(text: str) -> str:
    """Return a text without the names, passwords and queries of its addresses.

    >>> without_secrets("'https://me:secret@host/v1', 'http://host/v1?key=secret'")
    "'https://***@host/v1', 'http://host/v1?***'"
    """
    return _QUERY.sub(r"\1?***", _LOGIN.sub("***@", text))


def _fields(options_class: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    """Return the options at a place of a (nested) model; none where a list or a mapping lies between."""
    for part in path:
        annotation = (
            options_class.model_fields[str(part)].annotation if str(part) in options_class.model_fields else None
        )
        classes = [member for member in (annotation, *get_args(annotation)) if isinstance(member, type)]
        nested = next((member for member in classes if issubclass(member, BaseModel)), None)
        if nested is None:
            return ()
        options_class = nested
    return options_class.model_fields
