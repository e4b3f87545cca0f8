"""A LLaVA of 7 billion parameters on an accelerator: training step, QLoRA, gradient caching, embedding and judging.

The weights are random, written in the published layout and loaded as a user's are, so that what is timed is the
product's own path. How fast a model is does not depend on what its weights are.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches import _llava_checkpoint, timing
from benches.rerank import CANDIDATES, skeletons
from mmi_tvr.utils.wording import counted

_MATMUL = {"cuda": 8192, "cpu": 512}  # side of the matrices by which the processor's peak is measured
_KEPT = 2  # times fewer texts where what layers compute is kept
_BYTES_OF_A_GB = 2**30


@dataclass(frozen=True)
class Sizes:
    """How much is measured: `texts` of `tokens` tokens in a training step, `pairs` in a batch of gradient caching of
    which `chunk` are in memory, `key_images` of each of `videos`."""

    texts: int
    tokens: int
    pairs: int
    chunk: int
    videos: int
    key_images: int


_SIZES = Sizes(texts=8, tokens=2048, pairs=512, chunk=32, videos=64, key_images=12)
_SMALL = Sizes(texts=2, tokens=32, pairs=8, chunk=4, videos=4, key_images=2)


def run(args: argparse.Namespace) -> Iterator[str]:
    import torch
    import transformers

    accelerated = torch.cuda.is_available()
    if not (accelerated or args.small):
        yield "gpu: this machine has none; --small shows on its processor that the part runs"
        return
    device, sizes = ("cuda", _SIZES) if accelerated and not args.small else ("cpu", _SMALL)
    card = torch.cuda.get_device_name() if device == "cuda" else "processor, small sizes: no measure of anything"
    yield f"gpu: {card}; torch {torch.__version__}, transformers {transformers.__version__}"
    peak = _matmul_flops(device, args.repeats)
    yield f"  bfloat16 matrices of {_MATMUL[device]:,} each way: {peak / 1e12:.1f} TFLOP/s, the peak of what follows"
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _llava_checkpoint.write(Path(folder) / "llava", args.small, device)
        bench = _Bench(checkpoint, device, sizes, max(1, min(args.repeats, 3)))
        steps = [_Step("sdpa"), _Step("flash_attention_2"), _Step("sdpa", bits=4), _Step("sdpa", checkpointing=False)]
        for step in steps:
            yield from _where_it_fits(bench.training_step(step, peak), device)
        yield from _where_it_fits(bench.with_the_model(args.repeats), device)


@dataclass(frozen=True)
class _Step:
    """A training step: by which `kernel` of attention, weights of so many `bits` (None: as they are), and whether
    layers are computed again in the backward pass (`checkpointing`)."""

    kernel: str
    bits: int | None = None
    checkpointing: bool = True

    def __str__(self) -> str:
        weights = "QLoRA (NF4)" if self.bits else "LoRA"
        return f"{weights}, bfloat16, {self.kernel}, layers {'recomputed' if self.checkpointing else 'kept'}"

    @property
    def missing(self) -> str | None:
        """The package that it needs and that is not there."""
        needed = "flash_attn" if self.kernel == "flash_attention_2" else "bitsandbytes" if self.bits else None
        return needed if needed and importlib.util.find_spec(needed) is None else None


@dataclass(frozen=True)
class _Bench:
    checkpoint: Path
    device: str
    sizes: Sizes
    repeats: int

    def training_step(self, kind: _Step, peak: float) -> Iterator[str]:
        """Tokens a second of a step, the share of the peak, memory."""
        if kind.missing:
            yield f"training step, {kind}: not measured, {kind.missing} is not installed"
            return
        llava = self._language_model(kind)
        texts = self.sizes.texts if kind.checkpointing else max(1, self.sizes.texts // _KEPT)
        yield f"training step, {kind}: {counted(texts, 'text')} of {self.sizes.tokens:,} tokens"
        step, tokens = self._step(llava, texts), texts * self.sizes.tokens
        seconds, memory = _measured(step, self.repeats, self.device)
        share = tokens * _flops_per_token(llava, self.sizes.tokens) / seconds / peak
        yield f"  {tokens / seconds:,.0f} tokens/s, {seconds:.2f} s a step; {share:.1%} of the peak; {memory}"

    def with_the_model(self, repeats: int) -> Iterator[str]:
        """What the retrieval model does with its language model: a large batch, embeddings, judgements."""
        import torch

        from mmi_tvr import models

        model: Any = models.trainable(self._section(_Step("sdpa")), self.device)
        pictures = torch.randint(0, 256, (self.sizes.key_images, model.image_size, model.image_size, 3)).byte().numpy()
        seconds, memory = _measured(lambda: model.encode_images(list(pictures)), self.repeats, self.device)
        yield f"vision tower: {len(pictures) / seconds:.1f} key images/s; {memory}"
        features = self._features(model, list(pictures))
        yield from self._cached_gradient(model, features)
        model.network.eval()
        seconds, memory = _measured(
            lambda: model.embed_videos([features] * self.sizes.videos), self.repeats, self.device
        )
        yield f"embedding videos from features: {self.sizes.videos / seconds:.1f} videos/s; {memory}"
        queries = _sentences(self.sizes.videos)
        seconds, memory = _measured(lambda: model.embed_queries(queries), self.repeats, self.device)
        yield f"embedding queries: {len(queries) / seconds:.1f} queries/s; {memory}"
        yield from _judging(model, repeats, self.device)

    def _cached_gradient(self, model: Any, features: Any) -> Iterator[str]:
        import torch
        from accelerate.utils import send_to_device

        from mmi_tvr.nn.losses import Temperature
        from mmi_tvr.train.objective import Objective

        pairs, device = self.sizes.pairs, torch.device(self.device)
        texts = [query.text for query in _sentences(pairs)]
        batch = send_to_device(model.batch(texts, [features] * pairs, list(range(pairs))), device) | {"ids": texts}
        model.network.train()
        objective = Objective(model.network, Temperature().to(device), chunk=self.sizes.chunk, bf16=True, device=device)
        seconds, memory = _measured(lambda: objective.backward(batch, {"contrastive": 1.0}), 1, self.device)
        model.network.zero_grad(set_to_none=True)
        yield f"gradient caching, {pairs} pairs, {self.sizes.chunk} at a time: {seconds:.1f} s a step; {memory}"

    def _features(self, model: Any, pictures: list[Any]) -> Any:
        import numpy as np

        from mmi_tvr.types import Features

        times = np.arange(len(pictures), dtype=float)
        return Features(np.stack([times, times + 1, times + 0.5], axis=1), model.encode_images(pictures))

    def _step(self, llava: Any, texts: int) -> Callable[[], object]:
        import torch

        tokens = torch.randint(5, 400, (texts, self.sizes.tokens), device=self.device)
        trained = [parameter for parameter in llava.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-5)

        def step() -> None:
            from mmi_tvr.encoders.llava import Inputs
            from mmi_tvr.train.adapters import inputs_as_they_are

            optimizer.zero_grad(set_to_none=True)
            with inputs_as_they_are(llava):
                with torch.autocast(self.device, torch.bfloat16):
                    states = llava.states(Inputs(tokens, llava.embed(tokens), torch.ones_like(tokens)))
                torch.autograd.backward(states.float().square().mean())
            optimizer.step()

        return step

    def _language_model(self, kind: _Step) -> Any:
        from mmi_tvr.encoders import llava
        from mmi_tvr.encoders.options import LlavaOptions

        options = LlavaOptions.model_validate(self._options(kind))
        return llava.load(options, device=self.device, trainable=True).train().to(self.device)

    def _section(self, kind: _Step) -> Any:
        from mmi_tvr.config import Section

        heads = {"grid": 1, "heads": 2} if self.sizes is _SMALL else {}
        return Section(name="mmi", llava=self._options(kind), heads=heads)

    def _options(self, kind: _Step) -> dict[str, Any]:
        common = {"checkpoint": str(self.checkpoint), "dtype": "bfloat16"}
        return common | {"attention": kind.kernel, "bits": kind.bits, "checkpointing": kind.checkpointing}


def _where_it_fits(lines: Iterator[str], device: str) -> Iterator[str]:
    """Yield the lines of a part; one more says where the card's memory did not suffice."""
    import torch

    try:
        yield from lines
    except torch.OutOfMemoryError as error:
        yield f"  not measured: {str(error).splitlines()[0]}"
    _release(device)


