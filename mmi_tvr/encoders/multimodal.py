"""Sentences and pictures -> vectors: the last token of a multimodal language model of the Hugging Face layout.

Qwen2-VL, Qwen2.5-VL and Qwen3-VL, and so the embedding models built on them: GME and VLM2Vec-V2 (Qwen2-VL),
Qwen3-VL-Embedding. The tokens of pictures are put into the text here, because transformers' processors of these models
want torchvision for videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelNotFound, UsageError, one_line
from ..types import FloatArray, Pixels
from ..utils.device import resolve
from ..utils.hashing import digest
from . import adapter_file, pretrained
from .hub import LOCAL, checkpoint_digest, locate, model_type
from .quiet import quiet_loading

MODEL_TYPES = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl"})
VIDEO = "\0"  # where frames go in a prompt; in no text
_START, _END = "<|vision_start|>", "<|vision_end|>"
_PICTURE, _VIDEO = "<|image_pad|>", "<|video_pad|>"
_PICTURE_TYPE, _VIDEO_TYPE = 1, 2  # as the models number what a token stands for
_TIMED = "qwen3_vl"  # writes the second of each frame in front of it


class MultimodalEncoder:
    """Reads a prompt, with or without frames, and gives the unit vector of its last token.

    Loads weights from safetensors only, and never runs code of the checkpoint.
    """

    @quiet_loading()
    def __init__(
        self, folder: Path, device: str, width: int | None = None, dtype: str = "float32", base: str | None = None
    ) -> None:
        """Load a checkpoint.

        Args:
            folder: of the checkpoint, or of a LoRA adapter.
            device: as `utils.device.resolve` takes it.
            width: keep so many numbers of a vector (Matryoshka); None keeps all.
            dtype: float32, bfloat16 or float16, of the weights.
            base: folder or hub name of the checkpoint that the adapter was trained on; None: the one that it names.

        Raises:
            ModelNotFound: where the folder holds no checkpoint of these layouts.
            UsageError: where its vectors have fewer than `width` numbers.
        """
        import torch
        from transformers import AutoImageProcessor, AutoModel

        adapter = folder if adapter_file.is_adapter(folder) else None
        if adapter is not None:
            named = adapter_file.base_name(adapter)
            folder = locate(base or named)
        kind = model_type(folder)
        if kind not in MODEL_TYPES:
            layout = "no config.json names a model type" if kind is None else f"a {kind} checkpoint"
            raise ModelNotFound(f"{folder}: {layout}; this model loads: {', '.join(sorted(MODEL_TYPES))}")
        try:
            self._model = pretrained.load(AutoModel, folder, dtype=dtype)
            if adapter is not None:
                adapter_file.add(self._model, adapter)
            self._tokenizer: Any = pretrained.tokenizer(folder)
            self._pictures: Any = AutoImageProcessor.from_pretrained(folder, **LOCAL)  # type: ignore[no-untyped-call]
        except pretrained.unreadable() as error:
            raise ModelNotFound(f"{folder}: not a checkpoint of that layout: {one_line(error)}") from error
        hidden = int(self._model.config.get_text_config().hidden_size)
        if width is not None and width > hidden:
            raise UsageError(f"width: {folder} has vectors of {hidden} numbers, not {width}")
        self.width = width or hidden
        self.digest = checkpoint_digest(folder)
        if adapter is not None:
            self.digest = digest("adapted", self.digest, checkpoint_digest(adapter))
        self._kind = kind
        self._folder = folder
        self._device = resolve(device)
        self._model.eval().to(self._device)
        self._torch = torch

    def embed_texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (N, width) of N prompts, read together."""
        if not prompts:
            return np.zeros((0, self.width), np.float32)
        rows = [self._tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        longest = max(map(len, rows))
        ids = self._torch.zeros((len(rows), longest), dtype=self._torch.long)
        mask = self._torch.zeros_like(ids)
        for number, row in enumerate(rows):  # padded behind: what stands in front never sees it
            ids[number, : len(row)] = self._torch.tensor(row)
            mask[number, : len(row)] = 1
        return self._last_tokens({"input_ids": ids, "attention_mask": mask}, mask.sum(dim=1) - 1)

    def characters_read(self, text: str, tokens: int) -> int:
        """Return how many characters of a text, from its start, are in its first `tokens` tokens."""
        offsets = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return len(text) if len(offsets) <= tokens else int(offsets[tokens - 1][1])

    def embed_frames(
        self, prompt: str, frames: Sequence[Pixels], times: FloatArray | None, bounded: bool = True
    ) -> NDArray[np.float32]:
        """Return the unit vector (width,) of a prompt whose `VIDEO` are frames.

        Args:
            prompt: with one `VIDEO`, where they go.
            frames: pictures of one size, in order.
            times: their seconds, where they are frames of one video; None: they are pictures.
            bounded: whether the marks of where vision begins and ends stand around them.
        """
        start, end = (_START, _END) if bounded else ("", "")
        pictures = self._pictures(images=list(frames), return_tensors="pt")
        grid = pictures["image_grid_thw"]  # (K, 3): one step of time, rows and columns of patches
        tokens = [int(count) for count in grid.prod(dim=1) // self._pictures.merge_size**2]
        if times is None:
            text = "".join(f"{start}{_PICTURE * count}{end}" for count in tokens)
            inputs = {"pixel_values": pictures["pixel_values"], "image_grid_thw": grid}
        else:
            # A step of these models' time is two frames of a video, and of a picture two copies: so is each frame here.
            text = f"{start}{_VIDEO * sum(tokens)}{end}"
            if self._kind == _TIMED:
                timed = zip(tokens, times, strict=True)
                text = "".join(f"<{second:.1f} seconds>{start}{_VIDEO * count}{end}" for count, second in timed)
            whole = self._torch.tensor([[len(frames), *grid[0, 1:].tolist()]])
            inputs = {"pixel_values_videos": pictures["pixel_values"], "video_grid_thw": whole}
        ids = self._tokenizer(prompt.replace(VIDEO, text), add_special_tokens=False, return_tensors="pt")["input_ids"]
        types = self._torch.zeros_like(ids)
        types[ids == self._tokenizer.convert_tokens_to_ids(_PICTURE)] = _PICTURE_TYPE
        types[ids == self._tokenizer.convert_tokens_to_ids(_VIDEO)] = _VIDEO_TYPE
        inputs |= {"input_ids": ids, "attention_mask": self._torch.ones_like(ids), "mm_token_type_ids": types}
        vectors: NDArray[np.float32] = self._last_tokens(inputs, self._torch.tensor([ids.shape[1] - 1]))[0]
        return vectors

    def _last_tokens(self, inputs: dict[str, Any], last: Any) -> NDArray[np.float32]:
        """Return the unit vectors (N, width) of the tokens numbered `last` (N,)."""
        torch = self._torch
        with torch.inference_mode():
            moved = {name: value.to(self._device) for name, value in inputs.items()}
            states = self._model(**moved, use_cache=False).last_hidden_state  # (N, tokens, hidden), normed
            rows = torch.arange(len(states), device=states.device)
            vectors = states[rows, last.to(states.device)].float()[:, : self.width]
            unit = torch.nn.functional.normalize(vectors, dim=-1)
        if not bool(unit.isfinite().all()):
            raise ModelNotFound(
                f"{self._folder}: its vectors are no numbers, with weights of {self._model.dtype}; where that is "
                "float16, bfloat16 has a wider range (dtype)"
            )
        return np.asarray(unit.cpu().numpy(), dtype=np.float32)
