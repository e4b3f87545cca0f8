"""What a picture file says of itself: format, size, when and where it was taken, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ..types import DateSource


class Position(NamedTuple):
    """A place on Earth: degrees north and east, metres above the sea where they are known."""

    latitude: float
    longitude: float
    altitude: float | None = None


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """The facts of one picture file.

    `width` and `height` are those of the upright picture. `orientation` is the number in its EXIF data (1 to 8; 1 where
    there is none that makes sense). `frames` counts the pictures of an animation, or the pages of a TIFF, and `seconds`
    is how long they take. `date` has an offset where one is known, and `date_source` says who knows the date.
    `content_id` joins the two files of a live photo. `odd` lists what is wrong with the file and was put up with.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    frames: int = 1
    seconds: float = 1.0
    date: datetime | None = None
    date_source: DateSource | None = None
    position: Position | None = None
    camera: str | None = None
    content_id: str | None = None
    odd: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON has them: the date in the form of ISO 8601, the position by its parts."""
        return {
            **asdict(self),
            "date": self.date and self.date.isoformat(),
            "position": self.position and self.position._asdict(),
            "odd": list(self.odd),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> PictureFacts:
        """Return what `as_dict` was called on.

        >>> facts = PictureFacts("JPEG", 4, 3, date=datetime(2024, 2, 29), position=Position(-1.5, 2.0))
        >>> PictureFacts.from_dict(facts.as_dict()) == facts
        True
        """
        date, position = fields["date"], fields["position"]
        return cls(
            **{
                **fields,
                "date": datetime.fromisoformat(date) if date else None,
                "position": Position(**position) if position else None,
                "odd": tuple(fields["odd"]),
            }
        )
