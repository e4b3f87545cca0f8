"""One odd film as a recipe, with what becomes of it, and the ways to make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media_damage import two_colours

Make = Callable[[Path], object]

NO_MEDIA = "is not a media file, or its header is damaged or cut off"
NO_FRAMES = "none of its frames can be decoded (damaged or cut off)"
NO_VIDEO = "has no video stream"


@dataclass(frozen=True)
class Odd:
    """A file and its fate: `outcome` is how many key images it has (at least so many where it is `damaged`), the reason
    why it cannot be used, or None for what is no file at all."""

    name: str
    kind: str
    make: Make
    outcome: int | str | None
    damaged: bool = False

    def agrees(self, actual: int | str | None) -> bool:
        """Whether this number of key images, or this reason, is the expected one."""
        if isinstance(actual, int) and isinstance(self.outcome, int):
            return actual >= self.outcome if self.damaged else actual == self.outcome
        # Where reading stops in a damaged file is for FFmpeg to decide, and changes with it.
        return actual == self.outcome or (self.damaged and {actual, self.outcome} == {NO_MEDIA, NO_FRAMES})


def in_container(suffix: str, **how: object) -> Make:
    """A maker of a file whose container is another one than its name says."""

    def make(path: Path) -> None:
        draft = path.with_name(f".draft{suffix}")
        two_colours(draft, **how)
        draft.rename(path)

    return make


def containing(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def renamed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)
