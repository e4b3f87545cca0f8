"""What a run says before it renders, decodes and caches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes import FakeModel, RecordedProgress, colour_video

from mmi_tvr import plugins
from mmi_tvr.features.cache import FeatureCache
from mmi_tvr.media import guarded
from mmi_tvr.train import plan
from mmi_tvr.types import Video

METHOD = plugins.build("keyimages", "uniform", {"count": 2})


class Generated:
    """Renders colours on demand."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def pending(self, limit: int | None = None) -> list[int]:
        return [number for number, path in enumerate(self._paths[:limit]) if not path.exists()]

    def generate(self, limit: int | None = None, *, advance: object = None) -> None:
        for number in self.pending(limit):
            colour_video(self._paths[number], ["red", "green", "blue"][number % 3], seconds=0.5 + number / 8)


def test_the_plan_counts_and_times_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TRIAL", 4)
    monkeypatch.setenv(guarded.DECODE_WORKERS, "0")
    paths = [tmp_path / f"{number}.mp4" for number in range(10)]
    videos, dataset, cache = [Video(path) for path in paths], Generated(paths), tmp_path / "cache"
    progress = RecordedProgress()
    plan.say_plan("training data", dataset, videos, FakeModel(), METHOD, cache, progress)
    (message,) = progress.messages
    shape = (
        r"training data, 10 videos: 10 videos to render, then to be decoded once and cached in (.*): about \S+ \w+ with"
    )
    assert re.match(shape, message)[1] == str(cache)  # type: ignore[index]
    assert dataset.pending() == [4, 5, 6, 7, 8, 9]
    assert len(FeatureCache(cache)) == 4
    assert (progress.stages, progress.steps) == ([("trial", 4)], [4])

    dataset.generate()
    plan.say_plan("later", dataset, videos, FakeModel(), METHOD, cache, progress)  # every second video is tried now
    assert "later, 10 videos: its videos are to be decoded" in progress.messages[-1]
    before = len(progress.messages)
    for _ in range(2):  # all that is tried is there now
        plan.say_plan("cached", dataset, videos, FakeModel(), METHOD, cache, progress)
    assert len(progress.messages) == before


def test_few_videos_need_no_plan(tmp_path: Path) -> None:
    progress = RecordedProgress()
    videos = [Video(tmp_path / "no-such-file.mp4")] * (2 * plan.TRIAL)
    plan.say_plan("data", None, videos, FakeModel(), METHOD, tmp_path / "cache", progress)
    assert (progress.messages, progress.stages) == ([], [])
