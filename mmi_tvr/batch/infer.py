"""Queries -> ranked hits of a library or of a directory of embeddings, a shard of queries at a time.

    hits/SHARD.jsonl or .parquet   one row a hit: query (its id), rank from 1, video (id), path, start, end, score,
                                   relevance, joint (of a re-ranked hit that has one, else null), found (of the query,
                                   as a search has it)

Decisions: every query gets its `top` best, however weak, unless a smallest relevance is asked for; `found` says whether
the best of them is to be believed. In a TREC run white
space and % in ids are percent-encoded; the score of a re-ranked run is 1 / rank, because readers of such files sort
by the score, and re-ranking orders by something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from .. import config, models, plugins
from ..errors import MediaError, UnreadableQuery, UsageError
from ..evaluation.trec import run_line, run_tag
from ..library import Library
from ..library.filters import FilterKeywords, checked_filter
from ..queries import checked_exclusions
from ..search import ResultOptions, SearchResult
from ..types import Query
from ..utils import files, strict_json
from ..utils.hashing import digest
from ..utils.installation import require
from .embeddings import EmbeddingCollection
from .extract import ModelFactory
from .folder import MANIFEST, BatchFolder
from .inputs import LIKE, Item, queries, rows
from .journal import Outcome, json_line

JOB = "infer"
HITS = "hits"
_COMMIT_SECONDS = 2.0  # hits are durable at least so often
HitRow = dict[str, Any]  # a hit as the files have it, without its query


class InferSettings(plugins.BaseOptions):
    """What a batch of queries is searched with; written down when it begins."""

    source: Path
    embeddings: bool = Field(description="whether the source is a directory of embeddings, else a library")
    top: int = Field(10, ge=1)
    min_relevance: float = Field(0.0, ge=0, le=1)
    rerank: bool = False
    format: Literal["jsonl", "parquet"] = "jsonl"
    where: dict[str, list[str]] = Field({}, description="classes that all videos are to show, by level")
    without: list[str] = Field([], description="what is not to be there")
    items: dict[str, Any] = Field({}, description="which items of a library are searched (`library.filters`)")
    settings: dict[str, Any] = Field({}, description="of the library's search, as a settings file has them")


def create(
    output: Path,
    table: Path,
    source: Path,
    *,
    column: str | None = None,
    id_column: str | None = None,
    top: int = 10,
    min_relevance: float = 0.0,
    rerank: bool = False,
    output_format: str = "jsonl",
    where: Mapping[str, Collection[str]] | None = None,
    items: FilterKeywords | None = None,
    without: Sequence[str] = (),
    settings: config.Settings | None = None,
    shard_size: int = 1000,
) -> BatchFolder:
    """Return the folder of a batch of queries: made by the first process, opened by the others and by later runs.

    Args:
        output: the folder.
        table: the queries (`inputs.queries`, with column and id_column).
        source: a library, or a directory of embeddings.
        top: hits of each query.
        min_relevance: drop hits of smaller relevance, 0..1.
        rerank: re-rank the best, as the library does.
        output_format: of the files of hits, jsonl or parquet.
        where: classes that all videos of the hits are to show, by level, besides those of each query.
        items: which items of a library are searched (`library.filters`).
        without: what is not to be there, besides what each query excludes.
        settings: of the library's search.
        shard_size: queries in a shard.
    Raises:
        UsageError: a value that cannot be, an unusable source or list, or other work was begun in this folder.
    """
    values: dict[str, Any] = {
        "source": str(source.absolute()),
        "top": top,
        "min_relevance": min_relevance,
        "rerank": rerank,
        "format": output_format,
        "settings": settings.model_dump(mode="json", exclude_unset=True, exclude={"device"}) if settings else {},
    }
    if where:
        values["where"] = {level: sorted(names) for level, names in where.items()}
    if restriction := checked_filter(items or {}).texts:
        values["items"] = {name: value for name, value in (items or {}).items() if value is not None}
    if excluded := checked_exclusions(without):
        values["without"] = list(excluded)
    request = {"queries": str(table.absolute()), "column": column, "ids": id_column, "shard": shard_size, **values}

    def plan() -> tuple[Mapping[str, Any], Sequence[Item]]:
        chosen = _validated(values, source)
        items = queries(table, column, id_column)
        if chosen.embeddings:
            _refuse_what_embeddings_lack(items, bool(where), excluded, restriction)
        return chosen.model_dump(mode="json"), items

    return BatchFolder.create(output, JOB, request, plan, shard_size)


def _refuse_what_embeddings_lack(
    items: Sequence[Item], where: bool, excluded: Sequence[str], restriction: Mapping[str, str]
) -> None:
    """Raise UsageError for queries that only a library can answer.

    Args:
        items: the queries.
        where: whether all hits are to show certain classes.
        excluded: what is not to be there.
        restriction: which items are searched, by name of the option.
    """
    if where or any("where" in item for item in items):
        raise UsageError("where: a library knows what its videos show, embeddings do not: name a library")
    if any(LIKE in item for item in items):
        raise UsageError("like: examples are compared with a library: name a library")
    if excluded:
        raise UsageError("without (--not): name a library; of embeddings, write it into each query (without ...)")
    for name in restriction:
        raise UsageError(f"{name}: a library knows its items, embeddings do not: name a library")


def _validated(values: Mapping[str, Any], source: Path) -> InferSettings:
    embeddings = is_embeddings(source)
    if embeddings and values["rerank"]:
        raise UsageError("re-ranking asks a library's videos: name a library, or leave out --rerank")
    try:
        return InferSettings(**values, embeddings=embeddings)
    except ValidationError as error:
        raise UsageError("; ".join(plugins.explain(error, InferSettings))) from error


def is_embeddings(source: Path) -> bool:
    """Return whether a source is a directory of embeddings rather than a library. UsageError where it is neither."""
    if (source / MANIFEST).is_file():
        EmbeddingCollection(source)
        return True
    with Library(source) as library:
        library.status()
    return False


class InferTask:
    """See `worker.Task`. `trec`: the file that a TREC run is written to when all is done."""

    batch_size = 32

    def __init__(
        self, folder: BatchFolder, device: str, trec: Path | None = None, build_model: ModelFactory = models.make
    ) -> None:
        self.folder, self.device, self.trec = folder, device, trec
        self.settings = InferSettings(**folder.settings)
        if self.settings.format == "parquet":
            require("pyarrow.parquet", "train")
        self._build_model = build_model
        self._search: Callable[[Sequence[Query], str | None], list[Outcome]]
        self._close: Callable[[], object] = lambda: None

    def begin(self) -> Mapping[str, str]:
        if self.settings.embeddings:
            return self._begin_with_embeddings(EmbeddingCollection(self.settings.source))
        library_settings = config.from_values({**self.settings.settings, "device": self.device})
        return self._begin_with_library(Library(self.settings.source, settings=library_settings))

    def run(self, items: Mapping[int, Item], workdir: Path) -> Iterator[dict[int, Outcome]]:
        outcomes: dict[int, Outcome] = {}
        last_commit = time.monotonic()
        numbers = list(items)
        together = 1 if self.settings.rerank else self.batch_size  # a query that is re-ranked takes seconds
        for first in range(0, len(numbers), together):
            block = numbers[first : first + together]
            outcomes |= self._outcomes({number: items[number] for number in block})
            if time.monotonic() - last_commit > _COMMIT_SECONDS:
                yield outcomes
                outcomes, last_commit = {}, time.monotonic()
        yield outcomes

    def _outcomes(self, items: Mapping[int, Item]) -> dict[int, Outcome]:
        """Return the hits of queries; of those that cannot be searched as they are written, the reason, which names
        nobody else, because it stays in the results."""
        texts = {number: item for number, item in items.items() if LIKE not in item}
        outcomes = self._of_texts(texts) if texts else {}
        return {number: self._of_example(item) if LIKE in item else outcomes[number] for number, item in items.items()}

    def _of_texts(self, items: Mapping[int, Item]) -> dict[int, Outcome]:
        """Return the same of queries without an example: together, and one by one where that fails for one of them."""
        try:
            return dict(zip(items, self._search([_query(item) for item in items.values()], None), strict=True))
        except UnreadableQuery as error:
            if len(items) == 1:
                return {number: {"reason": error.reason} for number in items}
            return {number: self._of_texts({number: item})[number] for number, item in items.items()}

    def _of_example(self, item: Item) -> Outcome:
        """Return the same of a query with an example, whose file may be unusable."""
        try:
            [outcome] = self._search([_query(item)], item[LIKE])
        except UnreadableQuery as error:
            return {"reason": error.reason}
        except (MediaError, UsageError) as error:
            return {"reason": str(error)}
        return outcome

    def publish(
        self, shard: str, items: Mapping[int, Item], outcomes: Mapping[int, Outcome], workdir: Path
    ) -> Mapping[int, Outcome]:
        hits = [
            {"query": item["id"], **hit} for number, item in items.items() for hit in outcomes[number].get("hits", ())
        ]
        target = self._hits_file(shard)
        target.parent.mkdir(exist_ok=True)
        files.write_atomically(target, _as_parquet(hits) if self.settings.format == "parquet" else _as_jsonl(hits))
        return {
            number: {**outcome, "hits": len(outcome["hits"])} if "hits" in outcome else outcome
            for number, outcome in outcomes.items()
        }

    def finish(self) -> None:
        """Write the TREC run, unless it is there and no hits were written since."""
        self._close()
        if self.trec is None or self.folder.open_shards():
            return
        hits_files = [self._hits_file(shard) for shard in self.folder.shards()]
        newest = max((file.stat().st_mtime_ns for file in hits_files), default=0)
        if self.trec.exists() and self.trec.stat().st_mtime_ns >= newest:
            return
        tag = run_tag(self.folder.manifest["made"]["model"])
        with files.draft_of(self.trec) as draft, draft.open("w", encoding="utf-8") as stream:
            for file in hits_files:
                stream.writelines(trec_line(row, tag, self.settings.rerank) for _, row in rows(file))

    def _hits_file(self, shard: str) -> Path:
        return self.folder.path / HITS / f"{shard}.{self.settings.format}"

    def _begin_with_embeddings(self, collection: EmbeddingCollection) -> Mapping[str, str]:
        searcher = collection.searcher(self.device, self._build_model)

        def search(queries: Sequence[Query], like: str | None) -> list[Outcome]:
            results = searcher.search_all(queries, ResultOptions(self.settings.top, self.settings.min_relevance))
            outcomes = []
            for result in results:
                items = [collection.item_of(hit) for hit in result]
                outcomes.append(_outcome(result, [(item["id"], item["path"]) for item in items]))
            return outcomes

        self._search, self._close = search, searcher.index.close
        state = collection.folder.state()
        return {
            "model": searcher.model.name,
            "vectors": collection.fingerprint,
            "collection": digest(state.succeeded, collection.folder.path.name),
        }

    def _begin_with_library(self, library: Library) -> Mapping[str, str]:
        def search(queries: Sequence[Query], like: str | None) -> list[Outcome]:
            options = self.settings
            results = library.search(
                queries,
                options.top,
                options.min_relevance,
                rerank=options.rerank and like is None,
                where=options.where,
                like=like,
                without=options.without,
                **cast(FilterKeywords, options.items),
            )
            return [_outcome(result, [(str(hit.path), str(hit.path)) for hit in result]) for result in results]

        self._search, self._close = search, library.close
        state = library.status()
        return {
            "model": state.model or "none",
            "vectors": state.fingerprint or "none",
            "collection": digest(state.videos, state.moments, state.files, state.duration),
        }


def _query(item: Item) -> Query:
    return Query(item["text"], where=item.get("where", {}))


def trec_line(row: Mapping[str, Any], tag: str, reranked: bool) -> str:
    """Return one line of a TREC run.

    >>> trec_line({"query": "7", "video": "a b.mp4", "rank": 2, "score": 0.25}, "mine", False)
    '7 Q0 a%20b.mp4 2 0.25 mine\\n'
    """
    score = 1 / row["rank"] if reranked else row["score"]
    return run_line(row["query"], row["video"], row["rank"], score, tag)


def _outcome(result: SearchResult, names: Sequence[tuple[str, str]]) -> Outcome:
    """Return the hits of a query (`_hit_rows`); where there are none, a remark that says why, and nobody's name."""
    remark = {} if result else {"remark": result.decision.public_reason}
    return {"hits": _hit_rows(result, names), **remark}


