"""The service: what the API answers, where it sends files from, and how it waits, indexes and ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from mmi_tvr.library.items import LibraryItems
from mmi_tvr.queries import QueryMemory
from mmi_tvr.serve import media, page
from mmi_tvr.serve.address import LOCK, SOCKET, TOKEN
from mmi_tvr.serve.client import is_alive
from mmi_tvr.serve.running import ServiceOptions, run
from mmi_tvr.serve.search_queue import Overloaded, SearchQueue


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "films"
    for name in ("blue", "green", "red"):
        colour_video(folder / f"{name}.mp4", name)
    colour_video(folder / "blue then red.mp4", "blue", "red")
    return folder


@pytest.fixture(scope="module")
def opened(films: Path) -> Iterator[Library]:
    with Library(films.parent / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(films)
        yield library


@pytest.fixture(scope="module")
def client(opened: Library) -> Iterator[Client]:
    with served(opened) as one:
        yield one


def without_seconds(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "seconds"}


def test_a_search_answers_the_json_of_the_command_line(client: Client, opened: Library) -> None:
    reply = client.get("/api/search?q=red&top=2")
    assert reply.status == 200
    expected = json.loads(json.dumps(opened.search("red", top=2).as_dict()))
    assert without_seconds(reply.json()) == without_seconds(expected)
    posted = client.post("/api/search", {"query": "red", "top": 2})
    assert without_seconds(posted.json()) == without_seconds(expected)


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/api/search?q=", 400, "the query is empty"),
        ("/api/search", 400, "the query is empty"),
        ("/api/search?q=red&top=0", 422, "top: "),
        ("/api/search?q=red&where=spins", 400, "LEVEL=NAME"),
        ("/api/search?q=red&where=action%3Dspins", 400, "does not say what is in videos"),
        ("/api/items/999", 404, "no item has the number 999"),
        ("/api/items/99999999999999999999", 422, "number: "),
        ("/api/items/1/thumbnail?second=nan", 422, "second: "),
        ("/api/facets", 400, "no facets"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
def test_what_does_not_fit_is_one_line(client: Client, target: str, status: int, words: str) -> None:
    reply = client.get(target)
    assert (reply.status, list(reply.json())) == (status, ["error"])
    assert words in reply.json()["error"]


def test_items_moments_and_pages(client: Client, films: Path) -> None:
    first = client.get("/api/items?limit=3").json()
    second = client.get(f"/api/items?limit=3&after={first['next']}").json()
    items = first["items"] + second["items"]
    assert second["next"] is None
    assert {Path(path).name for item in items for path in item["paths"]} == {path.name for path in films.iterdir()}
    both = next(item for item in items if "then" in item["paths"][0])
    document = client.get(f"/api/items/{both['id']}").json()
    assert client.get(f"/api/items?id={both['id']}&id=999").json() == {"items": [document], "next": None}
    moments = document["moments"]
    assert moments[0]["start"] == 0
    assert moments[-1]["end"] == pytest.approx(4.0, abs=0.2)


def item_of(client: Client, name: str) -> int:
    items = client.get("/api/items").json()["items"]
    return next(int(item["id"]) for item in items if Path(item["paths"][0]).name == name)


def test_a_thumbnail_shows_its_second(client: Client) -> None:
    number = item_of(client, "blue then red.mp4")
    for second, strongest in ((0.5, 2), (3.0, 0), (99.0, 0)):
        reply = client.get(f"/api/items/{number}/thumbnail?second={second}&size=32")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(BytesIO(reply.body)) as picture:
            channels = picture.resize((1, 1)).getpixel((0, 0))
        assert max(range(3), key=lambda channel: channels[channel]) == strongest


@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=5-999999999", 206, slice(5, None)),
        ("bytes=0-0,1-1,2-2", 200, slice(None)),
        ("chars=0-1", 200, slice(None)),
        ("bytes=999999999-", 416, None),
        ("bytes=9-3", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_media_by_ranges(client: Client, films: Path, header: str | None, status: int, part: slice | None) -> None:
    content = (films / "red.mp4").read_bytes()
    target = f"/api/items/{item_of(client, 'red.mp4')}/media"
    reply = client.get(target, **({"Range": header} if header else {}))
    assert reply.status == status
    if part is not None:
        assert reply.body == content[part]
        assert reply.headers["content-type"] == "video/mp4"
        head = client.request("HEAD", target, headers={"Range": header} if header else {})
        assert (head.status, head.body, head.headers["content-length"]) == (status, b"", str(len(content[part])))


def test_only_the_file_that_was_indexed_is_sent(tmp_path: Path) -> None:
    film = colour_video(tmp_path / "films" / "red\r\nX-Evil: 1.mp4", "red")
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"x" * film.stat().st_size)
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(film.parent)
        with served(library) as client:
            target = "/api/items/1/media"
            reply = client.get(target)
            assert reply.status == 200
            assert "x-evil" not in reply.headers
            film.unlink()
            assert client.get(target).status == 404
            film.symlink_to(secret)
            assert client.get(target).status == 409
            assert client.get("/api/items/1/thumbnail").status == 409
            film.unlink()
            os.mkfifo(film)  # nobody will ever write to it
            assert client.get(target).status == 409
            film.unlink()
            film.mkdir()
            assert client.get(target).status == 409


def handles_of(path: Path) -> int:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and os.path.realpath(link) == str(path) for link in links)


def test_a_handle_is_closed_whatever_becomes_of_the_client(opened: Library) -> None:
    items = LibraryItems(opened.path)
    item = items.item(1)
    items.close()
    response = media.media_response(item, "GET", None)
    path = item.files[0].path
    assert handles_of(path) == 1

    async def gone(message: Any = None) -> Any:
        raise ConnectionError

    with pytest.raises(BaseException):  # noqa: B017, PT011 (of the task group)
        asyncio.run(response({"type": "http"}, gone, gone))
    assert handles_of(path) == 0


def test_the_page_works_without_scripts_and_shows_names_as_text(client: Client) -> None:
    body = client.get("/?q=red").body.decode()
    assert "red.mp4" in body
    assert re.findall("<script[^>]*>", body) == ['<script type="module" src="/static/main.js">']
    assert "onclick" not in body
    for view in ("people", "collection", "pools"):
        assert "Without scripts, this page can search only" in client.get(f"/{view}").body.decode()
    hostile = client.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E").body.decode()
    assert "<script>alert" not in hostile


def test_the_page_does_not_wait_for_a_model(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_PATIENCE", 0)
    body = client.get("/?q=red").body.decode()
    assert "red.mp4" not in body
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in body


def test_without_a_library_the_page_says_how_to_begin(tmp_path: Path) -> None:
    with served(Library(tmp_path / "none")) as client:
        for view in ("/", "/people", "/collection", "/pools"):
            reply = client.get(view)
            assert (reply.status, "mmi-tvr index FOLDER" in reply.body.decode()) == (200, True)
        for target in ("/api/status", "/api/search?q=red", "/api/items"):
            assert (client.get(target).status, "no library is here" in client.get(target).json()["error"]) == (
                404,
                True,
            )
        assert client.post("/api/index").status == 404
    assert not (tmp_path / "none").exists()


def test_health_metrics_pools_and_the_description(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    client.get("/api/search?q=a+secret+wish")
    metrics = client.get("/metrics").body.decode()
    assert 'mmi_tvr_requests_total{route="/api/search",status="200"}' in metrics
    assert "mmi_tvr_search_seconds_count" in metrics
    assert "secret" not in metrics
    assert {"text", "video"} == set(client.get("/api/pools").json())
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/search", "/api/items/{number}/media", "/api/index/pause"} <= set(paths)
    assert "/command" not in paths


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_indexing_can_be_paused_and_goes_on(tmp_path: Path) -> None:
    colour_video(tmp_path / "films" / "red.mp4", "red")
    with Library(tmp_path / "library", model=FakeModel(delay=0.3), relevance=clipped) as library:
        library.index(tmp_path / "films")
        for name in ("blue", "green", "yellow", "cyan"):
            colour_video(tmp_path / "films" / f"{name}.mp4", name)
        with served(library) as client:
            assert client.post("/api/index/pause").status == 409
            assert client.post("/api/index").status == 202
            assert client.post("/api/index").status == 409
            wait_for(lambda: client.get("/api/index").json()["stage"] == "embedding")
            assert client.post("/api/index/pause").status == 202
            wait_for(lambda: client.get("/api/index").json()["state"] == "paused")
            assert client.get("/api/status").json()["writer"] is None
            assert client.get("/api/search?q=red").json()["found"]
            assert client.post("/api/index/resume").status == 202
            wait_for(lambda: client.get("/api/index").json()["state"] == "done")
            assert client.get("/api/status").json()["videos"] == 5
            assert client.get("/api/index").json()["report"]["quarantined"] == []


# Waiting


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
        queue = SearchQueue(library, capacity=5)
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


# A process of its own


@contextmanager
def killed(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no process behind, whatever fails."""
    try:
        yield
    finally:
        process.kill()


