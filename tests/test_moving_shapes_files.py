"""Files of moving shapes: named by what is in them, made once, and never mixed with others."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import typer
from test_moving_shapes import dataset_of, scene
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data
from mmi_tvr.datasets._moving_shapes import files
from mmi_tvr.datasets._moving_shapes.generate import split
from mmi_tvr.datasets._moving_shapes.world import spelled
from mmi_tvr.datasets.moving_shapes import captions, render_frames
from mmi_tvr.errors import UsageError
from mmi_tvr.media import video


def test_a_file_is_named_by_all_that_is_in_it(tmp_path):
    """The names are those under which caches hold the files: a change here would render all of them again."""
    dataset = dataset_of(split="order", count=2, root=tmp_path)
    assert [dataset.path(number).name for number in range(2)] == [
        "order00000-c9710cf1c75b6a6f.mp4",
        "order00001-d523e89ec66e183f.mp4",
    ]
    names = {dataset_of(split="order", count=1, **options).path(0).name for options in ({"size": 32}, {"fps": 5}, {})}
    assert len(names) == 3
    assert spelled(scene((0, "left"))).count("told=True") == 1
    assert spelled(scene((0, "left"), relation_stated=False)) != spelled(scene((0, "left")))


@pytest.mark.parametrize(
    ("name", "part"), [("train", "train"), ("val", "validate"), ("test", "test"), ("order", "test")]
)
def test_an_annotation_calls_splits_as_msrvtt_does(name: str, part: str) -> None:
    dataset = dataset_of(split=name, count=2)
    document = json.loads(
        files.annotation(dataset.samples()[:2], [spec.duration for spec in dataset.specs()], name, "1", "moving shapes")
    )
    assert {entry["split"] for entry in document["videos"]} == {part}


def test_files_show_the_pictures_and_are_made_once(tmp_path):
    dataset = dataset_of(count=6, root=tmp_path, fps=5)
    ticks = []
    dataset.generate(limit=4, advance=lambda: ticks.append(1))
    assert len(ticks) == 4
    assert (dataset.pending(), dataset.pending(limit=5)) == ([4, 5], [4])
    times = [dataset.path(number).stat().st_mtime_ns for number in range(4)]
    dataset.generate(advance=lambda: ticks.append(1))
    assert len(ticks) == 6
    assert dataset.pending() == []
    assert times == [dataset.path(number).stat().st_mtime_ns for number in range(4)]
    sample, spec = dataset.samples()[0], dataset.specs()[0]
    info = video.probe(sample.video.path)
    assert (info.codec, info.width, info.height, info.fps) == ("h264", 96, 96, 5)
    assert info.duration == pytest.approx(spec.duration / 1000, abs=0.21)
    frames = video.frames_at(sample.video.path, [0.4, spec.starts[0] / 1000 + 0.8, spec.duration / 1000 - 0.4])
    assert np.abs(frames.pixels.astype(float) - render_frames(spec, frames.times, 96)).mean() < 4
    variant = dataset_of(count=6, root=tmp_path, fps=4)
    assert variant.pending() == list(range(6))  # another file, never a stale one


def test_many_files_are_made_by_several_processes(tmp_path):
    dataset = dataset_of(count=140, root=tmp_path, fps=1, size=32)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.generate(workers=2, advance=stop)
    assert 100 < len(dataset.pending()) < 140, "what was not begun is not rendered first"
    dataset.generate(workers=2, limit=70)
    assert dataset.pending(70) == []
    alone = dataset_of(count=1, root=tmp_path / "alone", fps=1, size=32)
    alone.generate(workers=1)
    assert alone.path(0).read_bytes() == dataset.path(0).read_bytes()


def command(*words):
    app = typer.Typer()
    data.register(app)
    return CliRunner().invoke(app, ["data", "make", "moving_shapes", *map(str, words)])


def test_data_make_writes_msrvtts_layout_and_goes_on(tmp_path):
    root = tmp_path / "shapes"
    assert command(root, "--limit", 5, "--fps", 2).exit_code == 0
    document = json.loads((root / "test_videodatainfo.json").read_text(encoding="utf-8"))
    assert [entry["video_id"] for entry in document["videos"]] == [f"test{number:05d}" for number in range(5)]
    assert {entry["split"] for entry in document["videos"]} == {"test"}
    assert set(document["videos"][0]) == {"category", "url", "video_id", "start time", "end time", "split", "id"}
    assert [entry["sen_id"] for entry in document["sentences"]] == list(range(100))
    samples = plugins.build("datasets", "folder", {"root": root}).samples()
    assert [sample.captions for sample in samples] == [captions(item.spec) for item in split("test", 5)]
    bytes_of = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "videos" / "test00003.mp4").unlink()
    (root / "captions.tsv").unlink()
    assert "(1 new)" in command(root, "--limit", 5, "--fps", 2).output
    assert bytes_of == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    digest = hashlib.sha256(bytes_of[root / "test_videodatainfo.json"]).hexdigest()
    assert digest == "ef7856375aa37cb8cf29348ec3af842222265aaa4303cf552b4ff09d60626ba9"  # on every machine


def test_data_make_never_mixes_two_sets(tmp_path):
    assert command(tmp_path, "--limit", 1, "--fps", 2).exit_code == 0
    for words in (["--fps", 3], ["--split", "val"]):
        done = command(tmp_path, "--limit", 1, *words)
        assert isinstance(done.exception, UsageError)
        assert "holds other videos (test_videodatainfo.json): name a new folder" in str(done.exception)


def test_data_make_leaves_a_table_of_others_alone(tmp_path):
    (tmp_path / "captions.tsv").write_text("mine")
    done = command(tmp_path, "--limit", 1, "--fps", 2)
    assert "holds a captions.tsv of others: name a new folder" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["captions.tsv"]
