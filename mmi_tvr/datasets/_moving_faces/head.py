"""A head: outline, hair, eyes, nose and all else, turned in space.

Points of a face are given in halves of its height, x to the right and y downwards, (0, 0) in its middle. Turning moves
them as points of a ball.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from .looks import Looks

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Colour = tuple[int, int, int]
SKIN: dict[str, Colour] = {
    "pale": (252, 228, 210),
    "rosy": (244, 178, 160),
    "golden": (226, 180, 100),
    "olive": (170, 150, 96),
    "brown": (146, 94, 58),
    "dark": (84, 54, 40),
}
HAIR: dict[str, Colour] = {
    "black": (18, 16, 20),
    "chestnut": (110, 56, 20),
    "blond": (244, 216, 90),
    "red": (206, 66, 20),
    "white": (246, 246, 250),
    "blue": (40, 80, 220),
    "green": (40, 160, 70),
}
_INK, _WHITE, _LIPS = (20, 18, 24), (255, 255, 255), (190, 40, 60)
_SPACING = {"close": 0.26, "even": 0.38, "wide": 0.52}
_WIDTH = {"round": 0.92, "long": 0.68, "square": 0.86, "pointed": 0.86}
_MARK_PLACES = {"forehead": (0.0, -0.62), "cheek": (0.46, 0.28), "chin": (0.14, 0.84), "temple": (0.62, -0.3)}


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws on a picture, in the coordinates of a face. `centre` and `half` (half of the face's height) in pixels,
    `turn` (to the right) and `tilt` (clockwise) in radians."""

    draw: ImageDraw.ImageDraw | None
    centre: Point
    half: float
    turn: float
    tilt: float
    mirrored: bool

    def flat(self, x: float, y: float) -> Point:
        """Return the pixel of a point that does not turn with the head."""
        x, y = x * math.cos(self.tilt) - y * math.sin(self.tilt), x * math.sin(self.tilt) + y * math.cos(self.tilt)
        return self.centre[0] + (-x if self.mirrored else x) * self.half, self.centre[1] + y * self.half

    def point(self, x: float, y: float) -> Point:
        """Return the pixel of a point on the front of the head."""
        depth = math.sqrt(max(0.0, 1 - x * x))
        return self.flat(x * math.cos(self.turn) + 0.7 * depth * math.sin(self.turn), y)

    def polygon(self, points: Sequence[Point], fill: Colour, flat: bool = False) -> None:
        assert self.draw is not None
        self.draw.polygon([self.flat(*point) if flat else self.point(*point) for point in points], fill=fill)

    def disc(self, x: float, y: float, across: float, down: float, fill: Colour, flat: bool = False) -> None:
        """Draw an ellipse of these half axes."""
        self.polygon(ellipse(x, y, across, down), fill, flat)

    def line(self, points: Sequence[Point], fill: Colour, width: float, flat: bool = False) -> None:
        assert self.draw is not None
        pixels = [self.flat(*point) if flat else self.point(*point) for point in points]
        self.draw.line(pixels, fill=fill, width=max(1, round(width * self.half)), joint="curve")


def ellipse(x: float, y: float, across: float, down: float, start: float = 0, end: float = 360) -> list[Point]:
    """Return points of an ellipse, or of the part of it between two angles (degrees, clockwise from the right)."""
    steps = max(6, round((end - start) / 20))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def head_box(pen: Pen) -> Box:
    """Return left, top, right and bottom of the face in pixels: a square around its middle."""
    x, y = pen.centre
    return x - pen.half, y - pen.half, x + pen.half, y + pen.half


