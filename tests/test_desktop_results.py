"""What a desktop shows of a hit, and ids that are good at any time."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest
from fakes import FakeModel, clipped, colour_video
from PIL import Image

from mmi_tvr.desktop import page
from mmi_tvr.desktop.page import page_url
from mmi_tvr.desktop.results import DesktopResults, DesktopSearch, result_of
from mmi_tvr.desktop.service import DesktopService
from mmi_tvr.desktop.thumbnails import ThumbnailCache, pixels_of
from mmi_tvr.errors import MissingExtra, MmiTvrError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.media.guarded import DecoderPool, Limits
from mmi_tvr.serve.shared import SharedLibrary
from mmi_tvr.types import Hit, HitMoment, MediaFacts


def described(hit: Hit) -> str:
    return result_of(hit.as_dict()).description("picture")


def test_the_line_below_a_name_says_when_what_and_where() -> None:
    speech = HitMoment(61.0, 75.0, "heard", "hello\n" + "word " * 40)
    assert described(Hit(Path("/a/b.mp4"), 61.0, 75.0, 62.0, 0.5, 0.9)) == "1:01-1:15 · /a"
    assert described(Hit(Path("/a/b.mp4"), 1.0, 1.9, 1.5, 0.5, 0.9)) == "0:01-0:02 · /a"
    assert described(Hit(Path("/a/b.jpg"), 0.0, 0.0, 0.0, 0.5, 0.9, facts=MediaFacts("image"))) == "picture · /a"
    line = described(Hit(Path("/a/b.mp4"), 61.0, 75.0, 62.0, 0.5, 0.9, moments=(speech,)))
    assert line.startswith("1:01-1:15 · “hello")
    assert line.endswith("…” · /a")
    assert len(line) < 100


@pytest.fixture
def search(library: Library, folder: Path) -> DesktopSearch:
    Image.new("RGB", (400, 200), "red").save(folder / "photo.jpg")
    library.index(folder)
    return DesktopSearch(SharedLibrary(library))


@pytest.mark.parametrize(
    "id", ["", "1", "1@1", "@1.00", "-1@1.00", "1@-1.00", "1@1.00\n", "9" * 40 + "@1.00", "１@1.00", "1@nan"]
)
def test_ids_that_are_none(search: DesktopSearch, id: str) -> None:
    with pytest.raises(UsageError, match=r"no result has this id|no item has the number"):
        search.result(id)


def test_an_id_outlives_the_process_and_a_picture_has_a_thumbnail(
    search: DesktopSearch, library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {one.name: one for one in search.search("red", 10).results}
    again = DesktopSearch(SharedLibrary(library)).result(results["photo.jpg"].id)
    assert (again.path, again.kind, again.second) == (folder / "photo.jpg", "image", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    thumbnails = ThumbnailCache(DecoderPool(Limits(workers=0)))
    assert thumbnails.stored(again.path) is None
    thumbnail = thumbnails.make(again.path, 0.0, is_picture=True)
    assert thumbnail is not None
    assert thumbnails.stored(again.path) == thumbnail
    pixels = pixels_of(thumbnail)
    assert pixels is not None
    width, height, stride, has_alpha, bits, channels, content = pixels
    assert (width, height, stride, has_alpha, bits, channels) == (128, 64, 512, True, 8, 4)
    assert len(content) == stride * height
    assert content[0] > 200 > content[1] + 100
    os.utime(again.path, (1, 1))  # it is another file now
    assert thumbnails.stored(again.path) is None
    assert thumbnails.make(again.path, 0.0, is_picture=True) == thumbnail
    thumbnail.write_bytes(b"no picture")
    assert thumbnails.stored(again.path) is None
    assert pixels_of(thumbnail) is None
    assert thumbnails.make(thumbnail, 0.0, is_picture=True) is None  # of what lies in the cache, none


def test_what_changed_is_searched_anew(search: DesktopSearch, library: Library, folder: Path) -> None:
    before = search.search("cyan", 10)
    assert search.search(" cyan ", 10) is before
    colour_video(folder / "cyan.mp4", "cyan")
    library.index(folder)
    assert search.search("cyan", 10).results[0].name == "cyan.mp4"


def test_only_what_is_believed_is_shown_while_somebody_types(library: Library, folder: Path) -> None:
    colour_video(folder / "red.mp4", "red")
    with Library(library.path, FakeModel(), relevance=clipped) as one:
        one.index(folder)
        search = DesktopSearch(SharedLibrary(one))
        assert search.typed("red", 5)[0].name == "red.mp4"
        assert search.typed("r", 5) == ()
        assert search.typed("  ", 5) == ()


def test_what_somebody_typed_past_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched, first = [], threading.Event()

    def search(self: DesktopSearch, query: str, limit: int) -> DesktopResults:
        searched.append(query)
        first.wait(20)
        return DesktopResults((), "", False)

    monkeypatch.setattr(DesktopSearch, "search", search)

    async def type_on() -> None:
        service = DesktopService(Library(tmp_path / "none"))
        tasks = [asyncio.ensure_future(service.typed(text, 5)) for text in ("re", "red", "red c")]
        tasks.append(asyncio.ensure_future(service.search("blue", 5)))  # nobody types that
        await asyncio.sleep(0.05)
        first.set()
        await asyncio.gather(*tasks)
        assert service.in_flight == 0
        service.close()

    asyncio.run(type_on())
    assert searched in (["re", "red c", "blue"], ["red c", "blue"])


class Served:
    """Stands for a library whose service comes up at the third look."""

    def __init__(self, path: Path, looks: int = 3) -> None:
        self.path = path
        self._looks = looks

    def service(self) -> dict[str, str] | None:
        self._looks -= 1
        return {"url": "http://127.0.0.1:1"} if self._looks <= 0 else None


def test_the_page_is_that_of_a_running_service_or_one_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(page, "launch", started.append)
    monkeypatch.setattr(page, "_LOOK_SECONDS", 0.0)
    assert page_url(Served(tmp_path, 1)) == "http://127.0.0.1:1"  # type: ignore[arg-type]
    assert started == []
    assert page_url(Served(tmp_path)) == "http://127.0.0.1:1"  # type: ignore[arg-type]
    assert started[0][1:] == ["-m", "mmi_tvr.cli", "serve", "--library", str(tmp_path), "--idle-exit", "900"]
    monkeypatch.setattr(page, "_START_SECONDS", 0.01)
    with pytest.raises(MmiTvrError, match="no page came up"):
        page_url(Served(tmp_path, 10**9))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingExtra):
        page_url(Served(tmp_path))  # type: ignore[arg-type]
