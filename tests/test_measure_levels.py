"""What each level of a model adds, on vectors whose ranks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_query_scripts import script

from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation.evaluate import evaluate
from mmi_tvr.evaluation.level_ablation import ALL, level_ranks, level_rows
from mmi_tvr.evaluation.report import Report
from mmi_tvr.types import Block, Embeddings, Sample, Scoring, Video

BLOCKS = (Block("colour", 2), Block("shape", 2))
ONE, OTHER = (1.0, 0.0), (0.0, 1.0)
# Four videos of two colours and two shapes: only both levels together know which is which.
VECTORS = np.array([[*colour, *shape] for colour in (ONE, OTHER) for shape in (ONE, OTHER)], np.float32) / np.sqrt(2)


def report(scoring: Scoring, captions: int = 1) -> Report:
    videos = [Video(Path(f"{number}.mp4")) for number in range(len(VECTORS))]
    samples = [Sample(str(number), video, ("words",) * captions) for number, video in enumerate(videos)]
    embeddings = [Embeddings(row, row[None], np.array([[0.0, 1.0, 0.5]])) for row in VECTORS]
    return evaluate(samples, embeddings, np.repeat(VECTORS, captions, axis=0), scoring)


def test_ranks_without_a_level_are_those_by_the_others() -> None:
    details = report(Scoring(blocks=BLOCKS)).details
    assert details is not None
    ranks = {title: (of.t2v.tolist(), of.v2t.tolist()) for title, of in level_ranks(details).items()}
    assert list(ranks) == [ALL, "without colour", "without shape", "colour alone", "shape alone"]
    assert ranks[ALL] == ([1] * 4, [1] * 4)
    assert {title: of for title, of in ranks.items() if title != ALL} == dict.fromkeys(
        list(ranks)[1:], ([2] * 4, [2] * 4)
    )  # the other one of its colour, or its shape, ties, and counts as ahead


def test_a_level_that_does_not_count_costs_nothing_and_alone_counts_fully() -> None:
    details = report(Scoring(blocks=(BLOCKS[0], Block("shape", 2, t2v=0.0, v2t=0.0)))).details
    assert details is not None
    ranks = level_ranks(details)
    assert ranks["without shape"].t2v.tolist() == ranks[ALL].t2v.tolist() == [2] * 4
    assert ranks["without colour"].t2v.tolist() == [4] * 4
    assert ranks["shape alone"].v2t.tolist() == [2] * 4


def test_differences_are_paired_by_video() -> None:
    details = report(Scoring(blocks=BLOCKS)).details
    assert details is not None
    rows = level_rows(details)
    assert rows[0] == ["levels (n = 4)", "T2V R@1", "V2T R@1", "SumR", "SumR minus all levels"]
    assert rows[1] == [ALL, "100.0 [51.0, 100.0]", "100.0 [51.0, 100.0]", "600.0 [600.0, 600.0]", "-"]
    assert rows[2][3:] == ["400.0 [400.0, 400.0]", "-200.0 [-200.0, -200.0]"]


def test_what_cannot_be_measured_is_refused() -> None:
    for scoring, captions, reason in ((Scoring(), 1, "of several levels"), (Scoring(blocks=BLOCKS), 2, "one caption")):
        details = report(scoring, captions).details
        assert details is not None
        with pytest.raises(UsageError, match=reason):
            level_rows(details)


def test_the_script_says_by_which_level_captions_lost() -> None:
    measured = report(Scoring(blocks=(BLOCKS[0], Block("shape", 2, t2v=0.0, v2t=0.0))))
    lines = script("measure_levels").table(measured)
    assert lines[0].startswith("| levels (n = 4)")
    assert lines[-1] == "4 captions not first, behind by: colour 0, shape 0"  # ties are behind in nothing


def test_a_model_without_levels_is_refused_before_anything_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("measure_levels")
    monkeypatch.setattr(module, "load_generated", lambda *words: pytest.fail("rendered"))
    with pytest.raises(UsageError, match="of several levels"):
        module.main(["--model", "moving-shapes"])