def _hit_rows(result: SearchResult, names: Sequence[tuple[str, str]]) -> list[HitRow]:
    """Return hits as the files have them: without who is in them, since files are handed on (decision).

    names: id and path of the video of each hit.
    """
    return [
        {
            "rank": rank,
            "video": video,
            "path": path,
            "start": hit.start,
            "end": hit.end,
            "score": hit.score,
            "relevance": hit.relevance,
            "joint": hit.scores.get("joint"),
            "found": result.is_found,
        }
        for rank, (hit, (video, path)) in enumerate(zip(result, names, strict=True), start=1)
    ]


def _as_jsonl(hits: Sequence[HitRow]) -> bytes:
    return b"".join(json_line(row) for row in hits)


def _as_parquet(hits: Sequence[HitRow]) -> bytes:
    arrow, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    texts = dict.fromkeys(("query", "video", "path"), arrow.string())
    types = {"rank": arrow.int32(), "found": arrow.bool_(), **texts}
    columns = ("query", "rank", "video", "path", "start", "end", "score", "relevance", "joint", "found")
    schema = arrow.schema([(name, types.get(name, arrow.float64())) for name in columns])
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist([_printable(row) for row in hits], schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _printable(row: HitRow) -> HitRow:
    """Spell out what of a file name is no text, as JSON has it: parquet holds UTF-8 alone."""
    return {name: strict_json.without_halves(value) if isinstance(value, str) else value for name, value in row.items()}
