"""ResNets (He et al. 2016) in the layout of Hugging Face: a vector of each picture, the mean over its places.

MCSAN, HGR and HANet read ResNet-152's (2,048 numbers). Decision: transformers' ResNetModel, whose weights are others
than those that HGR's published features were made with, so the two are never mixed (`vision_fingerprint`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelNotFound, one_line
from ..types import Pixels
from ..utils.device import resolve
from . import pretrained
from .hub import LOCAL, checkpoint_digest, model_type
from .quiet import quiet_loading

MODEL_TYPE = "resnet"


class ResNetTower:
    """Pictures -> vectors that are not of unit length. Loads weights from safetensors only."""

    @quiet_loading()
    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        """Load a checkpoint.

        Args:
            folder: of the checkpoint.
            device: as `utils.device.resolve` takes it.
            batch: pictures that are read at once.

        Raises:
            ModelNotFound: where the folder holds no ResNet.
        """
        import torch
        from transformers import AutoImageProcessor, ResNetModel

        if (kind := model_type(folder)) != MODEL_TYPE:
            raise ModelNotFound(f"{folder}: {f'a {kind} checkpoint' if kind else 'no checkpoint'}, not a ResNet")
        try:
            model: Any = pretrained.load(ResNetModel, folder, dtype=torch.float32)
            self._processor = AutoImageProcessor.from_pretrained(folder, **LOCAL)  # type: ignore[no-untyped-call]
            settings = self._processor.to_dict()
            # The shorter side of the pictures that it wants to see, before its processor crops the middle.
            self.image_size = round(int(settings["size"]["shortest_edge"]) / float(settings.get("crop_pct") or 1))
        except pretrained.unreadable(KeyError) as error:
            raise ModelNotFound(f"{folder}: not a ResNet of Hugging Face's layout: {one_line(error)}") from error
        self._device = resolve(device)
        self._model = model.eval().to(self._device)
        self._batch = batch
        self.width = int(model.config.hidden_sizes[-1])
        self.digest = checkpoint_digest(folder)

    def embed_images(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return the vectors (N, D) of N pictures of any size."""
        import torch

        parts = [np.zeros((0, self.width), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(images), self._batch):
                batch = list(images[start : start + self._batch])
                inputs = self._processor(images=batch, return_tensors="pt").to(self._device)
                parts.append(self._model(**inputs).pooler_output.flatten(1).float().cpu().numpy())
        return np.concatenate(parts)
