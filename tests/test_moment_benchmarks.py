"""What benchmarks of moments measure besides R1@IoU: by hand, and by other code that follows the authors' rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from mmi_tvr.errors import MetricsError
from mmi_tvr.evaluation import moment_measures
from mmi_tvr.evaluation.blind_guesses import blind_guesses, frequent_segments, of_clips
from mmi_tvr.evaluation.moments import BLIND, WHOLE, MomentReport, evaluate_moments
from mmi_tvr.types import DescribedMoment, Embeddings, Saliency, Sample, Scoring, Video

MODEL, WIDTH = "the model", 8


class OneQuery:
    """Every sentence is the same vector."""

    scoring = Scoring()

    def embed_queries(self, queries: list[object]) -> np.ndarray:
        return np.tile(np.eye(WIDTH)[0], (len(queries), 1))


def report(moments: list[DescribedMoment], likeness: tuple[float, ...] = (0.1, 0.9, 0.2)) -> MomentReport:
    """What is measured where each video's key images, of 2 s, are so like every sentence, and else have nothing in
    common."""
    query = np.eye(WIDTH, dtype=np.float32)[0]
    vectors = np.outer(likeness, query)
    vectors[:, 1 : len(likeness) + 1] = np.diag(np.sqrt(1 - np.square(likeness)))
    segments = np.array([(2 * k, 2 * k + 2, 2 * k + 1) for k in range(len(likeness))], dtype=np.float64)
    videos = max(moment.sample for moment in moments) + 1
    samples = [Sample(str(number), Video(Path(f"{number}.mp4")), ()) for number in range(videos)]
    embeddings = [Embeddings(query, vectors.astype(np.float32), segments) for _ in samples]
    return evaluate_moments(OneQuery(), samples, embeddings, {"events": moments})  # type: ignore[arg-type]


def test_windows_and_segments_by_hand() -> None:
    """On the real validation and test files moment_detr's code and DiDeMo's gave the same numbers."""
    spans = np.array([[0.0, 10.0], [0.0, 10.0]])
    windows = [[(0.0, 10.0), (50.0, 60.0)], [(0.0, 16.0)]]  # IoU 1 with one of two windows; IoU 0.625
    assert moment_measures.average_precisions(spans, windows).tolist() == [
        [0.5, 0.5, 0.5],
        [1.0, 0.0, pytest.approx(0.3)],
    ]
    annotated = [[(0.0, 10.0)] * 3 + [(25.0, 30.0)], [(0.0, 5.0)] * 2 + [(20.0, 30.0)] * 2]
    rankings = moment_measures.segment_rankings(spans)
    first, second = moment_measures.didemo_measures(rankings, annotated).tolist()
    assert first == [1.0, 1.0, 1.0]  # the annotator who disagrees does not count
    assert second == [0.0, 0.0, pytest.approx((0.5 + 0.5 + 0.0) / 3)]


def test_didemo_by_its_authors_rules_in_segments() -> None:
    """Their evaluation counts in segments, ends included, and finds each annotator's stretch in a list of 21."""
    rng = np.random.default_rng(0)
    stretches = [(first, last) for first in range(6) for last in range(first, 6)]
    rankings, annotated, expected = [], [], []
    for _ in range(200):
        ranking = [stretches[number] for number in rng.permutation(21)]
        times = [ranking[min(int(place), 20)] for place in rng.exponential(rng.choice([1, 9]), size=4)]
        ranks = sorted(ranking.index(time) + 1 for time in times)[:3]
        overlaps = []
        for time in times:
            both = set(range(ranking[0][0], ranking[0][1] + 1)), set(range(time[0], time[1] + 1))
            hull = max(both[0] | both[1]) - min(both[0] | both[1]) + 1  # theirs: gaps count as union
            overlaps.append(len(both[0] & both[1]) / hull)
        expected.append([sum(ranks) / 3 <= 1, sum(ranks) / 3 <= 5, sum(sorted(overlaps)[-3:]) / 3])
        rankings.append([(5.0 * first, 5.0 * last + 5) for first, last in ranking])
        annotated.append([(5.0 * first, 5.0 * last + 5) for first, last in times])
    measured = moment_measures.didemo_measures(np.array(rankings), annotated)
    np.testing.assert_allclose(measured, np.array(expected, dtype=float))
    assert 0 < measured[:, 0].mean() < measured[:, 1].mean() < 1


