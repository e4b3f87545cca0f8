"""The catalogue of a library: which files there are, what is in them, and how far each has come (SQLite, WAL).

A *content* is one picture, recording or film by its bytes; its id is the video number in the ids of the index and is
never given out twice. A *file* is a path that leads to a content; copies are several files of one content. A file may
belong to another one, its `main` file (the clip of a live photo, the RAW photo of a picture): it is no item by itself.

The state of a content is the truth about it: `pending` (to be embedded), `indexed` (its vectors, if there is something
to see in it, are durably in the index), `quarantined` (it cannot be used, with the reason). A content to which no file
leads any more is on its way out. One that only companions lead to is `pending`, and is not embedded.

Paths are stored as the file system's own bytes, since a file name need not be text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..types import MEDIA_KINDS, MOMENT_BITS, Embeddings, IdArray, MediaKind, VideoEntry
from .catalogue_file import CatalogueFile
from .facts import known_facts
from .scan import Root

SEARCHABLE = "id IN (SELECT id FROM searchable)"  # a condition of contents: something is seen in them


@dataclass(frozen=True, slots=True)
class File:
    """A catalogued path.

    - `stamp`: its size in bytes and its mtime in ns, when it was last read.
    - `content`: None where it could not be read, and `reason` says why.
    - `main`: the file that it belongs to; None where it is an item by itself.
    """

    stamp: tuple[int, int]
    content: int | None
    reason: str | None
    main: Path | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """One picture, recording or film by its bytes, with the paths that lead to it."""

    number: int
    sha256: str
    paths: tuple[Path, ...]
    kind: MediaKind = "video"


@dataclass(frozen=True, slots=True)
class CatalogueCounts:
    """How much a catalogue lists. A content counts here only while a file leads to it that is no companion.

    - `indexed_contents`: different contents that can be searched by what is seen in them; copies count once.
    - `unseen_contents`: those that are indexed and in which there is nothing to see.
    - `pending_contents`, `quarantined_contents`: by state.
    - `files`: paths, copies, companions and unreadable ones included; `unreadable_files`: those that have no content.
    - `unread_files`: files that the last scan came upon and whose bytes were not read yet.
    - `moments`: key images with a vector of their own, of all contents.
    """

    indexed_contents: int
    unseen_contents: int
    pending_contents: int
    quarantined_contents: int
    files: int
    unreadable_files: int
    unread_files: int
    moments: int

    @property
    def pending(self) -> int:
        """How many items wait to be looked at: contents, and files of which nobody knows yet whether they are new."""
        return self.pending_contents + self.unread_files


class Catalogue(CatalogueFile):
    """An open catalogue with what it lists."""

    # Roots

    def roots(self) -> list[Root]:
        """Return the indexed folders, by path."""
        rows = self._db.execute("SELECT path, exclude FROM roots ORDER BY path")
        return [Root(_to_path(path), tuple(json.loads(exclude))) for path, exclude in rows]

    def add_root(self, root: Root) -> None:
        """Remember an indexed folder, or replace its patterns."""
        self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (_to_bytes(root.path), json.dumps(root.exclude)))

    def drop_root(self, path: Path) -> None:
        """Forget an indexed folder; its files stay."""
        self._db.execute("DELETE FROM roots WHERE path = ?", (_to_bytes(path),))

    # Files

    def files(self) -> dict[Path, File]:
        """Return every catalogued file by its path."""
        rows = self._db.execute("SELECT path, size, mtime_ns, content, reason, main FROM files")
        return {
            _to_path(path): File((size, mtime), content, reason, None if main is None else _to_path(main))
            for path, size, mtime, content, reason, main in rows
        }

    def put_file(self, path: Path, stamp: tuple[int, int], content: int | None, reason: str | None = None) -> None:
        """Add or replace a file.

        Args:
            path: the file.
            stamp: its size in bytes and its mtime in ns.
            content: the number of its content; None where it could not be read.
            reason: why it could not be read; None where it could.
        """
        row = (_to_bytes(path), *stamp, content, reason)
        columns = ("size", "mtime_ns", "content", "reason")  # which file it belongs to stays until that is decided anew
        sql = (
            f"INSERT INTO files (path, {', '.join(columns)}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            + ", ".join(f"{column} = excluded.{column}" for column in columns)
        )
        self._db.execute(sql, row)

    def set_main_files(self, main_files: Mapping[Path, Path | None]) -> None:
        """Say which file each of these belongs to (None: to none)."""
        rows = [(None if main is None else _to_bytes(main), _to_bytes(path)) for path, main in main_files.items()]
        self._db.executemany("UPDATE files SET main = ? WHERE path = ?", rows)

    def drop_files(self, paths: Iterable[Path]) -> None:
        """Forget files; their contents stay."""
        self._db.executemany("DELETE FROM files WHERE path = ?", [(_to_bytes(path),) for path in paths])

    # Contents

    def content_number(self, sha256: str) -> int:
        """Return the number of a content, which is added as pending where these bytes are new."""
        self._db.execute("INSERT OR IGNORE INTO contents (sha256) VALUES (?)", (sha256,))
        return int(self._single_value("SELECT id FROM contents WHERE sha256 = ?", sha256))

    def state_of(self, sha256: str) -> str | None:
        """Return the state of the content of these bytes; None where there is none."""
        state: str | None = self._single_value("SELECT state FROM contents WHERE sha256 = ?", sha256)
        return state

    def content_states(self) -> dict[int, str]:
        """Return the state of every content by its number."""
        return dict(self._db.execute("SELECT id, state FROM contents").fetchall())

    def content_hashes(self) -> set[str]:
        """Return the SHA-256 of every content."""
        return {sha256 for (sha256,) in self._db.execute("SELECT sha256 FROM contents")}

    def pending_contents(self) -> list[Content]:
        """Return the contents that wait to be embedded and to which a main file leads, by number."""
        return self.contents_with("state = 'pending'")

    def contents_with(self, condition: str) -> list[Content]:
        """Return the contents of which a condition in SQL is true and to which a main file leads, by number."""
        rows = self._db.execute(
            "SELECT id, sha256, path, kind FROM contents JOIN main_files ON main_files.content = id "
            f"LEFT JOIN media_facts ON media_facts.content = id WHERE {condition} ORDER BY id, path"
        )
        contents: dict[int, Content] = {}
        for number, sha256, path, kind in rows:
            earlier_paths = contents[number].paths if number in contents else ()
            contents[number] = Content(number, sha256, (*earlier_paths, _to_path(path)), kind or "video")
        return list(contents.values())

    def orphans(self) -> list[int]:
        """Return the numbers of the contents to which no file leads."""
        sql = "SELECT id FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE content = contents.id)"
        return [number for (number,) in self._db.execute(sql)]

    def drop_contents(self, numbers: Iterable[int]) -> None:
        """Forget contents and their moments."""
        self._db.executemany("DELETE FROM contents WHERE id = ?", [(number,) for number in numbers])

    def set_indexed(self, number: int, embeddings: Embeddings) -> None:
        """Say that a content's vectors are durably in the index, and which moments they stand for."""
        segments = embeddings.segments
        self._db.execute("DELETE FROM moments WHERE content = ?", (number,))
        rows = [(number, k, *map(float, segment)) for k, segment in enumerate(segments)]
        self._db.executemany("INSERT INTO moments VALUES (?, ?, ?, ?, ?)", rows)
        is_still = "EXISTS (SELECT 1 FROM media_facts WHERE content = id AND kind = 'image' AND seconds = 0)"
        self._set_duration(number, f"CASE WHEN {is_still} THEN 0 ELSE ? END", float(segments[-1, 1]))
        self._db.execute("DELETE FROM translated WHERE content = ?", (number,))

    def set_unseen(self, number: int, seconds: float) -> None:
        """Say that a content is all in the library, and that there is nothing to see in it. seconds: how long it is."""
        self._db.execute("DELETE FROM moments WHERE content = ?", (number,))
        self._set_duration(number, "?", seconds)

    def _set_duration(self, number: int, expression: str, seconds: float) -> None:
        """Say that a content is indexed, and how long it is, by an expression in SQL with one parameter."""
        sql = f"UPDATE contents SET state = 'indexed', reason = NULL, duration = {expression} WHERE id = ?"
        self._db.execute(sql, (seconds, number))

    def set_quarantined(self, number: int, reason: str) -> None:
        """Say that a content cannot be used, and why."""
        self._db.execute("UPDATE contents SET state = 'quarantined', reason = ? WHERE id = ?", (reason, number))

    def set_pending(self, numbers: Iterable[int] | None = None, state: str = "indexed") -> None:
        """Have these contents embedded again; None: all that are in this state."""
        if numbers is None:
            numbers = [number for (number,) in self._db.execute("SELECT id FROM contents WHERE state = ?", (state,))]
        rows = [(number,) for number in numbers]
        self._db.executemany("UPDATE contents SET state = 'pending', reason = NULL WHERE id = ?", rows)

    # What search and status need

    def expected_ids(self) -> IdArray:
        """Return the ids that the index should hold, ascending: of every indexed content with moments, and of these."""
        sql = (
            "SELECT content, 0 FROM moments JOIN contents ON id = content WHERE state = 'indexed' AND k = 0 UNION ALL "
            "SELECT content, k + 1 FROM moments JOIN contents ON id = content WHERE state = 'indexed'"
        )
        rows = np.array(self._db.execute(sql).fetchall(), dtype=np.int64).reshape(-1, 2)
        return np.sort((rows[:, 0] << MOMENT_BITS) + rows[:, 1])

    def entries(self, numbers: Iterable[int], unseen: bool = False) -> dict[int, VideoEntry]:
        """Return what a search needs of those of these contents that can be searched, by number.

        unseen: whether those are among them in which there is nothing to see; they have no segments.
        """
        number_list = json.dumps([int(number) for number in numbers])
        view = "contents WHERE state = 'indexed' AND" if unseen else "searchable WHERE"
        among = f"content IN (SELECT id FROM {view} id IN (SELECT value FROM json_each(?)))"
        paths_sql = f"SELECT content, path FROM main_files WHERE {among} ORDER BY path"
        moments_sql = f'SELECT content, start, "end", time FROM moments WHERE {among} ORDER BY content, k'
        paths: dict[int, list[Path]] = {}
        segments: dict[int, list[tuple[float, ...]]] = {}
        self._db.execute("BEGIN")  # all questions about one state
        for number, path in self._db.execute(paths_sql, (number_list,)):
            paths.setdefault(number, []).append(_to_path(path))
        for number, *segment in self._db.execute(moments_sql, (number_list,)):
            segments.setdefault(number, []).append(tuple(segment))
        facts, companions = known_facts(self._db, paths), self.companions(paths)
        self._db.execute("COMMIT")
        return {
            number: VideoEntry(
                paths=tuple(paths[number]),
                segments=np.array(segments.get(number, ())).reshape(-1, 3),
                facts=facts[number],
                companions=companions.get(number, ()),
            )
            for number in paths
            if unseen or number in segments
        }

    def content_of(self, path: Path, stamp: tuple[int, int]) -> int | None:
        """Return the number of the content of a file that is as it was when it was last read (`File.stamp`)."""
        sql = "SELECT content FROM files WHERE path = ? AND size = ? AND mtime_ns = ?"
        row = self._db.execute(sql, (_to_bytes(path), *stamp)).fetchone()
        return None if row is None else row[0]

    def companions(self, numbers: Iterable[int]) -> dict[int, tuple[Path, ...]]:
        """Return the files that belong to these contents, by number, of those that have some."""
        sql = (
            "SELECT main_files.content, files.path FROM files JOIN main_files ON files.main = main_files.path "
            "WHERE main_files.content IN (SELECT value FROM json_each(?)) ORDER BY files.path"
        )
        companions: dict[int, tuple[Path, ...]] = {}
        for number, path in self._db.execute(sql, (json.dumps([*numbers]),)):
            companions[number] = (*companions.get(number, ()), _to_path(path))
        return companions

    def hashes_of(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return number -> SHA-256 of those contents that there are."""
        sql = "SELECT id, sha256 FROM contents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(sql, (json.dumps([int(number) for number in numbers]),)).fetchall())

    def searchable(self) -> list[int]:
        """Return the numbers of the contents that can be searched by what is seen in them, ascending."""
        return [number for (number,) in self._db.execute("SELECT id FROM searchable ORDER BY id")]

    def kinds(self) -> dict[MediaKind, int]:
        """Return how many contents of each kind are indexed; of those of which nothing is known yet, films."""
        sql = (
            "SELECT COALESCE(kind, 'video'), COUNT(*) FROM contents LEFT JOIN media_facts ON content = id "
            "WHERE state = 'indexed' AND id IN (SELECT content FROM main_files) GROUP BY 1"
        )
        counts = dict(self._db.execute(sql).fetchall())
        return {kind: counts.get(kind, 0) for kind in MEDIA_KINDS}

    def quarantined_files(self) -> list[tuple[Path, str]]:
        """Return every file that cannot be used, with the reason, by path; companions need not be usable."""
        rows = self._db.execute(
            "SELECT path, COALESCE(files.reason, contents.reason) FROM files LEFT JOIN contents ON id = content "
            "WHERE main IS NULL AND (content IS NULL OR state = 'quarantined') ORDER BY path"
        )
        return [(_to_path(path), reason) for path, reason in rows]

    def counts(self) -> CatalogueCounts:
        """Count contents, files and moments."""
        sql = "SELECT state, COUNT(*) FROM contents WHERE id IN (SELECT content FROM main_files) GROUP BY state"
        contents: dict[str, int] = dict(self._db.execute(sql).fetchall())
        searchable = self._single_value("SELECT COUNT(*) FROM searchable")
        return CatalogueCounts(
            indexed_contents=searchable,
            unseen_contents=contents.get("indexed", 0) - searchable,
            pending_contents=contents.get("pending", 0),
            quarantined_contents=contents.get("quarantined", 0),
            files=self._single_value("SELECT COUNT(*) FROM files"),
            unreadable_files=self._single_value("SELECT COUNT(*) FROM files WHERE content IS NULL"),
            unread_files=self.meta("unread", 0),
            moments=self._single_value("SELECT COUNT(*) FROM moments"),
        )

    def count_pending(self) -> int:
        """Return `CatalogueCounts.pending`, without counting all else."""
        sql = "SELECT COUNT(*) FROM contents WHERE state = 'pending' AND id IN (SELECT content FROM main_files)"
        return int(self._single_value(sql)) + int(self.meta("unread", 0))

    def duration(self) -> float:
        """Return the seconds of films and recordings that are indexed."""
        return float(self._single_value("SELECT COALESCE(SUM(duration), 0) FROM contents WHERE state = 'indexed'"))


def _to_bytes(path: Path) -> bytes:
    return os.fsencode(path)


def _to_path(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))
