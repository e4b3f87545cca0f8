"""Milvus, held to flat: Milvus Lite by path and over http, and a real server if MMI_TVR_MILVUS has its address."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import picture_files
import pytest
from fakes import COLOURS, FakeChannel, FakeModel, clipped, colour_video
from indexes import DIM, collection, naive, opened, recall, unit
from media_files import make_sound
from PIL import Image

from mmi_tvr import index as indexes_room
from mmi_tvr.config import Section, Settings
from mmi_tvr.errors import IndexMismatch, MmiTvrError, UsageError
from mmi_tvr.index import _milvus_folder, _milvus_plan, milvus
from mmi_tvr.library import Library
from mmi_tvr.types import Filter

REAL = "MMI_TVR_MILVUS"


@pytest.fixture(scope="module", params=["lite", "real"])
def address(request, tmp_path_factory) -> Iterator[str]:
    """The address of a server. Milvus Lite speaks a server's protocol; asked over http, it is one for us."""
    if request.param == "real":
        if REAL not in os.environ:
            pytest.skip(f"set {REAL} to the address of a Milvus server, and MILVUS_TOKEN if it wants one")
        yield os.environ[REAL]
        return
    from milvus_lite.server_manager import server_manager_instance as server

    path = str(tmp_path_factory.mktemp("milvus") / "server.db")
    yield server.start_and_get_uri(path)
    server.release_server(path)


@pytest.fixture
def films(address, tmp_path) -> Iterator[Callable[..., milvus.MilvusIndex]]:
    """Opens the index in a folder of the library, under a name that nobody else has; all is dropped in the end."""
    name = f"films_{uuid.uuid4().hex[:8]}"
    indexes = []

    def opener(folder: str, **options) -> milvus.MilvusIndex:
        indexes.append(opened("milvus", tmp_path / folder, **{"uri": address, "collection": name, **options}))
        return indexes[-1]

    yield opener
    for index in indexes:
        index.close()
    for note in tmp_path.glob("*/milvus.json"):
        _milvus_folder.discard(note.parent)


