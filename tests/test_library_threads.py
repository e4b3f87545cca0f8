"""One library for many threads, for event loops, for lists of queries, and in a forked process."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fakes import FakeModel, best, clipped, colour_video

from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library
from mmi_tvr.types import Query

NAMES = ("blue", "green", "red", "yellow")


class OneThreadModel(FakeModel):
    """A model that notices when two threads use it at the same time; `started` is set when a query is embedded."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(delay=delay)
        self.busy = threading.Lock()
        self.started = threading.Event()
        self.calls: list[int] = []  # how many queries each call embedded

    def embed_queries(self, queries):
        self.started.set()
        self.calls.append(len(queries))
        return self._alone(super().embed_queries, queries)

    def encode_images(self, images):
        return self._alone(super().encode_images, images)

    def _alone(self, work, argument):
        assert self.busy.acquire(blocking=False), "two threads use the model at once"
        try:
            time.sleep(0.001)
            return work(argument)
        finally:
            self.busy.release()


@pytest.fixture
def shared(folder, library):
    """An indexed library whose model bears one thread at a time."""
    library.index(folder)
    with Library(library.path, model=OneThreadModel(), relevance=clipped) as opened:
        yield opened


def answer(result):
    return [(hit.path.name, hit.start, hit.score, hit.relevance) for hit in result]


def test_sixteen_threads_get_what_one_gets_while_a_thread_writes(folder, shared):
    queries = [f"{name} {number}" for number in range(6) for name in NAMES]
    expected = [answer(shared.search(query, top=3)) for query in queries]
    known = {name for result in expected for name, *_ in result}
    colour_video(folder / "new.mp4", "black", "white")  # which is no answer to any of them

    def search(query):
        hits = answer(shared.search(query, top=5))
        return [hit for hit in hits if hit[0] in known][:3]

    with ThreadPoolExecutor(16) as pool:
        writing = pool.submit(shared.index, folder)
        answers = list(pool.map(search, queries * 3))
    assert writing.result().embedded == 1
    assert answers == expected * 3
    assert shared.status().videos == 5


def test_a_search_goes_on_while_the_same_object_indexes(folder, shared):
    colour_video(folder / "new.mp4", "cyan")
    embedding, go_on = threading.Event(), threading.Event()

    class Waiting:
        def begin(self, stage, total):
            if stage == "embedding":
                embedding.set()
                assert go_on.wait(30)

        def advance(self, steps=1): ...

        def say(self, message): ...

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(shared.index, folder, progress=Waiting())
        assert embedding.wait(30)
        result = shared.search("red", top=1)
        assert (result[0].path.stem, result.coverage.pending) == ("red", 1)
        go_on.set()
        assert writing.result().embedded == 1
    assert best(shared, "cyan") == "new"


def test_closing_waits_for_searches_and_the_object_goes_on(shared):
    errors = []

    def search():
        try:
            for _ in range(20):
                assert best(shared, "red") == "red"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        shared.close()
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    assert errors == []


def test_an_event_loop_goes_on_during_a_search(shared, monkeypatch):
    release = threading.Event()
    search_once = shared._reader.search_once

    def slow(queries, options):
        assert release.wait(30)
        return search_once(queries, options)

    async def several():
        monkeypatch.setattr(shared._reader, "search_once", slow)
        waiting = [asyncio.create_task(shared.asearch(name, top=1)) for name in NAMES]
        batch = asyncio.create_task(shared.asearch(["red", "blue"], top=1))
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        assert not any(task.done() for task in (*waiting, batch))
        release.set()
        return ticks, await asyncio.gather(*waiting), await batch

    ticks, single, together = asyncio.run(several())
    assert ticks == 20
    assert [result[0].path.stem for result in single] == list(NAMES)
    assert [result[0].path.stem for result in together] == ["red", "blue"]
    with pytest.raises(UsageError, match="top is a whole number"):
        asyncio.run(shared.asearch("red", top="3"))
    shared.close()
    assert asyncio.run(shared.asearch("green", top=1))[0].path.stem == "green"


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_opens_everything_anew(shared):
    expected = answer(shared.search("red"))
    asyncio.run(shared.asearch("red"))  # its thread is not there in the child
    stop = threading.Event()

    def search():
        while not stop.is_set():
            shared.search("blue")

    searching = threading.Thread(target=search)
    searching.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    again = answer(shared.search("red"))
                    later = answer(asyncio.run(shared.asearch("red")))
                    shared.close()
                    code = 0 if again == later == expected else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        searching.join()
    assert answer(shared.search("red")) == expected


