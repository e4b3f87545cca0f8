"""The service: what the API answers, where it sends files from, its page, and how it indexes."""

from __future__ import annotations

import asyncio
import os
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video
from media_files import make_sound
from model_server import wait_for
from PIL import Image
from serving import Client, served

from mmi_tvr.library import Library, pausing
from mmi_tvr.library.items import LibraryItems
from mmi_tvr.serve import media, page
from mmi_tvr.serve.indexing_job import IndexingJob


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


def test_a_range_behind_the_beginning_of_another_file_is_the_whole_file(client: Client, films: Path) -> None:
    """A browser that goes on with a download names what it has (`If-Range`)."""
    content = (films / "red.mp4").read_bytes()
    target = f"/api/items/{item_of(client, 'red.mp4')}/media"
    tag = client.get(target).headers["etag"]
    assert client.get(target, Range="bytes=10-19", If_Range=tag).body == content[10:20]
    other = client.get(target, Range="bytes=10-19", If_Range='"another"')
    assert (other.status, other.body) == (200, content)


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


def test_a_recording_has_no_picture_and_is_sent_as_sound(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    sound = make_sound(tmp_path / "media" / "talk.m4a")
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(sound.parent)
        with served(library) as client:
            reply = client.get("/api/items/1/thumbnail")
            assert (reply.status, "a recording" in reply.json()["error"]) == (422, True)
            assert client.get("/api/items/1/media").headers["content-type"] == "audio/mp4"


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
    monkeypatch.setattr(page, "_TIMEOUT", 0)
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
            wait_for(lambda: client.get("/api/index").json()["stage"] == "embedding", 30)
            assert client.post("/api/index/pause").status == 202
            wait_for(lambda: client.get("/api/index").json()["state"] == "paused", 30)
            assert client.get("/api/status").json()["writer"] is None
            assert client.get("/api/search?q=red").json()["found"]
            assert client.post("/api/index/resume").status == 202
            wait_for(lambda: client.get("/api/index").json()["state"] == "done", 30)
            assert client.get("/api/status").json()["videos"] == 5
            assert client.get("/api/index").json()["report"]["quarantined"] == []


def test_the_library_s_pause_ends_a_run(tmp_path: Path) -> None:
    """As `mmi-tvr watch pause` does, from another process."""
    colour_video(tmp_path / "films" / "red.mp4", "red")
    with Library(tmp_path / "library", model=FakeModel(delay=0.3), relevance=clipped) as library:
        library.index(tmp_path / "films")
        for name in ("blue", "green", "yellow", "cyan"):
            colour_video(tmp_path / "films" / f"{name}.mp4", name)
        job = IndexingJob(library)
        assert job.start()
        wait_for(lambda: job.as_dict()["stage"] == "embedding", 30)
        pausing.pause(library.path)
        wait_for(lambda: not job.is_running, 30)
        assert (job.as_dict()["state"], job.as_dict()["report"]) == ("paused", None)
