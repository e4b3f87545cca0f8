"""A library where nothing can be written: a read-only disk, a snapshot, a folder of somebody else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from fakes import FakeModel, best, clipped

from mmi_tvr.errors import LibraryReadOnly, MmiTvrError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.migrations import LATEST
from mmi_tvr.skeletons.store import SkeletonStore
from mmi_tvr.utils import sqlite

NAMES = ["blue", "green", "red", "yellow"]


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder, and of the folder's own list of names."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


@pytest.fixture
def close_to_us(monkeypatch):
    """Makes a folder one in which nothing can be written; what happens to be written there all the same fails a test.

    File permissions do not bind root, so the system's word is replaced. `test_without_permissions` asks the system.
    """
    closed: dict[Path, dict[str, tuple[int, int]]] = {}
    access = os.access

    def denied(path, mode, **options):
        below = any(Path(path).is_relative_to(folder) for folder in closed)
        return not (below and mode & os.W_OK) and access(path, mode, **options)

    def close(folder: Path) -> Path:
        closed[folder] = contents(folder)
        return folder

    monkeypatch.setattr(sqlite.os, "access", denied)
    yield close
    for folder, before in closed.items():
        assert contents(folder) == before


def search_all(path: Path) -> list[str]:
    with Library(path, model=FakeModel(), relevance=clipped) as reader:
        return [best(reader, name) for name in NAMES]


def copy_with_a_log(library: Library, folder: Path, target: Path) -> Path:
    """Copy a library as a snapshot catches it whose last run has not come into the catalogue's file yet."""
    library.index(folder / "part0")
    with closing(Catalogue(library.path / "catalogue.sqlite")) as reader:  # while it is open, the log stays
        reader.files()
        library.index(folder)
        shutil.copytree(library.path, target)
    assert (target / "catalogue.sqlite-wal").stat().st_size > 0
    return target


def test_it_is_searched_and_looked_at_without_a_trace(folder, library, close_to_us):
    library.index(folder)
    close_to_us(library.path)
    assert search_all(library.path) == NAMES
    with Library(library.path) as reader:
        status = reader.status()
    assert (status.videos, status.writable, status.writer) == (4, False, None)


def test_a_full_disk_is_searched_and_said_to_be_full_by_name(folder, library, monkeypatch):
    library.index(folder)
    library.close()

    def no_room(path):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("mmi_tvr.library.catalogue_file.open_to_write", no_room)
    assert search_all(library.path) == NAMES
    monkeypatch.undo()

    def full(path, *args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write says it, without a name

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        library.index(folder)
    assert raised.value.filename == str(library.path / "writer.json")


def test_another_mount_point_is_another_path(folder, library, tmp_path, close_to_us):
    library.index(folder)
    library.close()
    elsewhere = close_to_us(Path(shutil.copytree(library.path, tmp_path / "mnt" / "snapshot")))
    shutil.rmtree(library.path)
    assert search_all(elsewhere) == NAMES


def test_what_lies_in_a_copied_log_is_not_lost(folder, library, tmp_path, close_to_us):
    snapshot = copy_with_a_log(library, folder, tmp_path / "snapshot")
    (snapshot / "catalogue.sqlite-shm").unlink()  # with it: see `test_without_permissions`
    close_to_us(snapshot)
    assert search_all(snapshot) == NAMES


def test_what_a_writer_elsewhere_commits_is_seen(folder, library, close_to_us, monkeypatch):
    library.index(folder / "part0")
    library.close()
    monkeypatch.setattr(sqlite, "is_writable", lambda path: False)
    monkeypatch.setattr("mmi_tvr.library.catalogue_file.is_writable", lambda path: False)
    with Library(library.path, model=FakeModel(), relevance=clipped) as reader:
        assert len(reader.search("green", top=9)) == 2
        with Library(library.path, model=FakeModel(), relevance=clipped) as writer:
            writer.index(folder)
        assert best(reader, "green") == "green"


def test_a_snapshot_that_is_replaced_is_opened_anew(folder, library, tmp_path):
    current = tmp_path / "current"
    library.index(folder / "part0")
    library.close()
    shutil.copytree(library.path, tmp_path / "monday")
    library.index(folder)
    library.close()
    shutil.copytree(library.path, tmp_path / "tuesday")
    current.symlink_to(tmp_path / "monday")
    with Library(current, model=FakeModel(), relevance=clipped) as reader:
        assert len(reader.search("green", top=9)) == 2
        (tmp_path / "new").symlink_to(tmp_path / "tuesday")
        os.replace(tmp_path / "new", current)
        assert best(reader, "green") == "green"
        current.unlink()
        with pytest.raises(UsageError, match="no library is here"):
            reader.search("green")


def test_an_older_catalogue_is_read_with_its_options_under_their_present_names(folder, library, close_to_us):
    library.index(folder)
    library.close()
    path = library.path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        [(text,)] = database.execute("SELECT value FROM meta WHERE key = 'settings'").fetchall()
        settings = json.loads(text)
        settings["model"]["moments"] = 0.3
        database.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (json.dumps(settings),))
        database.executescript(
            "DROP VIEW searchable; DROP VIEW main_files; DROP TABLE media_facts; DROP INDEX files_by_main;"
            "ALTER TABLE files DROP COLUMN main; PRAGMA user_version = 1"
        )
    close_to_us(library.path)
    assert search_all(library.path) == NAMES
    with closing(Catalogue.open_to_read(path)) as catalogue:
        model = catalogue.meta("settings")["model"]
        assert model["moment_weight"] == 0.3
        assert "moments" not in model
        assert not catalogue.is_outdated()


