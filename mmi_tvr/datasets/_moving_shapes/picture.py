"""Pixels of a spec at any size, anti-aliased by signed distances: the one picture function for files and training.

Pictures may differ in the last bit between machines (floating point); specs and captions do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dice import Dice
from .motion import Motion, Pose
from .world import Spec

Plane = NDArray[np.floating[Any]]
Distance = Callable[[Plane, Plane], Plane]  # of points to the edge of a shape: in radii, negative inside
_RGB = {
    "red": (214, 34, 40),
    "orange": (250, 140, 10),
    "yellow": (250, 225, 40),
    "green": (30, 155, 55),
    "blue": (35, 75, 220),
    "purple": (135, 40, 170),
    "pink": (255, 140, 190),
    "black": (15, 15, 18),
}
_WHITE = np.array((255, 255, 255), np.float32)
_GREY = 128  # of a background, on average: every colour stands out from it, and so does white
_CONTRAST = 16  # of a texture, in grey levels


def render_frames(spec: Spec, times: Sequence[float], size: int) -> NDArray[np.uint8]:
    """Return the pictures at these times (seconds), (N, size, size, 3) RGB. A still stretch is drawn once."""
    motion, ground = Motion(spec), _background(spec, size)
    poses = [motion.at(time) for time in times]
    drawn = {pose: _draw(spec, pose, ground) for pose in dict.fromkeys(poses)}
    return np.stack([drawn[pose] for pose in poses]) if poses else np.empty((0, size, size, 3), np.uint8)


def _draw(spec: Spec, poses: Sequence[Pose], ground: NDArray[np.float32]) -> NDArray[np.uint8]:
    canvas = ground.copy()
    for thing, pose in zip(spec.things, poses, strict=True):
        if pose.opacity > 0:
            colour = np.array(_RGB[thing.colour], np.float32)
            colour += pose.white * (_WHITE - colour)
            for centre in pose.centres:
                _paint(canvas, thing.shape, colour, centre, pose)
    pixels: NDArray[np.uint8] = np.rint(canvas).astype(np.uint8)
    return pixels


def _paint(
    canvas: NDArray[np.float32], shape: str, colour: NDArray[np.float32], centre: tuple[float, float], pose: Pose
) -> None:
    """Blend one shape into the canvas, in place.

    Args:
        canvas: (H, H, 3), 0..255.
        shape: one of SHAPES.
        colour: (3,), 0..255.
        centre: of the shape, in shares of the canvas.
        pose: of its thing.
    """
    size = len(canvas)
    reach = pose.radius * 1.4 + 1 / size
    (left, right), (top, bottom) = (
        (max(0, int((middle - reach) * size)), min(size, int((middle + reach) * size) + 1)) for middle in centre
    )
    x = ((np.arange(left, right, dtype=np.float32) + 0.5) / size - centre[0]) / pose.radius
    y = ((np.arange(top, bottom, dtype=np.float32) + 0.5) / size - centre[1]) / pose.radius
    distance = _DISTANCES[shape](*_rotated(x[None, :], y[:, None], pose.angle))
    cover = np.clip(0.5 - distance * (pose.radius * size), 0, 1) * pose.opacity
    patch = canvas[top:bottom, left:right]
    patch += cover[..., None] * (colour - patch)


def _rotated(x: Plane, y: Plane, angle: float) -> tuple[Plane, Plane]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _star(points: int, inner: float, outer: float) -> Distance:
    """Return the distance to the edges of a star with a point at the top; a regular polygon where they are straight.

    The plane is folded into one half of one point, where a single edge runs from the tip to the notch.
    """
    half = np.pi / points
    notch = np.array((inner * np.cos(half), inner * np.sin(half)), np.float32)
    edge = notch - np.array((outer, 0), np.float32)
    across = np.array((edge[1], -edge[0]), np.float32) / np.hypot(*edge)

    def to_edge(x: Plane, y: Plane) -> Plane:
        angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
        radius = np.hypot(x, y)
        distance: Plane = (radius * np.cos(angle) - outer) * across[0] + radius * np.sin(angle) * across[1]
        return distance

    return to_edge


def _square(x: Plane, y: Plane) -> Plane:
    distance: Plane = np.maximum(np.abs(x), np.abs(y)) - np.float32(0.9)
    return distance


def _cross(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    distance: Plane = np.maximum(long - np.float32(1.08), short - np.float32(0.34))
    return distance


_DISTANCES: Mapping[str, Distance] = {
    "circle": lambda x, y: np.hypot(x, y) - np.float32(1),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - np.float32(0.8)) - np.float32(0.25),
    "square": _square,
    "triangle": _star(3, 0.6, 1.2),
    "star": _star(5, 0.5, 1.2),
    "cross": _cross,
}


def _background(spec: Spec, size: int) -> NDArray[np.float32]:
    """Return a tinted grey with a weak texture, (size, size, 3)."""
    tint = np.array([_GREY + level for level in spec.tint], np.float32)
    texture = textures(Dice(spec.seed), size)[spec.texture]()
    background: NDArray[np.float32] = tint + np.float32(_CONTRAST) * texture[..., None]
    return background


def textures(dice: Dice, size: int) -> Mapping[str, Callable[[], Plane]]:
    """Return by name what draws each texture, (size, size), about -1 to 1: turned and scaled as the dice say."""
    side = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size
    x, y = _rotated(side[None, :] - 0.5, side[:, None] - 0.5, dice.below(360) * np.pi / 180)
    waves = np.float32(2 * np.pi * dice.between(3, 6))
    return {
        "plain": lambda: np.zeros((size, size), np.float32),
        "gradient": lambda: 1.4 * x,
        "stripes": lambda: np.tanh(3 * np.sin(waves * x)),
        "checks": lambda: np.tanh(3 * np.sin(waves * x) * np.sin(waves * y)),
        "dots": lambda: np.tanh(6 * np.sin(waves * x) * np.sin(waves * y) - 2),
        "waves": lambda: np.sin(waves * x + 2 * np.sin(waves * y / 2)),
        "clouds": lambda: _clouds(dice, side),
    }


def rgb(colour: str) -> tuple[int, int, int]:
    """Return one of `COLOURS` as red, green and blue, 0..255."""
    return _RGB[colour]


def _clouds(dice: Dice, side: Plane, cells: int = 7) -> Plane:
    """Return random values on a coarse grid, smoothly filled in, (size, size)."""
    values = np.array([dice.between(-100, 100) / 100 for _ in range((cells + 1) ** 2)], np.float32)
    position = side * cells
    cell = np.minimum(position.astype(np.int64), cells - 1)
    part = position - cell
    weights = np.zeros((len(side), cells + 1), np.float32)
    rows = np.arange(len(side))
    weights[rows, cell], weights[rows, cell + 1] = 1 - part * part * (3 - 2 * part), part * part * (3 - 2 * part)
    clouds: Plane = 1.5 * (weights @ values.reshape(cells + 1, cells + 1) @ weights.T)
    return clouds
