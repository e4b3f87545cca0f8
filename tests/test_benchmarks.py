"""The benchmarks' adapters: official formats, spans and sentences as they are meant, no leaks."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import benchmark_files as files
import pytest
from fakes import colour_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmi_tvr import plugins
from mmi_tvr.cli._evaluation_data import EvaluationData
from mmi_tvr.datasets import benchmark_names
from mmi_tvr.datasets._benchmarks import (
    AnnotatedMoment,
    Annotations,
    Listing,
    VideoLocation,
    held_out_ids,
    youtube_clip_locations,
)
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import MomentDataset
from mmi_tvr.types import Saliency

NAMES = (
    *("msrvtt", "msvd", "lsmdc", "didemo", "activitynet", "vatex", "qvhighlights", "charades_sta", "mscoco"),
    "epic_kitchens",
)
FOR_TRAINING = ("cc3m", "webvid")  # without a test split
WITH_QUERIES = ("cia", "cip", "vggface2")  # tests/test_people_datasets.py


def read(name: str, folder: Path, **options: Any) -> Listing:
    """What the annotation says, before videos are looked for."""
    module = plugins.load("datasets", name)
    return module.read(plugins.options("datasets", name, {"root": folder, **options}), Annotations(folder))


def ids(listing: Listing) -> list[str]:
    return [video.id for video in listing.videos]


def test_the_benchmarks_are_found_by_their_files() -> None:
    assert set(benchmark_names()) == {*NAMES, *FOR_TRAINING, *WITH_QUERIES, "hgr"}


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_states_its_protocol_and_where_validation_comes_from(name: str, tmp_path: Path) -> None:
    facts = plugins.load("datasets", name).FACTS
    assert facts.title
    assert facts.protocol
    assert facts.validation
    for options in facts.variants.values():
        plugins.options("datasets", name, {"root": tmp_path, **options})


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_video(name: str, tmp_path: Path) -> None:
    folder = getattr(files, name)(tmp_path)
    variants = plugins.load("datasets", name).FACTS.variants
    assert variants
    for options in variants.values():
        splits = {split: set(ids(read(name, folder, split=split, **options))) for split in ("train", "val", "test")}
        assert all(splits.values())
        assert not splits["train"] & splits["val"]
        assert not splits["train"] & splits["test"]
        assert not splits["val"] & splits["test"]


def test_msrvtt_splits(tmp_path: Path) -> None:
    folder = files.msrvtt(tmp_path)

    def numbers(**options: Any) -> list[int]:
        return [int(id_[5:]) for id_ in ids(read("msrvtt", folder, **options))]

    assert numbers(split="train") == [0, 1, 2, 3, 4, 6, 7]
    assert numbers(split="train", hold_out=False) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert numbers(split="train", protocol="7k") == [0, 1, 2, 3, 4]
    assert numbers(split="train", protocol="full") == [0, 1, 2, 3, 4]
    assert numbers(split="val") == numbers(split="val", protocol="full") == [5]
    assert numbers(split="test") == [9, 8]  # the table's order
    assert numbers(split="test", protocol="full") == [6, 7, 8, 9]
    assert read("msrvtt", folder, split="train").videos[0].captions == ("clip 0, one", "clip 0, two")
    assert read("msrvtt", folder, split="test").videos[0].captions == ("clip 9, one",)


def test_msrvtt_1ka_needs_no_more_than_its_table(tmp_path: Path) -> None:
    (files.msrvtt(tmp_path) / "MSRVTT_data.json").unlink()
    assert ids(read("msrvtt", tmp_path)) == ["video9", "video8"]
    with pytest.raises(UsageError, match=r"MSRVTT_data\.json"):
        read("msrvtt", tmp_path, split="train")


def test_msrvtt_is_read_from_the_zips_of_the_release(tmp_path: Path) -> None:
    release = json.loads((files.msrvtt(tmp_path / "plain") / "MSRVTT_data.json").read_text(encoding="utf-8"))
    folder = tmp_path / "zipped"
    folder.mkdir()
    for zipped, inside, parts in (
        ("train_val_annotation.zip", "train_val_videodatainfo.json", ("train", "validate")),
        ("test_videodatainfo.json.zip", "test_videodatainfo.json", ("test",)),
    ):
        videos = [video for video in release["videos"] if video["split"] in parts]
        names = {video["video_id"] for video in videos}
        sentences = [sentence for sentence in release["sentences"] if sentence["video_id"] in names]
        with zipfile.ZipFile(folder / zipped, "w") as archive:
            archive.writestr(f"annotation/{inside}", json.dumps({"videos": videos, "sentences": sentences}))
    for split in ("train", "val", "test"):
        zipped = read("msrvtt", folder, split=split, protocol="full")
        assert zipped.videos == read("msrvtt", tmp_path / "plain", split=split, protocol="full").videos


def test_validation_is_not_to_be_had_when_it_is_trained_on(tmp_path: Path) -> None:
    for name in ("msrvtt", "activitynet"):
        with pytest.raises(UsageError, match="no val split"):
            plugins.options("datasets", name, {"root": tmp_path, "split": "val", "hold_out": False})


def test_msvd_in_both_languages_and_formats(tmp_path: Path) -> None:
    folder = files.msvd(tmp_path / "json")
    test = read("msvd", folder)
    assert ids(test) == files.MSVD_IDS["test"]
    assert test.videos[1].captions == ("-i_2_5 runs", "-i_2_5 runs", "-i_2_5 eats")  # each is a query, as published
    assert read("msvd", files.msvd_pickle(tmp_path / "pickle")).videos == test.videos
    assert read("msvd", folder, language="zh").videos[0].captions == ("第4个人",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = files.msvd_pickle(tmp_path / "msvd")
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps({"gh_10_12": Evil()}))
    with pytest.raises(UsageError, match=r"raw-captions\.pkl.*mkdir"):
        read("msvd", folder)
    assert not (tmp_path / "ran").exists()


def test_vatex_in_both_languages_and_formats(tmp_path: Path) -> None:
    folder = files.vatex(tmp_path)
    test = read("vatex", folder)
    assert test.videos[0].captions == ("te_t_000003_000013 one", "te_t_000003_000013 two")
    assert read("vatex", folder, language="zh").videos[0].captions[1] == "te_t_000003_000013 二"
    sentences = {
        record["videoID"]: record for record in json.loads((folder / "vatex_validation_v1.0.json").read_text())
    }
    (folder / "vatex_validation_v1.0.json").unlink()
    files.document(folder / "vatex_data.json", sentences)
    assert read("vatex", folder).videos == test.videos


def test_lsmdc_joins_sentences_of_one_clip_and_keeps_quotes(tmp_path: Path) -> None:
    folder = files.lsmdc(tmp_path)
    train = read("lsmdc", folder, split="train")
    assert ids(train) == files.LSMDC_CLIPS["training"][:1]
    assert train.videos[0].captions == ('SOMEONE says "0".', 'SOMEONE says "1".')
    assert read("lsmdc", folder).videos[0].id == files.LSMDC_CLIPS["test"][0]


def test_didemo_paragraphs_and_moments(tmp_path: Path) -> None:
    folder = files.didemo(tmp_path)
    test = read("didemo", folder)
    assert ids(test) == ["3@N_d.avi", "3@N_e.3gp"]  # as the list has them
    assert test.videos[0].captions == ("a dog jumps. it sits",)
    assert (test.videos[0].locations[0].start, test.videos[0].locations[0].end) == (0.0, 30.0)
    assert [(moment.text, moment.start, moment.end) for moment in test.videos[1].moments] == [
        ("a dog jumps.", 10.0, 15.0),
        ("it sits", 25.0, 30.0),
    ]
    assert test.videos[1].moments[0].annotated == ((0.0, 10.0), (10.0, 15.0), (10.0, 15.0))
    moments = read("didemo", folder, unit="moment").videos
    assert [(moment.captions[0], moment.locations[0].start, moment.locations[0].end) for moment in moments[:2]] == [
        ("a dog jumps.", 10.0, 15.0),  # two of three annotators
        ("it sits", 25.0, 30.0),
    ]
    (folder / "ce_test_list.txt").unlink()
    unlisted = read("didemo", folder)
    assert len(unlisted.videos) == 3
    assert "no ce_test_list.txt" in unlisted.remarks[-1]


def test_activitynet_paragraphs_moments_and_both_writings(tmp_path: Path) -> None:
    folder = files.activitynet(tmp_path)
    test = read("activitynet", folder)
    assert ids(test) == files.ACTIVITY["val_1"]
    assert test.videos[0].captions == ("v_test0 begins. It ends. Nothing.",)
    assert ids(read("activitynet", folder, annotator=2)) == files.ACTIVITY["val_2"]
    moments = read("activitynet", folder, unit="moment").videos
    spans = [(moment.locations[1].name, moment.locations[1].start, moment.locations[1].end) for moment in moments[:2]]
    assert spans == [("test0", 0.0, 10.5), ("test0", 20.0, 30.0)]
    assert len(moments) == 4  # a span of no length is none
    assert not moments[0].moments
    colour_video(tmp_path / "videos" / "v_-test1.mp4")  # of two videos, the second is there
    options = {"root": tmp_path / "videos", "annotations": folder, "allowed": 1.0}
    dataset = plugins.build("datasets", "activitynet", options)
    assert isinstance(dataset, MomentDataset)
    described = dataset.moments()["events"]
    assert [(moment.text, moment.sample, moment.start, moment.end) for moment in described] == [
        ("v_-test1 begins.", 0, 0.0, 10.5),
        ("It ends.", 0, 20.0, 30.0),
    ]
    assert not isinstance(plugins.build("datasets", "activitynet", options | {"unit": "moment"}), MomentDataset)
    all_ids = ids(read("activitynet", folder, split="train", hold_out=False))
    parts = [ids(read("activitynet", folder, split=split)) for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == sorted(all_ids)
    assert len(parts[1]) == 1


def test_charades_sta_cuts_spans_at_the_end_of_their_video(tmp_path: Path) -> None:
    folder = files.charades_sta(tmp_path)
    test = read("charades_sta", folder)
    assert ids(test) == ["C0", "C1"]
    assert test.videos[0].captions == ("person c0, one.", "person turns round.")
    assert [(moment.start, moment.end) for moment in test.videos[0].moments] == [(24.3, 30.0), (1.0, 5.0)]
    assert test.remarks[-1] == "without 1 sentence whose span has no length in its video"
    train, val = (read("charades_sta", folder, split=split) for split in ("train", "val"))
    whole = read("charades_sta", folder, split="train", hold_out=False)
    assert sorted(ids(train) + ids(val)) == ids(whole) == ["B0", "B1", "B2"]
    assert len(ids(val)) == 1
    for name in ids(test):
        (folder / f"{name}.mp4").touch()
    dataset = plugins.build("datasets", "charades_sta", {"root": folder})
    assert isinstance(dataset, MomentDataset)
    assert [moment.sample for moment in dataset.moments()["events"]] == [0, 0, 1]
    (folder / "charades_sta_test.txt").write_text("C0 1.0 ##no end.\n")
    with pytest.raises(
        UsageError, match=r"charades_sta_test.txt, line 1: not as expected, lines: video id, start, end"
    ):
        read("charades_sta", folder)
    (folder / "charades_sta_test.txt").write_text("C0 1.0 2.0 no marks.\n")
    with pytest.raises(UsageError, match="line 1: 1 cell instead of 2"):
        read("charades_sta", folder)


def test_qvhighlights_have_a_sentence_for_their_windows(tmp_path: Path) -> None:
    folder = files.qvhighlights(tmp_path)
    val = read("qvhighlights", folder, split="val")
    assert ids(val) == files.HIGHLIGHTS["val"]
    assert val.videos[0].captions == ("a dog jumps.", "it sits")
    rated = Saliency(75, (5,), ((1, 2, 4),), seconds=2.0)
    expected = (
        AnnotatedMoment("a dog jumps.", 10, 24, saliency=rated),
        AnnotatedMoment("it sits", 30, 150, ((0, 4),), saliency=rated),
    )
    assert val.videos[0].moments == expected
    assert val.remarks == ("highlight_val_release.jsonl is cut: 2 of 1,550 entries",)
    test = read("qvhighlights", folder)
    assert not test.videos[0].moments
    assert "no windows in the annotation" in test.remarks[-1]
    colour_video(tmp_path / "clips" / "c_60.0_210.0.mp4")
    colour_video(tmp_path / "whole" / "c.mp4")
    expected = {"clips": (0.0, [10.0, 30.0], ((0.0, 4.0),)), "whole": (60.0, [70.0, 90.0], ((60.0, 64.0),))}
    for videos, (start, starts, repeated) in expected.items():  # a stretch of the whole video has the video's times
        options = {"root": tmp_path / videos, "annotations": folder, "split": "train", "allowed": 1.0}
        dataset = plugins.build("datasets", "qvhighlights", options)
        assert isinstance(dataset, MomentDataset)
        assert [sample.video.start for sample in dataset.samples()] == [start]
        described = dataset.moments()["events"]
        assert [moment.start for moment in described] == starts
        assert described[1].repeated == repeated
        saliency = described[0].saliency
        assert saliency is not None
        assert saliency.middles()[[0, 5, -1]].tolist() == [start + 1, start + 11, start + 149]
        assert saliency.table()[5].tolist() == [1, 2, 4]
        assert saliency.table().sum() == 7
    colour_video(tmp_path / "clips" / "e_f_150.0_300.0.mp4")
    options = {"root": tmp_path / "clips", "annotations": folder, "split": "test"}
    without_windows = plugins.build("datasets", "qvhighlights", options)
    assert not isinstance(without_windows, MomentDataset)
    with pytest.raises(UsageError, match=r"does not say when.*no windows in the annotation"):
        EvaluationData(without_windows, {}).moments("qvhighlights")


@pytest.mark.parametrize(
    ("before", "after"),
    [("[5]", "[75]"), ("[5]", "[-1]"), ("[5]", "[5, 6]"), ("[[1, 2, 4]]", "[[]]"), ("[[1, 2, 4]]", "[1]"),
     ("[[1, 2, 4]]", "[[1, 2, 5]]"), ("[[1, 2, 4]]", "[[1, 2.5, 4]]"), ('"vid": "', '"vid": 5, "old": "')],
)  # fmt: skip
def test_ratings_of_clips_that_are_not_there_are_refused(before: str, after: str, tmp_path: Path) -> None:
    path = files.qvhighlights(tmp_path) / "highlight_val_release.jsonl"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(UsageError, match=r"highlight_val_release\.jsonl, line 1: not as expected"):
        read("qvhighlights", tmp_path, split="val")


@pytest.mark.parametrize("window", ["[NaN, 2]", "[2, NaN]", "[0, Infinity]", "[-5, 2]", f"[0, 1{400 * '0'}]"])
def test_a_span_that_lies_in_no_video_is_refused(window: str, tmp_path: Path) -> None:
    path = files.qvhighlights(tmp_path) / "highlight_val_release.jsonl"
    path.write_text(path.read_text().replace("[10, 24]", window))
    with pytest.raises(UsageError, match=r"highlight_val_release\.jsonl, line 1: not as expected.*(no span|too large)"):
        read("qvhighlights", tmp_path, split="val")
    captions = {"v_a": {"duration": 9, "sentences": ["a dog"], "timestamps": [json.loads(window)]}}
    (tmp_path / "val_1.json").write_text(json.dumps(captions))
    with pytest.raises(UsageError, match=r"val_1\.json, video v_a: not as expected.*(no span|too large)"):
        read("activitynet", tmp_path)


def test_windows_without_length_and_sentences_without_ratings_are_counted(tmp_path: Path) -> None:
    """A window that is there twice counts twice, as in moment_detr's code; one written backwards is turned round."""
    path = files.qvhighlights(tmp_path) / "highlight_val_release.jsonl"
    first, second = map(json.loads, path.read_text().splitlines())
    first["relevant_windows"] = [[10, 10], [24, 10], [10, 24]]
    del second["saliency_scores"]
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    val = read("qvhighlights", tmp_path, split="val")
    moment = val.videos[0].moments[0]
    assert (moment.start, moment.end, moment.repeated) == (10, 24, ((10, 24),))
    assert val.remarks[1:] == (
        "without 1 window of no length",
        "1 of 2 sentences without ratings: highlights are not measured",
    )