class TestServer:
    def test_against_flat(self, films, tmp_path):
        ids, vectors, queries = collection(60), unit(300, seed=2), unit(5, seed=3)
        flat, server = opened("flat", tmp_path / "flat"), films("one")
        for index in (flat, server):
            index.add(ids, vectors)
            index.delete(ids[::9])
            index.upsert(ids[5:50], vectors[:45])
        server.publish()
        for where in (None, Filter(level="video"), Filter(videos=frozenset({3, 11}))):
            expected, answer = flat.search(queries, 10, where), server.search(queries, 10, where)
            np.testing.assert_allclose(answer[0], expected[0], atol=1e-5)
            assert (answer[1] == expected[1]).all()
            assert server.count(where) == flat.count(where)
        assert (server.ids() == flat.ids()).all()
        np.testing.assert_allclose(server.get(ids[1:7]), flat.get(ids[1:7]))
        flat.close()

    def test_l2_orders_unit_vectors_as_the_inner_product_does(self, films, address):
        """|q - v|^2 = 2 - 2 q.v, so a collection by the distance that others use gives the same hits."""
        from pymilvus import MilvusClient

        ids, vectors, queries = collection(40), unit(200, seed=2), unit(5, seed=3)
        index = films("one")
        index.add(ids, vectors)
        scores, order = index.search(queries, 10)
        client = MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""))
        name = f"l2_{uuid.uuid4().hex[:8]}"
        client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
        rows = [{"id": int(id_), "vector": vector} for id_, vector in zip(ids, vectors, strict=True)]
        client.insert(name, rows)
        answers = client.search(name, data=list(queries), limit=10, output_fields=["id"])
        client.drop_collection(name)
        client.close()
        assert [[hit["id"] for hit in hits] for hits in answers] == order.tolist()
        distances = [[hit["distance"] for hit in hits] for hits in answers]
        np.testing.assert_allclose(distances, 2 - 2 * scores, atol=1e-5)

    def test_the_name_means_what_was_published(self, films, monkeypatch):
        monkeypatch.setenv("MILVUS_TOKEN", os.environ.get("MILVUS_TOKEN", "someone:secret"))
        ids, vectors = collection(20), unit(100)
        first = films("one")
        first.add(ids, vectors)
        with pytest.raises(UsageError, match="no vector index is here"):
            films("elsewhere", create=False)
        first.publish()
        reader = films("elsewhere", create=False)
        assert reader.search(vectors[:20], 1)[1].ravel().tolist() == ids[:20].tolist()
        with pytest.raises(IndexMismatch, match="made by made-by-a"):
            films("elsewhere", create=False, fingerprint="made-by-b")

    def test_a_second_collection_is_filled_while_the_first_answers(self, films, tmp_path):
        ids, old, new = collection(20), unit(100), unit(100, seed=1)
        first = films("one")
        first.add(ids, old)
        first.publish()
        second = films("two", fingerprint="made-by-b")
        assert second.count() == 0
        second.add(ids, new)
        second.flush()
        reader = films("elsewhere", create=False)
        assert reader.search(old[:1], 1)[1].tolist() == [[ids[0]]]
        assert films("two", fingerprint="made-by-b").count() == 100  # after a kill, the same one goes on
        second.publish()
        second.publish()
        assert films("elsewhere", create=False, fingerprint="made-by-b").search(new[:1], 1)[1].tolist() == [[ids[0]]]
        assert first.count() == 100  # still there for whoever has it open
        indexes_room.discard(tmp_path / "one")
        assert not (tmp_path / "one").exists()
        with pytest.raises(UsageError, match="no vector index is here"):
            first.count()
        assert second.count() == 100

    def test_one_name_is_for_one_library(self, films, tmp_path):
        first = films("one")
        first.publish()
        with pytest.raises(UsageError, match="belongs to another library; choose another name"):
            opened("milvus", tmp_path / "others" / "x", uri=first.uri, collection=first.options.collection)
        assert not (tmp_path / "others").exists()

    def test_a_name_that_is_a_collection(self, films, address, tmp_path):
        from pymilvus import MilvusClient

        first = films("one")
        with pytest.raises(UsageError, match=r"there is a collection .* already"):
            opened("milvus", tmp_path / "x", uri=address, collection=first.collection)
        client = MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""))
        name = f"foreign_{uuid.uuid4().hex[:8]}"
        client.create_collection(f"{name}_x", dimension=DIM)
        with pytest.raises(UsageError, match="is not one of ours"):
            opened("milvus", tmp_path / "x", uri=address, collection=name)
        client.drop_collection(f"{name}_x")
        client.close()

    @pytest.mark.parametrize("kind", ["HNSW", "IVF_FLAT", "IVF_SQ8", "DISKANN"])
    def test_kinds(self, films, address, kind, request, monkeypatch):
        if kind == "DISKANN" and "lite" in request.node.callspec.id:
            pytest.skip("Milvus Lite has no DISKANN")
        monkeypatch.setattr(milvus, "_PATIENCE", 120.0)
        ids, vectors = collection(400), unit(2_000, seed=4)
        index = films("one", index_type=kind, probe=0.5)
        index.add(ids, vectors)
        try:
            index.publish()
        except MmiTvrError as error:
            if kind == "DISKANN" and "does not grow" in str(error):
                pytest.skip("this server cannot build DISKANN, such as the one of the package `milvus`")
            raise
        expected = naive(dict(zip(ids, vectors, strict=True)), vectors[:30], 10)
        assert recall(index.search(vectors[:30], 10)[1], expected[1]) > 0.8
        assert (index.search_exact(3 * vectors[:5], 10)[1] == expected[1][:5]).all()
        assert index._index_type == kind
        index.add(np.array([9_999_999]), unit(1, seed=9))
        assert index.search(unit(1, seed=9), 1)[1].tolist() == [[9_999_999]]

    def test_auto_outgrows_flat(self, films, monkeypatch):
        monkeypatch.setattr(_milvus_plan, "EXACT_ROWS", 100)
        index = films("one")
        index.add(collection(10), unit(50))
        index.publish()
        assert index._index_type == "FLAT"
        index.add(np.arange(10_000_000, 10_000_100), unit(100, seed=1))
        index.publish()
        assert index._index_type == "HNSW"
        assert films("one").search(unit(100, seed=1)[7:8], 1)[1].tolist() == [[10_000_007]]

    def test_no_server_leaves_the_folder(self, tmp_path):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "milvus.json").write_text('{"uri": "http://127.0.0.1:1", "collection": "x"}')
        milvus_timeout = "mmi_tvr.index._milvus_folder._DISCARD_TIMEOUT"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(milvus_timeout, 0.5)
            indexes_room.discard(tmp_path / "old")
        assert (tmp_path / "old").is_dir()


