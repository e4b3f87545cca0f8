"""What word vectors start as, by the option `word_vectors`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...encoders import e5
from ...errors import UsageError
from ...lexicon import words as word_vectors
from .options import E5, TENSORS, Options


def word_rows(words: Sequence[str], options: Options, *, trained: bool) -> NDArray[np.float32]:
    """Return where word vectors start, (2 + W, E): padding, the unknown word, and W words.

    Args:
        words: of the lexicon.
        options: say where their vectors come from, and how wide they are.
        trained: those of trained weights take their place, so any will do.

    Raises:
        UsageError: the source's vectors are of another width than the options say.
    """
    source = options.word_vectors
    if source is None or trained:
        rows = word_vectors.random_rows(words, options.word_width).rows
    else:
        rows = _known_rows(source, words, options)
        if rows.shape[1] != options.word_width:
            raise UsageError(
                f"word_vectors: those of {source} have {rows.shape[1]} numbers, and word_width is "
                f"{options.word_width}: make them equal"
            )
    return np.concatenate([np.zeros((2, rows.shape[1]), np.float32), rows])


def _known_rows(source: str, words: Sequence[str], options: Options) -> NDArray[np.float32]:
    if source == E5:
        return word_vectors.encoded(words, e5.encode).rows
    if source.endswith(TENSORS):
        assert options.word_list is not None
        return word_vectors.hgr(Path(source), options.word_list, words).rows
    return word_vectors.glove(Path(source), words).rows
