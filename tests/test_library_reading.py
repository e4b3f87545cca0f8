"""Searching a library while a writer replaces what is being read, and what a search does not try again."""

from __future__ import annotations

import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from fakes import FakeModel, best, clipped

from mmi_tvr import index as index_room
from mmi_tvr import plugins
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMissing, LibraryBusy, UsageError
from mmi_tvr.index.flat import FlatIndex
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.components import Components, LoadedModel
from mmi_tvr.library.reading import ReadIndex, StateChanged
from mmi_tvr.library.video_lookup import VideoLookup
from mmi_tvr.types import Filter, Query


@pytest.fixture
def reader(folder, library):
    """An object that searches an indexed library and has searched nothing yet."""
    library.index(folder)
    with Library(library.path, model=FakeModel(), relevance=clipped) as opened:
        yield opened


@pytest.fixture
def attempts(reader, monkeypatch):
    """Counts how often the reader searches."""
    search = Mock(wraps=reader._reader.search_once)
    monkeypatch.setattr(reader._reader, "search_once", search)
    return search


class FailingModel(FakeModel):
    """A model with a bug: it raises `error` for every query, and counts the queries."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.query_calls = 0

    def embed_queries(self, queries):
        self.query_calls += 1
        raise self.error


# What is answered at once


def test_what_a_model_cannot_do_is_answered_at_once(reader, attempts):
    with pytest.raises(UsageError, match="fake has no language model to re-rank with"):
        reader.search("red", rerank=True)
    assert attempts.call_count == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top is at least 1 hit, not 0"),
        ({"top": "3"}, r"top is a whole number, not '3' \(str\)"),
        ({"top": True}, "top is a whole number"),
        ({"top": 2.0}, "top is a whole number"),
        ({"min_relevance": 1.5}, "min_relevance lies between 0 and 1"),
        ({"min_relevance": "0.5"}, r"min_relevance is a number, not '0.5' \(str\)"),
        ({"rerank": "yes"}, r"rerank is True or False, not 'yes' \(str\)"),
        ({"query": 5}, r"a query is a sentence \(str\), a types.Query, or a list of such, not 5 \(int\)"),
        ({"query": None}, "a query is a sentence"),
        ({"query": b"red"}, r"a query is a sentence .* not b'red' \(bytes\)"),
        ({"query": {"red"}}, r"not \{'red'\} \(set\)"),
        ({"query": []}, "the list of queries is empty"),
        ({"query": ["red", 5]}, r"a query is a sentence \(str\) or a types.Query, not 5 \(int\)"),
        ({"query": ["red", ["blue"]]}, r"not \['blue'\] \(list\)"),
        ({"query": ["red", " "]}, "the query is empty"),
    ],
)
def test_a_wrong_argument_is_answered_before_anything_is_opened(reader, attempts, arguments, message):
    with pytest.raises(UsageError, match=message):
        reader.search(**{"query": "red", **arguments})
    assert attempts.call_count == 0


def test_a_query_is_made_of_a_text():
    with pytest.raises(UsageError, match=r"the text of a query is a str, not 7 \(int\)"):
        Query(7)


def test_an_empty_query_is_answered_before_anything_is_opened(reader, attempts):
    with pytest.raises(UsageError, match="the query is empty"):
        reader.search("  ")
    assert attempts.call_count == 0


def test_a_library_that_is_not_there_is_looked_for_once(tmp_path, monkeypatch):
    absent = Library(tmp_path / "none")
    search = Mock(wraps=absent._reader.search_once)
    monkeypatch.setattr(absent._reader, "search_once", search)
    with pytest.raises(UsageError, match="no library is here"):
        absent.search("red")
    assert search.call_count == 1


@pytest.mark.parametrize("error", [KeyError("token"), FileNotFoundError("vocabulary"), UsageError("too long")])
def test_a_bug_of_the_model_runs_once_and_is_not_disguised(folder, library, error):
    library.index(folder)
    model = FailingModel(error)
    with Library(library.path, model=model, relevance=clipped) as reader, pytest.raises(type(error)) as raised:
        reader.search("red")
    assert raised.value is error
    assert model.query_calls == 1


def test_a_model_that_cannot_be_made_is_tried_once(reader, monkeypatch):
    monkeypatch.setattr(reader._reader, "model", Section(name="absent"))
    search = Mock(wraps=reader._reader.search_once)
    monkeypatch.setattr(reader._reader, "search_once", search)
    with pytest.raises(UsageError, match="no model is called 'absent'"):
        reader.search("red")
    assert search.call_count == 1


# What is tried again


def test_a_rebuild_between_catalogue_and_index_is_survived(reader, attempts, monkeypatch):
    """The vectors that the catalogue named are swept before the reader opens them; the next attempt opens the new."""
    open_index = index_room.open_index
    rebuilds = []

    def rebuild_first(name, options=None, *, create=True, **arguments):
        if not create and not rebuilds:
            rebuilds.append(arguments["path"])
            with Library(reader.path, model=FakeModel(), relevance=clipped) as writer:
                writer.index(rebuild=True)
        return open_index(name, options, create=create, **arguments)

    monkeypatch.setattr(index_room, "open_index", rebuild_first)
    assert best(reader, "red") == "red"
    assert len(rebuilds) == 1
    assert not rebuilds[0].exists()
    assert attempts.call_count == 2


@pytest.mark.parametrize("error", [KeyError(4096), FileNotFoundError("vectors"), IndexMissing("replaced")])
@pytest.mark.parametrize("failures", [1, 2])
def test_rows_that_vanish_are_read_again_from_a_fresh_index(reader, attempts, monkeypatch, error, failures):
    get, opened = FlatIndex.get, []
    remaining = [error] * failures

    def vanishing(index, ids):
        opened.append(index)
        if remaining:
            raise remaining.pop()
        return get(index, ids)

    monkeypatch.setattr(FlatIndex, "get", vanishing)
    assert best(reader, "red") == "red"
    assert attempts.call_count == failures + 1
    assert len(set(map(id, opened))) == failures + 1  # what was open is closed and opened again


def test_rows_that_never_come_back_end_in_one_line_after_three_attempts(reader, attempts, monkeypatch):
    monkeypatch.setattr(FlatIndex, "get", Mock(side_effect=KeyError(4096)))
    with pytest.raises(LibraryBusy, match=r"disagree, 3 times in a row; .*search again, or put it right") as raised:
        reader.search("red")
    assert attempts.call_count == 3
    assert "\n" not in str(raised.value)
    assert str(reader.path) in str(raised.value)
    assert isinstance(raised.value.__cause__, KeyError)


def test_vectors_that_are_lost_say_so_after_three_attempts(reader, attempts):
    shutil.rmtree(reader.path / "vectors")
    with pytest.raises(IndexMissing, match="no vector index is here; make one"):
        reader.search("red")
    assert attempts.call_count == 3


def test_a_search_after_a_failed_one_works(reader, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(FlatIndex, "get", Mock(side_effect=KeyError(4096)))
        with pytest.raises(LibraryBusy):
            reader.search("red")
    assert best(reader, "red") == "red"


# How a changed state is noticed


READS = {
    "search": lambda index: index.search(np.zeros((1, 4), np.float32), 1, Filter()),
    "get": lambda index: index.get(np.array([4096])),
    "ids": lambda index: index.ids(),
    "count": lambda index: index.count(Filter()),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("error", [FileNotFoundError("gone"), IndexMissing("gone")])
def test_every_read_notices_that_the_index_is_gone(read, error):
    with pytest.raises(StateChanged) as raised:
        READS[read](ReadIndex(Mock(**{f"{read}.side_effect": error})))
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("read", sorted(READS.keys() - {"get"}))
def test_only_get_takes_an_unknown_id_for_a_change(read):
    with pytest.raises(KeyError):
        READS[read](ReadIndex(Mock(**{f"{read}.side_effect": KeyError("a bug")})))


@pytest.mark.parametrize("read", READS)
def test_other_errors_of_an_index_pass(read):
    with pytest.raises(UsageError, match="at least 1 row") as raised:
        READS[read](ReadIndex(Mock(**{f"{read}.side_effect": UsageError("at least 1 row")})))
    assert not isinstance(raised.value, IndexMissing)


def test_an_index_is_read_as_it_is():
    index = Mock(dim=4, fingerprint="made-by-a")
    index.search.return_value, index.get.return_value = "scores and ids", "vectors"
    index.ids.return_value, index.count.return_value, index.delete.return_value = "ids", 7, 1
    read = ReadIndex(index)
    assert (read.dim, read.fingerprint) == (4, "made-by-a")
    assert read.search("queries", 3, "filter") == "scores and ids"
    index.search.assert_called_once_with("queries", 3, "filter")
    assert read.get("some ids") == "vectors"
    assert read.ids() == "ids"
    assert read.count("filter") == 7
    index.count.assert_called_once_with("filter")
    assert read.delete("some ids") == 1
    read.add("ids", "vectors")
    index.add.assert_called_once_with("ids", "vectors")
    read.upsert("ids", "vectors")
    index.upsert.assert_called_once_with("ids", "vectors")
    read.flush()
    read.close()
    index.flush.assert_called_once_with()
    index.close.assert_called_once_with()


def test_a_calibration_that_fails_leaves_no_index_open(reader, monkeypatch):
    close = Mock()
    monkeypatch.setattr(ReadIndex, "close", close)
    monkeypatch.setattr(reader._reader, "_calibrate", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        reader.search("red")
    assert close.call_count == 1


def test_the_open_index_is_kept_until_somebody_writes(folder, library, reader, monkeypatch):
    opens = Mock(wraps=index_room.open_index)
    monkeypatch.setattr(index_room, "open_index", opens)
    for _ in range(3):
        reader.search("red")
    assert opens.call_count == 1
    library.remove(folder / "part0" / "red.mp4")
    opens.reset_mock()
    reader.search("red")
    reader.search("red")
    assert opens.call_count == 1


def test_the_model_of_a_named_library_is_loaded_once(folder, library, monkeypatch):
    from mmi_tvr import models

    library.index(folder)
    make = Mock(side_effect=lambda section, device: FakeModel())
    monkeypatch.setattr(models, "make", make)
    with Library(library.path, relevance=clipped) as reader:
        reader.search("red")
        library.remove(folder / "part0" / "red.mp4")
        reader.search("blue")  # the catalogue has changed, the model has not
        assert make.call_count == 1
        reader.close()
        reader.search("blue")
        assert make.call_count == 2


def test_the_model_that_indexed_also_searches(folder, library, monkeypatch):
    from mmi_tvr import models

    make = Mock(side_effect=lambda section, device: FakeModel())
    monkeypatch.setattr(models, "make", make)
    with Library(library.path, settings=Settings(model=Section(name="label_bridge")), relevance=clipped) as fresh:
        fresh.index(folder)
        fresh.search("red")
    assert make.call_count == 1


def test_a_loaded_model_is_kept_for_its_own_vectors_alone(reader):
    reader.search("red")
    catalogue = reader._reader.catalogue()
    models = reader._models
    assert models.maker_of(catalogue.meta("fingerprint")) is models.latest.model
    assert models.maker_of("of-another") is None


def test_a_reranker_is_built_again_when_its_section_or_model_changes(reader, monkeypatch):
    model, catalogue = FakeModel(), reader._reader.catalogue()
    loaded = LoadedModel(model, plugins.build("keyimages", "uniform"), "fingerprint", Section(name="uniform"))
    monkeypatch.setattr(Components, "load", lambda components: loaded)
    build = Mock(side_effect=lambda *arguments, **context: object())
    monkeypatch.setattr(plugins, "build", build)
    first = reader._reader.reranker(catalogue, model, True)
    assert reader._reader.reranker(catalogue, model, True) is first
    assert reader._reader.reranker(catalogue, model, None) is None  # the library's settings do not want it
    assert reader._reader.reranker(catalogue, model, False) is None
    catalogue.set_meta(rerank={"name": "skeleton", "depth": 3})
    second = reader._reader.reranker(catalogue, model, None)
    assert second is not first
    assert build.call_args.args[2]["depth"] == 3
    assert reader._reader.reranker(catalogue, model, False) is None
    third = reader._reader.reranker(catalogue, FakeModel(), None)
    assert third is not second
    assert build.call_count == 3


def test_a_video_that_is_forgotten_while_it_is_looked_up_starts_the_search_again(reader, monkeypatch):
    reader.search("red")
    catalogue = reader._reader.catalogue()
    [number, *_] = catalogue.searchable()
    loaded = reader._models.latest
    lookup = VideoLookup(reader.path / "features", lambda: catalogue, loaded.model, loaded.key_image_method)
    assert list(lookup([number])) == [number]
    monkeypatch.setattr(Catalogue, "hashes_of", lambda catalogue, numbers: {})
    with pytest.raises(StateChanged, match=f"video {number} was forgotten"):
        lookup([number])


def test_settings_of_a_reader_do_not_change_a_library(reader):
    with Library(reader.path, model=FakeModel(), settings=Settings(device="cpu"), relevance=clipped) as second:
        assert best(second, "green") == "green"
