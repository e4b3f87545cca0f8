"""Re-ranking in a library: its own questions, what is described once, what goes wrong beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer
from fakes import ClippedScore, FakeModel, colour_video
from skeleton_inputs import pools
from test_rerank import WHAT, WHERE

from mmi_tvr import config, models
from mmi_tvr.errors import ConfigError, MmiTvrError, ServerUnusable, StaleSelection, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.catalogue import Catalogue
from mmi_tvr.library.catalogue_file import CATALOGUE
from mmi_tvr.questions import pool, selection
from mmi_tvr.rerank import with_absolute_pools, with_pools
from mmi_tvr.search import SearchResult
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore
from mmi_tvr.utils.budget import Usage


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("red", "green", "blue"):
        colour_video(folder / f"{name}.mp4", name)
    return folder


@pytest.fixture(scope="module")
def model():
    return models.make(models.section("moving-shapes"), "cpu")


def settings(
    folder: Path, text_questions: Sequence[str], video_questions: Sequence[str], **answerer: Any
) -> config.Settings:
    rerank = {
        "answerer": {"name": "fake", **answerer},
        "lambda_s": 0.3,
        **pools(folder, text_questions, video_questions),
    }
    return config.from_values({"rerank": rerank, "device": "cpu"})


def opened(tmp_path: Path, model: Any, library_settings: config.Settings | None) -> Library:
    return Library(
        tmp_path / "library", model, settings=library_settings, relevance=lambda model, index: ClippedScore()
    )


def test_options_are_those_of_whom_the_library_names(tmp_path: Path, videos: Path, model: Any) -> None:
    """Options without a name meet the library's own answerer and judge before anybody says that they have none such."""
    servers = ["rerank.answerer.name=openai", "rerank.judge.name=openai", "rerank.judge.model=one"]
    with Library(tmp_path / "l", model=model, settings=config.load(None, servers)) as library:
        library.index(videos)
    changes = ["rerank.answerer.concurrency=2", "rerank.judge.samples=3"]
    with Library(tmp_path / "l", model=model, settings=config.load(None, changes)) as library:
        library.index(videos)
    with closing(Catalogue(tmp_path / "l" / CATALOGUE)) as catalogue:
        stored = catalogue.meta("rerank")
    assert stored == {  # without a name: nobody said one
        "answerer": {"name": "openai", "concurrency": 2},
        "judge": {"name": "openai", "model": "one", "samples": 3},
    }
    wrong = config.load(None, ["rerank.judge.checkpoint=x"])  # of another judge than the library's
    with (
        Library(tmp_path / "l", model=model, settings=wrong) as library,
        pytest.raises(ConfigError, match="checkpoint"),
    ):
        library.index(videos)
    nobody = config.load(None, ["rerank.judge.base_url=http://127.0.0.1:1/v1"])  # the default judge has no address
    with Library(tmp_path / "m", model=model, settings=nobody) as library, pytest.raises(UsageError, match="base_url"):
        library.index(videos)


