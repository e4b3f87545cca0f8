"""Queries and lists in every format; hits that are those of a search; runs that other tools can read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from fakes import COLOURS, FakeBlockModel, FakeModel, colour_video

from mmi_tvr import config, models, plugins
from mmi_tvr.batch import embeddings, extract, infer, inputs, program
from mmi_tvr.batch.folder import BatchFolder
from mmi_tvr.batch.worker import Worker
from mmi_tvr.config import Section
from mmi_tvr.errors import IndexMismatch, UsageError
from mmi_tvr.library import Library
from mmi_tvr.library.people import PeopleStore
from mmi_tvr.types import Query

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


def hits_of(output: Path, table: Path, source: Path, trec: Path | None = None, **options: Any) -> list[dict[str, Any]]:
    """Run a batch of queries; all of its rows."""
    folder = infer.create(output, table, source, shard_size=2, **options)
    Worker(folder, infer.InferTask(folder, "cpu", trec, make)).run()
    return [row for file in sorted((output / "hits").iterdir()) for _, row in inputs.rows(file)]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    expected = [{"id": row["id"], "text": row["query"]} for row in ROWS]
    assert inputs.queries(write(tmp_path / f"queries.{suffix}", ROWS)) == expected
    renamed = [{"words": row["query"], "n": number, "other": "x"} for number, row in enumerate(ROWS)]
    queries = inputs.queries(write(tmp_path / f"renamed.{suffix}", renamed), column="words", id_column="n")
    assert queries == [{"id": str(number), "text": row["query"]} for number, row in enumerate(ROWS)]


def test_lines_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red\n\n  the sea \n")
    assert inputs.queries(tmp_path / "queries.txt") == [{"id": "1", "text": "red"}, {"id": "2", "text": "the sea"}]


@pytest.mark.parametrize("model", [FakeModel(), FakeBlockModel("fake")], ids=["cosines", "blocks"])
def test_hits_are_those_of_a_search(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch, model: FakeModel
) -> None:
    monkeypatch.setitem(globals(), "make", lambda section, device: model)
    table = write(tmp_path / "queries.csv", ROWS)
    with Library(tmp_path / "library", model=model) as library:
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
                "found": result.is_found,
            }
            for row in ROWS
            for result in [library.search(row["query"], top=3, min_relevance=0)]
            for rank, hit in enumerate(result, start=1)
        ]
    assert len(expected) == 9
    vectors = extracted(tmp_path / "vectors", videos)
    hits = hits_of(tmp_path / "hits", table, vectors, tmp_path / "run.txt", top=3)
    assert [{key: value for key, value in row.items() if key not in ("video", "joint")} for row in hits] == expected
    assert [row["video"] for row in hits] == [Path(row["path"]).name for row in hits]
    assert hits_of(tmp_path / "parquet", table, vectors, tmp_path / "other.txt", top=3, output_format="parquet") == hits
    monkeypatch.setattr(infer, "Library", lambda path, settings=None: Library(path, model=model, settings=settings))
    library_hits = hits_of(tmp_path / "of the library", table, tmp_path / "library", top=3)
    assert [{**row, "video": Path(row["path"]).name} for row in library_hits] == hits
    lines = [line.split(" ") for line in (tmp_path / "run.txt").read_text(encoding="utf-8").splitlines()]
    assert (tmp_path / "other.txt").read_bytes() == (tmp_path / "run.txt").read_bytes()
    assert {line[0] for line in lines} == {"q%201", "50%25", "三"}
    assert [(line[1], line[2], int(line[3]), line[5]) for line in lines] == [
        ("Q0", row["video"], row["rank"], "mmi-tvr-fake") for row in hits
    ]
    for name in ("q%201", "50%25", "三"):
        scores = [float(line[4]) for line in lines if line[0] == name]
        assert scores == sorted(scores, reverse=True)


def test_a_run_can_be_asked_for_later(tmp_path: Path, videos: Path) -> None:
    table = write(tmp_path / "queries.jsonl", ROWS)
    vectors = extracted(tmp_path / "vectors", videos)
    hits_of(tmp_path / "hits", table, vectors, top=2)
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
    best = [row for row in hits_of(tmp_path / "hits", tmp_path / "queries.txt", vectors) if row["rank"] == 1]
    assert [(row["video"], row["path"]) for row in best] == [("second", str(long)), ("first", str(long))]
    assert best[0]["start"] == pytest.approx(1.1)


def test_a_data_set_is_a_source(tmp_path: Path, videos: Path) -> None:
    (videos / "captions.tsv").write_text("file\tcaption\nred.mp4\ta red thing\nblue.mp4\ta blue thing\n")
    section = program.dataset_section(f"{{name: folder, root: '{videos}'}}")
    vectors = extracted(tmp_path / "vectors", None, dataset=section)
    assert [item["id"] for item in BatchFolder(vectors).items("000000").values()] == ["red.mp4", "blue.mp4"]


def file_of(text: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        name, _, content = text.partition(":")
        (folder / name).write_text(content)
        return inputs.queries(folder / name)

    return read


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (file_of("a.csv:query\n"), "it lists nothing"),
        (file_of("a.csv:query,id\nx,1\ny,1\n"), "id '1' comes more than once"),
        (file_of("a.csv:query,id\nx,1,2\n"), "line 2: 3 cells for 2 columns"),
        (file_of("a.csv:words,id\nx,1\n"), "no column 'query' or .* there are: words, id"),
        (file_of('a.csv:query\n"x'), "line 2: a quotation mark is never closed"),
        (file_of('a.jsonl:{"query": "x"}\n{"query": ""}'), "line 2: 'query' is empty"),
        (file_of('a.jsonl:{"query": 3}'), "line 1: 'query' is empty or no text"),
        (file_of("a.jsonl:{"), "line 1: not JSON"),
        (file_of("a.jsonl:[1]"), "line 1: an object, not"),
        (file_of("a.parquet:PAR1"), "not readable as parquet"),
        (file_of("a.xlsx:"), "a list is a .txt, .csv"),
        (lambda folder: inputs.queries(folder / "none.txt"), "no such file or folder"),
        (lambda folder: inputs.videos(folder), "no video file and no picture is in this folder"),
        (lambda folder: extract.create(folder / "out", None), "name a folder of videos, a list, or a data set"),
        (lambda folder: extract.create(folder / "out", folder, dataset=Section(name="folder")), "one of them"),
        (lambda folder: program.dataset_section("{split: test}"), "--dataset takes a name"),
        (lambda folder: program.dataset_section("nonsense"), "no dataset is called 'nonsense'"),
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
    with pytest.raises(UsageError, match="shards missing: 1"):
        embeddings.EmbeddingCollection(tmp_path / "begun")
    with pytest.raises(UsageError, match="it holds features, no embeddings"):
        embeddings.EmbeddingCollection(extracted(tmp_path / "features", videos, outputs=("features",)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mp4").write_text("no video")
    unusable = extracted(tmp_path / "none", tmp_path / "bad")
    with pytest.raises(UsageError, match="none of its videos could be used"):
        embeddings.EmbeddingCollection(unusable)
    assert "bad.mp4: " in program.summary(BatchFolder(unusable), BatchFolder(unusable).state())
    (tmp_path / "q.txt").write_text("red")
    hits_of(tmp_path / "hits", tmp_path / "q.txt", extracted(tmp_path / "good", videos))
    with pytest.raises(UsageError, match="not what batch extract wrote"):
        embeddings.EmbeddingCollection(tmp_path / "hits")
    with pytest.raises(UsageError, match="re-ranking asks a library's videos"):
        infer.create(tmp_path / "re-ranked", tmp_path / "q.txt", tmp_path / "good", rerank=True)
    with pytest.raises(UsageError, match="top: Input should be greater"):
        infer.create(tmp_path / "no hits", tmp_path / "q.txt", tmp_path / "good", top=0)


def test_embeddings_are_not_asked_what_a_library_alone_knows(tmp_path: Path, videos: Path) -> None:
    vectors = extracted(tmp_path / "vectors", videos)
    plain = write(tmp_path / "plain.jsonl", [{"query": "red"}])
    restricted = write(tmp_path / "restricted.jsonl", [{"query": "red", "where": {"object": ["ball"]}}])
    by_example = write(tmp_path / "like.jsonl", [{"query": "red", "like": "red.mp4"}])
    requests: list[tuple[Path, dict[str, Any], str]] = [
        (restricted, {}, "where: a library knows"),
        (plain, {"where": {"object": ["ball"]}}, "where: a library knows"),
        (by_example, {}, "like: examples are compared with a library"),
        (plain, {"without": ["blue"]}, "without .--not.: name a library"),
        (plain, {"items": {"kind": "video"}}, "kind: a library knows its items"),
    ]
    for table, options, message in requests:
        with pytest.raises(UsageError, match=message):
            infer.create(tmp_path / "hits", table, vectors, **options)
    assert not (tmp_path / "hits" / "manifest.json").exists()  # nothing was begun


def test_vectors_of_another_model_are_not_searched(tmp_path: Path, videos: Path) -> None:
    collection = embeddings.EmbeddingCollection(extracted(tmp_path / "vectors", videos))
    with pytest.raises(IndexMismatch, match=r"its vectors were made by .*, but fake is now "):
        collection.searcher("cpu", lambda section, device: FakeModel(head=1))


def test_an_index_that_was_left_half_built_is_completed(tmp_path: Path, videos: Path) -> None:
    collection = embeddings.EmbeddingCollection(extracted(tmp_path / "vectors", videos))
    first, rest = collection._files[:1], collection._files
    collection._files = first
    half = collection.searcher("cpu", make)
    half.index.close()
    collection._files = rest
    searcher = collection.searcher("cpu", make)
    again = embeddings.EmbeddingCollection(tmp_path / "vectors").searcher("cpu", make)
    names = sorted(path.name for path in videos.iterdir())
    assert len(rest) > 1
    assert half.index.ids().size < searcher.index.ids().size == again.index.ids().size
    hits = searcher.search(Query("red"), 99, 0.0)
    assert sorted(collection.item_of(hit)["id"] for hit in hits) == names
    for hit in hits:
        assert hit.end > hit.start  # segments of its own video


@pytest.mark.parametrize(("reranked", "score"), [(True, "0.25"), (False, "0.7")])
def test_a_run_is_sorted_by_what_orders_the_hits(reranked: bool, score: str) -> None:
    row = {"query": "a b", "video": "50%", "rank": 4, "score": 0.7}
    assert infer.trec_line(row, "tag", reranked) == f"a%20b Q0 50%25 4 {score} tag\n"


def test_hits_are_durable_every_few_seconds(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = extracted(tmp_path / "vectors", videos)
    folder = infer.create(tmp_path / "hits", write(tmp_path / "queries.csv", ROWS), vectors, shard_size=3)
    task = infer.InferTask(folder, "cpu", None, make)
    task.begin()
    items = folder.items("000000")
    assert [list(outcomes) for outcomes in task.run(items, tmp_path)] == [[0, 1, 2]]
    monkeypatch.setattr(infer, "_COMMIT_SECONDS", -1.0)
    assert [list(outcomes) for outcomes in task.run(items, tmp_path)] == [[0, 1, 2], []]  # embedded together
    monkeypatch.setattr(infer.InferTask, "batch_size", 2)
    assert [list(outcomes) for outcomes in task.run(items, tmp_path)] == [[0, 1], [2], []]
    task.settings = task.settings.model_copy(update={"rerank": True})  # one by one
    assert [list(outcomes) for outcomes in task.run(items, tmp_path)] == [[0], [1], [2], []]
    task.finish()


def test_a_run_is_written_when_all_hits_are_there_and_only_if_they_are_newer(tmp_path: Path, videos: Path) -> None:
    vectors, run = extracted(tmp_path / "vectors", videos), tmp_path / "run.txt"
    folder = infer.create(tmp_path / "hits", write(tmp_path / "queries.csv", ROWS), vectors, top=1, shard_size=2)
    task = infer.InferTask(folder, "cpu", run, make)
    folder.bind(task.begin())
    task.finish()
    assert not run.exists()  # no shard is finished
    Worker(folder, task).run()
    assert len(run.read_text(encoding="utf-8").splitlines()) == 3
    run.write_text("mine")
    task.finish()
    assert run.read_text() == "mine"
    os.utime(run, ns=(0, 0))
    task.finish()
    assert len(run.read_text(encoding="utf-8").splitlines()) == 3
    assert not list(tmp_path.glob("*.tmp"))


def test_results_are_bound_to_what_is_searched(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More videos, another model or another library: the collection's digest tells, so runs are never mixed."""
    table = write(tmp_path / "queries.csv", ROWS)
    digests = []
    for number in (1, 2):
        if number == 2:
            colour_video(videos / "another.mp4", "red", "blue", seconds=0.25)
        vectors = extracted(tmp_path / str(number) / "vectors", videos)
        folder = infer.create(tmp_path / f"hits {number}", table, vectors)
        digests.append(infer.InferTask(folder, "cpu", None, make).begin()["collection"])
    monkeypatch.setattr(infer, "Library", lambda path, settings=None: Library(path, model=FakeModel()))
    for number in (3, 4):
        with Library(tmp_path / "library", model=FakeModel()) as library:
            library.index(videos)
        folder = infer.create(tmp_path / f"hits {number}", table, tmp_path / "library")
        digests.append(infer.InferTask(folder, "cpu", None, make).begin()["collection"])
        (videos / "another.mp4").unlink(missing_ok=True)
    assert len(set(digests)) == 4


