"""Evaluation from embeddings and from a model: right numbers, and nothing that vanishes silently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmi_tvr.errors import MediaError, MetricsError, UsageError
from mmi_tvr.evaluation import metrics
from mmi_tvr.evaluation.evaluate import evaluate, evaluate_model, pair_scores
from mmi_tvr.evaluation.metrics import DirectionBlocks, DirectionMetrics
from mmi_tvr.report import evaluation_page, heat_map
from mmi_tvr.types import Embeddings, Sample, Scoring, Video

WIDTH = 8


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def samples_of(counts):
    """A sample per entry, with so many captions."""
    return [
        Sample(f"{place}.mp4", Video(Path(f"{place}.mp4")), tuple(f"caption {place} {each}" for each in range(count)))
        for place, count in enumerate(counts)
    ]


def world(counts, seed=0, noise=1.0):
    """Samples, embeddings and query vectors that agree with their videos up to noise."""
    rng = np.random.default_rng(seed)
    samples = samples_of(counts)
    embeddings = [Embeddings(unit(rng, WIDTH), unit(rng, 3, WIDTH), np.zeros((3, 3))) for _ in samples]
    queries = [
        each.video + noise * unit(rng, WIDTH)
        for each, count in zip(embeddings, counts, strict=True)
        for _ in range(count)
    ]
    queries = np.array(queries, dtype=np.float32).reshape(-1, WIDTH)
    return samples, embeddings, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def by_hand(samples, embeddings, queries, weight):
    """Ranks in both directions from the full matrix, one caption and one video at a time (no ties here)."""
    owner = np.array([place for place, sample in enumerate(samples) for _ in sample.captions])
    cosines = np.array([(each.moments @ queries.T).max(axis=0) for each in embeddings]).T
    full = (1 - weight) * queries @ np.array([each.video for each in embeddings]).T + weight * cosines
    t2v = [1 + sum(row > row[owner[place]]) for place, row in enumerate(full)]
    v2t = [1 + sum(column > column[owner == place].max()) for place, column in enumerate(full.T) if place in owner]
    return t2v, v2t


def merged_by_hand(samples, embeddings, queries):
    """Ranks where equal captions are one query (HGR's captions are a set), from the full matrix."""
    vectors, right = {}, {}
    rows = iter(queries)
    for place, sample in enumerate(samples):
        for caption in sample.captions:
            vectors.setdefault(caption, next(rows))
            right.setdefault(caption, set()).add(place)
    scores = np.stack(list(vectors.values())) @ np.array([one.video for one in embeddings]).T
    truth = np.array([[place in places for place in range(len(samples))] for places in right.values()])
    t2v = [1 + sum(row[~mask] > row[mask].max()) for row, mask in zip(scores, truth, strict=True)]
    v2t = [1 + sum(row[~mask] > row[mask].max()) for row, mask in zip(scores.T, truth.T, strict=True) if mask.any()]
    return t2v, v2t


@pytest.mark.parametrize("block", [1, 3, 256])
@pytest.mark.parametrize("reranked", [False, True])
def test_equal_captions_merged_are_one_query_with_several_right_videos(block, reranked):
    samples, embeddings, queries = world([2, 3, 1, 0, 2, 3], noise=2.0)
    captions = [list(sample.captions) for sample in samples]
    captions[1][2] = captions[2][0] = captions[4][1] = captions[0][0]
    captions[5][0] = captions[5][2]  # twice for one video
    samples = [replace(sample, captions=tuple(texts)) for sample, texts in zip(samples, captions, strict=True)]
    first = {}
    for row, text in enumerate(text for texts in captions for text in texts):
        queries[row] = queries[first.setdefault(text, row)]  # equal captions have equal vectors
    scoring = Scoring(moment_weight=0.0)

    def negated(blocks, texts, listed):
        return DirectionBlocks(lambda: (-one for one in blocks.t2v()), lambda: (-one for one in blocks.v2t()))

    plain = evaluate(samples, embeddings, queries, scoring, block)
    report = evaluate(
        samples, embeddings, queries, scoring, block, merge_captions=True, rerank=negated if reranked else None
    )
    t2v, v2t = merged_by_hand(samples, embeddings, -queries if reranked else queries)
    assert plain.merged is None
    assert report.merged.t2v.n == len(t2v) == 7
    for side, ranks in ((report.merged.t2v, t2v), (report.merged.v2t, v2t)):
        expected = metrics.summary(np.array(ranks), resamples=0)
        assert side.values() == pytest.approx(expected.values())
    document = report.as_dict()["merged_captions"]
    assert document["n"] == 7
    assert document["SumR"] == pytest.approx(metrics.sum_of_recalls(*report.merged))
    assert "merged_captions" not in plain.as_dict()
    assert "equal captions merged into 7 queries" in report.table()
    if not reranked:
        assert report.t2v == plain.t2v
        assert report.merged.t2v.mnr <= plain.t2v.mnr


@pytest.mark.parametrize("counts", [[1] * 20, [1, 3, 2, 5, 1, 1, 4], [2, 0, 1, 0, 3]])
@pytest.mark.parametrize("block", [1, 4, 256])
def test_numbers_equal_the_full_matrix(counts, block):
    samples, embeddings, queries = world(counts)
    report = evaluate(samples, embeddings, queries, Scoring(0.4, 1), block)
    t2v, v2t = by_hand(samples, embeddings, queries, 0.4)
    assert (report.n, report.videos) == (sum(counts), len(counts))
    owner = [place for place, count in enumerate(counts) for _ in range(count)]
    assert report.t2v == metrics.summary(t2v, groups=owner)
    assert report.v2t == metrics.summary(v2t)
    assert report.v2t.n == sum(count > 0 for count in counts)


def test_the_contract_of_the_command_line():
    samples, embeddings, queries = world([1, 2, 1])
    plain = json.loads(
        json.dumps(evaluate(samples, embeddings, queries, Scoring(), model="tiny", fingerprint="ab").as_dict())
    )
    assert plain["n"] == 4
    assert plain["videos"] == 3
    assert (plain["model"], plain["fingerprint"], plain["inductive"]) == ("tiny", "ab", True)
    assert plain["protocol"] == {"t2v": "every caption", "v2t": "best caption"}
    assert plain["left_out"] == {"captions": 0, "videos": {}}
    for side in ("t2v", "v2t"):
        assert list(plain[side]) == ["R@1", "R@5", "R@10", "MdR", "MnR", "ci95"]
        assert plain[side]["R@10"] == 100.0
    assert plain["SumR"] == pytest.approx(sum(plain[side][f"R@{k}"] for side in ("t2v", "v2t") for k in (1, 5, 10)))


def test_the_table_shows_n_and_an_interval_for_every_number():
    samples, embeddings, queries = world([1] * 30)
    title, header, t2v, v2t, note = evaluate(samples, embeddings, queries, Scoring(), model="tiny").table().split("\n")
    assert title == "tiny: 30 captions, 30 videos, inductive"
    assert header.split() == ["n", "R@1", "R@5", "R@10", "MdR", "MnR"]
    assert t2v.startswith("text-to-video (every caption)")
    assert v2t.startswith("video-to-text (best caption)")
    assert t2v.count("[") == v2t.count("[") == 5
    assert len(header) == len(t2v) == len(v2t)
    assert "95 % bootstrap over videos" in note


def test_two_samples_of_one_video_are_right_answers_to_each_other():
    samples, embeddings, queries = world([1, 1], noise=0.0)
    twins = [samples[0], Sample("copy", samples[0].video, ("again",))]
    report = evaluate(twins, [embeddings[0], embeddings[0]], queries[[0, 0]], Scoring())
    assert report.t2v.r1 == report.v2t.r1 == 100.0
    apart = evaluate(samples, [embeddings[0], embeddings[0]], queries[[0, 0]], Scoring())
    assert apart.t2v.r1 == apart.v2t.r1 == 0.0


def test_copies_tie_in_spite_of_rounding():
    """The same product differs in its last bits with its place in a matrix; a copy is a copy all the same."""
    samples, embeddings, queries = world([1] * 10, noise=0.0)
    hair = np.nextafter(embeddings[0].video, np.float32(0))
    embeddings[-1], queries[-1] = Embeddings(hair, embeddings[0].moments, embeddings[0].segments), hair
    assert queries[0] @ embeddings[0].video > queries[0] @ hair
    report = evaluate(samples, embeddings, queries, Scoring(0.0))
    assert report.t2v.r1 == report.v2t.r1 == pytest.approx(80.0)


def test_unreadable_videos_are_left_out_counted_and_named():
    samples, embeddings, queries = world([1, 2, 1, 1])
    broken = [embeddings[0], MediaError("1.mp4", "no video stream"), *embeddings[2:]]
    report = evaluate(samples, broken, queries, Scoring(), max_unreadable=0.25)
    rest = evaluate([samples[0], *samples[2:]], [embeddings[0], *embeddings[2:]], queries[[0, 3, 4]], Scoring())
    assert (report.n, report.videos, report.left_out) == (3, 3, 2)
    assert (report.t2v, report.v2t) == (rest.t2v, rest.v2t)
    assert report.as_dict()["left_out"] == {"captions": 2, "videos": {"1.mp4": "no video stream"}}
    assert report.table().endswith("left out: 1 unreadable video with 2 captions\n  1.mp4: no video stream")


def test_more_than_two_in_a_hundred_unreadable_is_an_error():
    samples, embeddings, queries = world([1] * 100)
    two = [MediaError("x", "empty"), MediaError("y", "empty"), *embeddings[2:]]
    assert evaluate(samples, two, queries, Scoring()).videos == 98
    with pytest.raises(MetricsError, match=r"unreadable: 3 of 100 videos, more than 2% \(the first: 0.mp4: empty\)"):
        evaluate(samples, [*two[:2], MediaError("z", "empty"), *embeddings[3:]], queries, Scoring())
    with pytest.raises(MetricsError, match="nothing to rank"):
        evaluate(samples, [MediaError("x", "empty")] * 100, queries, Scoring(), max_unreadable=1.0)


def test_what_does_not_fit_together_is_refused():
    samples, embeddings, queries = world([1, 2])
    with pytest.raises(UsageError, match=r"2 samples with 3 captions .* not 1 and 3"):
        evaluate(samples, embeddings[:1], queries, Scoring())
    with pytest.raises(UsageError, match="not 2 and 2"):
        evaluate(samples, embeddings, queries[:2], Scoring())
    with pytest.raises(UsageError, match="several samples have one id"):
        evaluate([samples[0], samples[0]], embeddings, queries[:2], Scoring())
    queries[1, 0] = np.nan
    with pytest.raises(MetricsError, match="query 1, candidate 0: the similarity is NaN"):
        evaluate(samples, embeddings, queries, Scoring())


class Lookup:
    """A model that knows each caption's vector."""

    name = "lookup"
    reads = frozenset({"text"})
    image_size = 1
    scoring = Scoring(0.4, 1)

    def __init__(self, samples, queries):
        captions = [caption for sample in samples for caption in sample.captions]
        self.vectors = dict(zip(captions, queries, strict=True))

    def embed_queries(self, queries):
        return np.array([self.vectors[query.text] for query in queries])

    def fingerprint(self):
        return "f00d"


def test_a_model_is_evaluated_like_its_vectors():
    samples, embeddings, queries = world([1, 3, 2])
    of = {sample.video: each for sample, each in zip(samples, embeddings, strict=True)}
    report = evaluate_model(Lookup(samples, queries), samples, lambda videos: [of[video] for video in videos])
    assert report == evaluate(samples, embeddings, queries, Lookup.scoring, model="lookup", fingerprint="f00d")


def test_known_failures_are_not_embedded_and_new_ones_are_added():
    samples, embeddings, queries = world([1, 1, 1, 1])
    embedded = []

    def embed(videos):
        embedded.extend(str(video.path) for video in videos)
        return [embeddings[0], MediaError(videos[1].path, "truncated"), embeddings[3]]

    report = evaluate_model(
        Lookup(samples, queries),
        samples,
        embed,
        failures={"2.mp4": "audio only"},
        fingerprint="model and method",
        max_unreadable=0.5,
    )
    assert report.fingerprint == "model and method"
    assert embedded == ["0.mp4", "1.mp4", "3.mp4"]
    assert report.failures == {"1.mp4": "truncated", "2.mp4": "audio only"}
    assert (report.n, report.left_out) == (2, 2)


def test_an_embedder_or_a_list_of_failures_that_does_not_fit_is_refused():
    samples, embeddings, queries = world([1, 1])
    model = Lookup(samples, queries)
    with pytest.raises(UsageError, match="embed gave 1 result for 2 videos"):
        evaluate_model(model, samples, lambda videos: embeddings[:1])
    with pytest.raises(UsageError, match=r"failures of no sample: 1, the first: 9.mp4"):
        evaluate_model(model, samples, lambda videos: embeddings, failures={"9.mp4": "empty"})


def test_details_hold_every_query_with_its_rank():
    samples, embeddings, queries = world([1, 0, 3, 2])  # the second is a distractor
    report = evaluate(samples, embeddings, queries, Scoring(0.4, 1))
    t2v, v2t = by_hand(samples, embeddings, queries, 0.4)
    document = report.details.as_dict()
    assert [row["rank"] for row in document["t2v"]] == t2v
    assert [row["rank"] for row in document["v2t"]] == v2t
    captions = [(sample.id, caption) for sample in samples for caption in sample.captions]
    assert [(row["id"], row["caption"]) for row in document["t2v"]] == captions
    assert [row["id"] for row in document["v2t"]] == [sample.id for sample in samples if sample.captions]


def naive_transductive(name, scores, side):
    """Both normalisations from the full matrix, as their papers write them."""
    axis = 0 if side == "t2v" else 1
    if name == "dual-softmax":
        powers = np.exp(100.0 * scores)
        return scores * powers / powers.sum(axis=axis, keepdims=True)
    powers = np.exp(20.0 * scores)
    return powers / powers.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("name", ["dual-softmax", "query-bank"])
def test_transductive_columns_equal_the_full_matrix(name):
    samples, embeddings, queries = world([1] * 24, noise=2.0)
    report = evaluate(samples, embeddings, queries, Scoring(), block=5, transductive=[name])
    full = queries.astype(np.float64) @ np.array([each.video for each in embeddings], dtype=np.float64).T
    t2v, v2t = report.transductive[name]
    rows, columns = naive_transductive(name, full, "t2v"), naive_transductive(name, full, "v2t")
    assert t2v == metrics.summary([1 + int((row > row[at]).sum()) for at, row in enumerate(rows)])
    assert v2t == metrics.summary([1 + int((column > column[at]).sum()) for at, column in enumerate(columns.T)])
    plain = evaluate(samples, embeddings, queries, Scoring())
    assert (report.t2v, report.v2t) == (plain.t2v, plain.v2t)  # the other columns stay as they are
    assert report.table().count(f"{name} *") == 2
    assert "looks at all test queries" in report.table()
    assert list(report.as_dict()["transductive"]) == [name]
    assert not plain.as_dict()["transductive"]


def test_an_unknown_normalisation_names_those_there_are():
    samples, embeddings, queries = world([1, 1])
    with pytest.raises(UsageError, match="there are: dual-softmax, query-bank"):
        evaluate(samples, embeddings, queries, Scoring(), transductive=["softmax"])


def test_a_paired_interval_is_narrower_than_two_of_its_own():
    """Queries that are hard for both runs move both alike; pairing takes that out."""
    rng = np.random.default_rng(0)
    one = np.where(rng.random(400) < 0.5, 1, 9)
    other = np.where(rng.random(400) < 0.02, 9, one)
    gap = metrics.paired_bootstrap(one, other)["R@1"]
    sides = [metrics.summary(each).ci95["R@1"] for each in (one, other)]
    assert gap.high - gap.low < 0.5 * min(high - low for low, high in sides)
    with pytest.raises(MetricsError, match="the same queries"):
        metrics.paired_bootstrap([1, 2], [1])


def test_the_page_shows_failures_and_reads_no_script_from_captions(tmp_path):
    samples, embeddings, queries = world([1] * 5, noise=30.0)
    samples[0] = Sample("0.mp4", samples[0].video, ("<script>alert(1)</script>",))
    report = evaluate(samples, embeddings, queries, Scoring(), model="tiny", transductive=["query-bank"])
    page = evaluation_page(report, {"model": {"name": "tiny"}})
    wrong = int((report.details.t2v_ranks > 1).sum())
    assert wrong > 0
    assert page.count('class="failure"') == wrong
    assert page.count('figure class="right"') == wrong
    assert "<script>" not in page
    assert f"{wrong} of 5 captions" in page
    assert "query-bank *" in page
    assert heat_map(report).startswith(b"\x89PNG")


def axes_world(count):
    """Videos that are the axes of the space, so that a query vector is its row of scores."""
    samples = samples_of([1] * count)
    axes = np.eye(count, dtype=np.float32)
    return samples, [Embeddings(axis, axis[None], np.zeros((1, 3))) for axis in axes]


def test_each_direction_is_ranked_by_its_re_ranked_scores():
    """What is ranked for text-to-video says nothing of video-to-text, and the other way round."""
    count = 4
    samples, embeddings = axes_world(count)
    right_first = np.eye(count, dtype=np.float32)
    right_last = 1 - right_first
    queries = np.full((count, count), 0.5, np.float32) + 0.1 * right_last  # the search alone: all right ones last
    forward = DirectionBlocks(lambda: [right_first], lambda: [right_last])
    backward = DirectionBlocks(lambda: [right_last], lambda: [right_first])
    for blocks, t2v, v2t in ((forward, 1, count), (backward, count, 1)):
        report = evaluate(samples, embeddings, queries, Scoring(), rerank=lambda *_, blocks=blocks: blocks)
        assert report.details.t2v_ranks.tolist() == [t2v] * count
        assert report.details.v2t_ranks.tolist() == [v2t] * count
        assert (report.t2v.mnr, report.v2t.mnr) == (t2v, v2t)
        assert (report.search_alone.t2v.mnr, report.search_alone.v2t.mnr) == (count, count)
        assert report.gains["t2v"]["MnR"].value == t2v - count
        assert report.gains["v2t"]["MnR"].value == v2t - count


def test_copies_tie_after_a_re_ranking_too():
    samples, embeddings = axes_world(2)
    almost = np.array([[1.0, 1.0 - 1e-7], [0.0, 1.0]])
    blocks = DirectionBlocks(lambda: [almost], lambda: [almost.T])
    report = evaluate(samples, embeddings, np.eye(2, dtype=np.float32), Scoring(), rerank=lambda *_: blocks)
    assert report.details.t2v_ranks.tolist() == [2, 1]
    assert report.details.v2t_ranks.tolist() == [2, 1]


def test_video_queries_of_one_file_are_drawn_together():
    """Twenty samples are ten stretches of film; the interval must be as wide as that of ten observations."""
    samples, embeddings = axes_world(20)
    twins = [Sample(sample.id, samples[number // 2].video, sample.captions) for number, sample in enumerate(samples)]
    queries = np.eye(20, dtype=np.float32)
    queries[10:, 0] = queries[0, 10:] = 2  # a wrong answer for the second half of the films
    report = evaluate(twins, embeddings, queries, Scoring())
    files = [twin.video for twin in twins]
    for side, ranks in ((report.t2v, report.details.t2v_ranks), (report.v2t, report.details.v2t_ranks)):
        assert side == metrics.summary(ranks, groups=files)
        assert side != metrics.summary(ranks)


def test_one_unreadable_video_is_allowed_however_few_there_are():
    samples, embeddings, queries = world([1, 1, 1])
    broken = [MediaError("x", "empty"), *embeddings[1:]]
    assert evaluate(samples, broken, queries, Scoring()).videos == 2
    with pytest.raises(MetricsError, match="2 of 3"):
        evaluate(samples, [*broken[:1], MediaError("y", "empty"), embeddings[2]], queries, Scoring())


def test_notes_name_what_is_missing_and_what_is_remarkable():
    samples, embeddings, queries = world([1, 1, 1])
    report = evaluate(samples, embeddings, queries, Scoring())
    few = replace(report, missing=["a", "b"], remarks=["read me"]).table().splitlines()
    assert few[0] == "model: 3 captions, 3 videos (missing: 2 of 5), inductive"
    assert few[-2:] == ["read me", "missing, with all their captions: a, b"]
    with_failure = replace(report, missing=["a", "b"], failures={"x": "empty"}, left_out=3).table().splitlines()
    assert with_failure[0] == "model: 3 captions, 3 videos (missing: 2 of 6), inductive"
    assert with_failure[-2:] == ["left out: 1 unreadable video with 3 captions", "  x: empty"]
    ten, eleven = (replace(report, missing=[str(number) for number in range(count)]).table() for count in (10, 11))
    assert ten.endswith("8, 9")
    assert eleven.endswith("8, 9, ...")


def test_every_row_of_the_table_has_the_numbers_of_its_direction():
    samples, embeddings, queries = world([1] * 4)
    ranks = {"re-ranked": (1, 4), "alone": (5, 6), "query-bank": (2, 3)}
    sides = {name: [metrics.summary([rank] * 4) for rank in pair] for name, pair in ranks.items()}
    report = replace(
        evaluate(samples, embeddings, queries, Scoring()),
        t2v=sides["re-ranked"][0],
        v2t=sides["re-ranked"][1],
        search_alone=DirectionMetrics(*sides["alone"]),
        transductive={"query-bank": DirectionMetrics(*sides["query-bank"])},
    )
    rows = [line.split("  ") for line in report.table().splitlines()[2:8]]
    assert [(row[0], row[-1].strip()) for row in rows] == [
        ("text-to-video, re-ranked (every caption)", "1.0 [1.0, 1.0]"),
        ("video-to-text, re-ranked (best caption)", "4.0 [4.0, 4.0]"),
        ("text-to-video (every caption)", "5.0 [5.0, 5.0]"),
        ("video-to-text (best caption)", "6.0 [6.0, 6.0]"),
        ("text-to-video, query-bank * (every caption)", "2.0 [2.0, 2.0]"),
        ("video-to-text, query-bank * (best caption)", "3.0 [3.0, 3.0]"),
    ]
    document = report.as_dict()
    assert [document["rerank"]["searched"][side]["MnR"] for side in ("t2v", "v2t")] == [5, 6]
    assert [document["transductive"]["query-bank"][side]["MnR"] for side in ("t2v", "v2t")] == [2, 3]


def test_pair_scores_are_of_both_captions_with_both_videos():
    samples, embeddings, queries = world([1, 2, 1, 1], noise=0.5)
    model = Lookup(samples, queries)
    scores = pair_scores(model, samples, lambda videos: embeddings)
    first_captions = queries[[0, 1, 3, 4]]
    for pair in range(2):
        for caption in range(2):
            for video in range(2):
                target, query = embeddings[2 * pair + video], first_captions[2 * pair + caption]
                expected = 0.6 * target.video @ query + 0.4 * (target.moments @ query).max()
                assert scores[pair, caption, video] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(MediaError, match="truncated"):
        pair_scores(model, samples, lambda videos: [*embeddings[:3], MediaError("3.mp4", "truncated")])
    with pytest.raises(UsageError, match="embed gave 3 results for 4 videos"):
        pair_scores(model, samples, lambda videos: embeddings[:3])
