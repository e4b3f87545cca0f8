"""The model of large collections: its arithmetic, and that it is held against what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.experiments import capacity

ROOT = Path(__file__).parent.parent


def predicted(videos: int, rates: tuple[str, ...] = (), **more: object) -> capacity.Prediction:
    return capacity.predict(capacity.CollectionSpec(videos=videos, **more), capacity.rates(rates))


def test_by_hand() -> None:
    """1,000 videos of a minute, in round rates."""
    round_rates = ("decode=60", "bitrate=1e6", "features=1000", "images=100", "llm=1000", "scan=1e9")
    prediction = predicted(1_000, round_rates, seconds=60, key_images=9, dim=250, tokens=100, queries=5)
    assert prediction.video_hours == pytest.approx(1_000 / 60)
    assert prediction.source_tb == pytest.approx(0.06)
    assert prediction.decode_core_hours == pytest.approx(1_000 / 3_600)
    assert prediction.encode_gpu_hours == pytest.approx((90 + 100) / 3_600)
    assert prediction.features_gb == pytest.approx(0.009)
    assert (prediction.vectors, prediction.index) == (10_000, "FLAT")
    assert prediction.raw_gb == pytest.approx(0.01)
    assert prediction.queries_per_core == pytest.approx(100)
    assert prediction.cores == 1


@given(
    videos=st.integers(1, 10**9),
    key_images=st.integers(1, 60),
    dim=st.integers(2, 4_096),
    nodes=st.integers(1, 1_000),
    moments=st.booleans(),
    answers=st.integers(0, 500),
)
def test_more_never_takes_less(videos, key_images, dim, nodes, moments, answers) -> None:
    same = {"key_images": key_images, "dim": dim, "nodes": nodes, "moments": moments, "answers": answers}
    small, large = predicted(videos, **same), predicted(2 * videos, **same)
    for field in (
        "video_hours",
        "decode_core_hours",
        "encode_gpu_hours",
        "describe_gpu_hours",
        "features_gb",
        "raw_gb",
    ):
        assert getattr(large, field) == pytest.approx(2 * getattr(small, field))
    assert large.vectors == 2 * small.vectors
    assert large.once >= small.once
    if large.index == small.index:
        assert large.queries_per_core <= small.queries_per_core * (1 + 1e-9)
        assert large.cores >= small.cores
        assert large.memory_gb == pytest.approx(2 * small.memory_gb, rel=0.01)
    assert large.index == "DISKANN" or large.memory_gb <= 64 * nodes or large.vectors <= 50_000


def test_what_changes_the_driver() -> None:
    assert predicted(10**8, own_storage=True).driver == "storing the videos"
    assert predicted(10**8, own_storage=False, answers=2_000, moments=False, dim=128).driver == "describing"
    assert predicted(10**8, own_storage=False, queries=10_000).driver == "cores for queries"


def test_larger_segments_search_faster() -> None:
    assert predicted(10**6, segment_gb=8).queries_per_core > 4 * predicted(10**6).queries_per_core


@pytest.mark.parametrize(("override", "message"), [("speed=1", "unknown option 'speed'"), ("images=0", "images: ")])
def test_wrong_rates(override, message) -> None:
    with pytest.raises(UsageError, match=message):
        capacity.rates([override])


def test_check_predicts_files_and_measures_times() -> None:
    checks = capacity.check((400, 800), dim=32, probes=(100, 200), queries=3)
    assert len(checks) == 10
    for check in checks:
        assert check.measured > 0
        if check.unit == "MB on disk":
            assert check.ratio == pytest.approx(1, abs=0.1)
    line = next(line for line in capacity.comparisons(checks) if "graph bytes | 800" in line)
    assert line.endswith("|")


def test_every_rate_is_listed_with_its_source() -> None:
    lines = capacity.sources()
    assert len(lines) == 2 + len(capacity.RATES)
    assert (
        sum("| assumed |" in line for line in lines) + sum("| measured |" in line for line in lines) == len(lines) - 2
    )


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "simulate_scale.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_script() -> None:
    done = run("1e6", "--json", "--set", "dim=512", "--rate", "decode=72")
    assert done.returncode == 0, done.stderr
    [prediction] = json.loads(done.stdout)
    assert (prediction["videos"], prediction["vectors"]) == (1_000_000, 13_000_000)
    assert prediction["decode_core_hours"] == pytest.approx(1e6 * 60 / 72 / 3_600)
    wrong = run("--set", "dimm=3")
    assert wrong.returncode == 2
    assert "unknown option 'dimm'" in wrong.stderr
