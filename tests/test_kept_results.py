"""Results that a resident process keeps: the same as those of a search that is made anew, whatever was changed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from fakes import FakeModel, clipped, colour_video
from people_media import drawn, film

from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.library import Library, catalogue_file
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.duplicate_store import DuplicateStore
from mmi_tvr.library.indexing import Indexing
from mmi_tvr.library.people import People, PeopleStore
from mmi_tvr.library.people.recognition import recognise
from mmi_tvr.search import Searcher, SearchResult
from mmi_tvr.types import row_ids

QUERIES = ("red", "blue", "green, no red", "green")


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the searches that are made anew."""
    search = Mock(side_effect=Searcher.search_all)
    monkeypatch.setattr(Searcher, "search_all", lambda self, *arguments: search(self, *arguments))
    return search


@pytest.fixture
def keeping(folder: Path, library: Library) -> Iterator[Library]:
    """An object that keeps results, of a library to which another one writes."""
    library.index(folder)
    with Library(library.path, model=FakeModel(), relevance=clipped) as opened:
        opened.remember_results(1_000)
        yield opened


def plain(results: Sequence[SearchResult]) -> list[dict[str, Any]]:
    """Return all of results but what tells one search from the next."""
    documents = [result.as_dict() for result in results]
    for document in documents:
        assert document.pop("seconds")["total"] >= 0
    return documents


def searched(library: Library, **options: Any) -> list[dict[str, Any]]:
    return plain(library.search(QUERIES, 9, 0.0, **options))


def anew(library: Library, **options: Any) -> list[dict[str, Any]]:
    with Library(library.path, model=FakeModel(), relevance=clipped) as other:
        return searched(other, **options)


def test_a_search_that_was_made_before_is_not_made_again(keeping: Library, searches: Mock) -> None:
    first = searched(keeping)
    assert searched(keeping) == first == anew(keeping)
    calls = searches.call_count
    assert searched(keeping) == first
    assert searches.call_count == calls
    mixed = keeping.search(["red", "yellow", "blue"], 9, 0.0)
    assert [hits[0].path.stem for hits in mixed] == ["red", "yellow", "blue"]
    [queries] = [call.args[1] for call in searches.call_args_list[calls:]]
    assert [query.query.text for query in queries] == ["yellow"]  # the others were known


@pytest.mark.parametrize(
    "options",
    [{"top": 2}, {"min_relevance": 0.9}, {"more": 3}, {"fold": False}, {"without": "yellow"}, {"literal": True}],
    ids=lambda options: next(iter(options)),
)
def test_each_option_has_results_of_its_own(keeping: Library, options: dict[str, Any]) -> None:
    arguments = {"top": 9, "min_relevance": 0.0} | options
    keeping.search(QUERIES, 9, 0.0)
    for _ in range(2):
        with Library(keeping.path, model=FakeModel(), relevance=clipped) as other:
            fresh = plain(other.search(QUERIES, **arguments))
        assert plain(keeping.search(QUERIES, **arguments)) == fresh


def file_of(folder: Path, name: str) -> Path:
    [path] = folder.rglob(f"{name}.mp4")
    return path


def add(library: Library, folder: Path) -> None:
    colour_video(folder / "white.mp4", "white")
    library.index()


