"""What is measured of a judge, with judges and answerers of which it is known what they know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from skeleton_inputs import questions, view
from test_query_scripts import script

from mmi_tvr import plugins
from mmi_tvr.datasets.moving_shapes import CONTRAST_SETS, MovingShapes, contrast_pairs
from mmi_tvr.errors import AnswerError, MetricsError, UsageError
from mmi_tvr.experiments.pretrain import judge_measures
from mmi_tvr.experiments.pretrain.judge_pairs import in_plain_words, true_skeleton
from mmi_tvr.skeletons.skeletons import Describer
from mmi_tvr.types import AnswerRequest, Judgement
from mmi_tvr.utils.progress import Silent

TEXTS = 20


class Knows:
    """Takes the true skeletons of one scene for one, and everything else for two; `pairs` are those that it read."""

    name = "knows"

    def __init__(self, specs: Sequence[object]) -> None:
        self.true = {true_skeleton(spec, "text"): true_skeleton(spec, "video") for spec in specs}
        self.pairs: list[tuple[str, str]] = []

    def judge(
        self, text: str, videos: Sequence[str], advance: Callable[[], object] = lambda: None
    ) -> list[Judgement | AnswerError]:
        self.pairs += [(text, video) for video in videos]
        return [Judgement(float(self.true.get(text) == video)) for video in videos]


class Sees:
    """Says of the video with N key images what happens in scene N - 1, and of a text the text itself."""

    name, video_input = "sees", "features"

    def __init__(self, dataset: MovingShapes) -> None:
        self.specs = dataset.specs()

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        return [
            request.text if request.text is not None else in_plain_words(self.specs[len(request.features.segments) - 1])  # type: ignore[union-attr]
            for request in requests
        ]

    def fingerprint(self) -> str:
        return self.name


def shapes(split: str, count: int) -> MovingShapes:
    dataset = plugins.build("datasets", "moving_shapes", {"split": split, "count": count})
    assert isinstance(dataset, MovingShapes)
    return dataset


def test_every_kind_of_skeleton_is_measured_by_itself() -> None:
    specs = shapes("val", 2 * TEXTS).specs()
    judge = Knows(specs)
    measures = {one.kind: one for one in judge_measures.judge_measures(judge, TEXTS, Silent(), "val")}
    assert measures["the own video"].probabilities == (1.0,) * TEXTS
    other_means = {kind: one.mean for kind, one in measures.items() if one.probabilities and kind != "the own video"}
    assert set(other_means.values()) == {0.0}
    assert len(other_means) > 25
    assert 0 < len(measures["its twin, where the answers differ"].probabilities) < TEXTS
    turned = measures["the own events the other way round, each answer their caption"]
    assert 0 < len(turned.probabilities) <= sum(len(spec.events) > 1 for spec in specs[:TEXTS])
    by_events = [measures[f"{judge_measures.REPEATED}: {name}"] for name in ("one event", "two events", "three events")]
    counts = [sum(len(spec.events) == count for spec in specs[:TEXTS]) for count in (1, 2, 3)]
    assert [len(one.probabilities) for one in by_events] == counts
    assert all(len(measures[kind].probabilities) == TEXTS for kind in measures if kind.startswith("noise"))
    assert sum(video.endswith(judge_measures._OTHER_ASSENTS) for _, video in judge.pairs) == TEXTS


def test_some_other_video_is_never_the_own_one() -> None:
    specs = range(3)
    drawn = [
        (row, judge_measures._other(specs, row, np.random.default_rng(seed)))  # type: ignore[arg-type]
        for row in specs
        for seed in range(20)
    ]
    assert set(drawn) == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}


def test_preferences_are_counted_by_what_differs() -> None:
    pairs = {kind: contrast_pairs(kind, 3) for kind in CONTRAST_SETS}
    judge = Knows([spec for of_kind in pairs.values() for first, _, second, _ in of_kind for spec in (first, second)])
    preferences = judge_measures.twin_preferences(judge, 3, Silent())
    accuracies = {kind: one.accuracy for kind, one in preferences.items()}
    assert accuracies["relation"] == 0  # none of the chosen questions asks for it, and a tie counts as wrong
    assert {accuracies[kind] for kind in ("order", "direction", "colour", "count", "order3")} == {100.0}
    assert {one.n for one in preferences.values()} == {3}
    assert judge_measures.twins_table(preferences)[2].startswith("| order | 3 | 100.0 [")
    nobody = plugins.build("judges", "fake", {"fail": [true_skeleton(pairs["colour"][0][0], "video")]})
    with pytest.raises(MetricsError, match="1 of 1 pair"):
        judge_measures.twin_preferences(nobody, 1, Silent(), ["colour"])


def test_answers_of_a_model_are_judged_beside_one_event() -> None:
    dataset = shapes("test", 30)
    describer = Describer(questions("What is said?"), questions("What happens?"), Sees(dataset))
    views = [view(str(number), number + 1) for number in range(30)]
    judge = plugins.build("judges", "fake", {})  # the share of the query's words that the answers have
    repeating, silent, twin, other = judge_measures.answered_measures(dataset, describer, judge, views, Silent())
    assert repeating.probabilities == (1.0,) * 30
    assert silent.probabilities == ()
    assert 0 < len(twin.probabilities) < 30
    assert len(other.probabilities) == 30
    assert other.mean < 1
    blind = [view(str(number), 1) for number in range(30)]  # what they all answer is true of the first video alone
    repeating, silent, _, _ = judge_measures.answered_measures(dataset, describer, judge, blind, Silent())
    assert len(repeating.probabilities) < 5 < len(silent.probabilities)


def test_a_row_has_its_intervals() -> None:
    measures = [
        judge_measures.JudgeMeasure("half", (0.2, 0.8) * 20),
        judge_measures.JudgeMeasure("nothing", ()),
    ]
    half, nothing = judge_measures.measures_table(measures)[2:]
    assert half.startswith("| half | 40 | 0.500 [0.4")
    assert half.endswith("| 50.0 [35.2, 64.8] |")
    assert nothing == "| nothing | 0 | - | - |"


def test_the_script_measures_whoever_judges_and_answers() -> None:
    module = script("measure_judge")
    changes = ["rerank.judge.name=fake", "rerank.answerer.name=fake"]
    by_kind, answered, twins = module.measured_tables("moving-shapes", changes, "val", 4, Silent())
    assert by_kind[2].startswith("| the own video | 4 | ")
    assert len(answered) == 6
    assert len(twins) == 2 + len(CONTRAST_SETS)
    with pytest.raises(UsageError, match="a look compares no skeletons"):
        module.measured_tables("moving-shapes", ["rerank.name=visual"], "val", 4, Silent())