def test_a_library_asks_its_own_questions_in_every_working_folder(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit file goes before the library's own pool, and that before the packaged one; the folder is nothing."""
    (tmp_path / "elsewhere").mkdir()
    pools(tmp_path / "elsewhere" / "prompts", ["Which?"], ["Which?"])
    monkeypatch.chdir(tmp_path / "elsewhere")
    rerank = {"answerer": {"name": "fake"}, "judge": {"name": "fake"}}
    with opened(tmp_path, FakeModel(), config.from_values({"rerank": rerank, "device": "cpu"})) as library:
        library.index(videos)
        packaged = len(selection.selected_questions(pool.load("video")))
        assert library.describe().answers == 3 * packaged
    pools(tmp_path / "library" / "prompts", [WHAT], [WHERE])
    with opened(tmp_path, FakeModel(), None) as library:
        with pytest.warns(StaleSelection, match=r"chosen with another model \(none\)"):
            assert library.describe().answers == 3
        (tmp_path / "library" / "prompts" / "video.yaml").write_bytes(
            (tmp_path / "library" / "prompts" / "text.yaml").read_bytes()
        )
        with pytest.raises(UsageError, match=r"library/prompts/video\.yaml: its questions are about a text"):
            library.search("a red circle", rerank=True)
    monkeypatch.chdir(tmp_path)
    pools(tmp_path / "mine", [WHAT], ["Who?", "When?"])
    mine = {**rerank, "text": "mine/text.yaml", "video": "mine/video.yaml"}
    with opened(tmp_path, FakeModel(), config.from_values({"rerank": mine, "device": "cpu"})) as library:
        library.index(videos)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with opened(tmp_path, FakeModel(), None) as library, pytest.warns(StaleSelection):
        assert library.describe().answers == 6


def test_pools_of_a_folder_go_where_none_are_named(tmp_path: Path) -> None:
    pools(tmp_path, [WHAT], [WHERE])
    (tmp_path / "text.yaml").unlink()
    section = with_pools(config.Section(name="skeleton", depth=3), tmp_path)
    assert section.options == {"depth": 3, "text": "text", "video": str(tmp_path / "video.yaml")}
    named = config.Section(name="skeleton", video="mine.yaml")
    assert with_pools(named, tmp_path).options == {"text": "text", "video": "mine.yaml"}
    other = config.Section(name="another", video="video")
    assert with_pools(other, tmp_path) == with_absolute_pools(other) == other


def test_a_library_reranks_explains_and_remembers_how(tmp_path: Path, videos: Path, model: Any) -> None:
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT, WHERE])) as library:
        library.index(videos)
    with opened(tmp_path, model, None) as library:
        plain = library.search("a red circle", min_relevance=0, rerank=False)
        results = library.search("a red circle", min_relevance=0)  # the library's own settings say so
        assert library.search("a red circle", min_relevance=0, rerank=True).hits == results.hits
    assert [hit.explanation for hit in plain] == [None] * 3
    assert {hit.path: (hit.score, hit.relevance) for hit in plain} == {
        hit.path: (hit.score, hit.relevance) for hit in results
    }
    for hit in results:
        why = hit.explanation
        assert why is not None
        assert why.failure is None
        assert [line.text for line in why.text_skeleton] == ["a red circle"]
        assert [line.question for line in why.video_skeleton] == [WHAT, WHERE]
        assert why.video_skeleton[0].times
        assert all(0 <= time <= 2 for time in why.video_skeleton[0].times)
        assert why.joint_score == pytest.approx(0.6 * hit.score + 0.3 * why.probability)
        assert (hit.scores["joint"], hit.scores["probability"], hit.scores["cosine"]) == (
            why.joint_score, why.probability, why.cosine,
        )  # fmt: skip
    joint = [hit.scores["joint"] for hit in results]
    assert joint == sorted(joint, reverse=True)
    assert {"rerank", "rerank.answer", "rerank.judge"} <= set(results.seconds)
    # One question to the query, two to each video, and one pair: the videos answer alike.
    assert (results.usage.calls, results.usage.cached) == (8, 0)


@pytest.mark.parametrize("server_model", [{}, {"model": "llava"}])
def test_a_server_that_is_away_costs_the_joint_scores(
    tmp_path: Path, videos: Path, server_model: dict[str, str]
) -> None:
    with ChatServer() as gone:
        pass
    away = {"name": "openai", "base_url": gone.url, **server_model}
    rerank = {"answerer": away, "judge": {"name": "fake"}, **pools(tmp_path, [WHAT], [WHAT])}
    with opened(tmp_path, FakeModel(), config.from_values({"rerank": rerank, "device": "cpu"})) as library:
        library.index(videos)
        started = time.monotonic()
        results = library.search("a red circle", min_relevance=0)
        assert time.monotonic() - started < 5
        with pytest.raises(ServerUnusable, match="nobody is there"):
            library.describe()
        plain = library.search("a red circle", min_relevance=0, rerank=False)
    assert [hit.path for hit in results] == [hit.path for hit in plain]
    assert all(hit.explanation and "nobody is there" in (hit.explanation.failure or "") for hit in results)
    assert (results.usage.calls, plain.usage.calls) == (0, 0)


def test_only_the_best_are_looked_at(tmp_path: Path, videos: Path, model: Any) -> None:
    library_settings = settings(tmp_path, [WHAT], [WHAT])
    section = library_settings.rerank.model_copy(update={"depth": 2}) if library_settings.rerank else None
    with opened(tmp_path, model, library_settings.model_copy(update={"rerank": section})) as library:
        library.index(videos)
        plain = library.search("a red circle", min_relevance=0, rerank=False)
        results = library.search("a red circle", min_relevance=0, rerank=True)
    assert [hit.explanation is None for hit in results] == [False, False, True]
    assert results[2].path == plain[2].path