def add_what_cannot_be_read(library: Library, folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no film")
    library.index()


def copy(library: Library, folder: Path) -> None:
    shutil.copy(file_of(folder, "red"), folder / "again.mp4")
    library.index()


def move(library: Library, folder: Path) -> None:
    move_unseen(library, folder)
    library.index()


def move_unseen(library: Library, folder: Path) -> None:
    file_of(folder, "red").rename(folder / "moved.mp4")


def overwrite(library: Library, folder: Path) -> None:
    colour_video(file_of(folder, "red"), "black", seconds=1.0)
    library.index()


def delete(library: Library, folder: Path) -> None:
    file_of(folder, "red").unlink()
    library.index()


def forget(library: Library, folder: Path) -> None:
    library.remove([file_of(folder, "red")])


def rebuild(library: Library, folder: Path) -> None:
    file_of(folder, "blue").unlink()
    library.index(rebuild=True)


def note_duplicates(library: Library, folder: Path) -> None:
    with closing(Catalogue.open_to_read(library.path / CATALOGUE)) as catalogue:
        hashes = sorted(catalogue.content_hashes())
    with closing(DuplicateStore.open(library.path)) as store:
        store.commit(hashes, [(hashes[0], hashes[1], 1.0)])


def leave_unread(library: Library, folder: Path) -> None:
    """Leave what an interrupted run leaves: files whose bytes nobody read yet."""
    with closing(Catalogue(library.path / CATALOGUE)) as catalogue, catalogue.transaction(is_searched=False):
        catalogue.set_meta(unread=3)


CHANGES = (
    add, add_what_cannot_be_read, copy, move, move_unseen, overwrite, delete, forget, rebuild, note_duplicates,
    leave_unread,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_changed_is_in_the_next_result(
    keeping: Library, library: Library, folder: Path, change: Callable[[Library, Path], None]
) -> None:
    before = searched(keeping)
    change(library, folder)
    after = searched(keeping)
    assert after == anew(keeping) != before
    assert searched(keeping) == after


def test_all_changes_one_after_the_other(keeping: Library, library: Library, folder: Path) -> None:
    for change in (add, copy, leave_unread, overwrite, note_duplicates, add_what_cannot_be_read):
        change(library, folder)
        assert searched(keeping) == anew(keeping)
        assert searched(keeping) == anew(keeping)
    for name in ("red", "blue", "green"):
        library.remove([file_of(folder, name)])
        assert searched(keeping) == anew(keeping)


def test_what_no_search_reads_leaves_all_as_it_is(
    keeping: Library, library: Library, folder: Path, searches: Mock
) -> None:
    searched(keeping)
    state = keeping._reader._state
    assert state is not None
    leave_unread(library, folder)
    assert {hits["coverage"]["pending"] for hits in searched(keeping)} == {3}
    assert keeping._reader._state is not state
    assert keeping._reader._state.searcher is state.searcher
    assert searches.call_count == 1


def test_an_index_of_which_a_killed_run_has_left_more_is_opened_anew(
    keeping: Library, library: Library, folder: Path
) -> None:
    state = keeping._reader._present_state(keeping._reader.catalogue())
    assert state.searcher is not None
    components = keeping._reader.components(keeping._reader.catalogue())
    index = components.open_index(create=True)
    assert index is not None
    index.add(np.array([1 << 40]), index.get(index.ids()[:1]))
    index.flush()
    leave_unread(library, folder)
    present = keeping._reader._present_state(keeping._reader.catalogue())
    assert present.searcher is not None
    assert present.searcher is not state.searcher
    assert present.searcher.index.count() == index.count()
    index.close()


def test_vectors_that_a_killed_run_has_left_are_gone_from_results_when_they_are_deleted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relevance is fitted on all vectors, also on those of which the catalogue says nothing."""
    path = tmp_path / "library"
    with Library(path, FakeModel()) as writer, Library(path, FakeModel()) as keeping:
        writer.index(folder)
        keeping.remember_results(1_000)
        index = keeping._reader.components(keeping._reader.catalogue()).open_index(create=True)
        assert index is not None
        strangers = FakeModel()._embed(np.random.default_rng(0).uniform(0, 255, (30, 3)))
        index.add(np.concatenate([row_ids(100 + number, 1) for number in range(30)]), strangers.repeat(2, axis=0))
        index.flush()
        index.close()
        reconcile, before = Indexing.reconcile, []
        monkeypatch.setattr(Indexing, "reconcile", lambda run: (before.append(searched(keeping)), reconcile(run)))
        writer.index()
        with Library(path, FakeModel()) as other:
            fresh = searched(other)
        assert searched(keeping) == fresh != before[0]


def test_a_new_film_changes_what_is_searched_once(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.index(folder)
    revisions = Mock(wraps=secrets.token_hex)
    monkeypatch.setattr(catalogue_file.secrets, "token_hex", revisions)
    colour_video(folder / "white.mp4", "white")
    library.index()
    assert len([call for call in revisions.call_args_list if call.args == (8,)]) == 1
    library.index()  # nothing is new
    assert len([call for call in revisions.call_args_list if call.args == (8,)]) == 1


# What is not kept


def test_what_depends_on_more_than_the_library_is_searched_anew(
    keeping: Library, searches: Mock, folder: Path, tmp_path: Path
) -> None:
    for options in ({"kind": ["video"]}, {"folder": [folder]}, {"where": {}, "since": "2001"}, {"longer": 0.1}):
        calls = searches.call_count
        for _ in range(2):
            keeping.search("red", **options)
        assert searches.call_count == calls + 2, options
    assert not len(keeping._reader.answers)


def test_results_with_a_re_ranking_are_made_anew(keeping: Library, library: Library, searches: Mock) -> None:
    section = Section(name="skeleton", answerer={"name": "fake"}, judge={"name": "fake"})
    with Library(library.path, FakeModel(), Settings(rerank=section), clipped) as opened:
        opened.remember_results(1_000)
        for rerank in (None, True):
            opened.search("red", rerank=rerank)
            assert not len(opened._reader.answers)
        opened.search("red", rerank=False)
        assert len(opened._reader.answers) == 1


def test_only_so_many_hits_are_kept(keeping: Library) -> None:
    keeping.remember_results(8)  # an empty result counts as one, too
    keeping.search(["red", "blue"], 2, 0.0)
    keeping.search(["green", "yellow"], 2, 0.0)
    assert len(keeping._reader.answers) == 2
    keeping.search("red", 9, 0.0)  # four hits
    assert len(keeping._reader.answers) == 2
    keeping.remember_results(5)
    assert len(keeping._reader.answers) == 1
    keeping.remember_results(0)
    assert not len(keeping._reader.answers)
    keeping.search("red", 1)
    assert not len(keeping._reader.answers)


def test_what_a_hit_has_many_of_takes_room_for_hits(keeping: Library, library: Library, folder: Path) -> None:
    keeping.remember_results(6)
    keeping.search("red", 1, 0.0)
    assert len(keeping._reader.answers) == 1
    for number in range(25):
        shutil.copy(file_of(folder, "red"), folder / f"copy {number}.mp4")
    library.index()
    assert len(keeping.search("red", 1, 0.0)[0].copies) == 25
    assert not len(keeping._reader.answers)
    keeping.remember_results(7)
    keeping.search("red", 1, 0.0)
    assert len(keeping._reader.answers) == 1


# People


def test_people_are_in_results_as_they_are_known_now(tmp_path: Path) -> None:
    film(tmp_path / "films" / "both.mp4", ["anna"], ["anna", "ben"])
    film(tmp_path / "films" / "nobody.mp4", [])
    encoder = plugins.build("people.faces", "fake", {})
    settings = Settings(faces=Section(name="fake"))

    def people_now() -> list[dict[str, Any]]:
        with Library(tmp_path / "library", FakeModel(), settings, clipped) as other:
            return plain(other.search(["red", "anna", "red without anna"], 9, 0.0))

    def add_people(*names: str) -> None:
        with PeopleStore.open_to_write(tmp_path / "library") as store:
            store.bind(Section(name="fake"), encoder)
            for name in names:
                store.add(name, encoder.describe(drawn(name), encoder.detect(drawn(name))))
            recognise(store, encoder.threshold)

    def people() -> People:
        return People(tmp_path / "library", settings)

    changes: list[Callable[[], object]] = [
        lambda: add_people("anna"),
        lambda: people().hide(["anna"]),
        lambda: people().hide(["anna"], hidden=False),
        lambda: add_people("ben"),
        lambda: people().forget("anna"),
        lambda: people().forget_all(),
        lambda: add_people("anna"),
    ]
    with Library(tmp_path / "library", FakeModel(), settings, clipped) as library:
        library.index(tmp_path / "films", people=True)
        library.remember_results(1_000)
        for change in changes:
            before = people_now()
            assert plain(library.search(["red", "anna", "red without anna"], 9, 0.0)) == before
            assert plain(library.search(["red", "anna", "red without anna"], 9, 0.0)) == before
            change()
            assert people_now() != before
            kept = library._reader.answers._results.values()
            assert not [hit for result in kept for hit in result.hits if hit.people]
        assert plain(library.search(["red", "anna", "red without anna"], 9, 0.0)) == people_now()