def draw_head(pen: Pen, looks: Looks, mouth: float) -> None:
    """Draw a head; `mouth` says how far its mouth is open, 0 to 1."""
    skin, hair, width = SKIN[looks.skin], HAIR[looks.hair_colour], _WIDTH[looks.outline]
    _back_hair(pen, looks.hair, hair, width)
    _ears(pen, looks.ears, skin, width)
    pen.polygon(_outline(looks.outline, width), skin, flat=True)
    _beard(pen, looks.beard, hair, width)
    _hair(pen, looks.hair, hair, width)
    _eyes(pen, looks, hair)
    _nose(pen, looks.nose, skin)
    _mouth(pen, looks.mouth, mouth)
    _moustache(pen, looks.beard, hair)
    _mark(pen, looks)
    _glasses(pen, looks)


def _outline(outline: str, width: float) -> list[Point]:
    if outline == "square":
        return [(-width, -0.8), (-0.6, -1), (0.6, -1), (width, -0.8), (width, 0.8), (0.7, 1), (-0.7, 1), (-width, 0.8)]
    if outline == "pointed":
        return [*ellipse(0, -0.15, width, 0.85, 180, 360), (0.62, 0.4), (0.12, 1), (-0.12, 1), (-0.62, 0.4)]
    return ellipse(0, 0, width, 1)


def _back_hair(pen: Pen, hair: str, colour: Colour, width: float) -> None:
    if hair == "long":
        pen.polygon(
            [*ellipse(0, -0.3, width + 0.28, 0.95, 180, 360), (width + 0.32, 1.15), (-width - 0.32, 1.15)], colour, True
        )
    elif hair == "curly":
        for angle in range(150, 400, 28):
            x, y = (width + 0.05) * math.cos(math.radians(angle)), -0.2 + 0.95 * math.sin(math.radians(angle))
            pen.disc(x, y, 0.32, 0.32, colour, flat=True)
    elif hair == "bun":
        pen.disc(0, -1.2, 0.4, 0.34, colour, flat=True)
    elif hair == "spiky":
        for step in range(-2, 3):
            tip = (step * 0.42 * 1.15, -1.42 + 0.1 * abs(step))
            pen.polygon([(step * 0.36 - 0.3, -0.7), tip, (step * 0.36 + 0.3, -0.7)], colour, flat=True)


def _hair(pen: Pen, hair: str, colour: Colour, width: float) -> None:
    if hair == "bald":
        return
    line = {"short": -0.6, "long": -0.55, "curly": -0.6, "spiky": -0.72, "bun": -0.66}[hair]
    start = math.degrees(math.asin(line))
    cap = ellipse(0, 0, width + 0.04, 1.06, 180 - start, 360 + start)
    pen.polygon(cap, colour, flat=True)
    if hair == "short":
        for side in (-1, 1):
            pen.polygon(
                [(side * (width + 0.04), -0.6), (side * (width - 0.16), -0.6), (side * (width - 0.04), 0.0)],
                colour,
                True,
            )


