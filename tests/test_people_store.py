"""The store of a library's people: what it says after each change, to other processes, and what is left on the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people_files import face, faces, files_of, sighting

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, MmiTvrError, UsageError
from mmi_tvr.library.people import Consent, PeopleStore, StoredPerson
from mmi_tvr.library.people import database as people_database
from mmi_tvr.library.people.bound_database import face_encoder
from mmi_tvr.library.people.names import MAX_LENGTH, checked_name, same_name
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.people import KEYS_FILE, PEOPLE_FILE
from mmi_tvr.utils.printable import UNSAFE

ANNA, BEN, CARL = 0, 1, 2
THRESHOLD = 0.5


@pytest.fixture
def store(tmp_path: Path) -> PeopleStore:
    return PeopleStore.open_to_write(tmp_path)


def seen(store: PeopleStore) -> dict[str, list[tuple[float, str | None]]]:
    """Content -> start and name of what is seen."""
    return {content: [(one.start, one.name) for one in sightings] for content, sightings in store.sightings().items()}


def test_there_is_nobody_before_somebody_is_added(tmp_path: Path) -> None:
    assert PeopleStore.open_to_read(tmp_path) is None
    assert files_of(tmp_path) == {}


def test_a_person_is_listed_with_photos_and_consent(store: PeopleStore) -> None:
    consent = Consent("she sent them", "2026-11-01")
    added = store.add("Anna", faces(ANNA, 3), consent)
    assert (added.name, added.photos, added.sightings, added.consents) == ("Anna", 3, 0, (consent,))
    again = store.add("anna", faces(ANNA, 5)[3:], consent)
    assert (again.number, again.name, again.photos, again.consents) == (added.number, "Anna", 5, (consent,))
    np.testing.assert_array_equal(store.known()["Anna"], faces(ANNA, 5))


def test_sightings_come_back_as_they_were_stored(store: PeopleStore) -> None:
    store.add("Anna", faces(ANNA, 1))
    stored = [sighting(ANNA, 3.25, "Anna"), sighting(BEN, 1.5)]
    store.put_sightings("content", stored)
    first, second = store.sightings()["content"]
    for one, expected in ((second, stored[0]), (first, stored[1])):
        np.testing.assert_array_equal(one.descriptor, expected.descriptor)
        assert (one.start, one.end, one.time, one.box) == (expected.start, expected.end, expected.time, expected.box)
        assert one.confidence == pytest.approx(expected.confidence)
        assert one.quality.size == expected.quality.size
    assert (second.name, first.name) == ("Anna", None)
    assert store.pending(["other", "content"]) == ["other"]
    assert [person.sightings for person in store.people()] == [1]
    assert list(store.sightings(store.find("Anna").number)["content"][0].box) == list(stored[0].box)


def test_sightings_of_a_video_are_replaced_and_go_with_it(store: PeopleStore) -> None:
    store.put_sightings("a", [sighting(ANNA), sighting(BEN)])
    store.put_sightings("a", [sighting(CARL, 5)])
    store.put_sightings("b", [])
    assert seen(store) == {"a": [(5, None)]}
    assert store.pending(["a", "b"]) == []
    store.keep_contents({"b"})
    assert seen(store) == {}
    assert store.pending(["a", "b"]) == ["a"]
    assert store.unnamed() == []


def test_a_sighting_of_somebody_who_was_forgotten_meanwhile_is_not_stored(store: PeopleStore) -> None:
    store.put_sightings("a", [sighting(ANNA, name="Anna"), sighting(BEN, 4)])
    assert seen(store) == {"a": [(4, None)]}


@pytest.mark.parametrize("added_first", [True, False])
def test_recognition_is_the_same_before_and_after_indexing(store: PeopleStore, added_first: bool) -> None:
    if added_first:
        store.add("Anna", faces(ANNA, 2))
    for content in ("x", "y"):
        store.put_sightings(content, [sighting(ANNA, 0), sighting(BEN, 5), sighting(BEN, 9, picture=8)])
    if not added_first:
        store.add("Anna", faces(ANNA, 2))
    recognise(store, THRESHOLD)
    assert seen(store) == {content: [(0, "Anna"), (5, None), (9, None)] for content in ("x", "y")}
    assert [(cluster.sightings, cluster.videos) for cluster in store.unnamed()] == [(4, 2)]
    before = store.unnamed()
    recognise(store, THRESHOLD)
    assert store.unnamed() == before  # numbers of clusters stay


def test_a_cluster_gets_a_name_and_faces_to_be_recognised_by(store: PeopleStore) -> None:
    store.put_sightings("x", [sighting(BEN), sighting(BEN, 4, picture=9)])
    recognise(store, THRESHOLD)
    (cluster,) = store.unnamed()
    named = store.name_cluster(cluster.number, "Ben", faces(BEN, 2))
    assert (named.number, named.photos, named.faces, named.sightings) == (cluster.number, 0, 2, 2)
    store.put_sightings("y", [sighting(BEN, picture=11)])
    recognise(store, THRESHOLD)
    assert seen(store) == {"x": [(0, "Ben"), (4, "Ben")], "y": [(0, "Ben")]}


def test_a_cluster_that_is_named_as_somebody_becomes_theirs(store: PeopleStore) -> None:
    store.add("Anna", faces(ANNA, 1))
    store.put_sightings("x", [sighting(ANNA, 0, "Anna"), sighting(BEN, 4)])
    store.name_cluster(store.unnamed()[0].number, "ANNA", faces(BEN, 1))
    assert seen(store) == {"x": [(0, "Anna"), (4, "Anna")]}
    assert store.unnamed() == []
    by_recognition, by_hand = store.sightings()["x"]
    assert (by_recognition.by_hand, by_hand.by_hand) == (False, True)
    assert (by_recognition.confidence < 1, by_hand.confidence) == (True, 1.0)


def test_two_people_become_one_and_one_becomes_two(store: PeopleStore) -> None:
    store.add("Anna", faces(ANNA, 1), Consent("a"))
    store.add("Ann", faces(BEN, 2), Consent("b"))
    store.put_sightings("x", [sighting(ANNA, 0, "Anna"), sighting(BEN, 4, "Ann")])
    store.merge(store.find("Anna").number, store.find("Ann").number)
    (anna,) = store.people()
    assert (anna.photos, anna.sightings, [one.source for one in anna.consents]) == (3, 2, ["a", "b"])
    cluster = store.split([store.sightings()["x"][1].number])
    assert seen(store) == {"x": [(0, "Anna"), (4, None)]}
    recognise(store, THRESHOLD)
    assert seen(store) == {"x": [(0, "Anna"), (4, None)]}  # somebody said so
    assert [one.number for one in store.unnamed()] == [cluster]


def test_hidden_people_say_so(store: PeopleStore) -> None:
    number = store.add("Anna", faces(ANNA, 1)).number
    store.hide(number)
    assert store.people()[0].hidden
    store.hide(number, False)
    assert not store.people()[0].hidden


def test_who_is_not_there_is_one_line_that_names_those_who_are(store: PeopleStore) -> None:
    store.add("Anna", faces(ANNA, 1))
    with pytest.raises(UsageError, match="'Bob': nobody is called so here \\(there are: Anna\\)"):
        store.find("Bob")
    with pytest.raises(UsageError, match="17: no unnamed person has this number"):
        store.find("17")
    assert store.find("aNNa").name == "Anna"


def test_descriptors_of_another_encoder_are_refused(store: PeopleStore) -> None:
    fake = plugins.build("people.faces", "fake", {})
    store.bind(Section(name="fake"), fake)
    store.bind(Section(name="fake"), fake)
    assert store.encoder_section() == Section(name="fake")

    class Other:
        def fingerprint(self) -> str:
            return "other"

    with pytest.raises(IndexMismatch, match=r"described by fake .*--set faces\.name=fake.* people forget --all"):
        store.bind(Section(name="sface"), Other())  # type: ignore[arg-type]


def test_options_without_a_name_are_about_the_encoder_that_is_bound(store: PeopleStore) -> None:
    bound = Section(name="fake", smallest=7)
    store.bind(bound, plugins.build("people.faces", "fake", bound.options))
    assert face_encoder(store, Settings())[1] == bound
    assert face_encoder(store, Settings(faces=Section(smallest=9)))[1] == Section(name="fake", smallest=9)
    assert face_encoder(store, Settings(faces=Section(name="fake")))[1] == Section(name="fake")


def test_another_process_sees_every_change_and_whole_states_alone(store: PeopleStore, tmp_path: Path) -> None:
    reader = PeopleStore.open_to_read(tmp_path)
    assert reader is not None
    assert reader.people() == []
    version = reader.version()
    store.add("Anna", faces(ANNA, 1))
    assert reader.version() != version
    assert [person.name for person in reader.people()] == ["Anna"]
    with store.transaction():
        store.connection.execute("DELETE FROM person")
        assert [person.name for person in reader.people()] == ["Anna"]
    assert reader.people() == []
    assert reader.known() == {}


def test_nothing_is_stored_in_the_clear_and_nobody_else_may_read_it(store: PeopleStore, tmp_path: Path) -> None:
    store.add("Anneliese", faces(ANNA, 1), Consent("a letter of hers"))
    store.put_sightings("x", [sighting(ANNA, name="Anneliese")])
    for name, content in files_of(tmp_path).items():
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
        for plain in (b"Anneliese", b"letter", face(ANNA).tobytes(), face(ANNA, 7).tobytes()):
            assert plain not in content
    assert sorted(files_of(tmp_path)) == [KEYS_FILE, PEOPLE_FILE]


def test_shredding_leaves_neither_keys_nor_sealed_rows(store: PeopleStore, tmp_path: Path) -> None:
    for person, name in enumerate(("Anna", "Ben", "Carl", "Dora")):
        store.add(name, faces(person, 9), Consent("x"))
        store.put_sightings(name, [sighting(person, start, name) for start in range(40)])
    number = store.find("Ben").number
    secrets = store.secrets_of([number])
    assert len(secrets) == 3 + 2 * 9 + 2 * 40
    assert all(any(secret in content for content in files_of(tmp_path).values()) for secret in secrets)
    store.shred([number])
    left = files_of(tmp_path)
    assert not [secret for secret in secrets if any(secret in content for content in left.values())]
    assert [person.name for person in store.people()] == ["Anna", "Carl", "Dora"]
    assert "Ben" not in store.sightings()


def test_what_is_replaced_is_written_over_and_forgetting_leaves_no_free_page(
    store: PeopleStore, tmp_path: Path
) -> None:
    store.add("Anna", faces(ANNA, 1))
    store.put_sightings("x", [sighting(ANNA, start, "Anna") for start in range(60)])
    sealed = [bytes(row[0]) for row in store.rows("SELECT sealed FROM sighting")]
    store.put_sightings("x", [])
    assert not [one for one in sealed if one in (tmp_path / PEOPLE_FILE).read_bytes()]
    assert store.rows("PRAGMA freelist_count") != [(0,)]
    store.shred([store.find("Anna").number])
    assert store.rows("PRAGMA main.freelist_count") == store.rows("PRAGMA keys.freelist_count") == [(0,)]
    assert store.setting("forgetting") is None


def test_what_a_new_video_costs_does_not_grow_with_those_before(store: PeopleStore) -> None:
    instructions = 0

    def count() -> None:
        nonlocal instructions
        instructions += 1

    costs = []
    for schema in ("main", "keys"):
        store.connection.execute(f"PRAGMA {schema}.synchronous = OFF")
    for video in range(40):
        store.connection.set_progress_handler(count, 1)  # every instruction of SQLite's machine
        store.put_sightings(f"{video:03d}", [sighting(ANNA, start) for start in range(3)])
        store.connection.set_progress_handler(None, 1)
        costs.append(instructions)
        instructions = 0
    assert costs[0] > 0
    assert max(costs[30:]) <= 1.1 * max(costs[2:12])


def test_of_removed_videos_no_page_holds_a_key_or_a_sealed_row(store: PeopleStore, tmp_path: Path) -> None:
    for video in range(12):
        store.put_sightings(f"{video}", [sighting(video, start) for start in range(9 + 5 * (video % 3))])
    recognise(store, THRESHOLD)
    removed = [one for video in ("3", "7") for one in store.sightings()[video]]
    secrets = store.secrets_of([], [one.number for one in removed])
    store.keep_contents({str(video) for video in range(12)} - {"3", "7"})
    left = files_of(tmp_path)
    assert not [secret for secret in secrets if any(secret in content for content in left.values())]
    assert store.rows("PRAGMA main.freelist_count") == store.rows("PRAGMA keys.freelist_count") == [(0,)]
    assert store.setting("forgetting") is None
    assert len(store.sightings()) == 10


def test_videos_that_were_set_aside_wait_no_more_and_go_with_the_video(store: PeopleStore) -> None:
    store.set_aside("x", "crashes the decoder")
    store.put_sightings("y", [])
    assert store.pending(["x", "y", "z"]) == ["z"]
    assert store.problems() == {"x": "crashes the decoder"}
    store.keep_contents({"y"})
    assert (store.problems(), store.pending(["x", "y"])) == ({}, ["x"])


def test_a_transaction_inside_another_is_part_of_it(store: PeopleStore) -> None:
    def fail() -> None:
        with store.transaction():
            store.add("Anna", faces(ANNA, 1))
            raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        fail()
    assert store.people() == []


def test_recognition_does_not_move_what_was_said_by_hand_meanwhile(store: PeopleStore) -> None:
    store.add("Anna", faces(ANNA, 1))
    store.put_sightings("x", [sighting(ANNA, 0, "Anna")])
    number = store.sightings()["x"][0].number
    store.split([number])
    store.regroup({"Anna": [(number, 0.9)]}, [])
    assert seen(store) == {"x": [(0, None)]}


def test_rows_of_an_older_copy_bring_nobody_back(store: PeopleStore, tmp_path: Path) -> None:
    store.add("Anna", faces(ANNA, 2))
    store.add("Ben", faces(BEN, 2))
    shutil.copy(tmp_path / PEOPLE_FILE, tmp_path / "copy")
    store.shred([store.find("Anna").number])
    store.close()
    shutil.copy(tmp_path / "copy", tmp_path / PEOPLE_FILE)
    reader = PeopleStore.open_to_read(tmp_path)
    assert reader is not None
    assert [person.name for person in reader.people()] == ["Ben"]
    assert list(reader.known()) == ["Ben"]
    reader.close()
    with PeopleStore.open_to_write(tmp_path) as store:
        assert store.rows("SELECT COUNT(*) FROM person") == [(1,)]
        assert store.rows("SELECT COUNT(*) FROM face") == [(2,)]


@pytest.mark.parametrize("damage", ["no keys", "other keys", "no database", "newer"])
def test_files_that_do_not_fit_are_one_line(store: PeopleStore, tmp_path: Path, damage: str) -> None:
    store.add("Anna", faces(ANNA, 1))
    store.close()
    if damage == "no keys":
        (tmp_path / KEYS_FILE).unlink()
    elif damage == "other keys":
        with sqlite3.connect(tmp_path / KEYS_FILE) as keys:
            keys.execute("UPDATE person_key SET key = ?", (bytes(32),))
        keys.close()
    elif damage == "no database":
        (tmp_path / PEOPLE_FILE).write_bytes(b"no database at all" * 100)
    else:
        with sqlite3.connect(tmp_path / PEOPLE_FILE) as newer:
            newer.execute(f"PRAGMA user_version = {people_database.LATEST + 1}")
        newer.close()
    messages = {
        "no keys": f"{KEYS_FILE}: is missing.*forget --all",
        "other keys": f"does not fit {KEYS_FILE}.*forget --all",
        "no database": "not usable as the people of a library",
        "newer": "upgrade mmi-tvr",
    }
    for opens in (PeopleStore.open_to_read, PeopleStore.open_to_write):
        with pytest.raises(MmiTvrError, match=messages[damage]) as caught:
            opened_people(opens, tmp_path)
        assert "\n" not in str(caught.value)


def opened_people(opens: Callable[[Path], PeopleStore | None], folder: Path) -> list[StoredPerson]:
    opened = opens(folder)
    assert opened is not None
    with opened:
        return opened.people()


def test_people_can_be_read_where_nothing_can_be_written(store: PeopleStore, tmp_path: Path) -> None:
    store.add("Anna", faces(ANNA, 1))
    store.close()
    reader = PeopleStore(tmp_path, people_database._connect(tmp_path, "ro"))
    assert [person.name for person in reader.people()] == ["Anna"]
    reader.close()


# Names


@pytest.mark.parametrize("name", ["me", "Anna", "Anna-Lena O'Hara", "Zoë", "李娜", "anna 2", "R2"])
def test_names_that_people_have_are_taken_as_they_are(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "a name is needed"),
        ("  ", "a name is needed"),
        ("[anna]", "brackets"),
        ("an]na", "brackets"),
        ("an\nna", "control"),
        ("anna\x1b[31m", "control"),
        ("an\u202ena", "control"),
        ("\udcff", "control"),
        ("12", "numbers"),
        ("--json", "'-'"),
        ("...", "letter"),
        ("x" * (MAX_LENGTH + 1), "too long"),
    ],
)
def test_names_that_could_not_be_told_from_something_else_are_one_line(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        checked_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@given(st.text(max_size=100))
def test_a_name_is_refused_in_a_line_or_can_stand_in_a_query(name: str) -> None:
    try:
        checked = checked_name(name)
    except UsageError as error:
        message = str(error)
    else:
        message = ""
    assert not UNSAFE.search(message)
    if not message:
        assert checked_name(checked) == checked
        assert same_name(checked, name)
        assert checked.strip() == checked
        assert not set("[]\n\x1b") & set(checked)
        assert not checked.isdigit()
        assert 0 < len(checked) <= MAX_LENGTH


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_names_are_one_both_ways_or_neither(one: str, other: str) -> None:
    assert same_name(one, one.upper()) or one.upper().casefold() != one.casefold()
    assert same_name(one, other) == same_name(other, one)