class TestPlan:
    @pytest.mark.parametrize("dim", [96, 384, 768, 2048])
    def test_no_choice_is_larger_than_the_memory(self, dim):
        """The bigger, the thriftier, and within the memory until nothing is thriftier."""
        plans = [_milvus_plan.choose_milvus_plan(10**power, dim, 64e9) for power in range(1, 10)]
        order = ["FLAT", "HNSW", "IVF_SQ8", "DISKANN"]
        ranks = [order.index(plan.index_type) for plan in plans]
        assert ranks == sorted(ranks)
        assert plans[0].index_type == "FLAT"
        assert plans[-1].index_type == "DISKANN"
        for power, plan in enumerate(plans, 1):
            assert plan.index_type == "DISKANN" or 10**power * plan.memory <= 64e9

    @pytest.mark.parametrize("kind", _milvus_plan.INDEX_TYPES)
    @pytest.mark.parametrize("count", [0, 1, 10**4, 10**9])
    def test_parameters_lie_in_their_ranges(self, kind, count):
        """As Milvus documents them."""
        for dim in (2, 250, 257, 768):
            plan = _milvus_plan.milvus_plan(kind, count, dim)
            assert 1 <= plan.build.get("nlist", 1) <= 65_536
            assert dim % plan.build.get("m", 1) == 0
            assert plan.memory > 0
            for limit in (1, 10, 16_384):
                effort = _milvus_plan.effort(kind, limit, 256, plan.build.get("nlist", 1), 1 / 16)
                assert effort.get("ef", limit) >= limit
                assert 1 <= effort.get("nprobe", 1) <= plan.build.get("nlist", 1)

    def test_an_hnsw_graph_is_as_large_as_said(self):
        """Against the file that faiss writes for the same links."""
        import faiss

        graph = faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
        graph.add(unit(3_000))
        size = faiss.serialize_index(graph).nbytes / 3_000
        planned = _milvus_plan.milvus_plan("HNSW", 3_000, DIM).memory - _milvus_plan.FIELDS
        assert planned == pytest.approx(size, rel=0.1)


