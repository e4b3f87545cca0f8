"""Searches of the service: by sentence, by item, by picture; how they wait, and what is remembered of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video
from PIL import Image
from serving import Client, served

from mmi_tvr import Query
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.queries import QueryMemory
from mmi_tvr.serve import search_queue, uploads
from mmi_tvr.serve.search_queue import Overloaded, SearchQueue


def without_seconds(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "seconds"}


class SeeingModel(FakeModel):
    """Knows colours in words and in pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = frozenset({"text", "pictures"})


@pytest.fixture(scope="module")
def seeing(films: Path) -> Iterator[Client]:
    with Library(films.parent / "seeing", model=SeeingModel()) as library:
        library.index(films)
        with served(library) as one:
            yield one


def test_a_search_answers_the_json_of_the_command_line(client: Client, opened: Library) -> None:
    reply = client.get("/api/search?q=red&top=2")
    assert reply.status == 200
    expected = json.loads(json.dumps(opened.search("red", top=2).as_dict()))
    assert without_seconds(reply.json()) == without_seconds(expected)
    posted = client.post("/api/search", {"query": "red", "top": 2})
    assert without_seconds(posted.json()) == without_seconds(expected)


def test_a_search_for_what_is_like_an_item(seeing: Client) -> None:
    first = seeing.get("/api/search?q=red&top=1").json()["hits"][0]
    like = seeing.get(f"/api/search?like={first['id']}@0.5&top=2&min_relevance=0").json()
    assert like["like"] == {"name": first["path"], "second": 0.5, "id": first["id"]}
    assert {Path(hit["path"]).stem for hit in like["hits"]} == {"red", "blue then red"}
    posted = seeing.post("/api/search", {"like": {"id": first["id"], "second": 0.5}, "top": 2, "min_relevance": 0})
    assert without_seconds(posted.json()) == without_seconds(like)
    assert seeing.get("/api/search?like=4711").status == 404
    assert "ID@SECONDS" in seeing.get("/api/search?like=red.mp4@1").json()["error"]
    assert seeing.get(f"/api/search?like={first['id']}@99").status == 422


def test_filters_over_http(client: Client) -> None:
    videos = client.get("/api/search?q=red&kind=video&longer=3&min_relevance=0").json()
    assert [Path(hit["path"]).stem for hit in videos["hits"]] == ["blue then red"]
    assert (videos["filters"], videos["among"]) == ({"kind": "video", "longer": "3 s"}, 1)
    body = {"query": "red", "kind": ["video"], "longer": 3, "min_relevance": 0}
    assert without_seconds(client.post("/api/search", body).json()) == without_seconds(videos)
    wrong = client.get("/api/search?q=red&place=Berlin")
    assert (wrong.status, "LATITUDE" in wrong.json()["error"]) == (400, True)


def test_a_picture_that_is_sent_is_searched_by(seeing: Client) -> None:
    buffer = BytesIO()
    Image.new("RGB", (320, 200), (250, 10, 5)).save(buffer, "PNG")
    target = "/api/search/example?top=2&min_relevance=0&name=holiday.png"
    reply = seeing.request("POST", target, buffer.getvalue())
    assert reply.status == 200
    assert reply.json()["like"] == {"name": "holiday.png", "second": None, "id": None}
    assert {Path(hit["path"]).stem for hit in reply.json()["hits"]} == {"red", "blue then red"}
    both = seeing.request("POST", f"{target}&q=green", buffer.getvalue()).json()
    assert both["query"] == "green"
    assert "green" in {Path(hit["path"]).stem for hit in both["hits"]}
    longer = seeing.request("POST", f"{target}&longer=3", buffer.getvalue()).json()
    assert [Path(hit["path"]).stem for hit in longer["hits"]] == ["blue then red"]


def test_what_is_sent_as_an_example_and_is_none(seeing: Client, client: Client) -> None:
    empty = seeing.request("POST", "/api/search/example")
    assert (empty.status, "empty" in empty.json()["error"]) == (422, True)
    text = seeing.request("POST", "/api/search/example?name=notes.txt", b"no picture at all")
    assert text.status == 422
    assert text.json()["error"].startswith("notes.txt: is no picture")
    large = seeing.request("POST", "/api/search/example", headers={"Content-Length": str(40 << 20)})
    assert large.status == 413
    assert seeing.request("POST", "/api/search", b"x" * (65 << 10)).status == 413
    buffer = BytesIO()
    Image.new("RGB", (32, 20)).save(buffer, "PNG")
    blind = client.request("POST", "/api/search/example", buffer.getvalue())
    assert blind.status == 400
    assert "compares no pictures" in blind.json()["error"]


