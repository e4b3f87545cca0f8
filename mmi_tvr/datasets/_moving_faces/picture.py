"""Pixels of a scene, and where in them the face is. Drawn four times as large and averaged.

Pictures may differ in the last bit between machines; scenes and sentences do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ...types import Pixels
from .._moving_shapes.picture import rgb
from .head import Box, Pen, draw_head, head_box
from .identities import identities
from .looks import Looks
from .places import background
from .props import draw_prop
from .scenes import Scene

_SCALE = 4  # pixels of the drawing to one of the picture, each way
_NOISE = 3.0  # grey levels


def render(scene: Scene, times: Sequence[float], size: int, looks: Looks | None = None) -> Pixels:
    """Return the pictures of a scene.

    Args:
        scene: what is drawn.
        times: seconds.
        size: width and height in pixels.
        looks: of the face; None: those of the scene's person.

    Returns:
        (N, size, size, 3) RGB.
    """
    face = looks or identities()[scene.identity].looks
    ground = background(scene, size)
    large = Image.fromarray(ground).resize((size * _SCALE, size * _SCALE), Image.Resampling.NEAREST)
    noise = np.random.Generator(np.random.PCG64(scene.seed))
    pictures = np.empty((len(times), size, size, 3), np.uint8)
    for number, time in enumerate(times):
        picture = large.copy()
        pen = _pen(scene, time, size * _SCALE, ImageDraw.Draw(picture))
        _draw_body(pen, scene)
        draw_head(pen, face, scene.mouth(time))
        draw_prop(pen, scene.doing, scene.movement(time))
        pictures[number] = _lit(np.asarray(picture.reduce(_SCALE)), scene, noise)
    return pictures


def face_box(scene: Scene, time: float, size: int) -> Box:
    """Return left, top, right and bottom of the face (without hair and ears) at a time (seconds), in pixels of a
    picture of this size."""
    return head_box(_pen(scene, time, size, None))


def _pen(scene: Scene, time: float, size: int, draw: ImageDraw.ImageDraw | None) -> Pen:
    """Return where the head is: to the left of the middle, its prop to the right, or the other way round."""
    half = scene.face / 2000 * size
    room_across, room_down = 0.44 * size - 1.25 * half, 0.52 * size - 1.45 * half
    x = 1.2 * half + room_across * scene.across / 1000 * 0.9
    y = 1.4 * half + room_down * scene.down / 1000
    y += 0.02 * size * scene.movement(time)
    return Pen(
        draw,
        centre=(size - x if scene.mirrored else x, y),
        half=half,
        turn=math.radians(scene.turned(time)),
        tilt=math.radians(scene.tilt),
        mirrored=scene.mirrored,
    )


def _draw_body(pen: Pen, scene: Scene) -> None:
    """Draw shoulders below the head, down to the edge of the picture."""
    x, y = pen.centre
    colour, width, top = rgb(scene.clothes), pen.half * 1.25, y + pen.half * 0.85
    assert pen.draw is not None
    pen.draw.rounded_rectangle((x - width, top, x + width, top + 12 * pen.half), pen.half * 0.6, fill=colour)


def _lit(picture: Pixels, scene: Scene, noise: np.random.Generator) -> Pixels:
    light = np.array(scene.tint, np.float32) / 3
    values = picture * np.float32(scene.light / 100) + light
    values += noise.standard_normal(values.shape, np.float32) * np.float32(_NOISE)
    lit: Pixels = values.clip(0, 255).astype(np.uint8)
    return lit
