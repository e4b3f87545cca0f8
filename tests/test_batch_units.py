"""The parts of a batch by themselves: journals, folders, tries, lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmi_tvr import plugins
from mmi_tvr.batch import inputs
from mmi_tvr.batch.folder import BatchFolder, BatchState
from mmi_tvr.batch.inputs import Item
from mmi_tvr.batch.journal import CRASHED, Journal, Outcome
from mmi_tvr.batch.worker import Worker, WorkerFailed
from mmi_tvr.config import Section
from mmi_tvr.errors import IndexMismatch, MmiTvrError, UsageError
from mmi_tvr.utils.interruption import Interrupted

# Journals and folders


def folder_of(path: Path, count: int = 5, shard_size: int = 2) -> BatchFolder:
    items = [{"id": f"item {number}"} for number in range(count)]
    return BatchFolder.create(path, "test", {"shard": shard_size}, lambda: ({}, items), shard_size)


def test_a_journal_is_what_was_noted_last(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.begin([1, 2, 3, 4])
    journal.finish({1: {"text": "a"}})
    journal.finish({1: {"text": "another worker's"}})
    journal.fail({2: "odd", 4: "odd"})
    journal.begin([2, 4])
    journal.withdraw([4])
    journal.withdraw([4, 4, 9])
    for known in (journal, Journal(path)):
        assert known.outcomes == {1: {"text": "a"}}
        assert known.tries == {1: 1, 2: 2, 3: 1, 4: 0, 9: 0}
        assert {number: known.reasons[number] for number in (2, 3)} == {2: CRASHED, 3: CRASHED}


def test_a_journal_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"begin": [1]}\n{"begin": [2')
    journal = Journal(path)
    journal.begin([3])
    journal.begin([4])
    assert path.read_bytes() == b'{"begin": [1]}\n{"begin": [2\n{"begin": [3]}\n{"begin": [4]}\n'
    assert Journal(path).tries == {1: 1, 3: 1, 4: 1}


def test_a_list_is_cut_into_shards(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=5, shard_size=2)
    assert folder.shards() == folder.open_shards() == ["000000", "000001", "000002"]
    assert folder.items("000001") == {2: {"id": "item 2"}, 3: {"id": "item 3"}}
    assert folder.items("000002") == {4: {"id": "item 4"}}
    assert folder_of(tmp_path / "whole", count=4, shard_size=2).shards() == ["000000", "000001"]
    with pytest.raises(UsageError, match="at least 1 item, not 0"):
        folder_of(tmp_path / "none", shard_size=0)


def test_how_far_the_work_is_counts_finished_shards_and_journals(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    assert folder.state() == BatchState(items=5, succeeded=0, quarantined=0, open_shards=3, shards=3)
    folder.publish("000000", folder.items("000000"), {0: {"hits": 1}, 1: {"reason": "bad", "tries": 2}})
    for shard, number in (("000000", 0), ("000001", 2)):  # the first is left over from a worker that was killed
        folder.workdir(shard).mkdir(parents=True)
        Journal(folder.workdir(shard) / "journal.jsonl").finish({number: {"hits": 2}})
    (tmp_path / "out" / "leases").mkdir()
    for shard in ("000000", "000001"):
        (tmp_path / "out" / "leases" / f"{shard}.json").touch()
    assert folder.state() == BatchState(items=5, succeeded=2, quarantined=1, open_shards=2, shards=3)
    assert folder.state().finished == 3
    assert folder.quarantined() == [("item 1", "bad")]
    assert folder.open_shards() == ["000001", "000002"]
    assert folder.outcomes("000000") == [{"id": "item 0", "hits": 1}, {"id": "item 1", "reason": "bad", "tries": 2}]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    drafts = (
        f".{ended.pid}-0a1b2c3d.tmp",
        f".{os.getpid()}-0a1b2c3d.tmp",
        ".mine.tmp",
    )
    for name in drafts:
        (tmp_path / "out" / "done" / name).touch()
    folder.remove_leftovers()
    assert {path.name for path in (tmp_path / "out" / "done").glob(".*.tmp")} == {*drafts[1:]}
    assert [path.name for path in (tmp_path / "out" / "work").iterdir()] == ["000001"]
    assert [path.name for path in (tmp_path / "out" / "leases").iterdir()] == ["000001.json"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"] == {
        "000000": {"good": 1, "quarantined": 1}
    }


def test_only_shards_with_quarantined_items_are_opened_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=4)
    folder.publish("000000", folder.items("000000"), {0: {}, 1: {}})
    folder.publish("000001", folder.items("000001"), {2: {}, 3: {"reason": "bad"}})
    assert folder.open_shards() == []
    assert folder.reopen() == 1
    assert folder.open_shards() == ["000001"]
    assert list(folder.manifest["shards"]) == ["000000"]


def test_tries_that_nobody_came_back_from_are_taken_back(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=4, shard_size=4)
    folder.workdir("000000").mkdir(parents=True)
    path = folder.workdir("000000") / "journal.jsonl"
    journal = Journal(path)
    journal.begin([0, 1, 2])
    journal.finish({0: {}})
    journal.fail({1: "odd"})
    folder.withdraw_crashed_tries()
    assert Journal(path).tries == {0: 1, 1: 1, 2: 0}


def test_what_does_not_belong_together_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out")
    folder.bind({"model": "a", "vectors": "x"})
    folder_of(tmp_path / "out").bind({"model": "a", "vectors": "x"})
    with pytest.raises(IndexMismatch, match="begun with vectors x, now y: name a new folder"):
        folder.bind({"model": "a", "vectors": "y"})
    with pytest.raises(UsageError, match="begun with job 'test', now 'another': ask the same"):
        BatchFolder.create(tmp_path / "out", "another", {"shard": 2}, lambda: ({}, []), 2)
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UsageError, match="its format is 2, this version reads 1"):
        BatchFolder(tmp_path / "out")


def test_a_folder_that_calls_the_smallest_relevance_a_score_is_continued(tmp_path: Path) -> None:
    values = {"top": 3, "min_relevance": 0.25}
    BatchFolder.create(tmp_path / "out", "test", values, lambda: (values, [{"id": "a"}]), 2)
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("min_relevance", "min_score"))
    assert BatchFolder.create(tmp_path / "out", "test", values, lambda: ({}, []), 2).settings == values
    with pytest.raises(UsageError, match=r"begun with min_relevance 0\.25, now 0\.5: ask the same"):
        BatchFolder.create(tmp_path / "out", "test", {**values, "min_relevance": 0.5}, lambda: ({}, []), 2)


# Tries


class ScriptedTask:
    """Does for each item what `script` says: an outcome, an error to raise, or a call; remembers what was tried."""

    batch_size = 3

    def __init__(self, script: Mapping[int, Any] | None = None) -> None:
        self.script = script or {}
        self.tried: list[list[int]] = []
        self.published: list[str] = []
        self.finished = 0

    def begin(self) -> Mapping[str, str]:
        return {"model": "scripted"}

    def run(self, items: Mapping[int, Item], workdir: Path) -> Iterator[dict[int, Outcome]]:
        self.tried.append(list(items))
        for number in items:
            step = self.script.get(number, {})
            if isinstance(step, BaseException):
                raise step
            yield {number: step() if callable(step) else step}

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], workdir: Path
    ) -> Mapping[int, Outcome]:
        self.published.append(shard)
        return outcomes

    def finish(self) -> None:
        self.finished += 1


def worker_of(folder: BatchFolder, task: ScriptedTask) -> Worker:
    return Worker(folder, task, heartbeat=60, stale_after=600)


def test_items_are_tried_together_then_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=5, shard_size=5)
    task = ScriptedTask({1: {"reason": "bad"}, 3: {"reason": "worse"}})
    worker_of(folder, task).run()
    assert task.tried == [[0, 1, 2], [3, 4], [1], [3]]
    assert folder.quarantined() == [("item 1", "bad"), ("item 3", "worse")]
    assert [outcome.get("tries") for outcome in folder.outcomes("000000")] == [None, 2, None, 2, None]
    assert not folder.workdir("000000").exists()
    assert task.finished == 1


def test_an_unexpected_error_is_blamed_on_what_was_not_finished(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=3, shard_size=3)
    task = ScriptedTask({1: RuntimeError("odd")})
    with pytest.raises(WorkerFailed, match="3 items from item 0: RuntimeError: odd"):
        worker_of(folder, task).run()
    journal = Journal(folder.workdir("000000") / "journal.jsonl")
    assert (journal.outcomes, journal.tries) == ({0: {}}, {0: 1, 1: 1, 2: 1})
    assert {number: journal.reasons[number] for number in (1, 2)} == dict.fromkeys((1, 2), "RuntimeError: odd")
    assert journal.reasons[0] == CRASHED
    task.script = {1: RuntimeError("odd again")}
    with pytest.raises(WorkerFailed, match=r"^item 1: RuntimeError: odd again$"):
        worker_of(folder, task).run()
    worker_of(folder, task).run()
    assert task.tried == [[0, 1, 2], [1], [2]]
    assert folder.quarantined() == [("item 1", "RuntimeError: odd again")]


@pytest.mark.parametrize("error", [MmiTvrError("no disk"), OSError("no disk"), KeyboardInterrupt(), Interrupted()])
def test_a_try_that_ends_for_other_reasons_does_not_count(tmp_path: Path, error: BaseException) -> None:
    folder = folder_of(tmp_path / "out", count=3, shard_size=3)
    with pytest.raises(type(error)):
        worker_of(folder, ScriptedTask({1: error})).run()
    journal = Journal(folder.workdir("000000") / "journal.jsonl")
    assert (journal.outcomes, journal.tries) == ({0: {}}, {0: 1, 1: 0, 2: 0})
    assert not list(folder.path.glob("leases/*.json"))


def test_a_worker_begins_at_its_share_of_the_shards(tmp_path: Path) -> None:
    for start, first in ((0.0, 0), (0.5, 2), (0.75, 3)):
        task = ScriptedTask()
        folder = folder_of(tmp_path / str(first), count=4, shard_size=1)
        worker_of(folder, task).run(start)
        shards = folder.shards()
        assert task.published == shards[first:] + shards[:first]


@pytest.mark.parametrize("stolen_at", ["run", "before publish", "publish"])
def test_a_worker_that_lost_its_lease_publishes_nothing(tmp_path: Path, stolen_at: str) -> None:
    folder = folder_of(tmp_path / "out", count=1, shard_size=1)

    def steal() -> Outcome:
        path = folder.path / "leases" / "000000.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "token": "another"}))
        return {}

    class Stolen(ScriptedTask):
        def run(self, items: Mapping[int, Item], workdir: Path) -> Iterator[dict[int, Outcome]]:
            yield from super().run(items, workdir)
            if stolen_at == "before publish":
                steal()

        def publish(self, *arguments: Any) -> Mapping[int, Outcome]:
            if stolen_at == "publish":
                steal()
            return super().publish(*arguments)

    task = Stolen({0: steal} if stolen_at == "run" else {})
    worker = worker_of(folder, task)
    assert worker._attempt("000000") is False
    assert not folder.is_finished("000000")
    assert task.published == (["000000"] if stolen_at == "publish" else [])
    outcomes = Journal(folder.workdir("000000") / "journal.jsonl").outcomes
    assert outcomes == ({} if stolen_at == "run" else {0: {}})


def test_a_shard_that_another_worker_finished_meanwhile_is_no_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "out", count=1, shard_size=1)

    def lose(*, lease: bool) -> Outcome:
        if lease:
            (folder.path / "leases" / "000000.json").unlink()
        raise FileNotFoundError("its place was cleared")

    assert worker_of(folder, ScriptedTask({0: lambda: lose(lease=True)}))._attempt("000000") is False
    with pytest.raises(FileNotFoundError, match="cleared"):
        worker_of(folder, ScriptedTask({0: lambda: lose(lease=False)}))._attempt("000000")


# Lists


def table(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_of_a_list_are_videos_and_spans(tmp_path: Path) -> None:
    listed = table(
        tmp_path / "list.jsonl",
        {"path": " a.mp4 ", "start": "1.5", "end": 2},
        {"path": "/films/b.mp4", "id": 7, "start": "", "end": None},
        {"path": "c.mp4", "start": float("nan"), "end": float("nan")},
    )
    expected = [
        {"id": "a.mp4", "path": f"{tmp_path}/a.mp4", "start": 1.5, "end": 2.0},
        {"id": "7", "path": "/films/b.mp4", "start": 0.0, "end": None},
        {"id": "c.mp4", "path": f"{tmp_path}/c.mp4", "start": 0.0, "end": None},
    ]
    assert inputs.videos(listed) == expected
    assert [item["path"] for item in inputs.videos(listed, root=Path("/root of it"))] == [
        "/root of it/a.mp4",
        "/films/b.mp4",
        "/root of it/c.mp4",
    ]
    with pytest.raises(UsageError, match=r"list\.jsonl, line 1: start and end are seconds, not 'soon'"):
        inputs.videos(table(listed, {"path": "a.mp4", "end": "soon"}))


def test_the_first_known_column_is_read(tmp_path: Path) -> None:
    row = {"sentence": "d", "caption": "c", "text": "b", "query": "a", "number": "9"}
    listed = table(tmp_path / "list.jsonl", row)
    assert inputs.queries(listed) == [{"id": "1", "text": "a"}]
    assert inputs.queries(listed, column="caption", id_column="number") == [{"id": "9", "text": "c"}]
    with pytest.raises(UsageError, match="no column 'name'; there are: sentence, caption, text, query, number"):
        inputs.queries(listed, column="name")
    with pytest.raises(UsageError, match="no column is called 'key'; there are: "):
        inputs.queries(listed, id_column="key")
    (tmp_path / "list.txt").write_text("a\nb\n")
    assert inputs.queries(tmp_path / "list.txt", column="any name will do")[1] == {"id": "2", "text": "b"}
    with pytest.raises(UsageError, match="id 'x' comes more than once"):
        inputs.queries(table(listed, *[{"query": "a", "id": name} for name in ("x", "y", "x")]))


def test_generated_videos_are_rendered_before_they_are_listed(tmp_path: Path) -> None:
    options = {"split": "test", "count": 2, "root": tmp_path, "size": 32, "fps": 1}
    items = inputs.samples(Section(name="moving_shapes", **options))
    assert [item["id"] for item in items] == ["test00000", "test00001"]
    assert all(Path(item["path"]).is_file() for item in items)


def test_samples_that_are_spans_stay_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmi_tvr.types import Sample, Video

    class Spans:
        def samples(self) -> list[Sample]:
            return [Sample("a", Video(Path("relative.mp4"), 1.0, 2.5), ("caption",))]

    build: Callable[..., Any] = lambda *arguments: Spans()  # noqa: E731
    monkeypatch.setattr(plugins, "build", build)
    monkeypatch.chdir(tmp_path)
    assert inputs.samples(Section(name="spans")) == [
        {"id": "a", "path": str(tmp_path / "relative.mp4"), "start": 1.0, "end": 2.5}
    ]