def _ears(pen: Pen, ears: str, skin: Colour, width: float) -> None:
    dark: Colour = (skin[0] * 4 // 5, skin[1] * 4 // 5, skin[2] * 4 // 5)
    for side in (-1, 1):
        if ears == "pointed":
            points = [(side * width * 0.9, 0.25), (side * (width + 0.42), -0.5), (side * width * 0.9, -0.2)]
            pen.polygon(points, dark, flat=True)
        else:
            size = 0.16 if ears == "small" else 0.34
            pen.disc(side * width, 0.0, size, size * 1.2, dark, flat=True)


def _eyes(pen: Pen, looks: Looks, hair: Colour) -> None:
    for side in (-1, 1):
        x, y = side * _SPACING[looks.spacing], -0.12
        high = {"round": 0.2, "narrow": 0.09, "sleepy": 0.17}[looks.eyes]
        wide = {"round": 0.19, "narrow": 0.24, "sleepy": 0.2}[looks.eyes]
        pen.disc(x, y, wide, high, _WHITE)
        pen.disc(x, y, 0.1, min(0.12, high), _INK)
        if looks.eyes == "sleepy":
            pen.polygon(ellipse(x, y, wide + 0.03, high + 0.03, 180, 360), SKIN[looks.skin])
            pen.line([(x - wide, y), (x + wide, y)], _INK, 0.06)
        inner, outer = {"thin": (0, 0), "thick": (0, 0), "slanted": (0.14, -0.1)}[looks.brows]
        thick = {"thin": 0.07, "thick": 0.2, "slanted": 0.12}[looks.brows]
        pen.line([(x - side * 0.2, -0.42 + inner), (x + side * 0.22, -0.42 + outer)], hair, thick)


def _nose(pen: Pen, nose: str, skin: Colour) -> None:
    dark: Colour = (skin[0] * 7 // 10, skin[1] * 7 // 10, skin[2] * 7 // 10)
    if nose == "small":
        pen.disc(0, 0.14, 0.09, 0.08, dark)
    elif nose == "long":
        pen.polygon([(-0.05, -0.2), (0.05, -0.2), (0.1, 0.34), (-0.1, 0.34)], dark)
    else:
        pen.disc(0, 0.16, 0.24, 0.13, dark)


def _mouth(pen: Pen, mouth: str, opened: float) -> None:
    wide = {"small": 0.15, "wide": 0.42, "full": 0.27}[mouth]
    high = {"small": 0.07, "wide": 0.06, "full": 0.15}[mouth]
    pen.disc(0, 0.57, wide, high + 0.1 * opened, _LIPS)
    if opened > 0.3:
        pen.disc(0, 0.57, wide * 0.7, 0.09 * opened, _INK)


def _beard(pen: Pen, beard: str, colour: Colour, width: float) -> None:
    if beard == "full":
        pen.polygon(
            [(-width, 0.2), *ellipse(0, 0.1, width, 0.95, 0, 180)[::-1], (width, 0.2), (0.5, 0.38), (-0.5, 0.38)],
            colour,
            True,
        )
    elif beard == "goatee":
        pen.polygon([(-0.24, 0.7), (0.24, 0.7), (0.12, 1.12), (-0.12, 1.12)], colour)


def _moustache(pen: Pen, beard: str, colour: Colour) -> None:
    if beard in ("moustache", "full"):
        pen.polygon([(0, 0.3), (0.42, 0.46), (0, 0.44), (-0.42, 0.46)], colour)


def _mark(pen: Pen, looks: Looks) -> None:
    x, y = _MARK_PLACES[looks.mark_place]
    if looks.mark == "mole":
        pen.disc(x, y, 0.12, 0.12, (60, 24, 20))
    elif looks.mark == "scar":
        pen.line([(x - 0.14, y - 0.16), (x + 0.14, y + 0.16)], (170, 20, 40), 0.1)
    elif looks.mark == "plaster":
        pen.polygon([(x - 0.2, y - 0.1), (x + 0.2, y - 0.1), (x + 0.2, y + 0.1), (x - 0.2, y + 0.1)], (120, 200, 240))
    else:
        pen.polygon([(x, y - 0.2), (x + 0.18, y + 0.13), (x - 0.18, y + 0.13)], (250, 230, 40))


def _glasses(pen: Pen, looks: Looks) -> None:
    if looks.glasses == "none":
        return
    inner = _SPACING[looks.spacing]
    for side in (-1, 1):
        x = side * inner
        if looks.glasses == "dark":
            pen.disc(x, -0.1, 0.29, 0.25, _INK)
            continue
        edge = (
            ellipse(x, -0.11, 0.29, 0.29)
            if looks.glasses == "round"
            else [(x - 0.3, -0.36), (x + 0.3, -0.36), (x + 0.3, 0.14), (x - 0.3, 0.14), (x - 0.3, -0.36)]
        )
        pen.line(edge, (200, 30, 160) if looks.glasses == "square" else _INK, 0.09)
    pen.line(
        [(-inner, -0.14), (inner, -0.14)] if looks.glasses == "dark" else [(-0.1, -0.14), (0.1, -0.14)], _INK, 0.08
    )
