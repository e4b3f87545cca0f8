"""The videos of a benchmark: found by name whatever their folder and suffix, and missed by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import benchmark_files as files
import pytest

from mmi_tvr import plugins
from mmi_tvr.datasets._benchmarks import AnnotatedVideo, VideoLocation
from mmi_tvr.datasets._benchmarks.check import _intersect
from mmi_tvr.datasets._benchmarks.videos import VideoFolder
from mmi_tvr.errors import UsageError
from mmi_tvr.types import Video


def touch(folder: Path, *names: str) -> Path:
    """Empty files: an adapter opens none."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("video7", "deep/er/video7.mp4"),
        ("video7", "video7.WEBM"),
        ("3011_BLIND_00.00.01.000-00.00.02.500", "3011_BLIND/3011_BLIND_00.00.01.000-00.00.02.500.avi"),
        ("1@N_a.mov", "1@N_a.mov"),
        ("1@N_a.mov", "converted/1@N_a.mp4"),
        ("1@N_a.mov", "1@N_a.mov.mp4"),
        ("2@N_c.", "2@N_c."),
        ("2@N_c.", "2@N_c.mp4"),
        ("2@N_c.", "2@N_c"),
    ],
)
def test_a_video_is_found_whatever_its_suffix_and_folder(tmp_path: Path, name: str, path: str) -> None:
    touch(tmp_path, path, "other.mp4", "video7.json", ".video7.mp4", ".hidden/video7.mp4")
    video = AnnotatedVideo("id", ("text",), (VideoLocation(name, 1.0, 2.0),))
    assert VideoFolder(tmp_path).find(video) == Video(tmp_path / path, 1.0, 2.0)


def test_the_own_file_is_taken_before_a_span_of_the_whole_one(tmp_path: Path) -> None:
    files.msvd(tmp_path / "annotations")
    touch(tmp_path, "clips/gh_10_12.avi", "gh.mp4", "-i.mkv")
    dataset = plugins.build("datasets", "msvd", {"root": tmp_path})
    assert [sample.video for sample in dataset.samples()] == [
        Video(tmp_path / "clips" / "gh_10_12.avi"),
        Video(tmp_path / "-i.mkv", 2.0, 5.0),
    ]


def test_of_two_files_with_one_name_the_upper_one_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a/deep/video7.mp4", "video7.mp4", "b/video8.mp4", "a/video8.mp4")
    folder = VideoFolder(tmp_path)
    assert folder.path("video7") == tmp_path / "video7.mp4"
    assert folder.path("video8.mp4") == tmp_path / "a" / "video8.mp4"


def test_spans_that_only_touch_share_no_stretch() -> None:
    first, second = VideoLocation("x", 0.0, 5.0), VideoLocation("x", 5.0, 9.0)
    assert not _intersect(first, second)
    assert not _intersect(second, first)
    assert _intersect(first, VideoLocation("x", 4.9, 9.0))


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    touch(tmp_path / "videos", "video7.mp4")
    (tmp_path / "videos" / "again").symlink_to(tmp_path / "videos", target_is_directory=True)
    touch(tmp_path / "elsewhere", "video8.mp4")
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert sorted(VideoFolder(tmp_path / "videos").names) == ["video7.mp4", "video8.mp4"]


@pytest.mark.parametrize(
    ("videos", "options", "missing"),
    [
        ((0, 1, 2, 3, 4), {}, []),
        ((0, 1, 2, 3), {}, ["video4"]),
        ((0, 1, 2), {}, None),
        ((0, 1, 2), {"allowed": 0.5}, ["video3", "video4"]),
        ((0, 1, 2, 3), {"missing": "error"}, None),
        ((), {"allowed": 1.0}, None),
        ((0, 1), {"limit": 2}, []),
    ],
)
def test_missing_videos_are_named_and_more_than_a_few_are_an_error(
    tmp_path: Path, videos: tuple[int, ...], options: dict[str, Any], missing: list[str] | None
) -> None:
    files.msrvtt(tmp_path / "annotations")
    touch(tmp_path, *(f"video{number}.mp4" for number in videos))
    values = {"root": tmp_path, "split": "train", "protocol": "7k", **options}
    if missing is None:
        advice = "larger share" if videos else r"name the folder that holds them \(root\)$"
        with pytest.raises(UsageError, match=rf"of 5 videos missing in .*: video.*{advice}"):
            plugins.build("datasets", "msrvtt", values)
        return
    dataset = plugins.build("datasets", "msrvtt", values)
    assert list(dataset.missing) == missing
    assert [sample.id for sample in dataset.samples()] == [f"video{number}" for number in videos]
    assert any("only the first 2 of 5" in remark for remark in dataset.remarks) == ("limit" in options)


def test_annotations_lie_where_one_says_or_beside_the_videos(tmp_path: Path) -> None:
    touch(tmp_path / "videos", "video8.mp4", "video9.mp4")
    values = {"root": tmp_path / "videos"}
    with pytest.raises(UsageError, match=r"no MSRVTT_JSFUSION_test\.csv"):
        plugins.build("datasets", "msrvtt", values)
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        plugins.build("datasets", "msrvtt", {**values, "annotations": tmp_path / "nowhere"})
    files.msrvtt(tmp_path / "elsewhere")
    assert len(plugins.build("datasets", "msrvtt", {**values, "annotations": tmp_path / "elsewhere"}).samples()) == 2
    files.msrvtt(tmp_path / "videos")
    assert len(plugins.build("datasets", "msrvtt", values).samples()) == 2
