"""What a search makes of a matching head: it decides whether anything is found, and changes nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ClippedScore, FakeModel, clipped, colour_video
from test_matching import Knowing, features

from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import nothing_found, score_laws
from mmi_tvr.evaluation.query_sets import CAPTIONS, QuerySet
from mmi_tvr.index import open_index
from mmi_tvr.library import Library
from mmi_tvr.scoring import matching
from mmi_tvr.scoring.blocks import reweighted
from mmi_tvr.scoring.decision import decide
from mmi_tvr.search import Searcher, SearchResult, VideoEntry
from mmi_tvr.train import matching as training
from mmi_tvr.types import (
    Embeddings,
    Explanation,
    FloatArray,
    MatchLaw,
    Query,
    Scoring,
    row_ids,
)
from mmi_tvr.utils.wording import model_title


@pytest.fixture
def collection() -> dict[int, Embeddings]:
    return {1 + number: video for number, video in enumerate(FakeModel().embed_videos(features()))}


@pytest.fixture
def index(tmp_path: Path, collection: dict[int, Embeddings]) -> Iterator[Any]:
    with closing(open_index("flat", path=tmp_path, dim=4, fingerprint="f")) as opened:
        for number, video in collection.items():
            opened.upsert(row_ids(number, len(video.moments)), np.vstack([video.video[None], video.moments]))
        opened.flush()
        yield opened


def search(model: FakeModel, index: Any, collection: dict[int, Embeddings], **options: Any) -> SearchResult:
    entries = {number: VideoEntry((Path(f"{number}.mp4"),), video.segments) for number, video in collection.items()}
    searcher = Searcher(model, index, lambda numbers: {n: entries[n] for n in numbers if n in entries}, ClippedScore())
    return searcher.search("red", **options)


class Backwards:
    """Re-ranks so that the last of three comes first."""

    depth, seconds = 3, {}

    def rerank(self, query: Query, candidates: Any, cosines: Any) -> list[Explanation]:
        return [Explanation((), (), 0.5, float(cosine), float(place)) for place, cosine in enumerate(cosines)]


@pytest.mark.parametrize(
    ("answer", "least", "is_found", "hits", "reason"),
    [
        (0.1, None, True, 5, "the best hit matches the query by 0.52, and knowing is to be believed from 0.50 on"),
        (-0.1, None, False, 0, "the best hit matches the query by 0.48, and knowing is to be believed from 0.50 on"),
        (-9.0, 0, False, 5, "the best hit matches the query by 0.00, and knowing is to be believed from 0.50 on"),
        (-9.0, 0.01, True, 3, "is asked for"),
        (9.0, 1.0, False, 0, "and 1.00 is asked for"),
    ],
)
@pytest.mark.parametrize("reranker", [None, Backwards()], ids=["plain", "re-ranked"])
def test_where_there_is_a_head_it_decides_and_changes_nothing_else(
    index, collection, answer, least, is_found, hits, reason, reranker
) -> None:
    model = Knowing(answer)
    result = search(model, index, collection, min_relevance=least, reranker=reranker)
    assert model.pairs == 1, "the best hit alone"
    assert (result.is_found, len(result)) == (is_found, hits)
    assert result.decision.reason.endswith(reason)
    assert result.seconds["match"] > 0
    plain = search(FakeModel(), index, collection, min_relevance=0, reranker=reranker)
    assert "match" not in plain.seconds
    if hits:
        assert result.hits == plain.hits[:hits]


def test_the_score_may_count_beside_the_head(index, collection) -> None:
    model = Knowing(-2.0)
    score = search(model, index, collection, min_relevance=0)[0].score
    for weight, expected in ((1.9 / score, False), (2.1 / score, True)):
        model.scoring = replace(model.scoring, match_law=MatchLaw(0.0, 1.0, weight))
        assert search(model, index, collection).is_found == expected
    model.scoring = replace(model.scoring, match_law=MatchLaw(-1.9, 1.0))
    assert not search(model, index, collection).is_found
    model.scoring = replace(model.scoring, match_law=MatchLaw(-2.1, 20.0))
    assert "matches the query by 0.88" in search(model, index, collection).decision.reason


def test_the_head_judges_the_best_hit_of_the_search(index, collection) -> None:
    shown: list[Embeddings] = []

    class Looking(Knowing):
        def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray:
            shown.extend(videos)
            return super().match(queries, videos)

    result = search(Looking(1.0), index, collection, reranker=Backwards())
    best = max(result.hits, key=lambda hit: hit.score)
    np.testing.assert_array_equal(shown[0].video, collection[int(best.path.stem)].video)
    assert result.hits[0] != best


def test_without_a_head_or_without_its_law_the_score_decides(index, collection) -> None:
    model = Knowing(-9.0)
    model.scoring = Scoring(moment_weight=0.5)
    assert not matching.decides(model)
    assert "has a relevance of" in search(model, index, collection).decision.reason
    headless = FakeModel(scoring=Scoring(match_law=MatchLaw(0.0, 1.0)))
    assert not matching.decides(headless)
    with pytest.raises(UsageError, match="fake has no head that matches"):
        matching.match(headless, np.ones((1, 4)), [collection[1]])


def test_a_calibration_of_the_callers_decides_in_the_place_of_the_head(tmp_path: Path) -> None:
    colour_video(tmp_path / "videos" / "red.mp4", "red", seconds=1)
    for relevance, is_found, clause in ((None, False, "matches the query by"), (clipped, True, "has a relevance of")):
        with Library(tmp_path / "library", model=Knowing(-9.0), relevance=relevance) as library:
            library.index(tmp_path / "videos")
            result = library.search("red")
        assert result.is_found == is_found
        assert f"the best hit {clause}" in result.decision.reason


def test_a_match_of_exactly_one_half_is_one() -> None:
    assert decide(0.1, None, "m", 0.9, 0.5).is_found
    assert not decide(0.95, None, "m", 0.9, 0.4999).is_found
    assert decide(None, None, "m", 0.9, None).reason == "there was no video to search among"


@pytest.mark.parametrize("size", [3, 6, 12])
def test_trials_ask_the_head_about_best_hits_as_a_search_does(size: int) -> None:
    dice = np.random.default_rng(0)
    vectors = dice.standard_normal((12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    videos = [Embeddings(vector, vector[None], np.zeros((1, 3))) for vector in vectors]
    captions = (vectors + 0.4 * dice.standard_normal(vectors.shape)).astype(np.float32)
    sentences = dice.standard_normal((3, 4)).astype(np.float32)

    class Judging(Knowing):
        def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray:
            return np.array([verdict(query, video.video) for query, video in zip(queries, videos, strict=True)])

    def verdict(query: FloatArray, video: FloatArray) -> float:
        return float(np.sin(9 * query @ video) + query[0])

    model = Judging(0.0)
    model.scoring = replace(model.scoring, moment_weight=0.0)
    queries = QuerySet(captions, np.arange(12), {"sentences": sentences})
    raw = partial(score_laws.margins, score_laws.RAW)
    trials = nothing_found.trials(model, videos, queries, size, calibrate=raw)
    present, absent, others = [], [], []
    for part, outside in nothing_found.collections(12, size, 0):
        for number, caption in enumerate(captions):
            order = sorted(part, key=lambda video: -float(caption @ vectors[video]))
            if number in part and order[0] == number:
                present.append(verdict(caption, vectors[number]))
            if number in (outside if len(outside) else part):
                absent.append(verdict(caption, vectors[next(video for video in order if video != number)]))
        best = [part[int(np.argmax(vectors[part] @ sentence))] for sentence in sentences]
        others += [verdict(sentence, vectors[video]) for sentence, video in zip(sentences, best, strict=True)]
    assert sorted(trials.present) == pytest.approx(sorted(present), abs=1e-5)
    assert sorted(trials.absent[CAPTIONS]) == pytest.approx(sorted(absent), abs=1e-5)
    assert sorted(trials.absent["sentences"]) == pytest.approx(sorted(others), abs=1e-5)
    law = matching.calibrate(model, training.Gallery.pack(videos), size)
    assert law.relevance(np.array([0.0]), captions[0])[0] == 0.5


class Trained(Knowing):
    """A model that comes from trained weights, which is what its user calls it."""

    weights = "moving-shapes"


def test_sentences_name_a_model_as_its_user_does(index, collection) -> None:
    assert (model_title(Trained(1.0)), model_title(FakeModel())) == ("moving-shapes", "fake")
    untrained = Trained(1.0)
    untrained.weights = None
    assert model_title(untrained) == "knowing"
    result = search(Trained(1.0), index, collection)
    assert "moving-shapes is to be believed" in result.decision.reason
    assert result.model == "knowing", "what programs read stays"
    silent = Trained(1.0)
    silent.reads = frozenset()
    with pytest.raises(UsageError, match=r"^moving-shapes reads no sentences"):
        search(silent, index, collection)
    with pytest.raises(UsageError, match=r"^moving-shapes has no levels"):
        reweighted(silent, {"hue": 2.0})
