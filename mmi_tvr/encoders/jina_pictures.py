"""Pictures as the image processor of Jina-CLIP's authors makes them, which is code of the checkpoint's, and never run.

`preprocessor_config.json` says: size, mean, std, interpolation, fill_color, and resize_mode: the shorter side becomes
the square's and the middle is cut out (shortest), the longer one does and the rest is filled (longest), or the picture
is squeezed (squash).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import ModelNotFound, one_line
from ..types import Pixels
from .clip_settings import COLOUR_MEAN, COLOUR_STD

if TYPE_CHECKING:
    from torch import Tensor


class JinaPictures:
    """Pictures of any size -> `pixel_values` (N, 3, S, S), as the processor of Jina-CLIP's authors makes them."""

    def __init__(self, folder: Path, image_size: int) -> None:
        """Read `preprocessor_config.json`. ModelNotFound where it says what is not known here."""
        try:
            settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
            size = settings.get("size", image_size)
            if not isinstance(size, int):
                raise ValueError(f"pictures of size {size}")
            self._side = size
            self._mode = settings.get("resize_mode", "shortest")
            self._filter = Image.Resampling[str(settings.get("interpolation", "bicubic")).upper()]
            self._fill = int(settings.get("fill_color", 0))
            self._mean, self._std = (
                np.asarray(settings.get(name) or default, np.float32)
                for name, default in (("mean", COLOUR_MEAN), ("std", COLOUR_STD))
            )
        except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            raise ModelNotFound(f"{folder}: not a checkpoint of Jina-CLIP v2: {one_line(error)}") from error
        if self._mode not in ("shortest", "longest", "squash") or self._side != image_size:
            raise ModelNotFound(
                f"{folder}: preprocessor_config.json makes pictures of {self._side} pixels by {self._mode!r}; "
                f"known are {image_size} pixels by shortest, longest or squash"
            )

    def __call__(self, images: Sequence[Pixels], return_tensors: str = "pt") -> dict[str, Tensor]:
        """Return the pictures as a tensor."""
        import torch

        squares = np.stack([np.asarray(self._square(Image.fromarray(image)), np.float32) for image in images])
        values = (squares / 255 - self._mean) / self._std
        return {"pixel_values": torch.from_numpy(values.transpose(0, 3, 1, 2).copy())}

    def _square(self, image: Image.Image) -> Image.Image:
        """Return a picture squeezed into the square; or its middle, after one of its sides became the square's."""
        side = self._side
        if self._mode == "squash":
            return image.resize((side, side), self._filter)
        short, long = sorted(image.size)
        if self._mode == "shortest":
            width, height = (side if one == short else int(side * one / short) for one in image.size)
        else:
            width, height = (round(one * side / long) for one in image.size)
        image = image.resize((max(1, width), max(1, height)), self._filter)
        square = Image.new("RGB", (side, side), (self._fill,) * 3)
        square.paste(image, (_offset(side, image.width), _offset(side, image.height)))
        return square


def _offset(side: int, length: int) -> int:
    """Return where a picture of this length begins in a square of that side, so that their middles meet."""
    return (side - length) // 2 if length < side else -round((length - side) / 2)
