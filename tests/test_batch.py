"""Long work in shards: every item exactly once, whoever dies, stops or misbehaves meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import batch_jobs
import pytest
from fakes import COLOURS, FakeModel, RecordedProgress, colour_video
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import make_sound
from PIL import Image
from safetensors import safe_open

from mmi_tvr import models
from mmi_tvr.batch import extract, supervise
from mmi_tvr.batch.folder import BatchFolder
from mmi_tvr.batch.journal import CRASHED, Journal
from mmi_tvr.batch.leases import Leases
from mmi_tvr.batch.worker import Worker, WorkerFailed
from mmi_tvr.errors import IndexMismatch, MmiTvrError, UsageError
from mmi_tvr.features.cache import FeatureCache

WORKER = [sys.executable, str(Path(batch_jobs.__file__))]
HEARTBEAT = {"heartbeat": 0.05, "stale_after": 0.4}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven clips of two colours each, and one that is magenta (the fifth by name)."""
    folder = tmp_path_factory.mktemp("clips")
    pairs = [pair for pair in product(sorted(COLOURS), repeat=2) if "magenta" not in pair][:11]
    for number, pair in enumerate(pairs):
        colour_video(folder / f"{number:02d}.mp4", *pair, seconds=0.25)
    colour_video(folder / "03b.mp4", "magenta", seconds=0.25)
    return folder


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_DECODE_WORKERS", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))


def begin(output: Path, clips: Path, shard_size: int = 4, **options: Any) -> BatchFolder:
    return extract.create(output, clips, model=models.section("label_bridge"), shard_size=shard_size, **options)


def finish(folder: BatchFolder, model: FakeModel | None = None) -> FakeModel:
    """Work to the end in this process; returns the model, which has counted."""
    used = model or FakeModel()
    Worker(folder, extract.ExtractTask(folder, "cpu", lambda section, device: used), **HEARTBEAT).run()
    return used


def check(folder: BatchFolder, clips: Path, quarantined: tuple[str, ...] = ()) -> None:
    """Every clip is there exactly once, in order, in all that was written; nothing is left over."""
    names = sorted(path.name for path in clips.iterdir())
    outcomes = [outcome for shard in folder.shards() for outcome in folder.outcomes(shard)]
    assert [outcome["id"] for outcome in outcomes] == names
    assert tuple(name for name, _ in folder.quarantined()) == quarantined
    keys = [outcome["key"] for outcome in outcomes if "key" in outcome]
    assert len(keys) == len(set(keys)) == len(names) - len(quarantined)
    written = []
    for file in sorted((folder.path / "embeddings").iterdir()):
        with safe_open(file, framework="numpy") as stored:
            items = json.loads(stored.metadata()["items"])
            written += items
            assert [names[number] for number in stored.get_tensor("numbers")] == [item["id"] for item in items]
            assert len(stored.get_tensor("videos")) == len(items) == len(stored.get_tensor("offsets")) - 1
    assert [item["key"] for item in written] == keys
    cache = FeatureCache(folder.path / "features")
    assert sorted(cache) == sorted(keys)
    stored_keys = []
    for file in (folder.path / "features").glob("*.safetensors"):
        with safe_open(file, framework="numpy") as stored:
            stored_keys += json.loads(stored.metadata()["keys"])
    assert sorted(stored_keys) == sorted(keys)
    assert not list(folder.path.glob("work/*"))
    assert not list(folder.path.glob("leases/*.json"))
    tallies = json.loads((folder.path / "manifest.json").read_text())["shards"]
    assert list(tallies) == folder.shards()


@contextmanager
def worker(folder: BatchFolder, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*WORKER, str(folder.path)], env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def holders(folder: BatchFolder) -> set[int]:
    """Process numbers of those who hold a lease."""
    pids = set()
    for path in folder.path.glob("leases/*.json"):
        with suppress(FileNotFoundError):
            pids.add(json.loads(path.read_text())["pid"])
    return pids


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# Death


def test_one_of_two_workers_is_killed(tmp_path: Path, clips: Path) -> None:
    folder = begin(tmp_path / "out", clips)
    with worker(folder, DELAY="0.2") as killed, worker(folder, DELAY="0.2") as survivor:
        until(lambda: killed.pid in holders(folder) and folder.state().finished >= 4)
        killed.kill()
        killed.wait()
        assert not folder.is_finished(folder.shards()[-1])
        assert survivor.wait(60) == 0
    check(folder, clips)


