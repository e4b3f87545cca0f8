"""What questions add, in a world where it is known: colours tell all videos apart, shapes none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel
from PIL import Image
from skeleton_inputs import pools, view

from mmi_tvr.errors import AnswerError, UsageError
from mmi_tvr.experiments import question_ablation
from mmi_tvr.experiments.question_inputs import SharedInputs
from mmi_tvr.questions import pool, selection
from mmi_tvr.questions.pool import PoolQuestion
from mmi_tvr.rerank.skeleton import Options
from mmi_tvr.skeletons.store import SkeletonStore
from mmi_tvr.types import AnswerRequest, Embeddings, Judgement, Sample, Video

COUNT = 8
COLOURS, SHAPES = "Which colours?", "Which shapes?"


class ColourAnswerer:
    """Knows the colour of a caption, and of a video by how many key images it has; every shape is a ring."""

    name, video_input = "sees", "features"

    def __init__(self) -> None:
        self.texts: list[Any] = []

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        return [self._one(request) for request in requests]

    def _one(self, request: AnswerRequest) -> str:
        if request.text is not None:
            self.texts.append((request.question, request.text))
        if request.question != COLOURS:
            return "ring"
        if request.text is not None:
            return request.text.split()[-1]
        assert request.features is not None
        return f"colour{len(request.features.segments)}"

    def fingerprint(self) -> str:
        return "sees"


class Compares:
    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []

    name = "compares"

    def judge(self, text: str, videos: Sequence[str], advance: object = None) -> list[Judgement]:
        self.pairs += [(text, video) for video in videos]
        return [Judgement(float(video.split("; ")[0] in text)) for video in videos]

    def fingerprint(self) -> str:
        return "compares"


@pytest.fixture
def shared(tmp_path: Path) -> SharedInputs:
    """Each caption is nearer to the next video than to its own."""
    eye = np.eye(COUNT, dtype=np.float32)
    return SharedInputs(
        model=FakeModel(),
        samples=[Sample(f"v{at}", Video(tmp_path / f"{at}.mp4"), (f"a colour{at + 1}",)) for at in range(COUNT)],
        embeddings=[Embeddings(row, row[None], np.array([[0.0, 1.0, 0.5]])) for row in eye],
        queries=0.6 * eye + 0.8 * np.roll(eye, 1, axis=1),
        views=[view(str(at), key_images=at + 1) for at in range(COUNT)],
        answerer=ColourAnswerer(),
        judge=Compares(),
        options=Options(depth=3, answerer={"name": "fake"}),
        store=SkeletonStore(tmp_path / "skeletons.sqlite"),
    )


def test_questions_that_tell_videos_apart_add_and_others_do_not(shared: SharedInputs, tmp_path: Path) -> None:
    colours, shapes = PoolQuestion("c", COLOURS, "attributes"), PoolQuestion("s", SHAPES, "attributes")
    rows = [
        question_ablation.Case("full", "full knowledge", [colours], [colours]),
        question_ablation.Case("no-textual", "no textual", (), [colours]),
        question_ablation.Case("no-visual", "no visual", [colours], ()),
        question_ablation.Case("videos-1", "one question", [colours], [shapes]),
        question_ablation.Case("videos-2", "two questions", [colours], [colours, shapes]),
    ]
    results = question_ablation.ablate(shared, rows, tmp_path / "out")
    r1 = {name: result["reranked"]["t2v"]["R@1"] for name, result in results.items()}
    assert r1 == {"full": 100, "no-textual": 100, "no-visual": 0, "videos-1": 0, "videos-2": 100}
    assert all(result["searched"]["t2v"]["R@1"] == 0 for result in results.values())
    assert results["full"]["gains"]["v2t"]["low"] == 100
    assert isinstance(shared.answerer, ColourAnswerer)
    assert len(shared.answerer.texts) == COUNT  # each caption is asked about its colour once, whatever the cases
    table = (tmp_path / "out" / "knowledge.md").read_text(encoding="utf-8")
    assert "| full knowledge | 1, 1 | 100.0 [67.6, 100.0] | +100.0 [+100.0, +100.0] |" in table
    assert "52.4 / 51.2" in table
    assert question_ablation.table(results, paper={}).splitlines()[3].endswith("| +100.0 [+100.0, +100.0] |")
    question_ablation.curve(results, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size[0] > 500
    with pytest.raises(UsageError, match="one name"):
        question_ablation.ablate(shared, [rows[0], rows[0]])


def test_weights_of_the_probability_judge_no_pair_again(shared: SharedInputs) -> None:
    colours = [PoolQuestion("c", COLOURS, "attributes")]
    rows = [question_ablation.Case(str(weight), "", colours, colours, weight) for weight in (0.0, 0.01, 1.0)]
    results = question_ablation.ablate(shared, rows)
    assert [result["reranked"]["t2v"]["R@1"] for result in results.values()] == [0, 0, 100]
    assert isinstance(shared.judge, Compares)
    assert len(set(shared.judge.pairs)) == len(shared.judge.pairs) > 0


def test_the_cases_of_the_paper(tmp_path: Path) -> None:
    words = ("Who", "What", "Where", "When", "Why", "How", "Which")
    files = pools(tmp_path, [f"{word} is it?" for word in words], [f"{word} was that?" for word in words])
    texts, videos = pool.load(files["text"]), pool.load(files["video"])
    rows = question_ablation.cases(
        texts, videos, FakeModel(), seeds=2, other_pools={"generated": (texts, videos)}, weights=[0.05]
    )
    by_name = {case.name: case for case in rows}
    assert len(by_name["full"].texts) == 7
    assert by_name["lambda_s-0.05"].lambda_s == 0.05
    assert by_name["lambda_s-0.05"].videos == by_name["full"].videos
    assert not by_name["no-textual"].texts
    assert not by_name["no-visual"].videos
    assert by_name["no-clustering-0"].videos != by_name["no-clustering-1"].videos
    counts = [len(by_name[f"videos-{count}"].videos) for count in range(1, 8)]
    assert counts == [1, 2, 3, 4, 5, 6, 7]
    assert by_name["generated"].videos == videos.enabled  # all of them are chosen


def test_of_another_pool_the_chosen_questions_are_asked_or_all(tmp_path: Path) -> None:
    files = pools(tmp_path, ["Who is it?"], ["Who was that?"])
    texts, videos = pool.load(files["text"]), pool.load(files["video"])
    other = tmp_path / "other.yaml"
    more = "- {id: more, kind: order, text: 'Then?'}\n"
    other.write_text(videos.path.read_text().replace("Who was", "What was") + more)
    other_videos = pool.load(other)
    rows = question_ablation.cases(texts, videos, FakeModel(), other_pools={"other": (texts, other_videos)})
    assert [question.text for question in rows[-1].videos] == ["What was that?", "Then?"]
    assert rows[-1].texts == selection.selected_questions(texts)
