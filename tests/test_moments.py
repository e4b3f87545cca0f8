"""At the right second: spans against true ones, by the definition, and when what sentences describe happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import unit
from numpy.typing import NDArray

from mmi_tvr import plugins
from mmi_tvr.cli._evaluation_data import EvaluationData
from mmi_tvr.datasets._moving_shapes.captions import captions
from mmi_tvr.datasets._moving_shapes.moments import EventMoments, single_event
from mmi_tvr.datasets._moving_shapes.world import Event, Spec, Thing, describes
from mmi_tvr.errors import MediaError, MetricsError, UsageError
from mmi_tvr.evaluation.blind_guesses import blind_guesses
from mmi_tvr.evaluation.bootstrap import bootstrap_means, group_draws
from mmi_tvr.evaluation.moments import MIDDLE, NAMES, WHOLE, MomentMetrics, evaluate_moments, overlaps
from mmi_tvr.protocols import MomentDataset
from mmi_tvr.scoring.moments import locate
from mmi_tvr.types import DescribedMoment, Embeddings, FloatArray, Query, Sample, Scoring, Span, Video
from mmi_tvr.utils.intervals import wilson

WIDTH, VIDEOS, SECONDS = 6, 9, 8


class VectorModel:
    """Embeds a number as the query vector of that number; whole videos alone count."""

    scoring = Scoring()

    def __init__(self, vectors: FloatArray) -> None:
        self.vectors = vectors

    def embed_queries(self, queries: Sequence[Query]) -> FloatArray:
        return self.vectors[[int(query.text) for query in queries]]


def world(seed: int) -> tuple[VectorModel, list[Sample], list[Embeddings | MediaError], list[DescribedMoment]]:
    """Videos of some key images, of which number 3 cannot be read; sentences near their videos; spans in half seconds,
    so that an IoU of exactly one of the thresholds occurs; some are true elsewhere as well."""
    rng = np.random.default_rng(seed)
    samples = [Sample(str(number), Video(Path(f"{number}.mp4")), ()) for number in range(VIDEOS)]
    embeddings: list[Embeddings | MediaError] = []
    for number in range(VIDEOS):
        cuts = np.sort(rng.choice(np.arange(1, 2 * SECONDS), rng.integers(0, 6), replace=False)) / 2
        bounds = np.array([0, *cuts, SECONDS])
        segments = np.column_stack([bounds[:-1], bounds[1:], (bounds[:-1] + bounds[1:]) / 2])
        vectors = Embeddings(unit(rng.normal(size=WIDTH)), unit(rng.normal(size=(len(segments), WIDTH))), segments)
        embeddings.append(MediaError(samples[number].video.path, "torn") if number == 3 else vectors)
    moments, queries = [], []
    for text in range(60):
        sample = int(rng.integers(VIDEOS))
        start, end = np.sort(rng.choice(np.arange(2 * SECONDS + 1), 2, replace=False)) / 2
        events = ((float(start), float(start + end) / 2),) if text % 2 else ()
        elsewhere = ((int(rng.integers(VIDEOS)), 1.0, 3.5),) if text % 5 == 0 else ()
        moments.append(DescribedMoment(str(text), sample, float(start), float(end), events, elsewhere))
        video = embeddings[sample]
        queries.append(rng.normal(size=WIDTH) + (0 if isinstance(video, MediaError) else 1.5 * video.video))
    return VectorModel(unit(np.array(queries))), samples, embeddings, moments


def percentages(outcomes: Sequence[tuple[float, ...]]) -> list[float]:
    return [100 * sum(column) / len(outcomes) for column in zip(*outcomes, strict=True)]


def outcome(
    span: Sequence[float], start: float, end: float, events: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """What counts of a span (start, end, time), in steps of a hundredth of a second, one at a time."""
    ours, true = (
        set(range(round(100 * span[0]), round(100 * span[1]))),
        set(range(round(100 * start), round(100 * end))),
    )
    ratio = len(ours & true) / len(ours | true)
    inside = any(first <= span[2] <= last for first, last in events or ((start, end),))
    return (inside, *(10 * len(ours & true) >= tenths * len(ours | true) for tenths in (3, 5, 7)), ratio)


def best_run(query: FloatArray, video: Embeddings) -> list[float]:
    """The best key image with its neighbours that are nearly as good, one at a time: start, end, time."""
    cosines, vectors = (video.moments @ query).tolist(), video.moments
    count = range(len(cosines))
    spread = max(max(cosines) - min(cosines), 1e-6)
    changes = [0.0, *(float(np.linalg.norm(vectors[k + 1] - vectors[k])) for k in count[:-1]), 0.0]
    seconds = [float(end - start) for start, end, _ in video.segments]
    logs = [math.log((changes[k] + changes[k + 1]) / 2 / seconds[k] + 1e-3) for k in count]
    mean = sum(log * length for log, length in zip(logs, seconds, strict=True)) / sum(seconds)
    pace = [log - mean for log in logs]
    worth = [cosines[k] / spread + max(-1, min(1, pace[k])) / 3 for k in count]
    best = worth.index(max(worth))

    def belongs(k: int) -> bool:
        if pace[best] > 0.2:
            return pace[k] >= pace[best] / 2
        return bool(cosines[k] >= cosines[best] - 0.1 * spread - 1e-6)

    first = last = best
    while first > 0 and belongs(first - 1) and vectors[first - 1] @ vectors[first] >= 0.5:
        first -= 1
    while last + 1 < len(cosines) and belongs(last + 1) and vectors[last] @ vectors[last + 1] >= 0.5:
        last += 1
    return [video.segments[first][0], video.segments[last][1], video.segments[best][2]]


def test_a_run_ends_at_the_first_key_image_that_is_clearly_worse() -> None:
    model = VectorModel(np.eye(2))

    def span(*cosines: float) -> Span:
        """Of key images at the same pace: the first and the last change to one side, and are half as long."""
        count = len(cosines)
        steps = 100 * (np.eye(count) + 4)  # of which the cosines are no more than a trace
        bounds = np.array([0.5, *range(1, count), count - 0.5])
        segments = np.column_stack([bounds[:-1], bounds[1:], np.arange(count) + 0.5])
        vectors = np.column_stack([cosines, steps])
        return locate(model, np.eye(count + 1)[:1], [Embeddings(vectors[0], vectors, segments)])[0]

    assert span(0.1, 0.91, 1.0, 0.92, 0.5, 0.95) == (1.0, 4.0, 2.5)  # a tenth of the range: 0.09
    assert span(1.0, 0.0, 0.0) == (0.5, 1.0, 0.5)
    assert span(0.0, 0.0, 1.0) == (2.0, 2.5, 2.5)


def test_a_still_video_is_the_same_everywhere() -> None:
    segments = np.array([(start, start + 1, start + 0.5) for start in range(3)], dtype=np.float64)
    model, query = VectorModel(np.eye(2)), np.array([[1.0, 0.0]])
    for last_bits in (0.0, 1e-7):  # whatever they say
        vectors = np.array([(0.6, 0.8), (0.6 - last_bits, 0.8), (0.6, 0.8)])
        assert locate(model, query, [Embeddings(vectors[0], vectors, segments)])[0] == (0.0, 3.0, 0.5)


def test_what_moves_is_preferred_holds_together_and_ends_at_a_cut() -> None:
    model, query = VectorModel(np.eye(2)), np.array([[1.0, 0.0]])
    lengths = np.array([4.0, 1.0, 1.0, 1.0, 4.0])  # still, three key images of a movement, still
    ends = lengths.cumsum()
    segments = np.column_stack([ends - lengths, ends, ends - lengths / 2])

    def span(*degrees: float) -> Span:
        vectors = np.array([(np.cos(np.radians(angle)), np.sin(np.radians(angle))) for angle in degrees])
        return locate(model, query, [Embeddings(vectors[0], vectors, segments)])[0]

    assert span(40, 41, 60, 79, 80) == (4.0, 7.0, 4.5)  # the still picture before is more like it, by a little
    assert span(40, 80, 81, 82, 83).time == 2.0  # by much
    assert span(44, 45, 115, 116, 117) == (4.0, 5.0, 4.5)  # a cut behind it: a cosine of 0.34


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_the_definition(seed: int) -> None:
    model, samples, embeddings, moments = world(seed)
    report = evaluate_moments(model, samples, embeddings, {"events": moments})
    given, searched, whole, middle = [], [], [], []
    for moment, query in zip(moments, model.vectors, strict=True):
        video = embeddings[moment.sample]
        if isinstance(video, MediaError):
            continue
        places = {moment.sample: (moment.start, moment.end, moment.events)}
        for sample, start, end in moment.elsewhere:
            places.setdefault(sample, (start, end, ()))
        given.append(outcome(best_run(query, video), *places[moment.sample]))
        whole.append(outcome((0, SECONDS, SECONDS / 2), *places[moment.sample]))
        middle.append(whole[-1][:1])
        scores = {
            number: float(one.video @ query) for number, one in enumerate(embeddings) if not isinstance(one, MediaError)
        }
        first = max(scores, key=lambda number: scores[number])
        best = embeddings[first]
        if first in places and not isinstance(best, MediaError):
            searched.append(outcome(best_run(query, best), *places[first]))
        else:
            searched.append((0,) * len(NAMES))
    assert 0 < sum(one == (0,) * len(NAMES) for one in searched) < len(searched)
    for expected, metrics in (
        (given, report.sets["events"]),
        (searched, report.collection["events"]),
        ([one[1:] for one in whole], report.baselines[WHOLE]["events"]),
        (middle, report.baselines[MIDDLE]["events"]),
    ):
        assert metrics.n == len(given)
        assert list(metrics.values.values()) == pytest.approx(percentages(expected), abs=0.2)
        assert list(metrics.values)[-1] == ("mIoU" if len(metrics.values) > 1 else "pointing")
        assert all(low <= metrics.values[name] <= high for name, (low, high) in metrics.ci95.items())


def measured(span: tuple[float, float], copies: int = 1, **changes: object) -> tuple[MomentMetrics, MomentMetrics]:
    """What is measured, in the right video and in all, where two videos are of one vector and their only key image is
    shown from 2 to 4 s at 3 s; `copies` of them are of one file."""
    segments = np.array([[2.0, 4.0, 3.0]])
    vectors = Embeddings(np.eye(WIDTH, dtype=np.float32)[0], np.eye(WIDTH, dtype=np.float32)[:1], segments)
    paths = ["a.mp4"] * copies + ["b.mp4"] * (2 - copies)
    samples = [Sample(str(number), Video(Path(path)), ()) for number, path in enumerate(paths)]
    moment = replace(DescribedMoment("0", 0, *span), **changes)
    report = evaluate_moments(VectorModel(np.eye(WIDTH)), samples, [vectors, vectors], {"events": [moment]})
    return report.sets["events"], report.collection["events"]


def test_an_iou_of_exactly_the_threshold_reaches_it_and_an_event_ends_where_it_says() -> None:
    assert (2.8 - 2.2) / 2.0 < 0.3  # in binary
    assert measured((2.2, 2.8))[0].values["R1@0.3"] == 100.0
    assert measured((2.4, 5.2))[0].values["R1@0.5"] == 100.0
    assert measured((2.0, 6.0))[0].values == pytest.approx(
        {"pointing": 100, "R1@0.3": 100, "R1@0.5": 100, "R1@0.7": 0, "mIoU": 50}
    )
    assert measured((0.0, 3.0))[0].values["pointing"] == 100
    assert measured((0.0, 2.9))[0].values["pointing"] == 0
    assert measured((0.0, 9.0), events=((0.0, 1.0), (8.0, 9.0)))[0].values["pointing"] == 0
    apart = measured((5.0, 6.0))[0]
    assert apart.values["mIoU"] == 0


def test_over_the_collection_a_tie_is_a_miss_and_a_place_elsewhere_is_right() -> None:
    _, tie = measured((2.0, 4.0))
    assert set(tie.values.values()) == {0.0}
    _, elsewhere = measured((2.0, 4.0), elsewhere=((1, 2.0, 4.0),))
    assert set(elsewhere.values.values()) == {100.0}


def test_shares_of_0_and_100_have_an_interval_with_a_width() -> None:
    right, wrong = measured((2.0, 4.0))
    assert right.ci95["pointing"] == pytest.approx(wilson(1.0, 1))
    assert wrong.ci95["R1@0.5"] == pytest.approx(wilson(0.0, 1))
    assert [round(end, 2) for end in wilson(0.0, 20)] == [0.0, 16.11]  # Wilson 1927, as printed by R's prop.test
    assert [round(end, 2) for end in wilson(0.5, 20)] == [29.93, 70.07]


def test_means_are_drawn_by_whole_groups() -> None:
    rng = np.random.default_rng(0)
    values: NDArray[np.float64] = np.repeat(rng.normal(size=(30, 1)), 8, axis=0)
    together = np.diff(bootstrap_means(values, np.repeat(np.arange(30), 8)), axis=0)
    alone = np.diff(bootstrap_means(values, np.arange(240)), axis=0)
    assert together > 2 * alone
    uneven = np.array([0, 0, 0, 0, 0, 1, 2, 2, 3, 3])
    expected = [
        sum(weights[group] * value for group, value in zip(uneven, values[:80:8, 0], strict=True))
        / weights[uneven].sum()
        for weights in np.concatenate(list(group_draws(4, 1000, 0, 1000)))
    ]
    ends = bootstrap_means(values[:80:8], uneven)[:, 0]
    assert ends == pytest.approx(np.percentile(expected, [2.5, 97.5]))
    once = bootstrap_means(values[::8], np.arange(30))
    assert np.allclose(once, bootstrap_means(values, np.repeat(np.arange(30), 8)))


def test_a_set_without_a_readable_video_is_an_error() -> None:
    model, samples, embeddings, moments = world(0)
    torn = [moment for moment in moments if moment.sample == 3]
    with pytest.raises(MetricsError, match="'events'"):
        evaluate_moments(model, samples, embeddings, {"events": torn})


@pytest.mark.parametrize("count", [1, 40])
def test_a_guess_that_reads_no_query_has_no_part_of_its_own_video(count: int) -> None:
    """All sentences but those of one video happen in the first quarter: the guess is that quarter, also for it."""
    truths = [[(0.0, 5.0)]] * count + [[(10.0, 20.0), (19.0, 20.0)]]
    guesses = blind_guesses(truths, np.full(count + 1, 20.0), np.arange(count + 1)).spans
    if count == 1:
        assert guesses[1].tolist() == [0.0, 5.0, 0.0]
        assert guesses[0].tolist() == [10.0, 20.0, 10.0]
    else:
        assert guesses[:, :2].tolist() == [[0.0, 5.0]] * 41
    alone = blind_guesses([[(1.0, 2.0)]], np.array([4.0]), np.array([0]))
    assert alone.spans.tolist() == [[0.0, 4.0, 2.0]]


def test_of_several_spans_the_nearest_counts() -> None:
    moments = [DescribedMoment("a", 0, 0.0, 4.0, repeated=((6.0, 8.0), (8.0, 9.0))), DescribedMoment("b", 0, 0.0, 4.0)]
    assert overlaps([Span(6.0, 9.0, 7.0), Span(6.0, 9.0, 7.0)], moments).tolist() == pytest.approx([2 / 3, 0.0])
    assert overlaps([Span(0.0, 2.0, 1.0), Span(0.0, 2.0, 1.0)], moments).tolist() == pytest.approx([0.5, 0.5])
    model, samples, embeddings, _ = world(0)
    whole = [DescribedMoment("0", 0, 100.0, 101.0), DescribedMoment("0", 0, 100.0, 101.0, repeated=((0.0, 99.0),))]
    report = evaluate_moments(model, samples, embeddings, {"events": whole})
    assert report.sets["events"].values["pointing"] == 50.0


def test_a_data_set_without_spans_says_which_have_them(tmp_path: Path) -> None:
    (tmp_path / "captions.tsv").write_text("file\tcaption\na.mp4\tsomething\n")
    (tmp_path / "a.mp4").touch()
    dataset = plugins.build("datasets", "folder", {"root": tmp_path})
    with pytest.raises(
        UsageError,
        match=r"videos as chosen here does not say when.*moving_shapes does, and so do train and val of qvhighlights",
    ):
        EvaluationData(dataset, {}).moments("videos")


def test_moving_shapes_know_their_moments_to_the_millisecond() -> None:
    dataset = plugins.build("datasets", "moving_shapes", {"split": "test", "captions": 1, "count": 60})
    assert isinstance(dataset, MomentDataset)
    moments, specs = dataset.moments(), dataset.specs()
    whole = moments["captions"]
    assert [moment.text for moment in whole] == [sample.captions[0] for sample in dataset.samples()]
    for moment, spec in zip(whole, specs, strict=True):
        assert (moment.start, moment.end) == (spec.starts[0] / 1000, (spec.starts[-1] + spec.length) / 1000)
        assert [round(1000 * start) for start, _ in moment.events] == list(spec.starts)
        assert not moment.elsewhere
    single = list(moments["events"])
    assert len(single) == sum(len(spec.events) for spec in specs)  # in this corpus nothing happens twice
    alone = [single_event(spec, event) for spec in specs for event in range(len(spec.events))]
    for moment, spec in zip(single, alone, strict=True):
        assert moment.text == captions(spec)[0]
        assert (moment.start, moment.end) == (spec.starts[0] / 1000, (spec.starts[0] + spec.length) / 1000)
        expected = {
            (number, other.starts[event] / 1000)
            for number, other in enumerate(specs)
            for event in range(len(other.events))
            if number != moment.sample and describes(spec, single_event(other, event))
        }
        assert {(number, start) for number, start, _ in moment.elsewhere} == expected
    assert any(moment.elsewhere for moment in single)  # twins share an event
    several = plugins.build("datasets", "moving_shapes", {"split": "test", "captions": 3, "count": 1}).moments()
    assert len({moment.text for moment in several["events"]}) == 3 * len(specs[0].events)


def test_an_event_that_is_true_of_another_moment_is_left_out() -> None:
    things = tuple(Thing(*name, 1, 500, 500, 500) for name in (("red", "ring"), ("blue", "cross")))
    events = (Event(0, "chases", 1), Event(0, "right"), Event(1, "spins"))  # who chases to the right moves there, too
    spec = Spec(things, "left", True, events, (1000, 4000, 7000), 1500, 9000, 0, "plain", (0, 0, 0), 7)
    assert [moment.start for moment in EventMoments([spec], 1, exact=True)] == [1.0, 7.0]
