"""A search of what is seen alone, and of what is seen, said and written, in the same library, with the offline model.

Few clips can be seen, so that the search of what is seen is as quick as it gets; the moments of both text channels are
made up: texts of twelve words out of 2,000, with vectors of chance. Every query is new: nothing of it is remembered.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmi_tvr.datasets import moving_shapes
from mmi_tvr.encoders import e5
from mmi_tvr.library import Library
from mmi_tvr.library.channels import CHANNELS, ChannelStore
from mmi_tvr.library.channels.searching import fit_laws
from mmi_tvr.library.channels.store import RememberedChannel
from mmi_tvr.types import ChannelMoment, Passage, Span

_CLIPS, _TOGETHER, _VOCABULARY, _WORDS = 8, 1_000, 2_000, 12


def run(args: argparse.Namespace) -> Iterator[str]:
    moments, queries = (2_000, 5) if args.small else (50_000, 40)
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name) / "clips", Path(name) / "library"
        moving_shapes.build(moving_shapes.Options(count=_CLIPS, root=folder)).generate()
        with Library(path, model="label_bridge") as library:
            library.index(folder)
        _make_up(path, moments)
        hidden = path.with_name("hidden")
        (path / CHANNELS).rename(hidden)
        alone = _seconds(path, queries, "a person with a number")
        hidden.rename(path / CHANNELS)
        together = _seconds(path, queries, "somebody with a number")
        yield f"{_CLIPS} clips that are seen, {moments:,} texts that are said, and as many that are written"
        yield f"  seen alone            {1000 * alone:8.1f} ms a search (median of {queries})"
        yield f"  seen, said, written   {1000 * together:8.1f} ms a search, {together / alone:.2f} times as much"


def _seconds(path: Path, queries: int, text: str) -> float:
    """Return the median of the seconds of so many searches, each of another sentence, the library being open."""
    with Library(path) as library:
        library.search("a dog runs over a meadow")
        spent = []
        for number in range(queries):
            started = time.perf_counter()
            library.search(f"{text}, {number}, walks along the river with word{number} and word{7 * number}")
            spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def _make_up(path: Path, count: int) -> None:
    """Give each of two channels so many moments, spread over the clips of a library."""
    rng = np.random.default_rng(0)
    with Library(path) as library:
        contents = [content.sha256 for content in library._reader.catalogue().contents_with("state = 'indexed'")]
    with ChannelStore.open_to_write(path) as store:
        for name in ("heard", "read"):
            channel = RememberedChannel(False, {}, f"bench-{name}", e5.WIDTH)
            store.remember({name: channel})
            vectors = store.open_vectors(name, channel, create=True)
            assert vectors is not None
            for first in range(0, count, _TOGETHER):
                content = contents[first // _TOGETHER % len(contents)]
                store.texts.begin(content, name, f"bench-{name}")
                store.texts.append(content, name, _passage(rng, first, min(_TOGETHER, count - first)), vectors.upsert)
            vectors.flush()
            vectors.close()
        fit_laws(store)


def _passage(rng: np.random.Generator, first: int, count: int) -> Passage:
    rows = rng.normal(size=(count, e5.WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ranks = np.minimum(rng.zipf(1.3, (count, _WORDS)), _VOCABULARY)  # as frequent as words are
    texts = [" ".join(f"word{rank}" for rank in line) for line in ranks]
    spans = [Span(float(first + second), first + second + 1.0, float(first + second)) for second in range(count)]
    moments = [ChannelMoment(span, row, text) for span, row, text in zip(spans, rows, texts, strict=True)]
    return Passage(float(first), float(first + count), moments)
