"""What a library is bound to: its settings, one model and the vectors that this model made.

All of it stands in the catalogue's meta table: `settings` (model, key images, index), `fingerprint` and `model` (of
what made the vectors; absent until the first embedding), `dim`, `vectors` (the folder of the present index) and
`rebuilding` (the fingerprint that an unfinished rebuild goes to), and `rerank`, which can change at any time.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from .. import plugins
from ..config import Section, Settings
from ..errors import IndexMismatch
from ..features.embed import embedding_fingerprint
from ..protocols import Index, KeyImageMethod, Model, ModelWithKeyImages
from .catalogue import Catalogue

_BOUND = ("model", "keyimages", "index")


class Binding:
    """Decides which settings hold, makes the model when it is first needed, and opens the index."""

    def __init__(self, folder: Path, catalogue: Catalogue, settings: Settings, model: Model | Section | None) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.device = settings.device
        self._given = None if model is None or isinstance(model, Section) else model
        self._wanted = _wanted(settings, model)
        self._stored = {key: Section(**values) for key, values in catalogue.meta("settings", {}).items()}
        self._rerank_asked = "rerank" in settings.model_fields_set
        self._rerank = settings.rerank
        self.loaded: tuple[Model, KeyImageMethod, str] | None = None  # once somebody needed the model

    def section(self, key: str) -> Section:
        """The settings that hold: what was asked for by name, else the library's own, else the defaults."""
        asked, stored = self._wanted.get(key), self._stored.get(key)
        if key == "model" and asked is not None and asked.name == "auto" and stored is not None:
            return stored  # the best model may be another one by now, but this library has its own
        if key == "keyimages" and asked is None:
            return self._key_images(stored)
        return asked or stored or getattr(Settings(), key)

    def rerank(self) -> Section | None:
        """The re-ranking of every search: as was asked for, else the library's own; None where there is none."""
        if self._rerank_asked:
            return self._rerank
        kept = self.catalogue.meta("rerank")
        return Section(**kept) if kept else None

    def _key_images(self, stored: Section | None) -> Section:
        """What somebody once asked for; else those that the model was trained on, else the defaults."""
        from .. import models

        default, before = Settings().keyimages, self._stored.get("model")
        if self._given is not None:
            given = self._given
            trained_on = given.key_image_section() if isinstance(given, ModelWithKeyImages) else None
            return Section(**trained_on) if trained_on else stored or default
        if stored not in (None, default, models.key_images(before) if before else None):
            return stored
        return models.key_images(self.section("model")) or default

    def settle(self, rebuild: bool) -> None:
        """Before writing: keep the settings of a new library, refuse or carry out a change to those of an old one.

        Raises IndexMismatch where the vectors that are there were made otherwise, unless `rebuild`.
        """
        if self._rerank_asked:
            with self.catalogue.change():
                self.catalogue.set_meta(rerank=self._rerank.model_dump() if self._rerank else None)
        if rebuild and self._stored:
            self._rebuild()
            return
        self._wanted["model"] = _concrete(self.section("model"))
        changed = [key for key in _BOUND if self.section(key) != self._stored.get(key)]
        if self._stored and "index" in changed:
            raise IndexMismatch(self._mismatch("its index is", self._stored["index"].name, self.section("index").name))
        if self._stored and (changed or self._given is not None):
            self.load()  # another name may still mean the same numbers; if not, this refuses
        if changed:
            self._keep()

    def load(self) -> tuple[Model, KeyImageMethod, str]:
        """The model, the key image method and the fingerprint of both, held against what made the vectors."""
        if self.loaded is None:
            self.loaded = self._make()
        model, _, fingerprint = self.loaded
        maker = self.catalogue.meta("fingerprint")
        if maker not in (None, fingerprint):
            name = self.catalogue.meta("model", "another model")
            raise IndexMismatch(
                self._mismatch("its vectors were made by", f"{name} ({maker})", f"{model.name} ({fingerprint})")
            )
        return self.loaded

    def make_index(self, dim: int) -> Index:
        """The index, made for vectors of this width where there is none."""
        if self.catalogue.meta("dim") is None:
            model, _, fingerprint = self.load()
            with self.catalogue.change():
                self.catalogue.set_meta(dim=dim, fingerprint=fingerprint, model=model.name)
        made = self.open_index(create=True)
        assert made is not None
        return made

    def open_index(self, create: bool) -> Index | None:
        """The index of the present vectors; None before the first embedding.

        Who writes may `create` it where its folder was lost; who reads may not.
        """
        from .. import index

        meta = self.catalogue.metas()
        if meta.get("dim") is None:
            return None
        section = self.section("index")
        return index.open_index(
            section.name,
            section.options,
            path=self.vectors / meta["vectors"],
            dim=meta["dim"],
            fingerprint=meta["fingerprint"],
            create=create,
        )

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors"

    def _rebuild(self) -> None:
        """Bind the library to the present settings and have everything embedded again, in one transaction.

        After a kill the same command goes on instead of starting over.
        """
        if (asked := self._wanted.get("model")) is not None:
            self._wanted["model"] = _concrete(asked)
        self.loaded = self._make()
        fingerprint = self.loaded[2]
        unchanged = all(self.section(key) == self._stored[key] for key in _BOUND)
        if unchanged and self.catalogue.meta("rebuilding") == fingerprint:
            return
        with self.catalogue.change():
            self._store_settings()
            self.catalogue.set_meta(
                fingerprint=None, model=None, dim=None, vectors=secrets.token_hex(4), rebuilding=fingerprint
            )
            self.catalogue.set_pending()

    def _keep(self) -> None:
        with self.catalogue.change():
            self._store_settings()
            if self.catalogue.meta("vectors") is None:
                self.catalogue.set_meta(vectors=secrets.token_hex(4))

    def _store_settings(self) -> None:
        self._stored = {key: self.section(key) for key in _BOUND}
        self.catalogue.set_meta(settings={key: section.model_dump() for key, section in self._stored.items()})

    def _make(self) -> tuple[Model, KeyImageMethod, str]:
        keyimages = self.section("keyimages")
        method: KeyImageMethod = plugins.build("keyimages", keyimages.name, keyimages.options)
        if self._given is not None:
            model = self._given
        else:
            from .. import models

            model = models.make(self.section("model"), self.device)
        return model, method, embedding_fingerprint(model, method)

    def _mismatch(self, what: str, stored: str, asked: str) -> str:
        from .. import models

        name = models.spelled(self.section("model"))
        fix = f"mmi-tvr index DIR... --library {self.folder} --model {name} --rebuild"
        return f"{self.folder}: {what} {stored}, not {asked}; to make them again: {fix}"


def _wanted(settings: Settings, model: Any) -> dict[str, Section]:
    """The sections that somebody set; defaults do not count as a wish to change a library."""
    wanted = {key: getattr(settings, key) for key in _BOUND if key in settings.model_fields_set}
    if isinstance(model, Section):
        wanted["model"] = model
    elif model is not None:
        wanted["model"] = Section(name=model.name)
    return wanted


def _concrete(section: Section) -> Section:
    """A model by name instead of "auto", so that a library keeps the one that it began with. Loads no weights."""
    if section.name != "auto":
        return section
    from .. import models

    return models.resolve(section)
