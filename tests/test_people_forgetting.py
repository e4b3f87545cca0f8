"""Forgetting people: what goes, the receipt, the byte-level proof and that it can fail, and kills at every step."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, colour_video
from killing import Run, driver
from people_files import face, faces, files_of, sighting

from mmi_tvr.config import Section
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.people import Consent, People, PeopleStore, Trace
from mmi_tvr.library.people.proof import Evidence, traces
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.library.rebuild import REBUILD_FILE
from mmi_tvr.people import KEYS_FILE, PEOPLE_FILE

ANNA, BEN, CARL = 0, 1, 2
THRESHOLD = 0.5


class Encoder:
    threshold = THRESHOLD

    def fingerprint(self) -> str:
        return "fingerprint"


def fill(folder: Path, threshold: float | None = THRESHOLD) -> None:
    """Two people with a name, seen in two videos with somebody else, and one sighting that looks like the first."""
    with PeopleStore.open_to_write(folder) as store:
        if threshold is not None:
            store.bind(Section(name="fake"), Encoder())  # type: ignore[arg-type]
        store.add("Annegret", faces(ANNA, 3), Consent("by mail", "2026-01-01"))
        store.add("Ben", faces(BEN, 2))
        for content in ("x", "y"):
            store.put_sightings(content, [sighting(person, start) for start, person in enumerate((ANNA, BEN, CARL))])
        recognise(store, THRESHOLD)
        store.split([next(iter(store.sightings(store.find("Annegret").number)["y"])).number])


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forgetting")
    colour_video(folder / "Annegret at the lake" / "red.mp4", "red")
    with Library(folder / "library", model=FakeModel()) as library:
        library.index(folder / "Annegret at the lake")
    return folder / "library"


@pytest.fixture
def folder(indexed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(indexed, tmp_path / "library")


def listed(folder: Path) -> tuple[list[tuple[str | None, int]], list[int]]:
    named, unnamed = People(folder).listed()
    return [(one.name, one.sightings) for one in named], [one.sightings for one in unnamed]


def test_all_that_is_of_a_person_goes_and_the_proof_finds_nothing(folder: Path) -> None:
    fill(folder)
    assert listed(folder) == ([("Annegret", 1), ("Ben", 2)], [2, 1])
    forgotten = People(folder).forget("annegret", prove=True)
    assert forgotten.traces == ()
    removed = forgotten.removed
    assert (removed.people, removed.photos, removed.sightings, removed.videos) == (1, 3, 1, 1)
    assert (removed.alike, removed.consents, removed.keys) == (1, 1, 1 + 3 + 1 + 1)
    assert listed(folder) == ([("Ben", 2)], [2])
    with PeopleStore.open_to_write(folder) as store:
        recognise(store, THRESHOLD)
        for seen in store.sightings().values():
            assert max(float(one.descriptor @ face(ANNA)) for one in seen) < THRESHOLD
        assert store.pending(["x", "y"]) == []  # a later run does not find the face anew
    with pytest.raises(UsageError, match="nobody is called so"):
        People(folder).forget("Annegret")


def test_the_receipt_lets_nobody_see_a_face_and_everybody_check_one(folder: Path) -> None:
    fill(folder)
    removed = People(folder).forget("Annegret").removed
    salt = bytes.fromhex(removed.salt)
    expected = [*faces(ANNA, 3), face(ANNA, 7), face(ANNA, 7)]
    assert sorted(removed.sha256) == sorted(hashlib.sha256(salt + one.tobytes()).hexdigest() for one in expected)
    assert "Annegret" not in json.dumps(removed.as_dict())


def test_somebody_without_a_name_can_be_forgotten(folder: Path) -> None:
    fill(folder)
    _, unnamed = People(folder).listed()
    forgotten = People(folder).forget(str(unnamed[0].number), prove=True)
    assert (forgotten.removed.sightings, forgotten.traces) == (2, ())
    assert listed(folder) == ([("Annegret", 1), ("Ben", 2)], [1])


def test_everybody_can_be_forgotten_and_that_faces_were_looked_for(folder: Path) -> None:
    fill(folder)
    forgotten = People(folder).forget_all(prove=True)
    assert (forgotten.removed.people, forgotten.removed.sightings, forgotten.traces) == (4, 6, ())
    assert listed(folder) == ([], [])
    with PeopleStore.open_to_write(folder) as store:
        assert store.pending(["x"]) == ["x"]
        assert store.encoder_section() is None


def _vector(kind: str) -> bytes:
    return face(ANNA, 1).astype(kind).tobytes()


MEAN = faces(ANNA, 3).mean(0)
PLANTED = {
    "float32": (_vector("<f4"), "a descriptor (float32)"),
    "float16": (_vector("<f2"), "a descriptor (float16)"),
    "float64": (_vector("<f8"), "a descriptor (float64)"),
    "mean": ((MEAN / np.linalg.norm(MEAN)).tobytes(), "a descriptor (float32)"),
    "a sighting's": (face(ANNA, 7).tobytes(), "a descriptor (float32)"),
    "name": (b"who: Annegret.", "the name"),
    "name in another case": (b"aNNEgret", "the name"),
    "name in UTF-16": ("Annegret".encode("utf-16-le"), "the name"),
}


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("place", ["features/notes.bin", CATALOGUE, REBUILD_FILE])
def test_the_proof_finds_what_is_left_anywhere(folder: Path, planted: str, place: str) -> None:
    fill(folder)
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    if place == REBUILD_FILE:
        shutil.copy(folder / CATALOGUE, path)
    content, what = PLANTED[planted]
    with path.open("ab") as stream:
        stream.write(b"\1\2\3" + content + b"\4")
    left_over = People(folder).forget("Annegret", prove=True).traces
    assert left_over is not None
    assert [(trace.file, trace.what) for trace in left_over] == [(place, what)]
    offset = left_over[0].offset
    assert offset is not None
    start = path.read_bytes()[offset:].lower()
    assert start.startswith(content.lower() if what != "the name" else content.lower().removeprefix(b"who: ")[:8])


def test_the_proof_finds_copies_of_the_files_of_people(folder: Path) -> None:
    fill(folder)
    for name in (PEOPLE_FILE, KEYS_FILE):
        shutil.copy(folder / name, folder / f"{name}.bak")
    left_over = People(folder).forget("Annegret", prove=True).traces
    assert left_over is not None
    assert {trace.file for trace in left_over} == {f"{PEOPLE_FILE}.bak", f"{KEYS_FILE}.bak"}
    assert {trace.what for trace in left_over} == {"a key or an encrypted row"}
    (folder / f"{PEOPLE_FILE}.bak").unlink()
    (folder / f"{KEYS_FILE}.bak").unlink()
    assert People(folder).forget("Annegret", prove=True).traces == ()  # the name, again


def test_the_paths_of_videos_are_no_traces_and_the_same_word_elsewhere_is(folder: Path) -> None:
    fill(folder)
    assert b"Annegret at the lake" in (folder / CATALOGUE).read_bytes()
    assert People(folder).forget("Annegret", prove=True).traces == ()
    (folder / "notes.txt").write_text("Annegret at the beach")
    again = People(folder).forget("Annegret", prove=True)
    assert not again.was_known
    assert again.traces == (Trace("notes.txt", "the name", 0),)


@pytest.mark.parametrize(("text", "is_trace"), [('{"who": "me"}', True), ("[me] dances", True), ("name: home", False)])
def test_short_names_are_looked_for_in_quotes_and_brackets(tmp_path: Path, text: str, is_trace: bool) -> None:
    (tmp_path / "file").write_text(text)
    assert bool(traces(tmp_path, Evidence.of(["me"], (), ()))) == is_trace


def test_patterns_are_found_at_every_offset_and_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmi_tvr.library.people import proof

    monkeypatch.setattr(proof, "_BLOCK", 256)
    rng = np.random.default_rng(0)
    for offset in (*range(0, 20), *range(180, 330), 900):
        content = bytearray(rng.integers(0, 256, 1200, np.uint8).tobytes())
        content[offset : offset + 64] = face(ANNA).tobytes()
        (tmp_path / "file").write_bytes(content)
        assert traces(tmp_path, Evidence.of([], [face(ANNA)], ())) == [Trace("file", "a descriptor (float32)", offset)]
    assert traces(tmp_path, Evidence.of([], [face(BEN)], ())) == []


def test_paths_of_videos_across_blocks_are_no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmi_tvr.library.people import proof

    path = b"/films/of Annegret at the lake/red.mp4"
    monkeypatch.setattr(proof, "_BLOCK", 64)
    monkeypatch.setattr(proof, "_known_paths", lambda folder: [path])
    for offset in range(70):
        (tmp_path / "file").write_bytes(bytes(offset) + path + bytes(80))
        assert traces(tmp_path, Evidence.of(["Annegret"], (), ())) == []


def test_a_file_that_cannot_be_read_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")

    def refuse(path: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert traces(tmp_path, Evidence.of(["Annegret"], (), ())) == [
        Trace("file", "cannot be read (Permission denied)", None)
    ]


def test_somebody_forgotten_while_another_process_reads_is_simply_gone(folder: Path) -> None:
    fill(folder)
    reader = PeopleStore.open_to_read(folder)
    assert reader is not None
    number = reader.find("Annegret").number
    assert list(reader.known()) == ["Annegret", "Ben"]
    People(folder).forget("Annegret")
    assert list(reader.known()) == ["Ben"]
    assert reader.sightings(number) == {}
    assert reader.faces(number).size == 0
    with pytest.raises(UsageError, match="nobody is called so"):
        reader.find("Annegret")
    People(folder).forget_all()
    assert reader.known() == {}


# Kills

DRIVER = """
from pathlib import Path
from killing import serve
from mmi_tvr.library.people import People
import cryptography.hazmat.primitives.ciphers.aead

