"""Maps from vectors to vectors: what they learn, that quality is of rows left out, and what they read of a video."""

from __future__ import annotations

import numpy as np
import pytest
from test_blocks import LAT, MCSAN, stored, unit

from mmi_tvr.scoring import vector_map
from mmi_tvr.types import Embeddings


def rotation(rng: np.random.Generator, width: int):
    return np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)


@pytest.mark.parametrize("blocks", [(), LAT, MCSAN], ids=["whole", "lat", "mcsan"])
def test_a_linear_map_is_learned_and_blocks_have_unit_length(blocks) -> None:
    rng = np.random.default_rng(0)
    width = sum(block.width for block in blocks) or 8
    inputs = stored(rng, 60, blocks) if blocks else unit(rng, 60, width)
    turned = inputs @ rotation(rng, width)
    vectors = vector_map.of_unit_blocks(turned, [block.width for block in blocks] or [width])
    learned = vector_map.learn(inputs[:50], vectors[:50], blocks)(inputs[50:])
    assert learned.dtype == np.float32
    assert (learned * vectors[50:]).sum(axis=1).min() > (0.999 if not blocks else 0.9)
    start = 0
    for part in [block.width for block in blocks] or [width]:
        lengths = np.linalg.norm(learned[:, start : start + part], axis=1)
        assert lengths == pytest.approx(1 / np.sqrt(max(1, len(blocks))), abs=1e-5)
        start += part


def test_few_rows_are_enough_where_vectors_stay_nearly_as_they_are() -> None:
    rng = np.random.default_rng(2)
    before = unit(rng, 20, 40)
    after = vector_map.of_unit_blocks(before + 0.3 * unit(rng, 20, 40), [40])
    inputs = np.hstack([before, unit(rng, 20, 40)])
    assert vector_map.quality(inputs, after).r1 == 100
    assert vector_map.quality(inputs[:, ::-1], after).r1 < 50  # whose first numbers are others


def test_quality_is_of_rows_that_had_no_part_in_it(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    inputs = unit(rng, 40, 6)
    learned = []
    learn = vector_map.learn
    monkeypatch.setattr(vector_map, "learn", lambda rows, *more: learned.append(rows[:, 0]) or learn(rows, *more))
    good = vector_map.quality(inputs, inputs @ rotation(rng, 6))
    assert [len(rows) for rows in learned] == [32] * 5
    assert [sum(value in rows for rows in learned) for value in inputs[:, 0]] == [4] * 40
    assert (good.n, good.r1, good.high) == (40, 100, 100)
    assert good.recall > 95
    assert vector_map.quality(inputs, unit(rng, 40, 6)).r1 < 20


def test_quality_is_counted_as_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(vector_map, "_CELLS", 100)  # several blocks of rows
    rng = np.random.default_rng(1)
    vectors = unit(rng, 30, 5)
    mapped = vector_map.of_unit_blocks(vectors + 1.5 * unit(rng, 30, 5), [5])
    right = sum(int(np.argmax(vectors @ row)) == number for number, row in enumerate(mapped))
    common = 0
    for query in vectors:
        nearest = [set(np.argsort(-(side @ query))[:10].tolist()) for side in (vectors, mapped)]
        common += len(nearest[0] & nearest[1])
    quality = vector_map.quality_of(mapped, vectors)
    assert (quality.n, quality.r1, quality.recall) == (30, pytest.approx(100 * right / 30), pytest.approx(common / 3))
    assert quality.low < quality.r1 < quality.high


def video(rows, times=None) -> Embeddings:
    moments = np.asarray(rows, np.float32)
    seconds = np.arange(len(moments)) if times is None else np.asarray(times)
    return Embeddings(moments.mean(axis=0), moments, np.stack([seconds, seconds + 1, seconds + 0.5], axis=1))


def test_the_order_of_key_images_is_read() -> None:
    forward, backward = video(np.eye(8)), video(np.eye(8)[::-1])
    both = vector_map.video_inputs([forward, backward])
    assert both.shape == (2, 5 * 8)
    assert np.array_equal(both[0, :8], both[1, :8])
    stretches = both[0, 8:].reshape(4, 8)
    assert stretches.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (np.diff(stretches @ np.arange(8)) > 1).all()
    assert np.allclose(both[1, 8:].reshape(4, 8)[::-1], stretches, atol=1e-5)
    single = vector_map.video_inputs([video(np.eye(8)[:1])])[0].reshape(5, 8)
    assert np.allclose(single, np.eye(8)[0], atol=1e-5)


def test_key_images_are_paired_by_time() -> None:
    other = video(np.eye(3), times=[0.0, 4.0, 9.0])  # seen at 0.5, 4.5 and 9.5 s
    times = np.array([0.0, 2.4, 2.6, 9.0, 99.0])
    assert vector_map.moments_at(times, other).argmax(axis=1).tolist() == [0, 0, 1, 2, 2]
    inputs = vector_map.moment_inputs(other)
    assert inputs.shape == (3, 6)
    assert np.allclose(inputs[:, 3:], other.video)


def test_no_vector_is_left_without_a_direction() -> None:
    assert vector_map.of_unit_blocks(np.zeros((1, 4), np.float32), [2, 2]).tolist() == [
        [pytest.approx(0.5**0.5), 0] * 2
    ]
