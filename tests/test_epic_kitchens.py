"""EPIC-KITCHENS-100: queries, graded relevance, spans of long films; the real annotation where it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import benchmark_files as files
import numpy as np
import pytest
import typer
from fakes import colour_video
from typer.testing import CliRunner

from mmi_tvr import plugins
from mmi_tvr.cli import data, evaluation
from mmi_tvr.datasets import epic_kitchens
from mmi_tvr.datasets._benchmarks import Annotations, Listing
from mmi_tvr.datasets.epic_kitchens import ActionClasses, relevance
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import DescribingDataset, GradedDataset

TEST = "EPIC_100_retrieval_test.csv"
SENTENCES = "EPIC_100_retrieval_test_sentence.csv"


def read(folder: Path, **options: Any) -> Listing:
    return epic_kitchens.read(epic_kitchens.Options(root=folder, **options), Annotations(folder))


def call(*words: object) -> str:
    app = typer.Typer()
    evaluation.register(app)
    data.register(app)
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False).stdout


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def queries(listing: Listing) -> Mapping[str, str]:
    return {action.id: action.captions[0] for action in listing.videos if action.captions}


def test_queries_are_the_published_ones_and_all_actions_are_candidates(tmp_path: Path) -> None:
    listing = read(files.epic_kitchens(tmp_path))
    assert len(listing.videos) == 12
    published = {f"P01_11_{number}": files.KITCHEN_ACTIONS[number][0] for number in (0, 1, 3, 4, 5)}
    assert queries(listing) == published
    span = listing.videos[1].locations[1]
    assert (span.name, span.start, span.end) == ("P01_11", 2.0, 3.5)
    (tmp_path / SENTENCES).unlink()
    assert queries(read(tmp_path)) == published  # made as the published list was: "stir" is two actions
    assert read(tmp_path).remarks[-1].startswith(f"no {SENTENCES}")


def test_training_narrates_every_action_and_validation_is_of_other_films(tmp_path: Path) -> None:
    folder = files.epic_kitchens(tmp_path)
    train, val = (read(folder, split=split).videos for split in ("train", "val"))
    films = [{action.locations[1].name for action in split} for split in (train, val)]
    assert (len(films[0]), len(films[1])) == (2, 1)
    assert not films[0] & films[1]
    assert len(train) == 12
    assert all(action.captions for action in train)
    assert len(queries(read(folder, split="val"))) == 5
    assert len(read(folder, split="train", hold_out=False).videos) == 18


def test_relevance_is_half_the_verb_and_half_the_nouns() -> None:
    """Against the definition, pair by pair."""
    rng = np.random.default_rng(0)
    actions = [
        ActionClasses(int(rng.integers(3)), frozenset(rng.integers(5, size=rng.integers(1, 4)).tolist()), 0)
        for _ in range(30)
    ]
    measured = relevance(actions[:12], actions)
    assert measured.shape == (12, 30)
    for row, caption in enumerate(actions[:12]):
        for column, action in enumerate(actions):
            overlap = len(caption.nouns & action.nouns) / len(caption.nouns | action.nouns)
            assert measured[row, column] == pytest.approx(((caption.verb == action.verb) + overlap) / 2)
            assert (measured[row, column] == 1) == (caption.verb == action.verb and caption.nouns == action.nouns)


def test_a_split_grades_what_of_it_is_there(tmp_path: Path) -> None:
    folder = files.epic_kitchens(tmp_path / "annotations")
    (tmp_path / "P01" / "videos").mkdir(parents=True)
    (tmp_path / "P01" / "videos" / "P01_11.MP4").touch()
    split = plugins.build("datasets", "epic_kitchens", {"root": tmp_path, "annotations": folder, "allowed": 0.5})
    assert isinstance(split, GradedDataset)
    assert isinstance(split, DescribingDataset)
    assert len(split.samples()) == len(split.missing) == 6
    every = split.relevance(np.arange(5), np.arange(6))
    assert every[0].tolist() == [1.0, 0.25, 1.0, 1.0, 0.0, 0.0]  # take plate
    assert every[3].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 0.5]  # one of both that are stirred
    assert split.relevance(np.array([3]), np.array([5, 4])).tolist() == [[0.5, 1.0]]
    assert split.describes(0, 3)
    assert not split.describes(0, 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("00:00:02.00", "2 s", "line 3: not an action .*'2 s' is no time"),
        ("00:00:03.50", "00:00:02.00", "line 3: from 00:00:02.00 to 00:00:02.00 is no span"),
        ("put plate on table", " ", "line 3: the caption is empty"),
        ("P01_11_1,", ",", "line 3: the narration_id is empty"),
        ("P01_11_1,", "P01_11_0,", "listed more than once, the first: P01_11_0"),
        ('"[2, 42]"', "[]", "line 3: verb class 1, noun classes \\[\\]"),
        ('"[2, 42]"', "[2", "line 3: not an action"),
        ('"[2, 42]"', "__import__('os')", "line 3: not an action"),
        ('"[2, 42]"', "[300]", "line 3: verb class 1, noun classes \\[300\\]"),
        ("verb_class", "verb_group", "KeyError: 'verb_class'"),
    ],
)
def test_a_broken_line_is_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    change(files.epic_kitchens(tmp_path) / TEST, old, new)
    with pytest.raises(UsageError, match=words) as error:
        read(tmp_path)
    assert TEST in str(error.value)


def test_a_sentence_whose_action_is_not_there_is_left_out_of_a_cut_file_and_counted(tmp_path: Path) -> None:
    folder = files.epic_kitchens(tmp_path)
    (folder / SENTENCES).write_text(
        "\ufeff" + (folder / SENTENCES).read_text() + "P30_01_7,wash pan\n", encoding="utf-8"
    )
    listing = read(folder)
    assert len(queries(listing)) == 5
    assert f"without 1 sentence of {SENTENCES} whose actions are not there" in listing.remarks
    change(
        folder / SENTENCES, "P01_11_1,put plate on table", "P01_11_1,stir"
    )  # a line too low, as in the published file
    assert any("beside an action of which something else was said" in remark for remark in read(folder).remarks)
    change(folder / SENTENCES, "P01_11_3", "P01_11_1")
    with pytest.raises(UsageError, match="line 4: P01_11_1 is there twice"):
        read(folder)


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    """One film of test, which is too short for its last action."""
    files.epic_kitchens(tmp_path / "annotations")
    (tmp_path / "P01" / "videos").mkdir(parents=True)
    colour_video(tmp_path / "P01" / "videos" / "P01_11.MP4", "red", "blue", seconds=11.0)
    return tmp_path


def test_films_are_checked_and_evaluated_by_degree(kitchen: Path) -> None:
    words = ("epic_kitchens", "--root", kitchen)
    report = json.loads(call("data", "check", *words, "--json"))
    splits = {split["split"]: split for split in report["splits"]}
    assert (splits["test"]["videos"], splits["test"]["captions"], len(splits["test"]["missing"])) == (12, 5, 6)
    assert splits["test"]["official"] == {"videos": 9668, "captions": 3842}
    assert (report["files"], report["probed"]) == (1, 1)
    assert len(splits["train"]["missing"]) == 12
    run = kitchen / "run"
    shown = call("evaluate", *words, "--skip-missing", "--model", "clip4clip:moving-shapes/base/clip", "--output", run)
    document = json.loads((run / "report.json").read_text())
    assert (document["n"], document["videos"]) == (5, 6)
    assert (document["graded"]["t2v"]["n"], document["graded"]["v2t"]["n"]) == (5, 6)
    for side in ("t2v", "v2t"):
        assert all(0 < document["graded"][side][name] <= 100 for name in ("mAP", "nDCG"))
    assert "mean of both" in shown
    assert "a full match is right" in shown
    row = call("table", run, "--quoted", "epic_kitchens")
    assert "mean mAP" in row
    assert f"{document['graded']['mean']['mAP']:.1f}" in row
