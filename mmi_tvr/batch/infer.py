"""Queries -> ranked hits of a library or of a directory of embeddings, a shard of queries at a time.

    hits/SHARD.jsonl or .parquet   one row a hit: query (its id), rank from 1, video (id), path, start, end, score,
                                   relevance, joint (of a re-ranked hit that has one, else null)

Decisions: every query gets its `top` best, however weak, unless a smallest relevance is asked for. In a TREC run white
space and % in ids are percent-encoded; the score of a re-ranked run is 1 / rank, because readers of such files sort
by the score, and re-ranking orders by something else.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError

from .. import config, models, plugins
from ..errors import UsageError
from ..library import Library
from ..search import SearchResult
from ..types import Query
from ..utils import files
from ..utils.hashing import digest
from .embeddings import Collection
from .extract import Make
from .folder import MANIFEST, Folder, Outcome, json_line
from .inputs import Item, queries, rows

JOB = "infer"
HITS = "hits"
_COMMIT_SECONDS = 2.0  # hits are durable at least so often
Search = Callable[[Query], list[dict[str, Any]]]


class Settings(plugins.BaseOptions):
    """What a batch of queries is asked with; written down when it begins."""

    source: Path
    embeddings: bool = Field(description="whether the source is a directory of embeddings, else a library")
    top: int = Field(10, ge=1)
    min_relevance: float = Field(0.0, ge=0, le=1)
    rerank: bool = False
    format: Literal["jsonl", "parquet"] = "jsonl"
    settings: dict[str, Any] = Field({}, description="of the library's search, as a settings file has them")


def create(
    output: Path,
    table: Path,
    source: Path,
    *,
    column: str | None = None,
    ids: str | None = None,
    top: int = 10,
    min_relevance: float = 0.0,
    rerank: bool = False,
    form: str = "jsonl",
    settings: config.Settings | None = None,
    shard: int = 1000,
) -> Folder:
    """The folder of a batch of queries: made by the first process that asks, opened by the others and by later runs.

    `source` is a library or a directory of embeddings; `settings` are those of the library's search.
    """
    if shard < 1:
        raise UsageError(f"a shard holds at least 1 item, not {shard}")
    wanted = settings.model_dump(mode="json", exclude_unset=True, exclude={"device"}) if settings else {}
    values: dict[str, Any] = {
        "source": str(source.absolute()),
        "top": top,
        "min_relevance": min_relevance,
        "rerank": rerank,
        "format": form,
        "settings": wanted,
    }
    asked = {"queries": str(table.absolute()), "column": column, "ids": ids, "shard": shard, **values}

    def plan() -> tuple[Mapping[str, Any], Sequence[Item]]:
        embeddings = is_embeddings(source)
        if embeddings and rerank:
            raise UsageError("re-ranking asks a library's videos: name a library, or leave out --rerank")
        try:
            chosen = Settings(**values, embeddings=embeddings)
        except ValidationError as error:
            raise UsageError("; ".join(plugins.explain(error, Settings))) from error
        return chosen.model_dump(mode="json"), queries(table, column, ids)

    return Folder.create(output, JOB, asked, plan, shard)


def is_embeddings(source: Path) -> bool:
    """Whether a source is a directory of embeddings rather than a library. UsageError where it is neither."""
    if (source / MANIFEST).is_file():
        Collection(source)
        return True
    with Library(source) as library:
        library.status()
    return False


class Infer:
    """See `worker.Task`. `trec`: the file that a TREC run is written to when all is done."""

    together = 32

    def __init__(self, folder: Folder, device: str, trec: Path | None = None, make: Make = models.make) -> None:
        self.folder, self.device, self.trec = folder, device, trec
        self.settings = Settings(**folder.settings)
        if self.settings.format == "parquet":
            plugins.require("pyarrow.parquet", "train")
        self._make = make
        self._search: Search
        self._close: Callable[[], object] = lambda: None

    def begin(self) -> Mapping[str, str]:
        if self.settings.embeddings:
            return self._begin_with_embeddings(Collection(self.settings.source))
        wanted = config.from_values({**self.settings.settings, "device": self.device})
        return self._begin_with_library(Library(self.settings.source, settings=wanted))

    def run(self, items: Mapping[int, Item], place: Path) -> Iterator[dict[int, Outcome]]:
        ready: dict[int, Outcome] = {}
        since = time.monotonic()
        for number, item in items.items():
            ready[number] = {"hits": self._search(Query(item["text"]))}
            if time.monotonic() - since > _COMMIT_SECONDS:
                yield ready
                ready, since = {}, time.monotonic()
        yield ready

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], place: Path
    ) -> Mapping[int, Outcome]:
        found = [
            {"query": item["id"], **hit} for number, item in items.items() for hit in outcomes[number].get("hits", ())
        ]
        target = self._file(shard)
        target.parent.mkdir(exist_ok=True)
        write = _parquet if self.settings.format == "parquet" else _jsonl
        files.write_atomically(target, write(found))
        return {
            number: {"hits": len(outcome["hits"])} if "hits" in outcome else outcome
            for number, outcome in outcomes.items()
        }

    def finish(self) -> None:
        """The TREC run, unless it is there and nothing has been written since."""
        self._close()
        if self.trec is None or self.folder.open_shards():
            return
        written = [self._file(shard) for shard in self.folder.shards()]
        newest = max((file.stat().st_mtime_ns for file in written), default=0)
        if self.trec.exists() and self.trec.stat().st_mtime_ns >= newest:
            return
        tag = _word(f"mmi-tvr-{self.folder.manifest['made']['model']}")
        draft = self.trec.with_name(f".{self.trec.name}.{os.getpid()}.tmp")
        try:
            with draft.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                for file in written:
                    stream.writelines(trec_line(row, tag, self.settings.rerank) for _, row in rows(file))
            files.publish(draft, self.trec)
        finally:
            draft.unlink(missing_ok=True)

    def _file(self, shard: str) -> Path:
        return self.folder.path / HITS / f"{shard}.{self.settings.format}"

    def _begin_with_embeddings(self, collection: Collection) -> Mapping[str, str]:
        searcher = collection.searcher(self.device, self._make)
        self._close = searcher.index.close

        def search(query: Query) -> list[dict[str, Any]]:
            result = searcher.search(query, self.settings.top, self.settings.min_relevance)
            items = [collection.item_of(hit) for hit in result]
            return _rows(result, [(item["id"], item["path"]) for item in items])

        self._search = search
        state = collection.folder.state()
        return {
            "model": searcher.model.name,
            "vectors": collection.fingerprint,
            "collection": digest(state.good, collection.folder.path.name),
        }

    def _begin_with_library(self, library: Library) -> Mapping[str, str]:
        self._close = library.close

        def search(query: Query) -> list[dict[str, Any]]:
            result = library.search(query, self.settings.top, self.settings.min_relevance, rerank=self.settings.rerank)
            return _rows(result, [(str(hit.path), str(hit.path)) for hit in result])

        self._search = search
        state = library.status()
        return {
            "model": state.model or "none",
            "vectors": state.fingerprint or "none",
            "collection": digest(state.videos, state.moments, state.files, state.duration),
        }


def trec_line(row: Mapping[str, Any], tag: str, reranked: bool) -> str:
    """One line of a TREC run.

    >>> trec_line({"query": "7", "video": "a b.mp4", "rank": 2, "score": 0.25}, "mine", False)
    '7 Q0 a%20b.mp4 2 0.25 mine\\n'
    """
    score = 1 / row["rank"] if reranked else row["score"]
    return f"{_word(row['query'])} Q0 {_word(row['video'])} {row['rank']} {score:.9g} {tag}\n"


def _word(text: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found[0]), text)


def _rows(result: SearchResult, names: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "video": name,
            "path": path,
            "start": hit.start,
            "end": hit.end,
            "score": hit.score,
            "relevance": hit.relevance,
            "joint": hit.scores.get("joint"),
        }
        for rank, (hit, (name, path)) in enumerate(zip(result, names, strict=True), start=1)
    ]


def _jsonl(found: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json_line(row) for row in found)


def _parquet(found: Sequence[Mapping[str, Any]]) -> bytes:
    arrow, parquet = plugins.require("pyarrow", "train"), plugins.require("pyarrow.parquet", "train")
    kinds = {"rank": arrow.int32(), **dict.fromkeys(("query", "video", "path"), arrow.string())}
    order = ("query", "rank", "video", "path", "start", "end", "score", "relevance", "joint")
    schema = arrow.schema([(name, kinds.get(name, arrow.float64())) for name in order])
    plain = [{key: _text(value) if isinstance(value, str) else value for key, value in row.items()} for row in found]
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist(plain, schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()