def test_an_object_that_nobody_closes_closes_its_files(shared):
    forgotten = Library(shared.path, model=FakeModel(), relevance=clipped)
    forgotten.search("red")
    database = forgotten._reader.catalogue()._db
    del forgotten
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        database.execute("SELECT 1")


def test_a_list_of_queries_is_embedded_together_and_answered_in_order(shared):
    queries = ["red", Query("blue"), "no such colour", "yellow green"]
    expected = [answer(shared.search(query, top=3)) for query in queries]
    shared._reader.model.calls.clear()
    results = shared.search(queries, top=3)
    assert shared._reader.model.calls == [4]
    assert [answer(result) for result in results] == expected
    assert [result.query.text for result in results] == ["red", "blue", "no such colour", "yellow green"]
    assert all(result.coverage.searched == 4 for result in results)
    assert all(result.seconds["total"] >= result.seconds["embed"] + result.seconds["search"] for result in results)
    assert [answer(result) for result in shared.search(tuple(queries[:1]), top=3)] == expected[:1]


def test_a_top_of_a_million_costs_what_the_collection_costs(shared):
    few = shared.search("red", top=4)
    many = shared.search("red", top=10**30)
    assert answer(many) == answer(few)
    index = shared._reader._state.searcher.index
    vector = np.ones((1, index.dim), np.float32) / 2 / np.sqrt(index.dim / 4)
    assert index.search(vector, 10**9)[1].shape == (1, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": b"library"}, r"path is a path .* not b'library' \(bytes\)"),
        ({"path": None}, r"path is a path .* not None"),
        ({"path": ""}, "path is a path"),
        ({"model": 5}, r"model is a name, a settings section or a model .* not 5 \(int\)"),
        ({"settings": {"model": "auto"}}, r"settings are config.Settings .* \(dict\)"),
        ({"relevance": 0.5}, r"relevance is a function .* not 0.5 \(float\)"),
    ],
)
def test_wrong_arguments_of_a_library(tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        Library(**{"path": tmp_path, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": b"videos"}, r"paths is a path .* not b'videos' \(bytes\)"),
        ({"paths": None}, "paths is a path"),
        ({"paths": 5}, "paths is a path"),
        ({"paths": ["videos", 5]}, r"each of paths is a path .* not 5 \(int\)"),
        ({"paths": ""}, "paths is a path"),
        ({"model": 5}, "model is a name"),
        ({"exclude": "*.part"}, r"exclude is a list of glob patterns, such as \['\*.part'\], not '\*.part'"),
        ({"exclude": [5]}, "exclude is a list of glob patterns"),
        ({"retry": "yes"}, "retry is True or False"),
        ({"rebuild": 1}, "rebuild is True or False"),
        ({"wait": "5"}, "wait is a number of seconds"),
        ({"wait": -1}, "wait is a number of seconds, 0 or more, not -1"),
        ({"progress": print}, "progress has the methods"),
    ],
)
def test_wrong_arguments_of_an_indexing_run(library, arguments, message):
    with pytest.raises(UsageError, match=message):
        library.index(**{"paths": [], **arguments})
    assert not library.path.exists()


def test_wrong_arguments_of_the_other_methods(folder, library):
    library.index(folder)
    for wrong in ({"paths": 5}, {"paths": folder, "wait": "x"}, {"paths": folder, "progress": 7}):
        with pytest.raises(UsageError, match=r"not|which"):
            library.remove(**wrong)
    with pytest.raises(UsageError, match="wait is a number"):
        library.describe(wait=None)
    assert library.status().videos == 4