def work(action, folder):
    people = People(Path(folder))
    if action == "forget":
        people.forget("Annegret")
    elif action == "name":
        people.name(str(people.listed()[1][0].number), "Carl")
    else:
        people.merge("Ben", "Annegret")

serve(work, ("open", "os.remove"), after_statements=True)
"""


@pytest.fixture(scope="module")
def killed_at() -> Iterator[Run]:
    """Do something in a process of its own, which kills itself before step `fatal`: None then, else its steps."""
    with driver(DRIVER) as run:
        yield run


@pytest.mark.parametrize("action", ["forget", "name", "merge"])
def test_a_kill_leaves_the_state_before_or_after(folder: Path, tmp_path: Path, action: str, killed_at: Run) -> None:
    fill(folder)
    with PeopleStore.open_to_write(folder) as store:
        before = listed(folder)
        secrets = store.secrets_of([store.find("Annegret").number])
    work = tmp_path / "work"
    steps = killed_at(0, action, str(shutil.copytree(folder, work)))
    assert steps is not None
    after = listed(work)
    assert after != before
    seen = []
    for fatal in np.unique(np.linspace(1, steps, 12 if action == "forget" else 6).astype(int)).tolist():
        shutil.rmtree(work)
        shutil.copytree(folder, work)
        assert killed_at(fatal, action, str(work)) is None
        seen.append(listed(work))
        assert seen[-1] in (before, after)
        if action == "forget" and seen[-1] == after:
            PeopleStore.open_to_write(work).close()  # the next writer
            left = files_of(work)
            assert not [one for one in secrets if any(one in content for content in left.values())]
        if action == "forget":
            assert People(work).forget("Annegret", prove=True).traces == ()
            assert listed(work) == after
    assert seen[0] == before
    assert seen.index(after) < len(seen)