class TestLite:
    def test_against_flat(self, tmp_path):
        ids, vectors, queries = collection(150), unit(750, seed=2), unit(5, seed=3)
        flat, lite = opened("flat", tmp_path / "flat"), opened("milvus", tmp_path / "milvus")
        for index in (flat, lite):
            index.add(ids, vectors)
            index.delete(ids[::9])
            index.upsert(ids[5:50], vectors[:45])
        for where in (
            None,
            Filter(level="video"),
            Filter(videos=frozenset({3, 11})),
            Filter(videos=frozenset(range(80))),
        ):
            expected, answer = flat.search(queries, 10, where), lite.search(queries, 10, where)
            np.testing.assert_allclose(answer[0], expected[0], atol=1e-6)
            assert (answer[1] == expected[1]).all()
            assert lite.count(where) == flat.count(where)
        assert (lite.ids() == flat.ids()).all()
        flat.close()
        lite.close()

    def test_graph_never_returns_fewer_than_there_are(self, tmp_path):
        index = opened("milvus", tmp_path, index_type="HNSW", ef_search=8)
        ids, vectors = collection(200), unit(1_000)
        index.add(ids, vectors)
        index.publish()
        assert index._index_type == "HNSW"
        where = Filter(videos=frozenset({3, 50, 199}))
        expected = naive(dict(zip(ids, vectors, strict=True)), unit(2, seed=1), 15, where)
        assert (index.search(unit(2, seed=1), 15, where)[1] == expected[1]).all()
        assert (
            recall(index.search(vectors[:50], 10)[1], naive(dict(zip(ids, vectors, strict=True)), vectors[:50], 10)[1])
            > 0.95
        )
        index.close()

    def test_second_process_is_told_who_holds_it(self, tmp_path):
        index = opened("milvus", tmp_path)
        code = (
            "import sys; from mmi_tvr import plugins; from mmi_tvr.errors import LibraryBusy\n"
            "try: plugins.build('index', 'milvus', path=sys.argv[1], dim=16, fingerprint='made-by-a').close()\n"
            "except LibraryBusy as error: print('busy:', error)\n"
            "else: print('open')"
        )
        run = [sys.executable, "-c", code, str(tmp_path)]
        busy = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120)
        assert busy.stdout.startswith("busy:")
        assert "another process" in busy.stdout
        assert busy.stdout.count("\n") == 1
        assert "Traceback" not in busy.stderr
        index.close()
        assert subprocess.run(run, check=True, capture_output=True, text=True, timeout=120).stdout == "open\n"

    def test_no_server_is_one_line(self, tmp_path):
        with pytest.raises(MmiTvrError, match=r"http://127.0.0.1:1: Milvus says: ") as caught:
            opened("milvus", tmp_path, uri="http://127.0.0.1:1", timeout=0.5)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            ("ftp://somewhere", r"http:// or https://, or is a path that ends in .db"),
            ("https://me:secret@somewhere", r"put them into \$MILVUS_TOKEN"),
        ],
    )
    def test_wrong_uri(self, tmp_path, uri, message):
        with pytest.raises(UsageError, match=message):
            opened("milvus", tmp_path, uri=uri)

    def test_someone_elses_collection(self, tmp_path):
        from pymilvus import MilvusClient

        index = opened("milvus", tmp_path)
        client = MilvusClient(index.uri)
        client.create_collection("other", dimension=DIM)
        with pytest.raises(UsageError, match="collection other is not one of ours"):
            opened("milvus", tmp_path, collection="other")
        client.close()
        index.close()

    def test_pages_beyond_a_window(self, tmp_path, monkeypatch):
        monkeypatch.setattr(milvus, "_WINDOW", 40)
        monkeypatch.setattr(milvus, "_PAGE", 30)
        index = opened("milvus", tmp_path)
        ids, vectors = collection(25), unit(125)
        index.add(ids, vectors)
        assert (index.ids() == ids).all()
        assert (index.get(ids) == vectors).all()
        assert (
            index.search(vectors[:2], 100)[1] == naive(dict(zip(ids, vectors, strict=True)), vectors[:2], 100)[1]
        ).all()
        index.close()