def test_describing_is_done_once_and_resumed(tmp_path: Path, videos: Path, model: Any) -> None:
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT, WHERE])) as library:
        library.index(videos)
        first = library.describe()
        assert (first.videos, first.answers, first.incomplete) == (3, 6, ())
        described = [hit.description for hit in library.search("a circle", min_relevance=0, rerank=False)]
        assert [one is not None and "key images" in one.text for one in described] == [True] * 3
        assert library.describe().answers == 0
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT, "Who is there?"])) as library:
        assert library.describe().answers == 3  # the edited question alone
        library.remove(videos / "red.mp4")
    with SkeletonStore(tmp_path / "library" / SKELETONS_FILE) as store:
        assert store.count() == 6  # of the two that are left, the old question's, too
    with (
        opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT], dies=0, rule="other")) as library,
        pytest.raises(MmiTvrError, match="died after 0"),
    ):
        library.describe()


def test_describing_names_the_videos_that_lack_an_answer(tmp_path: Path, videos: Path, model: Any) -> None:
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT], sees="pictures")) as library:
        library.index(videos)
        (videos / "red.mp4").unlink()
        report = library.describe()
    assert (report.videos, report.answers) == (2, 2)
    assert [path.name for path, _ in report.incomplete] == ["red.mp4"]
    assert report.seconds > 0


def test_features_that_were_lost_are_made_again(tmp_path: Path, videos: Path, model: Any) -> None:
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT])) as library:
        library.index(videos)
        shards = list((tmp_path / "library" / "features").glob("*.safetensors"))
        assert shards
        for shard in shards:
            shard.unlink()
        results = library.search("a red circle", min_relevance=0, rerank=True)
        assert len(results) > 1
        assert all(hit.explanation and hit.explanation.failure is None for hit in results)


def test_a_file_that_is_gone_keeps_its_place(tmp_path: Path, model: Any) -> None:
    files = [colour_video(tmp_path / "videos" / f"{name}.mp4", name) for name in ("red", "green", "blue")]
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT], sees="pictures")) as library:
        library.index(tmp_path / "videos")
        before = library.search("a red circle", min_relevance=0, rerank=False)
        for file in files:
            file.unlink()
        results = library.search("a red circle", min_relevance=0, rerank=True)
    assert [hit.path for hit in results] == [hit.path for hit in before]
    assert all(hit.explanation and str(hit.path.name) in (hit.explanation.failure or "") for hit in results)


def test_the_plain_result_comes_before_the_re_ranked_one(tmp_path: Path, videos: Path, model: Any) -> None:
    """A door shows it meanwhile: it is what a search without re-ranking returns, and comes once a query."""
    first: list[SearchResult] = []
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT])) as library:
        library.index(videos)
        plain = library.search("a red circle", min_relevance=0, rerank=False, preview=first.append)
        assert first == []
        judged = len(library.search("a red circle", min_relevance=0, rerank=True, preview=first.append))
        [preview] = first
        assert preview.hits == plain.hits
        assert (preview.coverage, preview.decision, preview.usage) == (plain.coverage, plain.decision, Usage())
        assert "rerank" not in preview.seconds
        assert judged == len(plain) > 0
        library.search(["a red circle", "green"], rerank=True, preview=first.append)
        assert [result.query.text for result in first] == ["a red circle", "a red circle", "green"]
        with pytest.raises(UsageError, match=r"preview is called with a result, and cannot be 3 \(int\)"):
            library.search("a red circle", preview=3)  # type: ignore[arg-type]


def test_a_preview_that_raises_ends_the_search(tmp_path: Path, videos: Path, model: Any) -> None:
    with opened(tmp_path, model, settings(tmp_path, [WHAT], [WHAT])) as library:
        library.index(videos)
        with pytest.raises(KeyboardInterrupt):
            library.search("red", rerank=True, preview=_interrupt)


def _interrupt(result: SearchResult) -> None:
    raise KeyboardInterrupt


def test_nothing_found_stays_nothing_found(tmp_path: Path, videos: Path, model: Any) -> None:
    class Hopeless:
        def relevance(self, scores: np.ndarray, query: np.ndarray) -> np.ndarray:
            return np.zeros(len(scores))

    library_settings = settings(tmp_path, [WHAT], [WHAT])
    with Library(
        tmp_path / "library", model, settings=library_settings, relevance=lambda model, index: Hopeless()
    ) as library:
        library.index(videos)
        results = library.search("a red circle", rerank=True)
    assert not results.hits
    assert results.closest is not None
    assert results.closest.explanation is not None