def precision_by_moment_detr(relevant: np.ndarray, scores: np.ndarray) -> float:
    """Average precision as QVHighlights' authors take it from scikit-learn's curve."""
    if len(set(relevant)) == 1:
        return float(relevant[0])
    precision, recall, _ = precision_recall_curve(relevant, scores)
    for place in range(1, len(precision)):
        precision[place] = max(precision[place - 1], precision[place])
    return float(np.mean([precision[place] for place in range(len(recall) - 1) if recall[place] != recall[place + 1]]))


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_highlights_as_their_authors_code_has_them(levels: int) -> None:
    rng = np.random.default_rng(levels)
    ratings = [
        rng.integers(0, high, (clips, 3)) for clips, high in zip(rng.integers(3, 30, 60), [6, 5, 4] * 20, strict=True)
    ]
    ratings = [np.minimum(table, 4).astype(float) for table in ratings] + [np.full((5, 3), 4.0)]
    predicted = [rng.integers(0, levels, len(table)).astype(float) for table in ratings]
    expected = [
        [
            np.mean([precision_by_moment_detr(table[:, worker] >= 4, scores) for worker in range(3)]),
            table[list(scores).index(max(scores))].max() >= 4,
        ]
        for table, scores in zip(ratings, predicted, strict=True)
    ]
    np.testing.assert_allclose(moment_measures.highlight_measures(predicted, ratings), np.array(expected, dtype=float))


def test_highlights_by_hand() -> None:
    """The best clip is very good to one annotator of three; of the second one's two, ranks 1 and 3 are right."""
    ratings = np.array([[4, 4, 3], [0, 0, 0], [2, 4, 3], [1, 1, 1]], dtype=float)
    precision, hit = moment_measures.highlight_measures([np.array([0.9, 0.5, 0.4, 0.1])], [ratings])[0]
    assert precision == pytest.approx((1 + (1 + 2 / 3) / 2 + 0) / 3)  # who calls nothing very good counts as 0
    assert hit == 1


def test_one_of_five_spans_is_enough() -> None:
    answers = [np.array([[0.0, 1.0], [4.0, 6.0]]), np.array([[0.0, 1.0]])]
    recalls = moment_measures.recalls_of_five(answers, [[(4.0, 8.0)], [(2.0, 3.0), (0.0, 1.0)]])
    assert recalls.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_the_table_goes_by_what_the_annotation_has() -> None:
    plain = DescribedMoment("a", 0, 0.0, 2.0)
    five = report([plain]).official["events"]
    assert list(five) == [MODEL, WHOLE, BLIND]
    assert list(five[MODEL].values) == ["R5@0.3", "R5@0.5", "R5@0.7"]
    windows = replace(plain, repeated=((4.0, 6.0),))
    assert list(report([windows]).official["events"][MODEL].values) == ["mAP@0.5", "mAP@0.75", "mAP"]
    saliency = Saliency(3, (0,), ((4, 4, 4),), seconds=2.0)
    rated = replace(plain, saliency=saliency)
    highlights = report([rated])
    assert list(highlights.official["events"][WHOLE].values) == ["mAP@0.5", "mAP@0.75", "mAP", "HL-mAP", "HL-Hit@1"]
    assert "events, as benchmarks measure" in "\n".join(highlights.lines())
    assert highlights.as_dict()["official"]["events"][MODEL]["HL-Hit@1"] == 0.0
    assert list(report([rated, plain]).official["events"][MODEL].values) == ["R5@0.3", "R5@0.5", "R5@0.7"]
    segments = replace(plain, annotated=((0.0, 5.0), (0.0, 5.0), (5.0, 10.0)))
    didemo = report([segments]).official["events"]
    assert list(didemo) == [MODEL, WHOLE, BLIND, "most frequent stretches"]
    assert list(didemo[MODEL].values) == ["Rank@1", "Rank@5", "mIoU (annotators)"]


