"""What channels of text share: their vectors are those of the sentence encoder.

Decision: it reads Chinese in simplified characters, whichever were recognised or typed. Whisper writes traditional ones
as often, and between the two forms of one sentence the encoder sees a difference: the cosine of 36 spoken sentences,
recognised so, with what was said is 0.927 as they are and 0.966 simplified; 0.951 of 25 that were recognised in
simplified characters (docs/channels.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..encoders import e5
from ..fulltext.folding import simplified
from ..types import ChannelMoment, FloatArray, Query, Span, clean_text

WIDTH = e5.WIDTH
ENCODER = f"{e5.NAME}, simplified"  # goes into every fingerprint


def text_moments(spans: Sequence[Span], texts: Sequence[str]) -> list[ChannelMoment]:
    """Return a moment for each span and its text; spans whose text says nothing are left out."""
    cleaned = [" ".join(clean_text(text).split()) for text in texts]
    readable = [(span, text) for span, text in zip(spans, cleaned, strict=True) if text]
    vectors = e5.encode([simplified(text) for _, text in readable])
    return [ChannelMoment(span, vector, text) for (span, text), vector in zip(readable, vectors, strict=True)]


def query_vectors(queries: Sequence[Query]) -> FloatArray:
    """Return the vectors (N, D) of what queries say."""
    return e5.encode([simplified(query.spoken) for query in queries])
