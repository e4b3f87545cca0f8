"""The parts of the Milvus index that need no server: schema, notes, and what a client that only records is asked."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from indexes import DIM, unit

from mmi_tvr import index as index_room
from mmi_tvr.errors import IndexMismatch, IndexMissing, MmiTvrError, UsageError
from mmi_tvr.index import _milvus_client, _milvus_folder, _milvus_plan, milvus
from mmi_tvr.index._milvus_schema import filter_expression, maker, to_rows, unless_one
from mmi_tvr.types import Filter, row_ids

DESCRIPTION = {
    "description": "mmi_tvr.fingerprint=made-by-a",
    "properties": {"mmi_tvr.fingerprint": "made-by-a"},
    "fields": [{"name": "id", "params": {}}, {"name": "vector", "params": {"dim": str(DIM)}}],
}


@pytest.fixture
def client(monkeypatch):
    """A client of a server that has the collection films_one, is empty and knows no alias."""
    from pymilvus import MilvusException

    recorded = Mock()
    recorded.has_collection.side_effect = lambda name: name == "films_one"
    recorded.describe_alias.side_effect = MilvusException(1600, "alias not found")
    recorded.describe_collection.return_value = DESCRIPTION
    recorded.list_indexes.return_value = ["vector"]
    recorded.describe_index.return_value = {"index_type": "FLAT", "total_rows": 0, "pending_index_rows": 0}
    recorded.query.return_value = [{"count(*)": 0}]
    monkeypatch.setattr(milvus, "connect", lambda uri, timeout, create: recorded)
    monkeypatch.setattr(milvus, "disconnect", lambda client, uri: client.close())
    return recorded


def opened(tmp_path, folder="one", dim=DIM, fingerprint="made-by-a", create=True, **options):
    values = {"uri": "http://127.0.0.1:1", "collection": "films", **options}
    return milvus.MilvusIndex(milvus.Options(**values), tmp_path / folder, dim, fingerprint, create)


# Schema


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        (None, ""),
        (Filter(), ""),
        (Filter(level="video"), "moment < 0"),
        (Filter(level="moment"), "moment >= 0"),
        (Filter(videos=frozenset({7, 3})), "video in [3, 7]"),
        (Filter(videos=frozenset()), "video in []"),  # nothing passes
        (Filter(level="video", videos=frozenset({5})), "moment < 0 and video in [5]"),
    ],
)
def test_filters_in_the_language_of_milvus(where, expression):
    assert filter_expression(where) == expression


def test_a_filter_of_no_level_is_refused():
    with pytest.raises(UsageError, match="level is 'video' or 'moment', not 'clip'"):
        filter_expression(Filter(level="clip"))


def test_rows_carry_video_and_moment_of_their_ids():
    vectors = unit(3)
    rows = to_rows(row_ids(5, 2), vectors)
    assert [(row["id"], row["video"], row["moment"]) for row in rows] == [
        (5 << 12, 5, -1), ((5 << 12) + 1, 5, 0), ((5 << 12) + 2, 5, 1),
    ]  # fmt: skip
    assert all(type(row[name]) is int for row in rows for name in ("id", "video", "moment"))
    assert all((row["vector"] == vector).all() for row, vector in zip(rows, vectors, strict=True))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("made-by-a", DIM)),
        ({"properties": {}}, ("made-by-a", DIM)),
        ({"description": ""}, ("made-by-a", DIM)),
        ({"description": "", "properties": {}}, None),
        ({"description": "films of a stranger", "properties": {}}, None),
        ({"fields": [{"name": "id", "params": {}}]}, None),
        ({"properties": {"mmi_tvr.fingerprint": "made-by-b"}}, ("made-by-b", DIM)),
    ],
)
def test_the_maker_stands_in_properties_or_description(change, expected):
    assert maker({**DESCRIPTION, **change}) == expected


def test_only_counts_above_one_are_sent():
    assert unless_one(num_shards=1, replica_number=3) == {"replica_number": 3}


# Opening, and the name


def test_a_new_collection_is_noted_before_it_is_made(client, tmp_path):
    def noted(name, **arguments):
        assert _milvus_folder.read_note(tmp_path / "two") == ("http://127.0.0.1:1", "films_two")

    client.create_collection.side_effect = noted
    index = opened(tmp_path, "two", shards=2, replicas=3)
    assert index.collection == "films_two"
    [call] = client.create_collection.call_args_list
    assert call.kwargs["num_shards"] == 2
    assert call.kwargs["consistency_level"] == "Strong"
    assert call.kwargs["properties"] == {"mmi_tvr.fingerprint": "made-by-a"}
    client.load_collection.assert_called_once_with("films_two", replica_number=3)


def test_a_name_is_of_letters_digits_and_underscores(client, tmp_path):
    client.has_collection.side_effect = lambda name: False
    assert opened(tmp_path, "a-b.c").collection == "films_a_b_c"
    assert len(opened(tmp_path, "x" * 250).collection) == 255


def test_a_collection_of_another_maker_is_refused_and_the_connection_closed(client, tmp_path):
    with pytest.raises(IndexMismatch, match="collection films_one: its vectors were made by made-by-a"):
        opened(tmp_path, fingerprint="made-by-b")
    with pytest.raises(IndexMismatch, match=r"\(16-d\), not by made-by-a \(8-d\)"):
        opened(tmp_path, dim=8)
    assert client.close.call_count == 2


def test_nothing_under_the_name_is_missing(client, tmp_path):
    with pytest.raises(IndexMissing, match="collection films: no vector index is here"):
        opened(tmp_path, "two", create=False)
    client.create_collection.assert_not_called()


def test_a_reader_without_the_folder_gets_what_the_name_means(client, tmp_path):
    client.describe_alias.side_effect = lambda name: {"collection_name": {"films": "films_one"}[name]}
    assert opened(tmp_path, "two", create=False).collection == "films_one"


def test_another_library_s_name_is_refused_and_the_own_one_is_not(client, tmp_path):
    client.describe_alias.side_effect = lambda name: {"collection_name": "films_zero"}
    with pytest.raises(UsageError, match="collection films belongs to another library"):
        opened(tmp_path, "two")
    _milvus_folder.write_note(tmp_path / "zero", "http://127.0.0.1:1", "films_zero")
    assert opened(tmp_path, "two").collection == "films_two"


# Publishing


def test_publishing_seals_what_was_written_and_names_it(client, tmp_path):
    index = opened(tmp_path)
    index.upsert(np.arange(2), unit(2))
    index.publish()
    client.flush.assert_called_once_with("films_one")
    client.create_alias.assert_called_once_with("films_one", "films")
    client.alter_alias.assert_not_called()
    client.create_index.assert_not_called()  # FLAT suits an empty collection
    index.publish()
    assert client.flush.call_count == 1  # nothing was written since


def test_publishing_moves_a_name_of_this_library(client, tmp_path):
    _milvus_folder.write_note(tmp_path / "zero", "http://127.0.0.1:1", "films_zero")
    client.describe_alias.side_effect = lambda name: {"collection_name": "films_zero"}
    index = opened(tmp_path)
    index.publish()
    client.alter_alias.assert_called_once_with("films_one", "films")
    client.flush.assert_not_called()


def test_publishing_never_takes_the_name_of_another_library(client, tmp_path):
    index = opened(tmp_path)
    client.describe_alias.side_effect = lambda name: {"collection_name": "films_strange"}
    with pytest.raises(UsageError, match="belongs to another library"):
        index.publish()
    client.alter_alias.assert_not_called()


@pytest.mark.parametrize(
    ("named", "present", "count", "built"),
    [
        ("films_one", "FLAT", 60_000, "HNSW"),
        ("films_one", "FLAT", 100, None),
        ("films_one", "HNSW", 100, None),  # a published one keeps its index
        ("films_zero", "HNSW", 100, "FLAT"),
        ("films_zero", "HNSW", 60_000, None),
    ],
)
def test_the_index_suits_the_size_when_a_collection_gets_its_name(client, tmp_path, named, present, count, built):
    _milvus_folder.write_note(tmp_path / "zero", "http://127.0.0.1:1", "films_zero")
    client.describe_alias.side_effect = lambda name: {"collection_name": named}
    client.describe_index.return_value = {"index_type": present}
    client.query.return_value = [{"count(*)": count}]
    index = opened(tmp_path)
    index.publish()
    added = [call.kwargs["index_type"] for call in client.prepare_index_params.return_value.add_index.call_args_list]
    assert added == ([] if built is None else [built])
    assert client.create_index.call_count == len(added)
    assert client.drop_index.call_count == len(added)


def test_milvus_lite_stays_exact_unless_an_index_is_named(client, tmp_path):
    assert opened(tmp_path, uri=None)._suitable_plan(10**6).index_type == "FLAT"
    assert opened(tmp_path, uri=None, index_type="HNSW")._suitable_plan(10**6).index_type == "HNSW"
    assert opened(tmp_path)._suitable_plan(10**6).index_type == "HNSW"
    assert opened(tmp_path, memory_gb=0.001)._suitable_plan(10**6).index_type == "DISKANN"


def test_an_index_that_does_not_grow_is_one_line(client, tmp_path, monkeypatch):
    index = opened(tmp_path)
    client.describe_index.return_value = {"index_type": "FLAT", "pending_index_rows": 5}
    clock = iter(range(0, 10**6, 400))
    monkeypatch.setattr(milvus, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None))
    with pytest.raises(MmiTvrError, match=r"films_one: its index does not grow \(5 vectors for 800 s\)"):
        index.publish()


def test_a_large_segment_that_takes_long_is_waited_for(client, tmp_path, monkeypatch):
    index = opened(tmp_path)
    pending = [*[1_000_000] * 25, 0]  # 10,000 seconds, 400 each
    client.describe_index.side_effect = [{"index_type": "FLAT", "pending_index_rows": rows} for rows in pending]
    client.describe_index.reset_mock()
    clock = iter(range(0, 10**6, 400))
    monkeypatch.setattr(milvus, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None))
    index._wait_for_index()
    assert client.describe_index.call_count == len(pending)


def test_an_index_that_grows_is_waited_for(client, tmp_path, monkeypatch):
    index = opened(tmp_path)
    states = [{"index_type": "FLAT", "pending_index_rows": rows} for rows in (9, 7, 5, 3, 0)]
    client.describe_index.reset_mock()
    client.describe_index.side_effect = states
    clock = iter(range(0, 10**6, 400))
    monkeypatch.setattr(milvus, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None))
    index.publish()
    assert client.describe_index.call_count == len(states)


# Rows


@pytest.mark.parametrize(("dim", "messages"), [(DIM, 3), (2048, 6)])
def test_writes_go_in_messages_that_a_server_takes(client, tmp_path, dim, messages):
    client.describe_collection.return_value = {
        **DESCRIPTION,
        "fields": [{"name": "vector", "params": {"dim": dim}}],
    }
    index = opened(tmp_path, dim=dim)
    vectors = np.zeros((22_001, dim), np.float32)
    vectors[:, 0] = 1
    index.upsert(np.arange(len(vectors)), vectors)
    sent = [call.args[1] for call in client.upsert.call_args_list]
    assert len(sent) == messages
    assert max(map(len, sent)) * 4 * dim <= 32 << 20
    assert [row["id"] for rows in sent for row in rows] == list(range(len(vectors)))


def test_adding_a_stored_id_sends_nothing(client, tmp_path):
    index = opened(tmp_path)
    client.get.return_value = [{"id": 1}]
    with pytest.raises(UsageError, match="id 1 is in the index already"):
        index.add(np.arange(2), unit(2))
    client.insert.assert_not_called()
    client.get.return_value = []
    index.add(np.arange(2), unit(2))
    assert client.insert.call_count == 1


def test_a_filtered_answer_that_is_short_is_scanned_for_what_there_is(client, tmp_path):
    index = opened(tmp_path)
    vectors = unit(4)
    client.search.return_value = [[{"id": 0, "distance": 1.0}]] * 2
    client.query.return_value = [{"count(*)": 3}]
    pages = Mock()
    pages.next.side_effect = [[{"id": number, "vector": vectors[number]} for number in (0, 1, 2)], []]
    client.query_iterator.return_value = pages
    where = Filter(level="video")
    _, ids = index.search(vectors[:2], 4, where)
    assert sorted(ids[0]) == sorted(ids[1]) == [-1, 0, 1, 2]
    assert client.query.call_args.args[1] == "moment < 0"
    assert client.query_iterator.call_args.kwargs["filter"] == "moment < 0"
    client.query_iterator.reset_mock()
    client.query.return_value = [{"count(*)": 1}]  # there is no more
    _, ids = index.search(vectors[:2], 4, where)
    assert ids.tolist() == [[0, -1, -1, -1]] * 2
    client.query_iterator.assert_not_called()


def test_one_short_query_is_enough_to_scan(client, tmp_path):
    index = opened(tmp_path)
    vectors = unit(2)
    client.search.return_value = [[{"id": 0, "distance": 1.0}, {"id": 1, "distance": 0.0}], []]
    client.query.return_value = [{"count(*)": 2}]
    pages = Mock()
    pages.next.side_effect = [[{"id": number, "vector": vectors[number]} for number in (0, 1)], []]
    client.query_iterator.return_value = pages
    assert index.search(vectors, 2)[1].tolist() == [[0, 1], [1, 0]]


def test_a_server_is_not_flushed_at_every_turn(client, tmp_path):
    opened(tmp_path).flush()
    client.flush.assert_not_called()


# Effort, and the note


@pytest.mark.parametrize(
    ("index_type", "limit", "expected"),
    [
        ("HNSW", 10, {"ef": 256}),
        ("HNSW", 300, {"ef": 300}),
        ("DISKANN", 10, {"search_list": 256}),
        ("DISKANN", 300, {"search_list": 300}),
        ("IVF_FLAT", 10, {"nprobe": 8}),
        ("FLAT", 10, {}),
    ],
)
def test_effort_is_at_least_as_wide_as_the_answer(index_type, limit, expected):
    assert _milvus_plan.effort(index_type, limit, 256, 128, 1 / 16) == expected


def test_effort_looks_into_one_cell_at_least_and_all_at_most():
    assert _milvus_plan.effort("IVF_SQ8", 1, 256, 4, 0.01) == {"nprobe": 1}
    assert _milvus_plan.effort("IVF_SQ8", 1, 256, 4, 1) == {"nprobe": 4}


def test_few_vectors_are_compared_one_by_one_on_a_server():
    assert _milvus_plan.choose_milvus_plan(50_000, 768, 1.0).index_type == "FLAT"
    assert _milvus_plan.choose_milvus_plan(50_001, 768, 64e9).index_type == "HNSW"


def test_discarding_drops_names_then_the_collection_then_the_folder(client, tmp_path, monkeypatch):
    monkeypatch.setattr(_milvus_folder, "connect", lambda uri, timeout, create: client)
    monkeypatch.setattr(_milvus_folder, "disconnect", lambda client, uri: client.close())
    client.list_aliases.return_value = {"aliases": ["films", "cinema"]}
    _milvus_folder.write_note(tmp_path / "one", "http://127.0.0.1:1", "films_one")
    index_room.discard(tmp_path / "one")
    names = [call[0] for call in client.mock_calls if call[0].startswith("drop")]
    assert names == ["drop_alias", "drop_alias", "drop_collection"]
    client.drop_collection.assert_called_once_with("films_one")
    client.close.assert_called_once_with()
    assert not (tmp_path / "one").exists()


def test_a_damaged_note_is_one_line(tmp_path):
    (tmp_path / "milvus.json").write_text("{")
    with pytest.raises(UsageError, match=r"milvus.json: not readable"):
        _milvus_folder.read_note(tmp_path)


def test_errors_of_milvus_are_one_line():
    from pymilvus import MilvusException

    with pytest.raises(IndexMissing, match="no vector index is here"), _milvus_client.milvus_errors("http://x"):
        raise MilvusException(100, "collection not found")
    with (
        pytest.raises(MmiTvrError, match="http://x: Milvus says: two lines; check") as raised,
        _milvus_client.milvus_errors("http://x"),
    ):
        raise MilvusException(1, "two\n  lines")
    assert not isinstance(raised.value, IndexMissing)


def test_the_last_of_several_clients_frees_the_database(monkeypatch):
    release = Mock()
    monkeypatch.setattr(
        _milvus_client, "require", lambda module, extra: SimpleNamespace(server_manager_instance=release)
    )
    monkeypatch.setattr(_milvus_client, "_open_lite", _milvus_client.Counter({"/x/milvus.db": 2}))
    _milvus_client.disconnect(Mock(), "/x/milvus.db")
    release.release_server.assert_not_called()
    _milvus_client.disconnect(Mock(), "/x/milvus.db")
    release.release_server.assert_called_once_with("/x/milvus.db")
    _milvus_client.disconnect(Mock(), "http://x")
    assert release.release_server.call_count == 1


def test_milvus_lite_says_where_it_cannot_write(tmp_path, monkeypatch):
    pytest.importorskip("milvus_lite")
    (tmp_path / "milvus.db").mkdir()
    monkeypatch.setattr(_milvus_client.os, "access", lambda path, mode: False)
    with pytest.raises(MmiTvrError, match="writes where it reads, and cannot write here"):
        _milvus_client.connect(str(tmp_path / "milvus.db"), 1.0, create=False)
