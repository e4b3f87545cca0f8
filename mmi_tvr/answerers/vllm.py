"""Answers from vLLM in this process: many at once, on a GPU, with what they share of their prompts computed once.

Decision: the engine is given visual tokens (vLLM's image embeddings), made by our projector from the features of the
cache. So it sees a key image as the model was trained to, with grid x grid tokens, and no picture is read twice.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .. import plugins
from ..encoders import hub
from ..errors import AnswerError, ModelNotFound, one_line
from ..protocols import Model
from ..types import AnswerRequest
from ._common import VideoInput, said
from ._reading import Reading, ReadingOptions

_SETTINGS = "adapter_config.json"


class Options(ReadingOptions):
    """Options of answers from vLLM."""

    checkpoint: str | None = Field(
        None, description="a merged model's folder; default: the model's base, with its adapter as a LoRA request"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the weights")
    max_model_len: int | None = Field(None, ge=1, description="tokens of prompt and answer; default: the model's own")
    memory: float = Field(0.8, gt=0, le=1, description="share of the GPU's memory that the engine takes")
    batch: int = Field(256, ge=1, description="questions handed over together")
    engine: dict[str, Any] = Field({}, description="further arguments of vllm.LLM, for example block_size")


def build(options: Options, *, device: str = "auto", model: Model | None = None) -> VllmAnswerer:
    return VllmAnswerer(options, Reading(options, device, model))


class VllmAnswerer:
    """Greedy answers. The engine starts at the first question (MissingExtra, ModelNotFound) and stays.

    The language model is in memory twice where searching needs it, too: there in torch, here in vLLM.
    """

    name = "vllm"
    video_input: VideoInput = "features"

    def __init__(self, options: Options, reading: Reading) -> None:
        self.options = options
        self._reading = reading

    def answer(
        self, requests: Sequence[AnswerRequest], advance: Callable[[], object] = lambda: None
    ) -> list[str | AnswerError]:
        vllm = plugins.require("vllm", "vllm")
        greedy = vllm.SamplingParams(temperature=0.0, max_tokens=self.options.words.max_tokens)
        found = self._reading.prompts(requests, self.options.max_model_len)
        rows = [row for row, prompt in enumerate(found) if isinstance(prompt, str)]
        for _ in range(len(found) - len(rows)):
            advance()
        for first in range(0, len(rows), self.options.batch):
            own = rows[first : first + self.options.batch]
            inputs = self.inputs([str(found[row]) for row in own], [requests[row] for row in own])
            replies = self._engine.generate(inputs, greedy, lora_request=self._lora, use_tqdm=False)
            for row, reply in zip(own, replies, strict=True):
                found[row] = said(reply.outputs[0].text)
                advance()
        return found

    def fingerprint(self) -> str:
        merged = hub.checkpoint_digest(hub.locate(self.options.checkpoint)) if self.options.checkpoint else None
        return self._reading.fingerprint(self.name, merged, self.options.dtype)

    def inputs(self, prompts: Sequence[str], requests: Sequence[AnswerRequest]) -> list[dict[str, Any]]:
        """What vLLM reads: ids with one image token a key image, and the visual tokens (K, T, d_lm) beside them."""
        with self._reading.speaking():
            visual = self._reading.visual(requests)
        tokenized = self._reading.llava.tokenizer(list(prompts))["input_ids"]
        found, first = [], 0
        for ids, request in zip(tokenized, requests, strict=True):
            found.append({"prompt_token_ids": ids})
            if visual is not None and request.text is None and request.features:
                last = first + len(request.features.segments)
                found[-1]["multi_modal_data"] = {"image": visual[first:last].float().cpu()}
                first = last
        return found

    @cached_property
    def _adapter(self) -> Path | None:
        """The trained adapter, where it is not merged into the checkpoint."""
        merged = self.options.checkpoint is not None
        return self._reading.model.adapter_folder() if self.options.adapter and not merged else None

    @cached_property
    def _engine(self) -> Any:
        vllm, options = plugins.require("vllm", "vllm"), self.options
        folder = hub.locate(options.checkpoint or self._reading.model.language_checkpoint())
        more = dict(options.engine)
        if self._adapter:
            rank = json.loads((self._adapter / _SETTINGS).read_text(encoding="utf-8"))["r"]
            more = {"enable_lora": True, "max_lora_rank": max(8, 1 << (rank - 1).bit_length()), **more}
        try:
            return vllm.LLM(
                model=str(folder),
                dtype=options.dtype,
                max_model_len=options.max_model_len,
                gpu_memory_utilization=options.memory,
                enable_prefix_caching=True,
                enable_mm_embeds=True,
                **more,
            )
        except Exception as error:  # vLLM's own kinds, and whatever a checkpoint that it cannot read makes it raise
            why = one_line(error)
            raise ModelNotFound(f"{folder}: vLLM cannot load it; a merged model is loaded best ({why})") from error

    @cached_property
    def _lora(self) -> Any:
        if self._adapter is None:
            return None
        request = plugins.require("vllm.lora.request", "vllm").LoRARequest
        folder = Path(tempfile.mkdtemp(prefix="mmi-tvr-adapter-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # the engine reads it when it is first used
        without_projector(self._adapter, folder)
        return request("mmi-tvr", 1, str(folder))


def without_projector(adapter: Path, folder: Path) -> None:
    """Write the low-rank part of an adapter into `folder`. vLLM refuses a projector in it, and needs none: ours is
    in the visual tokens already."""
    from safetensors.numpy import load_file, save_file

    from ..encoders.lora import PROJECTOR

    for path in adapter.glob("*.safetensors"):
        kept = {name: each for name, each in load_file(path).items() if PROJECTOR not in name}
        save_file(kept, folder / path.name)
    settings = json.loads((adapter / _SETTINGS).read_text(encoding="utf-8"))
    (folder / _SETTINGS).write_text(json.dumps(settings | {"modules_to_save": None}), encoding="utf-8")
