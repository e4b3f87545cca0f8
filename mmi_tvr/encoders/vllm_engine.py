"""vLLM's engine in this process: one for all that ask the same model, with what prompts share computed once."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..errors import AnswerError, ModelNotFound, one_line
from ..plugins import BaseOptions
from ..utils.installation import require
from ..utils.loading import LOADING, late_property
from .lora_file import PROJECTOR

_SETTINGS = "adapter_config.json"


class EngineOptions(BaseOptions):
    """Options of an engine."""

    checkpoint: str | None = Field(
        None, description="a merged model's folder; default: the model's base, with its adapter as a LoRA request"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the weights")
    max_model_len: int | None = Field(None, ge=1, description="tokens of prompt and answer; default: the model's own")
    memory: float = Field(0.8, gt=0, le=1, description="share of the GPU's memory that the engine takes")
    engine: dict[str, Any] = Field({}, description="further arguments of vllm.LLM, for example block_size")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of vllm.LLM that these options stand for."""
        return {
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "gpu_memory_utilization": self.memory,
            "enable_prefix_caching": True,
            "enable_mm_embeds": True,
            **self.engine,
        }


class VllmEngine:
    """vllm.LLM with a model, and its adapter where that is not merged. It starts at the first use, and stays."""

    def __init__(self, folder: Path, adapter: Path | None, arguments: dict[str, Any]) -> None:
        self._folder, self._adapter, self._arguments = folder, adapter, arguments

    @late_property
    def llm(self) -> Any:
        """The engine itself. Raises MissingExtra without vLLM, ModelNotFound where it cannot load the model."""
        arguments = self._arguments
        if self._adapter:
            rank = json.loads((self._adapter / _SETTINGS).read_text(encoding="utf-8"))["r"]
            arguments = {"enable_lora": True, "max_lora_rank": max(8, 1 << (rank - 1).bit_length()), **arguments}
        try:
            return require("vllm", "vllm").LLM(model=str(self._folder), **arguments)
        except Exception as error:  # vLLM's own kinds, and whatever a checkpoint that it cannot read makes it raise
            raise ModelNotFound(
                f"{self._folder}: vLLM cannot load it; a merged model is loaded best ({one_line(error)})"
            ) from error

    def started(self) -> VllmEngine:
        """Start the engine, where it is not running yet, and return this."""
        assert self.llm is not None
        return self

    def generate(self, inputs: Sequence[Any], sampling: Any) -> list[Any]:
        """Return vLLM's outputs; `sampling` is its SamplingParams. AnswerError where it refuses one of the inputs."""
        llm, lora = self.llm, self._lora
        try:
            return list(llm.generate(list(inputs), sampling, lora_request=lora, use_tqdm=False))
        except Exception as error:  # vLLM's own kinds: a prompt that is too long with its pictures, or too many of them
            raise AnswerError(f"vLLM gives no answer ({one_line(error)})") from error

    @late_property
    def _lora(self) -> Any:
        if self._adapter is None:
            return None
        request = require("vllm.lora.request", "vllm").LoRARequest
        folder = Path(tempfile.mkdtemp(prefix="mmi-tvr-adapter-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # the engine reads it when it is first used
        without_projector(self._adapter, folder)
        return request("mmi-tvr", 1, str(folder))


_engines: weakref.WeakValueDictionary[str, VllmEngine] = weakref.WeakValueDictionary()  # those in use


def shared_engine(folder: Path, adapter: Path | None, options: EngineOptions) -> VllmEngine:
    """Return the engine of a model with its adapter; the same one for the same options, while somebody uses it.

    Decision: whoever answers and whoever judges share it, because it takes most of a GPU's memory.
    """
    arguments = options.arguments()
    key = json.dumps([str(folder), str(adapter), arguments], sort_keys=True, default=str)
    with LOADING:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = VllmEngine(folder, adapter, arguments)
    return engine


def without_projector(adapter: Path, folder: Path) -> None:
    """Write the low-rank part of an adapter into `folder`. vLLM refuses a projector in it, and needs none: ours is
    in the visual tokens already."""
    from safetensors.numpy import load_file, save_file

    for path in adapter.glob("*.safetensors"):
        low_rank = {name: weight for name, weight in load_file(path).items() if PROJECTOR not in name}
        save_file(low_rank, folder / path.name)
    settings = json.loads((adapter / _SETTINGS).read_text(encoding="utf-8"))
    (folder / _SETTINGS).write_text(json.dumps(settings | {"modules_to_save": None}), encoding="utf-8")
