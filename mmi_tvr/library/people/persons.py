"""Somebody whom a library knows, as its store lists them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Consent:
    """Where a person's photos come from (`source`, in the words of whoever added them), and the day (ISO) of that."""

    source: str = ""
    date: str = ""


NO_CONSENT = Consent()


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """A person of a library. `name` is None for a cluster; `photos` counts faces of photos, `faces` all that they are
    recognised by, `videos` those (by content) with a sighting; one that is `hidden` is not listed."""

    number: int
    name: str | None
    photos: int
    faces: int
    sightings: int
    videos: int
    consents: tuple[Consent, ...] = ()
    hidden: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract): of a person with a name, or of a cluster."""
        seen = {"sightings": self.sightings, "videos": self.videos, "hidden": self.hidden}
        if self.name is None:
            return {"cluster": self.number, **seen}
        consents = [asdict(consent) for consent in self.consents]
        return {"name": self.name, "photos": self.photos, "faces": self.faces, **seen, "consents": consents}
