"""What channels of text share: their vectors are those of the sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence

from ..encoders import e5
from ..types import ChannelMoment, FloatArray, Query, Span, clean_text

WIDTH = e5.WIDTH
ENCODER = e5.NAME  # goes into every fingerprint


def text_moments(spans: Sequence[Span], texts: Sequence[str]) -> list[ChannelMoment]:
    """Return a moment for each span and its text; spans whose text says nothing are left out."""
    cleaned = [" ".join(clean_text(text).split()) for text in texts]
    readable = [(span, text) for span, text in zip(spans, cleaned, strict=True) if text]
    vectors = e5.encode([text for _, text in readable])
    return [ChannelMoment(span, vector, text) for (span, text), vector in zip(readable, vectors, strict=True)]


def query_vectors(queries: Sequence[Query]) -> FloatArray:
    """Return the vectors (N, D) of what queries say."""
    return e5.encode([query.spoken for query in queries])
