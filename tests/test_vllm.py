"""vLLM: what can be seen without it, with a stand-in for its engine; and for real, where the marker is asked for:

    .venv/bin/python -m pytest -m vllm tests/test_vllm.py

The server is started by scripts/serve_vllm.sh, which makes vLLM's environment where it is not there ($VLLM_ENV).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_llava
import torch
from safetensors.torch import load_file, save_file
from test_answerers import HEADS, MOST, asks, talkative, texts

from mmi_tvr import plugins
from mmi_tvr.answerers import vllm
from mmi_tvr.encoders import llava
from mmi_tvr.errors import AnswerError, MissingExtra, MmiTvrError, UsageError
from mmi_tvr.models import find, mmi
from mmi_tvr.models.mmi import Mmi
from mmi_tvr.types import AnswerRequest, Features


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Mmi:
    checkpoint = talkative(tmp_path_factory.mktemp("llava"))
    values = {"llava": {"checkpoint": str(checkpoint), "grid": 2, "lora": None}, "heads": HEADS}
    return plugins.build("models", "mmi", values, device="cpu")


def test_vllm_is_missed_in_one_line(model: Mmi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[vllm\]'"):
        plugins.build("answerers", "vllm", {}, device="cpu", model=model).answer(texts("no"))
    with pytest.raises(UsageError, match="memory"):
        plugins.build("answerers", "vllm", {"memory": 2})


class Engine:
    """What vLLM's engine is to us: it remembers what it is given, and says how many ids there were."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.given: list[dict[str, Any]] = []
        self.adapters: list[Any] = []

    def generate(self, inputs: list[dict[str, Any]], greedy: Any, *, lora_request: Any, use_tqdm: bool) -> list[Any]:
        self.given += inputs
        self.adapters.append(lora_request)
        return [output(each["prompt_token_ids"], f" {len(each['prompt_token_ids'])}") for each in inputs]


def output(ids: list[int], text: str) -> SimpleNamespace:
    return SimpleNamespace(prompt_token_ids=ids, outputs=[SimpleNamespace(text=text, token_ids=[0])])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """A stand-in for the package vllm; the engines that were made."""
    engines: list[Engine] = []

    def make(**arguments: Any) -> Engine:
        engines.append(Engine(**arguments))
        return engines[-1]

    request = SimpleNamespace(LoRARequest=lambda name, number, path: (name, number, sorted_names(Path(path))))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=make, SamplingParams=SimpleNamespace))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    return engines


def sorted_names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "np") as weights:
        return sorted(weights.keys())


def test_vllm_is_given_what_the_model_reads(model: Mmi, engine: list[Engine]) -> None:
    given = asks(model)
    answerer = vllm.build(vllm.Options(max_tokens=MOST, batch=3, engine={"block_size": 32}), device="cpu", model=model)
    replies = answerer.answer([*given, AnswerRequest("red " * 2500, text="a")])
    assert isinstance(replies[-1], AnswerError)
    (stand_in,) = engine
    assert stand_in.arguments["model"] == model.options.llava.checkpoint
    assert stand_in.arguments["block_size"] == 32
    assert stand_in.arguments["enable_prefix_caching"]
    assert stand_in.arguments["enable_mm_embeds"]
    assert "enable_lora" not in stand_in.arguments
    assert stand_in.adapters == [None] * 3
    reader = answerer._reader
    for ask, reply, inputs in zip(given, replies, stand_in.given, strict=False):
        (prompt,) = reader.prompts([ask])
        assert inputs["prompt_token_ids"] == reader.llava.tokenizer(prompt)["input_ids"]
        assert reply == str(len(inputs["prompt_token_ids"]))
        assert ("multi_modal_data" in inputs) == (ask.text is None)
        if ask.text is None:
            torch.testing.assert_close(inputs["multi_modal_data"]["image"], reader.visual_tokens([ask]))


