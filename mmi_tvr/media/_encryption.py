"""Whether a film is encrypted, by what its container says about it; never by how its frames look.

- MP4 (common encryption): packets carry how they are encrypted. Those are never decoded, because what comes out of them
  may pass for pictures.
- Matroska and WebM: the track has a ContentEncoding of the type encryption.
- MPEG-TS and MPEG program streams (DVD): scrambling bits of packets.
- ASF: the header names the protection.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

ENCRYPTED = "is encrypted"

_PROTECTED_ENTRIES = {b"encv", b"drmi"}  # MP4 sample entries that need not say what they hold
_PACKETS = 200  # that are looked at
_WINDOW = 2 << 20  # bytes that are searched for scrambled packets
_TS_SYNC, _TS_NULL, _TS_TABLES = 0x47, 0x1FFF, 0x20  # a packet's first byte; identifiers of packets without media
_TS_LENGTHS = (188, 192, 204)
_ALIGNED = 0.95  # of the packets of a transport stream start where they should
_TS_SHARE, _PS_SHARE = 0.5, 0.1  # of packets that are scrambled: a DVD leaves many of them in the clear
_SEGMENT, _TRACKS, _ENTRY = 0x18538067, 0x1654AE6B, 0xAE  # Matroska elements
_ENCODINGS, _ENCODING, _ENCODING_TYPE = 0x6D80, 0x6240, 0x5033
_HEADER = 1 << 20  # bytes in which the tracks of a Matroska file are described


def is_encrypted_packet(packet: Packet[VideoStream]) -> bool:
    """Return whether bytes of a packet are encrypted."""
    if not packet.has_sidedata("encryption_info"):
        return False
    return protects(bytes(packet.get_sidedata("encryption_info")))


def protects(info: bytes) -> bool:
    """Return whether any byte is protected, by what FFmpeg says about how a packet is encrypted.

    That is: scheme, two counts of blocks, three lengths; key, initial vector; parts of clear and of protected bytes.
    """
    *_, key_size, vector_size, count = struct.unpack_from(">6I", info)
    parts = struct.unpack_from(f">{2 * count}I", info, 24 + key_size + vector_size)
    return not count or any(parts[1::2])


def is_encrypted(path: Path, container: InputContainer, film: VideoStream) -> bool:
    """Return whether a film none of whose frames can be decoded is encrypted rather than damaged.

    Args:
        path: the file.
        container: the same, opened; packets are read from where it stands.
        film: one of its tracks.
    """
    formats = set(container.format.name.split(","))
    with suppress(av.error.FFmpegError, IndexError):  # damaged from here on
        if any(is_encrypted_packet(packet) for packet in islice(container.demux(film), _PACKETS) if packet.size):
            return True
    if "enc_key_id" in film.metadata or "ASF_Protection_Type" in container.metadata:
        return True
    if "matroska" in formats:
        return _declares_encryption(path, film.index)
    return "mpegts" in formats and is_scrambled_broadcast(path)


def is_protected_entry(path: Path) -> bool:
    """Return whether the description of a track in an MP4 file says that it is encrypted, and not what is in it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        position = content.find(b"stsd")
        while position >= 0:
            if content[position + 16 : position + 20] in _PROTECTED_ENTRIES:  # behind version, count and length
                return True
            position = content.find(b"stsd", position + 4)
    return False


def is_scrambled_broadcast(path: Path) -> bool:
    """Return whether this is a transport stream most of whose packets of media are scrambled."""
    return _scrambled_share(_ts_packets(_window(path))) > _TS_SHARE


def is_scrambled_disc(path: Path, container: InputContainer) -> bool:
    """Return whether this is a program stream copied from a DVD without its key, whose frames look like pictures."""
    return container.format.name == "mpeg" and _scrambled_share(_ps_packets(_window(path))) > _PS_SHARE


def _window(path: Path) -> bytes:
    """Bytes from the middle of a file, because discs leave the first ones in the clear."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _WINDOW) // 2)
        return file.read(_WINDOW)


def _scrambled_share(control_bits: list[int]) -> float:
    return sum(bits > 1 for bits in control_bits) / len(control_bits) if control_bits else 0.0


def _ts_packets(content: bytes) -> list[int]:
    """The scrambling bits of all packets of media, none where this is no transport stream."""
    octets = np.frombuffer(content, np.uint8)
    for length in _TS_LENGTHS:
        for offset in range(min(length, len(octets))):
            packets = octets[offset : offset + (len(octets) - offset) // length * length].reshape(-1, length)
            if len(packets) and (packets[:16, 0] == _TS_SYNC).all() and (packets[:, 0] == _TS_SYNC).mean() > _ALIGNED:
                identifiers = (packets[:, 1].astype(int) & 0x1F) << 8 | packets[:, 2]
                media = (identifiers >= _TS_TABLES) & (identifiers != _TS_NULL) & (packets[:, 3] & 0x10 > 0)
                return [int(bits) for bits in packets[media, 3] >> 6]
    return []


def _ps_packets(content: bytes) -> list[int]:
    """The scrambling bits of all packets of video of a program stream (MPEG-2: their header starts with bits 10)."""
    bits, start = [], content.find(b"\0\0\1")
    while 0 <= start < len(content) - 6:
        if 0xE0 <= content[start + 3] <= 0xEF and content[start + 6] >> 6 == 2:
            bits.append(content[start + 6] >> 4 & 3)
            start += int.from_bytes(content[start + 4 : start + 6], "big")
        start = content.find(b"\0\0\1", start + 4)
    return bits


def _declares_encryption(path: Path, track: int) -> bool:
    """Whether a track of a Matroska file, by its place among the tracks, has an encoding of the type encryption."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
    entries = [
        entry
        for segment in _children(header, _SEGMENT)
        for tracks in _children(segment, _TRACKS)
        for entry in _children(tracks, _ENTRY)
    ]
    return track < len(entries) and any(
        int.from_bytes(kind, "big") == 1
        for encodings in _children(entries[track], _ENCODINGS)
        for encoding in _children(encodings, _ENCODING)
        for kind in _children(encoding, _ENCODING_TYPE)
    )


def _children(content: bytes, wanted_id: int) -> Iterator[bytes]:
    """The payloads of the elements with an id among those that follow each other in `content`."""
    position = 0
    while position < len(content):
        id_length = 9 - content[position].bit_length()
        identifier = int.from_bytes(content[position : position + id_length], "big")
        position += id_length
        if position >= len(content) or id_length > 4:
            return
        size_length = 9 - content[position].bit_length()
        size = int.from_bytes(content[position : position + size_length], "big") & ((1 << 7 * size_length) - 1)
        position += size_length
        if identifier == wanted_id:
            yield content[position : position + size]  # of unknown size: to the end of what was read
        position += size