def test_an_item_that_kills_its_worker_is_quarantined(tmp_path: Path, clips: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("POISON", "kill")
    progress, folder = RecordedProgress(), begin(tmp_path / "out", clips, shard_size=6)
    supervise.supervise(folder, [*WORKER, str(folder.path)], progress)
    assert folder.quarantined() == [("03b.mp4", CRASHED)]
    check(folder, clips, quarantined=("03b.mp4",))
    assert progress.steps == [12]
    assert progress.messages == ["the worker was ended by signal 9; another one goes on"] * 2


def test_an_item_that_breaks_the_model_is_quarantined(tmp_path: Path, clips: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("POISON", "raise")
    folder = begin(tmp_path / "out", clips, shard_size=6)
    for _ in range(2):
        with pytest.raises(WorkerFailed, match="RuntimeError: magenta"):
            finish(folder, batch_jobs.model())
    finish(folder, batch_jobs.model())
    assert folder.quarantined() == [("03b.mp4", "RuntimeError: magenta")]
    check(folder, clips, quarantined=("03b.mp4",))
    monkeypatch.delenv("POISON")
    assert folder.reopen() == 1
    again = finish(folder)
    assert again.images_encoded == 1  # the others' features are there
    check(folder, clips)


def test_a_worker_that_cannot_start_is_not_started_for_ever(tmp_path: Path, clips: Path) -> None:
    folder = begin(tmp_path / "out", clips)
    suicide = ["sh", "-c", "kill -9 $$"]
    with pytest.raises(MmiTvrError, match="10 workers in a row were ended by signal 9"):
        supervise.supervise(folder, suicide, RecordedProgress())
    with pytest.raises(SystemExit) as stopped:
        supervise.supervise(folder, ["sh", "-c", "exit 2"], RecordedProgress())
    assert stopped.value.code == 2
    with pytest.raises(MmiTvrError, match="10 workers in a row were ended by an unexpected error"):
        supervise.supervise(folder, ["sh", "-c", "exit 75"], RecordedProgress())


# Interruption


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_taken_up(tmp_path: Path, clips: Path, signal_: int) -> None:
    folder = begin(tmp_path / "out", clips, shard_size=12)
    with worker(folder, DELAY="0.5") as process:
        until(lambda: folder.state().finished >= 8)
        process.send_signal(signal_)
        assert process.wait(20) == supervise.STOPPED
    assert not list(folder.path.glob("leases/*.json"))
    done = folder.state().finished
    assert 8 <= done < 12
    journal = Journal(folder.workdir("000000") / "journal.jsonl")
    assert {n: tries for n, tries in journal.tries.items() if tries and n not in journal.outcomes} == {}
    assert finish(folder).images_encoded <= 2 * (12 - done)  # at most two pictures a clip, and no clip twice
    check(folder, clips)
    assert finish(folder).images_encoded == 0


def test_a_worker_stops_when_its_supervisor_is_killed(tmp_path: Path, clips: Path) -> None:
    folder = begin(tmp_path / "out", clips)
    code = (
        "from pathlib import Path; from fakes import RecordedProgress; from mmi_tvr.batch import supervise, folder; "
        f"out = folder.BatchFolder(Path({str(folder.path)!r})); "
        f"supervise.supervise(out, {[*WORKER, str(folder.path)]!r}, RecordedProgress())"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "DELAY": "0.7"}) as parent:
        until(lambda: list(folder.path.glob("leases/*.json")))
        parent.kill()
    until(lambda: not list(folder.path.glob("leases/*.json")))
    time.sleep(0.1)
    assert folder.open_shards()
    finish(folder)
    check(folder, clips)


# Leases


def test_a_silent_holder_of_another_machine_is_replaced(tmp_path: Path) -> None:
    first, second = Leases(tmp_path, **HEARTBEAT), Leases(tmp_path, **HEARTBEAT)
    lease = first.claim("a")
    assert lease is not None
    elsewhere = {**json.loads(lease.path.read_text()), "machine": "elsewhere", "pid": 1}
    lease.path.write_text(json.dumps(elsewhere))
    with lease:  # its heart beats: nobody takes it
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert second.claim("a") is None
            time.sleep(0.05)
        lease._released.set()  # suspended
        until(lambda: second.claim("a"), 5)
        with pytest.raises(Exception, match="a"):
            lease.check()
    assert second.claim("a") is None  # what the first gives back is not its own any more


def test_pictures_of_a_folder_are_items_and_recordings_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    colour_video(folder / "film.mp4", "red", seconds=0.25)
    Image.new("RGB", (8, 8), COLOURS["blue"]).save(folder / "photo.png")
    make_sound(folder / "talk.m4a", 0.3)
    batch = begin(tmp_path / "out", folder)
    finish(batch)
    outcomes = [outcome for shard in batch.shards() for outcome in batch.outcomes(shard)]
    assert [outcome["id"] for outcome in outcomes] == ["film.mp4", "photo.png"]
    assert batch.quarantined() == []


def test_a_torn_lease_grows_old(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"token": ')
    leases = Leases(tmp_path, **HEARTBEAT)
    assert leases.claim("a") is None
    until(lambda: leases.claim("a"), 5)


def test_who_lost_its_lease_writes_nothing_more(tmp_path: Path, clips: Path) -> None:
    folder = begin(tmp_path / "out", clips, shard_size=12)

    class Robbed(FakeModel):
        def encode_images(self, images: Any) -> Any:
            path = folder.path / "leases" / "000000.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "token": "another's", "pid": os.getppid()}))
            return super().encode_images(images)

    robbed = Worker(folder, extract.ExtractTask(folder, "cpu", lambda section, device: Robbed()), **HEARTBEAT)
    assert robbed._attempt("000000") is False
    assert folder.state().finished == 0
    finish(folder)
    check(folder, clips)


# Folders


def test_other_work_is_refused(tmp_path: Path, clips: Path) -> None:
    folder = begin(tmp_path / "out", clips, shard_size=12)
    finish(folder)
    with pytest.raises(UsageError, match="begun with shard 12, now 4"):
        begin(tmp_path / "out", clips)
    folder.reopen()
    (folder.path / "done" / "000000.jsonl").unlink()
    with pytest.raises(IndexMismatch, match=r"begun with embedding .*, now"):
        finish(folder, FakeModel(head=1))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        begin(tmp_path / "full", clips)
    with pytest.raises(UsageError, match="nothing was begun here"):
        BatchFolder(tmp_path / "full")
    (tmp_path / "full" / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="not readable"):
        BatchFolder(tmp_path / "full")


def test_features_of_an_earlier_run_are_not_made_again(tmp_path: Path, clips: Path) -> None:
    first = begin(tmp_path / "features", clips, outputs=("features",))
    assert finish(first).images_encoded > 0
    assert not (first.path / "embeddings").exists()
    second = begin(tmp_path / "out", clips, outputs=("embeddings",), features=tmp_path / "features" / "features")
    assert finish(second).images_encoded == 0
    assert not (second.path / "features").exists()
    both = begin(tmp_path / "both", clips)
    finish(both)
    for file in sorted((both.path / "embeddings").iterdir()):
        assert file.read_bytes() == (second.path / "embeddings" / file.name).read_bytes()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_torn_journal_is_the_journal_so_far(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal, states, sizes = Journal(path), [({}, {})], [0]
    for _ in range(data.draw(st.integers(1, 6))):
        numbers = data.draw(st.lists(st.integers(0, 5), min_size=1, unique=True))
        event = data.draw(st.sampled_from(("begin", "finish", "fail", "withdraw")))
        arguments = {"finish": {n: {"text": "é\n"} for n in numbers}, "fail": dict.fromkeys(numbers, "why")}
        getattr(journal, event)(arguments.get(event, numbers))
        states.append((dict(journal.outcomes), dict(journal.tries)))
        sizes.append(path.stat().st_size)
    cut = data.draw(st.integers(0, sizes[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    complete = max(number for number, size in enumerate(sizes) if size <= cut)
    torn = Journal(path)
    # A line that lacks nothing but its end counts, too.
    assert (torn.outcomes, torn.tries) in (states[complete], states[min(complete + 1, len(states) - 1)])
    torn.finish({9: {"more": True}})
    assert Journal(path).outcomes == torn.outcomes
