"""Saved evaluations: compared query by query, read back whole or refused, and published as a table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_evaluate import world

from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import metrics, published, saved
from mmi_tvr.evaluation.compare import compare
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.types import Scoring


def save_run(folder, noise, counts=(1, 2, 1, 3, 1, 1, 2, 1)):
    samples, embeddings, queries = world(list(counts), seed=3, noise=noise)
    report = evaluate(samples, embeddings, queries, Scoring(), model="tiny")
    folder.mkdir()
    config = {"target": "videos", "model": {"name": "tiny"}, "keyimages": {"name": "uniform"}}
    document = {**report.as_dict(), "config": config, "queries": report.details.as_dict()}
    (folder / "report.json").write_text(json.dumps(document))
    return report


def test_comparing_runs_pairs_their_queries(tmp_path):
    good, bad = save_run(tmp_path / "good", 0.1), save_run(tmp_path / "bad", 30.0)
    comparison = compare(tmp_path / "bad", tmp_path / "good" / "report.json")
    gap = comparison.differences["t2v"]["R@1"]
    assert gap.value == pytest.approx(good.t2v.r1 - bad.t2v.r1)
    assert gap.low <= gap.value <= gap.high
    assert gap.p < 0.05
    assert comparison.n == {"t2v": 12, "v2t": 8}
    before, after = bad.details, good.details
    video_ids = [video_id for video_id, _ in before.captions]
    assert comparison.differences["t2v"] == metrics.paired_bootstrap(before.t2v_ranks, after.t2v_ranks, video_ids)
    assert comparison.differences["t2v"] != metrics.paired_bootstrap(before.t2v_ranks, after.t2v_ranks)
    assert comparison.table().splitlines()[0].startswith("good minus bad")
    same = compare(tmp_path / "good", tmp_path / "good")
    assert all(tuple(each) == (0, 0, 0, 1) for each in same.differences["v2t"].values())
    turned = compare(tmp_path / "good", tmp_path / "bad").differences["t2v"]["R@1"]
    assert (turned.value, turned.low, turned.high) == pytest.approx((-gap.value, -gap.high, -gap.low))
    json.dumps(comparison.as_dict(), allow_nan=False)


def test_only_runs_of_the_same_queries_are_compared(tmp_path):
    save_run(tmp_path / "one", 1.0)
    save_run(tmp_path / "other", 1.0, counts=(1, 1, 1))
    with pytest.raises(UsageError, match="not of the same queries: 9 differ"):
        compare(tmp_path / "one", tmp_path / "other")
    with pytest.raises(UsageError, match="not a saved evaluation"):
        compare(tmp_path / "one", tmp_path / "nothing")


def test_runs_are_paired_by_query_and_not_by_place(tmp_path):
    save_run(tmp_path / "one", 5.0)
    save_run(tmp_path / "other", 0.5)
    straight = compare(tmp_path / "one", tmp_path / "other")
    document = json.loads((tmp_path / "other" / "report.json").read_text())
    for direction in ("t2v", "v2t"):
        document["queries"][direction].reverse()
    (tmp_path / "other" / "report.json").write_text(json.dumps(document))
    assert compare(tmp_path / "one", tmp_path / "other") == straight


def test_a_comparison_as_text_marks_what_is_hardly_chance(tmp_path):
    save_run(tmp_path / "one", 30.0, counts=[1] * 8)
    save_run(tmp_path / "other", 0.1, counts=[1] * 8)
    comparison = compare(tmp_path / "one", tmp_path / "other")
    lines = comparison.table().splitlines()
    assert lines[1] == "text-to-video, n = 8"
    assert lines[7] == "video-to-text, n = 8"
    assert lines[-1] == "* p < 0.05; for MdR and MnR less is better"
    for line, (name, gap) in zip(lines[2:7], comparison.differences["t2v"].items(), strict=True):
        ends = f"[{gap.low:+.1f}, {gap.high:+.1f}]"
        assert line == f"  {name:<4} {gap.value:+7.1f}  {ends}  p = {gap.p:.4f}{' *' if gap.p < 0.05 else ''}"
    assert {line.endswith("*") for line in lines[2:7]} == {True, False}
    document = comparison.as_dict()
    assert (document["one"], document["other"]) == ("one", "other")
    assert document["t2v"]["n"] == 8
    assert document["t2v"]["R@1"]["value"] == comparison.differences["t2v"]["R@1"].value


ENTRIES = [
    ("n",),
    ("videos",),
    ("model",),
    ("fingerprint",),
    ("left_out", "videos"),
    ("config", "target"),
    ("config", "model", "name"),
    ("config", "keyimages", "name"),
    ("t2v", "R@1"),
    ("v2t", "MnR"),
    ("t2v", "ci95", "R@10"),
    ("queries", "v2t"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=".".join)
def test_a_saved_evaluation_that_lacks_an_entry_is_none(tmp_path, entry):
    save_run(tmp_path / "run", 1.0)
    file = tmp_path / "run" / "report.json"
    document = saved.read(tmp_path / "run")
    assert saved.read(file) == document
    *sections, name = entry
    section = document
    for key in sections:
        section = section[key]
    del section[name]
    file.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="not a saved evaluation"):
        saved.read(tmp_path / "run")


def test_a_table_holds_measured_rows_before_quoted_ones_and_starred_numbers_apart(tmp_path):
    save_run(tmp_path / "one", 5.0)
    save_run(tmp_path / "other", 0.5)
    file = tmp_path / "other" / "report.json"
    document = json.loads(file.read_text())
    document["transductive"] = {"query-bank": {side: document[side] for side in ("t2v", "v2t")}}
    document["rerank"] = {"searched": {side: document[side] for side in ("t2v", "v2t")}}
    document["left_out"]["videos"] = {"x": "empty"}
    document["v2t"]["R@5"] = 12.5  # another number than text-to-video's
    document["config"]["keyimages"]["count"] = 12
    file.write_text(json.dumps(document))
    rows = published.measured([tmp_path / "one", tmp_path / "other"])
    assert [row.system for row in rows] == [
        "tiny, uniform",
        "tiny, uniform 12, re-ranked",
        "tiny, uniform 12",
        "tiny, uniform 12, query-bank",
    ]
    assert [row.transductive for row in rows] == [False, False, False, True]
    assert rows[0].source == f"n = 12; {tmp_path / 'one'}"
    assert rows[1].source == f"n = 12; 1 video left out; {tmp_path / 'other'}"
    gain = compare(tmp_path / "one", tmp_path / "other").differences["t2v"]["R@1"]
    assert rows[1].note == f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] T2V R@1 against the first row"
    assert [row.note for row in (rows[0], *rows[2:])] == ["", "", ""]
    quoted = [replace(row, test_set=rows[0].test_set) for row in published.quoted("msvd")]
    header, rule, *lines = published.table([*quoted, *rows]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *lines[: len(rows)])]
    assert cells[0] == [
        "system",
        *("T2V R@1", "T2V R@5", "T2V R@10", "T2V MnR", "V2T R@1", "V2T R@5", "V2T R@10", "V2T MnR"),
        *("T2V R@1 *", "V2T R@1 *", "source"),
    ]
    low, high = document["t2v"]["ci95"]["R@1"]
    with_interval = f"{document['t2v']['R@1']:.1f} [{low:.1f}, {high:.1f}]"
    assert cells[2][1:3] == [with_interval, f"{document['t2v']['R@5']:.1f}"]
    low, high = document["v2t"]["ci95"]["R@1"]
    assert cells[2][5:7] == [f"{document['v2t']['R@1']:.1f} [{low:.1f}, {high:.1f}]", f"{document['v2t']['R@5']:.1f}"]
    assert cells[2][9:11] == ["-", "-"]
    assert cells[4][1:9] == ["-"] * 8
    assert cells[4][9] == with_interval
    assert cells[4][11] == f"measured: {rows[3].source}"
    assert set(rule) == {"|", "-"}
    assert len({len(line) for line in (header, rule, *lines[: len(rows) + len(quoted)])}) == 1
    assert [row.as_dict()["kind"] for row in (rows[0], quoted[0])] == ["measured", "quoted"]
    assert published.table(quoted).splitlines()[0].count("*") == 0


def test_quoted_rows_of_another_test_set_stand_in_a_table_of_their_own(tmp_path):
    save_run(tmp_path / "one", 5.0)
    rows = [*published.measured([tmp_path / "one"]), *published.quoted("msvd")]
    lines = published.table(rows).splitlines()
    titles = [line for line in lines if line.startswith("test set: ")]
    assert titles == [f"test set: {rows[0].test_set}", "test set: MSVD"]
    assert "captions, 8 videos" in titles[0]
    assert sum(set(line) == {"|", "-"} for line in lines) == 2
    assert "Different test sets: numbers of one table say nothing about those of another." in lines
    assert {row.as_dict()["test_set"] for row in rows} == {rows[0].test_set, "MSVD"}


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"n": 27_762}, False), ({"videos": 669}, False), ({"split": "val"}, False), ({"target": "x"}, False)],
)
def test_a_run_on_a_benchmarks_whole_test_set_is_of_that_test_set(tmp_path, change, same):
    save_run(tmp_path / "run", 1.0)
    file = tmp_path / "run" / "report.json"
    document = json.loads(file.read_text()) | {"n": 27_763, "videos": 670}
    document["config"] |= {"target": "msvd", "split": "test"}
    for name, value in change.items():
        (document if name in document else document["config"])[name] = value
    file.write_text(json.dumps(document))
    (row,) = published.measured([tmp_path / "run"])
    assert (row.test_set == "MSVD") is same


def test_sums_that_a_source_prints_stand_beside_those_of_its_recalls(tmp_path):
    rows = {(row.system, row.note): row for row in published.quoted("msrvtt-full")}
    full = rows["MCSAN", ""]
    assert full.sum_of_recalls == pytest.approx(205.9)
    assert full.as_dict()["printed_SumR"] == 205.3
    different = [row for row in rows.values() if row.printed_sum and abs(row.sum_of_recalls - row.printed_sum) > 0.05]
    assert [f"{row.sum_of_recalls:.1f} ({row.printed_sum})" for row in different] == [
        "199.8 (201.7)", "205.9 (205.3)", "188.6 (195.8)", "200.5 (202.6)", "202.4 (203.7)",
    ]  # fmt: skip
    assert rows["TCE", ""].sum_of_recalls is None
    header, _, *lines = published.table(list(rows.values())).splitlines()
    assert header.split("|")[-3].strip() == "SumR (as printed)"
    assert [line.split("|")[-3].strip() for line in lines[5:8]] == ["-", "162.8", "172.4"]
    assert "SumR" not in published.table(published.quoted("msrvtt"))


@pytest.mark.parametrize(
    ("target", "options", "title"),
    [
        ("vatex", {}, "VATEX, English, HGR's split"),
        ("vatex", {"language": "zh"}, "vatex, test: 15,000 captions, 1,500 videos"),
        ("hgr", {}, "VATEX, English, HGR's split"),
    ],
)
def test_merged_captions_are_a_row_beside_the_others(tmp_path, target, options, title):
    save_run(tmp_path / "run", 1.0)
    file = tmp_path / "run" / "report.json"
    document = json.loads(file.read_text()) | {"n": 15_000, "videos": 1_500}
    document["config"] |= {"target": target, "split": "test", "dataset": options}
    document["merged_captions"] = {"n": 14_000, **{side: document[side] for side in ("t2v", "v2t")}}
    file.write_text(json.dumps(document))
    plain, merged = published.measured([tmp_path / "run"])
    assert merged.system == f"{plain.system}, equal captions merged"
    assert merged.source == f"n = 14000, equal captions merged; {tmp_path / 'run'}"
    assert plain.test_set == merged.test_set == title


def test_runs_among_different_videos_are_not_compared(tmp_path):
    for name, videos in (("one", 8), ("other", 9)):
        save_run(tmp_path / name, 1.0)
        file = tmp_path / name / "report.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"videos": videos}))
    with pytest.raises(UsageError, match="not of one test set: 8 and 9 videos were ranked"):
        compare(tmp_path / "one", tmp_path / "other")


def test_a_table_explains_what_stands_in_it_and_nothing_else(tmp_path):
    save_run(tmp_path / "one", 5.0)
    measured = published.measured([tmp_path / "one"])
    quoted = [replace(row, test_set=measured[0].test_set) for row in published.quoted("msvd")]
    interval_remark, quoted_remark = (
        "[low, high]: 95 % bootstrap over videos, Wilson's",
        "Quoted rows are published numbers",
    )
    for rows, remarks in (
        (measured, [interval_remark]),
        (quoted, [quoted_remark]),
        ([*measured, *quoted], [interval_remark, quoted_remark]),
    ):
        below = published.table(rows).splitlines()[2 + len(rows) :]
        assert len(below) == len(remarks)
        assert all(line.startswith(remark) for line, remark in zip(below, remarks, strict=True))