class HeldLibrary:
    """A library whose searches wait until they are let go; notes what is searched together."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def search(self, queries: list[Query], **options: Any) -> list[str]:
        self.turns.append([query.text for query in queries])
        self.begun.set()
        assert self.go.wait(30)
        if any(query.text == "bad" for query in queries):
            raise UsageError("bad")
        return [query.text.upper() for query in queries]


def test_searches_that_wait_are_embedded_together_and_the_queue_is_bounded() -> None:
    library: Any = HeldLibrary()

    async def scenario() -> list[Any]:
        queue = SearchQueue[Query, Any](lambda queries, options: library.search(queries, **options), capacity=5)
        first = queue.submit(Query("one"), {"top": 1})
        while not library.begun.is_set():
            await asyncio.sleep(0.01)
        waiting = [queue.submit(Query(text), {"top": top}) for text, top in (("a", 1), ("b", 2), ("c", 1), ("bad", 1))]
        gone = queue.submit(Query("gone"), {"top": 1})
        with pytest.raises(Overloaded):
            queue.submit(Query("too many"), {"top": 1})
        gone.cancel()
        await asyncio.sleep(0)
        library.go.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        queue.close()
        with pytest.raises(Overloaded):
            queue.submit(Query("late"), {"top": 1})
        return results

    one, a, b, c, bad = asyncio.run(scenario())
    assert [one, a, b, c] == ["ONE", "A", "B", "C"]
    assert isinstance(bad, UsageError)
    assert library.turns[:2] == [["one"], ["a", "c", "bad"]]  # then each of those by itself, for its own answer
    assert ["b"] in library.turns
    assert not any("gone" in turn for turn in library.turns)


def test_memory_is_kept_while_searches_come_and_given_back_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    ended = threading.Event()

    @contextmanager
    def recorded() -> Iterator[None]:
        steps.append("kept")
        yield
        steps.append("given back")
        ended.set()

    def search(queries: Sequence[Query], options: object) -> list[str]:
        steps.extend(query.text for query in queries)
        return [query.text for query in queries]

    async def scenario() -> None:
        queue = SearchQueue[Query, Any](search)
        for text in ("one", "two"):
            await queue.submit(Query(text), {})
        assert await asyncio.to_thread(ended.wait, 10)
        await queue.submit(Query("three"), {})
        queue.close()

    monkeypatch.setattr(search_queue, "reused_memory", recorded)
    monkeypatch.setattr(search_queue, "_BUSY_SECONDS", 0.3)
    asyncio.run(scenario())
    assert steps[:6] == ["kept", "one", "two", "given back", "kept", "three"]


def test_a_full_queue_says_when_to_come_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(queue: SearchQueue, query: Query, options: Any) -> Any:
        raise Overloaded(3)

    monkeypatch.setattr(SearchQueue, "submit", full)
    reply = client.get("/api/search?q=red")
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")


def test_sentences_that_were_read_before_are_not_read_again() -> None:
    model: Any = SimpleNamespace(calls=[])
    fake = FakeModel()

    def embed_queries(queries: list[Query]) -> Any:
        model.calls.append([query.text for query in queries])
        return fake.embed_queries(queries)

    model.embed_queries = embed_queries
    memory = QueryMemory(2)
    first = memory.embed(model, [Query("red"), Query("blue")])
    again = memory.embed(model, [Query("blue"), Query("green"), Query("red")])
    assert model.calls == [["red", "blue"], ["green"]]
    assert (again[[2, 0]] == first).all()
    assert len(memory) == 2
    memory.embed(model, [Query("blue")])
    assert model.calls[-1] == ["blue"]  # it was the oldest of three
    other: Any = SimpleNamespace(embed_queries=fake.embed_queries)
    memory.embed(other, [Query("red")])
    assert len(memory) == 1


def test_a_library_that_is_open_already_remembers_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour_video(tmp_path / "films" / "red.mp4", "red")
    model = FakeModel()
    with Library(tmp_path / "library", model=model, relevance=clipped) as library:
        library.index(tmp_path / "films")
        library.load()
        library.remember_sentences(5)
        first = library.search("red")
        monkeypatch.setattr(model, "embed_queries", None)
        assert library.search("red")[0] == first[0]


def test_pictures_that_wait_are_bounded(seeing: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_WAITING", 0)
    reply = seeing.request("POST", "/api/search/example", b"any picture")
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
