"""WebVid-2M and Conceptual Captions: lists as they are published, pictures as videos of one second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from fakes import colour_video
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr import keyimages, plugins
from mmi_tvr.cli import data
from mmi_tvr.datasets._benchmarks import Benchmark
from mmi_tvr.datasets.cc3m import file_name
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.media.guarded import DecoderPool, limits
from mmi_tvr.media.video import sample_with_info
from mmi_tvr.types import Video

HEADER = "videoid,contentUrl,duration,page_dir,name"
ROWS = [
    '1001,https://example.org/1001.mp4,PT00H00M10S,000001_000050,"Aerial, slow: a ""red"" field"',
    "1002,https://example.org/1002.mp4,PT00H00M10S,000001_000050,A dog runs",
    "1002,https://example.org/1002.mp4,PT00H00M10S,000001_000050,A dog runs",
    "1002,https://example.org/1002.mp4,PT00H00M10S,000051_000100,The same dog",
    "1003,https://example.org/1003.mp4,PT00H00M10S,000051_000100,",
    "1004,https://example.org/1004.mp4,PT00H00M10S,000051_000100,No file has this",
]
PICTURES = ["http://example.org/a.jpg", "http://example.org/b", "http://example.org/missing.png"]


def call(*words: object) -> str:
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False)
    return result.stdout


@pytest.fixture(scope="module")
def webvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("webvid")
    for page, name in (("000001_000050", "1001"), ("000001_000050", "1002"), ("000051_000100", "1003")):
        (root / "videos" / page).mkdir(parents=True, exist_ok=True)
        colour_video(root / "videos" / page / f"{name}.mp4")
    (root / "results_2M_train.csv").write_text("\n".join([HEADER, *ROWS]) + "\n", encoding="utf-8")
    (root / "results_2M_val.csv").write_text(f"{HEADER}\n1001,u,d,000001_000050,Again\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def cc3m(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cc3m")
    (root / "training").mkdir()
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, :45] = (200, 30, 30)
    Image.fromarray(pixels).save(root / "training" / f"{file_name(PICTURES[0])}.png")
    (root / "training" / file_name(PICTURES[1])).write_bytes(b"<html>gone</html>")
    lines = [f'a "red" half\t{PICTURES[0]}', f"red and black\t{PICTURES[0]}", *(f"x\t{url}" for url in PICTURES[1:])]
    (root / "Train_GCC-training.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def built(name: str, root: Path, **options: object) -> Benchmark:
    dataset = plugins.build("datasets", name, {"root": str(root), **options})
    assert isinstance(dataset, Benchmark)
    return dataset


def test_webvid_is_read_as_published(webvid: Path) -> None:
    """Quotation marks, lines that come twice, a video listed twice, an empty sentence, a missing file."""
    dataset = built("webvid", webvid)
    captions = {sample.id: sample.captions for sample in dataset.samples()}
    assert captions == {"1001": ('Aerial, slow: a "red" field',), "1002": ("A dog runs", "The same dog")}
    assert dataset.samples()[0].video.path == webvid / "videos" / "000001_000050" / "1001.mp4"
    assert dataset.missing == ("1004",)
    assert any("without 1 empty caption" in remark for remark in dataset.remarks)
    assert [sample.id for sample in built("webvid", webvid, split="val").samples()] == ["1001"]
    with pytest.raises(UsageError, match="1 of 3 videos missing"):
        built("webvid", webvid, missing="error")
    assert len(built("webvid", webvid, limit=1).samples()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'{HEADER}\n1,u,d,p,"never closed\n2,u,d,p,x\n', "line 2: a quotation mark is never closed"),
        (f"{HEADER}\n1,u,d,p,x,y\n", "line 2: 6 cells for 5 columns"),
        (f"{HEADER}\n1,u,d,p,x\n,u,d,p,x\n", "line 3: the videoid is empty"),
        ("videoid,caption\n1,x\n", "columns videoid and name"),
        (f"{HEADER}\n1,u\n", "no video of the split has a caption"),
        (f"{HEADER}\n", "no video of the split has a caption"),
        (f"{HEADER}\n9,u,d,p,x\n", "1 of 1 video missing"),
        ("", "no video of the split has a caption"),
    ],
)
def test_a_broken_list_is_one_line_that_names_the_place(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "results_2M_train.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words) as error:
        built("webvid", tmp_path)
    assert str(tmp_path) in str(error.value)


def test_there_is_no_test_split(webvid: Path) -> None:
    with pytest.raises(UsageError, match="split"):
        built("webvid", webvid, split="test")


def test_pictures_of_conceptual_captions_are_videos_of_one_second(cc3m: Path) -> None:
    dataset = built("cc3m", cc3m)
    first, second = dataset.samples()
    assert first.captions == ('a "red" half', "red and black")
    assert dataset.missing == (file_name(PICTURES[2]),)
    assert any("Train_GCC-training.tsv is cut: 4 of 3,318,333 entries" in remark for remark in dataset.remarks)
    method = plugins.build("keyimages", "uniform", {"count": 4})
    pool = DecoderPool(limits(1))
    try:
        for sample in (pool.sample, sample_with_info):
            info, images = keyimages.from_video(first.video, method, 32, sample)
            assert (info.width, info.height, info.duration) == (90, 60, 1.0)
            assert [(image.start, image.end, image.pixels.shape) for image in images] == [(0.0, 1.0, (32, 48, 3))]
            assert images[0].pixels[16, 4].tolist() == [200, 30, 30]
            with pytest.raises(MediaError, match="is no picture"):
                keyimages.from_video(second.video, method, 32, sample)
    finally:
        pool.stop()
    with pytest.raises(MediaError, match="still image"):
        keyimages.from_video(Video(first.video.path), method, 32)


@pytest.mark.parametrize("line", ["only a sentence", "a\tb\tc"])
def test_a_broken_line_of_conceptual_captions_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "Train_GCC-training.tsv").write_text(f"fine\thttp://x\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"Train_GCC-training.tsv, line 2: .* instead of 2"):
        built("cc3m", tmp_path)


def test_check_counts_both(webvid: Path, cc3m: Path) -> None:
    report = json.loads(call("data", "check", "webvid", "--root", webvid, "--json"))
    rows = {split["split"]: (split["videos"], split["captions"], len(split["missing"])) for split in report["splits"]}
    assert rows == {"train": (3, 4, 1), "val": (1, 1, 0)}
    assert report["overlaps"][0]["ids"] == 1
    text = " ".join(call("data", "check", "cc3m", "--root", cc3m).split())
    assert "Conceptual Captions: 2 files, 2 opened" in text
    assert "is no picture" in text
    assert "there is no Validation_GCC-1.1.0-Validation.tsv" in text
