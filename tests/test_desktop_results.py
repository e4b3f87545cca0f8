"""What a desktop shows of a hit, and ids that are good at any time."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeModel, clipped, colour_video
from PIL import Image

from mmi_tvr.desktop import page
from mmi_tvr.desktop.page import page_url
from mmi_tvr.desktop.results import DesktopResult, DesktopResults, DesktopSearch, result_of
from mmi_tvr.desktop.service import CLIENT, DesktopService
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
    results = {one.name: one for one in search.search(["red"], 10)[0].results}
    assert [search.result(one.id) for one in results.values()] == [*results.values()]  # as it was shown
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
    [before] = search.search(["cyan"], 10)
    assert search.search([" cyan ", "", "cyan"], 10) == [
        before,
        DesktopResults((), "nothing is looked for", False),
        before,
    ]
    assert search.search(["cyan"], 10)[0] is before
    colour_video(folder / "cyan.mp4", "cyan")
    library.index(folder)
    assert search.search(["cyan"], 10)[0].results[0].name == "cyan.mp4"


def test_only_what_is_believed_is_shown_while_somebody_types(library: Library, folder: Path) -> None:
    colour_video(folder / "red.mp4", "red")
    with Library(library.path, FakeModel(), relevance=clipped) as one:
        one.index(folder)
        service = DesktopService(one)

        async def type_texts() -> list[tuple[DesktopResult, ...]]:
            return [await service.typed(text, 5) for text in ("red", "r", "  ", "zzz")]

        typed = asyncio.run(type_texts())
        service.close()
    assert typed[0][0].name == "red.mp4"
    assert typed[1:3] == [(), ()]


class SlowLibrary:
    """Stands for `SharedLibrary.search_together`: notes what is searched together, and waits the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[list[str]] = []
        self.first = threading.Event()
        monkeypatch.setattr(SharedLibrary, "search_together", lambda library, queries, top: self.search(queries))

    def search(self, queries: Sequence[str]) -> list[dict[str, Any]]:
        self.turns.append(list(queries))
        self.first.wait(20)
        if "bad" in queries:
            raise UsageError("bad")
        return [{"hits": [], "found": True, "found_reason": query} for query in queries]


def burst(folder: Path, calls: Sequence[tuple[str, str | None]], slow: SlowLibrary) -> list[Any]:
    """Return the answers to calls that come while a first search is under way: (client, text); typed, or, where
    nobody types (None), searched."""

    async def scenario() -> list[Any]:
        service = DesktopService(Library(folder / "none"))

        async def call(client: str | None, text: str) -> Any:
            if client is None:
                return (await service.search(text, 5)).reason
            CLIENT.set(client)
            return await service.typed(text, 5)

        before = asyncio.ensure_future(service.search("before", 5))
        while not slow.turns:
            await asyncio.sleep(0.01)
        tasks = [asyncio.ensure_future(call(client, text)) for text, client in calls]
        await asyncio.sleep(0.05)
        slow.first.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert (await before).reason == "before"
        assert service.in_flight == 0
        service.close()
        return answers

    return asyncio.run(scenario())


def test_a_burst_of_sentences_is_searched_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowLibrary(monkeypatch)
    answers = burst(tmp_path, [(f"sentence {number % 20}", None) for number in range(40)], slow)
    assert answers == [f"sentence {number % 20}" for number in range(40)]
    assert slow.turns == [["before"], [f"sentence {number}" for number in range(20)]]


def test_what_a_client_typed_past_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowLibrary(monkeypatch)
    typed = [("re", "gnome"), ("re", "krunner"), ("red", "gnome"), ("red c", "gnome"), ("blue", None)]
    answers = burst(tmp_path, typed, slow)
    assert slow.turns == [["before"], ["re", "red c", "blue"]]
    assert answers == [(), (), (), (), "blue"]


def test_one_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowLibrary(monkeypatch)
    answers = burst(tmp_path, [("good", None), ("bad", None), ("bad", "gnome")], slow)
    assert answers[0] == "good"
    assert isinstance(answers[1], UsageError)
    assert answers[2] == ()


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
