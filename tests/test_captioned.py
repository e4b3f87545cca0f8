"""The scripts that measure a folder of videos with captions in columns, on videos of one colour each."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from fakes import FakeModel
from test_query_scripts import script

from mmi_tvr import plugins
from mmi_tvr.cli import _captioned
from mmi_tvr.cli._evaluation_data import EvaluationModel, ModelChoice
from mmi_tvr.errors import UsageError
from mmi_tvr.utils.progress import Silent

COLUMNS = "said, meant,seen"
PARTS = {"blue": 0, "green": 1, "red": 0, "yellow": 1}
MEANT = {"blue": "yellow", "green": "green", "red": "red", "yellow": "blue"}


@pytest.fixture
def arguments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """A table that says the colours of the videos, two of them wrongly in the second column."""
    rows = [f"part{PARTS[name]}/{name}.mp4\ta {name} one\t{MEANT[name]} it is\t{name}" for name in PARTS]
    (folder / "captions.tsv").write_text("\n".join(["file\tsaid\tmeant\tseen", *rows, ""]))

    def load_model(choice: ModelChoice) -> EvaluationModel:
        return EvaluationModel(choice.settings, FakeModel(), plugins.build("keyimages", "uniform", {"count": 1}))

    monkeypatch.setattr(_captioned, "load_model", load_model)
    return argparse.Namespace(data=str(folder), captions=None, column=COLUMNS, limit=None, mean=False, model="fake")


def test_each_column_is_searched_with_the_others(arguments: argparse.Namespace) -> None:
    [results] = script("measure_wordings").of_folder(arguments, Silent()).values()
    ranks = {name: trial.ranks.tolist() for name, trial in results.items()}
    assert list(ranks)[::2] == ["said", "meant", "seen"]
    assert ranks["said"] == ranks["seen"] == [1, 1, 1, 1]
    assert ranks["meant"][1:3] == [1, 1]
    assert min(ranks["meant"][0], ranks["meant"][3]) > 1
    assert results["said, with the other columns, share 0.7"].baseline == "said"


def test_one_column_describes_what_the_other_searches(arguments: argparse.Namespace) -> None:
    measure = script("measure_descriptions")
    with pytest.raises(UsageError, match="QUERIES,DESCRIPTIONS: one column to search by"):
        measure.of_folder(arguments, Silent())
    arguments.column = "meant,said"
    [results] = measure.of_folder(arguments, Silent()).values()
    assert results["pictures alone"].ranks.tolist() == [2, 1, 1, 2]
    arguments.column = "said,meant"
    [results] = measure.of_folder(arguments, Silent()).values()
    assert results["pictures alone"].ranks.tolist() == [1, 1, 1, 1]
    assert results["with descriptions, weight 1"].ranks.tolist() == [2, 1, 1, 2]


def test_a_video_that_cannot_be_read_is_left_out(
    arguments: argparse.Namespace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "part0" / "red.mp4").write_bytes(b"no video")
    videos = _captioned.captioned_videos(arguments, Silent())
    assert [texts[2] for texts in videos.captions] == ["blue", "green", "yellow"]
    assert len(videos.embeddings) == len(videos.captions)
    assert "left out 1 video that cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": None}, "--column A,B: name two columns"),
        ({"column": "*"}, "--column A,B: name two columns"),
        ({"column": "said"}, "--column A,B: name two columns"),
        ({"column": "said,said"}, "part0/blue.mp4: 1 different caption in said, said; each video has"),
        ({"column": "said,lost"}, "no column 'lost'"),
        ({"mean": True}, "--mean goes with moving_shapes"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: argparse.Namespace, changes: dict[str, object], message: str
) -> None:
    vars(arguments).update(changes)
    with pytest.raises(UsageError, match=message):
        _captioned.captioned_videos(arguments, Silent())


def test_a_folder_of_which_nothing_can_be_read_is_one_line(arguments: argparse.Namespace, folder: Path) -> None:
    for path in folder.rglob("*.mp4"):
        path.write_bytes(b"no video")
    with pytest.raises(UsageError, match="no video that can be read"):
        _captioned.captioned_videos(arguments, Silent())


def test_a_table_of_captions_goes_with_a_folder(arguments: argparse.Namespace) -> None:
    assert _captioned.is_folder(arguments)
    arguments.data = "moving_shapes"
    with pytest.raises(UsageError, match="--captions and --column go with a folder"):
        _captioned.is_folder(arguments)
    arguments.column = None
    assert not _captioned.is_folder(arguments)


def test_a_row_without_a_caption_in_each_column_is_named(arguments: argparse.Namespace, folder: Path) -> None:
    table = folder / "captions.tsv"
    table.write_text(table.read_text().replace("\tred it is\t", "\t\t"))
    with pytest.raises(UsageError, match=r"part0/red.mp4: 2 different captions in said, meant, seen; each video has"):
        _captioned.captioned_videos(arguments, Silent())