def test_spans_past_the_end_are_cut_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    entry = {"duration": 9, "sentences": ["a", " ", "b", "c"], "timestamps": [[0, 20], [1, 2], [10, 12], [3, 3]]}
    (tmp_path / "val_1.json").write_text(json.dumps({"v_a": entry}))
    (video,) = read("activitynet", tmp_path).videos
    assert video.captions == ("a b c",)
    assert [(moment.text, moment.start, moment.end) for moment in video.moments] == [("a", 0, 9)]
    remarks = ("without the moment of 2 sentences, whose span has no length", "without 1 empty sentence")
    assert read("activitynet", tmp_path).remarks[-2:] == remarks
    files.didemo(tmp_path)
    path = tmp_path / "test_data.json"
    path.write_text(path.read_text().replace("it sits", ""))
    assert read("didemo", tmp_path).remarks[-1] == "without 2 empty sentences"  # of the two videos on the list


@pytest.mark.parametrize("times", ["[[3, 1]]", "[[5, 6]]", "[[-1, 0]]", "[[0.5, 1]]", "[]", "[[null, 1]]"])
def test_segments_that_no_annotator_can_have_given_are_refused(times: str, tmp_path: Path) -> None:
    path = files.didemo(tmp_path) / "test_data.json"
    path.write_text(path.read_text().replace("[[0, 1], [2, 2], [2, 2]]", times))
    with pytest.raises(UsageError, match=r"test_data\.json, entry 1: not as expected"):
        read("didemo", tmp_path)


