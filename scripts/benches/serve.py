"""A service under load: searches a second of sentences that were read before and of new ones, beside the text tower.

The library has one generated film and synthetic items beside it, whose vectors are random. Meanwhile a writer indexes
further films. Of two processors the service has one, and so has, after it, the text tower alone, which reads new
sentences in batches of the size that the service made of them on the average; the clients (64 connections of one
process) and the writer share the other one. Nobody has more than one thread of torch.

Sentences that were read before are asked for at a steady rate, and what one waits counts from when it was due. New ones
are asked for as fast as they are answered.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import numpy as np

from mmi_tvr import models, plugins
from mmi_tvr.config import Settings
from mmi_tvr.index import publish
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.library.components import Components
from mmi_tvr.types import Embeddings, Query, row_ids

MODELS = ("moving-shapes", "label_bridge")  # the bundled one, and the offline default
MOMENTS, CLIENTS, RATE = 9, 64, 300.0
_FILMS, _PAUSE = 32, 2.0  # that the writer indexes at most, and the seconds between two of them
_SENTENCES = 50  # that were read before
_WORDS = ("red circle", "blue square", "green star", "black ring", "white heart", "yellow cross")
_DOINGS = ("moves left", "grows", "spins", "bounces", "hides", "shrinks", "moves up", "fades")


def run(args: argparse.Namespace) -> Iterator[str]:
    os.environ["OMP_NUM_THREADS"] = "1"  # before anybody loads torch
    _stay_on(1)
    items, seconds, sentences = (100, 2.0, 64) if args.small else (10_000, 60.0, 1024)
    yield f"a service of {items:,} items ({items * (MOMENTS + 1):,} vectors), {CLIENTS} clients, {seconds:.0f} s each"
    for model in MODELS[:1] if args.small else MODELS:
        with tempfile.TemporaryDirectory() as name:
            library, films = _filled(Path(name), items, model)
            with _service(library) as (url, process):
                _under_load(url, process.pid, Load(url, seconds / 10))  # until memory is what it stays
                for title, load in (
                    (f"read before, {RATE:.0f} a second", Load(url, seconds, RATE)),
                    ("read before, at most", Load(url, seconds / 4)),
                    ("new", Load(url, seconds, new=True)),
                ):
                    with _Writer(library, films) as writer:
                        measured = _under_load(url, process.pid, load)
                    yield f"  {model}, {title}: {measured.line()}; {writer.line()}"
        size = max(1, round(measured.together))
        rate = _text_tower_alone(model, size, sentences)
        share = measured.rate / rate
        yield f"  {model}, its text tower alone, {size} together: {rate:.0f} a second; the service {share:.0%} of that"


class Load(NamedTuple):
    """What clients ask for: for so long, so many a second (None: as many as are answered), new sentences or not."""

    url: str
    seconds: float
    rate: float | None = None
    new: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load was answered: `waits`, the seconds of each search; how many got no hits (`lost`); how many searches
    the service embedded together, its seconds of processor for each, and its MB of memory before and after."""

    seconds: float
    waits: list[float]
    lost: int
    together: float
    processor: float
    memory: tuple[float, float]

    @property
    def rate(self) -> float:
        return len(self.waits) / self.seconds

    def line(self) -> str:
        p50, p95, p99 = np.percentile(np.array(self.waits) * 1000, [50, 95, 99])
        before, after = self.memory
        return (
            f"{self.rate:.0f} searches a second; p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms; lost {self.lost}; "
            f"{self.together:.1f} together, {self.processor * 1000:.1f} ms of processor each; "
            f"memory {before:.0f} -> {after:.0f} MB"
        )


def _under_load(url: str, pid: int, load: Load) -> Measured:
    """Return what clients in a process of their own measured, and what the service counted meanwhile."""
    before, processor = _metrics(url), _processor_seconds(pid)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, waits, lost = pool.apply(clients, (load,))
    after = _metrics(url)
    searches, turns = (after[name] - before[name] for name in ("search_seconds_count", "search_turns_total"))
    spent = (_processor_seconds(pid) - processor) / max(1.0, searches)
    memory = before["resident_memory_bytes"] / 1e6, after["resident_memory_bytes"] / 1e6
    return Measured(seconds, waits, lost, searches / max(1.0, turns), spent, memory)


