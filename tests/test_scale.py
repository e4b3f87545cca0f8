"""The model of large collections: its arithmetic, and that it is held against what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from math import ceil, log2
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.experiments import capacity
from mmi_tvr.index import milvus_plan

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


def test_the_driver_is_that_of_a_year() -> None:
    """Describing costs more than a month of the index's memory, and less than twelve."""
    assert predicted(10**6, own_storage=False, answers=2_000).driver == "memory of the index"


def test_more_nodes_hold_a_graph_that_one_cannot() -> None:
    assert (predicted(10**7, nodes=1).index, predicted(10**7, nodes=100).index) == ("DISKANN", "HNSW")


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


RATES = capacity.rates()


@pytest.mark.parametrize(
    ("index", "videos", "nodes", "seconds"),
    [
        ("FLAT", 1_000, 1, lambda n, segments: n * 768 * 4 / 18e9),
        ("HNSW", 10**6, 1_000, lambda n, segments: segments * 4.5e-4 * log2(n / segments) / log2(1e5) * 768 / 192),
        ("DISKANN", 10**7, 1, lambda n, segments: segments * 3.2e-3),
    ],
)
def test_a_query_takes_what_its_index_reads(index, videos, nodes, seconds) -> None:
    prediction = predicted(videos, nodes=nodes)
    assert (prediction.index, prediction.vectors) == (index, 13 * videos)
    assert prediction.segments == ceil(13 * videos * 768 * 4 / 1e9)
    assert 1 / prediction.queries_per_core == pytest.approx(seconds(prediction.vectors, prediction.segments))
    assert prediction.cores == ceil(10 * seconds(prediction.vectors, prediction.segments))


def test_an_inverted_index_reads_a_sixteenth_in_bytes_and_the_centres() -> None:
    plan = milvus_plan("IVF_SQ8", 10**6, 768)
    centres = 3 * plan.build["nlist"]
    expected = (10**6 / 16 / 4 + centres) * 768 * 4 / RATES["scan"]
    assert capacity.search_seconds(plan, 10**6, 768, 3, RATES) == pytest.approx(expected)


def test_money_by_hand() -> None:
    """What is paid once and every month is what was predicted, at the prices of the rates."""
    prediction = predicted(10**6, nodes=1_000, answers=200, frames=2)
    vectors = prediction.vectors
    plan = milvus_plan("HNSW", vectors, 768)
    assert prediction.describe_gpu_hours == pytest.approx(10**6 * 200 / 3_000 / 3_600)
    assert prediction.encode_gpu_hours == pytest.approx((12e6 * 2 / 770 + 64e6 / 4_800) / 3_600)
    assert prediction.memory_gb == pytest.approx(vectors * plan.memory / 1e9)
    assert prediction.disk_gb == pytest.approx(vectors * (plan.disk + 768 * 4) / 1e9)
    segment_seconds = 14.3 * (vectors / prediction.segments / 1e5) ** 1.3 * 768 / 192
    assert prediction.build_core_hours == pytest.approx(prediction.segments * segment_seconds / 3_600)
    gpu_hours = prediction.encode_gpu_hours + prediction.describe_gpu_hours
    core_hours = prediction.decode_core_hours + prediction.build_core_hours
    assert prediction.once == pytest.approx(2.0 * gpu_hours + 0.04 * core_hours)
    stored_gb = 1_000 * prediction.source_tb + prediction.features_gb
    disks = 0.023 * stored_gb + 3.0 * prediction.memory_gb + 0.08 * prediction.disk_gb
    assert prediction.monthly == pytest.approx(disks + prediction.cores * 0.04 * 730)
    without_videos = predicted(10**6, nodes=1_000, answers=200, frames=2, own_storage=False)
    assert without_videos.monthly == pytest.approx(prediction.monthly - 23 * prediction.source_tb)
    assert without_videos.source_tb == prediction.source_tb  # they are there, and somebody else pays


def test_without_moments_videos_alone_are_searched() -> None:
    assert predicted(1_000, moments=False).vectors == 1_000


def test_a_check_says_measured_over_predicted() -> None:
    check = capacity.RateCheck("exact search", "core s per query", 1_234_567, predicted=2.0, measured=3.0)
    earlier = capacity.RateCheck("exact bytes", "MB on disk", 100, predicted=4.0, measured=1.0)
    assert check.ratio == 1.5
    assert capacity.comparisons([check, earlier])[2:] == [
        "| exact bytes | 100 | 4 | 1 | MB on disk | 0.25 |",
        "| exact search | 1,234,567 | 2 | 3 | core s per query | 1.50 |",
    ]
