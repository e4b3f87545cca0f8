"""What a library works with: its settings, one model with its key images, and the index of the vectors that they made.

All of it stands in the catalogue's meta table: `settings` (model, key images, index), `fingerprint` and `model` (of
what made the vectors; absent until the first embedding), `dim`, `vectors` (the folder of the present index) and
`rebuilding` (the fingerprint that an unfinished rebuild goes to), `translate` (how many videos it embeds before it
translates the others), and `rerank`, which can change at any time.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import AUTO, Section, Settings, check_section, overrides, unnamed_parts
from ..errors import IndexMismatch, ModelNotFound
from ..features.embed import embedding_fingerprint
from ..features.extract import require_pictures
from ..protocols import Index, KeyImageMethod, Model, ModelWithKeyImages
from ..rerank import changed_section, rerank_section, with_absolute_pools, with_pools
from ..utils.wording import library_option
from .catalogue import Catalogue
from .own_pools import pools_folder
from .turns import LoadedModel, SharedModels

_ROOMS = {"model": "models", "keyimages": "keyimages", "index": "index"}  # of the sections of `_bound_sections`


class Components:
    """Decides which settings hold, makes the model when it is first needed, and opens the index."""

    def __init__(
        self,
        folder: Path,
        catalogue: Catalogue,
        settings: Settings,
        model: Model | Section | None,
        models: SharedModels | None = None,
    ) -> None:
        """Decide which settings hold; nothing is loaded yet.

        Args:
            folder: the library.
            catalogue: its open catalogue, or that of a rebuild.
            settings: of these, what was set explicitly goes before what the library was made with.
            model: a ready model, or a section that goes before the one of `settings`.
            models: loads the models that settings name.
        """
        self.models = models or SharedModels()
        self.folder = folder
        self.catalogue = catalogue
        self.device = settings.device
        self.loaded: LoadedModel | None = None  # once somebody needed the model
        self._ready_model = None if model is None or isinstance(model, Section) else model
        self._explicit = _explicit_sections(settings, model)
        self._stored = {key: Section(**values) for key, values in catalogue.meta("settings", {}).items()}
        self._rerank_is_explicit = "rerank" in settings.model_fields_set
        self._rerank = _changed_rerank(catalogue.meta("rerank"), settings.rerank)

    def section(self, key: str) -> Section:
        """Return the settings that hold for "model", "keyimages" or "index".

        That is what was set explicitly, else the library's own, else the default.
        """
        explicit, stored = self._explicit.get(key), self._stored.get(key)
        if explicit is not None and not _changes_options(key, explicit):
            return explicit
        present = self._key_image_section(stored) if key == "keyimages" else stored
        if explicit is not None and present is not None:
            return present.changed_by(explicit)
        return explicit or present or _bound_sections(Settings())[key]

    def rerank_section(self) -> Section | None:
        """Return the re-ranking of every search: the library's own, with what was set explicitly changed; None where
        there is none."""
        if self._rerank_is_explicit:
            return self._rerank
        return _read_rerank(self.catalogue.meta("rerank"))

    def reranking(self, model: Model) -> Section:
        """Return how to re-rank with a model: its questions are those of a file that the settings name, else the
        library's own, else the packaged ones."""
        return with_pools(rerank_section(self.rerank_section(), model), pools_folder(self.folder))

    def _key_image_section(self, stored: Section | None) -> Section:
        """Return what the library has; with a model that brings others, what was once set explicitly, else what the
        model was trained on, else the default."""
        from .. import models

        default, stored_model, model = Settings().keyimages, self._stored.get("model"), self.section("model")
        if self._ready_model is not None:
            ready = self._ready_model
            images = ready.key_image_section() if isinstance(ready, ModelWithKeyImages) else None
            return Section(**images) if images else stored or default
        if stored is not None and model == stored_model:
            return stored
        trained_on = models.key_images(model)
        stored_model_default: Section | None = None
        if stored_model is not None:
            with suppress(ModelNotFound):  # its folder may be gone: the library changes to another model, say
                stored_model_default = models.key_images(stored_model)
        if stored is not None and (trained_on == stored_model_default or stored not in (default, stored_model_default)):
            return stored
        return trained_on or default

    def settle(self, rebuild: bool, translate: int | None = None) -> None:
        """Before writing: keep the settings of a new library, refuse or carry out a change to those of an old one.

        translate: how many videos a rebuild embeds before it translates the vectors of the others; None: all.

        Raises:
            IndexMismatch: the present vectors were made otherwise, and `rebuild` is false.
            UsageError: what holds has not an option that was set.
        """
        is_rebuild = rebuild and bool(self._stored)
        self._explicit["model"] = self._concrete_model(is_rebuild)
        self._check_sections()
        if is_rebuild:
            self._begin_rebuild(translate)
        else:
            self._bind()
        if self._rerank_is_explicit:
            rerank = None if self._rerank is None else with_absolute_pools(self._rerank)
            with self.catalogue.transaction():
                self.catalogue.set_meta(rerank=None if rerank is None else rerank.model_dump(exclude_unset=True))

    def _concrete_model(self, is_rebuild: bool) -> Section:
        """Return the model by name instead of "auto", so that a library keeps its first one; where a rebuild is to take
        "auto", the one that it means by now."""
        explicit = self._explicit.get("model")
        if is_rebuild and explicit is not None and explicit.is_named and not explicit.options:
            return _concrete(explicit)
        return _concrete(self.section("model"))

    def _check_sections(self) -> None:
        """Raise UsageError where a setting that is to be stored has options that what it names does not take."""
        for key, section in self._sections().items():
            is_ready = key == "model" and self._ready_model is not None
            if section != self._stored.get(key) and not is_ready:
                check_section(_ROOMS[key], section)
        rerank = self._rerank if self._rerank_is_explicit else None
        if rerank is not None and (not rerank.is_named or unnamed_parts(rerank)):
            reranking = self.reranking(self._make_model().model)  # says who is meant, where the library does not
            plugins.options("rerank", reranking.name, reranking.options)

    def _bind(self) -> None:
        """Keep the settings of a new library, and those of an old one that change no vectors; refuse others."""
        changed = [key for key, stored in self._sections().items() if stored != self._stored.get(key)]
        if self._stored and "index" in changed and not self._keeps_files():
            raise self._other_index("--rebuild")
        if self._stored and (set(changed) - {"index"} or self._ready_model is not None):
            self.load()  # another name may still mean the same numbers; if not, this refuses
        if changed:
            self._store_first_settings()

    def load(self) -> LoadedModel:
        """Return the model with its key image method, loaded once.

        Raises IndexMismatch where others made the present vectors.
        """
        if self.loaded is None:
            self.loaded = self._make_model()
        fingerprint = self.loaded.fingerprint
        maker = self.catalogue.meta("fingerprint")
        if maker not in (None, fingerprint):
            maker_name, name = self.catalogue.meta("model", "another model"), self.loaded.model.name
            present, requested = f"{maker_name} ({maker})", f"{name} ({fingerprint})"
            if maker_name == name:
                present, requested = (
                    f"{name} with other weights or settings ({maker})",
                    f"the present ones ({fingerprint})",
                )
            raise self._mismatch("its vectors were made by", present, requested, "--rebuild")
        self.models.latest = self.loaded
        return self.loaded

    def make_index(self, dim: int) -> Index:
        """Return the open index, made for vectors of this width where there is none."""
        if self.catalogue.meta("dim") is None:
            loaded = self.load()
            with self.catalogue.transaction():
                self.catalogue.set_meta(dim=dim, fingerprint=loaded.fingerprint, model=loaded.model.name)
        index = self.open_index(create=True)
        assert index is not None
        return index

    def open_index(self, create: bool) -> Index | None:
        """Return the open index of the present vectors; None before the first embedding.

        A writer may `create` it where its folder was lost; it keeps what the library is bound to, whatever the settings
        of a search are.

        Raises:
            IndexMismatch: a reader's settings want a graph or codes looked into that are not there.
            UsageError: the index has not an option that they set.
        """
        meta = self.catalogue.all_meta()
        if meta.get("dim") is None:
            return None
        from .. import index

        section, stored = self.section("index"), self._stored.get("index")
        if stored is not None and create:
            section = stored
        elif stored is not None:
            check_section("index", section)
            if not index.serves(stored, section):
                raise self._other_index()
        return index.open_index(
            section.name,
            section.options,
            path=self.folder / "vectors" / meta["vectors"],
            dim=meta["dim"],
            fingerprint=meta["fingerprint"],
            create=create,
        )

    def _keeps_files(self) -> bool:
        """Return whether the index that settings want lies in the files that are there."""
        from .. import index

        return index.share_files(self._stored["index"], self.section("index"))

    def _sections(self) -> dict[str, Section]:
        """Return the settings that hold, by what they are for."""
        return {key: self.section(key) for key in _bound_sections(Settings())}

    def makes_present_vectors(self) -> bool:
        """Return whether the present vectors are of the model and the settings that hold."""
        return bool(self._make_model().fingerprint == self.catalogue.meta("fingerprint"))

    def _begin_rebuild(self, translate: int | None) -> None:
        """Bind the library to the present settings and have everything embedded again, in one transaction.

        After a kill the same command goes on instead of starting over.
        """
        self.loaded = self._make_model()
        fingerprint = self.loaded.fingerprint
        if self._sections() == self._stored and self.catalogue.meta("rebuilding") == fingerprint:
            if self.catalogue.meta("translate") != translate:
                with self.catalogue.transaction():
                    self.catalogue.set_meta(translate=translate)
            return
        with self.catalogue.transaction():
            self._store_settings()
            self.catalogue.set_meta(
                fingerprint=None,
                model=None,
                dim=None,
                vectors=secrets.token_hex(4),
                rebuilding=fingerprint,
                translate=translate,
            )
            self.catalogue.set_pending()

    def _store_first_settings(self) -> None:
        with self.catalogue.transaction():
            self._store_settings()
            if self.catalogue.meta("vectors") is None:
                self.catalogue.set_meta(vectors=secrets.token_hex(4))

    def _store_settings(self) -> None:
        self._stored = self._sections()
        self.catalogue.set_meta(settings={key: section.model_dump() for key, section in self._stored.items()})

    def _make_model(self) -> LoadedModel:
        keyimages = self.section("keyimages")
        method: KeyImageMethod = plugins.build("keyimages", keyimages.name, keyimages.options)
        model = self._ready_model
        if model is None:
            model = self.models.get(self.section("model"), self.device)
        require_pictures(model)
        latest = self.models.latest
        if latest is not None and latest.model is model and latest.keyimages == keyimages and self.models.holds(model):
            return latest  # the fingerprint of a model that nobody else has stays, and takes its time
        return LoadedModel(model, method, embedding_fingerprint(model, method), keyimages)

    def _other_index(self, *words: str) -> IndexMismatch:
        present, requested = map(_titled, (self._stored["index"], self.section("index")))
        return self._mismatch("its index is", present, requested, *words)

    def _mismatch(self, problem: str, present: str, requested: str, *words: str) -> IndexMismatch:
        """Return the error of a library that is otherwise than it is wanted, with the command that changes it.

        words: of that command, besides what the settings say.
        """
        from .. import models

        named, changes, purpose = [], [], "to change that"
        if words:
            model, purpose = self.section("model"), "to make them again"
            named = ["--model", models.spelled(model), *words]
            changes = models.overrides(model) if self._ready_model is None else []
        for key in sorted(self._explicit.keys() - {"model"}):
            section = self.section(key)
            changes += overrides(key, {"name": section.name, **section.options})
        settings = [word for change in changes for word in ("--set", shlex.quote(change))]
        command = " ".join(["mmi-tvr index", library_option(self.folder), *named, *settings])
        return IndexMismatch(f"{self.folder}: {problem} {present}, not {requested}; {purpose}: {command}")