@pytest.mark.parametrize("rerank", [True, False])
def test_a_library_is_asked_for_what_the_settings_say(tmp_path: Path, monkeypatch: Any, rerank: bool) -> None:
    calls = []

    class Recorded(Library):
        def search(self, *arguments: Any, **options: Any) -> Any:
            calls.append((arguments[1:], options))
            return super().search(*arguments, **{**options, "rerank": False})

    colour_video(tmp_path / "videos" / "red.mp4", "red", seconds=0.25)
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(tmp_path / "videos")
    monkeypatch.setattr(infer, "Library", lambda path, settings=None: Recorded(path, model=FakeModel()))
    table = write(tmp_path / "queries.csv", ROWS[:1])
    hits_of(tmp_path / "hits", table, tmp_path / "library", top=4, min_relevance=0.25, rerank=rerank)
    assert calls == [((4, 0.25), {"rerank": rerank, "where": {}, "like": None, "without": []})]


def test_names_with_half_characters_reach_parquet(tmp_path: Path) -> None:
    name = "caf\udce9.mp4"  # a file name that is no UTF-8
    row = {"query": name, "rank": 1, "video": name, "path": name, "start": 0.0, "end": 1.0, "score": 0.5}
    (tmp_path / "hits.parquet").write_bytes(infer._as_parquet([{**row, "relevance": 1.0, "joint": None}]))
    ((_, stored),) = inputs.rows(tmp_path / "hits.parquet")
    assert (stored["video"], stored["rank"], stored["joint"]) == ("caf\\xe9.mp4", 1, None)


