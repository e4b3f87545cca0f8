"""Encrypted films are called so, by what their containers say; damaged ones are not."""

from __future__ import annotations

import struct
from pathlib import Path

import media_files as files
import numpy as np
import picture_media as media
import pytest

from mmi_tvr.media._encryption import _children, _declares_encryption, _ps_packets, _ts_packets, protects
from mmi_tvr.media.file_report import report_on
from mmi_tvr.media.video import probe, sample
from mmi_tvr.types import Video

PICTURES = files.noise(20)
SCHEME = b"schm\0\0\0\0cenc"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return media.encrypted_mp4(tmp_path_factory.mktemp("encrypted") / "a.mp4", PICTURES).read_bytes()


def reason(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return report_on(path).error


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (SCHEME, SCHEME.replace(b"cenc", b"cbcs")),
        (b"frma", b"free"),  # what it was before is not said
        (b"sinf", b"free"),
        (b"senc", b"free"),  # nor how each frame is encrypted
    ],
    ids=["cenc", "cbcs", "codec not said", "scheme not said", "frames not said"],
)
def test_common_encryption(tmp_path: Path, encrypted: bytes, old: bytes, new: bytes) -> None:
    assert old in encrypted
    assert reason(tmp_path / "a.mp4", encrypted.replace(old, new)) == "is encrypted"


def test_packets_may_be_left_in_the_clear() -> None:
    """As the first seconds of a film often are: there is information about their encryption, of no byte."""

    def info(*parts: int) -> bytes:
        return struct.pack(">6I", 0, 0, 0, 16, 8, len(parts) // 2) + bytes(24) + struct.pack(f">{len(parts)}I", *parts)

    assert not protects(info(100, 0, 50, 0))
    assert protects(info(100, 0, 50, 16))
    assert protects(info())  # all of it


def test_encrypted_sound_leaves_the_pictures(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.mp4", sound=True)
    content = path.read_bytes()
    position = content.rindex(b"mp4a")
    path.write_bytes(content[:position] + b"enca" + content[position + 4 :])
    assert len(sample(Video(path), 2, 8, 32)) == 4


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("b.ts", "mpeg2video"), ("a.mpg", "mpeg2video")],
)
def test_damage_is_not_encryption(tmp_path: Path, name: str, codec: str) -> None:
    """Where the packets are noise, the headers before them whole."""
    path = media.write(tmp_path / name, PICTURES, codec)
    content = path.read_bytes()
    start = content.index(b"mdat") + 4 if name == "a.mp4" else 2000
    end = content.index(b"moov") - 4 if name == "a.mp4" else len(content)
    damaged = content[:start] + np.random.default_rng(0).bytes(end - start) + content[end:]
    assert reason(path, damaged) != "is encrypted"


def test_a_scrambled_transport_stream(tmp_path: Path) -> None:
    path = files.make_video(tmp_path / "a.ts", pictures=PICTURES)
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).bytes(len(content))
    for start in range(0, len(content), 188):
        identifier = (content[start + 1] & 0x1F) << 8 | content[start + 2]
        if identifier == 0x100:
            content[start + 3] |= 0x80
            content[start + 12 : start + 188] = noise[start + 12 : start + 188]
    assert reason(tmp_path / "b.ts", bytes(content)) == "is encrypted"
    assert 2 in _ts_packets(bytes(content))
    assert set(_ts_packets(b"\0" * 77 + path.read_bytes())) == {0}  # garbage before it
    assert _ts_packets(noise) == _ts_packets(b"") == []


def test_a_disc_without_its_key(tmp_path: Path) -> None:
    """Its pictures would be decoded, and be patches of colour."""
    path = media.write(tmp_path / "a.vob", PICTURES, "mpeg2video")
    assert probe(path).width == 96
    content = path.read_bytes()
    assert set(_ps_packets(content)) == {0}
    assert reason(path, scrambled_program(content)) == "is encrypted"


def scrambled_program(content: bytes) -> bytes:
    """Mark each packet of video of a program stream as scrambled, as discs do, and leave its bytes alone."""
    changed = bytearray(content)
    start = content.find(b"\0\0\1\xe0")
    while start >= 0:
        changed[start + 6] |= 0x30
        start = content.find(b"\0\0\1\xe0", start + 4)
    return bytes(changed)


def element(identifier: bytes, *payload: bytes) -> bytes:
    content = b"".join(payload)
    return identifier + (0x10000000 | len(content)).to_bytes(4, "big") + content


@pytest.mark.parametrize("key", [b"", element(b"\x47\xe2", b"a key's name")], ids=["no key named", "key named"])
def test_matroska(tmp_path: Path, key: bytes) -> None:
    encoding = element(b"\x6d\x80", element(b"\x62\x40", element(b"\x50\x33", b"\1"), element(b"\x50\x35", key)))
    plain = element(b"\xae", b"\xd7\x81\x01"), element(b"\xae", b"\xd7\x81\x02", encoding)
    path = tmp_path / "tracks.mkv"
    path.write_bytes(
        element(b"\x1a\x45\xdf\xa3", b"") + element(b"\x18\x53\x80\x67", element(b"\x16\x54\xae\x6b", *plain))
    )
    assert [_declares_encryption(path, track) for track in range(3)] == [False, True, False]
    whole = files.make_video(tmp_path / "whole.mkv", pictures=PICTURES).read_bytes()
    path.write_bytes(whole)
    assert not _declares_encryption(path, 0)
    for length in range(0, 600, 7):
        path.write_bytes(whole[:length])
        assert not _declares_encryption(path, 0)
    assert reason(path, with_encoding(whole, encoding)) == "is encrypted"


def with_encoding(content: bytes, encoding: bytes) -> bytes:
    """A Matroska file whose track is marked as encrypted, and whose frames are noise."""
    (segment,) = _children(content, 0x18538067)
    (tracks,) = _children(segment, 0x1654AE6B)
    (track,) = _children(tracks, 0xAE)
    noise = np.random.default_rng(0).bytes(3000)
    cluster = element(b"\x1f\x43\xb6\x75", element(b"\xe7", b"\0"), element(b"\xa3", b"\x81\0\0\x80", noise))
    marked = element(b"\x16\x54\xae\x6b", element(b"\xae", track, encoding))
    return content[: content.index(b"\x18\x53\x80\x67")] + element(b"\x18\x53\x80\x67", marked, cluster)
