"""The schema of a library's catalogue, as the steps that bring a catalogue of any age up to date.

The list is append only: a step that was released is never edited. SQLite's `user_version` counts the steps that a file
has seen.
"""

from __future__ import annotations

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (path BLOB PRIMARY KEY, exclude TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE contents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sha256 TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'indexed', 'quarantined')),
        reason TEXT,
        duration REAL
    );
    CREATE INDEX contents_by_state ON contents (state);
    CREATE TABLE files (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        content INTEGER REFERENCES contents (id),
        reason TEXT,
        CHECK ((content IS NULL) = (reason IS NOT NULL))
    ) WITHOUT ROWID;
    CREATE INDEX files_by_content ON files (content);
    CREATE TABLE moments (
        content INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
        k INTEGER NOT NULL,
        start REAL NOT NULL,
        "end" REAL NOT NULL,
        time REAL NOT NULL,
        PRIMARY KEY (content, k)
    ) WITHOUT ROWID;
    """,
    # Three options of every model have names of their own.
    """
    UPDATE meta
        SET value = json_remove(json_set(value, '$.model.moment_weight', json_extract(value, '$.model.moments')),
                                '$.model.moments')
        WHERE key = 'settings' AND json_type(value, '$.model.moments') IS NOT NULL;
    UPDATE meta
        SET value = json_remove(json_set(value, '$.model.top_moments', json_extract(value, '$.model.top')),
                                '$.model.top')
        WHERE key = 'settings' AND json_type(value, '$.model.top') IS NOT NULL;
    UPDATE meta
        SET value = json_remove(json_set(value, '$.model.min_relevance', json_extract(value, '$.model.found')),
                                '$.model.found')
        WHERE key = 'settings' AND json_type(value, '$.model.found') IS NOT NULL;
    """,
    # Who judges is a section of its own; it was an option of the re-ranking.
    """
    UPDATE meta
        SET value = json_set(value, '$.judge',
                             json_object('name', 'llava', 'weights', json_extract(value, '$.weights')))
        WHERE key = 'rerank' AND json_extract(value, '$.name') = 'skeleton' AND json_type(value, '$.weights') = 'text';
    UPDATE meta
        SET value = json_remove(value, '$.weights')
        WHERE key = 'rerank' AND json_extract(value, '$.name') = 'skeleton';
    """,
    # What videos answered, as a search looks at it (`descriptions`). The first writer makes the table of its words.
    """
    CREATE TABLE IF NOT EXISTS descriptions (
        content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
        text TEXT NOT NULL,
        maker TEXT NOT NULL,
        vector BLOB NOT NULL
    );
    """,
    # What the model read off videos (`attributes`). Of videos that were indexed before, nothing is known.
    """
    CREATE TABLE IF NOT EXISTS attribute_classes (
        id INTEGER PRIMARY KEY,
        level TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (level, name)
    );
    CREATE TABLE IF NOT EXISTS attributes (
        content INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE,
        class INTEGER NOT NULL REFERENCES attribute_classes (id),
        probability REAL NOT NULL,
        PRIMARY KEY (content, class)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS attributes_by_class ON attributes (class, probability);
    """,
    # Whose vectors were translated from those of a former model (`translated`).
    """
    CREATE TABLE IF NOT EXISTS translated (content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE);
    """,
    # What each content is (`facts`), which file belongs to which (`pairing`), and views of what counts. What was no
    # medium for older versions gets another look.
    """
    CREATE TABLE media_facts (
        content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('video', 'image', 'audio')),
        seconds REAL NOT NULL,
        width INTEGER,
        height INTEGER,
        date REAL,
        utc_offset INTEGER,
        date_source TEXT CHECK (date_source IN ('exif', 'gps', 'container', 'file')),
        latitude REAL,
        longitude REAL,
        content_id TEXT
    );
    CREATE INDEX media_facts_by_kind ON media_facts (kind);
    CREATE INDEX media_facts_by_date ON media_facts (date);
    ALTER TABLE files ADD COLUMN main BLOB;
    CREATE INDEX files_by_main ON files (main) WHERE main IS NOT NULL;
    CREATE VIEW main_files AS SELECT path, content FROM files WHERE main IS NULL AND content IS NOT NULL;
    CREATE VIEW searchable AS SELECT id FROM contents
        WHERE state = 'indexed' AND EXISTS (SELECT 1 FROM files WHERE content = contents.id AND main IS NULL)
        AND EXISTS (SELECT 1 FROM moments WHERE content = contents.id);
    UPDATE contents SET state = 'pending', reason = NULL
        WHERE state = 'quarantined' AND (reason LIKE 'is a still image%' OR reason LIKE 'has sound but no video%');
    """,
    # Whoever commits what a search reads changes the revision; versions that do not know of it cannot write any more.
    """
    CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL);
    INSERT OR REPLACE INTO revision VALUES (0, lower(hex(randomblob(8))));
    """,
)
LATEST = len(MIGRATIONS)


def schema_version(database: sqlite3.Connection) -> int:
    """Return how many migrations a catalogue has seen; more than LATEST where a newer program made it."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def migrate(database: sqlite3.Connection) -> None:
    """Run the migrations that a catalogue has not seen. The caller holds a transaction."""
    for step in MIGRATIONS[schema_version(database) :]:
        for statement in step.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {LATEST}")
