"""MSCOCO: Karpathy's split and the 2017 release's own, five sentences or all, folds, pictures on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import benchmark_files as files
import numpy as np
import pytest
import typer
from fakes import COLOURS
from PIL import Image
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data, evaluation
from mmi_tvr.datasets import mscoco
from mmi_tvr.datasets._benchmarks import Annotations, Listing
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import FoldedDataset


def read(folder: Path, **options: Any) -> Listing:
    return mscoco.read(mscoco.Options(root=folder, **options), Annotations(folder))


def call(*words: object) -> str:
    app = typer.Typer()
    evaluation.register(app)
    data.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


def test_karpathys_split_has_the_rest_of_val_in_train(tmp_path: Path) -> None:
    folder = files.mscoco(tmp_path)
    ids = {split: [picture.id for picture in read(folder, split=split).videos] for split in ("train", "val", "test")}
    assert ids == {"train": ["9", "25", "42"], "val": ["71"], "test": ["391895", "73"]}
    first, second = read(folder).videos
    assert first.captions == (
        "A man on a bike.",
        *(f"picture 391895, {count}" for count in ("one", "two", "three", "four")),
    )
    assert len(second.captions) == 5
    assert read(folder).remarks == (
        "dataset_coco.json is cut: 6 of 123,287 entries",
        "without 1 empty caption",
    )
    assert len(read(folder, sentences="all").videos[0].captions) == 6


def test_the_release_of_2017_tests_on_its_val_and_holds_out_of_train(tmp_path: Path) -> None:
    folder = files.mscoco(tmp_path)
    test = read(folder, protocol="2017").videos
    assert [picture.id for picture in test] == ["391895", "73"]
    assert test[1].captions[0] == "picture 73, five"  # in the order of the file
    train, val = (read(folder, protocol="2017", split=split).videos for split in ("train", "val"))
    assert sorted(int(picture.id) for picture in (*train, *val)) == [9, 25, 42, 71]
    assert len(val) == 1
    assert len(read(folder, protocol="2017", split="train", hold_out=False).videos) == 4


@pytest.mark.parametrize(
    "place", ["val2014/COCO_val2014_000000391895.jpg", "2017/val2017/000000391895.png", "000000391895.jpg"]
)
def test_a_picture_is_found_under_the_names_of_both_releases(place: str, tmp_path: Path) -> None:
    files.mscoco(tmp_path / "annotations")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    for protocol in ("karpathy", "2017"):
        split = plugins.build("datasets", "mscoco", {"root": tmp_path, "protocol": protocol})
        assert [(sample.id, sample.video.path.name, sample.video.picture) for sample in split.samples()] == [
            ("391895", Path(place).name, True)
        ]
        assert split.missing == ("73",)


def test_a_picture_that_is_listed_twice_is_one_line(tmp_path: Path) -> None:
    content = json.loads((files.mscoco(tmp_path) / "dataset_coco.json").read_text())
    content["images"].append(content["images"][-1])
    files.document(tmp_path / "dataset_coco.json", content)
    with pytest.raises(UsageError, match=r"1 video listed more than once, the first: 73 \(dataset_coco.json\)"):
        read(tmp_path)


def test_a_sentence_of_no_picture_is_one_line(tmp_path: Path) -> None:
    content = json.loads((files.mscoco(tmp_path) / "captions_val2017.json").read_text())
    content["annotations"][0]["image_id"] = 4
    files.document(tmp_path / "captions_val2017.json", content)
    with pytest.raises(UsageError, match=r"captions_val2017.json: not as expected, images with id .* \(KeyError: 4\)"):
        read(tmp_path, protocol="2017")


def test_folds_are_by_the_place_in_the_split_whatever_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = files.mscoco(tmp_path / "annotations")
    monkeypatch.setattr(mscoco, "FOLDS", 3)
    monkeypatch.setattr(mscoco, "_FOLD", 1)
    for name in ("000000000009.jpg", "000000000042.jpg"):
        (tmp_path / name).touch()
    options = {"root": tmp_path, "annotations": folder, "split": "train"}
    split = plugins.build("datasets", "mscoco", options)
    assert isinstance(split, FoldedDataset)
    assert split.folds() == [[0], [], [1]]  # 25 is missing
    assert plugins.build("datasets", "mscoco", {**options, "limit": 2}).folds() == ()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Test pictures that are all of one colour, which their sentences name."""
    content = json.loads((files.mscoco(tmp_path / "annotations") / "dataset_coco.json").read_text())
    for picture, (name, colour) in zip(content["images"][-2:], COLOURS.items(), strict=False):
        picture["sentences"] = [{"raw": f"a {name} wall"}] * 5
        folder = tmp_path / picture["filepath"]
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((48, 64, 3), colour, np.uint8)).save(folder / picture["filename"])
    files.document(tmp_path / "annotations" / "dataset_coco.json", content)
    return tmp_path


def test_pictures_are_checked_and_evaluated(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mscoco, "FOLDS", 2)
    monkeypatch.setattr(mscoco, "_FOLD", 1)
    words = ("mscoco", "--root", pictures)
    report = json.loads(call("data", "check", *words, "-o", "protocol=karpathy", "--json"))
    splits = {split["split"]: split for split in report["splits"]}
    assert (splits["test"]["videos"], splits["test"]["captions"], splits["test"]["missing"]) == (2, 10, [])
    assert splits["test"]["official"] == {"videos": 5000, "captions": 25000}
    assert splits["val"]["missing"] == ["71"]
    shown = json.loads(call("evaluate", *words, "--model", "clip4clip:moving-shapes/base/clip", "--json"))
    assert (shown["n"], shown["videos"]) == (10, 2)
    assert (shown["folds"]["count"], shown["folds"]["videos"]) == (2, 1)
    assert shown["folds"]["t2v"]["R@1"] == 100.0  # alone in its fold
    assert "graded" not in shown
