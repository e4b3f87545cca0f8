"""Scores that other systems saved, vectors of any encoder, and runs for TREC's tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import benchmark_files
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import mmi_tvr
from mmi_tvr.cli import evaluation
from mmi_tvr.errors import MetricsError, UsageError
from mmi_tvr.evaluation import fusion, matrices, metrics, trec
from mmi_tvr.evaluation.matrices import evaluate_embeddings, make_truth, read_matrix
from mmi_tvr.evaluation.matrix_report import FUSED, evaluate_matrices

N = 60


def scores_of(seed: int, noise: float = 1.0, shape: tuple[int, int] = (N, N)) -> np.ndarray:
    """Scores in which captions agree with the video of their number, up to noise."""
    rng = np.random.default_rng(seed)
    return (np.eye(*shape) * 2 + noise * rng.standard_normal(shape)).astype(np.float32)


def call(*words: object) -> str:
    app = typer.Typer()
    evaluation.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def naive_ranks(scores: np.ndarray, right: list[set[int]]) -> list[int]:
    return [
        1 + sum(row[column] >= max(row[list(mine)]) for column in range(len(row)) if column not in mine)
        for row, mine in zip(scores, right, strict=True)
    ]


def test_a_matrix_is_ranked_both_ways_and_compared_with_the_first(tmp_path: Path) -> None:
    one, two = scores_of(1), scores_of(2, 0.5)
    shown = call("evaluate", "--similarities", saved(tmp_path / "A.npy", one), saved(tmp_path / "B.npy", two), "--json")
    document = json.loads(shown)
    right = [{row} for row in range(N)]
    for name, scores in (("A", one), ("B", two)):
        for direction, matrix in (("t2v", scores), ("v2t", scores.T)):
            ranks = np.array(naive_ranks(matrix, right))
            numbers = document["systems"][name][direction]
            assert numbers["R@5"] == pytest.approx(100 * np.mean(ranks <= 5))
            assert numbers["MnR"] == pytest.approx(np.mean(ranks))
            assert numbers["ci95"]["R@1"][0] <= numbers["R@1"] <= numbers["ci95"]["R@1"][1]
    first = document["comparisons"][0]
    assert (first["one"], first["other"], first["t2v"]["n"]) == ("A", "B", N)
    gain = document["systems"]["B"]["t2v"]["R@1"] - document["systems"]["A"]["t2v"]["R@1"]
    assert first["t2v"]["R@1"]["value"] == pytest.approx(gain)
    assert [(pair["one"], pair["other"]) for pair in document["comparisons"][1:]] == [("A", FUSED), ("B", FUSED)]
    assert document["ground_truth"] == "the diagonal of A"


def test_the_table_names_systems_directions_and_weights(tmp_path: Path) -> None:
    shown = call(
        "evaluate", "--similarities", saved(tmp_path / "A.npy", scores_of(1)), saved(tmp_path / "B.npy", scores_of(2))
    )
    assert "60 captions, 60 videos, inductive" in shown
    assert "text-to-video (every caption)" in shown
    assert "B minus A: paired bootstrap" in shown
    assert "weights chosen on one half of the videos, measured on the other" in shown


def test_weights_are_not_chosen_on_the_queries_that_they_rank() -> None:
    """Scores of a second system that are right for some videos alone: changing a video's own scores cannot change the
    weights that rank it."""
    truth = make_truth(None, N)
    one, two = scores_of(1), scores_of(2)
    before = fusion.fuse([one, two], truth)
    half = fusion._first_half(truth, 0)
    two = two.copy()
    two[half] = -two[half]  # the first half's queries
    after = fusion.fuse([one, two], truth)
    assert before.weights["t2v"][0] == after.weights["t2v"][0]  # those of the first half: chosen on the second
    assert before.weights["t2v"][1] != after.weights["t2v"][1]
    assert half.sum() == N // 2


def test_fusion_adds_up_what_systems_know_and_drops_what_is_noise() -> None:
    truth = make_truth(None, N)
    two_good = evaluate_matrices({"A": scores_of(1), "B": 100 * scores_of(2)}, truth)  # scales do not matter
    alone = max(two_good.systems[name].t2v.r1 for name in "AB")
    assert two_good.systems[FUSED].t2v.r1 > alone
    noise = np.random.default_rng(3).standard_normal((N, N))
    assert two_good.fusion is not None
    with_noise = fusion.fuse([scores_of(1, 0.3), noise], truth)
    assert all(weights == (1.0, 0.0) for halves in with_noise.weights.values() for weights in halves)


def test_the_ranks_of_a_fusion_are_those_of_the_weighted_sum() -> None:
    truth = make_truth([0, 0, 1, 2, 3, 4, 5, 5], 7)  # the last video is a distractor
    systems = [scores_of(1, shape=(8, 7)), scores_of(2, shape=(8, 7))]
    fused = fusion.fuse(systems, truth)
    half = fusion._first_half(truth, 0)
    rows = np.array([half[min(right)] for right in truth.ground_truth])
    for measured, weights in zip((rows, ~rows), fused.weights["t2v"], strict=True):
        total = sum(weight * scores / scores[~measured].std() for weight, scores in zip(weights, systems, strict=True))
        ranks = naive_ranks(total, [set(right) for right in truth.ground_truth])
        assert fused.ranks.t2v[measured].tolist() == np.array(ranks)[measured].tolist()
    assert fused.ranks.columns.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-200, 1e250])
def test_a_fusion_does_not_depend_on_how_large_scores_are(size: float) -> None:
    truth = make_truth(None, N)
    usual, other = (
        evaluate_matrices({"A": scores_of(1), "B": factor * scores_of(2).astype(np.float64)}, truth)
        for factor in (1.0, size)
    )
    assert usual.fusion is not None
    assert other.fusion is not None
    assert other.fusion.weights == usual.fusion.weights
    assert other.systems[FUSED].t2v.mnr == usual.systems[FUSED].t2v.mnr


def test_a_fusion_that_is_impossible_costs_no_other_number() -> None:
    few = evaluate_matrices({"A": scores_of(1)[:3, :3], "B": scores_of(2)[:3, :3]}, make_truth(None, 3))
    assert list(few.systems) == ["A", "B"]
    assert "not fused: 3 videos with captions cannot be cut into halves" in few.table()
    masked = scores_of(2)
    masked[0, 1] = -np.inf
    report = evaluate_matrices({"A": scores_of(1), "B": masked}, make_truth(None, N))
    assert report.fusion is None
    assert "holds infinities" in report.remarks[-1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((N, N), np.nan), "B: query 0, candidate 0: the similarity is NaN"),
        (np.zeros((N, N - 1)), "B: 60 x 59; the diagonal of A has 60 captions"),
        (np.zeros(N), "no matrix of scores"),
        (np.zeros((N, N), complex), "no matrix of scores"),
        (np.zeros((N, N), bool), "no matrix of scores"),
        (np.zeros((0, N)), "nothing to rank"),
        (np.array([["a", None]], dtype=object), "objects and pickles are not read"),
    ],
)
def test_what_is_no_matrix_of_scores_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    first = saved(tmp_path / "A.npy", scores_of(1))
    np.save(tmp_path / "B.npy", array, allow_pickle=True)
    with pytest.raises((UsageError, MetricsError), match=message):
        call("evaluate", "--similarities", first, tmp_path / "B.npy")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_what_is_no_npy_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "A.npy").write_bytes(content)
    with pytest.raises(UsageError, match="no array of numbers"):
        read_matrix(tmp_path / "A.npy")
    whole = saved(tmp_path / "B.npy", scores_of(1)).read_bytes()
    (tmp_path / "B.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cut short"):
        read_matrix(tmp_path / "B.npy")
    np.savez(tmp_path / "C.npz", scores_of(1))
    with pytest.raises(UsageError, match=r"an archive of arrays \(arr_0\)"):
        read_matrix(tmp_path / "C.npz")
    with pytest.raises(UsageError, match="No such file"):
        read_matrix(tmp_path / "nothing.npy")


def test_wrong_use_says_what_to_do(tmp_path: Path) -> None:
    wide = saved(tmp_path / "A.npy", scores_of(1, shape=(6, 4)))
    with pytest.raises(UsageError, match="6 captions and 4 videos: without a square matrix, say what is right"):
        call("evaluate", "--similarities", wide)
    truth = saved(tmp_path / "truth.npy", np.array([0, 0, 1, 1, 2, 9]))
    with pytest.raises(UsageError, match="row 5 of the ground truth names column 9; there are 4"):
        call("evaluate", "--similarities", wide, "--ground-truth", truth)
    with pytest.raises(UsageError, match="it looks transposed: captions are rows"):
        call("evaluate", "--similarities", saved(tmp_path / "T.npy", scores_of(1, shape=(4, 6))),
             "--ground-truth", saved(tmp_path / "six.npy", np.array([0, 0, 1, 1, 2, 3])), wide)  # fmt: skip
    with pytest.raises(UsageError, match="named twice"):
        call("evaluate", "--similarities", wide, wide)
    for words in (("--annotations", tmp_path), ("--limit", 5), ("--split", "val"), ("--column", "caption")):
        with pytest.raises(UsageError, match=f"{words[0]}: of which data set"):
            call("evaluate", "--similarities", wide, *words)


def test_distances_and_transposed_matrices_are_remarked_on() -> None:
    one = scores_of(1, 0.2) + np.random.default_rng(5).standard_normal((N, N)).astype(np.float32)
    other = one + scores_of(2, 0.1)
    truth = make_truth(None, N)
    assert not evaluate_matrices({"A": one, "B": other}, truth).remarks
    assert "transposed" in evaluate_matrices({"A": one, "B": other.T}, truth).remarks[0]
    assert "distances?" in evaluate_matrices({"A": -one}, truth).remarks[0]
    assert not any("transposed" in remark for remark in evaluate_matrices({"A": one, "B": -one}, truth).remarks)


def test_a_data_set_says_what_is_right_without_its_videos(tmp_path: Path) -> None:
    """1k-A of the made MSR-VTT: two captions in the order of its table."""
    benchmark_files.msrvtt(tmp_path / "annotations")
    scores = saved(tmp_path / "A.npy", np.array([[0.9, 0.1], [0.8, 0.7]]))
    words = ("evaluate", "msrvtt", "--similarities", scores, "--annotations", tmp_path / "annotations")
    document = json.loads(call(*words, "--trec", tmp_path / "trec", "--json"))
    assert (document["n"], document["ground_truth"]) == (2, "msrvtt test")
    assert document["systems"]["A"]["t2v"]["R@1"] == 50
    qrels = (tmp_path / "trec" / "A" / "t2v.qrels").read_text()
    assert qrels == "video9#0 mmi-tvr video9 1\nvideo8#0 mmi-tvr video8 1\n"
    assert not any(
        "video by video" in remark for remark in document["remarks"]
    )  # one caption a video: the order of rows is plain
    with pytest.raises(UsageError, match="2 x 2; msrvtt train has 10 captions"):
        call(*words, "--split", "train", "-o", "protocol=full")
    with pytest.raises(UsageError, match="fit the videos of epic_kitchens to a degree"):
        call("evaluate", "epic_kitchens", "--similarities", scores, "--annotations", tmp_path)


def test_rows_of_a_data_set_stand_video_by_video(tmp_path: Path) -> None:
    """Two sentences of one video, with another's between them in the annotation."""
    benchmark_files.qvhighlights(tmp_path)
    path = tmp_path / "highlight_val_release.jsonl"
    entry = json.loads(path.read_text().splitlines()[0])
    names = ["a_0.0_150.0", "b_0.0_150.0", "a_0.0_150.0"]
    path.write_text("".join(json.dumps(entry | {"vid": name}) + "\n" for name in names))
    scores = saved(tmp_path / "A.npy", np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    words = ("evaluate", "qvhighlights", f"--similarities={scores}", "--annotations", tmp_path, "--split", "val")
    document = json.loads(call(*words, "--json"))
    assert document["systems"]["A"]["t2v"]["R@1"] == 100
    assert "rows are read video by video" in document["remarks"][-1]


def test_runs_of_systems_that_are_called_by_paths_stay_in_their_folder(tmp_path: Path) -> None:
    paths = [tmp_path / name / "A.npy" for name in ("one", "two")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        saved(path, scores_of(number))
    call("evaluate", "--similarities", *paths, "--trec", tmp_path / "runs")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        str(path).replace("/", "%2F") for path in paths
    ]
    assert [len(list(path.parent.iterdir())) for path in paths] == [1, 1]
    assert trec.folder_name("..") == "%2E%2E"


def test_runs_and_qrels_give_the_recalls_of_the_report(tmp_path: Path) -> None:
    """Read as TREC's tools read them: by the scores. The same files gave ir-measures 0.4.3 the same numbers."""
    truth = make_truth([0, 0, 1, 2, 2, 3, 4, 5], 6)
    scores = scores_of(4, shape=(8, 6))
    blocks = matrices.row_blocks(scores, 3)
    names = trec.TrecNames([f"c {row}" for row in range(8)], [f"v{column}" for column in range(6)], "my system")
    trec.write_runs(tmp_path / "runs", metrics.DirectionBlocks(blocks, blocks), truth.ground_truth, names)
    report = evaluate_matrices({"A": scores}, truth).systems["A"]
    for direction, numbers in (("t2v", report.t2v), ("v2t", report.v2t)):
        lines = [line.split(" ") for line in (tmp_path / "runs" / f"{direction}.run").read_text().splitlines()]
        right = {
            (query, document)
            for query, _, document, _ in map(
                str.split, (tmp_path / "runs" / f"{direction}.qrels").read_text().splitlines()
            )
        }
        assert {line[5] for line in lines} == {"mmi-tvr-my%20system"}
        ranks = []
        for query in {line[0] for line in lines}:
            best = sorted(((float(line[4]), line[2]) for line in lines if line[0] == query), reverse=True)
            ranks.append(1 + [(query, document) in right for _, document in best].index(True))
        assert numbers.r1 == pytest.approx(100 * np.mean(np.array(ranks) == 1))
        assert numbers.mnr == pytest.approx(np.mean(ranks))
    (tmp_path / "runs" / "t2v.run").write_text("somebody else's")
    with pytest.raises(UsageError, match="mmi-tvr did not write it"):
        trec.check_folder(tmp_path / "runs")


def test_a_run_holds_the_best_and_tells_close_scores_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trec, "DEPTH", 2)
    scores = np.array([[0.1, 0.3, 0.3 + 1e-15]])
    blocks = matrices.row_blocks(scores)
    names = trec.TrecNames(["q"], ["a", "b", "c"], "s")
    trec.write_runs(tmp_path, metrics.DirectionBlocks(blocks, blocks), [{0}], names)
    lines = [line.split() for line in (tmp_path / "t2v.run").read_text().splitlines()]
    assert [line[2] for line in lines] == ["c", "b"]
    assert float(lines[0][4]) > float(lines[1][4])


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_vectors_of_any_encoder_are_evaluated(metric: str) -> None:
    rng = np.random.default_rng(0)
    video, text = rng.standard_normal((5, 4)), rng.standard_normal((7, 4))
    owners = [0, 1, 1, 2, 3, 4, 4]
    scores = text @ video.T
    if metric == "cosine":
        scores /= np.linalg.norm(text, axis=1)[:, None] * np.linalg.norm(video, axis=1)
    report = evaluate_embeddings(torch.tensor(text), video, owners, metric=metric, name="mine")  # type: ignore[arg-type]
    ranks = naive_ranks(scores, [{owner} for owner in owners])
    assert report.t2v.mnr == pytest.approx(np.mean(ranks))
    rows_of = [{row for row, owner in enumerate(owners) if owner == column} for column in range(5)]
    assert report.v2t.mnr == pytest.approx(np.mean(naive_ranks(scores.T, rows_of)))
    assert report.table().startswith("mine: 7 captions, 5 videos, inductive")
    assert mmi_tvr.evaluate_embeddings is evaluate_embeddings
    sets = evaluate_embeddings(text, video, [{owner, 0} for owner in owners])
    assert sets.t2v.mnr <= report.t2v.mnr


