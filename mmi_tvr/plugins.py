"""One door for extensions: a folder of implementations is its own registry.

A file `mmi_tvr/<room>/<name>.py` is the implementation `<name>` of that room. It offers

- `Options`: a pydantic model (a subclass of `plugins.BaseOptions`); its fields are the YAML keys, its
  descriptions the help text, its validators the cross-field rules;
- `build(options, ...)`: makes the object; the room's protocol says which further arguments it gets.

Adding an implementation is adding one file. Files whose name starts with an underscore are shared helpers.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import MissingExtra, UsageError


class BaseOptions(BaseModel):
    """Base of every options class: frozen, and an unknown key is an error instead of being ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def names(room: str) -> tuple[str, ...]:
    """The implementations of a room, found by their files; nothing is imported but the room itself.

    >>> "disparity" in names("keyimages")
    True
    """
    package = importlib.import_module(f"mmi_tvr.{room}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def load(room: str, name: str) -> ModuleType:
    """The module of one implementation; an unknown name says what there is."""
    if name not in names(room):
        raise UsageError(f"no {room} is called {name!r}; there are: {', '.join(names(room))}")
    return importlib.import_module(f"mmi_tvr.{room}.{name}")


def options(room: str, name: str, values: Mapping[str, Any] | None = None) -> BaseOptions:
    """Validated options of one implementation; every problem is in the one message."""
    kind: type[BaseOptions] = load(room, name).Options
    try:
        return kind(**(values or {}))
    except ValidationError as error:
        raise UsageError(f"{room}.{name}: " + "; ".join(explain(error, kind))) from error


def build(room: str, name: str, values: Mapping[str, Any] | None = None, **context: Any) -> Any:
    """Make the implementation `name` of a room from plain values (as read from YAML)."""
    return load(room, name).build(options(room, name, values), **context)


def explain(error: ValidationError, kind: type[BaseModel]) -> list[str]:
    """Pydantic's findings as short phrases; an unknown key names the known ones."""
    phrases = []
    for found in error.errors():
        where = ".".join(str(part) for part in found["loc"])
        if found["type"] == "extra_forbidden":
            known = ", ".join(_fields(kind, found["loc"][:-1])) or "none"
            phrases.append(f"unknown option {where!r} (there are: {known})")
        else:
            phrases.append(f"{where or 'options'}: {found['msg']}, not {found['input']!r}")
    return phrases


def _fields(kind: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    """The options that a (nested) model has at a place; none where a list or a mapping lies between."""
    for part in path:
        annotation = kind.model_fields[str(part)].annotation if str(part) in kind.model_fields else None
        models = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
        found = next((each for each in models if issubclass(each, BaseModel)), None)
        if found is None:
            return ()
        kind = found
    return kind.model_fields


def installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, extra: str) -> Any:
    """Import an optional dependency at use; where it is missing, the error carries the pip command."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == module.partition(".")[0]:
            raise MissingExtra(module, extra) from error
        raise
