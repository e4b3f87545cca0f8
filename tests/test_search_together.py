"""Queries that are searched together find what each finds alone, and heads of a model read them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeModel, unit

from mmi_tvr.index import open_index
from mmi_tvr.models.mmi.model import Mmi
from mmi_tvr.nn.matching import MatchingHead, matching_inputs
from mmi_tvr.nn.moments import MomentHead, best_spans
from mmi_tvr.nn.options import QueryHeadOptions
from mmi_tvr.nn.query_encoder import encoder_inputs
from mmi_tvr.scoring.relevance import LogisticLaw
from mmi_tvr.search import ResultOptions, Searcher, SearchResult, VideoEntry
from mmi_tvr.search import searcher as searcher_module
from mmi_tvr.types import Embeddings, FloatArray, MatchLaw, Query, ScoreLaw, Scoring, Span, row_ids

SENTENCES = ("red", "blue", "green", "yellow without blue", "a thing", "red", "white", "magenta")
LENGTHS = (1, 2, 5, 9, 14, 40)  # key images of a video


class HeadedModel(FakeModel):
    """Knows colours, and has heads of random weights, which read batches as the package's model has them read; `reads`
    of heads are noted in `calls`."""

    options = SimpleNamespace(moment_head=True, matching_head=True)

    def __init__(self) -> None:
        super().__init__(scoring=Scoring(moment_weight=0.5, match_law=MatchLaw(0.0, 4.0, 0.3)))
        torch.manual_seed(3)
        sizes = QueryHeadOptions(width=16, layers=2, heads=2)
        self._moments, self._matching = MomentHead(4, sizes).eval(), MatchingHead(4, sizes).eval()
        self.network: Any = SimpleNamespace(locate=self._spans, match=self._logits)
        self.calls: list[tuple[str, int]] = []

    def _for_queries(self) -> Any:
        return self.network

    def locate(self, queries: FloatArray, videos: Sequence[Embeddings]) -> list[Span] | None:
        self.calls.append(("locate", len(videos)))
        return Mmi.locate(self, queries, videos)  # type: ignore[arg-type]

    def match(self, queries: FloatArray, videos: Sequence[Embeddings]) -> FloatArray | None:
        self.calls.append(("match", len(videos)))
        return Mmi.match(self, queries, videos)  # type: ignore[arg-type]

    def _spans(self, queries: FloatArray, videos: Sequence[Embeddings]) -> torch.Tensor:
        inputs = encoder_inputs(queries, videos)
        return best_spans(self._moments(**inputs), inputs["segments"], inputs["mask"])

    def _logits(self, queries: FloatArray, videos: Sequence[Embeddings]) -> torch.Tensor:
        logits: torch.Tensor = self._matching(**matching_inputs(queries, videos))
        return logits


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """Videos of very different lengths, around the vectors of the sentences."""
    model, random = HeadedModel(), np.random.default_rng(5)
    centres = model.embed_queries([Query(sentence) for sentence in SENTENCES])
    index = open_index("flat", path=tmp_path_factory.mktemp("together"), dim=centres.shape[1], fingerprint="f")
    segments: dict[int, FloatArray] = {}
    for number in range(1, 41):
        count = LENGTHS[number % len(LENGTHS)]
        vectors = centres[number % len(centres)] + random.standard_normal((count + 1, centres.shape[1])) * 0.4
        edges = np.sort(random.uniform(0, 60, count + 1))
        segments[number] = np.stack([edges[:-1], edges[1:], (edges[:-1] + edges[1:]) / 2], axis=1)
        index.upsert(row_ids(number, count), unit(vectors))
    index.flush()

    def lookup(numbers: Iterable[int]) -> Mapping[int, VideoEntry]:
        return {number: VideoEntry((Path(f"{number}.mp4"),), segments[number]) for number in numbers}

    return Searcher(model, index, lookup, LogisticLaw(ScoreLaw(0.9, 10.0), 40))


def assert_same(together: SearchResult, alone: SearchResult) -> None:
    """Times are single-precision seconds of up to a minute: equal to a tenth of a millisecond."""
    assert together.decision == alone.decision
    assert (together.query, together.candidates) == (alone.query, alone.candidates)
    assert together.seconds.keys() == alone.seconds.keys()
    shown = [[*one.hits, *([one.closest] if one.closest else [])] for one in (together, alone)]
    for hit, expected in zip(*shown, strict=True):
        assert hit.id == expected.id
        numbers = [[one.score, one.relevance, *one.scores.values()] for one in (hit, expected)]
        times = [[one.start, one.end, one.time] for one in (hit, expected)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)
        assert times[0] == pytest.approx(times[1], abs=1e-4)


@pytest.mark.parametrize("min_relevance", [None, 0.0, 0.3])
def test_what_is_found_is_the_same(searcher: Searcher, min_relevance: float | None) -> None:
    results = searcher.search_all(SENTENCES, ResultOptions(7, min_relevance))
    assert any(result.is_found for result in results)
    for sentence, result in zip(SENTENCES, results, strict=True):
        assert_same(result, searcher.search(sentence, top=7, min_relevance=min_relevance))


def test_the_heads_decide_differently_and_see_different_videos(searcher: Searcher) -> None:
    """So that mixed-up rows show in the test above."""
    results = searcher.search_all(SENTENCES)
    assert {result.is_found for result in results} == {True, False}
    spans = {(hit.start, hit.end) for hit in searcher.search_all(SENTENCES, ResultOptions(min_relevance=0))[0].hits}
    assert len(spans) == 5


def test_the_text_tower_reads_all_queries_in_one_call_and_what_they_exclude_in_another(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    embed = searcher.model.embed_queries

    def counted(queries: Sequence[Query]) -> FloatArray:
        calls.append([query.text for query in queries])
        return embed(queries)

    monkeypatch.setattr(searcher.model, "embed_queries", counted)
    searcher.search_all(SENTENCES)
    looked_for, excluded = calls
    assert len(looked_for) == len(SENTENCES)
    assert excluded == ["blue"]


def test_heads_read_all_queries_at_once_and_few_vectors_are_held(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = searcher.model
    model.calls.clear()
    expected = searcher.search_all(SENTENCES, ResultOptions(3, 0))
    assert model.calls == [("match", len(SENTENCES)), ("locate", 3 * len(SENTENCES))]
    model.calls.clear()
    monkeypatch.setattr(searcher_module, "_RANKED", 3 * searcher_module.MIN_CANDIDATES)
    for one, other in zip(searcher.search_all(SENTENCES, ResultOptions(3, 0)), expected, strict=True):
        assert_same(one, other)
    assert [count for head, count in model.calls if head == "match"] == [3, 3, 2]
