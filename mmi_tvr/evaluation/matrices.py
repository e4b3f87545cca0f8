"""Metrics of scores that any system made: matrices of similarities in files, and vectors of any encoder.

Nothing here knows a model. Rows are captions, columns are videos, larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MetricsError, UsageError
from ..types import FloatArray, IdArray
from ..utils.wording import counted
from . import metrics
from .metrics import SCORE_TOLERANCE, DirectionGroups, DirectionRanks, MakeBlocks
from .report import Report

BLOCK = 256  # rows that are read or scored at once
_SUSPICION = 0.2  # decision: how much closer a transposed matrix must be (correlation) before a remark says so
_LEAST_SIDE = 8  # smaller matrices correlate by chance
_BITS = 24  # of a number in float32
Metric = Literal["cosine", "dot"]


@dataclass(frozen=True, slots=True)
class MatrixTruth:
    """What is right in a matrix of N rows and M columns.

    - `ground_truth`: of each row the columns that are right (N,).
    - `videos`: what each column shows (M,); the queries of one video are drawn together in the bootstrap.
    """

    ground_truth: Sequence[Collection[int]]
    videos: Sequence[Hashable]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape that a matrix must have."""
        return len(self.ground_truth), len(self.videos)

    @property
    def groups(self) -> DirectionGroups:
        """What is drawn together in the bootstrap; a row belongs to the video of the first of its right columns."""
        return DirectionGroups([self.videos[min(right)] for right in self.ground_truth], self.videos)


def make_truth(truth: object, columns: int) -> MatrixTruth:
    """Return what is right among `columns` videos.

    Args:
        truth: None: row i and column i belong together; else for each row the number of its right column, or a
            collection of such numbers, or a matrix of booleans (rows, columns).
        columns: How many videos there are.

    Raises:
        UsageError: Where it is nothing of that kind.
        MetricsError: Where a row has no right column, or one that does not exist.

    >>> make_truth([0, 0, 1], 2).shape, make_truth(None, 2).ground_truth
    ((3, 2), [[0], [1]])
    """
    if truth is not None and not isinstance(truth, Sequence):
        truth = _as_array(truth)  # a tensor, a column of a table
    if truth is None:
        right = [[column] for column in range(columns)]
    elif isinstance(truth, np.ndarray) and truth.dtype == np.bool_ and truth.ndim == 2:
        if truth.shape[1] != columns:
            raise MetricsError(f"the ground truth has {counted(truth.shape[1], 'column')}, the scores have {columns}")
        right = [np.flatnonzero(row).tolist() for row in truth]
    else:
        right = [_columns(entry) for entry in _entries(truth)]
    for row, numbers in enumerate(right):
        if not numbers:
            raise MetricsError(f"row {row} of the ground truth names no column: leave the row out of both")
        if min(numbers) < 0 or max(numbers) >= columns:
            outside = min(numbers) if min(numbers) < 0 else max(numbers)
            raise MetricsError(
                f"row {row} of the ground truth names column {outside}; there are {columns}, counted from 0"
            )
    return MatrixTruth(right, range(columns))


def read_truth(path: Path, columns: int) -> MatrixTruth:
    """Read the ground truth of a matrix: .npy with whole numbers (rows,) or booleans (rows, columns)."""
    array = _load(path)
    if not (array.dtype.kind in "iu" and array.ndim == 1) and not (array.dtype == np.bool_ and array.ndim == 2):
        raise UsageError(
            f"{path}: {array.dtype} of shape {array.shape} is no ground truth; it needs the number of the right column "
            "of each row (rows,), or booleans (rows, columns)"
        )
    try:
        return make_truth(array, columns)
    except MetricsError as error:
        raise UsageError(f"{path}: {error}") from error


def read_matrix(path: Path) -> FloatArray:
    """Return the scores in a .npy file, read from disk as they are needed.

    Raises UsageError where the file holds no matrix of real numbers. No pickle is loaded.
    """
    array: FloatArray = _load(path)
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise UsageError(
            f"{path}: {array.dtype} of shape {array.shape} is no matrix of scores; it needs real numbers, a row for "
            "each caption and a column for each video"
        )
    if 0 in array.shape:
        raise UsageError(f"{path}: a matrix of shape {array.shape} has nothing to rank")
    return array


def check_shape(name: str, scores: FloatArray, truth: MatrixTruth, of: str = "the ground truth") -> None:
    """Raise UsageError where a matrix has another shape than its truth; it says so where that is the transposed one.

    Args:
        name: Of the matrix.
        scores: The matrix.
        truth: What is right.
        of: What the truth is, for the message.
    """
    if scores.shape == truth.shape:
        return
    rows, columns = truth.shape
    transposed = scores.shape[1] == rows != scores.shape[0]
    hint = "; it looks transposed: captions are rows, save its .T" if transposed else ""
    raise UsageError(
        f"{name}: {scores.shape[0]} x {scores.shape[1]}; {of} has {counted(rows, 'caption')} (rows) and "
        f"{counted(columns, 'video')} (columns){hint}"
    )


