"""The people of a library: who was added, where they are seen, and how they are forgotten. Off unless asked for."""

from __future__ import annotations

from .forgetting import Forgotten, Receipt
from .managing import Added, People, SeenAt
from .persons import Consent, StoredPerson
from .photos import SeenPhoto
from .proof import NAME, Trace
from .seals import Sighting
from .store import PeopleStore

__all__ = [
    "NAME",
    "Added",
    "Consent",
    "Forgotten",
    "People",
    "PeopleStore",
    "Receipt",
    "SeenAt",
    "SeenPhoto",
    "Sighting",
    "StoredPerson",
    "Trace",
]
