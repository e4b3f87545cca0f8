"""The train room: gradients across processes and in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
import train_toy
from torch import Tensor, nn

from mmi_tvr.errors import MmiTvrError, UsageError
from mmi_tvr.nn import losses
from mmi_tvr.nn.distillation import distillation
from mmi_tvr.train import rng
from mmi_tvr.train.bank import Bank
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.protocol import chunks
from mmi_tvr.utils import distributed

pytestmark = pytest.mark.usefixtures("one_process")


class Linears(nn.Module):
    """Text and video side for the gradient checks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text, self.video = nn.Linear(6, 4), nn.Linear(6, 4)
        self.temperature = losses.Temperature()

    def forward(self, text: Tensor, video: Tensor, groups: Tensor, lists: Tensor) -> Tensor:
        states, keys = self.text(video).view(-1, 1, 4), self.video(video).view(-1, 1, 4)
        every = torch.ones(len(text), 1, dtype=torch.bool)
        masked = losses.masked_prediction(states, keys, groups[:, None] % 2 == 0, every, self.temperature())
        teacher = video[:, 0]
        text, video = self.text(text), self.video(video)
        over_batch = [
            losses.info_nce(text, video, self.temperature(), groups),
            losses.ranking(text, video, 0.4, groups, true_of=train_toy.next_is_true, mean_share=0.3),
            losses.focal(video, text > 0.3),
            losses.kl(text, video, "batch"),
            losses.kl(text, video, "symmetric"),
            distillation(text, video, self.temperature(), teacher, lists),
        ]
        return masked + torch.stack(over_batch).sum()