def row_blocks(scores: FloatArray, height: int = BLOCK) -> MakeBlocks:
    """Return what yields a matrix in blocks of rows; whole numbers become float64."""

    def blocks() -> Iterator[FloatArray]:
        for start in range(0, len(scores), height):
            block = np.asarray(scores[start : start + height])
            yield block if block.dtype.kind == "f" else block.astype(np.float64)

    return blocks


def rank_matrix(scores: FloatArray, truth: MatrixTruth) -> DirectionRanks:
    """Return the ranks of both directions; equal numbers are ties, and others are none (`metrics`)."""
    return metrics.both_directions(row_blocks(scores), truth.ground_truth)


def doubts(scores: FloatArray, ranks: DirectionRanks, first: FloatArray | None = None) -> list[str]:
    """Return what looks wrong in a matrix, as remarks for a reader.

    That is where right videos stand behind most others (distances?), and where a square matrix agrees more with the
    first one transposed than with it.
    """
    remarks = []
    columns = scores.shape[1]
    if columns >= _LEAST_SIDE and np.median(ranks.t2v) > 0.75 * columns:
        remarks.append("the right videos stand behind most others: distances? larger must be better")
    if first is not None and scores.shape[0] == scores.shape[1] >= _LEAST_SIDE:
        stretch = slice(0, 1000)
        ours, theirs = (_centred(np.asarray(side[stretch, stretch], np.float64)) for side in (scores, first))
        if _correlation(ours, theirs.T) > max(0.0, _correlation(ours, theirs)) + _SUSPICION:
            remarks.append("agrees with the first matrix transposed, and not as it is: are captions its columns?")
    return remarks


def evaluate_embeddings(
    text: Any,
    video: Any,
    truth: Sequence[int] | Sequence[Collection[int]] | IdArray | NDArray[np.bool_] | None = None,
    *,
    metric: Metric = "cosine",
    name: str = "",
) -> Report:
    """Evaluate the vectors of any encoder: exact ranks of both directions, with 95 % intervals (`metrics`).

    Args:
        text: Vectors of the captions (N, D); arrays of numpy, or what `numpy.asarray` takes (tensors on the CPU).
        video: Vectors of the videos (M, D).
        truth: For each caption the number of its video, or of all that are right, or booleans (N, M); None: the i-th
            caption describes the i-th video.
        metric: "cosine" or "dot". Cosines that differ by less than 1e-6 are ties, and so are dot products that are
            equal in the 24 bits of float32.
        name: Of the system, for the table.

    Returns:
        A report: `report.t2v.r1`, `report.v2t.ci95["R@1"]`, `report.table()`, `report.as_dict()`.

    Raises:
        UsageError: Where the arrays are no matrices of numbers, or have different widths.
        MetricsError: Where a vector holds NaN or has no length, or captions and truth do not fit.

    >>> video = np.eye(4)
    >>> report = evaluate_embeddings(video[[0, 1, 1, 2]] + 0.1, video, truth=[0, 1, 1, 3])
    >>> report.t2v.r1, report.v2t.r1, report.videos
    (75.0, 66.66666666666667, 4)
    """
    if metric not in ("cosine", "dot"):
        raise UsageError(f"no metric is called {metric!r}; there are: cosine, dot")
    texts, videos = _vectors(text, "text"), _vectors(video, "video")
    if texts.shape[1] != videos.shape[1]:
        raise UsageError(f"text has vectors of {texts.shape[1]} numbers, video of {videos.shape[1]}: one space has one")
    pairs = make_truth(truth, len(videos))
    if len(pairs.ground_truth) != len(texts):
        raise MetricsError(
            f"{counted(len(texts), 'caption')} with a truth of {len(pairs.ground_truth)}: each caption needs its video"
        )
    if metric == "cosine":
        texts, videos = _unit(texts, "text"), _unit(videos, "video")
    else:
        texts, videos = _about_one(texts), _about_one(videos)

    def products() -> Iterator[FloatArray]:
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK] @ videos.T
            yield block if metric == "cosine" else _rounded(block)

    ranks = metrics.both_directions(products, pairs.ground_truth, SCORE_TOLERANCE if metric == "cosine" else 0.0)
    t2v, v2t = pairs.groups.summary(ranks)
    return Report(n=len(texts), videos=len(videos), t2v=t2v, v2t=v2t, model=name)