@pytest.mark.parametrize(
    ("text", "video", "truth", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), None, "text has vectors of 3 numbers, video of 4"),
        (np.ones((3, 3)), np.ones((2, 3)), None, "3 captions with a truth of 2"),
        (np.ones((2, 3)), np.zeros((2, 3)), None, "video: vector 0 is zero"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), None, "text: vector 0 holds NaN"),
        (np.ones(3), np.ones((2, 3)), None, "holds no vectors"),
        ([["a"]], np.ones((1, 1)), None, "holds no vectors"),
        (torch.ones(2, 3, requires_grad=True), np.ones((2, 3)), None, "no array of numbers"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, 2], "row 1 of the ground truth names column 2; there are 2"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, -1], "names column -1"),
        (np.ones((2, 3)), np.ones((2, 3)), [[0], []], "row 1 of the ground truth names no column"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, "a"], "'a' is no number of a column"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, True], "True is no number of a column"),
        (np.ones((2, 3)), np.ones((2, 3)), 7, "is no ground truth"),
        (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3), bool), "has 3 columns, the scores have 2"),
        (np.ones((2, 3)), np.ones((2, 3)), np.array([0.0, 1.0]), "is no ground truth"),
    ],
)  # fmt: skip
def test_vectors_that_cannot_be_evaluated_are_refused(text: object, video: object, truth: object, message: str) -> None:
    with pytest.raises((UsageError, MetricsError), match=message):
        evaluate_embeddings(text, video, truth)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize(
    ("size", "kind"), [(1e-25, "float32"), (1e30, "float32"), (1e-200, "float64"), (1e250, "float64")]
)
def test_ranks_do_not_depend_on_how_large_vectors_are(size: float, kind: str, metric: Any) -> None:
    rng = np.random.default_rng(0)
    video = rng.standard_normal((40, 8))
    text = video + rng.standard_normal((40, 8))
    usual, other = (
        evaluate_embeddings((text * factor).astype(kind), (video * factor).astype(kind), metric=metric)
        for factor in (1.0, size if size > 1 or metric == "cosine" else 1.0)
    )
    assert other.as_dict() == usual.as_dict()
    assert 0 < usual.t2v.r1 < 100


