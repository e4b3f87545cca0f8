"""A library's people are all described by one face encoder: the database remembers which, and refuses another one."""

from __future__ import annotations

import shlex

from ... import plugins
from ...config import Section, Settings, overrides
from ...errors import IndexMismatch
from ...protocols import FaceEncoder
from ...utils.wording import library_option
from .sealed_database import SealedDatabase

_ENCODER = "encoder"  # setting: section, fingerprint and threshold of the face encoder


class BoundDatabase(SealedDatabase):
    """Descriptors of one face encoder: the first that is bound."""

    def encoder_section(self) -> Section | None:
        """Return the face encoder that the stored descriptors are of, as settings; None where none is bound."""
        stored = self.setting(_ENCODER)
        return Section(**stored["section"]) if stored else None

    def encoder_fingerprint(self) -> str | None:
        """Return the fingerprint of that encoder; None where none is bound."""
        stored = self.setting(_ENCODER)
        return str(stored["fingerprint"]) if stored else None

    def threshold(self) -> float | None:
        """Return the cosine from which on that encoder takes two faces for one person's; None where none is bound."""
        stored = self.setting(_ENCODER)
        return float(stored["threshold"]) if stored else None

    def bind(self, section: Section, encoder: FaceEncoder) -> None:
        """Have all descriptors be of one face encoder: this one, from the first on. Raises as `require_encoder`."""
        self.require_encoder(section, encoder)
        if self.setting(_ENCODER) is None:
            values = {"section": section.model_dump(), "fingerprint": encoder.fingerprint()}
            self.set_setting(_ENCODER, {**values, "threshold": encoder.threshold})

    def require_encoder(self, section: Section, encoder: FaceEncoder) -> None:
        """Raise IndexMismatch where what is stored is of another face encoder: the two cannot be compared."""
        stored, fingerprint = self.setting(_ENCODER), encoder.fingerprint()
        if stored is None or stored["fingerprint"] == fingerprint:
            return
        name = stored["section"]["name"]
        former = f"{name} with other weights or options" if name == section.name else name
        settings = " ".join(f"--set {shlex.quote(change)}" for change in overrides("faces", stored["section"]))
        raise IndexMismatch(
            f"{self.folder}: its faces were described by {former} ({stored['fingerprint']}), not by {section.name} "
            f"({fingerprint}); go on with the former ({settings}), or begin anew: "
            f"mmi-tvr people forget --all {library_option(self.folder)}"
        )


def face_encoder(store: BoundDatabase | None, settings: Settings) -> tuple[FaceEncoder, Section]:
    """Return the face encoder of a library, and its settings: the one that `settings` name, else the one that the
    library has, changed by options without a name, else the default.

    Raises IndexMismatch where the library's faces were described by another one.
    """
    section = settings.faces
    stored = store.encoder_section() if store is not None else None
    if stored is not None and "faces" not in settings.model_fields_set:
        section = stored
    elif stored is not None and not section.is_named:
        section = stored.changed_by(section)
    encoder: FaceEncoder = plugins.build("people.faces", section.name, section.options)
    if store is not None:
        store.require_encoder(section, encoder)
    return encoder, section
