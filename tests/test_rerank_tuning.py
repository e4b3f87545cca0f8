"""Tuning of re-ranking: the choice by cross-validation, and a library's captions, judged once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, RecordedProgress, clipped, colour_video
from hypothesis import given
from hypothesis import strategies as st
from skeleton_inputs import pools, questions

from mmi_tvr import config, plugins
from mmi_tvr.cli import rerank as command
from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.evaluation.rerank_tuning import JudgedCandidates, RerankSetting, Tuning, choices, tune
from mmi_tvr.library import Library
from mmi_tvr.library import tuning as library_tuning
from mmi_tvr.library.tuning import RerankingTuned
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.skeletons.store import SkeletonStore
from mmi_tvr.utils.budget import Usage

PLAIN = RerankSetting(1, 2, 0.0)


def caption(group: int, place: int | None, cosines: Sequence[float], p: Sequence[float]) -> JudgedCandidates:
    return JudgedCandidates(group, place, np.array(cosines, np.float32), {1: np.array(p, np.float32)})


def naive_rank(one: JudgedCandidates, choice: RerankSetting, lambda_r: float) -> int:
    """The place of the right video, from 1: judged ones by their joint score, the others where they were."""
    if one.place is None:
        return 0
    order = list(range(len(one.cosines)))
    if choice.lambda_s:
        places = [at for at in order[: choice.depth] if not np.isnan(one.probabilities[choice.questions][at])]
        p = one.probabilities[choice.questions].astype(float)
        by_joint = sorted(places, key=lambda at: -(lambda_r * float(one.cosines[at]) + choice.lambda_s * p[at]))
        for place, at in zip(places, by_joint, strict=True):
            order[place] = at
    return order.index(one.place) + 1


@st.composite
def captions(draw: st.DrawFn) -> list[JudgedCandidates]:
    p = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), min_size=4, max_size=4)
    place = st.none() | st.integers(0, 3)
    rows = draw(st.lists(st.tuples(st.integers(0, 5), place, p), min_size=2, max_size=12))
    return [caption(group, place, [0.9, 0.7, 0.5, 0.1], p) for group, place, p in [(6, 0, [0.5] * 4), *rows]]


@given(captions())
def test_the_curve_is_what_a_naive_reading_says(rows: list[JudgedCandidates]) -> None:
    if len({row.group for row in rows}) < 2:
        rows = [*rows, caption(7, 1, [0.9, 0.7, 0.5, 0.1], [0.0] * 4)]
    tried = choices([1], [2, 4], [0.3, 1.0])
    tuning = tune(rows, tried, 0.6)
    for choice, measured in tuning.curve.items():
        ranks = [naive_rank(row, choice, 0.6) for row in rows]
        assert measured.recall == pytest.approx(100 * np.mean([rank == 1 for rank in ranks]))
        assert measured.reciprocal_rank == pytest.approx(np.mean([1 / rank if rank else 0 for rank in ranks]))
        assert measured.low <= measured.recall + 1e-9
        assert measured.recall <= measured.high + 1e-9
    best = max(tuning.curve.values(), key=lambda measured: measured.reciprocal_rank).reciprocal_rank
    assert tuning.curve[tuning.best].reciprocal_rank == pytest.approx(best)
    assert tuning.plain == tuning.curve[tried[0]]
    assert tuning.gain[0] == pytest.approx(tuning.reranked.recall - tuning.plain.recall)


def hard_pairs(right: float, wrong: float, count: int = 40) -> list[JudgedCandidates]:
    """Every second caption has its video second; the judge gives these p to the right and to the wrong one."""
    return [
        caption(number, 1, [0.6, 0.5], [wrong, right]) if number % 2 else caption(number, 0, [0.6, 0.5], [right, wrong])
        for number in range(count)
    ]


def test_a_good_judge_pays_and_a_bad_one_does_not() -> None:
    good = tune(hard_pairs(0.9, 0.1), choices([1], [2], [0.3]), 0.6)
    assert good.pays
    assert (good.plain.recall, good.reranked.recall, good.best) == (50, 100, RerankSetting(1, 2, 0.3))
    assert good.gain[0] == 50
    assert good.gain[1] > 0
    bad = tune(hard_pairs(0.1, 0.9), choices([1], [2], [0.3]), 0.6)
    assert not bad.pays
    assert (bad.best, bad.reranked) == (PLAIN, bad.plain)
    same = tune(hard_pairs(0.5, 0.5), choices([1], [2], [0.3]), 0.6)
    assert (same.best, same.pays) == (PLAIN, False)  # of equal choices, the cheapest


def test_what_was_chosen_by_chance_is_not_called_a_gain() -> None:
    """Among the captions of the choice, the best of many by a judge of noise looks better than it is."""
    rng = np.random.default_rng(0)
    rows = [
        JudgedCandidates(number, number % 4, np.full(4, 0.5, np.float32), {1: rng.random(4).astype(np.float32)})
        for number in range(60)
    ]
    tuning = tune(rows, choices([1], [2, 3, 4], [0.1, 0.3, 1.0]), 0.6)
    best = max(measured.reciprocal_rank for measured in tuning.curve.values())
    assert tuning.reranked.reciprocal_rank < best
    assert not tuning.pays


def test_folds_are_of_videos() -> None:
    """Captions of a video are never on both sides, and there is nothing to choose on with one video."""
    two = [caption(0, 1, [0.6, 0.5], [0.0, 1.0])] * 5 + [caption(1, 1, [0.6, 0.5], [1.0, 0.0])] * 5
    tuning = tune(two, choices([1], [2], [1.0]), 0.6)
    assert (tuning.folds, tuning.videos, tuning.captions) == (2, 2, 10)
    # what helps the first video is chosen on it and hurts none of the second's; what the second chooses is plain search
    assert tuning.reranked.recall == 0
    with pytest.raises(UsageError, match="two videos at least"):
        tune(two[:5], choices([1], [2], [1.0]), 0.6)


# A library

CAPTIONS = {"red": "something red", "green": "it is green", "blue": "a blue thing", "white": "all is white"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in CAPTIONS:
        colour_video(tmp_path / "films" / f"{colour}.mp4", colour)
    rows = "".join(f"{colour}.mp4\t{text}\n" for colour, text in CAPTIONS.items())
    (tmp_path / "films" / "captions.tsv").write_text(f"file\tcaption\n{rows}gone.mp4\tnothing\n", encoding="utf-8")
    return tmp_path / "films"


def library(tmp_path: Path, **judge: object) -> Library:
    rerank = {
        "answerer": {"name": "fake", "rule": "a thing"},
        "judge": {"name": "fake", **judge},
        **pools(tmp_path / "pools", ["What?", "Where?"], ["What?", "Who?", "Why?"]),
    }
    settings = config.from_values({"rerank": rerank, "device": "cpu"})
    return Library(tmp_path / "library", FakeModel(), settings=settings, relevance=clipped)


def test_a_library_is_tuned_and_an_interrupted_run_goes_on(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    captions = {(folder / f"{colour}.mp4"): [text] for colour, text in CAPTIONS.items()}
    captions[folder / "other.mp4"] = ["not in the library"]
    with library(tmp_path, dies=1) as opened:
        with pytest.raises(UsageError, match=r"no library is here"):
            opened.tune_reranking(captions)
        opened.index(folder)
        with pytest.raises(MmiTvrError, match="died after 1"):
            opened.tune_reranking(captions)
    with library(tmp_path) as opened:
        progress = RecordedProgress()
        tuned = opened.tune_reranking(captions, progress=progress)
        assert [stage for stage, _ in progress.stages] == [
            "searching", "describing captions", "describing videos", "judging, 1 asked", "judging, 2 asked",
            "judging, 3 asked",
        ]  # fmt: skip
        assert progress.steps == [total for _, total in progress.stages]
        assert tuned.unknown == (folder / "other.mp4",)
        assert (tuned.judge, tuned.tuning.captions, tuned.tuning.plain.recall) == ("fake", 4, 100)
        assert tuned.tuning.best.lambda_s == 0
        again = opened.tune_reranking(captions)
        assert again.tuning == tuned.tuning
        assert again.usage.calls == 0  # all of it is known
        with pytest.raises(UsageError, match="between 1 and 3"):
            opened.tune_reranking(captions, [4])
        with pytest.raises(UsageError, match="none of these 1 files"):
            opened.tune_reranking({folder / "other.mp4": ["one"]})


def test_fewer_questions_are_asked_where_the_settings_say_so(tmp_path: Path, folder: Path) -> None:
    with library(tmp_path) as opened:
        opened.index(folder)
    settings = config.from_values(
        {"rerank": {"answerer": {"name": "fake"}, "judge": {"name": "fake"}, "questions": 1, "text": "x", "video": "x"}}
    )
    assert settings.rerank is not None
    rerank = settings.rerank.options | pools(tmp_path / "pools", ["What?", "Where?"], ["What?", "Who?"])
    one = config.from_values({"rerank": {"name": "skeleton", **rerank}})
    with Library(tmp_path / "library", FakeModel(), settings=one, relevance=clipped) as opened:
        [hit, *_] = opened.search("red", min_relevance=0, rerank=True)
    assert hit.explanation is not None
    assert (len(hit.explanation.text_skeleton), len(hit.explanation.video_skeleton)) == (1, 1)


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    judge = plugins.build("judges", "fake", {"fail": ("a cat",), "probability": 0.75})
    answerer = plugins.build("answerers", "fake", {"fail": ("Where?",)})
    describer = Describer(questions("What?", "Where?"), (), answerer)
    with SkeletonStore(tmp_path / "journal.sqlite") as store:
        journal = library_tuning._Journal(store)
        for _ in range(2):
            probabilities = journal.probabilities(judge, "a dog", ["a cat", "a dog"])
            np.testing.assert_array_equal(probabilities, [np.nan, 0.75])
            [[what, where]] = journal.text_skeletons(["a dog"], describer)
            assert (what.text, where.text) == ("a dog", "")
    assert judge.pairs == [("a dog", video) for video in ("a cat", "a dog", "a cat")]
    assert [request.question for request in answerer.requests].count("Where?") == 2


def tuned_by(best: RerankSetting, gain: tuple[float, float, float]) -> Tuning:
    tuning = tune(hard_pairs(0.9, 0.1), choices([1], [2], [0.3]), 0.6)
    curve = dict(tuning.curve)
    return Tuning(40, 40, 5, curve[PLAIN], curve[PLAIN], gain, best, curve)


@pytest.mark.parametrize(
    ("best", "gain", "says"),
    [
        (RerankSetting(1, 2, 0.3), (50.0, 35.0, 65.0), "re-ranking pays: +50.0 R@1"),
        (RerankSetting(1, 2, 0.3), (2.0, -1.0, 5.0), "may be chance, with 40 captions"),
        (PLAIN, (0.0, 0.0, 0.0), "does not pay here"),
    ],
)
def test_the_verdict_in_words(best: RerankSetting, gain: tuple[float, float, float], says: str) -> None:
    tuning = tuned_by(best, gain)
    assert says in command._verdict(tuning)
    assert json.loads(json.dumps(tuning.as_dict()))["gain"] == dict(zip(("value", "low", "high"), gain, strict=True))
    assert command._settings(PLAIN) == ["rerank=null"]


@pytest.mark.parametrize(
    ("best", "command_line"),
    [
        (PLAIN, "mmi-tvr index --library lib --set rerank=null"),
        (
            RerankSetting(1, 2, 0.3),
            "mmi-tvr index --library lib --config my.yaml --set rerank.answerer.name=openai --set rerank.lambda_s=0.3 "
            "--set rerank.depth=2 --set rerank.questions=1",
        ),
    ],
)
def test_the_command_that_remembers_the_choice_has_the_settings_it_was_measured_with(
    best: RerankSetting, command_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(command, "say", lines.append)
    tuned = RerankingTuned(tuned_by(best, (0.0, 0.0, 0.0)), "fake", Usage(), ())
    command._print_tuned(tuned, Path("lib"), ["--config", "my.yaml", "--set", "rerank.answerer.name=openai"])
    assert lines[-1] == f"to have it so from now on: {command_line}"