def test_dot_products_beside_very_long_vectors_keep_their_order() -> None:
    """Divided by the longest ones, the products of all others are too small for float32."""
    rng = np.random.default_rng(0)
    video = rng.standard_normal((40, 8))
    text = video + rng.standard_normal((40, 8))
    for vectors in (video, text):
        vectors *= 1e-10
        vectors[3] *= 1e40
    exact = text.astype(np.longdouble) @ video.astype(np.longdouble).T
    report = evaluate_embeddings(text, video, metric="dot")
    right = [{row} for row in range(40)]
    assert report.t2v.mnr == pytest.approx(np.mean(naive_ranks(exact, right)))
    assert report.v2t.mnr == pytest.approx(np.mean(naive_ranks(exact.T, right)))


def test_one_video_leaves_an_interval_open() -> None:
    """Nothing can be drawn of one group: its interval is no point, and a difference no evidence."""
    video = np.eye(8)
    report = evaluate_embeddings(video[[0, 0, 1, 2]], video, [0] * 4)
    assert report.t2v.r1 == 50
    low, high = report.t2v.ci95["R@1"]
    assert low < 10
    assert high > 90
    low, high = report.t2v.ci95["MnR"]
    assert low < report.t2v.mnr < high
    better = {"A": video[[0, 1, 1, 2]], "B": video[[0, 0, 0, 0]]}
    compared = evaluate_matrices(better, make_truth([0] * 4, 8)).comparisons[0]
    assert compared.differences["t2v"]["R@1"].p == 1


