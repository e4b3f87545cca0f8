"""Batches with twins: nothing lost, nothing twice, twins together, the same for everybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.train.sampler import TwinSampler


def grouped(sizes):
    """Groups of these sizes over the numbers 0, 1, 2 ..."""
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [tuple(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


def whole(groups, batches):
    """How many groups lie in one batch, all of them."""
    where = {number: place for place, batch in enumerate(batches) for number in batch}
    homes = [{where.get(number) for number in group} for group in groups]
    return sum(len(home) == 1 and None not in home for home in homes)


SIZES = st.lists(st.integers(1, 6), min_size=12, max_size=60)


@given(SIZES, st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_is_full_batches_of_different_samples(sizes, batch_size, epoch):
    sampler = TwinSampler(grouped(sizes), batch_size)
    batches = list(sampler.batches(epoch))
    assert [len(batch) for batch in batches] == [batch_size] * len(sampler)
    flat = [number for batch in batches for number in batch]
    assert len(set(flat)) == len(flat) == sum(sizes) // batch_size * batch_size
    assert set(flat) <= set(range(sum(sizes)))


@given(SIZES, st.integers(6, 12))
def test_at_most_one_group_is_cut_for_each_batch(sizes, batch_size):
    groups = grouped(sizes)
    batches = list(TwinSampler(groups, batch_size).batches(0))
    left_over = {number for group in groups for number in group}.difference(*map(set, batches))
    assert whole(groups, [*batches, left_over]) >= len(groups) - len(batches)


def test_pairs_and_lone_samples_are_never_cut_in_batches_that_can_hold_them():
    groups = grouped([2, 1, 1] * 304 + [2] * 304)
    for epoch in range(5):
        batches = list(TwinSampler(groups, 32).batches(epoch))
        assert whole(groups, batches) == len(groups)


def test_order_hangs_on_seed_and_epoch_alone():
    groups = grouped([2] * 100)

    def first(seed, epoch):
        return next(TwinSampler(groups, 8, seed).batches(epoch))

    assert first(1, 1) == first(1, 1)
    assert len({tuple(first(seed, epoch)) for seed in range(4) for epoch in range(4)}) == 16
    assert first(0, 0) == [22, 23, 184, 185, 6, 7, 40, 41]  # on every machine


def test_processes_share_every_batch_and_keep_pairs_together():
    groups = grouped([2] * 50)
    alone = list(TwinSampler(groups, 12, seed=3).batches(2))
    parts = [list(TwinSampler(groups, 12, seed=3, rank=rank, world=3).batches(2)) for rank in range(3)]
    assert [[number for part in together for number in part] for together in zip(*parts, strict=True)] == alone
    assert whole(groups, [batch for part in parts for batch in part]) == 48


def test_resuming_goes_on_where_it_stopped():
    sampler = TwinSampler(grouped([2, 1] * 40), 10, seed=5)
    assert list(sampler.batches(1, start=4)) == list(sampler.batches(1))[4:]
    assert list(sampler.batches(1, start=len(sampler))) == []
    sampler.set_epoch(1)
    assert list(sampler) == list(sampler.batches(1)) != list(sampler.batches(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch of 0"),
        ({"batch_size": 9, "world": 2}, "batch of 9 cannot be shared equally by 2"),
        ({"batch_size": 8, "rank": 2, "world": 2}, "rank 2 does not exist among 2"),
        ({"batch_size": 21}, "20 samples do not fill one batch of 21"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        TwinSampler(grouped([2] * 10), **options)
