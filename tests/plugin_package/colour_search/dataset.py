"""Clips of one or two colours, rendered on demand; their captions say which, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import av
import numpy as np
from pydantic import Field

from mmi_tvr.plugins import BaseOptions
from mmi_tvr.types import DescribedMoment, Sample, Video
from mmi_tvr.utils import array_cache

from . import COLOURS

_PARTS = {"train": slice(0, None, 2), "val": slice(1, None, 4), "test": slice(3, None, 4)}
_SIZE, _FPS = 32, 8


class Options(BaseOptions):
    split: Literal["train", "val", "test"] = Field("test", description="train, val or test: no clip is in two")
    limit: int | None = Field(None, ge=1, description="the first so many clips")
    root: Path | None = Field(None, description="folder of the clips; default: in the cache ($MMI_TVR_CACHE)")


def build(options: Options) -> ColourClips:
    return ColourClips(options)


class ColourClips:
    """See `mmi_tvr.protocols.GeneratedDataset` and `GroupedDataset`."""

    def __init__(self, options: Options) -> None:
        self.root = options.root or array_cache.folder() / "colour_clips"
        self.pairs = list(product(COLOURS, COLOURS))[_PARTS[options.split]][: options.limit]

    def samples(self) -> Sequence[Sample]:
        return [
            Sample(f"{first}-{second}", Video(self._path(first, second)), (f"a {first} clip that turns {second}",))
            for first, second in self.pairs
        ]

    def groups(self) -> Sequence[Sequence[int]]:
        """Clips of the same two colours, in either order, train in one batch."""
        groups: dict[frozenset[str], list[int]] = {}
        for number, pair in enumerate(self.pairs):
            groups.setdefault(frozenset(pair), []).append(number)
        return list(groups.values())

    def moments(self) -> Mapping[str, Sequence[DescribedMoment]]:
        """Say when each colour is shown (`protocols.MomentDataset`)."""
        return {
            "events": [
                DescribedMoment(f"a {colour} clip", number, second, second + 1.0)
                for number, pair in enumerate(self.pairs)
                if len(set(pair)) == 2
                for second, colour in enumerate(pair)
            ]
        }

    def pending(self, limit: int | None = None) -> Sequence[int]:
        return [number for number, pair in enumerate(self.pairs[:limit]) if not self._path(*pair).is_file()]

    def generate(self, limit: int | None = None, *, advance: Callable[[], object] = lambda: None) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for number in self.pending(limit):
            path = self._path(*self.pairs[number])
            draft = path.with_suffix(f".{os.getpid()}.mp4")
            _render(draft, self.pairs[number])
            draft.replace(path)  # whole, or not there
            advance()

    def _path(self, first: str, second: str) -> Path:
        return self.root / f"{first}-{second}.mp4"


def _render(path: Path, colours: Sequence[str]) -> None:
    """Write one second of each colour."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = _SIZE, _SIZE, "yuv420p"
        for colour in colours:
            picture = np.full((_SIZE, _SIZE, 3), COLOURS[colour], np.uint8)
            for _ in range(_FPS):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