@pytest.mark.parametrize(
    "truth",
    [
        torch.tensor([0, 2, 1]),
        list(torch.tensor([0, 2, 1])),
        torch.eye(3, dtype=torch.bool)[[0, 2, 1]],
        [{0}, frozenset({2}), np.array([1])],
        [torch.tensor([0]), range(2, 3), (1,)],
    ],
    ids=["tensor", "numbers", "booleans", "sets", "rows"],
)
def test_a_truth_may_come_as_arrays_of_any_kind(truth: Any) -> None:
    video = np.eye(3)
    assert evaluate_embeddings(video[[0, 2, 1]], video, truth).t2v.r1 == 100


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("count", "width"), [(3, 4), (33, 64), (33, 100), (300, 37)])
def test_equal_vectors_are_ties_and_count_against_the_system(count: int, width: int, kind: str, metric: Any) -> None:
    """Wherever they stand: a product's last bits hang on its place in the matrix."""
    rng = np.random.default_rng(0)
    same = np.repeat(rng.standard_normal((1, width)), count, axis=0).astype(kind)
    other = rng.standard_normal((count, width)).astype(kind)
    assert evaluate_embeddings(other, same, metric=metric).t2v.r1 == 0
    assert evaluate_embeddings(same, other, metric=metric).v2t.r1 == 0


def test_numbers_are_read_as_exactly_as_they_are_given() -> None:
    close = np.array([[2**24 + 3, 0], [2**24, 0]])
    report = evaluate_embeddings(np.array([[1, 0]]), close, [0], metric="dot")
    assert report.t2v.r1 == 100
    assert evaluate_embeddings(close.astype(np.longdouble)[:1], close, [0]).videos == 2
    with pytest.raises(MetricsError, match="text: vector 0 holds NaN or an infinity"):
        evaluate_embeddings(close.astype(np.longdouble) * np.longdouble("1e400"), close)
    with pytest.raises(UsageError, match="text: numbers are masked"):
        evaluate_embeddings(np.ma.masked_equal(close, 0), close)