def _judging(model: Any, repeats: int, device: str) -> Iterator[str]:
    import torch

    from mmi_tvr.judges.llava import LlavaJudge

    judge, network = LlavaJudge(model), model.network
    text, *videos = skeletons(CANDIDATES)

    def one_by_one() -> None:
        with torch.inference_mode():
            for video in videos:
                network.judge_logits([text], [video])

    ours = "shared prefix, batched"
    contenders = {ours: lambda: judge.judge(text, videos), "one prompt at a time": one_by_one}
    waiting = {name: lambda work=work: _waited(work, device) for name, work in contenders.items()}
    yield from timing.table(f"judge: one query, {len(videos)} candidates", timing.rounds(waiting, repeats), ours)


def _sentences(count: int) -> list[Any]:
    from mmi_tvr import plugins
    from mmi_tvr.types import Query

    samples = plugins.build("datasets", "moving_shapes", {"count": max(count, 8)}).samples()
    return [Query(sample.captions[0]) for sample in samples[:count]]


def _flops_per_token(llava: Any, tokens: int) -> float:
    """Floating-point operations of a step on one token: forward, and backward to the activations, since the weights are
    frozen; 6 for each number that is trained. Attention counts the tokens before each (causal); what is recomputed does
    not count (the model's FLOPs, as in Chowdhery et al., PaLM, appendix B)."""
    config = llava.base.config.text_config
    frozen = config.num_hidden_layers * (
        2 * config.hidden_size * (config.num_attention_heads + config.num_key_value_heads) * config.head_dim
        + 3 * config.hidden_size * config.intermediate_size
    )
    trained = sum(
        parameter.numel()
        for name, parameter in llava.named_parameters()
        if parameter.requires_grad and "multi_modal_projector" not in name  # no picture is in these texts
    )
    attention = 6 * tokens * config.num_attention_heads * config.head_dim * config.num_hidden_layers
    return 4 * frozen + 6 * trained + attention


def _matmul_flops(device: str, repeats: int) -> float:
    import torch

    side = _MATMUL[device]
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds, _ = _measured(lambda: left @ right, max(repeats, 5) * 2, device)
    return 2 * side**3 / seconds


def _measured(work: Callable[[], object], repeats: int, device: str) -> tuple[float, str]:
    """Return the median seconds of some work after a first time, and its peak of memory in words."""
    import torch

    _waited(work, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        _waited(work, device)
        seconds.append(time.perf_counter() - started)
    used = torch.cuda.max_memory_allocated() if device == "cuda" else timing.peak() * 2**20
    return statistics.median(seconds), f"{used / _BYTES_OF_A_GB:.1f} GB at most"


def _waited(work: Callable[[], object], device: str) -> None:
    import torch

    work()
    if device == "cuda":
        torch.cuda.synchronize()


def _release(device: str) -> None:
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
