"""The people of a library: who was added, where they are seen, and how they are forgotten. Off unless asked for."""

from __future__ import annotations

from .seals import Sighting
from .store import Consent, PeopleStore, StoredPerson

__all__ = ["Consent", "PeopleStore", "Sighting", "StoredPerson"]