def test_moments_that_no_answer_can_find_are_counted() -> None:
    """Videos end after 6 s."""
    reachable = DescribedMoment("a", 0, 5.0, 9.0)
    behind = [replace(reachable, start=6.0), replace(reachable, start=7.0, repeated=((6.5, 8.0),))]
    partly = replace(reachable, start=7.0, repeated=((0.0, 2.0),))
    beyond = report([reachable, *behind, partly])
    assert beyond.as_dict()["unreachable"] == {"events": 2}
    assert "events: 2 of 4 moments begin behind the end of the video" in "\n".join(beyond.lines())
    assert "behind the end" not in "\n".join(report([reachable, partly]).lines())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end": float("nan")}, "from 2 s to nan s is no stretch of time: 'a'"),
        ({"start": 5.0}, "from 5 s to 4 s is no stretch"),
        ({"repeated": ((0.0, float("inf")),)}, "from 0 s to inf s is no stretch"),
        ({"events": ((3.0, 2.0),)}, "from 3 s to 2 s is no stretch"),
        ({"annotated": ((3.0, 2.0),)}, "from 3 s to 2 s is no stretch"),
        ({"elsewhere": ((0, 3.0, 2.0),)}, "from 3 s to 2 s is no stretch"),
        ({"elsewhere": ((7, 2.0, 3.0),)}, "'a' is of sample 7, which is none of the 1 sample"),
        ({"sample": -1}, "'a' is of sample -1"),
    ],
)
def test_moments_at_no_time_or_of_no_sample_are_refused(changes: dict[str, object], message: str) -> None:
    usual = DescribedMoment("a", 0, 2.0, 4.0)
    with pytest.raises(MetricsError, match=message):
        report([usual, replace(usual, **changes)])  # type: ignore[arg-type]
    report([replace(usual, start=4.0)])  # an instant is one


def test_one_video_has_no_narrow_interval() -> None:
    one_video = report([DescribedMoment("a", 0, 2.0, 4.0), DescribedMoment("a", 0, 0.0, 2.0)]).sets["events"]
    assert one_video.values["R1@0.5"] == 50
    for name, (low, high) in one_video.ci95.items():
        assert high - low > 50, name


def test_a_model_answers_with_its_best_key_images() -> None:
    """Of five key images the second is the best, and the fourth the next best; between two, clips lean to both."""
    likeness = (0.2, 0.9, 0.1, 0.8, 0.1)
    worst = report([DescribedMoment("a", 0, 4.0, 6.0)], likeness).official["events"]
    assert worst[MODEL].values["R5@0.5"] == 0
    fourth = report([DescribedMoment("a", 0, 6.0, 8.0)], likeness)
    assert fourth.sets["events"].values["R1@0.7"] == 0
    assert fourth.official["events"][MODEL].values["R5@0.7"] == 100
    for clip, hit in {2: 100, 3: 0}.items():  # of a second each; the scores fall more steeply behind the best key image
        saliency = Saliency(10, (clip,), ((4, 0, 0),), seconds=1.0)
        rated = report([DescribedMoment("a", 0, 2.0, 4.0, saliency=saliency)], likeness)
        assert rated.official["events"][MODEL].values["HL-Hit@1"] == hit


def test_guesses_are_chosen_on_the_other_half() -> None:
    """All sentences but those of one video happen in the first quarter, and are rated so."""
    truths = [[(0.0, 5.0)]] * 40 + [[(10.0, 20.0)]]
    early, late = np.zeros((4, 3)), np.zeros((4, 3))
    early[0], late[3] = 4, 4
    guesses = blind_guesses(truths, np.full(41, 20.0), np.arange(41), [early] * 40 + [late])
    assert guesses.fives[40, 0].tolist() == [0.0, 5.0]
    assert guesses.fives[:, 0].tolist() == guesses.spans[:, :2].tolist()
    assert np.argmax(of_clips(guesses.shares[40], 4)) == 0
    others = [place for place in range(40) if [10.0, 20.0] in guesses.fives[place].tolist()]
    assert 0 < len(others) < 40  # in the other half that video is nobody's, so nothing is gained by its stretch
    assert not blind_guesses(truths, np.full(41, 20.0), np.arange(41)).shares.any()


def test_the_most_frequent_stretches_come_first() -> None:
    """Each sentence gets the order of how often the annotators of the other half's videos gave a stretch."""
    rng = np.random.default_rng(0)
    stretches = moment_measures.SEGMENT_STRETCHES
    annotated = [[tuple(stretches[number]) for number in rng.integers(0, 4, 4)] for _ in range(30)]
    groups = np.arange(30) // 2
    rankings = frequent_segments(annotated, groups)
    kinds = np.unique(rankings, axis=0, return_inverse=True)[1].ravel()
    assert set(kinds) == {0, 1}
    for kind in (0, 1):
        rows, others = np.flatnonzero(kinds == kind), np.flatnonzero(kinds != kind)
        assert set(groups[rows]).isdisjoint(groups[others])
        counted = Counter(span for row in others for span in annotated[row])
        counts = [counted[tuple(stretch)] for stretch in rankings[rows[0]]]
        assert counts == sorted(counts, reverse=True)
        assert sorted(map(tuple, rankings[rows[0]])) == sorted(map(tuple, stretches))