def test_a_service_from_start_to_sigterm(films: Path, tmp_path: Path) -> None:
    """With the bundled model: what is printed, a search, files with the right modes, and the end within 2 seconds."""
    folder = tmp_path / "library"
    with Library(folder, model="moving-shapes") as library:
        library.index(films / "red.mp4")
        alone = library.search("a red circle", min_relevance=0)
    command = [sys.executable, "-m", "mmi_tvr.cli", "serve", "--library", str(folder), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, killed(process):
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        document = json.loads(text)
        assert document["pid"] == process.pid
        for path in (Path(document["token_file"]), folder / "service.sock"):
            assert path.stat().st_mode & 0o777 == 0o600
        running: Any = SimpleNamespace(url=document["url"])
        token = Path(document["token_file"]).read_text(encoding="ascii").strip()
        reply = Client(running).get("/api/search?q=a+red+circle&min_relevance=0", Authorization=f"Bearer {token}")
        assert reply.json()["hits"][0]["path"] == str(alone[0].path)
        assert reply.json()["hits"][0]["score"] == pytest.approx(alone[0].score, abs=1e-5)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        process.wait(30)
        assert time.monotonic() - started < 2
        assert process.returncode == 0
    assert not (folder / "service.sock").exists()
    assert not Path(document["token_file"]).exists()


def test_what_a_killed_service_leaves_is_in_nobodys_way(films: Path, tmp_path: Path) -> None:
    """Its files are a library's: a folder with nothing else is empty, and the next service takes their place."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in (LOCK, TOKEN):
        (folder / name).write_text("left over")
    with closing(socket.socket(socket.AF_UNIX)) as left_over:
        left_over.bind(str(folder / SOCKET))
    with Library(folder, FakeModel(), relevance=clipped) as library:
        library.index(films / "red.mp4")
        with served(library) as client:
            assert client.running.has_socket
            assert client.running.token_file.read_text() != "left over"
        assert not {SOCKET, TOKEN} & set(os.listdir(folder))
    (folder / "service.sock.txt").mkdir()  # of somebody else, who chose an unlucky name: not deleted
    Library(folder, FakeModel(), relevance=clipped).index()
    assert (folder / "service.sock.txt").is_dir()


def test_a_second_service_of_a_library_says_so(opened: Library, client: Client) -> None:
    """Also over another path to the same folder; the first one goes on, with its token and its socket."""
    token = client.running.token_file.read_text()
    link = opened.path.parent / "the same"
    link.symlink_to(opened.path)
    for path in (opened.path, link):
        with pytest.raises(UsageError, match=f"{path}: a service of this library is running already"):
            run(Library(path), ServiceOptions(), lambda request, write: 0, lambda service: None)
    link.unlink()
    assert client.running.token_file.read_text() == token
    assert is_alive(opened.path)
    assert client.get("/api/search?q=red").status == 200


def test_it_ends_when_nobody_asks_any_more(tmp_path: Path) -> None:
    with served(Library(tmp_path / "none"), idle_exit=0.3) as client:
        assert client.get("/healthz").status == 200
        wait_for(lambda: not client.running.token_file.exists(), 15)


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
