"""Texts from outside: cleaned once, split at line feeds alone, and names matched in either form of Unicode."""

from __future__ import annotations

import csv
import io
import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import benchmark_files as files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmi_tvr import plugins
from mmi_tvr.batch import inputs
from mmi_tvr.datasets._benchmarks import Annotations, Listing
from mmi_tvr.datasets._benchmarks.videos import VideoFolder
from mmi_tvr.errors import ConfigError, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.scan import Root
from mmi_tvr.questions import pool
from mmi_tvr.questions.proposals import question_in
from mmi_tvr.types import AnswerRequest, Query, Sample, Video, clean_text
from mmi_tvr.utils.names import SpelledPaths
from mmi_tvr.utils.textfiles import (
    comma_separated,
    decode,
    json_objects,
    numbered_lines,
    parse_json,
    tab_separated,
    with_header,
)

ANY = st.text(st.characters(exclude_categories=()))  # half characters and controls, too
# What Python calls a line break and a file's reader must not: only a line feed ends a line.
INNER_BREAKS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


def lines(data: bytes) -> list[tuple[int, str]]:
    return list(numbered_lines(io.BytesIO(data), "a file"))


# Cleaning


@settings(deadline=None)
@given(ANY)
def test_a_clean_text_can_be_written_and_is_clean(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert clean.encode().decode() == clean
    assert not any(unicodedata.category(character) == "Cc" for character in clean)
    assert unicodedata.is_normalized("NFC", clean)
    assert "\ufeff" not in clean


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff")))
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert clean_text(composed) == composed
    assert clean_text(text) == composed


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a \ud83d circle", "a \ufffd circle"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),  # two halves, as JSON writes them
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("caf\udce9", "caf\ufffd"),  # a byte that a terminal could not read
        ("a\0 d\x07og", "a dog"),
        ("a\tdog\r\nruns\x85now", "a dog  runs now"),
        ("\ufeffa dog", "a dog"),
        (DECOMPOSED, COMPOSED),
        ("e\0\u0301", "\xe9"),
        ("a\u2028b", "a\u2028b"),
        ("\N{WOMAN}\u200d\N{SCHOOL}", "\N{WOMAN}\u200d\N{SCHOOL}"),  # a joiner means something
        ("", ""),
    ],
)
def test_what_cleaning_changes(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_marks_without_end_cost_no_time() -> None:
    started = time.process_time()
    clean = clean_text("a" + "\u0315\u0300" * 50_000)
    assert time.process_time() - started < 1  # their square would be a minute
    assert len(clean) <= 31
    assert clean_text(clean) == clean
    assert clean_text("a\u0315" * 3_000) == "a\u0315" * 3_000  # one each is nothing odd


def test_records_are_clean_however_they_are_made() -> None:
    assert Query("a\0\ud83d").text == "a\ufffd"
    assert Sample("id", Video(Path("a")), (DECOMPOSED, "b")).captions == (COMPOSED, "b")
    request = AnswerRequest("Who\ud83d?", text="a\0dog")
    assert (request.question, request.text) == ("Who\ufffd?", "adog")
    assert AnswerRequest("Who?").text is None


# Lines


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r\ufeff")), max_size=5))
def test_lines_come_back_with_their_numbers(texts: list[str]) -> None:
    texts = [f"{INNER_BREAKS}{text}" for text in texts]
    for end in ("\n", "\r\n"):
        assert lines("".join(text + end for text in texts).encode()) == list(enumerate(texts, start=1))


def test_byte_order_mark_and_last_line() -> None:
    assert lines(b"\xef\xbb\xbfa\r\n\r\nb\rc") == [(1, "a"), (2, ""), (3, "b\rc")]
    assert lines(b"") == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\n\ncaf\xe9\n".encode("latin-1"), r"^f.txt, line 3: not UTF-8 text \(byte 0xe9: .*\); save it as UTF-8$"),
        ("a\nb".encode("utf-16"), "^f.txt: not UTF-8 text, but UTF-16"),
        ("a\nb".encode("utf-16-le"), "^f.txt: not UTF-8 text, but UTF-16"),
        (b"a\nb\xed\xa0\xbd", "^f.txt, line 2: not UTF-8 text"),
    ],
)
def test_another_encoding_is_named_with_the_line(data: bytes, message: str) -> None:
    for read in (lambda: decode(data, "f.txt"), lambda: list(numbered_lines(io.BytesIO(data), "f.txt"))):
        with pytest.raises(UsageError, match=message):
            read()