def _load(path: Path) -> Any:
    """Return the array of a .npy file. UsageError where it is none, or would need a pickle."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        if error.filename is None and error.errno is None:  # numpy's own, of a file that it cannot interpret
            raise _no_array(path) from error
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        raise _no_array(path) from error
    if isinstance(array, np.ndarray):
        return array
    with array as archive:
        names = ", ".join(archive.files)
    raise UsageError(
        f"{path}: an archive of arrays ({names}), and no .npy file; save the matrix alone: numpy.save(FILE, matrix)"
    )


def _no_array(path: Path) -> UsageError:
    return UsageError(
        f"{path}: no array of numbers in numpy's .npy format (cut short? objects and pickles are not read); "
        "write it with numpy.save(FILE, matrix)"
    )


def _entries(truth: object) -> Sequence[object]:
    if isinstance(truth, np.ndarray):
        if truth.ndim != 1 or truth.dtype.kind not in "iu":
            raise UsageError(
                f"{truth.dtype} of shape {truth.shape} is no ground truth: it needs whole numbers (rows,), or booleans "
                "(rows, columns)"
            )
        return list(truth)
    if isinstance(truth, Sequence) and not isinstance(truth, str):
        return truth
    raise UsageError(f"{type(truth).__name__} is no ground truth: it needs a column number for each row")


def _columns(entry: object) -> list[int]:
    """Return the right columns of a row: of a whole number, or of several."""
    numbers = _as_array(list(entry) if isinstance(entry, Set) else entry)
    if numbers.size and (numbers.dtype.kind not in "iu" or numbers.ndim > 1):
        raise UsageError(f"{entry!r} is no number of a column, and no collection of such numbers")
    return sorted(set(np.atleast_1d(numbers).tolist()))


def _as_array(values: object) -> Any:
    """Return what numpy makes of numbers. UsageError where that is no array."""
    if np.ma.is_masked(values):
        raise UsageError("numbers are masked: leave their rows out, or fill them")
    try:
        return np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor on a device, of another kind; ragged lists
        raise UsageError(
            f"no array of numbers: {error} (a tensor is handed over as .detach().float().cpu())"
        ) from error


def _vectors(values: Any, side: str) -> FloatArray:
    """Return vectors (N, D) as float32, or as float64 where that would change them. UsageError where they are none."""
    try:
        array: FloatArray = _as_array(values)
    except UsageError as error:
        raise UsageError(f"{side}: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise UsageError(f"{side}: {array.dtype} of shape {array.shape} holds no vectors: it needs numbers (N, D)")
    with np.errstate(over="ignore"):  # longer numbers than float64 may be too large for it
        array = array.astype(np.float32 if np.can_cast(array.dtype, np.float32) else np.float64, copy=False)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise MetricsError(f"{side}: vector {row} holds NaN or an infinity, and has no place in an order")
    return array


def _unit(vectors: FloatArray, side: str) -> FloatArray:
    """Return vectors of length 1, however long or short these are."""
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    if not peaks.all():
        raise MetricsError(f"{side}: vector {int(peaks.argmin())} is zero, and has no cosine with anything")
    within = np.ldexp(vectors, -np.frexp(peaks)[1])  # by powers of two: no square leaves the range of the numbers
    unit: FloatArray = within / np.linalg.norm(within, axis=1, keepdims=True)
    return unit


def _about_one(vectors: FloatArray) -> FloatArray:
    """Return vectors as float64, divided by one power of two, so that no product of them is too large; the order of
    products stays."""
    scaled: FloatArray = np.ldexp(vectors.astype(np.float64), -math.frexp(float(np.abs(vectors).max()))[1])
    return scaled


def _rounded(products: FloatArray) -> FloatArray:
    """Return dot products with the 24 bits of float32: further ones hang on where in a block a product stands.

    They keep the range of float64: beside one long vector the products of all others may be too small for float32.
    """
    mantissas, exponents = np.frexp(products)
    rounded: FloatArray = np.ldexp(np.rint(np.ldexp(mantissas, _BITS)), exponents - _BITS)
    return rounded


def _centred(matrix: FloatArray) -> FloatArray:
    """Return a matrix without what all its rows, and all its columns, have in common, divided by its largest number;
    infinities count as nothing."""
    finite = np.where(np.isfinite(matrix), matrix, 0.0)
    finite /= float(np.abs(finite).max()) or 1.0
    centred: FloatArray = finite - finite.mean(axis=0) - finite.mean(axis=1, keepdims=True) + finite.mean()
    return centred


def _correlation(left: FloatArray, right: FloatArray) -> float:
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float((left * right).sum()) / scale if scale else 0.0
