"""Pictures that hits are to be like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from .arrays import FloatArray, Pixels


@dataclass(frozen=True, slots=True)
class ItemMoment:
    """A moment of an item of a library, by the item's number: at a second, or (None) all of it."""

    item: int
    second: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class QueryExample:
    """What hits are to be like: pictures, or the model's vectors of them where these are known already.

    Attributes:
        name: What people call it, such as the path of its file.
        pictures: One, or those that stand for a video, (H, W, 3) each.
        vectors: (E, D), in their place: vectors of moments as the index that is searched has them.
        second: Of the moment of a video that it shows, on the player's clock; None for a picture, or all of a video.
        item: The number of the item of the library that it was taken of; None where it is of none.
    """

    name: str
    pictures: tuple[Pixels, ...] = ()
    vectors: FloatArray | None = None
    second: float | None = None
    item: int | None = None

    def __post_init__(self) -> None:
        if (self.vectors is None) == (not self.pictures):
            raise UsageError(f"an example has either pictures or vectors: {self.name:.60}")
        for picture in self.pictures:
            if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or not _is_picture(picture):
                raise UsageError(f"a picture of an example is an array (H, W, 3) of uint8: {self.name:.60}")
        if self.vectors is not None and not (np.ndim(self.vectors) == 2 and len(self.vectors)):
            raise UsageError(f"the vectors of an example are an array (E, D): {self.name:.60}")

    @property
    def title(self) -> str:
        """What people call it, with the second.

        >>> QueryExample("a.mp4", vectors=np.ones((1, 4)), second=12.5).title
        'a.mp4 at 12.5 s'
        """
        return self.name if self.second is None else f"{self.name} at {self.second:g} s"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON (a documented contract: `like` of a result)."""
        return {"name": self.name, "second": self.second, "id": self.item}


def _is_picture(array: Pixels) -> bool:
    return array.ndim == 3 and array.shape[2] == 3 and array.size > 0
