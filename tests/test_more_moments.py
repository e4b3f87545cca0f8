"""Several moments of one file in one hit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, clipped, colour_video

from mmi_tvr import Library
from mmi_tvr.cli._hits import print_hits
from mmi_tvr.errors import UsageError
from mmi_tvr.scoring.moments import further_spans
from mmi_tvr.types import Embeddings, Span


def spans_of(scores: list[float], first: int, count: int = 9, cuts: tuple[int, ...] = ()) -> list[tuple[float, float]]:
    """Return further stretches of a video of one second a key image, of which one is shown; cuts: before these."""
    shots = np.cumsum([place in cuts for place in range(len(scores))])
    moments = np.eye(8, dtype=np.float32)[shots]
    segments = np.array([(k, k + 1, k + 0.5) for k in range(len(scores))], float)
    shown = Span(first, first + 1, first + 0.5)
    spans = further_spans(np.array(scores, np.float32), Embeddings(moments[0], moments, segments), shown, count)
    return [(span.start, span.end) for span in spans]


def test_the_next_best_stretches_that_do_not_overlap() -> None:
    assert spans_of([0.9, 0.1, 0.8, 0.79, 0.1, 0.7], first=0) == [(2, 4), (5, 6)]
    assert spans_of([0.9, 0.1, 0.8, 0.79, 0.1, 0.7], first=0, count=1) == [(2, 4)]
    assert spans_of([0.9, 0.1, 0.8, 0.79], first=0, cuts=(3,)) == [(2, 3), (3, 4)]
    assert spans_of([0.9, 0.85, 0.86, 0.0], first=0) == [(2, 3)]  # what lies beside it is the same moment
    assert spans_of([0.9, 0.85, 0.84, 0.0], first=0, cuts=(1,)) == [(1, 3)]
    assert spans_of([0.9, 0.1, 0.3, 0.2], first=0) == []  # nearer to the worst one
    assert spans_of([0.9], first=0) == []
    assert spans_of([0.9, 0.8], first=0, count=0) == []


def test_more_moments_of_a_hit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour_video(tmp_path / "films" / "twice.mp4", "red", "blue", "red")
    colour_video(tmp_path / "films" / "once.mp4", "yellow", "blue")
    with Library(tmp_path / "library", model=FakeModel(), relevance=clipped) as library:
        library.index(tmp_path / "films")
        [alone] = library.search("red", top=1)
        assert alone.moments == ()
        assert [moment["found_by"] for moment in alone.as_dict()["moments"]] == ["seen"]
        [hit] = library.search("red", top=1, more=5)
        assert (hit.start, hit.end) == (hit.moments[0].start, hit.moments[0].end)
        seconds = sorted((round(one.start), round(one.end)) for one in hit.moments)
        assert seconds[0][0] == 0
        assert seconds[-1][1] == 6
        assert all(end <= 2 or start >= 4 for start, end in seconds)
        [limited] = library.search("red", top=1, more=2)
        assert limited.moments == hit.moments[:2]
        result = library.search("red", top=1)
        further = replace(hit.moments[1], start=4.5, end=5.2)
        print_hits(replace(result, hits=(replace(hit, moments=(hit.moments[0], further)),)))
        assert "also at 0:04-0:06\n" in capsys.readouterr().out  # whole seconds that contain it
        for wrong in (0, 51, 1.5, True):
            with pytest.raises(UsageError, match="more is a number from 1 to 50"):
                library.search("red", more=wrong)  # type: ignore[arg-type]