def assert_full_batch_gradient(
    expected: dict[str, Tensor], text: Tensor, video: Tensor, groups: Tensor, lists: Tensor
) -> None:
    rows = [slice(0, 3), slice(3, 8)][distributed.rank()]  # batches of different sizes
    model = Linears()
    value = model(text[rows], video[rows], groups[rows], lists[rows])
    value.backward()
    distributed.average_gradients(list(model.parameters()))
    wrapped = Linears()
    wrapper = nn.parallel.DistributedDataParallel(wrapped)  # torch's own averaging agrees
    wrapper(text[rows], video[rows], groups[rows], lists[rows]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(wrapped.get_parameter(name).grad, expected[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(distributed.all_reduce_sum(value) / 2, expected["loss"])
    unused, used = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    used.grad = torch.ones(2) if distributed.rank() else None
    distributed.average_gradients([unused, used])
    assert unused.grad is None
    assert used.grad.tolist() == [0.5, 0.5]


def test_two_processes_have_the_full_batchs_gradient() -> None:
    generator = torch.Generator().manual_seed(5)
    text, video = torch.randn(2, 8, 6, generator=generator)
    groups = torch.tensor([0, 1, 2, 0, 3, 4, 5, 1])
    lists = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    model = Linears()
    value = model(text, video, groups, lists)
    value.backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    train_toy.run_in_two_processes(
        assert_full_batch_gradient, {**expected, "loss": value.detach()}, text, video, groups, lists
    )


def assert_none_waits_for_the_first() -> None:
    assert distributed.from_first(lambda: distributed.rank() + 7) == 7

    def fail() -> None:
        raise UsageError("no answerer")

    with pytest.raises(MmiTvrError, match="no answerer") as raised:
        distributed.from_first(fail)
    assert isinstance(raised.value, UsageError) == (distributed.rank() == 0)
    assert distributed.from_first(lambda: "on") == "on"


def test_where_the_first_process_fails_the_others_end_too() -> None:
    train_toy.run_in_two_processes(assert_none_waits_for_the_first)


def embedded(model: train_toy.ToyModel, piece: Mapping[str, Any], taught: bool) -> tuple[Tensor, ...]:
    """What a piece of a batch is embedded as; `taught`: with the rows that the term `distill` reads."""
    if not taught:
        return model.embed_batch(piece)
    rows = piece["distill"]
    query, candidate = model.embed_batch(rows)[:2]
    return *model.embed_batch(piece), query, candidate, rows["teacher"], rows["lists"]


def batch_of_process() -> dict[str, Any]:
    """This process's share of the pairs, with rows that the term `distill` reads."""
    batch = train_toy.collate(
        [train_toy.ToyPairs()[i] for i in range(distributed.rank(), 22, distributed.world_size())]
    )
    taught = range(1 + distributed.rank(), 1 + distributed.rank() + 2 * len(batch["ids"]), 2)
    batch["distill"] = {
        **train_toy.collate([train_toy.ToyPairs()[i] for i in taught]),
        "teacher": torch.randn(len(batch["ids"]), generator=train_toy.seeded(4)),
        "lists": torch.arange(len(batch["ids"])) // 3,
    }
    return batch


def plain_terms(
    model: train_toy.ToyModel, temperature: Tensor, parts: Sequence[tuple[Tensor, ...]], bank: Bank | None
) -> dict[str, Tensor]:
    """The terms over the whole batch, from all its pieces; without a bank the contrastive one alone."""
    text, video, groups, *further = (torch.cat(column) for column in zip(*parts, strict=True))
    if bank is None:
        return {"contrastive": losses.info_nce(text, video, temperature, groups)}
    labels, query, candidate, teacher, lists = further
    return {
        "contrastive": losses.info_nce(text, video, temperature, groups, similarity=model.similarity, bank=bank.pairs),
        "ranking": losses.ranking(
            text, video, 0.4, groups, similarity=model.similarity, true_of=train_toy.next_is_true, mean_share=0.3
        ),
        "attributes": losses.focal(model.head(video), labels),
        "kl": losses.kl(text, video, "batch"),
        "distill": distillation(query, candidate, temperature, teacher, lists, similarity=model.similarity),
    }


def assert_cached_gradient(dropout: float, bf16: bool = False, wholes: bool = False) -> None:
    """The cached gradient is that of the same chunks held in memory together; `wholes`: of all terms over the batch, by
    another similarity, with a bank."""
    batch = batch_of_process()
    weights = {"contrastive": 0.6} | ({"ranking": 0.5, "attributes": 0.7, "kl": 2.0, "distill": 3.0} if wholes else {})
    bank = Bank(5) if wholes else None
    if bank is not None:
        bank.extend(
            losses.EmbeddedPairs(*torch.randn(2, 4, 8, generator=train_toy.seeded(3)), torch.tensor([1, 2, 50, 51]))
        )
    gradients: list[dict[str, Tensor]] = []
    for chunk in (4, None):
        torch.manual_seed(2)
        model = train_toy.ToyLevels(dropout) if wholes else train_toy.ToyModel(dropout)
        temperature = losses.Temperature()
        make = Objective(
            model, temperature, chunk=chunk, bf16=bf16, device=torch.device("cpu"), margin=0.4,
            bank=bank, describes=train_toy.describes,
        )  # fmt: skip
        rng.seed(11 + distributed.rank())
        if chunk:
            terms = make.backward(batch, weights, mean_share=0.3).terms
            after = torch.rand(1)
        else:  # the reference: the same pieces and draws, all their graphs in memory
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                parts = [embedded(model, piece, wholes) for piece in chunks(batch, 4)]
            assert torch.equal(torch.rand(1), after)  # and the generators end where they would have
            expected = plain_terms(model, temperature(), parts, bank)
            torch.testing.assert_close(terms, {name: term.detach() for name, term in expected.items()})
            losses.weighted_sum(expected, weights).backward()
        parameters = {**dict(model.named_parameters()), "scale": temperature.log_scale}
        distributed.average_gradients([p for p in parameters.values() if p.requires_grad])
        gradients.append({name: p.grad for name, p in parameters.items() if p.grad is not None})
    cached, plain = gradients
    assert {"scale", "text.0.weight", "video.3.bias"} <= cached.keys()
    assert not wholes or {"bias", "mix", "head.weight"} <= cached.keys()
    assert_same_gradient(cached, plain, 2e-2 if bf16 else 1e-5)


def assert_same_gradient(cached: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float) -> None:
    assert cached.keys() == plain.keys()
    for name, expected in plain.items():
        largest = expected.abs().max()
        assert largest > 1e-4, name
        worst = float((cached[name] - expected).abs().max() / largest.clamp(min=1e-3))
        assert worst < tolerance, (name, worst)


def assert_cached_gradients() -> None:
    assert_cached_gradient(dropout=0.0)
    assert_cached_gradient(dropout=0.3)
    assert_cached_gradient(dropout=0.3, wholes=True)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cached_gradient_of_all_terms_over_the_batch_is_the_plain_one(dropout: float) -> None:
    assert_cached_gradient(dropout, wholes=True)


@pytest.mark.parametrize(("dropout", "bf16"), [(0.0, False), (0.3, False), (0.3, True)])
def test_cached_gradient_is_the_plain_one(dropout: float, bf16: bool) -> None:
    assert_cached_gradient(dropout, bf16)


def test_cached_gradient_is_the_plain_one_in_two_processes() -> None:
    train_toy.run_in_two_processes(assert_cached_gradients)