class TestLibraryOnAServer:
    @pytest.fixture
    def settings(self, address) -> Settings:
        name = f"films_{uuid.uuid4().hex[:8]}"
        return Settings(index=Section(name="milvus", uri=address, collection=name))

    def collections(self, settings) -> list[str]:
        from pymilvus import MilvusClient

        options = settings.index.options
        client = MilvusClient(options["uri"], token=os.environ.get("MILVUS_TOKEN", ""))
        names = [name for name in client.list_collections() if name.startswith(options["collection"])]
        client.close()
        return names

    def test_a_rebuild_fills_a_second_collection_and_drops_the_first(self, folder, tmp_path, settings):
        answers = []

        class Asks(FakeModel):
            def embed_videos(self, features):
                answers.append(
                    (reader.search("red", top=1)[0].path.stem, len(TestLibraryOnAServer().collections(settings)))
                )
                return super().embed_videos(features)

        path = tmp_path / "library"
        with Library(path, model=FakeModel(), settings=settings, relevance=clipped) as library:
            library.index(folder)
        before = self.collections(settings)
        assert len(before) == 1
        reader = Library(path, model=FakeModel(), relevance=clipped)
        with Library(path, model=Asks(head=2), relevance=clipped) as changed:
            changed.index(rebuild=True)
            assert changed.search("green", top=1)[0].path.stem == "green"
            named = opened(
                "milvus",
                tmp_path / "x",
                dim=changed._reader._state.searcher.index.dim,
                create=False,
                fingerprint=changed.status().fingerprint,
                **settings.index.options,
            )
            assert named.count() == changed._reader._state.searcher.index.count()
            named.close()
        reader.close()
        assert [name for name, _ in answers] == ["red"] * len(answers)
        after = self.collections(settings)
        assert len(after) == 1
        assert after != before
        with Library(path, model=FakeModel(), settings=Settings(index=Section(name="flat"))) as moved:
            moved.index(rebuild=True)
        assert self.collections(settings) == []

    def test_a_library_of_all_kinds_answers_as_one_on_flat(self, media, tmp_path, settings, monkeypatch):
        """What is seen and said, among items of some kinds, dates, folders, lengths and places."""
        speech = FakeChannel("heard")
        monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("mmi_tvr.channels.heard.build", lambda options: speech)
        monkeypatch.setattr("mmi_tvr.channels.heard.embed_queries", speech.embed_queries)
        answers = []
        for name, its_settings in (("flat", Settings(index=Section(name="flat"))), ("milvus", settings)):
            with Library(tmp_path / name, model=FakeModel(), settings=its_settings, relevance=clipped) as library:
                library.index(media, channels=["heard"])
                answers.append([self.hits(library, query, **options) for query, options, _ in self.searches(media)])
        [note] = (tmp_path / "milvus" / "vectors").glob("*/milvus.json")
        _milvus_folder.discard(note.parent)
        assert answers[0] == answers[1]
        assert "talk.m4a" in [hit[0] for hit in answers[0][8]]
        assert [len(hits) for hits in answers[0]] == [count for _, _, count in self.searches(media)]

    @staticmethod
    def hits(library: Library, query: str, **options) -> list[tuple]:
        hits = library.search(query, top=3, min_relevance=options.pop("min_relevance", 0), **options)
        return [(hit.path.name, round(hit.score, 3), hit.found_by, hit.start, len(hit.moments)) for hit in hits]

    @staticmethod
    def searches(media) -> list[tuple[str, dict, int]]:
        """Queries, options, and how many hits of three there are."""
        return [
            ("red", {}, 3),
            ("red", {"kind": "image"}, 1),
            ("red", {"kind": "audio"}, 1),
            ("red", {"since": "2024-02", "until": "2024-03-01"}, 1),
            ("red", {"since": "2024-02", "until": "2024-02-28"}, 0),
            ("red", {"folder": media / "films" / "blue.mp4"}, 1),
            ("red", {"place": "47.2,-8.5,30"}, 1),
            ("red", {"longer": 0.4, "kind": "video"}, 2),
            ("the ship is late", {"kind": "audio,video", "min_relevance": 0.5}, 2),
            ("green", {"kind": "video", "more": 3}, 2),
            ("red", {"without": "green", "kind": "video"}, 2),
        ]

    @pytest.fixture
    def media(self, tmp_path):
        """A red picture with date and place, a green and a blue film, and a recording in which something is said."""
        exif = picture_files.exif(e_36867="2024:02:29 12:30:00", e_36881="+02:00", g_1="N", g_2=(47.0, 15.0, 0.0))
        exif.get_ifd(0x8825).update({3: "W", 4: (8.0, 30.0, 0.0)})
        folder = tmp_path / "media"
        for colour in ("green", "blue"):
            colour_video(folder / "films" / f"{colour}.mp4", colour, seconds=0.5)
        Image.new("RGB", (64, 48), COLOURS["red"]).save(folder / "red.jpg", exif=exif)
        make_sound(folder / "talk.m4a", 2.0)
        (folder / "talk.said").write_text("0 the ship is late\n1 a talk about bees")
        return folder

    def test_two_libraries_do_not_share_a_name(self, folder, tmp_path, settings):
        with Library(tmp_path / "one", model=FakeModel(), settings=settings) as library:
            library.index(folder)
        with (
            Library(tmp_path / "two", model=FakeModel(), settings=settings) as library,
            pytest.raises(UsageError, match="belongs to another library"),
        ):
            library.index(folder)
        with Library(tmp_path / "one", model=FakeModel(), relevance=clipped) as library:
            assert library.search("red", top=1)[0].path.stem == "red"
            [folder_of_it] = (tmp_path / "one" / "vectors").iterdir()
        _milvus_folder.discard(folder_of_it)
        assert self.collections(settings) == []
