"""A service under load: searches a second of sentences that were read before and of new ones, beside the text tower.

The library has one generated film and synthetic items beside it, whose vectors are random. Clients are 32 connections
of another process; a writer commits meanwhile. The text tower alone reads new sentences in batches of 32, in this
process, before anybody asks the service.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from mmi_tvr import models, plugins
from mmi_tvr.config import Settings
from mmi_tvr.index import publish
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.components import Components
from mmi_tvr.serve.running import RunningService, ServiceOptions
from mmi_tvr.serve.running import run as run_service
from mmi_tvr.types import Embeddings, Query, row_ids

MODEL, MOMENTS, CLIENTS, TOGETHER = "moving-shapes", 9, 32, 32
_WORDS = ("red circle", "blue square", "green star", "black ring", "white heart", "yellow cross")
_DOINGS = ("moves left", "grows", "spins", "bounces", "hides", "shrinks", "moves up", "fades")


def run(args: argparse.Namespace) -> Iterator[str]:
    items, seconds = (100, 2.0) if args.small else (10_000, 60.0)
    with tempfile.TemporaryDirectory() as folder:
        library = Library(_filled(Path(folder), items))
        alone = _text_tower_alone(128 if args.small else 1024)
        vectors = items * (MOMENTS + 1)
        yield f"a service of {items:,} items ({vectors:,} vectors), {CLIENTS} clients, {seconds:.0f} s each"
        started: Future[RunningService] = Future()
        arguments = (library, ServiceOptions(), _no_commands, started.set_result)
        thread = threading.Thread(target=run_service, args=arguments)
        thread.start()
        service = started.result()
        library.load()
        for name, new in (("read before", False), ("new", True)):
            before, stop = _memory(), threading.Event()
            writer = threading.Thread(target=_write, args=(library.path, stop))
            writer.start()
            rates = _load(service.url, seconds, new)
            stop.set()
            writer.join()
            p50, p95, p99 = np.percentile(np.array(rates["seconds"]) * 1000, [50, 95, 99])
            rate = len(rates["seconds"]) / seconds
            share = f"{rate:7.1f} searches a second, {rate / alone:5.2f} of the text tower alone ({alone:.1f})"
            grown = f"{_memory() - before:+.0f} MB"
            yield (
                f"  {name:<12} {share}; p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms; "
                f"lost {rates['lost']}; memory {grown}"
            )
        service.stop()
        thread.join()


def _no_commands(request: Any, write: Any) -> int:
    return 2


def _filled(folder: Path, items: int) -> Path:
    """Return a library of one film and synthetic items."""
    data = plugins.build("datasets", "moving_shapes", {"split": "test", "root": str(folder / "shapes"), "count": 1})
    data.generate()
    film = data.samples()[0].video.path
    with Library(folder / "library", model=MODEL) as library:
        library.index(film)
    random = np.random.default_rng(0)
    with closing(Catalogue(folder / "library" / CATALOGUE)) as catalogue:
        components = Components(folder / "library", catalogue, Settings(), None)
        index = components.open_index(create=False)
        assert index is not None
        segments = np.array([[k, k + 1.0, k + 0.5] for k in range(MOMENTS)])
        with catalogue.transaction():
            for number in range(items):
                vectors = random.standard_normal((MOMENTS + 1, index.dim), dtype=np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                content = catalogue.content_number(f"{number:064x}")
                catalogue.put_file(folder / f"{number}.mp4", (1, 1), content)
                catalogue.set_indexed(content, Embeddings(vectors[0], vectors[1:], segments))
                index.add(row_ids(content, MOMENTS), vectors)
        index.flush()
        publish(index)
        index.close()
    return folder / "library"


def _sentence(number: int) -> str:
    return f"the {_WORDS[number % 6]} {_DOINGS[number // 6 % 8]} and {_DOINGS[number // 48 % 8]} {number}"


def _text_tower_alone(count: int) -> float:
    """Return the sentences a second that the model reads in batches."""
    model = models.make(models.resolve(models.section(MODEL)), "cpu")
    sentences = [Query(_sentence(number)) for number in range(count + TOGETHER)]
    model.embed_queries(sentences[:TOGETHER])
    started = time.perf_counter()
    for first in range(TOGETHER, count + TOGETHER, TOGETHER):
        model.embed_queries(sentences[first : first + TOGETHER])
    return count / (time.perf_counter() - started)


def _write(folder: Path, stop: threading.Event) -> None:
    """Commit to the library once a second, as an indexing run does beside searches."""
    with closing(Catalogue(folder / CATALOGUE)) as catalogue:
        number = 0
        while not stop.wait(1.0):
            number += 1
            with catalogue.transaction():
                catalogue.set_meta(unread=number % 2)


def _load(url: str, seconds: float, new: bool) -> dict[str, Any]:
    """Return what clients in a process of their own measured."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(pool.apply(_clients, (url, seconds, new)))


def _clients(url: str, seconds: float, new: bool) -> dict[str, Any]:
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as threads:
        replies = list(threads.map(lambda client: _client(url, client, end, new), range(CLIENTS)))
    return {"seconds": [one for reply in replies for one in reply[0]], "lost": sum(reply[1] for reply in replies)}


def _client(url: str, client: int, end: float, new: bool) -> tuple[Sequence[float], int]:
    """Search one after the other over one connection; return the seconds of each, and how many got no hits."""
    parts, taken, lost, number = urlsplit(url), [], 0, 0
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=120)) as connection:
        stream = connection.makefile("rb")
        while time.monotonic() < end:
            number += 1
            sentence = _sentence(10_000 + client * 100_000 + number if new else number % 50)
            started = time.monotonic()
            target = f"/api/search?q={quote(sentence)}&min_relevance=0"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            status, length = stream.readline(), 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = stream.read(length)
            taken.append(time.monotonic() - started)
            lost += b" 200 " not in status or not json.loads(body)["hits"]
    return taken, lost


def _memory() -> float:
    """Return the MB of memory of this process; 0 where the system does not say."""
    if not sys.platform.startswith("linux"):
        return 0.0
    text = Path("/proc/self/status").read_text(encoding="ascii").partition("VmRSS:")[2]
    return int(text.split()[0]) / 1000