def _titled(section: Section) -> str:
    """Return a section as an error names it: its name, and its options in brackets.

    >>> _titled(Section(name="flat")), _titled(Section(name="flat", bits=1))
    ('flat', 'flat (bits: 1)')
    """
    options = ", ".join(f"{key}: {value}" for key, value in section.options.items())
    return f"{section.name} ({options})" if options else section.name


def _bound_sections(settings: Settings) -> dict[str, Section]:
    """Return the sections that a library is bound to. The keys are stored in the catalogue."""
    return {"model": settings.model, "keyimages": settings.keyimages, "index": settings.index}


def _changed_rerank(stored: Mapping[str, Any] | None, requested: Section | None) -> Section | None:
    """Return the re-ranking that settings request, over what a library remembers; None, where they want none.

    ConfigError where both together do not fit, as the options of a server where the library has none.
    """
    present = _read_rerank(stored)
    if requested is None or present is None:
        return requested
    changed = changed_section(present, requested)
    Settings(rerank=changed).checked()
    return changed


def _read_rerank(stored: Mapping[str, Any] | None) -> Section | None:
    """Return the re-ranking that a library remembers; without a name, options change the one that a model has."""
    return Settings.model_validate({"rerank": stored}).rerank


def _changes_options(key: str, explicit: Section) -> bool:
    """Return whether a section that somebody set is about the one that a library has: it names none.

    The model `auto` may mean another one by now, but a library has its own; its index can become the one of `auto`.
    """
    return not explicit.is_named or (key == "model" and explicit.name == AUTO)


def _explicit_sections(settings: Settings, model: Model | Section | None) -> dict[str, Section]:
    """Return the sections that somebody set; defaults do not count as a wish to change a library."""
    sections = {key: section for key, section in _bound_sections(settings).items() if key in settings.model_fields_set}
    if isinstance(model, Section):
        sections["model"] = model
    elif model is not None:
        sections["model"] = Section(name=model.name)
    return sections


def _concrete(section: Section) -> Section:
    """Return a model by name instead of "auto", so that a library keeps its first one. Loads no weights."""
    if section.name != AUTO:
        return section
    from .. import models

    return models.resolve(section)
