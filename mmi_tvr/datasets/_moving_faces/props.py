"""What somebody does, as it shows in any one picture: a thing beside the head, which moves.

Coordinates are in halves of the face's height, from the middle of the place beside the head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .head import Colour, Pen, Point, ellipse

_INK, _WHITE, _RED, _WOOD = (20, 18, 24), (250, 250, 250), (214, 34, 40), (150, 96, 40)
_BLUE, _GREEN, _YELLOW, _STEEL = (40, 70, 200), (30, 155, 55), (250, 225, 40), (150, 160, 175)
_ASIDE = 1.95  # from the middle of the face


class _Hand:
    """Draws things at a place beside the head, moved and turned."""

    def __init__(self, pen: Pen, x: float, y: float, angle: float = 0.0) -> None:
        self._pen, self._x, self._y, self._cos, self._sin = pen, x, y, math.cos(angle), math.sin(angle)

    def _placed(self, points: list[Point]) -> list[Point]:
        return [(self._x + x * self._cos - y * self._sin, self._y + x * self._sin + y * self._cos) for x, y in points]

    def polygon(self, points: list[Point], fill: Colour) -> None:
        self._pen.polygon(self._placed(points), fill, flat=True)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def disc(self, x: float, y: float, across: float, down: float, fill: Colour) -> None:
        self.polygon(ellipse(x, y, across, down), fill)

    def line(self, points: list[Point], fill: Colour, width: float) -> None:
        self._pen.line(self._placed(points), fill, width, flat=True)


def draw_prop(pen: Pen, doing: str, movement: float) -> None:
    """Draw what somebody holds; `movement` (-1 to 1) says where it is on its way."""
    _PROPS[doing](pen, movement)


def _flag(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE, 0.5, 0.35 * movement)
    hand.line([(-0.4, 1.2), (-0.4, -1.3)], _WOOD, 0.12)
    hand.box(-0.36, -1.3, 0.75, -0.85, _RED)
    hand.box(-0.36, -0.85, 0.75, -0.4, _WHITE)


def _cup(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE - 0.35, 0.55 + 0.25 * movement, -0.3 - 0.25 * movement)
    hand.disc(0.42, 0.0, 0.28, 0.28, _BLUE)
    hand.polygon([(-0.4, -0.45), (0.4, -0.45), (0.3, 0.5), (-0.3, 0.5)], _WHITE)
    hand.box(-0.36, -0.1, 0.36, 0.15, _BLUE)


def _book(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE, 0.8)
    wide = 0.62 + 0.12 * movement
    hand.polygon([(0, -0.35), (wide, -0.55), (wide, 0.45), (0, 0.65)], _WHITE)
    hand.polygon([(0, -0.35), (-wide, -0.55), (-wide, 0.45), (0, 0.65)], _WHITE)
    for row in (-0.2, 0.05, 0.3):
        hand.line([(0.12, row), (wide - 0.1, row - 0.12)], _INK, 0.08)
        hand.line([(-0.12, row), (0.1 - wide, row - 0.12)], _INK, 0.08)


def _guitar(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE - 0.1, 1.0, 0.6 + 0.12 * movement)
    hand.box(-0.1, -1.5, 0.1, 0, _INK)
    hand.disc(0, 0.45, 0.55, 0.48, _WOOD)
    hand.disc(0, -0.1, 0.4, 0.36, _WOOD)
    hand.disc(0, 0.3, 0.18, 0.18, _INK)


def _balloon(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE + 0.15 * movement, -0.1)
    hand.line([(0, 0), (-0.2 * movement, 1.6)], _INK, 0.07)
    hand.disc(0, -0.45, 0.58, 0.68, _RED)
    hand.disc(-0.2, -0.7, 0.14, 0.18, _WHITE)


def _banana(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE - 0.4, 0.5 + 0.15 * movement, 0.3 * movement)
    hand.polygon([*ellipse(0, -0.3, 0.8, 0.75, 0, 180), *ellipse(0, -0.3, 0.72, 0.3, 0, 180)[::-1]], _YELLOW)
    hand.disc(0.76, -0.34, 0.09, 0.09, _INK)


def _ball(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE, 0.1 - 0.75 * movement, movement)
    hand.disc(0, 0, 0.52, 0.52, _WHITE)
    for angle in (0.5, 2.6, 4.7):
        hand.disc(0.28 * math.cos(angle), 0.28 * math.sin(angle), 0.17, 0.17, _INK)


def _parcel(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE - 0.1, 0.9 + 0.1 * movement)
    hand.box(-0.65, -0.55, 0.65, 0.65, _WOOD)
    hand.box(-0.12, -0.55, 0.12, 0.65, _YELLOW)
    hand.box(-0.65, -0.07, 0.65, 0.17, _YELLOW)


def _brush(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE, 0.3 + 0.3 * movement, 0.5)
    hand.line([(0, 0), (0, 1.3)], _WOOD, 0.16)
    hand.box(-0.16, -0.3, 0.16, 0.05, _STEEL)
    hand.polygon([(-0.22, -0.3), (0.22, -0.3), (0.0, -0.85)], _BLUE)
    _Hand(pen, _ASIDE + 0.5, -0.85).disc(0, 0, 0.34, 0.24, _BLUE)


def _broom(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE + 0.1, 0.5, 0.3 * movement)
    hand.line([(0, -1.7), (0, 0.6)], _WOOD, 0.13)
    hand.polygon([(-0.22, 0.5), (0.22, 0.5), (0.6, 1.3), (-0.6, 1.3)], _YELLOW)


def _weights(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE - 0.05, 0.2 - 0.5 * movement)
    hand.line([(-0.7, 0), (0.7, 0)], _STEEL, 0.14)
    for side in (-1, 1):
        hand.box(side * 0.6 - 0.14, -0.5, side * 0.6 + 0.14, 0.5, _INK)


def _umbrella(pen: Pen, movement: float) -> None:
    hand = _Hand(pen, _ASIDE, 0.1, 0.15 * movement)
    hand.line([(0, -0.5), (0, 1.3)], _INK, 0.1)
    hand.polygon(ellipse(0, -0.4, 0.85, 0.85, 180, 360), _GREEN)
    hand.polygon(ellipse(0, -0.4, 0.3, 0.85, 180, 360), _YELLOW)


_PROPS: Mapping[str, Callable[[Pen, float], None]] = {
    "flag": _flag,
    "cup": _cup,
    "book": _book,
    "guitar": _guitar,
    "balloon": _balloon,
    "banana": _banana,
    "ball": _ball,
    "box": _parcel,
    "brush": _brush,
    "broom": _broom,
    "weights": _weights,
    "umbrella": _umbrella,
}
