"""Batches with twins: nothing lost, nothing twice, twins together, the same for everybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmi_tvr.errors import UsageError
from mmi_tvr.train.sampler import TwinSampler


def grouped(sizes):
    """Groups of these sizes over the numbers 0, 1, 2 ..."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [tuple(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


def unbroken(groups, batches):
    """How many groups lie in one batch, all of them."""
    batch_of = {number: position for position, batch in enumerate(batches) for number in batch}
    homes = [{batch_of.get(number) for number in group} for group in groups]
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


def reference(groups, batch_size, order):
    """The rule of the sampler, one group at a time: the longest waiting group that fits goes first; when a whole batch
    is waiting and nothing fits, and at the end, the longest waiting group is cut."""
    row, waiting, coming = [], [], list(order)
    while waiting or coming:
        room = batch_size - len(row) % batch_size
        fits = [group for group in waiting if len(group) <= room]
        if fits:
            waiting.remove(fits[0])
            row += fits[0]
        elif coming and sum(len(group) for group in waiting) < batch_size:
            waiting.append(groups[coming.pop(0)])
        else:
            group = waiting.pop(0)
            row += group[:room]
            waiting = [group[room:], *waiting] if group[room:] else waiting
    return row


@given(SIZES, st.integers(1, 12), st.integers(0, 3), st.integers(0, 3))
def test_batches_follow_the_rule(sizes, batch_size, seed, epoch):
    groups = grouped(sizes)
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(len(groups))
    row = reference(groups, batch_size, np.argsort(bits, kind="stable"))
    batches = list(TwinSampler(groups, batch_size, seed).batches(epoch))
    assert batches == [row[first : first + batch_size] for first in range(0, len(row) - batch_size + 1, batch_size)]


@given(SIZES, st.integers(6, 12))
def test_at_most_one_group_is_cut_for_each_batch(sizes, batch_size):
    groups = grouped(sizes)
    batches = list(TwinSampler(groups, batch_size).batches(0))
    left_over = {number for group in groups for number in group}.difference(*map(set, batches))
    assert unbroken(groups, [*batches, left_over]) >= len(groups) - len(batches)


def test_pairs_and_lone_samples_are_never_cut_in_batches_that_can_hold_them():
    groups = grouped([2, 1, 1] * 304 + [2] * 304)
    for epoch in range(5):
        batches = list(TwinSampler(groups, 32).batches(epoch))
        assert unbroken(groups, batches) == len(groups)


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
    assert unbroken(groups, [batch for part in parts for batch in part]) == 48


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
        ({"batch_size": 8, "rank": -1, "world": 2}, "rank -1 does not exist among 2"),
        ({"batch_size": 21}, "20 samples: too few for one batch of 21"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        TwinSampler(grouped([2] * 10), **options)


def test_one_full_batch_is_enough():
    sampler = TwinSampler(grouped([2] * 10), 20)
    assert len(sampler) == len(list(sampler)) == 1


def test_iterating_begins_with_epoch_zero():
    sampler = TwinSampler(grouped([2] * 10), 4, seed=1)
    assert list(sampler) == list(sampler.batches(0)) != list(sampler.batches(1))
