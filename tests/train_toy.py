"""A small model, data and run for the tests of train/; also a script for `torchrun` and `accelerate launch`.

torchrun --nproc_per_node 2 tests/train_toy.py FOLDER [--resume] [--until N]
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmi_tvr.nn.losses import focal, kl, skeleton_cross_entropy
from mmi_tvr.train import checkpoint
from mmi_tvr.train.dataloader import DatasetLoader
from mmi_tvr.train.loop import Outcome, Trainer
from mmi_tvr.train.options import Stage, TrainOptions
from mmi_tvr.utils import distributed

VIDEOS, CAPTIONS, WIDTH = 24, 2, 6


class ToyModel(nn.Module):
    """Two towers with dropout, a matching head that the first stage trains alone, and a buffer that counts calls."""

    def __init__(self, dropout: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(100)
        self.frozen = nn.Linear(WIDTH, 16).requires_grad_(False)
        torch.manual_seed(seed)
        self.text = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 8))
        self.video = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 8))
        self.judge = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * WIDTH, 2))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        return {
            "lora": list(self.text.parameters()),
            "heads": [*self.video.parameters(), *self.judge.parameters()],
        }

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        self.calls += 1
        return self.text(self.frozen(batch["text"])), self.video(batch["video"]["features"]), batch["group"]

    def loss_terms(self, batch: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Tensor]:
        right = torch.cat([batch["text"], batch["video"]["features"]], dim=1)
        wrong = torch.cat([batch["text"], batch["video"]["features"].roll(1, dims=0)], dim=1)
        yes, no = self.judge(torch.cat([right, wrong])).unbind(dim=1)
        match = torch.arange(len(yes), device=yes.device) < len(right)
        return {"skeleton": skeleton_cross_entropy(yes, no, match)}


class ToyLevels(ToyModel):
    """The same with two levels that are compared apart, otherwise in each direction, and attributes of the videos."""

    batch_term_names = frozenset({"attributes", "kl"})

    def __init__(self, dropout: float = 0.3, seed: int = 0) -> None:
        super().__init__(dropout, seed)
        self.head = nn.Linear(8, 3)
        self.bias, self.mix = nn.Parameter(torch.zeros(())), nn.Parameter(torch.eye(4))

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        return {**groups, "heads": [*groups["heads"], *self.head.parameters(), self.bias, self.mix]}

    def embed_batch(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        return *super().embed_batch(batch), batch["text"][:, :3] > 0.5

    def similarity(self, text: Tensor, video: Tensor, direction: str) -> Tensor:
        first = (self.bias + text[:, :4] @ self.mix @ video[:, :4].T).sigmoid()
        second = text[:, 4:] @ video[:, 4:].T
        return torch.stack([first, second if direction == "t2v" else second.tanh()])

    def batch_terms(self, embedded: Sequence[Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
        text, video, _, labels = embedded
        terms = {"attributes": lambda: focal(self.head(video.float()), labels), "kl": lambda: kl(text, video, "batch")}
        return {name: terms[name]() for name in names}


def describes(captions_of: int, video: int) -> bool:
    """The captions of a video are true of the next one, too."""
    return video == captions_of + 1


def next_is_true(texts: Tensor, videos: Tensor) -> Tensor:
    """`describes` on tensors."""
    return texts[:, None] + 1 == videos


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ToyPairs:
    """Captions of videos; `poisoned` items hold NaN."""

    def __init__(self, poisoned: Collection[int] = ()) -> None:
        generator = torch.Generator().manual_seed(1)
        self.video = torch.randn(VIDEOS, WIDTH, generator=generator)
        noise = torch.randn(VIDEOS, CAPTIONS, WIDTH, generator=generator)
        self.text = (self.video.flip(-1)[:, None] + 0.1 * noise).flatten(0, 1)
        self.text[list(poisoned)] = torch.nan

    def __getitem__(self, item: int) -> dict[str, Any]:
        video = item // CAPTIONS
        return {"id": f"pair{item:02d}", "text": self.text[item], "video": self.video[video], "group": video}

    def __len__(self) -> int:
        return VIDEOS * CAPTIONS


class ToySampler:
    """This process's share of shuffled batches."""

    def __init__(self, batch: int, process: int, processes: int, epoch: int = 0) -> None:
        self.batch, self.process, self.processes, self.set = batch, process, processes, epoch

    def set_epoch(self, epoch: int) -> None:
        self.set = epoch

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(VIDEOS * CAPTIONS, generator=torch.Generator().manual_seed(self.set)).tolist()
        for start in range(0, len(order), self.batch * self.processes):
            yield order[start : start + self.batch * self.processes][self.process :: self.processes]


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ids": [item["id"] for item in items],
        "text": torch.stack([item["text"] for item in items]),
        "video": {"features": torch.stack([item["video"] for item in items])},
        "group": torch.tensor([item["group"] for item in items]),
    }


def options(**changes: Any) -> TrainOptions:
    values: dict[str, Any] = {
        "stages": [
            Stage(name="judge", steps=3, weights={"skeleton": 1.0}),
            Stage(name="joint", steps=7, weights={"contrastive": 0.6, "skeleton": 0.3}),
        ],
        "learning_rates": {"lora": 1e-2, "heads": 1e-2, "temperature": 1e-2},
        "log_every": 1,
        "save_every": 100,
        "validate_every": 100,
        "chunk": 3,
    }
    return TrainOptions(**{**values, **changes})


def trainer(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    poisoned: Collection[int] = (),
    model: type[ToyModel] = ToyModel,
    **options_of_trainer: Any,
) -> Trainer:
    """A run of 10 steps, with chunks of 3 pairs, dropout and two stages; 5 global batches an epoch, the last short."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    sampler = ToySampler(10 // state.num_processes, state.process_index, state.num_processes)
    dataloader = DatasetLoader(ToyPairs(poisoned), sampler, collate)
    # Every process starts from other weights: those of the first must win.
    return Trainer(
        model(seed=distributed.rank()), dataloader, options(**(changes or {})), folder, cpu=True, **options_of_trainer
    )


def run_in_two_processes(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function that asserts, in two processes that form a group; what fails there fails here.

    They are spawned: a fork (accelerate's debug_launcher) inherits the locks of threads that earlier tests started.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_joined, (f"{folder}/meeting", function, arguments), nprocs=2)


def _joined(process: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    from accelerate import PartialState

    faulthandler.dump_traceback_later(60, exit=True)  # a deadlock ends, and shows where
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=process, world_size=2)
    torch.set_num_threads(1)
    PartialState(cpu=True)
    assert distributed.world_size() == 2
    function(*arguments)
    distributed.leave_group()


def contents(folder: Path) -> dict[str, bytes]:
    """The tensors of the newest checkpoint, bit for bit: weights, moments, temperature, generators."""
    newest = checkpoint.list_checkpoints(folder / "checkpoints")[-1]
    return {name: (newest / name).read_bytes() for name in (checkpoint.TRAINED, checkpoint.LOOP)}


def position(folder: Path) -> tuple[int, int, int]:
    state = checkpoint.read_state(checkpoint.list_checkpoints(folder / "checkpoints")[-1])
    return state["step"], state["epoch"], state["taken"]


def main() -> Outcome:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--until", type=int)
    arguments = parser.parse_args()
    outcome = trainer(arguments.folder, resume=arguments.resume).run(arguments.until)
    distributed.leave_group()
    return outcome


if __name__ == "__main__":
    main()