def test_an_extraction_takes_the_key_images_of_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the settings name others; the device is nobody's business but the worker's."""
    (tmp_path / "list.txt").write_text("a.mp4\n")
    monkeypatch.setattr(models, "key_images", lambda section: Section(name="uniform", count=3))
    section = models.section("label_bridge")
    folder = extract.create(tmp_path / "a", tmp_path / "list.txt", model=section)
    assert folder.settings["keyimages"] == {"name": "uniform", "count": 3}
    chosen = config.from_values({"keyimages": {"name": "uniform", "count": 5}, "device": "cpu"})
    folder = extract.create(tmp_path / "b", tmp_path / "list.txt", model=section, settings=chosen)
    assert folder.settings["keyimages"] == {"name": "uniform", "count": 5}
    elsewhere = chosen.model_copy(update={"device": "cuda"})
    assert extract.create(tmp_path / "b", tmp_path / "list.txt", model=section, settings=elsewhere).path == folder.path


def test_a_query_that_cannot_be_read_costs_no_other_and_names_nobody(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(tmp_path / "library", model=FakeModel()) as library:
        library.index(videos)
        with PeopleStore.open_to_write(library.path) as store:
            store.bind(Section(name="fake"), plugins.build("people.faces", "fake", {}))
            store.add("Annegret", np.eye(1, 6, dtype=np.float32))
    monkeypatch.setattr(infer, "Library", lambda path, settings=None: Library(path, model=FakeModel()))
    rows = [{"id": name, "query": text} for name, text in (("a", "red"), ("b", "[annegrit] red"), ("c", "green"))]
    rows.append({"id": "d", "query": "[annegret] red"})
    for together in (1, 32):
        monkeypatch.setattr(infer.InferTask, "batch_size", together)
        output = tmp_path / f"hits {together}"
        hits = hits_of(output, write(tmp_path / "queries.csv", rows), tmp_path / "library", top=1)
        assert [row["query"] for row in hits] == ["a", "c"]
        reason = "[annegrit]: nobody is known by that name; without brackets, words are words"
        assert BatchFolder(output).quarantined() == [("b", reason)]
        shards = sorted((output / "done").iterdir())
        outcomes = {one.pop("id"): one for shard in shards for one in map(json.loads, shard.read_text().splitlines())}
        absent = "1 of the people of the query is in none of these 8 files; in 8 of them nobody has looked"
        assert outcomes["d"]["hits"] == 0
        assert outcomes["d"]["remark"].startswith(absent)
        assert "remark" not in outcomes["a"]
        assert not any("Annegret" in file.read_text() for file in output.rglob("*") if file.is_file())
