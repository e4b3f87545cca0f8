"""The same work by Ray Data: the same files, and the same patience with what kills its worker."""

from __future__ import annotations

from pathlib import Path

import batch_jobs
import pytest
from fakes import RecordedProgress
from test_batch import WORKER, begin, check, clips, in_this_process  # noqa: F401 (fixtures)

from mmi_tvr.batch import ray_engine, supervise
from mmi_tvr.batch.worker import Worker

pytest.importorskip("ray")


def test_ray_writes_the_same_files(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("POISON", "kill")
    first = begin(tmp_path / "processes", clips, shard_size=6)
    supervise.supervise(first, [*WORKER, str(first.path)], RecordedProgress())
    second = begin(tmp_path / "ray", clips, shard_size=6)
    progress = RecordedProgress()
    ray_engine.run(second, batch_jobs.make_task, supervise.StatusReporter(second, progress), workers=2)
    Worker(second, batch_jobs.make_task(second)).finish()
    check(second, clips, quarantined=("03b.mp4",))
    assert progress.steps == [12]
    for file in (path for part in ("done", "embeddings", "features") for path in (first.path / part).iterdir()):
        if file.name != "manifest.jsonl":  # its order is that of the workers
            assert file.read_bytes() == (second.path / file.parent.name / file.name).read_bytes()
