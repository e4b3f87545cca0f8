"""The people of a library: who was added, where they are seen, and how they are forgotten. Off unless asked for."""

from __future__ import annotations

from .forgetting import Forgotten, Receipt
from .managing import Added, People, SeenAt, face_encoder
from .proof import Trace
from .seals import Sighting
from .store import Consent, PeopleStore, StoredPerson

__all__ = [
    "Added",
    "Consent",
    "Forgotten",
    "People",
    "PeopleStore",
    "Receipt",
    "SeenAt",
    "Sighting",
    "StoredPerson",
    "Trace",
    "face_encoder",
]
