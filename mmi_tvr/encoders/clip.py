"""Image and text towers of any Hugging Face checkpoint of the CLIP layout: CLIP, SigLIP, Chinese-CLIP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelNotFound, one_line
from ..types import Pixels
from ..utils.device import resolve
from .hub import checkpoint_digest

MODEL_TYPES = frozenset({"clip", "siglip", "siglip2", "chinese_clip"})
# Sigmoid models were trained on sentences padded to the full length, and read the last place (their model cards).
_FULL_LENGTH = frozenset({"siglip", "siglip2"})


class ClipTowers:
    """Pictures and sentences -> unit vectors of one space.

    Loads weights from safetensors only, and never runs code of the checkpoint.
    """

    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        """Load a checkpoint.

        Args:
            folder: of the checkpoint.
            device: as `utils.device.resolve` takes it.
            batch: pictures or sentences that are read at once.

        Raises:
            ModelNotFound: where the folder holds no checkpoint of the CLIP layout.
        """
        import torch
        from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

        try:
            config = AutoConfig.from_pretrained(folder)
            if config.model_type not in MODEL_TYPES:
                known = ", ".join(sorted(MODEL_TYPES))
                raise ModelNotFound(f"{folder}: a {config.model_type} checkpoint; this model loads: {known}")
            self._model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
            self._processor = AutoImageProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise ModelNotFound(f"{folder}: not a checkpoint of the CLIP layout: {one_line(error)}") from error
        self._device = resolve(device)
        self._model.eval().to(self._device)
        self._batch = batch
        self._padding = "max_length" if config.model_type in _FULL_LENGTH else True
        self._length = config.text_config.max_position_embeddings
        self.image_size = int(config.vision_config.image_size)
        self.digest = checkpoint_digest(folder)

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N pictures of any size."""
        inputs = (self._processor(images=list(batch), return_tensors="pt") for batch in self._batches(images))
        return self._unit_vectors(self._model.get_image_features, inputs)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N sentences; what is longer than the tower reads is cut."""
        inputs = (
            self._tokenizer(
                list(batch), return_tensors="pt", truncation=True, max_length=self._length, padding=self._padding
            )
            for batch in self._batches(texts)
        )
        return self._unit_vectors(self._model.get_text_features, inputs)

    def _batches(self, items: Sequence[Any]) -> Iterator[Sequence[Any]]:
        return (items[start : start + self._batch] for start in range(0, len(items), self._batch))

    def _unit_vectors(self, tower: Callable[..., Any], batches: Iterable[Any]) -> NDArray[np.float32]:
        import torch

        parts = []
        with torch.inference_mode():
            for inputs in batches:
                output = tower(**inputs.to(self._device))
                # Depending on the architecture the projected features come bare or as an output's pooler_output.
                parts.append(output if isinstance(output, torch.Tensor) else output.pooler_output)
            vectors = torch.nn.functional.normalize(torch.cat(parts).float(), dim=-1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)
