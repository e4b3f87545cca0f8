"""A process that reads files by a channel is killed at many of its steps; the next run stores each text, once."""

from __future__ import annotations

import shutil
from pathlib import Path

from fakes import FakeModel, colour_video
from killing import driver

from mmi_tvr.library import Library
from mmi_tvr.library.channels import ChannelStore

DRIVER = """
from fakes import FakeChannel, FakeModel
from killing import serve
from mmi_tvr.channels import heard
from mmi_tvr.index import faiss
from mmi_tvr.library import Library

channel = FakeChannel()
heard.build = lambda options: channel
heard.embed_queries = channel.embed_queries

def work(library):
    with Library(library, model=FakeModel()) as opened:
        opened.index(channels=["heard"])

serve(work, ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"))
"""
LINES = [f"{second} part {second}" for second in range(4)]


def check(path: Path) -> None:
    """Every text and every vector is there, once."""
    with Library(path, model=FakeModel()) as library:
        assert library.status().channels.channels["heard"].as_dict()["done"] == 2
    store = ChannelStore.open_to_read(path)
    assert store is not None
    with store:
        channel = store.remembered()["heard"]
        vectors = store.open_vectors("heard", channel, create=False)
        assert vectors is not None
        ids = store.texts.ids("heard", channel.fingerprint or "")
        assert vectors.ids().tolist() == ids.tolist()
        texts = sorted(one.text or "" for one in store.texts.moments(ids.tolist()).values())
        assert texts == sorted([*(line.partition(" ")[2] for line in LINES), "other"])
        vectors.close()


def test_killed_at_many_steps(tmp_path: Path) -> None:
    for colour, lines in (("red", LINES), ("green", ["0 other"])):
        colour_video(tmp_path / "clips" / f"{colour}.mp4", colour, seconds=0.5)
        (tmp_path / "clips" / f"{colour}.said").write_text("\n".join(lines))
    with driver(DRIVER, MMI_TVR_DECODE_WORKERS="0", MMI_TVR_CACHE=str(tmp_path / "cache")) as run:
        with Library(tmp_path / "seen", model=FakeModel()) as opened:
            opened.index([tmp_path / "clips"])

        def library(name: str) -> Path:
            return shutil.copytree(tmp_path / "seen", tmp_path / name)

        steps = run(0, str(library("measured")))
        assert steps is not None
        assert steps > 60
        kills = 0
        for fatal in range(1, steps, 37):
            path = library(f"killed at {fatal}")
            kills += run(fatal, str(path)) is None
            assert run(0, str(path)) is not None
            check(path)
        assert kills > 5
