"""Batches of captions and videos, pairs of skeletons, and a torch data set as batches: what is drawn, and from what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmi_tvr.errors import UsageError
from mmi_tvr.train import skeletons as training_skeletons
from mmi_tvr.train.dataloader import DatasetLoader
from mmi_tvr.train.pairs import PairBatches
from mmi_tvr.train.skeletons import SkeletonPairs
from mmi_tvr.types import Sample, Video
from mmi_tvr.utils.progress import Silent

COUNT = 12


class Packs:
    """A model whose batches say what it was given."""

    def batch(self, texts: Any, features: Any, numbers: Any) -> dict[str, Any]:
        return {"texts": list(texts), "features": list(features), "numbers": list(numbers)}


def pairs(usable: Sequence[int] = range(COUNT), groups: Any = None, **options: Any) -> PairBatches:
    samples = [Sample(str(n), Video(Path(str(n))), tuple(f"{n} {word}" for word in "abcd")) for n in range(COUNT)]
    features: Any = [f"features {n}" for n in range(COUNT)]
    return PairBatches(Packs(), samples, features, usable, groups, **{"batch": 4, "seed": 1, **options})


def test_twins_share_a_batch() -> None:
    data = pairs([n for n in range(COUNT) if n not in (6, 7)], [(n, n + 1) for n in range(0, COUNT, 2)])
    batches = [batch for number in range(10) for batch in data.epoch(number)]
    assert min(len(batch["numbers"]) for batch in batches) > 1
    assert all(sample ^ 1 in batch["numbers"] for batch in batches for sample in batch["numbers"])


def test_what_cannot_be_used_is_left_out() -> None:
    groups = [(n, n + 1) for n in range(0, COUNT, 2)]
    usable = [n for n in range(COUNT) if n not in (3, 6, 7)]
    data = pairs(usable, groups)
    captions = set()
    for number in range(40):
        batches = list(data.epoch(number))
        assert list(data.epoch(number, skip=1)) == batches[1:]
        for batch in batches:
            assert batch["ids"] == [str(sample) for sample in batch["numbers"]]
            assert batch["features"] == [f"features {sample}" for sample in batch["numbers"]]
            assert [text.split()[0] for text in batch["texts"]] == batch["ids"]
            assert "skeletons" not in batch
            captions.update(batch["texts"])
        drawn = [sample for batch in batches for sample in batch["numbers"]]
        assert len(drawn) == len(set(drawn)) == 8
        assert set(drawn) <= set(usable)
    assert captions == {f"{n} {word}" for n in usable for word in "abcd"}


def test_without_groups_every_usable_sample_stands_alone() -> None:
    usable = [0, 2, 3, 5, 7, 8, 9, 11]
    batches = list(pairs(usable).epoch(0))
    assert sorted(sample for batch in batches for sample in batch["numbers"]) == usable
    assert [batch["numbers"] for batch in batches] != [batch["numbers"] for batch in pairs(usable).epoch(1)]


def test_groups_without_a_usable_sample_change_no_order() -> None:
    groups = [(n, n + 1) for n in range(0, COUNT, 2)]
    usable = range(4, COUNT)
    orders = [[batch["numbers"] for batch in pairs(usable, some).epoch(0)] for some in (groups, groups[2:])]
    assert orders[0] == orders[1]


def test_the_order_of_the_videos_hangs_on_the_seed() -> None:
    orders = [[batch["numbers"] for batch in pairs(seed=seed).epoch(0)] for seed in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]


def captions_of(data: PairBatches, epoch: int = 0) -> list[tuple[str, ...]]:
    """Which of its captions each video of an epoch has, batch by batch."""
    return [tuple(text.split()[1] for text in batch["texts"]) for batch in data.epoch(epoch)]


def test_captions_hang_on_seed_epoch_batch_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [tuple(range(COUNT))]  # one order of the videos, whatever the seed
    drawn = [captions_of(pairs(groups=groups, batch=COUNT, seed=seed), epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert drawn[0] == captions_of(pairs(groups=groups, batch=COUNT, seed=1), 0)
    first_batch = [batches[0] for batches in drawn]
    assert len(set(first_batch)) == 4
    monkeypatch.setattr("mmi_tvr.utils.distributed.world_size", lambda: 2)
    by_rank = []
    for rank in (0, 1):
        monkeypatch.setattr("mmi_tvr.utils.distributed.rank", lambda rank=rank: rank)
        by_rank += captions_of(pairs(groups=groups, batch=COUNT))
    assert len({*by_rank, first_batch[0][:6]}) == 2  # the same draws in process 0, others in process 1
    batches = captions_of(pairs(groups=groups, batch=6))
    assert batches[0] != batches[1]


def test_the_captions_of_a_batch_are_those_of_its_number() -> None:
    batches = list(pairs(batch=4).epoch(3))
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        dice = np.random.default_rng([1, 3, number, 0])
        expected = [f"{sample} {'abcd'[int(dice.integers(4))]}" for sample in batch["numbers"]]
        assert batch["texts"] == expected


def test_every_pair_comes_once_in_an_epoch_of_all_captions() -> None:
    """Twins come with captions of one place; a video with fewer captions than its twin has fewer pairs."""
    usable = [n for n in range(COUNT) if n not in (6, 7)]
    data = pairs(usable, [(n, n + 1) for n in range(0, COUNT, 2)], captions="all")
    for epoch in (0, 1):
        batches = list(data.epoch(epoch))
        texts = [text for batch in batches for text in batch["texts"]]
        assert sorted(texts) == sorted(f"{n} {word}" for n in usable for word in "abcd")
        assert [text.split()[0] for batch in batches for text in batch["texts"]] == [
            str(number) for batch in batches for number in batch["numbers"]
        ]
        for batch in batches:
            places = {(number, text.split()[1]) for number, text in zip(batch["numbers"], batch["texts"], strict=True)}
            assert {(number ^ 1, place) for number, place in places} == places
        assert [batch["texts"] for batch in data.epoch(epoch, skip=3)] == [batch["texts"] for batch in batches[3:]]
    assert next(data.epoch(0))["texts"] != next(data.epoch(1))["texts"]


def test_processes_have_equal_parts_of_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [batch["numbers"] for batch in pairs(batch=6).epoch(2)]
    monkeypatch.setattr("mmi_tvr.utils.distributed.world_size", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr("mmi_tvr.utils.distributed.rank", lambda rank=rank: rank)
        parts.append([batch["numbers"] for batch in pairs(batch=6).epoch(2)])
    assert [first + second for first, second in zip(*parts, strict=True)] == alone


def skeleton_pairs() -> SkeletonPairs:
    """Texts t0 ... t5; the videos of 0 and 5 answer alike."""
    texts, videos = [f"t{row}" for row in range(6)], ["a", "b", "c", "d", "e", "a"]
    return SkeletonPairs(texts, videos, np.array([[5, 1], [2, 3], [3, 0], [4, 1], [1, 0], [0, 2]]))


def test_captions_and_videos_that_are_no_pairs_come_apart_with_every_batch() -> None:
    paired, unpaired = list(range(8)), list(range(8, COUNT))
    data = pairs(paired, unpaired=unpaired)
    drawn = [(batch, batch["unpaired"]) for number in range(20) for batch in data.epoch(number)]
    texts, videos = [], []
    for batch, apart in drawn:
        assert len(apart["texts"]) == len(apart["numbers"]) == len(batch["ids"])
        assert apart["features"] == [f"features {number}" for number in apart["numbers"]]
        texts += apart["texts"]
        videos += apart["numbers"]
    assert set(texts) == {f"{n} {word}" for n in unpaired for word in "abcd"}
    assert set(videos) == set(unpaired)
    together = sum(text.split()[0] == str(video) for text, video in zip(texts, videos, strict=True))
    assert together < len(texts) / 2
    alone = [batch["texts"] for batch in pairs(paired).epoch(0)]
    assert [batch["texts"] for batch, _ in drawn[: len(alone)]] == alone  # what is drawn for pairs stays
    assert list(data.epoch(3, skip=1)) == list(data.epoch(3))[1:]


def test_half_of_the_skeleton_pairs_match() -> None:
    skeletons = skeleton_pairs()
    drawn = skeletons.draw(1000, np.random.default_rng(0))
    shown: dict[int, set[str]] = {row: set() for row in range(6)}
    matching = 0
    for text, video, match in zip(drawn["text"], drawn["video"], drawn["match"].tolist(), strict=True):
        row = int(text[1:])
        shown[row].add(video)
        assert match == (video == skeletons.videos[row])  # videos that answer alike match
        matching += match
    for row, videos in shown.items():
        assert videos == {skeletons.videos[other] for other in (row, *skeletons.hard_negatives[row])}
    assert 0.53 < matching / 1000 < 0.65  # half, and of the rest one in six, of two rows, by chance
    assert drawn["match"].dtype == torch.bool


def test_skeletons_come_with_the_batch_as_many_as_pairs() -> None:
    skeletons = skeleton_pairs()
    batch = next(pairs(skeletons=skeletons).epoch(0))
    dice = np.random.default_rng([1, 0, 0, 0])
    for _ in range(4):  # the captions are drawn first
        dice.integers(4)
    expected = skeletons.draw(4, dice)
    assert batch["skeletons"]["text"] == expected["text"]
    assert batch["skeletons"]["video"] == expected["video"]


class Items:
    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __getitem__(self, number: int) -> int:
        self.loaded.append(number)
        return number


class Shifted:
    """Batches that are other ones in every epoch."""

    def __init__(self) -> None:
        self.epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        return iter([[self.epoch, 10], [self.epoch, 11], [self.epoch, 12]])


def test_a_data_set_is_loaded_by_the_samplers_epoch_without_what_is_skipped() -> None:
    items = Items()
    loader = DatasetLoader(items, Shifted(), lambda numbers: {"ids": numbers})
    assert [batch["ids"] for batch in loader.epoch(5, skip=1)] == [[5, 11], [5, 12]]
    assert items.loaded == [5, 11, 5, 12]
    assert [batch["ids"] for batch in loader.epoch(6)] == [[6, 10], [6, 11], [6, 12]]


def test_loading_draws_nothing_from_the_runs_generator() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    list(DatasetLoader(Items(), Shifted(), lambda numbers: {"ids": numbers}).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_that_answers_nothing_cannot_compare_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    anything: Any = None
    samples = [Sample(str(n), Video(Path(str(n))), ("a ring",)) for n in range(3)]
    monkeypatch.setattr(training_skeletons.dataset, "video_views", lambda *arguments: [])
    monkeypatch.setattr(training_skeletons.dataset, "describe", lambda *arguments: ([()] * 3, [()] * 3))
    with pytest.raises(UsageError, match=r"of 3 training videos 0 got any, .* leave the term out"):
        training_skeletons.make(
            anything, anything, samples, anything, range(3), sampling="", negatives=2, seed=0, progress=Silent()
        )
