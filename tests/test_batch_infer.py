"""Queries and lists in every format; hits that are those of a search; runs that other tools can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fakes import COLOURS, FakeModel, colour_video

from mmi_tvr import models
from mmi_tvr.batch import embeddings, extract, infer, inputs, program
from mmi_tvr.batch.folder import BatchFolder
from mmi_tvr.batch.worker import Worker
from mmi_tvr.config import Section
from mmi_tvr.errors import UsageError
from mmi_tvr.library import Library

ROWS = [
    {"id": "q 1", "query": "red"},
    {"id": "50%", "query": 'a blue thing, "maybe"'},
    {"id": "三", "query": "绿 green"},
]


def make(section: object, device: str) -> FakeModel:
    return FakeModel()


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMI_TVR_DECODE_WORKERS", "0")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for colour in COLOURS:
        colour_video(tmp_path / "my videos" / f"{colour}.mp4", colour, seconds=0.25)
    return tmp_path / "my videos"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A list in the format of its suffix."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    else:
        cells = [[*rows[0]], *(map(str, row.values()) for row in rows)]
        if path.suffix == ".csv":
            cells = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in cells]
        separator = "," if path.suffix == ".csv" else "\t"
        path.write_text("\ufeff" + "\n".join(map(separator.join, cells)), encoding="utf-8")
    return path


def extracted(output: Path, source: Path | None, **options: Any) -> Path:
    folder = extract.create(output, source, model=models.section("label_bridge"), shard_size=3, **options)
    Worker(folder, extract.ExtractTask(folder, "cpu", make)).run()
    return output


def asked(output: Path, table: Path, source: Path, trec: Path | None = None, **options: Any) -> list[dict[str, Any]]:
    """Run a batch of queries; all of its rows."""
    folder = infer.create(output, table, source, shard_size=2, **options)
    Worker(folder, infer.InferTask(folder, "cpu", trec, make)).run()
    return [row for file in sorted((output / "hits").iterdir()) for _, row in inputs.rows(file)]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    wanted = [{"id": row["id"], "text": row["query"]} for row in ROWS]
    assert inputs.queries(write(tmp_path / f"queries.{suffix}", ROWS)) == wanted
    renamed = [{"words": row["query"], "n": at, "other": "x"} for at, row in enumerate(ROWS)]
    found = inputs.queries(write(tmp_path / f"renamed.{suffix}", renamed), column="words", id_column="n")
    assert found == [{"id": str(at), "text": row["query"]} for at, row in enumerate(ROWS)]


def test_lines_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red\n\n  the sea \n")
    assert inputs.queries(tmp_path / "queries.txt") == [{"id": "1", "text": "red"}, {"id": "2", "text": "the sea"}]


def test_hits_are_those_of_a_search(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "queries.csv", ROWS)
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(videos)
        expected = [
            {
                "query": row["id"],
                "rank": rank,
                "path": str(hit.path),
                "start": hit.start,
                "end": hit.end,
                "score": pytest.approx(hit.score),
                "relevance": pytest.approx(hit.relevance),
            }
            for row in ROWS
            for rank, hit in enumerate(library.search(row["query"], top=3, min_relevance=0), start=1)
        ]
    assert len(expected) == 9
    vectors = extracted(tmp_path / "vectors", videos)
    found = asked(tmp_path / "hits", table, vectors, tmp_path / "run.txt", top=3)
    assert [{key: value for key, value in row.items() if key not in ("video", "joint")} for row in found] == expected
    assert [row["video"] for row in found] == [Path(row["path"]).name for row in found]
    assert asked(tmp_path / "parquet", table, vectors, tmp_path / "other.txt", top=3, output_format="parquet") == found
    monkeypatch.setattr(
        infer, "Library", lambda path, settings=None: Library(path, model=FakeModel(), settings=settings)
    )
    own = asked(tmp_path / "of the library", table, tmp_path / "library", top=3)
    assert [{**row, "video": Path(row["path"]).name} for row in own] == found
    lines = [line.split(" ") for line in (tmp_path / "run.txt").read_text(encoding="utf-8").splitlines()]
    assert (tmp_path / "other.txt").read_bytes() == (tmp_path / "run.txt").read_bytes()
    assert {line[0] for line in lines} == {"q%201", "50%25", "三"}
    assert [(line[1], line[2], int(line[3]), line[5]) for line in lines] == [
        ("Q0", row["video"], row["rank"], "mmi-tvr-fake") for row in found
    ]
    for name in ("q%201", "50%25", "三"):
        scores = [float(line[4]) for line in lines if line[0] == name]
        assert scores == sorted(scores, reverse=True)


def test_a_run_can_be_asked_for_later(tmp_path: Path, videos: Path) -> None:
    table = write(tmp_path / "queries.jsonl", ROWS)
    vectors = extracted(tmp_path / "vectors", videos)
    asked(tmp_path / "hits", table, vectors, top=2)
    folder = infer.create(tmp_path / "hits", table, vectors, top=2, shard_size=2)
    Worker(folder, infer.InferTask(folder, "cpu", tmp_path / "run.txt", make)).run()
    assert len((tmp_path / "run.txt").read_text(encoding="utf-8").splitlines()) == 6
    assert "6 of" not in program.summary(folder, folder.state())
    assert program.summary(folder, folder.state()).startswith("3 of 3 items in 2 shards")


def test_spans_and_missing_files(tmp_path: Path, videos: Path) -> None:
    long = colour_video(videos / "long.mp4", "red", "blue", seconds=1)
    rows = [
        {"id": "first", "path": long.name, "start": 0, "end": 0.9},
        {"id": "second", "path": long.name, "start": 1.1, "end": 2.0},
        {"id": "gone", "path": "gone.mp4", "start": None, "end": None},
    ]
    vectors = extracted(tmp_path / "vectors", write(tmp_path / "list.parquet", rows), root=videos)
    assert BatchFolder(vectors).quarantined() == [("gone", "No such file or directory")]
    (tmp_path / "queries.txt").write_text("blue\nred\n")
    best = [row for row in asked(tmp_path / "hits", tmp_path / "queries.txt", vectors) if row["rank"] == 1]
    assert [(row["video"], row["path"]) for row in best] == [("second", str(long)), ("first", str(long))]
    assert best[0]["start"] == pytest.approx(1.1)


def test_a_data_set_is_a_source(tmp_path: Path, videos: Path) -> None:
    (videos / "captions.tsv").write_text("file\tcaption\nred.mp4\ta red thing\nblue.mp4\ta blue thing\n")
    section = program.dataset_section(f"{{name: folder, root: '{videos}'}}")
    vectors = extracted(tmp_path / "vectors", None, dataset=section)
    assert [item["id"] for item in BatchFolder(vectors).items("000000").values()] == ["red.mp4", "blue.mp4"]


def lines(text: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        name, _, content = text.partition(":")
        (folder / name).write_text(content)
        return inputs.queries(folder / name)

    return read


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lines("a.csv:query\n"), "it lists nothing"),
        (lines("a.csv:query,id\nx,1\ny,1\n"), "id '1' comes more than once"),
        (lines("a.csv:query,id\nx,1,2\n"), "line 2: more cells than the header has columns"),
        (lines("a.csv:words,id\nx,1\n"), "no column 'query' or .* there are: words, id"),
        (lines('a.csv:query\n"x'), "line 1: unexpected end of data"),
        (lines('a.jsonl:{"query": "x"}\n{"query": ""}'), "line 2: 'query' is empty"),
        (lines('a.jsonl:{"query": 3}'), "line 1: 'query' is empty or no text"),
        (lines("a.jsonl:{"), "line 1: not JSON"),
        (lines("a.jsonl:[1]"), "line 1: an object, not"),
        (lines("a.parquet:PAR1"), "not readable as parquet"),
        (lines("a.xlsx:"), "a list is a .txt, .csv"),
        (lambda folder: inputs.queries(folder / "none.txt"), "no such file or folder"),
        (lambda folder: inputs.videos(folder), "no video file is in this folder"),
        (lambda folder: extract.create(folder / "out", None), "name a folder of videos, a list, or a data set"),
        (lambda folder: extract.create(folder / "out", folder, dataset=Section(name="folder")), "one of them"),
        (lambda folder: program.dataset_section("{split: test}"), "--dataset takes a name"),
        (lambda folder: program.dataset_section("nonsense"), "no datasets is called 'nonsense'"),
        (lambda folder: infer.is_embeddings(folder), "no library is here"),
        (lambda folder: embeddings.EmbeddingCollection(folder), "nothing was begun here"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, attempt: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        attempt(tmp_path)
    assert "\n" not in str(raised.value)


def test_unfinished_and_bare_extractions_are_not_searched(tmp_path: Path, videos: Path) -> None:
    extract.create(tmp_path / "begun", videos, model=models.section("label_bridge"))
    with pytest.raises(UsageError, match="1 of its shards are missing"):
        embeddings.EmbeddingCollection(tmp_path / "begun")
    with pytest.raises(UsageError, match="it holds features, no embeddings"):
        embeddings.EmbeddingCollection(extracted(tmp_path / "features", videos, outputs=("features",)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mp4").write_text("no video")
    bad = extracted(tmp_path / "none", tmp_path / "bad")
    with pytest.raises(UsageError, match="none of its videos could be used"):
        embeddings.EmbeddingCollection(bad)
    assert "bad.mp4: " in program.summary(BatchFolder(bad), BatchFolder(bad).state())
    (tmp_path / "q.txt").write_text("red")
    asked(tmp_path / "hits", tmp_path / "q.txt", extracted(tmp_path / "good", videos))
    with pytest.raises(UsageError, match="not what batch extract wrote"):
        embeddings.EmbeddingCollection(tmp_path / "hits")
    with pytest.raises(UsageError, match="re-ranking asks a library's videos"):
        infer.create(tmp_path / "re-ranked", tmp_path / "q.txt", tmp_path / "good", rerank=True)
    with pytest.raises(UsageError, match="top: Input should be greater"):
        infer.create(tmp_path / "no hits", tmp_path / "q.txt", tmp_path / "good", top=0)