def test_carriage_returns_alone_are_no_lines() -> None:
    with pytest.raises(UsageError, match="lines end in carriage returns alone"):
        lines(b"file\tcaption\ra.mp4\tone\r")


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=6)


@settings(deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=3).map(lambda row: ["x", *row]), max_size=4))
def test_any_table_comes_back_and_its_rows_have_the_lines_they_begin_in(rows: list[list[str]]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    data = stream.getvalue().encode()
    read = list(comma_separated(numbered_lines(io.BytesIO(data), "t.csv"), "t.csv"))
    assert [cells for _, cells in read] == rows
    ends = [sum(cell.count("\n") for cell in row) + 1 for row in rows]
    assert [number for number, _ in read] == [1 + sum(ends[:row]) for row in range(len(rows))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n"x\ny",1\n"open,2\nz,3\n', "t.csv, line 4: a quotation mark is never closed"),
        ("a,b\nx,1\ny\rz,2\n", "t.csv, line 3: a carriage return in a cell without quotation marks"),
        ('a,b\n"x\n\ny",1\nz,2,3\n', "t.csv, line 5: 3 cells for 2 columns"),
        ("a,a\nx,1\n", "t.csv: the header has a more than once"),
        ('a,b\n"x"y,1\n', "t.csv, line 2: ',' expected"),
    ],
)
def test_a_wrong_row_is_named_by_the_line_it_begins_in(text: str, message: str) -> None:
    numbered = enumerate(text.split("\n"), start=1)
    with pytest.raises(UsageError, match=message):
        list(with_header(comma_separated(numbered, "t.csv"), "t.csv"))


def test_cells_that_a_row_lacks_are_empty_and_blank_rows_are_none() -> None:
    rows = tab_separated(enumerate(("a\tb", "", "\t", '"x', f"y\t{INNER_BREAKS}"), start=1))
    assert list(with_header(rows, "t.tsv")) == [(4, {"a": '"x', "b": ""}), (5, {"a": "y", "b": INNER_BREAKS})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ('{\n"a":\n}', "Expecting value in line 3"),
        ("1" * 10_000, "limit"),
    ],
)
def test_json_that_is_none_has_a_short_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)
    with pytest.raises(UsageError, match=r"f\.jsonl, line 7: not JSON"):
        list(json_objects([(6, " "), (7, text)], "f.jsonl"))


# Annotations


def listing(name: str, folder: Path, **options: Any) -> Listing:
    module = plugins.load("datasets", name)
    return module.read(plugins.options("datasets", name, {"root": folder, **options}), Annotations(folder))


TIMES = "\t".join(["00.00.00.000"] * 4)
LSMDC_TEST = "LSMDC16_challenge_1000_publictect.csv"


@pytest.mark.parametrize("character", INNER_BREAKS)
def test_a_sentence_of_lsmdc_may_hold_any_break_but_a_line_feed(tmp_path: Path, character: str) -> None:
    text = f"c1\t{TIMES}\tSOMEONE waits{character} then runs.\r\nc2\t{TIMES}\tHe nods."
    (tmp_path / LSMDC_TEST).write_bytes(text.encode())
    first, second = listing("lsmdc", tmp_path).videos
    assert first.captions == (clean_text(f"SOMEONE waits{character} then runs."),)
    assert (first.captions[0][:13], second.captions) == ("SOMEONE waits", ("He nods.",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c3 no tabs", rf"{LSMDC_TEST}, line 4: 1 cell instead of 6"),
        (f"c3\t{TIMES}\ta\tb", f"{LSMDC_TEST}, line 4: 7 cells instead of 6"),
        (f"c3\t{TIMES}\t \0\x0c", f"{LSMDC_TEST}, line 4: the caption is empty"),
    ],
)
def test_a_wrong_line_of_lsmdc_is_named_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    lines = [f"c1\t{TIMES}\tone\x85two\u2028three", "", f"c2\t{TIMES}\tone", line]
    (tmp_path / LSMDC_TEST).write_bytes("\n".join(lines).encode())
    with pytest.raises(UsageError, match=message):
        listing("lsmdc", tmp_path)


