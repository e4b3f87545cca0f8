"""The parts of the training loop, one by one: objective, optimisers, schedule, checkpoints, generators."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import train_toy
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils import checkpoint as checkpointing

from mmi_tvr.errors import UsageError
from mmi_tvr.nn import losses
from mmi_tvr.train import checkpoint, gradcache, optimizer, rng, schedule
from mmi_tvr.train.bank import Bank
from mmi_tvr.train.objective import Objective
from mmi_tvr.train.options import TrainOptions
from mmi_tvr.train.protocol import chunks
from mmi_tvr.utils import device

pytestmark = pytest.mark.usefixtures("one_process")


def test_gradient_caching_holds_one_chunks_graph() -> None:
    weight = nn.Parameter(torch.ones(3))
    waiting = most = calls = 0

    def embed(batch: Any) -> tuple[Tensor]:
        nonlocal waiting, most, calls
        out = batch["x"] * weight
        calls += 1
        if out.requires_grad:
            waiting += 1
            most = max(most, waiting)
            out.register_hook(done)
        return (out,)

    def done(_: Tensor) -> None:
        nonlocal waiting
        waiting -= 1

    batch = {"ids": list("abcdefgh"), "x": torch.randn(8, 3)}
    gradcache.backward(
        embed,
        chunks(batch, 2),
        lambda tensors: {"pairs": losses.info_nce(tensors[0], -tensors[0], torch.tensor(1.0))},
        {"pairs": 1.0},
    )
    assert (most, waiting, calls) == (1, 0, 8)


def test_muon_has_the_matrices_of_its_groups() -> None:
    """Its updates are as large as AdamW's, whatever the gradient's size, and of full rank."""
    model = train_toy.ToyModel()
    groups = {**model.parameter_groups(), "temperature": []}
    adamw, muon = optimizer.build(groups, train_toy.options(muon=["heads"], weight_decay=0.0))
    held = [parameter for group in muon.param_groups for parameter in group["params"]]
    assert held == [parameter for parameter in groups["heads"] if parameter.ndim == 2]
    assert len(held) + sum(len(group["params"]) for group in adamw.param_groups) == sum(map(len, groups.values()))
    matrix, before = model.video[0].weight, model.video[0].weight.detach().clone()
    matrix.grad = 1e-3 * torch.outer(torch.arange(1.0, 17), torch.ones(train_toy.WIDTH)) + 1e-4 * torch.randn(16, 6)
    muon.step()
    change = (before - matrix).detach()
    assert 0.1 < float(change.square().mean().sqrt()) / 1e-2 < 0.5
    values = torch.linalg.svdvals(change)
    assert float(values[-1] / values[0]) > 0.3 > float(torch.linalg.svdvals(matrix.grad)[-1])
    with pytest.raises(UsageError, match="muon: the model's groups are heads, lora, temperature, not layers"):
        optimizer.build(groups, train_toy.options(muon=["layers"]))


def test_a_damaged_or_foreign_checkpoint_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder = train_toy.trainer(tmp_path).run(until=1).checkpoint
    other = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="of another architecture"):
        checkpoint.load_trained(other, folder)
    content = (folder / checkpoint.TRAINED).read_bytes()
    (folder / checkpoint.TRAINED).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    model = train_toy.ToyModel()
    with pytest.raises(UsageError, match="its hash differs"):
        checkpoint.load_trained(model, folder)
    assert torch.equal(model.text[0].weight, train_toy.ToyModel().text[0].weight)
    (folder / checkpoint.STATE).write_text("{}")
    with pytest.raises(UsageError, match="another format"):
        checkpoint.read_state(folder)


def test_generators_come_back() -> None:
    import random

    import numpy as np

    rng.seed(4)
    random.gauss(0, 1), np.random.standard_normal()  # both keep a second number for the next call
    state = rng.capture()
    drawn = [(random.gauss(0, 1), random.random(), np.random.standard_normal(2).tolist(), torch.rand(2).tolist())]
    rng.restore(state)
    drawn += [(random.gauss(0, 1), random.random(), np.random.standard_normal(2).tolist(), torch.rand(2).tolist())]
    assert drawn[0] == drawn[1]


def test_rates_rise_to_the_peak_and_fall_to_the_floor() -> None:
    factors = [schedule.factor(step, 100, warmup=0.1, floor=0.2) for step in range(100)]
    assert factors[9] == factors[10] == 1.0
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[0] == 0.1
    assert 0.2 < factors[-1] < 0.201
    assert schedule.factor(0, 1, warmup=0.1) == 1.0


def test_the_defaults_are_the_published_stages() -> None:
    defaults = TrainOptions()
    assert list(defaults.terms()) == ["caption", "masked", "contrastive", "skeleton"]
    with pytest.raises(IndexError):
        defaults.stage_at(defaults.steps)


def test_modules_import_without_the_train_extra() -> None:
    code = (
        "import sys; sys.modules['accelerate'] = sys.modules['tensorboard'] = None\n"
        "from mmi_tvr.train import loop, options\n"
        "from mmi_tvr.errors import MissingExtra\n"
        "try: loop.Trainer(None, None, options.TrainOptions(), '.')\n"
        "except MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("accelerate is not installed: ")
    assert done.stdout.endswith("[train]'\n")


def test_further_terms_are_means_over_the_batch_however_it_is_cut() -> None:
    """Pieces of 4, 4 and 3 pairs; each weighs by its size, in the value and in the gradient."""
    batch = train_toy.collate([train_toy.ToyPairs()[item] for item in range(11)])

    class Squares(train_toy.ToyModel):
        def loss_terms(self, batch: Any, names: Any) -> dict[str, Tensor]:
            assert tuple(names) == ("first", "second")
            first = self.video(batch["video"]["features"]).square().mean()
            return {"first": first, "second": self.text(self.frozen(batch["text"])).square().mean()}

    values, gradients = [], []
    for chunk in (4, None):
        model, temperature = Squares(dropout=0.0), losses.Temperature()
        make = Objective(model, temperature, chunk=chunk, bf16=False, device=torch.device("cpu"))
        loss = make.backward(batch, {"first": 2.0, "second": 0.5}, share=0.25)
        values.append(loss.terms)
        gradients.append([parameter.grad for parameter in (*model.video.parameters(), *model.text.parameters())])
        assert loss.ids == batch["ids"]
        assert loss.pairs is None
        assert loss.ids_not_finite() == []
        assert temperature.log_scale.grad is None
    plain = Squares(dropout=0.0)
    terms = plain.loss_terms(batch, ("first", "second"))
    (0.25 * (2.0 * terms["first"] + 0.5 * terms["second"])).backward()
    expected = [parameter.grad for parameter in (*plain.video.parameters(), *plain.text.parameters())]
    for cut in range(2):
        torch.testing.assert_close(dict(values[cut]), {name: term.detach() for name, term in terms.items()})
        torch.testing.assert_close(gradients[cut], expected)


def test_the_contrastive_term_is_unweighted_and_its_gradient_weighs_with_the_share() -> None:
    batch = train_toy.collate([train_toy.ToyPairs()[item] for item in range(6)])
    gradients, terms = [], []
    for weight, share in ((1.0, 1.0), (0.6, 0.5)):
        model, temperature = train_toy.ToyModel(dropout=0.0), losses.Temperature()
        make = Objective(model, temperature, chunk=4, bf16=False, device=torch.device("cpu"))
        loss = make.backward(batch, {"contrastive": weight}, share)
        terms.append(loss.terms["contrastive"])
        gradients.append(temperature.log_scale.grad)
        assert loss.pairs is not None
        assert loss.pairs.groups.tolist() == batch["group"].tolist()
        assert loss.ids_not_finite() == []
    assert terms[0] == terms[1]
    torch.testing.assert_close(gradients[1], 0.3 * gradients[0])


def test_pairs_whose_text_or_video_is_not_finite_are_named() -> None:
    pairs = train_toy.ToyPairs(poisoned={3})
    pairs.video[0] = torch.inf  # of pairs 0 and 1
    batch = train_toy.collate([pairs[item] for item in range(6)])
    make = Objective(
        train_toy.ToyModel(dropout=0.0), losses.Temperature(), chunk=None, bf16=False, device=torch.device("cpu")
    )
    assert make.backward(batch, {"contrastive": 1.0}).ids_not_finite() == ["pair00", "pair01", "pair03"]


def test_ranking_takes_margin_and_the_share_of_the_mean() -> None:
    batch = train_toy.collate([train_toy.ToyPairs()[item] for item in range(0, 12, 2)])
    model = train_toy.ToyModel(dropout=0.0)
    text, video, groups = model.embed_batch(batch)
    for margin, mean_share, describes in ((0.2, 0.0, None), (0.6, 0.4, train_toy.describes)):
        make = Objective(
            model, losses.Temperature(), chunk=4, bf16=False, device=torch.device("cpu"),
            margin=margin, describes=describes,
        )  # fmt: skip
        true_of = None if describes is None else train_toy.next_is_true
        expected = losses.ranking(text, video, margin, groups, true_of=true_of, mean_share=mean_share)
        terms = make.backward(batch, {"ranking": 1.0}, mean_share=mean_share).terms
        torch.testing.assert_close(terms, {"ranking": expected.detach()})


def test_a_term_over_the_batch_that_the_model_does_not_give_is_named() -> None:
    class Forgetful(train_toy.ToyLevels):
        def batch_terms(self, embedded: Any, names: Any) -> dict[str, Tensor]:
            return {}

    batch = train_toy.collate([train_toy.ToyPairs()[item] for item in range(4)])
    make = Objective(Forgetful(), losses.Temperature(), chunk=None, bf16=False, device=torch.device("cpu"))
    with pytest.raises(UsageError, match="no loss called kl"):
        make.backward(batch, {"kl": 1.0})


def pairs_of(*numbers: int) -> losses.EmbeddedPairs:
    vectors = torch.tensor(numbers, dtype=torch.float64)[:, None].requires_grad_()
    return losses.EmbeddedPairs(vectors, -vectors, torch.tensor(numbers))


def test_a_bank_forgets_the_oldest() -> None:
    bank = Bank(3)
    assert bank.pairs is None
    bank.extend(pairs_of(1, 2))
    assert bank.pairs is not None
    assert bank.pairs.groups.tolist() == [1, 2]
    bank.extend(pairs_of(3, 4))
    assert bank.pairs.groups.tolist() == [2, 3, 4]
    assert bank.pairs.video.tolist() == [[-2], [-3], [-4]]
    assert not bank.pairs.text.requires_grad
    assert bank.pairs.text.dtype == torch.float32
    bank.extend(pairs_of(5, 6, 7, 8))
    assert bank.pairs.text.tolist() == [[6], [7], [8]]
    other = Bank(3)
    other.restore(bank.state_dict())
    assert other.pairs is not None
    assert all(torch.equal(*pair) for pair in zip(other.pairs, bank.pairs, strict=True))


def test_options_of_losses_that_cannot_be() -> None:
    ranking = [{"name": "a", "steps": 1, "weights": {"ranking": 1.0}}]
    with pytest.raises(ValidationError, match="bank: no stage weighs contrastive"):
        TrainOptions(stages=ranking, bank=8)
    for wrong in ({"margin": 0}, {"ranking_warmup": 1.5}, {"bank": -1}):
        with pytest.raises(ValidationError):
            TrainOptions(**wrong)


def test_matrices_decay_and_the_rest_does_not() -> None:
    model = train_toy.ToyModel()
    model.video.append(nn.Conv1d(2, 2, 3))  # a weight with three axes is a matrix, too
    temperature = losses.Temperature()
    groups = {**model.parameter_groups(), "temperature": list(temperature.parameters())}
    options = train_toy.options(weight_decay=0.3, learning_rates={"lora": 1e-3, "heads": 2e-3, "temperature": 3e-3})
    (adamw,) = optimizer.build(groups, options)
    decays = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    parameters = [parameter for group in groups.values() for parameter in group]
    assert [decays[id(parameter)] for parameter in parameters] == [0.3 if p.ndim >= 2 else 0.0 for p in parameters]
    assert all(group["betas"] == (0.9, 0.98) for group in adamw.param_groups)
    assert optimizer.rates([adamw]) == options.learning_rates
    optimizer.set_rates([adamw], 0.5)
    optimizer.set_rates([adamw], 0.25)  # of the peak, not of what it was
    assert optimizer.rates([adamw]) == {"lora": 0.25e-3, "heads": 0.5e-3, "temperature": 0.75e-3}
    with_muon = optimizer.build(groups, options.model_copy(update={"muon": ("heads",)}))
    assert [parameter.ndim for group in with_muon[1].param_groups for parameter in group["params"]] == [2, 2, 2]
    assert with_muon[1].param_groups[0]["weight_decay"] == 0.3
    assert sum(len(group["params"]) for part in with_muon for group in part.param_groups) == len(parameters)
    with pytest.raises(UsageError, match="nothing to train"):
        optimizer.build({"a": []}, train_toy.options(learning_rates={"a": 1.0}))


def test_a_stage_begins_where_the_one_before_ends() -> None:
    options = train_toy.options()  # 3 and 7 steps
    stages = [options.stage_at(step) for step in range(10)]
    assert [(stage.name, number) for stage, number in stages] == [
        *(("judge", number) for number in range(3)),
        *(("joint", number) for number in range(7)),
    ]
    assert options.steps == 10


def checkpoints(root: Path, steps: tuple[int, ...]) -> list[str]:
    for step in steps:
        checkpoint.save(root, step, {"a": torch.ones(1) * step}, {}, {"best": None})
    return [path.name for path in checkpoint.list_checkpoints(root)]


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    assert checkpoints(tmp_path, (0, 10, 9, 2)) == [f"step-{step:08d}" for step in (0, 2, 9, 10)]
    checkpoint.prune(tmp_path, 2, 2)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("step-")] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (2, 9, 10)]
    checkpoint.prune(tmp_path, 1, None)
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == ["step-00000010"]


def test_a_checkpoint_replaces_one_of_its_step_and_says_where_it_comes_from(tmp_path: Path) -> None:
    checkpoints(tmp_path, (4,))
    folder = checkpoint.save(tmp_path, 4, {"a": torch.zeros(2)}, {"b": torch.ones(3)}, {"best": 7})
    assert folder == checkpoint.folder_of(tmp_path, 4)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert checkpoint.read_tensors(folder, checkpoint.TRAINED)["a"].tolist() == [0, 0]
    assert checkpoint.read_tensors(folder, checkpoint.LOOP)["b"].tolist() == [1, 1, 1]
    state = checkpoint.read_state(folder)
    assert (state["step"], state["best"], state["origin"]["torch"]) == (4, 7, torch.__version__)
    (folder / checkpoint.LOOP).write_bytes(b"damaged")
    with pytest.raises(UsageError, match="missing or damaged"):
        checkpoint.read_tensors(folder, checkpoint.LOOP)
    with pytest.raises(UsageError, match="not a checkpoint"):
        checkpoint.read_state(tmp_path)


def test_the_trained_state_is_what_is_trained_and_persistent_buffers(tmp_path: Path) -> None:
    model = train_toy.ToyModel()
    model.register_buffer("scratch", torch.zeros(1), persistent=False)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad} | {"calls"}
    assert set(checkpoint.trained_state(model)) == names
    folder = checkpoint.save(tmp_path, 1, checkpoint.trained_state(model), {}, {})
    model.text[0] = nn.Linear(16, 15)
    with pytest.raises(UsageError, match=r"2 tensors of other shapes: text.0.weight, text.0.bias"):
        checkpoint.load_trained(model, folder)


def test_every_generator_starts_from_the_seed_and_comes_back_behind_what_leaves_no_trace() -> None:
    import random

    import numpy as np

    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    rng.seed(7)
    first = draw()
    rng.seed(8)
    assert all(one != other for one, other in zip(first, draw(), strict=True))
    rng.seed(7)

    def fail() -> None:
        with rng.preserve_state():
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert draw() == first


class _Adapted(train_toy.ToyModel):
    """A toy with an adapter on its texts, and layers that are computed again in the backward pass."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(dropout=0.0)
        torch.manual_seed(0)
        config = peft.LoraConfig(target_modules=["0"], init_lora_weights=False)
        self.text = peft.get_peft_model(self.text, config)
        self.seen: list[bool] = []
        self._fails = fails
        self.layer.register_forward_hook(lambda module, *_: self.seen.append(module.cast_input_dtype_enabled))

    @property
    def layer(self) -> Any:
        return self.text.base_model.model[0]

    def embed_batch(self, batch: Any) -> tuple[Tensor, ...]:
        if self._fails:
            raise ValueError("broken")
        frozen = self.frozen(batch["text"])
        text = checkpointing.checkpoint(self.text, frozen, use_reentrant=False)
        return text, self.video(batch["video"]["features"]), batch["group"]


