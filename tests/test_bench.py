"""The parts of scripts/bench.py."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import numpy as np
import pytest

from mmi_tvr.types import row_ids, video_of

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench.py"


def test_every_part_can_be_run() -> None:
    parts = runpy.run_path(str(SCRIPT))["part_names"]()
    assert {"gpu", "search"} <= set(parts)
    sources = {part: (SCRIPT.parent / "benches" / f"{part}.py").read_text(encoding="utf-8") for part in parts}
    assert [part for part, source in sources.items() if "\ndef run(" not in source] == []


def test_the_truth_of_a_collection_is_that_of_every_video_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    corpora = importlib.import_module("benches._corpus")
    rng = np.random.default_rng(0)
    moments = {number: int(rng.integers(0, 5)) for number in range(0, 60, 2)}
    ids = np.concatenate([row_ids(number, count) for number, count in moments.items() if count])
    vectors = rng.standard_normal((len(ids), 8)).astype(np.float32)
    ids.tofile(tmp_path / "ids")
    vectors.tofile(tmp_path / "vectors")
    corpus = corpora.Corpus(tmp_path / "vectors", tmp_path / "ids", len(ids), 8, vectors[:7])

    [query] = corpus.queries(1)
    by_both, by_whole = corpus.truth(query[None])

    scores = {}
    for number in set(video_of(ids).tolist()):
        first, *others = vectors[video_of(ids) == number] @ query
        scores[number] = first, 0.5 * first + 0.5 * max(others)
    assert by_whole[0].tolist() == sorted(scores, key=lambda number: -scores[number][0])[:10]
    assert by_both[0].tolist() == sorted(scores, key=lambda number: -scores[number][1])[:10]
    assert corpus.videos().tolist() == sorted(scores)
    assert [len(part.videos()) for part in (corpus, corpus.first(1))] == [len(scores), 1]
