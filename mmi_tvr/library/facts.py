"""What is known of each content of a library besides what it shows: kind, length, size, date, place.

It stands in the catalogue, under the number of its content, and goes with it. A library of an older version gets it by
and by: whoever indexes next looks at the contents of which nothing is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from ..types import MediaFacts

_NAMES = tuple(field.name for field in fields(MediaFacts))
# Of media_facts joined with contents. How long a film is, is best known once it was decoded.
FACTS_COLUMNS = ", ".join("COALESCE(duration, seconds)" if name == "seconds" else name for name in _NAMES)
UNKNOWN = "NOT EXISTS (SELECT 1 FROM media_facts WHERE content = id)"  # a condition of contents


def facts_of_row(row: Sequence[Any]) -> MediaFacts:
    """Return the facts in a row of FACTS_COLUMNS."""
    return MediaFacts(*row)


def put_facts(database: sqlite3.Connection, number: int, facts: MediaFacts) -> None:
    """Store what is known of a content. The caller holds a transaction."""
    places = ", ".join("?" * (len(_NAMES) + 1))
    values = (number, *astuple(facts))
    database.execute(f"INSERT OR REPLACE INTO media_facts (content, {', '.join(_NAMES)}) VALUES ({places})", values)
