"""Where somebody is: a texture behind them, the seven of moving shapes with more contrast, and bricks."""

from __future__ import annotations

import numpy as np

from ...types import Pixels
from .._moving_shapes.dice import Dice
from .._moving_shapes.picture import Plane, textures
from .scenes import Scene

_GREY = 128  # on average
_CONTRAST = 42  # grey levels


def background(scene: Scene, size: int) -> Pixels:
    """Return the picture behind somebody, (size, size, 3)."""
    dice = Dice(scene.seed)
    tint = np.array([_GREY + dice.between(-30, 30) for _ in range(3)], np.float32)
    plane = _bricks(dice, size) if scene.place == "bricks" else textures(dice, size)[scene.place]()
    levels = tint + np.float32(_CONTRAST) * plane[..., None]
    ground: Pixels = levels.clip(0, 255).astype(np.uint8)
    return ground


def _bricks(dice: Dice, size: int) -> Plane:
    """Return rows of bricks, every other one moved by half a brick."""
    rows = dice.between(6, 9)
    side = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size * rows
    row = np.floor(side)[:, None]
    along = side[None, :] / 2 + row % 2 / 2
    joint = (side[:, None] % 1 < 0.2) | (along % 1 < 0.1)
    plane: Plane = np.where(joint, np.float32(1.0), np.float32(-0.5))
    return plane
