"""Benchmarks from the command line: what is there, evaluation, training, and the table with quoted rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import benchmark_files as files
import pytest
import typer
from fakes import COLOURS, colour_video
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data, evaluation
from mmi_tvr.encoders import hub
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.evaluation import published
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load

ROOT = Path(__file__).parent.parent
BASE = "clip4clip:moving-shapes/base/clip"
NAMES = sorted(COLOURS)


def call(*words: object) -> str:
    """What a command prints on stdout; what goes wrong is raised."""
    app = typer.Typer()
    evaluation.register(app)
    data.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


@pytest.fixture(scope="module")
def msrvtt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MSR-VTT of ten clips, of which the third is not there and the fifth is no video."""
    folder = tmp_path_factory.mktemp("msrvtt")
    colours = [(NAMES[number % 8], NAMES[(number + 3) % 8]) for number in range(10)]
    captions = {f"video{number}": (f"all {first}", f"then {then}") for number, (first, then) in enumerate(colours)}
    files.msrvtt(folder / "annotations", captions)
    for number in {*range(10)} - {2, 4}:
        colour_video(folder / "videos" / f"video{number}.mp4", *colours[number], seconds=1.0)
    (folder / "videos" / "video4.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def where(msrvtt: Path) -> tuple[object, ...]:
    return "--root", msrvtt / "videos", "--annotations", msrvtt / "annotations"


@pytest.mark.parametrize("words", [("evaluate",), ("evaluate", "facets")])
def test_a_split_is_not_named_by_an_option(where: tuple[object, ...], words: tuple[str, ...]) -> None:
    """It would be the other option's, or none's, and a report says which one it was."""
    with pytest.raises(UsageError, match="a split is named with --split"):
        call(*words, "msrvtt", *where, "--option", "split=val")


def test_check_counts_missing_unreadable_and_overlapping(where: tuple[object, ...]) -> None:
    result = json.loads(call("data", "check", "msrvtt", *where, "--json"))
    assert (result["files"], result["probed"]) == (9, 9)
    splits = {(split["variant"], split["split"]): split for split in result["splits"]}
    assert len(splits) == 9
    train = splits["9k", "train"]
    assert (train["videos"], train["captions"], train["missing"]) == (7, 14, ["video2"])
    assert list(train)[-3:] == ["unreadable", "notes", "error"]
    assert train["notes"] == [
        "MSRVTT_JSFUSION_test.csv is cut: 2 of 1,000 entries",
        "MSRVTT_data.json is cut: 30 of 210,000 entries",
    ]
    assert train["official"] == {"videos": 8503, "captions": 170060}
    assert list(train["unreadable"]) == ["video4"]
    assert splits["9k", "test"]["missing"] == []
    (overlap,) = [pair for pair in result["overlaps"] if pair["variant"] == "9k"]
    assert (overlap["one"], overlap["other"]) == ("test", "train")
    assert list(overlap) == ["variant", "one", "other", "ids", "sources", "stretches"]
    assert (overlap["ids"], overlap["sources"], overlap["stretches"]) == (0, 2, 1)


def test_check_fits_on_a_screen(where: tuple[object, ...]) -> None:
    shown = call("data", "check", "msrvtt", *where, "--option", "protocol=9k", "--no-probe")
    assert len(shown.splitlines()) <= 24
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith(("train", "test"))}
    assert rows["train"] == ["7", "8,503", "14", "170,060", "1", "-"]
    assert "note: MSRVTT_data.json is cut: 30 of 210,000 entries (train, val)" in shown
    assert "missing: video2" in shown
    assert "0 videos of test are in train, too; 2 are cut from a video that train uses, 1 share a stretch" in shown
    assert "validation: " in shown


def test_check_tells_of_a_split_without_annotation(tmp_path: Path) -> None:
    (files.didemo(tmp_path) / "train_data.json").unlink()
    shown = call("data", "check", "didemo", "--root", tmp_path)
    assert "there is no train_data.json; it comes with the data set (train)" in shown
    with pytest.raises(UsageError, match="there are: activitynet, cc3m, charades_sta, cia, cip, didemo"):
        call("data", "check", "folder", "--root", tmp_path)


