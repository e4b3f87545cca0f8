"""The catalogue by itself, with contents that were never decoded."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmi_tvr.errors import MmiTvrError
from mmi_tvr.library.catalogue import Catalogue, CatalogueCounts, Content, File
from mmi_tvr.library.facts import put_facts
from mmi_tvr.library.items import _CONTENT
from mmi_tvr.library.migrations import LATEST, MIGRATIONS, migrate, schema_version
from mmi_tvr.library.scan import Root
from mmi_tvr.types import Embeddings, MediaFacts

A, B, C, D = Path("/films/a.mp4"), Path("/films/b.mp4"), Path("/films/c.mp4"), Path("/films/d.mp4")


@pytest.fixture
def catalogue(tmp_path):
    opened = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    yield opened
    opened.close()


def embeddings(*segments: tuple[float, float, float]) -> Embeddings:
    """Embeddings with these segments; a catalogue keeps no vectors."""
    moments = np.ones((len(segments), 4), np.float32) / 2
    return Embeddings(moments[0], moments, np.array(segments, np.float64))


def add(catalogue: Catalogue, sha256: str, *paths: Path, segments=()) -> int:
    """Add a content with these files; indexed if it has segments."""
    number = catalogue.content_number(sha256)
    for path in paths:
        catalogue.put_file(path, (10, 20), number)
    if segments:
        catalogue.set_indexed(number, embeddings(*segments))
    return number


def fail_in_a_transaction(catalogue: Catalogue, error: Exception) -> None:
    with catalogue.transaction():
        catalogue.set_meta(dim=4)
        raise error


def test_a_number_is_never_given_out_twice(catalogue):
    first, second = catalogue.content_number("aa"), catalogue.content_number("bb")
    assert catalogue.content_number("aa") == first != second
    catalogue.drop_contents([second])
    assert catalogue.content_number("cc") > second


def test_files_and_roots_come_back_as_they_were_put(catalogue):
    number = catalogue.content_number("aa")
    odd = Path(os.fsdecode(b"/films/caf\xe9 \n.mp4"))
    catalogue.put_file(odd, (5, 6), number)
    catalogue.put_file(B, (7, 8), None, "closed to us")
    assert catalogue.files() == {odd: File((5, 6), number, None), B: File((7, 8), None, "closed to us")}
    catalogue.put_file(B, (9, 9), number)
    catalogue.drop_files([odd])
    assert catalogue.files() == {B: File((9, 9), number, None)}
    catalogue.add_root(Root(Path("/z"), ("*.part", "drafts")))
    catalogue.add_root(Root(Path("/a")))
    catalogue.add_root(Root(Path("/z"), ("other",)))
    assert catalogue.roots() == [Root(Path("/a")), Root(Path("/z"), ("other",))]
    catalogue.drop_root(Path("/a"))
    assert catalogue.roots() == [Root(Path("/z"), ("other",))]


def test_meta_is_json_by_key(catalogue):
    assert catalogue.meta("dim") is None
    assert catalogue.meta("dim", 3) == 3
    catalogue.set_meta(dim=4, settings={"model": {"name": "auto"}})
    catalogue.set_meta(dim=5)
    assert catalogue.all_meta() == {"dim": 5, "settings": {"model": {"name": "auto"}}}


def test_counts_say_what_they_count(catalogue):
    add(catalogue, "aa", A, B, segments=[(0, 1, 0.5), (1, 2, 1.5)])
    add(catalogue, "bb", C)
    catalogue.set_quarantined(add(catalogue, "cc", D), "no picture")
    catalogue.put_file(Path("/films/e.mp4"), (0, 0), None, "closed to us")
    add(catalogue, "dd", segments=[(0, 4, 2)])  # no file leads to it
    catalogue.set_meta(unread=6)
    assert catalogue.counts() == CatalogueCounts(
        indexed_contents=1,
        unseen_contents=0,
        pending_contents=1,
        quarantined_contents=1,
        files=5,
        unreadable_files=1,
        unread_files=6,
        moments=3,
    )


def test_a_content_waits_until_it_is_indexed_and_again_when_it_is_to(catalogue):
    number = add(catalogue, "aa", B, A)
    orphan = add(catalogue, "bb")
    assert catalogue.pending_contents() == [Content(number, "aa", (A, B))]  # nothing leads to the other one
    catalogue.set_quarantined(number, "no picture")
    assert catalogue.pending_contents() == []
    catalogue.set_pending()  # of the indexed ones
    assert catalogue.content_states() == {number: "quarantined", orphan: "pending"}
    catalogue.set_pending(state="quarantined")
    assert catalogue.content_states()[number] == "pending"
    catalogue.set_indexed(number, embeddings((0, 1, 0.5)))
    assert catalogue.content_states()[number] == "indexed"
    catalogue.set_pending([number])
    assert catalogue.content_states()[number] == "pending"


def test_pending_contents_come_by_number_with_their_paths_in_order(catalogue):
    first = add(catalogue, "aa", D, B)
    second = add(catalogue, "bb", A, C)
    assert catalogue.pending_contents() == [Content(first, "aa", (B, D)), Content(second, "bb", (A, C))]


def test_indexing_again_replaces_moments_reason_and_duration(catalogue):
    number = add(catalogue, "aa", A, segments=[(0, 1, 0.5), (1, 2, 1.5), (2, 3, 2.5)])
    catalogue.set_quarantined(number, "no picture")
    catalogue.set_indexed(number, embeddings((0, 2.5, 1), (2.5, 7, 6)))
    entry = catalogue.entries([number])[number]
    assert entry.segments.tolist() == [[0, 2.5, 1], [2.5, 7, 6]]
    assert entry.paths == (A,)
    assert entry.facts == MediaFacts("video", 7)  # nothing else is known of it
    assert catalogue.duration() == 7
    assert catalogue._db.execute("SELECT reason FROM contents").fetchall() == [(None,)]


def test_duration_is_of_what_can_be_searched(catalogue):
    add(catalogue, "aa", A, segments=[(0, 4, 2)])
    catalogue.set_pending([add(catalogue, "bb", B, segments=[(0, 32, 2)])])
    assert catalogue.duration() == 4


def test_the_index_should_hold_each_indexed_content_and_its_moments(catalogue):
    first = add(catalogue, "aa", A, segments=[(0, 1, 0.5), (1, 2, 1.5)])
    add(catalogue, "bb", B)
    third = add(catalogue, "cc", C, segments=[(0, 1, 0.5)])
    assert catalogue.expected_ids().tolist() == [
        first << 12, (first << 12) + 1, (first << 12) + 2, third << 12, (third << 12) + 1,
    ]  # fmt: skip
    catalogue.set_pending([first])
    assert catalogue.expected_ids().tolist() == [third << 12, (third << 12) + 1]
    catalogue.drop_files([C])
    catalogue.drop_contents([third])
    assert catalogue.expected_ids().tolist() == []


def test_entries_are_of_indexed_contents_with_a_file(catalogue):
    copies = add(catalogue, "aa", C, A, B, segments=[(0, 1, 0.5), (1, 2, 1.5)])
    pending = add(catalogue, "bb", D, segments=[(0, 1, 0.5)])
    catalogue.set_pending([pending])
    orphan = add(catalogue, "cc", segments=[(0, 1, 0.5)])
    entries = catalogue.entries([copies, pending, orphan, 99])
    assert list(entries) == [copies]
    assert entries[copies][0] == (A, B, C)
    assert entries[copies][1].tolist() == [[0, 1, 0.5], [1, 2, 1.5]]
    assert catalogue.searchable() == [copies]
    assert catalogue.hashes_of([copies, orphan, 99]) == {copies: "aa", orphan: "cc"}
    assert catalogue.content_hashes() == {"aa", "bb", "cc"}
    assert catalogue.orphans() == [orphan]


def test_what_is_known_of_a_content_comes_with_its_entry(catalogue):
    film = add(catalogue, "aa", A, segments=[(0, 4, 2)])
    photo, recording = add(catalogue, "bb", B), add(catalogue, "cc", C)
    facts = MediaFacts("image", 0, 4000, 3000, 1e9, 7200, "exif", 47.5, -8.0, "id")
    put_facts(catalogue.connection, film, MediaFacts("video", 3.9))
    put_facts(catalogue.connection, photo, facts)
    put_facts(catalogue.connection, recording, MediaFacts("audio", 60))
    catalogue.set_indexed(photo, embeddings((0, 1, 0)))
    catalogue.set_unseen(recording, 61)
    assert catalogue.searchable() == [film, photo]
    entries = catalogue.entries([film, photo, recording])
    assert entries[film].facts == MediaFacts("video", 4)  # as it was decoded
    assert entries[photo].facts == facts
    assert facts.local_date().isoformat() == "2001-09-09T03:46:40+02:00"
    assert list(entries) == [film, photo]
    assert catalogue.kinds() == {"video": 1, "image": 1, "audio": 1}
    assert catalogue.duration() == 65
    assert (catalogue.counts().indexed_contents, catalogue.counts().unseen_contents) == (2, 1)
    assert recording << 12 not in catalogue.expected_ids().tolist()
    assert catalogue.contents_with("kind = 'image'") == [Content(photo, "bb", (B,), "image")]


def test_a_companion_is_no_item_by_itself(catalogue):
    photo = add(catalogue, "aa", A, segments=[(0, 1, 0)])
    clip = add(catalogue, "bb", B)
    catalogue.set_main_files({B: A})
    assert catalogue.files()[B].main == A
    assert catalogue.pending_contents() == []
    assert catalogue.entries([photo, clip])[photo].companions == (B,)
    assert (catalogue.counts().pending_contents, catalogue.counts().files) == (0, 2)
    assert catalogue.orphans() == []
    add(catalogue, "bb", C)  # a copy elsewhere
    assert catalogue.pending_contents() == [Content(clip, "bb", (C,))]
    catalogue.set_main_files({B: None})
    assert catalogue.pending_contents() == [Content(clip, "bb", (B, C))]
    assert catalogue.entries([photo])[photo].companions == ()


def test_a_few_contents_are_looked_up_without_a_walk_over_all_files(catalogue):
    queries = (
        "SELECT id FROM searchable WHERE id IN (SELECT value FROM json_each('[1]'))",
        f"{_CONTENT} AND id = 1",
        "SELECT path FROM main_files WHERE content = 1",
    )
    for sql in queries:
        plan = [row[3] for row in catalogue.connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan


def test_what_was_no_medium_gets_another_look():
    reasons = ["is a still image, not a video", "has sound but no video stream", "is empty (0 bytes)"]
    rows = [(reason, reason) for reason in reasons]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for step in MIGRATIONS[:6]:
            database.executescript(step)
        database.execute("PRAGMA user_version = 6")
        database.executemany("INSERT INTO contents (sha256, state, reason) VALUES (?, 'quarantined', ?)", rows)
        migrate(database)
        states = database.execute("SELECT state, reason FROM contents").fetchall()
    assert states == [("pending", None), ("pending", None), ("quarantined", "is empty (0 bytes)")]


def test_quarantined_files_have_their_own_reason_or_that_of_their_bytes(catalogue):
    content = add(catalogue, "aa", D, B)
    catalogue.set_quarantined(content, "no picture")
    catalogue.put_file(C, (0, 0), None, "closed to us")
    add(catalogue, "bb", A, segments=[(0, 1, 0.5)])
    assert catalogue.quarantined_files() == [(B, "no picture"), (C, "closed to us"), (D, "no picture")]


def test_a_transaction_is_all_or_nothing(catalogue):
    with pytest.raises(ZeroDivisionError):
        fail_in_a_transaction(catalogue, ZeroDivisionError())
    assert catalogue.meta("dim") is None
    assert not catalogue._db.in_transaction
    with catalogue.transaction():
        catalogue.set_meta(dim=4)
    assert catalogue.meta("dim") == 4


def test_a_copy_that_cannot_be_written_is_one_line(catalogue, tmp_path):
    with pytest.raises(MmiTvrError, match=r"rebuild\.sqlite: cannot be written"):
        catalogue.copy_to(tmp_path / "none" / "rebuild.sqlite")


def test_a_full_disk_is_one_line(catalogue):
    with pytest.raises(MmiTvrError, match=r"catalogue.sqlite: cannot be written \(database or disk is full\)"):
        fail_in_a_transaction(catalogue, sqlite3.OperationalError("database or disk is full"))
    assert catalogue.meta("dim") is None


def test_the_version_changes_when_another_connection_commits(catalogue):
    before = catalogue.data_version()
    with catalogue.transaction():
        catalogue.set_meta(dim=4)
    assert catalogue.data_version() == before
    second = Catalogue(catalogue.path)
    with second.transaction():
        second.set_meta(dim=5)
    second.close()
    assert catalogue.data_version() != before


def test_a_copy_is_whole_and_replaces_what_an_earlier_one_left(catalogue, tmp_path):
    path = tmp_path / "copy.sqlite"
    for leftover in ("copy.sqlite-wal", "copy.sqlite-shm", "copy.sqlite.tmp"):
        (tmp_path / leftover).write_bytes(b"left over" * 1000)
    add(catalogue, "aa", A, segments=[(0, 1, 0.5)])
    catalogue.copy_to(path)
    assert sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.sqlite"]
    copy = Catalogue(path)
    assert copy.files() == catalogue.files()
    copy.set_meta(dim=7)
    assert catalogue.meta("dim") is None
    catalogue.replace_with(copy)
    copy.close()
    assert catalogue.meta("dim") == 7


def test_an_older_catalogue_is_brought_up_to_date_once(tmp_path):
    database = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
    assert schema_version(database) == 0
    migrate(database)
    assert schema_version(database) == LATEST
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert {"meta", "roots", "contents", "files", "moments"} <= {name for (name,) in tables}
    migrate(database)  # nothing is left to do
    database.close()
    Catalogue(tmp_path / "catalogue.sqlite").close()


def test_a_librarys_model_options_get_their_present_names(tmp_path):
    database = sqlite3.connect(tmp_path / "catalogue.sqlite")
    database.executescript(MIGRATIONS[0])
    model = {"name": "label_bridge", "moments": 0.3, "top": 2, "found": None, "temperature": 0.5}
    settings = {"model": model, "keyimages": {"name": "disparity", "top": 1}}
    database.execute("INSERT INTO meta VALUES ('settings', ?), ('model', ?)", (json.dumps(settings), '"label_bridge"'))
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    renamed = {"moment_weight": 0.3, "top_moments": 2, "min_relevance": None}
    assert catalogue.all_meta() == {
        "model": "label_bridge",
        "settings": {**settings, "model": {"name": "label_bridge", "temperature": 0.5, **renamed}},
    }
    catalogue.close()


def test_settings_without_former_names_are_left_as_they_are(tmp_path):
    database = sqlite3.connect(tmp_path / "catalogue.sqlite")
    database.executescript(MIGRATIONS[0])
    database.execute("""INSERT INTO meta VALUES ('settings', '{"model": {"name": "auto"}}')""")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    migrate(database)
    assert database.execute("SELECT value FROM meta").fetchall() == [('{"model": {"name": "auto"}}',)]
    database.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"name": "skeleton", "weights": "moving-shapes", "depth": 3},
            {"name": "skeleton", "judge": {"name": "llava", "weights": "moving-shapes"}, "depth": 3},
        ),
        ({"name": "skeleton", "weights": None}, {"name": "skeleton"}),
        ({"name": "skeleton", "depth": 3}, {"name": "skeleton", "depth": 3}),
        ({"name": "of-others", "weights": "theirs"}, {"name": "of-others", "weights": "theirs"}),
        (None, None),
    ],
)
def test_who_judges_a_library_gets_its_section(tmp_path, before, after):
    database = sqlite3.connect(tmp_path / "catalogue.sqlite")
    database.executescript(MIGRATIONS[0])
    database.execute("INSERT INTO meta VALUES ('rerank', ?)", (json.dumps(before),))
    database.execute("PRAGMA user_version = 2")
    database.commit()
    database.close()
    catalogue = Catalogue(tmp_path / "catalogue.sqlite")
    assert catalogue.meta("rerank") == after
    catalogue.close()
