"""Scenes as files: H.264 videos, or JPEG pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...types import Video
from ...utils.hashing import digest
from .._moving_shapes.video import mp4
from .looks import Looks
from .people import MOMENT
from .picture import render
from .scenes import Scene

VERSION = 1  # of scenes and pictures: others need another number
_QUALITY = 92  # of JPEG


@dataclass(frozen=True, slots=True)
class Shot:
    """What is in a file: a scene, or one moment of it where `still`; `looks` are its person's; `size` in pixels."""

    id: str
    scene: Scene
    looks: Looks
    size: int
    fps: int
    still: bool

    @property
    def suffix(self) -> str:
        return ".jpg" if self.still else ".mp4"

    @property
    def duration(self) -> int:
        """Of the video in ms; of a picture a second, as everywhere."""
        return 1000 if self.still else self.scene.duration

    def path(self, root: Path) -> Path:
        """Return where the file lies. A cached file is never stale: its name has a hash of all that is in it."""
        content = digest(list(self.scene), list(self.looks), self.size, self.fps, self.still, VERSION)
        return root / f"{self.id}-{content}{self.suffix}"

    def video(self, root: Path) -> Video:
        return Video(self.path(root), picture=self.still)

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        if not self.still:
            times = [number / self.fps for number in range(self.duration * self.fps // 1000)]
            return mp4([render(self.scene, times, self.size, self.looks)], self.size, self.fps)
        target = io.BytesIO()
        picture = render(self.scene, [MOMENT], self.size, self.looks)[0]
        Image.fromarray(picture).save(target, "JPEG", quality=_QUALITY)
        return target.getvalue()