@pytest.mark.parametrize("bf16", [True, False])
def test_adapters_spare_the_cast_that_autocast_takes_back(bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In layers that are computed again too; and what is learned is the same."""
    batch = train_toy.collate([train_toy.ToyPairs()[i] for i in range(8)])
    gradients = []
    for spared in (True, False):
        if not spared:
            monkeypatch.setattr("mmi_tvr.train.objective.inputs_as_they_are", lambda model: nullcontext())
        model = _Adapted()
        objective = Objective(model, losses.Temperature(), chunk=None, bf16=bf16, device=torch.device("cpu"))
        objective.backward(batch, {"contrastive": 1.0})
        assert model.seen == [not (spared and bf16)] * 2
        assert model.layer.cast_input_dtype_enabled
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_adapters_cast_again_after_an_error() -> None:
    model = _Adapted(fails=True)
    objective = Objective(model, losses.Temperature(), chunk=None, bf16=True, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="broken"):
        objective.backward(train_toy.collate([train_toy.ToyPairs()[0]]), {"contrastive": 1.0})
    assert model.layer.cast_input_dtype_enabled


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags : fpu amx_bf16\nflags : fpu\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("vendor_id : x\nflags : fpu avx512f avx512_vnni\n", False),
        ("", False),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_it(
    cpuinfo: str, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "_PROCESSORS", tmp_path / "cpuinfo")
    device._processor_flags.cache_clear()
    monkeypatch.setattr("mmi_tvr.train.loop.Objective", lambda *_, bf16, **__: chosen.append(bf16))
    chosen: list[bool] = []
    (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    for precision in ("auto", "float32", "bf16"):
        train_toy.trainer(tmp_path / precision, {"precision": precision})
    assert chosen == [expected, False, True]
    device._processor_flags.cache_clear()
