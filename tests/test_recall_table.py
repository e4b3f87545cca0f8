"""The table of R@1 on validation and test data, and the split whose features several searches read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel

from mmi_tvr import plugins
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.moving_shapes_split import mean_searcher, split_features
from mmi_tvr.experiments.recall_table import MeasuredRanks, diagonal_ranks, recall_table
from mmi_tvr.utils.progress import Silent


def test_trials_are_compared_with_their_baseline_where_they_were_measured() -> None:
    alone = MeasuredRanks(np.array([1, 2, 2, 2]))
    better = MeasuredRanks(np.array([1, 1, 1, 1]), "alone")
    header, _, *rows = recall_table(
        {"validation": {"alone": alone, "better": better, "tried": better}, "test": {"alone": alone, "better": alone}}
    )
    assert [cell.strip() for cell in header.strip("| ").split(" | ")] == [
        "R@1", "validation (n=4)", "difference", "test (n=4)", "difference",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells[0] == ["alone", "25.0 [0.0, 75.0]", "", "25.0 [0.0, 75.0]", ""]
    assert cells[1][:3] == ["better", "100.0 [51.0, 100.0]", "+75.0 [+25.0, +100.0]"]
    assert cells[1][3:] == ["25.0 [0.0, 75.0]", ""]  # that trial has no baseline
    assert cells[2][0] == "tried"
    assert cells[2][3:] == ["", ""]


def test_the_ranks_of_the_diagonal_count_equals_against_it() -> None:
    scores = np.array([[0.9, 0.9, 0.1], [0.1, 0.2, 0.0], [0.5, 0.6, 0.4]])
    assert diagonal_ranks(scores).tolist() == [2, 1, 3]


def test_a_split_is_rendered_and_its_features_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_CACHE", str(tmp_path))
    model, method = FakeModel(), plugins.build("keyimages", "uniform", {"count": 2})
    split = split_features("val", model, method, Silent(), limit=2, captions=1)
    assert [len(sample.captions) for sample in split.samples] == [1, 1]
    assert len(split.gallery(model)) == 2
    encoded = model.images_encoded
    assert encoded == 4
    assert len(split_features("val", model, method, Silent(), limit=2).samples[0].captions) > 1
    assert model.images_encoded == encoded


def test_a_model_without_towers_of_its_own_has_no_mean() -> None:
    with pytest.raises(UsageError, match="no CLIP of its own"):
        mean_searcher(FakeModel())