def test_annotation_files_may_be_gzipped(tmp_path: Path) -> None:
    path = files.qvhighlights(tmp_path) / "highlight_val_release.jsonl"
    plain = read("qvhighlights", tmp_path, split="val")
    (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert read("qvhighlights", tmp_path, split="val").videos == plain.videos
    (tmp_path / f"{path.name}.gz").write_bytes(b"not packed")
    with pytest.raises(UsageError, match=r"jsonl\.gz: cannot be unpacked"):
        read("qvhighlights", tmp_path, split="val")


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = files.qvhighlights(tmp_path) / "highlight_val_release.jsonl"
    path.write_text(path.read_text() + "{'vid': 1}\n")
    with pytest.raises(UsageError, match=r"highlight_val_release\.jsonl, line 3: not JSON"):
        read("qvhighlights", tmp_path, split="val")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=5), min_size=2, unique=True), st.floats(0, 1), st.integers(0, 9), st.randoms())
def test_a_held_out_part_depends_on_ids_and_seed_alone(names: list[str], share: float, seed: int, random: Any) -> None:
    part = held_out_ids(names, share, seed)
    shuffled = random.sample(names, len(names))
    assert part == held_out_ids(shuffled, share, seed)
    assert part < set(names)
    assert part


@given(st.text(min_size=1, max_size=12), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_clip_of_youtube_names_its_span(source: str, start: int, length: int) -> None:
    name = f"{source}_{start}_{start + length}"
    whole_file, span = youtube_clip_locations(name)
    assert (whole_file.name, whole_file.start, whole_file.end) == (name, 0.0, None)
    assert (span.name, span.start, span.end) == (source, float(start), float(start + length))


def test_a_span_of_no_length_is_part_of_the_name() -> None:
    assert youtube_clip_locations("x_y_0.5_2.0")[1] == VideoLocation("x_y", 0.5, 2.0)
    for name in ("x_5_5", "x_6_5", "x_1._2.0", "x_1e1_2e1", "x_-1_2", "x_a_5", "_1_2", "x_1"):
        assert youtube_clip_locations(name) == (VideoLocation(name),)
