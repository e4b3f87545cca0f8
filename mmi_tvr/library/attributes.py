"""What the videos of a library show, by the probabilities that the model read off when they were indexed.

They stand in the catalogue, under the number of their content, and go with it. The model that made the vectors made
them, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ..types import Attributes
from .catalogue import Catalogue

_INDEXED = "content IN (SELECT id FROM searchable)"


class VideoAttributes:
    """The attributes in an open catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._db = catalogue.connection

    def put(self, number: int, attributes: Attributes) -> None:
        """Store what a content shows, instead of what was stored of it. The caller holds a transaction."""
        self._db.execute("DELETE FROM attributes WHERE content = ?", (number,))
        rows = [(level, name, p) for level, classes in attributes.items() for name, p in classes.items()]
        self._db.executemany(
            "INSERT OR IGNORE INTO attribute_classes (level, name) VALUES (?, ?)", [row[:2] for row in rows]
        )
        self._db.executemany(
            "INSERT INTO attributes SELECT ?, id, ? FROM attribute_classes WHERE level = ? AND name = ?",
            [(number, probability, level, name) for level, name, probability in rows],
        )

    def of(self, numbers: Iterable[int]) -> dict[int, dict[str, dict[str, float]]]:
        """Return what those of these contents show of which that is stored: level -> name -> probability, the likeliest
        first."""
        sql = (
            "SELECT content, level, name, probability FROM attributes JOIN attribute_classes ON class = id "
            "WHERE content IN (SELECT value FROM json_each(?)) ORDER BY content, level, probability DESC, name"
        )
        attributes: dict[int, dict[str, dict[str, float]]] = {}
        for number, level, name, probability in self._db.execute(sql, (json.dumps([*numbers]),)):
            attributes.setdefault(number, {}).setdefault(level, {})[name] = probability
        return attributes

    def videos(self, level: str, name: str, threshold: float) -> frozenset[int]:
        """Return the numbers of the contents that can be searched and show a class with at least this probability."""
        sql = (
            "SELECT content FROM attributes "
            "WHERE class = (SELECT id FROM attribute_classes WHERE level = ? AND name = ?) "
            f"AND probability >= ? AND {_INDEXED}"
        )
        return frozenset(number for (number,) in self._db.execute(sql, (level, name, threshold)))

    def counts(self, thresholds: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], int]:
        """Return how many contents that can be searched show each (level, name) with at least its threshold; classes of
        which nothing is stored are left out."""
        sql = (
            "SELECT level, name, (SELECT COUNT(*) FROM attributes WHERE class = classes.id "
            f"AND probability >= json_extract(value, '$[2]') AND {_INDEXED}) "
            "FROM json_each(?) JOIN attribute_classes AS classes "
            "ON level = json_extract(value, '$[0]') AND name = json_extract(value, '$[1]')"
        )
        rows = [[level, name, threshold] for (level, name), threshold in thresholds.items()]
        return {(level, name): count for level, name, count in self._db.execute(sql, (json.dumps(rows),))}

    def missing(self) -> int:
        """Count the contents that can be searched and of which nothing is stored."""
        sql = (
            "SELECT COUNT(*) FROM searchable WHERE NOT EXISTS (SELECT 1 FROM attributes WHERE content = searchable.id)"
        )
        return int(self._db.execute(sql).fetchone()[0])