def test_an_empty_caption_of_a_line_is_an_error_and_of_a_list_is_left_out(tmp_path: Path) -> None:
    table = files.msrvtt(tmp_path / "a") / "MSRVTT_JSFUSION_test.csv"
    table.write_bytes(table.read_bytes() + b'ret2,msr2,video7," "\n')
    with pytest.raises(UsageError, match=r"MSRVTT_JSFUSION_test\.csv, line 4: the caption is empty"):
        listing("msrvtt", tmp_path / "a")
    chinese = files.msvd(tmp_path / "b") / "msvd_cn_captions_release_utf8.csv"
    chinese.write_text(chinese.read_text(encoding="utf-8").replace("第2个人", ""), encoding="utf-8")
    with pytest.raises(UsageError, match=r"release_utf8\.csv, line 3: the caption is empty"):
        listing("msvd", tmp_path / "b", language="zh")
    document = json.loads((tmp_path / "b/captions_msvd.json").read_text(encoding="utf-8"))
    files.document(tmp_path / "b/captions_msvd.json", {**document, "gh_10_12": ["one", " ", "\0"]})
    english = listing("msvd", tmp_path / "b")
    assert english.videos[0].captions == ("one",)
    assert english.remarks[-1] == "without 2 empty captions"


@pytest.mark.parametrize("texts", ["a dog", 3, [3], ["a", None]])
def test_captions_that_are_no_list_of_texts_are_an_error(tmp_path: Path, texts: Any) -> None:
    files.msvd(tmp_path)
    document = json.loads((tmp_path / "captions_msvd.json").read_text(encoding="utf-8"))
    files.document(tmp_path / "captions_msvd.json", {**document, "gh_10_12": texts})
    with pytest.raises(UsageError, match=r"captions_msvd\.json, video gh_10_12: not as expected, a list of sentences"):
        listing("msvd", tmp_path)


def test_a_mapping_line_of_msvd_is_named_by_its_number(tmp_path: Path) -> None:
    mapping = files.msvd(tmp_path) / "youtube_mapping.txt"
    mapping.write_bytes(b"\n" + mapping.read_bytes() + b"one\n")
    with pytest.raises(UsageError, match=r"youtube_mapping\.txt, line 7: 1 cell instead of 2"):
        listing("msvd", tmp_path, language="zh")


# Names in either form of Unicode


def captions(root: Path) -> dict[str, str]:
    samples = plugins.build("datasets", "folder", {"root": root}).samples()
    return {sample.video.path.name: sample.captions[0] for sample in samples}


