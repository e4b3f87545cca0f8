"""Texts of moments, searched by their words: BM25 over SQLite's full-text index, in any language."""
