"""What is known of each content of a library besides what it shows: kind, length, size, date, place.

It stands in the catalogue, under the number of its content, and goes with it. A library of an older version gets it by
and by: whoever indexes next looks at the contents of which nothing is known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, fields

from ..types import MediaFacts

_NAMES = tuple(field.name for field in fields(MediaFacts))
# Of media_facts joined with contents. How long a film is, is best known once it was decoded.
_DEFAULTS = {"kind": "COALESCE(kind, 'video')", "seconds": "COALESCE(duration, seconds, 0)"}
_COLUMNS = ", ".join(_DEFAULTS.get(name, name) for name in _NAMES)
UNKNOWN = "NOT EXISTS (SELECT 1 FROM media_facts WHERE content = id)"  # a condition of contents


def known_facts(database: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, MediaFacts]:
    """Return what is known of each of these contents, by number. One that nobody looked at yet counts as a film."""
    sql = (
        f"SELECT id, {_COLUMNS} FROM contents LEFT JOIN media_facts ON content = id "
        "WHERE id IN (SELECT value FROM json_each(?))"
    )
    return {number: MediaFacts(*row) for number, *row in database.execute(sql, (json.dumps([*numbers]),))}


def put_facts(database: sqlite3.Connection, number: int, facts: MediaFacts) -> None:
    """Store what is known of a content. The caller holds a transaction."""
    places = ", ".join("?" * (len(_NAMES) + 1))
    values = (number, *astuple(facts))
    database.execute(f"INSERT OR REPLACE INTO media_facts (content, {', '.join(_NAMES)}) VALUES ({places})", values)
