"""Parses that are kept: by the content of the sentence and the parser's fingerprint, in SQLite."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..utils.cache_table import CacheTable
from ..utils.hashing import digest
from .parsing import ParsedText, Parser, Token

PARSES_FILE = "parses.sqlite"
_COLUMNS = "(key TEXT PRIMARY KEY, tokens TEXT NOT NULL) WITHOUT ROWID"
_BATCH = 512  # sentences whose parses are written together: what a kill may cost


class ParseStore(CacheTable):
    """Parses of one parser by their sentences. Raises MmiTvrError where the file is no such store."""

    def __init__(self, path: Path, parser: Parser) -> None:
        super().__init__(path, "parses", _COLUMNS)
        self._parser = parser

    def parsed(self, texts: Sequence[str], advance: Callable[[int], object] = lambda count: None) -> list[ParsedText]:
        """Return texts parsed, in order; those that are not there yet are parsed and kept. `advance` is called with the
        number of texts that are done."""
        fingerprint = self._parser.fingerprint()
        keys = {text: digest(text, fingerprint) for text in texts}
        held = self._read([*keys.values()])
        pending = [text for text, key in keys.items() if key not in held]
        advance(len(texts) - len(pending))
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            new = {keys[text]: parse for text, parse in zip(batch, self._parser.parse(batch), strict=True)}
            self._write(new)
            held |= new
            advance(len(batch))
        return [held[keys[text]] for text in texts]

    def _read(self, keys: Sequence[str]) -> dict[str, ParsedText]:
        sql = "SELECT key, tokens FROM {} WHERE key IN (SELECT value FROM json_each(?))"
        rows = self._select(sql, (json.dumps(keys),))
        return {key: tuple(Token(*token) for token in json.loads(tokens)) for key, tokens in rows}

    def _write(self, parses: Mapping[str, ParsedText]) -> None:
        self._insert([(key, json.dumps(parse, ensure_ascii=False)) for key, parse in parses.items()], 2)
