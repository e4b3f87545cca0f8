"""Seals: what is known of people is encrypted (AES-256 in Galois counter mode, by `cryptography`), each row by a key.

Decision: a key for each row (a person's name, a face, a sighting) rather than one for each person, because rows change
hands when people are named, merged or split: whoever is forgotten loses exactly the keys of what is theirs, and no
older copy of the file opens with a key that somebody else still has.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import MmiTvrError
from ...people.quality import FaceQuality
from ...utils.installation import require

Purpose = Literal["name", "consent", "face", "sighting"]
KEY_BYTES = 32
_NONCE_BYTES = 12
_SIGHTING = struct.Struct("<3d4f3f")


class Unsealable(MmiTvrError):
    """A key does not fit what is sealed: one of the two files is of another library, or damaged."""


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """A face of one person in a stretch of a video (`people.tracks.FaceTrack`), with who that is.

    - `start`, `end`, `time`: seconds on a player's clock; at `time` the face is seen best, in `box`: left, top, right,
      bottom, as shares (0..1) of the picture's width and height.
    - `descriptor`: (F,) a unit vector, float32.
    - `name`: of whom it is; None: nobody named them yet.
    - `confidence`: cosine with the nearest face of that person; 1 where somebody gave the name by hand, 0 where there
      is no name.
    - `cluster`, `number`: by which the store knows the person, and this sighting; 0 before it is stored.
    - `by_hand`: somebody said who it is; no later recognition changes that.
    """

    start: float
    end: float
    time: float
    box: tuple[float, float, float, float]
    quality: FaceQuality
    descriptor: NDArray[np.float32]
    name: str | None = None
    confidence: float = 0.0
    cluster: int = 0
    number: int = 0
    by_hand: bool = False


def seal(key: bytes, content: bytes, purpose: Purpose) -> bytes:
    """Return the content, sealed; what was sealed for one purpose does not open for another."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed: bytes = nonce + _cipher(key).encrypt(nonce, content, purpose.encode())
    return sealed


def unseal(key: bytes, sealed: bytes, purpose: Purpose) -> bytes:
    """Return the content. Unsealable where the key is not the one, or bytes changed."""
    cipher = _cipher(key)
    from cryptography.exceptions import InvalidTag

    try:
        content: bytes = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
    except (InvalidTag, ValueError) as error:
        raise Unsealable("what is stored does not fit its key") from error
    return content


def _cipher(key: bytes) -> Any:
    require("cryptography", "people")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def new_key() -> bytes:
    """Return a key that nobody else has."""
    return os.urandom(KEY_BYTES)


def descriptor_bytes(descriptor: NDArray[np.float32]) -> bytes:
    """Return a descriptor as it is sealed."""
    return np.ascontiguousarray(descriptor, np.dtype("<f4")).tobytes()


def as_descriptor(content: bytes) -> NDArray[np.float32]:
    """Return the descriptor of `descriptor_bytes`."""
    return np.frombuffer(content, np.dtype("<f4")).astype(np.float32)


def sighting_bytes(sighting: Sighting) -> bytes:
    """Return when and where a face was seen, and its descriptor, as they are sealed; not whose it is."""
    quality = sighting.quality
    times = (sighting.start, sighting.end, sighting.time)
    measured = (quality.size, quality.sharpness, quality.turn)
    return _SIGHTING.pack(*times, *sighting.box, *measured) + descriptor_bytes(sighting.descriptor)


def as_sighting(content: bytes, **stored: Any) -> Sighting:
    """Return the sighting of `sighting_bytes`, with what is stored beside it."""
    start, end, time, *rest = _SIGHTING.unpack_from(content)
    left, top, right, bottom, size, sharpness, turn = rest
    return Sighting(
        start,
        end,
        time,
        (left, top, right, bottom),
        FaceQuality(size, sharpness, turn),
        as_descriptor(content[_SIGHTING.size :]),
        **stored,
    )
