"""Frozen layers divided among two processes: the same gradients, half of the memory; where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_llava
import torch
import train_toy
from torch import Tensor, nn

from mmi_tvr.encoders import llava
from mmi_tvr.encoders.options import LlavaOptions, LoraOptions
from mmi_tvr.errors import UsageError
from mmi_tvr.train.options import TrainOptions
from mmi_tvr.train.sharding import shard_frozen_layers
from mmi_tvr.utils import distributed

TEXTS = (["a red circle moves left", "a blue square"], ["a circle grows", "a red square moves right then grows"])


class Network(nn.Module):
    """A language model as a retrieval model holds it."""

    def __init__(self, checkpoint: Path, bits: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        options = LlavaOptions(
            checkpoint=str(checkpoint), bits=bits, checkpointing=True, lora=LoraOptions(rank=2, dropout=0.1)
        )
        self.llava = llava.load(options, device="cpu", trainable=True)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if "lora_B" in name:
                    weight.normal_(generator=train_toy.seeded(1))

    def language_layers(self):
        return self.llava.layers()


def gradient(network: Network) -> tuple[Tensor, Tensor]:
    """What two passes and one way back give, with dropout; and the states without gradients."""
    texts = TEXTS[distributed.rank()]
    torch.manual_seed(7)
    network.train()
    states = network.llava(network.llava.inputs(texts)) + network.llava(network.llava.inputs(texts[::-1]))
    states.square().sum().backward()
    with torch.inference_mode():
        evaluated = network.eval().llava.encode(texts)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.cat([weight.grad.flatten() for weight in trained if weight.grad is not None]), evaluated


def frozen_numbers(network: Network) -> int:
    """How many numbers of frozen layers this process holds."""
    return sum(
        (weight.to_local() if hasattr(weight, "to_local") else weight).numel()
        for layer in network.language_layers()[1]
        for weight in layer.parameters()
        if not weight.requires_grad
    )


class ToyLayers(train_toy.ToyModel):
    """The toy with two frozen layers in place of one, which can be divided."""

    def __init__(self, dropout: float = 0.3, seed: int = 0) -> None:
        super().__init__(dropout, seed)
        torch.manual_seed(100)
        layers = nn.Linear(train_toy.WIDTH, 12), nn.Linear(12, 16)
        self.frozen = nn.Sequential(*layers).requires_grad_(False)  # type: ignore[assignment]

    def language_layers(self):
        return self.frozen, list(self.frozen)


def assert_divided_changes_nothing(checkpoint: Path, folder: Path) -> None:
    """Neither gradients nor a run that is saved and goes on."""
    assert_equal_when_sharded(checkpoint)
    for name, changes in (("whole", {}), ("divided", {"shard": True})):
        train_toy.trainer(folder / name, changes, model=ToyLayers).run(until=5)
        assert train_toy.trainer(folder / name, changes, model=ToyLayers, resume=True).run().finished
    assert train_toy.contents(folder / "whole") == train_toy.contents(folder / "divided")
    assert train_toy.position(folder / "divided")[0] == 10
    moved = train_toy.trainer(folder / "whole", {"shard": True}, model=ToyLayers, resume=True)  # of before, now divided
    assert moved.run().step == 10


def assert_equal_when_sharded(checkpoint: Path) -> None:
    whole, divided = Network(checkpoint), Network(checkpoint)
    shard_frozen_layers(divided, torch.device("cpu"))
    assert frozen_numbers(divided) <= 0.51 * frozen_numbers(whole)
    for before, after in zip(gradient(whole), gradient(divided), strict=True):
        assert before.abs().sum() > 0
        assert torch.equal(before, after)


@pytest.mark.slow
def test_shares_of_two_processes_give_the_same_gradients_and_the_same_run(tmp_path: Path) -> None:
    train_toy.run_in_two_processes(assert_divided_changes_nothing, tiny_llava.make(tmp_path / "llava"), tmp_path)


def test_what_cannot_be_divided_is_said(tmp_path: Path) -> None:
    device = torch.device("cpu")
    with pytest.raises(UsageError, match=r"train\.shard: this model has no language model"):
        shard_frozen_layers(train_toy.ToyModel(), device)
    checkpoint = tiny_llava.make(tmp_path)
    with pytest.raises(UsageError, match=r"4 or 8 bits cannot be divided"):
        shard_frozen_layers(Network(checkpoint, bits=4), device)
    alone = Network(checkpoint)
    before = frozen_numbers(alone)
    shard_frozen_layers(alone, device)  # one process has all
    assert frozen_numbers(alone) == before


def test_heads_on_vectors_are_not_divided() -> None:
    stages = [{"name": "a", "steps": 1, "weights": {"moments": 1.0}}]
    with pytest.raises(ValueError, match=r"shard: not where moments is trained"):
        TrainOptions(stages=stages, shard=True)