@pytest.fixture(scope="module")
def evaluated(where: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full protocol's training split under both baselines, with what is missing in the header."""
    folder = tmp_path_factory.mktemp("runs")
    words = ("evaluate", "msrvtt", *where, "--split", "train", "-o", "protocol=full", "--model", BASE)
    for name in ("uniform", "disparity"):
        shown = call(*words, "--output", folder / name, "--set", f"keyimages={{name: {name}, count: 12}}")
        (folder / f"{name}.txt").write_text(shown)
    return folder


def test_missing_videos_are_in_the_header_and_listed(evaluated: Path) -> None:
    shown = (evaluated / "uniform.txt").read_text()
    assert "6 captions, 3 videos (missing: 1 of 5), inductive" in shown
    assert "missing, with all their captions: video2" in shown
    assert "video4: " in shown.partition("left out: 1 unreadable video with 2 captions")[2]
    assert "MSRVTT_data.json is cut" in shown
    document = json.loads((evaluated / "uniform" / "report.json").read_text())
    assert document["missing"] == ["video2"]
    assert document["config"]["dataset"]["protocol"] == "full"


def test_one_table_of_measured_and_quoted_rows(evaluated: Path) -> None:
    shown = call("table", evaluated / "uniform", evaluated / "disparity", "--quoted", "msrvtt")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if line[:1] == "|"]
    head, measured, quoted = rows[0], rows[2:4], rows[6:]
    assert rows[4] == head  # of a table of their own: six captions are not the benchmark's test set
    titles = [line for line in shown.splitlines() if line.startswith("test set: ")]
    assert titles == ["test set: msrvtt, train: 6 captions, 3 videos", "test set: MSR-VTT, 1k-A"]
    assert [row[0] for row in measured] == [f"{BASE}, uniform 12", f"{BASE}, disparity 12"]
    document = json.loads((evaluated / "uniform" / "report.json").read_text())
    assert measured[0][head.index("T2V R@1")].startswith(f"{document['t2v']['R@1']:.1f} [")
    assert measured[0][-1].startswith("measured: n = 6; 2 videos left out")
    assert "against the first row" in measured[1][-1]
    assert all(row[-1].startswith("quoted: ") for row in quoted)
    (paper,) = [row for row in quoted if row[0] == "MMI-TVR"]
    assert paper[1:4] == ["52.4", "78.0", "87.6"]
    starred = {row[0]: row[head.index("T2V R@1 *")] for row in quoted}
    assert starred["CLIP4Clip"] == "-"
    transductive = next(row for row in quoted if row[head.index("T2V R@1 *")] == "62.8")
    assert transductive[head.index("T2V R@1")] == "-"


def test_runs_of_other_queries_are_not_put_into_one_table(evaluated: Path, tmp_path: Path) -> None:
    document = json.loads((evaluated / "uniform" / "report.json").read_text())
    document["queries"]["t2v"][0]["caption"] = "something else"
    other = files.document(tmp_path / "report.json", document)
    with pytest.raises(UsageError, match="not of the same queries"):
        call("table", evaluated / "uniform", other)
    with pytest.raises(UsageError, match="not a saved evaluation"):
        call("table", tmp_path / "nothing")
    with pytest.raises(UsageError, match="empty table"):
        call("table")
    with pytest.raises(UsageError, match="no published numbers of 'youcook'"):
        call("table", "--quoted", "youcook")