def test_a_newer_catalogue_is_refused_here_too(folder, library, close_to_us):
    library.index(folder)
    library.close()
    with closing(sqlite3.connect(library.path / "catalogue.sqlite")) as database:
        database.execute(f"PRAGMA user_version = {LATEST + 1}")
    close_to_us(library.path)
    with pytest.raises(UsageError, match=rf"a newer mmi-tvr made this library .* version {LATEST + 1}"):
        search_all(library.path)


def test_who_wants_to_write_hears_it_in_one_line(folder, library, close_to_us):
    library.index(folder)
    library.close()
    close_to_us(library.path)
    for write in (lambda: library.index(folder), lambda: library.remove(folder), library.describe):
        with pytest.raises(LibraryReadOnly, match=r"cannot be written here \(.*\); it can be searched") as raised:
            write()
        assert "\n" not in str(raised.value)


def test_what_is_no_catalogue_is_said_here_too(tmp_path, close_to_us):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "catalogue.sqlite").write_text("x" * 5000)
    close_to_us(tmp_path / "library")
    with pytest.raises(MmiTvrError, match="not usable as the catalogue"):
        Library(tmp_path / "library").status()


def test_answers_are_read_and_new_ones_last_as_long_as_the_store(tmp_path, close_to_us):
    stored, absent = tmp_path / "library" / "skeletons.sqlite", tmp_path / "library" / "none.sqlite"
    stored.parent.mkdir()
    with SkeletonStore(stored) as store:
        store.put([("aa", "key", "a dog"), ("bb", "key", "a cat")])
    close_to_us(stored.parent)
    with SkeletonStore(stored) as store:
        store.put([("cc", "key", "a bird")])
        assert store.get(["aa", "cc", "dd"], ["key"]) == {("aa", "key"): "a dog", ("cc", "key"): "a bird"}
        assert store.count() == 3
    with SkeletonStore(stored) as store:
        assert store.get(["aa", "cc"], ["key"]) == {("aa", "key"): "a dog"}
    with SkeletonStore(absent) as store:
        store.put([("cc", "key", "a bird")])
        assert store.get(["cc"], ["key"]) == {("cc", "key"): "a bird"}


def test_a_lost_feature_folder_is_not_made_by_a_reader(folder, library, close_to_us):
    from mmi_tvr.features.cache import FeatureCache

    library.index(folder)
    library.close()
    shutil.rmtree(library.path / "features")
    close_to_us(library.path)
    assert list(FeatureCache(library.path / "features", tidy=False)) == []


@pytest.mark.skipif(os.name != "posix", reason="needs users and permissions")
@pytest.mark.parametrize("with_log", [False, True], ids=["no log", "a log"])
def test_without_permissions(folder, library, tmp_path, with_log):
    """The system itself says no: to this user, or, where that is root, to a process of a user without rights."""
    snapshot = tmp_path / "snapshot"
    if with_log:
        copy_with_a_log(library, folder, snapshot)
    else:
        library.index(folder)
        library.close()
        shutil.copytree(library.path, snapshot)
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        copy = Path(shutil.copytree(snapshot, Path(place) / "library"))
        assert search_all(library.path) == NAMES  # imports all that is needed
        for path in [copy, *copy.rglob("*")]:
            os.chmod(path, 0o555 if path.is_dir() else 0o444)
        before = contents(copy)
        assert _in_a_process_without_rights(lambda: search_all(copy) == NAMES)
        assert _in_a_process_without_rights(lambda: _is_refused(copy, folder))
        assert contents(copy) == before
        for path in [copy, *copy.rglob("*")]:
            os.chmod(path, 0o755)


def _is_refused(copy: Path, folder: Path) -> bool:
    try:
        Library(copy, model=FakeModel()).index(folder)
    except LibraryReadOnly:
        return True
    return False


def _in_a_process_without_rights(check) -> bool:
    if os.getuid() != 0:
        return check()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
