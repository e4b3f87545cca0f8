"""The script that compares ways to find moments, on videos of colours whose moments are known."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fakes import FakeModel, colour_video
from test_query_scripts import script

from mmi_tvr import plugins
from mmi_tvr.cli._evaluation_data import EvaluationModel
from mmi_tvr.config import Section, Settings
from mmi_tvr.features.cache import Source
from mmi_tvr.features.extract import extract
from mmi_tvr.types import DescribedMoment, Embeddings, Query, Span, Video
from mmi_tvr.utils.progress import Silent


class HeadedModel(FakeModel):
    """Says that everything happens in the first second."""

    def locate(self, queries, videos):
        return [Span(0.0, 1.0, 0.5)] * len(videos)


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("measure_moments")


@pytest.fixture(scope="module")
def events(measure: ModuleType, tmp_path_factory: pytest.TempPathFactory):
    """Two seconds of red, then two of blue, in two key images; blue is what is described."""
    video = Video(colour_video(tmp_path_factory.mktemp("moments") / "a.mp4", "red", "blue", seconds=2))
    model, method = FakeModel(), plugins.build("keyimages", "uniform", {"count": 2})
    [[(_, features)]] = extract([Source(video)], model, method)
    moments = [DescribedMoment("blue", 0, 2.0, 4.0)]
    queries = model.embed_queries([Query("blue")])
    return measure.Events(moments, ["appears"], queries, [video], [features], model.embed_videos([features]))


def system(model: FakeModel) -> EvaluationModel:
    method = plugins.build("keyimages", "uniform", {"count": 2})
    return EvaluationModel(Settings(keyimages=Section(name="uniform", count=2)), model, method)


def test_ways_with_a_head_are_those_of_a_model_that_has_one(measure: ModuleType, events) -> None:
    plain = measure.located(system(FakeModel()), events, Silent())
    headed = measure.located(system(HeadedModel()), events, Silent())
    assert list(plain) == [
        "the picture most alike",
        "without a head",
        "without a head, and a closer look, fine",
        "without a head, and a closer look, mild",
    ]
    assert list(headed)[4:] == [title.replace("without a", "with the") for title in list(plain)[1:]]
    assert {title: headed[title] for title in plain} == plain
    assert headed["with the head"] == [Span(0.0, 1.0, 0.5)]
    [span] = plain["without a head"]
    assert (span.start, span.end) == pytest.approx((2.0, 4.0), abs=0.3)


def test_a_closer_look_reaches_into_the_key_images_around_a_span(measure: ModuleType) -> None:
    bounds = np.arange(6.0)
    video = Embeddings(np.ones(2), np.ones((5, 2)), np.column_stack([bounds[:-1], bounds[1:], bounds[:-1] + 0.5]))
    look = measure.Look(fps=10, min_length=0.2, reach=0.5)
    assert measure.around(Span(2.5, 3.5, 3.0), video, look) == slice(2, 4)
    assert measure.around(Span(2.2, 2.8, 2.5), video, look) == slice(1, 4)
    assert measure.around(Span(0.0, 5.0, 2.5), video, look) == slice(0, 5)


def test_a_closer_look_cuts_them_anew_and_leaves_the_others(measure: ModuleType, events) -> None:
    [video], look = events.embeddings, measure.Look(fps=10, min_length=0.2, reach=0.0)
    middle, seen = float(video.segments[0, 1]), []
    assert middle == pytest.approx(2, abs=0.6)
    [closer] = measure.closer_embeddings(system(FakeModel()), look, events, [Span(0.0, 1.0, 0.5)], seen.append)
    assert sum(seen) == 1
    np.testing.assert_array_equal(closer.segments[-1], video.segments[1])
    assert closer.segments[0, 0] == 0
    assert closer.segments[:-1, 1].tolist()[-1] == pytest.approx(middle)
    [both] = measure.closer_embeddings(system(FakeModel()), look, events, [Span(0.0, 4.0, 2.0)], seen.append)
    assert both.segments[:, 0].tolist() == pytest.approx([0, 2], abs=0.11)  # cut where the colour changes
    np.testing.assert_allclose(both.moments, video.moments, atol=0.02)


def test_no_more_key_images_than_a_model_reads(measure: ModuleType, events, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, counts, build = system(FakeModel()), [], plugins.build
    monkeypatch.setattr(measure, "_MOST", 7)
    monkeypatch.setattr(
        plugins, "build", lambda room, name, options: counts.append(options["count"]) or build(room, name, options)
    )
    look = measure.Look(fps=10, min_length=0.2, reach=0.0)
    for span in (Span(0.0, 0.5, 0.2), Span(0.0, 4.0, 2.0)):
        measure.closer_embeddings(chosen, look, events, [span], lambda steps: None)
    assert counts == [6, 7]  # the other one stays, and then none
    monkeypatch.setattr(measure, "_MOST", 1)
    measure.closer_embeddings(chosen, look, events, [Span(0.0, 0.5, 0.2)], lambda steps: None)
    assert counts == [6, 7, 1]  # of a video that has more anyway, as many as there were


def test_tables_have_the_gain_of_a_look_and_the_hardest_kind_first(measure: ModuleType, events) -> None:
    right, half, wrong = Span(2.0, 4.0, 3.0), Span(3.0, 4.0, 3.5), Span(0.0, 1.0, 0.5)
    both = measure.Events(
        events.moments * 2, ["spins", "hides"], np.repeat(events.queries, 2, 0),
        [Video(Path("a.mp4")), Video(Path("b.mp4"))], events.features * 2, events.embeddings * 2,
    )  # fmt: skip
    spans = {"a head": [wrong, half], "a head, and a closer look, fine": [half, right]}
    outcomes = {title: both.outcomes(of_title) for title, of_title in spans.items()}
    table = measure.table(both, outcomes)
    assert "n = 2 events of 2 videos" in table[0]
    assert table[2].split("|")[2].split()[0] == "50.0"
    assert table[2].rstrip(" |").endswith("-")
    assert "+50.0 [+50.0, +50.0]" in table[3]
    kinds = measure.table_of_kinds(both, outcomes)
    assert kinds[0].startswith("| event, a head ")
    assert [row.split("|")[1].strip() for row in kinds[2:]] == ["spins", "hides"]