def test_quoted_rows_have_a_source_and_numbers_that_can_be() -> None:
    assert len(published.quoted("msrvtt")) > 30
    for name in published.names():
        rows = published.quoted(name)
        assert len({(row.system, row.note) for row in rows}) == len(rows)
        for row in rows:
            assert row.source
            recalls = [row.t2v[depth] for depth in ("R@1", "R@5", "R@10") if depth in row.t2v]
            numbers = [value for value in recalls if isinstance(value, float)]
            assert numbers == sorted(numbers)
            assert all(0 < value < 100 for value in numbers)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere",), "neither a folder nor a data set"),
        (("msrvtt",), "--root DIR"),
        (("msrvtt", "--root", "."), "MSRVTT_JSFUSION_test.csv"),
        (("msrvtt", "--root", ".", "--column", "x"), "go with a folder"),
        (("msrvtt", "--root", ".", "-o", "protocol=10k"), "protocol"),
        (("moving_shapes", "--root", "."), "no benchmark is called 'moving_shapes'"),
        (("msrvtt", "--root", ".", "--contrast", "order"), "moving_shapes"),
    ],
)
def test_wrong_use_says_what_to_do(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        call("evaluate", *words)


def section(split: str, folder: Path, **more: object) -> str:
    section = {"name": "msrvtt", "root": str(folder / "videos"), "annotations": str(folder / "annotations"), **more}
    return json.dumps({**section, "split": split})


def test_a_model_is_trained_on_a_benchmark(msrvtt: Path, tmp_path: Path) -> None:
    settings = load(
        ROOT / "configs" / "moving_shapes.yaml",
        [
            f"data.train={section('train', msrvtt, protocol='9k')}",
            f"data.validation={section('val', msrvtt)}",
            "data.unreadable=0.5",
            "data.batch=2",
            "train.stages=[{name: joint, steps: 2, weights: {contrastive: 1.0}}]",
            "train.validate_every=1",
            "train.precision=float32",
        ],
    )
    outcome = run(settings, tmp_path / "run", cache=tmp_path / "cache", cpu=True)
    assert outcome.finished
    assert outcome.best is not None
    assert (tmp_path / "run" / "model" / "model.json").is_file()


@pytest.mark.parametrize("key", ["train", "validation"])
def test_no_run_trains_or_validates_on_a_test_split(msrvtt: Path, key: str) -> None:
    config = ROOT / "configs" / "moving_shapes.yaml"
    with pytest.raises(ConfigError, match="msrvtt's test split is for evaluation alone"):
        load(config, [f"data.{key}={section('test', msrvtt)}"])
    with pytest.raises(ConfigError, match="moving_shapes's test split"):
        load(config, [f"data.{key}={{name: moving_shapes}}"])  # test is what it means by itself


LAUNCHER = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$LAUNCHED"
while [ "$1" != --output ]; do shift; done
mkdir -p "$2"
ln -s "$TRAINED" "$2/model"
"""


def test_a_script_goes_from_videos_to_the_table(msrvtt: Path, where: tuple[object, ...], tmp_path: Path) -> None:
    """Check, training, evaluation, table. The launcher notes what it is told and has a trained model ready, because a
    training is the test above; rows that are there already are not made anew."""
    for name in ("uniform", "keyimages"):
        call("evaluate", "msrvtt", *where, "--model", BASE, "--output", tmp_path / "run" / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "accelerate").write_text(LAUNCHER)
    (tmp_path / "bin" / "accelerate").chmod(0o755)
    config = ROOT / "configs" / "moving_shapes.yaml"
    env = {
        **os.environ,
        **{"CONFIG": str(config), "TRAIN": "--cpu --set data.batch=2", "CLIP": "not-looked-at"},
        **{"LAUNCHED": str(tmp_path / "launched"), "TRAINED": str(hub.BUNDLED / "moving-shapes")},
        "PATH": os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HF_HUB_OFFLINE": "1",
    }
    folders = (msrvtt / "videos", msrvtt / "annotations", tmp_path / "run")
    script = ["bash", ROOT / "scripts" / "benchmark.sh", "msrvtt", *folders]
    done = subprocess.run([*map(str, script)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MSR-VTT: 9 files, 9 opened" in done.stdout
    words = (tmp_path / "launched").read_text().splitlines()
    assert words[:4] == ["launch", str(ROOT / "scripts" / "train.py"), "--config", str(config)]
    settings = load(config, [value for word, value in pairwise(words) if word == "--set"])
    expected = {"root": str(msrvtt / "videos"), "annotations": str(msrvtt / "annotations"), "protocol": "9k"}
    assert settings.data.train.options == {**expected, "split": "train"}
    assert settings.data.validation is not None
    assert settings.data.validation.options == {**expected, "split": "val"}
    table = (tmp_path / "run" / "table.md").read_text()
    assert table.count("measured: ") == table.count("n = 2; ") == 3
    assert "| MMI-TVR " in table


RECORDER = """#!/usr/bin/env bash
printf '%s\\n' "$@"
exit 7
"""


def benchmark_script(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a mmi-tvr that prints its words and fails."""
    (folder / "mmi-tvr").write_text(RECORDER)
    (folder / "mmi-tvr").chmod(0o755)
    env = {**os.environ, "PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}
    script = ["bash", str(ROOT / "scripts" / "benchmark.sh"), *words]
    return subprocess.run(script, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "name", ["msrvtt", "msvd", "lsmdc", "didemo", "activitynet", "vatex", "qvhighlights", "charades_sta"]
)
def test_the_script_knows_every_benchmark_with_options_of_the_data_set(name: str, tmp_path: Path) -> None:
    done = benchmark_script(tmp_path, name, "some videos", "annotations")
    assert done.returncode == 7, "a command that fails ends the script"
    words = done.stdout.splitlines()
    assert words[:7] == ["data", "check", name, "--root", "some videos", "--annotations", "annotations"]
    options = dict(value.split("=") for word, value in pairwise(words) if word == "--option")
    assert len(words) == 7 + 2 * len(options)
    plugins.options("datasets", name, {"root": tmp_path, **options})
    assert options in [dict(variant) for variant in plugins.load("datasets", name).FACTS.variants.values()]


def test_the_script_says_what_it_lacks(tmp_path: Path) -> None:
    unknown = benchmark_script(tmp_path, "imagenet", "videos", "annotations")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == (
        "no benchmark is called imagenet; there are: msrvtt, msvd, lsmdc, didemo, activitynet, vatex, qvhighlights, "
        "charades_sta, mscoco, epic_kitchens\n"
    )
    assert benchmark_script(tmp_path, "msrvtt", "videos").stderr.endswith("ANNOTATIONS\n")


def test_the_page_quotes_what_the_table_quotes() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.count("|") == 7
    ]
    quoted = [line for line in lines if line[4].replace(".", "").isdigit()]
    rows = [row for name in ("msrvtt-full", "vatex") for row in published.quoted(name)]
    depths = ("R@1", "R@5", "R@10")
    known = {
        (
            ", ".join(str(row.t2v[depth]) for depth in depths),
            ", ".join(str(row.v2t[depth]) for depth in depths),
            str(row.printed_sum),
            f"{row.sum_of_recalls:.1f}",
        )
        for row in rows
        if row.sum_of_recalls
    }
    assert len(quoted) == 10
    assert {tuple(line[1:5]) for line in quoted} <= known
