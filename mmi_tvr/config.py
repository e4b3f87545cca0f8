"""Typed settings: a YAML file, then `--set a.b=c`, checked whole before anything heavy is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import plugins
from .errors import ConfigError, UsageError, one_line
from .utils.textfiles import decode

AUTO = "auto"  # the name of a section that names no implementation
_WORD = re.compile(r"[A-Za-z/][\w./-]*")
_HERE = Path(__file__).parent
Options = TypeVar("Options", bound=plugins.BaseOptions)
AnySettings = TypeVar("AnySettings", bound="CommonSettings")
# An installed wheel carries configs/ and prompts/ inside the package; in a checkout they lie beside it.
PACKAGED = _HERE / "_data" if (_HERE / "_data").is_dir() else _HERE.parent


class Section(plugins.BaseOptions):
    """Which implementation a room uses: its `name`, and the options of that implementation beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = AUTO

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @property
    def is_named(self) -> bool:
        """Whether somebody said the name. Else it is a default, and the options change what is chosen elsewhere."""
        return "name" in self.model_fields_set

    @classmethod
    def unnamed(cls, default: str, options: Mapping[str, Any]) -> Section:
        """Return options for which nobody said a name, with the one that they are about where nothing else does."""
        return cls.model_construct(set(options), name=default, **options)

    def with_options(self, options: Mapping[str, Any]) -> Section:
        """Return this section with other options; one that is not named stays so."""
        return Section(name=self.name, **options) if self.is_named else Section.unnamed(self.name, options)

    def changed_by(self, other: Section) -> Section:
        """Return this section with the options of another one, which go before."""
        return self.with_options(merge(self.options, other.options))


RERANK = Section(name="skeleton")  # what re-ranking means where nothing else is said
AUTO_INDEX = "faiss"  # whose options the index `auto` takes (`index.open_index`)
RERANK_ROOMS = {"answerer": "answerers", "judge": "judges"}  # sections of re-ranking -> where their options are


class SearchSection(plugins.BaseOptions):
    """How queries are read."""

    literal: bool = Field(False, description="read a sentence as it stands: what it excludes is looked for, too")
    expand: int = Field(0, ge=0, le=8, description="paraphrases that a language model writes, besides a translation")
    answerer: Section | None = Field(None, description="who writes them; default: who answers in a re-ranking")
    descriptions: float = Field(0.3, ge=0, le=100, description="what descriptions of videos count; 0: pictures alone")
    seconds: float | None = Field(20.0, gt=0, description="that writing may take for a query; null: any number")

    @model_validator(mode="after")
    def _known_answerer(self) -> SearchSection:
        if self.answerer is not None:
            try:
                plugins.options("answerers", self.answerer.name, self.answerer.options)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return self


class WatchSection(plugins.BaseOptions):
    """When a watcher works, and how much (`mmi-tvr watch`)."""

    idle: float = Field(60.0, ge=0, le=86400, description="seconds since anybody touched this machine; 0: whoever does")
    battery: bool = Field(False, description="work on battery, too")
    load: float = Field(0.5, gt=0, le=1, description="the share of the processors that others may use; 1: all")
    budget_hour: float = Field(1800.0, ge=0, le=1e9, description="CPU seconds within any hour; 0: any number")
    budget_day: float = Field(14400.0, ge=0, le=1e9, description="CPU seconds within any 24 hours; 0: any number")
    settle: float = Field(5.0, ge=0.1, le=3600, description="seconds since the last write of a file that is taken in")
    rescan: float = Field(900.0, ge=1, le=604800, description="seconds from one look at all folders to the next")
    threads: int = Field(1, ge=1, le=64, description="threads of the model, and processes that decode")
    priority: Literal["idle", "normal"] = Field("idle", description="idle: what nobody else needs, the least of all")


