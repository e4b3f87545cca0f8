"""Names and texts of others: what people see holds nothing that a terminal obeys, and JSON still names the file."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from mmi_tvr.cli import _console
from mmi_tvr.cli._console import SafeConsole, print_json
from mmi_tvr.utils import strict_json
from mmi_tvr.utils.printable import printable
from mmi_tvr.utils.tables import markdown_row, markdown_table, text_table

FILE_NAMES = st.binary(min_size=1, max_size=20).map(os.fsdecode)
ODD = ["a\x1b[31mred\x1b[0m.mp4", "two\nlines\r.mp4", "tab\t.mp4", "\u202egpj.mp4", "\udcff\udcfe.mp4", "\x9b2J.mp4"]
OBEYED = {"Cc", "Cs", "Zl", "Zp"}


def is_safe(text: str) -> bool:
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(unicodedata.category(c) in OBEYED or unicodedata.bidirectional(c) in turns for c in text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20) | FILE_NAMES)
def test_what_is_shown_is_one_safe_line_of_utf8(text: str) -> None:
    shown = printable(text)
    assert is_safe(shown)
    shown.encode("utf-8")
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["plain.mp4", "城市街道.mp4", "naïve 👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿.mp4", "a\\b.mp4", "שלום.mp4"])
def test_ordinary_names_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


def test_what_is_spelled_is_spelled_as_python_does() -> None:
    assert printable("a\x1b[31m\t\n\r\x00\x7f\u202e\u2028\udcff\ufeff") == (
        r"a\x1b[31m\t\n\r\x00\x7f\u202e\u2028\xff\ufeff"
    )
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc"


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | FILE_NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: {"value": value})
)
def test_json_is_strict_and_names_every_file(document: dict[str, object]) -> None:
    for ascii_only in (False, True):
        text = strict_json.dumps(document, ascii_only=ascii_only)
        json.dumps(json.loads(text.encode("utf-8").decode("utf-8", "strict")), ensure_ascii=False).encode("utf-8")
        assert not ascii_only or text.isascii()


@settings(max_examples=60, deadline=None)
@given(st.lists(FILE_NAMES, min_size=1, max_size=3))
def test_names_come_back_from_json(names: list[str]) -> None:
    document = {"path": names[0], "also": names, "rows": [{"path": name, "reason": "x"} for name in names]}
    assert strict_json.loads(strict_json.dumps(document)) == document


def test_bytes_stand_beside_names_that_are_no_text_and_nowhere_else() -> None:
    document = json.loads(strict_json.dumps({"path": "caf\udce9.mp4", "also": ["é.mp4", "\udcff"], "other": "é"}))
    assert document["path"] == r"caf\xe9.mp4"
    assert base64.b64decode(document["path_bytes"]) == b"caf\xe9.mp4"
    assert [base64.b64decode(name) for name in document["also_bytes"]] == ["é.mp4".encode(), b"\xff"]
    assert set(document) == {"path", "path_bytes", "also", "also_bytes", "other"}
    lone = json.loads(strict_json.dumps({"caption": "half \ud83d"}))
    assert lone == {"caption": r"half \ud83d"}  # of a text, which is no file name


def test_json_holds_nothing_that_a_terminal_obeys_and_says_the_same() -> None:
    document = {
        "text": "a\u202eb\x7f\x9b2J\u200b\u2028\x1b[31m",
        "names": ["\u2066x.mp4", "naïve 👩‍👩‍👧 שלום"],
        "k\u202e": 1,
    }
    text = strict_json.dumps(document, indent=1)
    assert is_safe(text.replace("\n", ""))
    assert json.loads(text) == document
    assert "👩‍👩‍👧 שלום" in text


def test_json_says_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        strict_json.dumps({"value": float("nan")})


@pytest.mark.parametrize("name", ODD)
def test_consoles_print_odd_names_safely(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    console = SafeConsole(stderr=True)
    console.print(f"path {name}", markup=False)
    table = Table()
    table.add_column(name)
    table.add_row(Text(name))
    console.print(table, soft_wrap=False)
    _console.say(f"one line: {name}")
    assert is_safe(stream.getvalue().replace("\n", ""))
    last = stream.getvalue().splitlines()[-1]
    assert last == f"one line: {printable(name)}"


def test_colons_of_a_name_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    SafeConsole().print("a:car:.mp4", markup=False)
    assert capsys.readouterr().out == "a:car:.mp4\n"


def test_a_stream_that_knows_ascii_alone_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    _console._print_whatever_comes()
    print_json({"path": "🎬é.mp4"})
    SafeConsole().print("🎬 é", markup=False)
    sys.stdout.flush()
    document, _, line = raw.getvalue().decode("ascii").rpartition("}\n")
    assert json.loads(document + "}") == {"path": "🎬é.mp4"}
    assert line == "\\U0001f3ac \\xe9\n"


def test_cells_end_no_cell_and_are_no_html() -> None:
    assert text_table([["a\x1b[1m\n", "b"]]) == [r"a\x1b[1m\n  b"]
    assert markdown_row(["a|b\n", "<script>"]) == r"| a\|b\n | &lt;script> |"
    header, _, row = markdown_table([["x", "y"], ["a|b", "<i>"]], padded=True)
    assert row == r"| a\|b | &lt;i> |"
    assert len(header) == len(row)
