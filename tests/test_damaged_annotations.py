"""Annotations of benchmarks that are cut, grown, misshapen or damaged: used and said to be so, or one clear error."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark_files as files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_benchmarks import NAMES, ids, read

from mmi_tvr.datasets import msrvtt, msvd
from mmi_tvr.datasets._benchmarks import (
    AnnotatedVideo,
    Annotations,
    SplitSize,
    VideoLocation,
    checked_listing,
)
from mmi_tvr.errors import UsageError


def failure(name: str, folder: Path, split: str) -> str:
    """What is wrong with a split; empty where nothing is."""
    try:
        read(name, folder, split=split)
    except UsageError as error:
        return str(error)
    return ""


def test_videos_without_captions_are_remarked_where_no_file_is_known_to_be_cut(tmp_path: Path) -> None:
    files.document(tmp_path / "any.json", {})
    annotations = Annotations(tmp_path)
    assert annotations.complete
    annotations.json("any.json")  # nobody says how many entries it should have
    assert (annotations.complete, annotations.remarks) == (False, ())
    videos = [AnnotatedVideo(name, captions, (VideoLocation(name),)) for name, captions in (("a", ("x",)), ("b", ()))]
    listing = checked_listing(videos, SplitSize(2, None), annotations)
    assert (ids(listing), listing.remarks) == (["a"], ("cut: 1 of 2 videos with captions",))
    assert checked_listing(videos, SplitSize(2, None), annotations, ["a note"]).remarks == ("a note",)
    assert checked_listing(videos[:1], SplitSize(1, None), annotations).remarks == ()


def test_a_cut_file_is_used_and_said_to_be_cut(tmp_path: Path) -> None:
    listing = read("msvd", files.msvd(tmp_path))
    assert [remark for remark in listing.remarks if "captions_msvd.json is cut: 5 of 1,970" in remark]
    assert [remark for remark in listing.remarks if "test_list.txt is cut: 2 of 670" in remark]


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which MSVD is as small as the fixture."""
    monkeypatch.setattr(msvd, "_CLIPS", 5)
    monkeypatch.setattr(msvd, "_VIDEOS", {split: len(names) for split, names in files.MSVD_IDS.items()})
    monkeypatch.setitem(msvd._CAPTIONS, "en", {split: 3 * len(names) for split, names in files.MSVD_IDS.items()})


@pytest.mark.usefixtures("official")
def test_whole_files_must_give_the_official_size(tmp_path: Path) -> None:
    folder = files.msvd(tmp_path)
    listing = read("msvd", folder)
    assert (listing.official, listing.remarks) == (SplitSize(2, 6), ())
    sentences = json.loads((folder / "captions_msvd.json").read_text())
    for texts, message in (([], "1 video, and the official one 2"), (["one"], "4 captions, and the official one 6")):
        files.document(folder / "captions_msvd.json", {**sentences, "gh_10_12": texts})
        with pytest.raises(UsageError, match=message):
            read("msvd", folder)


@pytest.mark.usefixtures("official")
def test_more_than_the_official_file_has_is_another_file(tmp_path: Path) -> None:
    folder = files.msvd(tmp_path)
    files.lines(folder / "test_list.txt", [*files.MSVD_IDS["test"], "more_1_2"])
    with pytest.raises(UsageError, match="3 entries, and the official file has 2"):
        read("msvd", folder)


def test_official_sizes_are_those_of_the_benchmarks() -> None:
    assert msrvtt._TRAIN == {"9k": 9000, "7k": 7010, "full": 6513}
    assert sum(msvd._VIDEOS.values()) == msvd._CLIPS == 1970
    assert sum(msvd._CAPTIONS["en"].values()) == 80_827
    assert sum(msvd._CAPTIONS["zh"].values()) == msvd._CHINESE
    assert sum(size for size, _ in msrvtt._PARTS.values()) == 10_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


_KEYS = st.sampled_from(
    [
        "videos",
        "images",
        "sentences",
        "cocoid",
        "split",
        "video",
        "videoID",
        "vid",
        "query",
        "enCap",
        "times",
        "timestamps",
        "description",
    ]
)


_MISSHAPEN = _JSON | st.dictionaries(_KEYS, _JSON, max_size=3) | st.lists(st.dictionaries(_KEYS, _JSON, max_size=4))


@pytest.mark.parametrize(
    ("name", "file", "split"),
    [
        ("msrvtt", "MSRVTT_data.json", "train"),
        ("msvd", "captions_msvd.json", "test"),
        ("vatex", "vatex_validation_v1.0.json", "test"),
        ("didemo", "test_data.json", "test"),
        ("activitynet", "val_1.json", "test"),
        ("qvhighlights", "highlight_val_release.jsonl", "val"),
        ("mscoco", "dataset_coco.json", "val"),
    ],
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_MISSHAPEN)
def test_misshapen_json_is_one_clear_error(name: str, file: str, split: str, content: Any, tmp_path: Path) -> None:
    folder = getattr(files, name)(tmp_path)
    files.document(folder / file, content)
    with pytest.raises(UsageError, match=file.replace(".", r"\.")):
        read(name, folder, split=split)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), file_number=st.integers(0, 9))
def test_damaged_files_are_usage_errors(name: str, content: bytes, file_number: int, tmp_path: Path) -> None:
    folder = getattr(files, name)(tmp_path)
    paths = sorted(folder.iterdir())
    paths[file_number % len(paths)].write_bytes(content)
    messages = [failure(name, folder, split) for split in ("train", "val", "test")]
    assert all(not message or str(folder) in message for message in messages)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"PK nonsense"), lambda path: path.unlink()])
def test_a_missing_or_damaged_zip_names_itself(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    (files.msrvtt(tmp_path) / "MSRVTT_data.json").unlink()
    with zipfile.ZipFile(tmp_path / "train_val_annotation.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing else")
    damage(tmp_path / "train_val_annotation.zip")
    with pytest.raises(UsageError, match=r"train_val_annotation\.zip|MSRVTT_data\.json"):
        read("msrvtt", tmp_path, split="val")