class CommonSettings(plugins.BaseOptions):
    """The sections that a library and a training run share. Field names are the YAML keys."""

    model: Section = Field(
        Section(),
        description="retrieval model; 'auto' takes the best that is on this machine, and options without a name change "
        "the model that is chosen elsewhere (`models.changed`)",
    )
    keyimages: Section = Field(Section(name="disparity"), description="how key images are chosen")
    index: Section = Field(Section(), description="vector index; 'auto' takes flat, and faiss for large collections")
    rerank: Section | None = Field(None, description="re-ranking of every search; default: only where one asks for it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, values: Any) -> Any:
        """A section that names no implementation means the default one: `{keyimages: {count: 8}}` is disparity's."""
        if isinstance(values, dict):
            for key, field in cls.model_fields.items():
                default = RERANK if key == "rerank" else field.default
                section = values.get(key)
                options = section.options if isinstance(section, Section) and not section.is_named else section
                if isinstance(default, Section) and _names_nothing(options):
                    values = {**values, key: Section.unnamed(default.name, options)}
        return values

    def checked(self: AnySettings, source: str = "settings", *, model_is_named: bool = False) -> AnySettings:
        """Return these settings, after every section has been held against its implementation's options.

        Raises ConfigError with every problem; `source` is the file that it names. Of a model that is named elsewhere
        (`load`), it is known later which options it has (`models.changed`): here, that some model has them.
        """
        problems: list[str] = []
        sections = self._sections_by_room()
        if self.model.name == AUTO or model_is_named:
            del sections["models"]
            problems += _unknown_options("model", "models", self.model.options)
        if self.rerank is not None:
            unnamed = unnamed_parts(self.rerank)  # they are checked once it is known whose options they are
            sections["rerank"] = self.rerank.with_options(
                {key: value for key, value in self.rerank.options.items() if key not in unnamed}
            )
            for part, values in unnamed.items():
                problems += _unknown_options(f"rerank.{part}", RERANK_ROOMS[part], values)
        for room, section in sections.items():
            try:
                check_section(room, section)
            except UsageError as error:
                if not self._may_fit(room, section):
                    problems.append(str(error))
        problems += self._channel_problems()
        if problems:
            raise ConfigError(source, problems)
        return self

    def _may_fit(self, room: str, section: Section) -> bool:
        """Return whether options that the default does not take can be about what is chosen elsewhere."""
        return False

    def _channel_problems(self) -> list[str]:
        """Return what is wrong with the options of channels; only a library has any."""
        return []

    def _sections_by_room(self) -> dict[str, Section]:
        return {"models": self.model, "keyimages": self.keyimages, "index": self.index}


class Settings(CommonSettings):
    """Everything that a library can be told. A training run's file is read, too: its own two sections are passed over
    here, and are typed in `train.settings.RunSettings`."""

    search: SearchSection = Field(SearchSection(), description="how the queries of a search are read")
    faces: Section = Field(
        Section(name="sface"), description="who finds and describes faces, for the people of a library"
    )
    channels: dict[str, dict[str, Any]] = Field({}, description="options of the channels of a library, by name")
    watch: WatchSection = Field(WatchSection(), description="when and how much a watcher works")
    data: dict[str, Any] = Field({}, description="for training: data sets and batch size (`train.settings`)")
    train: dict[str, Any] = Field({}, description="for training: stages, learning rates (`train.settings`)")

    def _sections_by_room(self) -> dict[str, Section]:
        return {**super()._sections_by_room(), "people.faces": self.faces}

    def _may_fit(self, room: str, section: Section) -> bool:
        """A library or a model may have chosen any implementation; what it is, is known where it is used."""
        return not section.is_named and any(_takes(room, name, section.options) for name in plugins.names(room))

    def _channel_problems(self) -> list[str]:
        problems = []
        for name, options in self.channels.items():
            try:
                plugins.options("channels", name, options)
            except UsageError as error:
                problems.append(str(error))
        return problems


def _names_nothing(values: object) -> TypeGuard[dict[str, Any]]:
    """Return whether these are the options of a section, without a name."""
    return isinstance(values, dict) and "name" not in values and all(isinstance(key, str) for key in values)


def unnamed_parts(rerank: Section) -> dict[str, dict[str, Any]]:
    """Return the options of who answers or judges where it is not said who that is: a library or a model may say it."""
    parts = {part: rerank.options.get(part) for part in RERANK_ROOMS}
    return {part: values for part, values in parts.items() if isinstance(values, dict) and "name" not in values}


def check_section(room: str, section: Section) -> None:
    """Raise UsageError where the implementation that a section names does not take its options.

    Those of the index `auto` are faiss's; where another index takes them, the error names it.
    """
    if room != "index" or section.name != AUTO:
        plugins.options(room, section.name, section.options)
    elif section.options:
        try:
            plugins.options(room, AUTO_INDEX, section.options)
        except UsageError as error:
            others = [name for name in plugins.names(room) if _takes(room, name, section.options)]
            advice = f"; an index that takes this: index.name={others[0]}" if others else ""
            raise UsageError(f"{error}{advice}") from error


def _takes(room: str, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether an implementation takes these options."""
    try:
        plugins.options(room, name, options)
    except UsageError:
        return False
    return True


def _unknown_options(section: str, room: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem for each option of a section that no implementation of the room has."""
    if not values:
        return
    known: set[str] = set()
    for name in plugins.names(room):
        with suppress(UsageError):  # somebody else's plug-in that cannot be loaded
            known.update(plugins.load(room, name).Options.model_fields)
    for option in sorted(values.keys() - known):
        yield f"{section}: unknown option {option!r} (there are: name, {', '.join(sorted(known))})"


def load(path: str | Path | None = None, overrides: Iterable[str] = (), *, model_is_named: bool = False) -> Settings:
    """Return the settings of a YAML file (or the defaults), changed by `a.b=c` overrides, checked.

    Args:
        path: of the file, as `find` has it.
        overrides: change single settings.
        model_is_named: something besides names the model, as --model does: the one that the file names is put aside
            with its options, and overrides of `model` are about the one that is named.

    Raises:
        ConfigError: all problems at once.
        UsageError: the file is missing or no YAML.
    """
    values = _read(find("configs", path)) if path else {}
    model = values.get("model")
    if model_is_named and isinstance(model, dict) and model.get("name", AUTO) != AUTO:
        del values["model"]
    source = str(path) if path else "settings"
    settings = _settings(_changed(values, overrides), source)
    return settings.checked(source, model_is_named=model_is_named)


def read(options: type[Options], path: str | Path | None = None, overrides: Iterable[str] = ()) -> Options:
    """Return other options than Settings, as `load` does: a YAML file, changed by overrides, all problems in one error.

    What is left out of a section keeps the section's own default; a mapping that is a value (`learning_rates`) is taken
    as it stands.
    """
    values = _changed(_read(find("configs", path)) if path else {}, overrides)
    defaults = {}
    for name, field in options.model_fields.items():
        if name in values and isinstance(field.default, BaseModel):
            defaults[name] = field.default.model_dump(exclude_unset=True)
    try:
        return options(**merge(defaults, values))
    except ValidationError as error:
        raise ConfigError(str(path) if path else "options", plugins.explain(error, options)) from error


def from_values(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Return the settings of plain nested values, checked. ConfigError with all problems at once."""
    return _settings(values, source).checked(source)


def merge(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values, key by key those of `values`, and of `defaults` what is not among them.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4})
    {'a': {'b': 3, 'c': 2}, 'd': 4}
    """
    merged = {**defaults, **values}
    for key in defaults.keys() & values.keys():
        if isinstance(defaults[key], Mapping) and isinstance(values[key], Mapping):
            merged[key] = merge(defaults[key], values[key])
    return merged


def contradictions(
    first: Mapping[str, Any], second: Mapping[str, Any], section: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted keys, behind `section`, to which nested values give different values, with both of these.

    >>> list(contradictions({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": 3, "e": 5}))
    [('a.b', 1, 4)]
    """
    for key in sorted(first.keys() & second.keys()):
        value, other = first[key], second[key]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from contradictions(value, other, f"{section}{key}.")
        elif value != other:
            yield f"{section}{key}", value, other


def overrides(section: str, values: Mapping[str, Any]) -> list[str]:
    """Return what `load` takes as overrides to give a section these values.

    >>> overrides("index", {"name": "flat", "bits": 1})
    ['index.name=flat', 'index.bits=1']
    """
    return [f"{section}.{key}={_as_yaml(value)}" for key, value in values.items()]


def _as_yaml(value: Any) -> str:
    """Return a value in one line of YAML, a plain word without quotes."""
    if isinstance(value, str) and _WORD.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def find(folder: str, name: str | Path) -> Path:
    """Return the path of a data file (a settings file, a question pool).

    Args:
        folder: "configs" or "prompts".
        name: of settings, a path, with or without `.yaml`; then a name in `configs/` of the working folder; then a
            packaged one. Of prompts, a packaged name such as `text`, else a path: what lies in the working folder is
            never read unasked (decision: the same library would answer otherwise from another folder).

    Raises:
        UsageError: Where there is none; it names the packaged ones.
    """
    name = Path(name)
    if folder == "prompts":
        bare = name.parent == Path() and not name.suffix
        candidates = [(PACKAGED / folder / name).with_suffix(".yaml"), name] if bare else [name]
    else:
        candidates = [name, Path.cwd() / folder / name, PACKAGED / folder / name]
    if name.name and not name.suffix:  # "." and "/" have no name that could be longer
        candidates += [candidate.with_suffix(".yaml") for candidate in candidates]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted(path.name for path in (PACKAGED / folder).glob("*.yaml"))
    raise UsageError(f"{name}: no such file, and no packaged {folder} of that name (there are: {', '.join(known)})")


def _settings(values: Mapping[str, Any], source: str) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError(source, plugins.explain(error, Settings)) from error


def _changed(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return plain values after overrides were carried out in place."""
    for override in overrides:
        _apply(values, override)
    return values


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(decode(path.read_bytes(), path))
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: not readable as YAML: {one_line(error, limit=None)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: the top of a settings file is a mapping, not {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in place. The value is read as YAML, so 3, true and [1, 2] mean what they look like."""
    dotted, equals, text = override.partition("=")
    if not equals or not all(dotted.split(".")):
        raise UsageError(f"--set takes key=value, for example keyimages.count=8, not {override!r}")
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {parent!r} is a value, not a section")
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"--set {override}: the value is no YAML: {one_line(error, limit=None)}") from error