@pytest.mark.parametrize(("written", "on_disk"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_name_fits_a_file_that_is_spelled_otherwise(tmp_path: Path, written: str, on_disk: str) -> None:
    folder = tmp_path / on_disk
    folder.mkdir()
    video = folder / f"{on_disk}.mp4"
    video.touch()
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\n{written}/{written}.mp4\tred\n", encoding="utf-8")
    assert captions(tmp_path) == {video.name: "red"}
    assert VideoFolder(tmp_path).path(f"{written}.mp4") == VideoFolder(tmp_path).path(f"{written}.avi") == video
    (tmp_path / "list.csv").write_text(f"path\n{written}/{written}.mp4\n{written}/none.mp4\n", encoding="utf-8")
    listed, missing = inputs.videos(tmp_path / "list.csv")
    assert (listed["id"], listed["path"]) == (f"{written}/{written}.mp4", str(video))
    assert missing["path"] == str(folder / "none.mp4")


def test_of_two_forms_the_exact_one_wins_and_none_is_an_error(tmp_path: Path) -> None:
    names = ("\u1e69.mp4", "s\u0323\u0307.mp4", "s\u0307\u0323.mp4")  # one letter with two marks
    for name in names[1:]:
        (tmp_path / name).touch()
    folder, disk = VideoFolder(tmp_path), SpelledPaths()
    for name in names[1:]:
        assert folder.path(name) == disk.find(tmp_path / name) == tmp_path / name
    message = r"2 files are called so in other forms of Unicode, and none in this one, the first: '.*s\\u0307\\u0323"
    for attempt in (lambda: folder.path(names[0]), lambda: disk.find(tmp_path / names[0])):
        with pytest.raises(UsageError, match=message):
            attempt()
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\n{names[0]}\tred\n", encoding="utf-8")
    with pytest.raises(UsageError, match="2 files are called so"):
        captions(tmp_path)
    assert disk.find(tmp_path / "none-\xe9.mp4") == tmp_path / "none-\xe9.mp4"
    assert disk.find(tmp_path / "no-\xe9" / "a.mp4") == tmp_path / "no-\xe9" / "a.mp4"


def test_two_spellings_of_one_file_are_one_sample(tmp_path: Path) -> None:
    (tmp_path / f"{DECOMPOSED}.mp4").touch()
    table = f"file\tcaption\n{COMPOSED}.mp4\tred\n{DECOMPOSED}.mp4\tblue\n"
    (tmp_path / "captions.tsv").write_text(table, encoding="utf-8")
    [sample] = plugins.build("datasets", "folder", {"root": tmp_path}).samples()
    assert sample.captions == ("red", "blue")


def test_a_library_knows_what_is_typed_in_another_form(folder: Path, library: Library) -> None:
    place = folder / DECOMPOSED
    place.mkdir()
    videos = sorted(folder.rglob("*.mp4"))[:2]
    first, second = (place / f"{name}-{DECOMPOSED}.mp4" for name in ("a", "b"))
    videos[0].rename(first)
    videos[1].rename(second)
    assert library.index(folder / COMPOSED, exclude=[f"b-{COMPOSED}.mp4"]).added == 1
    first.unlink()  # what is gone is compared with what the library knows
    assert library.remove(folder / COMPOSED / f"a-{COMPOSED}.mp4") == (first,)
    assert library.index(folder / COMPOSED, exclude=[]).added == 1
    assert library.remove(folder / COMPOSED) == (second,)
    assert library.status().roots == ()
    with pytest.raises(UsageError, match="knows nothing of it"):
        library.remove(folder / COMPOSED)
    with pytest.raises(UsageError, match="no such file or folder"):
        library.index(folder / f"{COMPOSED}s")


@pytest.mark.parametrize(("pattern", "name"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_pattern_excludes_names_in_either_form(pattern: str, name: str) -> None:
    root = Root(Path("/videos"), (f"{pattern}-*.mp4", f"{pattern}/x/*"))
    assert root.excludes(root.path / "sub" / f"{name}-1.mp4")
    assert root.excludes(root.path / name / "x" / "y.mp4")
    assert not root.excludes(root.path / f"{name}.mp4")


# Question pools


def test_a_proposed_question_is_clean_and_one_line_of_its_reply() -> None:
    assert question_in(f"Sure!\u2028\n1. Who{INNER_BREAKS[0]}sees the \ud83d {DECOMPOSED}\0?\r\nWhy?") == (
        f"Who sees the \ufffd {COMPOSED}?"
    )


def test_a_pool_is_cleaned_and_its_lines_are_counted_as_editors_count_them(tmp_path: Path) -> None:
    head = "about: text  # a\u2028b\x85c\nquestions:\n"
    parsed = pool.parse(f"{head}- {{id: a, kind: mood, text: '{DECOMPOSED}?'}}\n", tmp_path / "p.yaml")
    assert parsed.questions[0].text == f"{COMPOSED}?"
    with pytest.raises(ConfigError, match="line 3: the question has no kind"):
        pool.parse(f"{head}- {{id: a, text: 'Who?'}}\n", tmp_path / "p.yaml")


# Lists of queries


def test_queries_of_a_list_are_clean_and_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_bytes(f"a red\x85circle\u2028\r\n\n{DECOMPOSED}\x00\n".encode())
    assert [item["text"] for item in inputs.queries(tmp_path / "q.txt")] == ["a red circle", COMPOSED]
    (tmp_path / "q.jsonl").write_text('{"query": "a \\ud83d circle"}\n{"query": "\\u0000"}\n')
    with pytest.raises(UsageError, match=r"q\.jsonl, line 2: 'query' is empty"):
        inputs.queries(tmp_path / "q.jsonl")
