"""A vector for each word of a vocabulary: from a GloVe file, from a sentence encoder, or random ones to be learned."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, one_line
from ..types import FloatArray
from ..utils import textfiles
from ..utils.hashing import digest
from ..utils.text_arrays import read_text_array
from ..utils.torch_files import load_plain

_EXPECTED = "a word and its numbers are expected"
_FEW = 2  # numbers in the header that word2vec's files have: how many words, how many numbers each


@dataclass(frozen=True, slots=True)
class WordVectors:
    """`rows` (W, D) float32 of W words, and `known` (W,) bool, whether the source has the word; a word that it lacks
    has a random row."""

    words: tuple[str, ...]
    rows: NDArray[np.float32]
    known: NDArray[np.bool_]


def glove(path: Path, words: Sequence[str]) -> WordVectors:
    """Return the vectors of words from a text file of GloVe (Pennington et al. 2014): a word and its numbers a line.

    The lines of all other words are passed over unread. A file of word2vec, whose first line says how many words and
    numbers there are, is read as well. Random rows are as large as the others, and the same for a word in every run.

    Args:
        path: of the file.
        words: W words, in lower case as GloVe has them.

    Raises:
        UsageError: the file cannot be read, a line of one of the words is not a vector like the others, or it has none
            of the words.
    """
    numbers = {word: number for number, word in enumerate(words)}
    vectors: dict[int, NDArray[np.float32]] = {}
    for line, word, values in _lines(path):
        number = numbers.get(word)
        if number is not None and number not in vectors:
            vectors[number] = _vector(values, f"{path}, line {line}")
    return _with_random_rows(words, vectors, path, "is it a text file of GloVe for this language?")


def hgr(path: Path, word_list: Path, words: Sequence[str]) -> WordVectors:
    """Return the vectors of words from HGR's file of tensors (`word_embeds.glove42b.th`), of which no code is run.

    Args:
        path: of the file: a mapping, or a mapping of mappings, with one matrix, of a row for each word of the list.
        word_list: `int2word.npy`, which says what the rows are.
        words: W words, in lower case.

    Raises:
        UsageError: one of the files cannot be read, they do not belong together, or they have none of the words.
    """
    listed = read_text_array(word_list)
    matrix = _matrix(path, len(listed))
    if not np.isfinite(matrix).all():
        raise UsageError(f"{path}: numbers are finite")
    rows = {word: row for row, word in enumerate(listed)}
    vectors = {number: matrix[rows[word]] for number, word in enumerate(words) if word in rows}
    return _with_random_rows(words, vectors, word_list, "are these the words of this data set?")


def _matrix(path: Path, rows: int) -> NDArray[np.float32]:
    """Return the only dense matrix with so many rows in a file that torch wrote."""
    import torch

    try:
        document = load_plain(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from error
    except (pickle.UnpicklingError, ValueError) as error:
        raise UsageError(
            f"{path}: no file of plain tensors, or a damaged one; Python objects in it are not loaded "
            f"({one_line(error, 100)})"
        ) from error
    dense = [tensor for tensor in _tensors(document) if tensor.layout is torch.strided and not tensor.is_meta]
    tensors = [tensor for tensor in dense if tensor.ndim == 2 and tensor.is_floating_point()]
    fitting = [tensor for tensor in tensors if len(tensor) == rows]
    if len(fitting) != 1:
        sizes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "none"
        raise UsageError(f"{path}: one matrix with a row for each of the {rows:,} words is expected, not {sizes}")
    return np.asarray(fitting[0].detach().float().numpy(), dtype=np.float32)


def _tensors(document: Any) -> Iterator[Any]:
    """Yield the tensors of a mapping, and of the mappings in it."""
    import torch

    if isinstance(document, torch.Tensor):
        yield document
    elif isinstance(document, Mapping):
        for value in document.values():
            yield from _tensors(value)


def _with_random_rows(
    words: Sequence[str], vectors: Mapping[int, NDArray[np.float32]], path: Path, question: str
) -> WordVectors:
    """Return vectors, by the numbers of their words, as rows of all words; the others get random ones as large.

    path and question: of the message, where there are none.
    """
    if not vectors:
        raise UsageError(f"{path}: has none of the {len(words):,} words; {question}")
    known = np.array([number in vectors for number in range(len(words))], dtype=np.bool_)
    width = len(next(iter(vectors.values())))
    rows = random_rows(words, width).rows * float(np.stack([*vectors.values()]).std() * np.sqrt(width))
    for number, vector in vectors.items():
        rows[number] = vector
    return WordVectors(tuple(words), rows.astype(np.float32), known)


def encoded(words: Sequence[str], encode: Callable[[Sequence[str]], FloatArray]) -> WordVectors:
    """Return the vectors of words as a sentence encoder makes them (`encoders.e5.encode`), each word a sentence."""
    rows = np.asarray(encode(words), dtype=np.float32)
    return WordVectors(tuple(words), rows, np.ones(len(words), dtype=np.bool_))


def random_rows(words: Sequence[str], width: int) -> WordVectors:
    """Return rows of about unit length that are to be learned; a word has the same row in every run."""
    rows = np.zeros((len(words), width), dtype=np.float32)
    for row, word in zip(rows, words, strict=True):
        row[:] = np.random.default_rng(int(digest(word), 16)).standard_normal(width) / np.sqrt(width)
    return WordVectors(tuple(words), rows, np.zeros(len(words), dtype=np.bool_))


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, word and the texts of the numbers of every line. A word may have spaces in it: the numbers are the
    last ones of a line, as many as in the first."""
    width = 0
    try:
        with path.open("rb") as stream:
            for line, text in textfiles.numbered_lines(stream, path):
                fields = text.rstrip().split(" ")
                if fields == [""]:
                    continue
                if not width and len(fields) == _FEW and all(field.isdigit() for field in fields):
                    width = int(fields[1])
                    continue
                width = width or len(fields) - 1
                if not width:
                    raise UsageError(f"{path}, line {line}: {_EXPECTED}")
                yield line, " ".join(fields[:-width] or fields[:1]), fields[-width:]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _vector(values: Sequence[str], place: str) -> NDArray[np.float32]:
    try:
        vector = np.array([float(value) for value in values], dtype=np.float32)
    except ValueError as error:
        raise UsageError(f"{place}: {_EXPECTED}") from error
    if not np.isfinite(vector).all():
        raise UsageError(f"{place}: numbers are finite")
    return vector