def _text_tower_alone(model: str, together: int, sentences: int) -> float:
    """Return the sentences a second that a model reads, where the service was before."""
    tower = models.make(models.resolve(models.section(model)), "cpu")
    queries = [Query(_sentence(number)) for number in range(sentences + together)]
    _stay_on(0)
    try:
        tower.embed_queries(queries[:together])
        started = time.perf_counter()
        for first in range(together, len(queries), together):
            tower.embed_queries(queries[first : first + together])
        return sentences / (time.perf_counter() - started)
    finally:
        _stay_on(1)


# The library, its service, and its writer


def _filled(folder: Path, items: int, model: str) -> tuple[Path, list[Path]]:
    """Return a library of one film and synthetic items, and films that it does not have yet."""
    options = {"split": "test", "root": str(folder / "shapes"), "count": _FILMS + 1}
    data = plugins.build("datasets", "moving_shapes", options)
    data.generate()
    first, *others = sorted({sample.video.path for sample in data.samples()})
    with Library(folder / "library", model=model) as library:
        library.index(first)
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
    return folder / "library", others


@contextmanager
def _service(library: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a library on the first processor; yield the address once the model is loaded, and the process."""
    command = [sys.executable, "-m", "mmi_tvr.cli", "serve", "--library", str(library), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: _stay_on(0))
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urlopen(f"{url}/api/search?q=a+dog+runs&min_relevance=0", timeout=120) as reply:
            reply.read()
        yield url, process
    finally:
        process.terminate()
        process.wait()


class _Writer:
    """Indexes films beside the clients, one after the other."""

    def __init__(self, library: Path, films: list[Path]) -> None:
        self._library = Library(library)
        self._films = films  # those that are still to come
        self._before = self._library.status().videos
        self._added = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while self._films and not self._stop.wait(_PAUSE):
            self._library.index(self._films.pop(0))
            self._added += 1

    def line(self) -> str:
        known = self._library.status().videos - self._before
        return f"{self._added} films indexed meanwhile, {known} of them in the library"

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def _metrics(url: str) -> dict[str, float]:
    """Return what a service counts, by name."""
    with urlopen(f"{url}/metrics", timeout=10) as reply:
        lines = [line for line in reply.read().decode().splitlines() if not line.startswith("#")]
    return {name.removeprefix("mmi_tvr_"): float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def _processor_seconds(pid: int) -> float:
    """Return the seconds of processor that a process spent; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stay_on(processor: int) -> None:
    """Compute on one processor from now on, where there are two and the system takes orders."""
    if sys.platform.startswith("linux") and (os.cpu_count() or 1) > processor:
        os.sched_setaffinity(0, {processor})


# Clients, in a process of their own


def clients(load: Load) -> tuple[float, list[float], int]:
    """Return the seconds that a load took, those of each search, and how many got no hits."""
    tickets, started = count(), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as threads:
        replies = list(threads.map(lambda _: _client(load, tickets, started), range(CLIENTS)))
    waits = [wait for reply in replies for wait in reply[0]]
    return time.monotonic() - started, waits, sum(reply[1] for reply in replies)


def _client(load: Load, tickets: Iterator[int], started: float) -> tuple[list[float], int]:
    """Search one after the other over one connection; return the seconds of each, and how many got no hits."""
    waits, lost = [], 0
    parts = urlsplit(load.url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=120)) as connection:
        stream = connection.makefile("rb")
        while True:
            number = next(tickets)
            due = time.monotonic() if load.rate is None else started + number / load.rate
            time.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() - started >= load.seconds:
                return waits, lost
            sentence = _sentence(10_000 + number if load.new else number % _SENTENCES)
            target = f"/api/search?q={quote(sentence)}&min_relevance=0"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            status, length = stream.readline(), 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = stream.read(length)
            waits.append(time.monotonic() - due)
            lost += b" 200 " not in status or not json.loads(body)["hits"]


def _sentence(number: int) -> str:
    return f"the {_WORDS[number % 6]} {_DOINGS[number // 6 % 8]} and {_DOINGS[number // 48 % 8]} {number}"
