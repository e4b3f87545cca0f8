"""Whole media files, and random damage to them: without end, and deterministic by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from media_files import GREEN, RED, make_video

Bytes = dict[str, bytes]  # suffix -> a whole file of two seconds red and two seconds green, with a key frame a second
EXACT = {"fflags": "+bitexact"}  # no random ids, no dates
# On small pictures, these features of x264 let leftover memory into the result.
_X264_EXACT = {"threads": "1", "x264-params": "mbtree=0:weightp=0"}


def whole_files(folder: Path) -> Bytes:
    """Small whole files of several containers, which the others are made from."""
    contents = {}
    kinds = {".mp4": {}, ".mkv": {}, ".avi": {"b_frames": 0}, ".ts": {}, ".flv": {}}
    kinds[".webm"] = {"codec": "libvpx", "b_frames": 0}
    kinds["fast.mp4"] = {"container_options": {"movflags": "+faststart"}}
    kinds["fragments.mp4"] = {"container_options": {"movflags": "frag_keyframe+empty_moov"}}
    grain = np.random.default_rng(0).integers(-40, 41, (40, 64, 96, 3))  # gives the payload some weight
    pictures = [
        np.clip(np.array((RED, GREEN)[number // 20]) + noise, 0, 255).astype(np.uint8)
        for number, noise in enumerate(grain)
    ]
    for suffix, how in kinds.items():
        path = folder / f".whole{suffix}"
        two_colours(path, pictures=pictures, **how)
        contents[suffix] = path.read_bytes()
        path.unlink()
    return contents


def two_colours(path: Path, **how: object) -> Path:
    """Two seconds of red, two of green, ten frames a second unless `how` says otherwise."""
    how = {"seconds": 4, "fps": 10, "gop": 10, "colours": (RED, GREEN), **how}
    exact = _X264_EXACT if how.get("codec", "libx264").startswith("libx264") else {}
    how["options"] = {**exact, **how.get("options", {})}
    how["container_options"] = {**EXACT, **how.get("container_options", {})}
    return make_video(path, **how)


def mutants(whole: Bytes, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and contents of damaged files; `whole` holds intact ones by suffix (`whole_files`)."""
    chance = random.Random(seed)
    kinds = sorted(whole)
    number = 0
    while True:
        suffix = chance.choice(kinds)
        content = bytearray(whole[suffix])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            content = chance.choice(_DAMAGES)(content, chance)
        yield f"{number:05d}.{suffix.rpartition('.')[2]}", bytes(content)
        number += 1


def _place(content: bytearray, chance: random.Random) -> int:
    """Anywhere, but as often in the first or last kilobyte, where headers and indexes are."""
    size = max(1, len(content))
    return chance.choice((chance.randrange(size), chance.randrange(1024), size - chance.randrange(1, 1025))) % size


def _flip(content: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 4, 16, 64))):
        if content:
            content[_place(content, chance)] ^= 1 << chance.randrange(8)
    return content


def _extreme(content: bytearray, chance: random.Random) -> bytearray:
    start = _place(content, chance)
    values = (bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", bytes(8), b"\xff" * 8)
    value = chance.choice(values)
    content[start : start + len(value)] = value
    return content


def _cut_off(content: bytearray, chance: random.Random) -> bytearray:
    return content[: _place(content, chance)]


def _lost(content: bytearray, chance: random.Random) -> bytearray:
    start = _place(content, chance)
    del content[start : start + chance.choice((1, 16, 512, 4096))]
    return content


def _twice(content: bytearray, chance: random.Random) -> bytearray:
    start, length = _place(content, chance), chance.choice((1, 16, 512, 4096))
    return content[: start + length] + content[start:]


def _blank(content: bytearray, chance: random.Random) -> bytearray:
    start, length = _place(content, chance), chance.choice((16, 512, 4096))
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def _foreign(content: bytearray, chance: random.Random) -> bytearray:
    start, length = _place(content, chance), chance.choice((16, 512, 4096))
    content[start : start + length] = chance.randbytes(length)
    return content


_DAMAGES = (_flip, _flip, _extreme, _extreme, _cut_off, _lost, _twice, _blank, _foreign)
