"""The folder data set: what its tables may say, and every way in which they are refused."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmi_tvr import plugins
from mmi_tvr.errors import UsageError
from mmi_tvr.protocols import Dataset, IncompleteDataset


@pytest.fixture
def root(tmp_path):
    for name in ("a.mp4", "b.mp4", "sub/c d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def table(root, text, name="captions.tsv"):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def listed(root, **options):
    return plugins.build("datasets", "folder", {"root": root, **options}).samples()


def captions(root, **options):
    return {sample.id: sample.captions for sample in listed(root, **options)}


def test_rows_become_samples_in_order(root):
    table(root, "file\tcaption\nb.mp4\ta dog\nsub/c d.mp4\ta cat\n")
    dataset = plugins.build("datasets", "folder", {"root": root})
    assert isinstance(dataset, Dataset)
    assert [(sample.id, sample.captions) for sample in dataset.samples()] == [
        ("b.mp4", ("a dog",)),
        ("sub/c d.mp4", ("a cat",)),
    ]
    assert [sample.video.path for sample in dataset.samples()] == [root / "b.mp4", root / "sub/c d.mp4"]


def test_several_rows_and_spellings_of_one_file_are_one_sample(root):
    table(root, "file\tcaption\na.mp4\tone\nb.mp4\tx\n./a.mp4\ttwo\nsub/../a.mp4\tone\n")
    assert captions(root) == {"a.mp4": ("one", "two"), "b.mp4": ("x",)}


def test_byte_order_mark_line_endings_blank_lines_and_short_rows(root):
    table(root, b"\xef\xbb\xbffile\tcaption\tnote\r\n\r\na.mp4\t a dog \r\nb.mp4\ta cat\tfunny\r\n")
    assert captions(root) == {"a.mp4": ("a dog",), "b.mp4": ("a cat",)}


def test_quotes_are_ordinary_characters(root):
    table(root, 'file\tcaption\na.mp4\t"Stop!" she\'s saying\nb.mp4\t"unclosed\n')
    assert captions(root) == {"a.mp4": ('"Stop!" she\'s saying',), "b.mp4": ('"unclosed',)}


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).filter(lambda text: text.strip())


@given(TEXT)
@example("\uf900 e\u0301")
def test_any_caption_comes_back_as_written_and_composed(tmp_path_factory, caption):
    root = tmp_path_factory.mktemp("folder")
    (root / "a.mp4").touch()
    table(root, f"file\tcaption\na.mp4\t{caption}\n")
    composed = unicodedata.normalize("NFC", caption).strip()
    assert captions(root) == {"a.mp4": (composed,)}
    table(root, json.dumps({"file": "a.mp4", "caption": [caption]}), "other.jsonl")
    assert captions(root, captions="other.jsonl") == {"a.mp4": (composed,)}


COLUMNS = "file\tcaption_en\tcaption_zh\tlicence\na.mp4\ta dog\t一只狗\tMIT\nb.mp4\ta cat\t\tMIT\n"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("caption_en", ("a dog",)),
        ("caption_zh, caption_en", ("一只狗", "a dog")),
        ("*", ("a dog", "一只狗", "MIT")),
    ],
)
def test_columns_are_chosen_by_name(root, column, expected):
    table(root, COLUMNS)
    assert captions(root, column=column)["a.mp4"] == expected


def test_column_default_takes_what_is_called_caption_or_stands_alone(root):
    table(root, "file\tcaption1\tcaption2\tlicence\na.mp4\tone\ttwo\tMIT\n")
    assert captions(root) == {"a.mp4": ("one", "two")}
    table(root, "words\tfile\none\ta.mp4\n")
    assert captions(root) == {"a.mp4": ("one",)}


def test_json_lines(root):
    table(
        root,
        '{"file": "a.mp4", "caption": "one"}\n\n{"file": "b.mp4", "caption": ["x", "y"], "id": 3}\n',
        "captions.jsonl",
    )
    assert captions(root) == {"a.mp4": ("one",), "b.mp4": ("x", "y")}


def test_a_table_elsewhere(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    table(other, "file\tcaption\na.mp4\tone\n", "mine.tsv")
    assert captions(root, captions=other / "mine.tsv") == {"a.mp4": ("one",)}


def test_missing_files_are_counted_and_named_or_skipped(root):
    table(root, "file\tcaption\na.mp4\tone\nx.mp4\ttwo\ny.mp4\tthree\n")
    says = r"2 of 3 files missing in .*: x.mp4, y.mp4; put them there, .* or leave them out"
    with pytest.raises(UsageError, match=says):
        listed(root)
    dataset = plugins.build("datasets", "folder", {"root": root, "missing": "skip"})
    assert [sample.id for sample in dataset.samples()] == ["a.mp4"]
    assert dataset.missing == ("x.mp4", "y.mp4")
    assert dataset.remarks == ()
    assert isinstance(dataset, IncompleteDataset)


def test_skipping_every_file_is_no_data_set(root):
    table(root, "file\tcaption\n" + "".join(f"{number}.mp4\tone\n" for number in range(9)))
    with pytest.raises(UsageError, match=r"9 of 9 files .* 4.mp4, ...;"):
        listed(root, missing="skip")


@pytest.mark.parametrize("file", ["../a.mp4", "sub/../../a.mp4", "/etc/passwd"])
def test_a_path_may_not_leave_the_folder(root, file):
    table(root, f"file\tcaption\n{file}\tone\n")
    with pytest.raises(UsageError, match=r"line 2: .* leaves the folder"):
        listed(root)


def test_a_link_inside_the_folder_is_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("big") / "real.mp4"
    elsewhere.touch()
    (root / "link.mp4").symlink_to(elsewhere)
    table(root, "file\tcaption\nlink.mp4\tone\n")
    assert captions(root) == {"link.mp4": ("one",)}


REFUSED_TSV = [
    ("", "lists no file"),
    ("file\tcaption\n", "lists no file"),
    ("name\tcaption\na.mp4\tone\n", "no column is called 'file'; there are: name, caption"),
    ("file,caption\na.mp4,one\n", "no column is called 'file'; there are: file,caption"),
    (COLUMNS, "which column holds the captions.* caption_en, caption_zh, licence"),
    ("file\na.mp4\n", "which column holds the captions.*there are: none"),
    ("file\tcaption\na.mp4\tone\ttwo\n", "line 2: 3 cells for 2 columns"),
    ("file\tcaption\na.mp4\n", "captions.tsv, line 2: a.mp4 has no caption; write one"),
    ("file\tcaption\n\tone\n", "line 2: the file's name is missing"),
    (
        "file\tcaption\nb.mp4\tx\na.mp4\t \na.mp4\tx\nb.mp4\t\0\n",
        "line 3: a.mp4 has no caption .2 such lines",
    ),
    ("file\tcaption\tcaption\na.mp4\tone\ttwo\n", "the header has caption more than once"),
    ("file\tcaption\na.mp4\tone\n".encode("utf-16"), "captions.tsv: not UTF-8 text, but UTF-16"),
    ("file\tcaption\na.mp4\tone\n".encode("utf-16-be"), "captions.tsv: not UTF-8 text, but UTF-16"),
    ("file\tcaption\na.mp4\tone\nb.mp4\tcaf\xe9\n".encode("latin-1"), "line 3: not UTF-8 text .byte 0xe9"),
    (b"file\tcaption\na.mp4\ta \xed\xa0\xbd b\n", "line 2: not UTF-8 text"),
    ("file\tcaption\ra.mp4\tone\rb.mp4\ttwo\r", "lines end in carriage returns alone"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED_TSV)
def test_tables_that_cannot_be_used(root, text, message):
    table(root, text)
    with pytest.raises(UsageError, match=message):
        listed(root)


@pytest.mark.parametrize("column", ["captoin", "caption_en,captoin", ",", "file"])
def test_an_unknown_column_names_those_there_are(root, column):
    table(root, COLUMNS)
    with pytest.raises(UsageError, match=r"no column .*; there are: caption_en, caption_zh, licence"):
        listed(root, column=column)


REFUSED_JSONL = [
    ('{"file": "a.mp4", "caption": "one"', "line 1: not JSON"),
    ('["a.mp4", "one"]', "line 1: an object with 'file' and 'caption'"),
    ('{"file": "a.mp4", "caption": 3}', "line 1: caption is text or a list of texts, not 3"),
    ('{"file": "a.mp4", "caption": ["one", null, {}]}', "caption is text or a list of texts, not {}"),
    ('{"file": 7, "caption": "one"}', "line 1: the file's name is missing"),
    ('{"file": "a.mp4", "caption": []}', "line 1: a.mp4 has no caption"),
    ('{"file": "b.mp4", "caption": "x"}\n\n{"file": "a.mp4", "caption": null}', "line 3: a.mp4 has no caption"),
    ('{"file": "a.mp4", "caption": ["\\u0000", " ", null]}', "line 1: a.mp4 has no caption"),
    ('{"file": "a.mp4", "caption": "x", "caption": "y"}', "line 1: not JSON .the key 'caption' is there twice"),
    ('{"file": "a.mp4", "caption": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 1: not JSON .nested too deep"),
    ('{"file": "a.mp4", "caption": "x", "n": ' + "1" * 5000 + "}", "line 1: not JSON"),
    (b'{"file": "a.mp4", "caption": "x"}\n{"file": "caf\xe9"}', "line 2: not UTF-8 text"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED_JSONL)
def test_json_lines_that_cannot_be_used(root, text, message):
    table(root, text, "captions.jsonl")
    with pytest.raises(UsageError, match=message):
        listed(root)


def test_what_is_not_there_is_said(root, tmp_path):
    with pytest.raises(UsageError, match=r"has no captions.tsv or captions.jsonl"):
        listed(root)
    with pytest.raises(UsageError, match=r"mine.tsv: no such file"):
        listed(root, captions="mine.tsv")
    with pytest.raises(UsageError, match="not a folder"):
        listed(root / "nowhere")
    table(root, "file,caption\n", "captions.csv")
    with pytest.raises(UsageError, match=r"read from .tsv or .jsonl, not from .csv"):
        listed(root, captions="captions.csv")


def test_a_limit_takes_the_first_files_of_the_table(root):
    table(root, "file\tcaption\nb.mp4\ta dog\nsub/c d.mp4\ta cat\nb.mp4\ta hound\nnone.mp4\tgone\n")
    assert captions(root, limit=2) == {"b.mp4": ("a dog", "a hound"), "sub/c d.mp4": ("a cat",)}
    with pytest.raises(UsageError, match="1 of 3 files missing in"):
        captions(root, limit=3)