def test_vllm_gets_the_adapter_without_the_projector(engine: list[Engine]) -> None:
    values = {"weights": "moving-shapes"}
    plugins.build("answerers", "vllm", values, device="cpu").answer(texts("no"))
    (stand_in,) = engine
    ((name, number, kept),) = stand_in.adapters
    there = sorted_names(find("moving-shapes") / "adapter")
    assert (name, number) == ("mmi-tvr", 1)
    assert kept == [each for each in there if "projector" not in each]
    assert 0 < len(kept) < len(there)
    assert stand_in.arguments["enable_lora"]
    assert stand_in.arguments["max_lora_rank"] >= 8
    merged = plugins.build("answerers", "vllm", {**values, "checkpoint": "moving-shapes/base"}, device="cpu")
    merged.answer(texts("no"))
    assert engine[1].adapters == [None]
    assert "enable_lora" not in engine[1].arguments
    plugins.build("answerers", "vllm", {**values, "adapter": False}, device="cpu").answer(texts("no"))
    assert len(engine) == 2, "the same model, without its adapter, has the same engine"
    assert engine[1].adapters == [None] * 2


# For real. The model is random, so that what it says hangs on every bit of what it sees.

QUESTIONS = ["a red circle", "left then grows", "no", "yes a blue square"]
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": ("q_proj", "v_proj", "down_proj")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base` in the published layout, `weights` with an adapter and projector that matter, and both `merged`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:  # vLLM's attention for CPUs takes no smaller heads than 32
        for name, count in {"num_attention_heads": 2, "num_key_value_heads": 1}.items():
            patch.setitem(tiny_llava.LANGUAGE, name, count)
        more = [
            "up",
            "down",
            "big",
            "small",
            "green",
            "ring",
        ]  # vLLM dies of log-probabilities of more tokens than it has
        patch.setattr(tiny_llava, "WORDS", [*tiny_llava.WORDS, *more])
        base = talkative(folder / "base") / "model.safetensors"
    names = load_file(base)
    save_file(
        {name.replace("vision_tower.", "vision_tower.vision_model."): each for name, each in names.items()},
        base, metadata={"format": "pt"},
    )  # fmt: skip
    values = {"llava": {"checkpoint": str(base.parent), "grid": tiny_llava.SIDE, "lora": LORA}, "heads": HEADS}
    options = plugins.options("models", "mmi", values)
    assert isinstance(options, mmi.Options)
    model = mmi.trainable(options, device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.llava.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save(folder / "weights")
    llava.merge(options.llava, folder / "weights" / mmi.ADAPTER, folder / "merged")
    return folder


@pytest.fixture(scope="module")
def whole(trained: Path) -> Mmi:
    """The trained model, with a visual token a patch, as every other program reads it."""
    return plugins.build("models", "mmi", {"weights": str(trained / "weights")}, device="cpu")


@pytest.fixture(scope="module")
def url(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where scripts/serve_vllm.sh serves the merged model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    script = ["bash", str(Path(__file__).parents[1] / "scripts" / "serve_vllm.sh"), str(trained / "merged")]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*script, "--dtype", "float32"],
            env={**os.environ, "PORT": str(port), "HF_HUB_OFFLINE": "1"}, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        patience = {"base_url": f"http://127.0.0.1:{port}/v1", "retries": 0}
        until = time.monotonic() + 1200
        while not answers(patience):
            assert server.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < until, "no server within 20 minutes"
            time.sleep(2)
        yield patience["base_url"]
    finally:
        server.terminate()
        server.wait()


def answers(values: dict[str, Any]) -> bool:
    try:
        plugins.build("answerers", "openai", values).fingerprint()
    except MmiTvrError:
        return False
    return True


def questions(model: Mmi) -> list[AnswerRequest]:
    """About texts, and about 1 to 3 key images each, of the size that the vision tower reads."""
    requests = [
        AnswerRequest(question, text=text)
        for text in ("a red circle moves", 'a "blue" </s> square')
        for question in QUESTIONS
    ]
    random = np.random.default_rng(0)
    for question in QUESTIONS:
        for count in (1, 2, 3):
            shown = random.integers(0, 256, (count, model.image_size, model.image_size, 3), dtype=np.uint8)
            segments = np.zeros((count, 3))
            features = Features(segments, model.encode_images(list(shown)))
            requests.append(AnswerRequest(question, features=features, pictures=tuple(shown)))
    return requests


def untrained(model: Mmi, given: Sequence[AnswerRequest]) -> list[str]:
    """What the base says, without adapter."""
    base = Mmi(model.options.model_copy(update={"weights": None}), "cpu")
    return list(map(str, plugins.build("answerers", "transformers", {"max_tokens": MOST}, model=base).answer(given)))


def assert_same_answers(actual: Sequence[str | AnswerError], expected: Sequence[str | AnswerError]) -> None:
    one, other = list(map(str, actual)), list(map(str, expected))
    assert one == other
    assert len(set(one)) > len(one) // 2, "different questions have different answers"


@pytest.mark.vllm
def test_a_server_says_what_transformers_says(url: str, whole: Mmi) -> None:
    given = questions(whole)
    expected = plugins.build("answerers", "transformers", {"max_tokens": MOST}, model=whole).answer(given)
    values = {"base_url": url, "max_tokens": MOST, "timeout": 300}
    assert_same_answers(plugins.build("answerers", "openai", values).answer(given), expected)


@pytest.mark.vllm
def test_a_server_refuses_one_question_and_answers_the_rest(url: str, whole: Mmi) -> None:
    given = questions(whole)[:3]
    values = {"base_url": url, "max_tokens": MOST, "timeout": 300}
    alone = plugins.build("answerers", "openai", values).answer(given)
    replies = plugins.build("answerers", "openai", values).answer([AnswerRequest("red " * 2500, text="a"), *given])
    assert str(replies[0]).startswith("the server says 400: ")
    assert list(map(str, replies[1:])) == list(map(str, alone))


@pytest.mark.vllm
@pytest.mark.parametrize("merged", [True, False], ids=["merged", "adapter"])
def test_the_engine_says_what_transformers_says(trained: Path, merged: bool) -> None:
    """From visual tokens, of which there are fewer than patches."""
    pytest.importorskip("vllm", reason="needs the Python of vLLM's environment: docs/answerers.md")
    values = {"weights": str(trained / "weights"), "llava": {"grid": 2}}
    model = plugins.build("models", "mmi", values, device="cpu")
    given = questions(model)
    expected = plugins.build("answerers", "transformers", {"max_tokens": MOST}, model=model).answer(given)
    assert list(map(str, expected)) != untrained(model, given), "the adapter matters"
    options = {"dtype": "float32", "memory": 0.3, "max_tokens": MOST, "engine": {"block_size": 32}}
    if merged:
        options["checkpoint"] = str(trained / "merged")
    assert_same_answers(plugins.build("answerers", "vllm", options, model=model).answer(given), expected)


SKELETONS = ["a red circle", "a blue square grows then moves left", "no", "left then right"]


def judged(judge: Any) -> list[float]:
    judgements = judge.judge("a red circle moves left then grows", SKELETONS)
    return [judgement.probability for judgement in judgements]


@pytest.mark.vllm
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_server_judges_as_the_model_in_this_process(url: str, whole: Mmi, api: str) -> None:
    expected = judged(plugins.build("judges", "llava", {}, model=whole))
    served = plugins.build("judges", "openai", {"base_url": url, "timeout": 300, "api": api})
    assert judged(served) == pytest.approx(expected, abs=1e-3)
    assert {judgement.judged_by for judgement in served.judge("a", ["b"])} == {"log-probabilities"}


@pytest.mark.vllm
def test_the_engine_judges_as_transformers_do(trained: Path, whole: Mmi) -> None:
    pytest.importorskip("vllm", reason="needs the Python of vLLM's environment: docs/answerers.md")
    expected = judged(plugins.build("judges", "llava", {}, model=whole))
    options = {"dtype": "float32", "memory": 0.3, "engine": {"block_size": 32}}
    for values in ({"checkpoint": str(trained / "merged")}, {}):  # {}: the base, with its adapter as a LoRA request
        judge = plugins.build("judges", "vllm", {**options, **values}, model=whole)
        assert judged(judge) == pytest.approx(expected, abs=1e-3)
