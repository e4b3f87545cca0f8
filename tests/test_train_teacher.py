"""Distillation and written captions: what a language model adds to the training data, asked once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from train_shapes import CONFIG, SMALL

from mmi_tvr.errors import ConfigError, MmiTvrError, UsageError
from mmi_tvr.skeletons.dataset import PairJudge
from mmi_tvr.train.run import run
from mmi_tvr.train.settings import load
from mmi_tvr.train.teacher import Teacher

STAGES = "train.stages=[{name: joint, steps: 2, weights: {contrastive: 1.0, distill: 0.5}}]"
WRITTEN = ["data.paired=0.5", "data.written=What happens?"]


def test_rows_of_a_teacher_are_whole_lists_of_what_was_judged() -> None:
    logits = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], np.float32)
    teacher = Teacher(["a", "b"], np.array([[7, 8, 9], [1, 2, 3]]), logits)
    texts, rows, tensors = teacher.draw(40, np.random.default_rng(0))
    assert len(texts) == len(rows) == len(tensors["teacher"]) == len(tensors["lists"]) == 40
    pairs = {(text, row, logit) for text, row, logit in zip(texts, rows, tensors["teacher"].tolist(), strict=True)}
    assert pairs == {("a", 7, 1.0), ("a", 9, 3.0), ("b", 1, 4.0), ("b", 2, 5.0), ("b", 3, 6.0)}
    lists = tensors["lists"].tolist()
    for number in set(lists[:-3]) - {lists[-1]}:
        members = [row for row, of in zip(rows, lists, strict=True) if of == number]
        assert members in ([7, 9], [1, 2, 3])
    assert teacher.draw(40, np.random.default_rng(0))[1] == rows


def test_candidates_teach_and_captions_are_written_once(
    training_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later run asks nobody: joint scores come from the cache, captions from the answers that are stored."""
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    options = [*SMALL, STAGES, *WRITTEN, "data.distill={candidates: 3, captions: 1}", "train.chunk=3"]
    fakes = "rerank={{answerer: {{name: fake{}}}, judge: {{name: fake}}, lambda_s: 0.1}}"
    lines = []
    for name, dies in (("first", ""), ("second", ", dies: 0")):
        settings = load(CONFIG, [*options, fakes.format(dies)])
        assert run(settings, tmp_path / name, cache=training_cache, cpu=True).finished
        lines.append([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()])
    assert all(line["loss/distill"] > 0 for line in lines[0])
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert len(list((tmp_path / "cache").glob("distill-*.safetensors"))) == 1
    other = load(CONFIG, [*options, fakes.format(", dies: 0"), "data.written=What else happens?"])
    with pytest.raises(MmiTvrError, match="died after 0 answers"):
        run(other, tmp_path / "other", cache=training_cache, cpu=True)


def test_a_caption_that_nobody_writes_is_said(training_cache: Path, tmp_path: Path) -> None:
    fakes = "rerank={answerer: {name: fake, fail: ['Why?']}, judge: {name: fake}}"
    settings = load(CONFIG, [*SMALL, "data.paired=0.5", "data.written=Why?", fakes])
    with pytest.raises(UsageError, match=r"data\.written: no caption of \d+ videos: no answer, as it was told"):
        run(settings, tmp_path / "run", cache=training_cache, cpu=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.lvlm=false", "the language model of .* is switched off"),
        ("rerank={name: visual}", "re-ranking by visual needs no descriptions"),
        (
            "rerank={answerer: {name: fake}, judge: {name: openai, base_url: 'http://127.0.0.1:9/v1'}}",
            "nobody is there",
        ),
        ("rerank={answerer: {name: openai, base_url: 'http://127.0.0.1:9/v1'}}", "nobody is there"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused_before_anything_is_stored(
    tmp_path: Path, change: str, message: str
) -> None:
    settings = load(CONFIG, [*SMALL, STAGES, change])
    with pytest.raises(MmiTvrError, match=message):
        run(settings, tmp_path / "run", cache=tmp_path / "features", cpu=True)
    assert list(tmp_path.iterdir()) == []


def test_joint_scores_that_teach_nothing_are_not_kept(
    training_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path / "cache"))
    fakes = "rerank={answerer: {name: fake}, judge: {name: fake}}"
    settings = load(CONFIG, [*SMALL, STAGES, "data.distill={candidates: 3, captions: 1}", fakes])
    with monkeypatch.context() as patch:
        patch.setattr(PairJudge, "probabilities", lambda self, row, columns: np.full(len(columns), np.nan, np.float32))
        with pytest.raises(UsageError, match="of no caption two candidates are judged"):
            run(settings, tmp_path / "first", cache=training_cache, cpu=True)
    assert run(settings, tmp_path / "second", cache=training_cache, cpu=True).finished


def test_what_has_no_meaning_together_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"set data\.paired below 1"):
        load(CONFIG, ["data.written=What happens?"])
    with pytest.raises(ConfigError, match=r"data\.distill\.temperature"):  # joint scores over it have to be finite
        load(CONFIG, [STAGES, "data.distill.temperature=1e-40"])
    with pytest.raises(ConfigError, match="`distill` learns from captions"):
        load(CONFIG, [STAGES, "data.persons={}"])
