"""Evaluation of scores that other systems saved: `evaluate --similarities A.npy [B.npy ...]`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..datasets import benchmark_names, read_listing
from ..errors import UsageError
from ..evaluation import trec
from ..evaluation.matrices import MatrixTruth, check_shape, make_truth, read_matrix, read_truth, row_blocks
from ..evaluation.matrix_report import FUSED, MatrixReport, evaluate_matrices
from ..evaluation.metrics import DirectionBlocks, columns_of_videos
from ..protocols import GradedDataset, QueryDataset
from ..types import FloatArray
from ..utils.progress import Progress
from ._evaluation_data import DataChoice, load_data
from .data import benchmark_options


@dataclass(frozen=True, slots=True)
class TruthChoice:
    """What is right: the diagonal, a file, or the captions of a data set (at most one of the two)."""

    file: Path | None
    data: DataChoice | None


@dataclass(frozen=True, slots=True)
class _NamedTruth:
    """What is right, the names of captions and videos, what it is called in messages, and remarks on it."""

    truth: MatrixTruth
    captions: Sequence[str]
    videos: Sequence[str]
    of: str
    remarks: Sequence[str] = ()


def matrix_report(
    paths: Sequence[Path], choice: TruthChoice, trec_folder: Path | None, force: bool, progress: Progress
) -> tuple[MatrixReport, str]:
    """Measure the matrices in files, and write them as TREC runs where that is asked for.

    Args:
        paths: .npy files; the first is what the others are compared with.
        choice: What is right.
        trec_folder: Gets a folder for each system; None: nothing is written.
        force: Write over files of others.
        progress: Follows a data set that is rendered first.

    Returns:
        The report, and what the ground truth is.

    Raises:
        UsageError: Where a file holds no matrix, or its shape is not that of the ground truth.
    """
    if choice.file is not None and choice.data is not None:
        raise UsageError("--ground-truth and a data set both say what is right: give one of them")
    matrices = {name: read_matrix(path) for name, path in zip(_names(paths), paths, strict=True)}
    named = _truth(*next(iter(matrices.items())), choice, progress)
    for name, scores in matrices.items():
        check_shape(name, scores, named.truth, named.of)
        if trec_folder is not None:
            trec.check_folder(trec_folder / trec.folder_name(name), force)
    report = evaluate_matrices(matrices, named.truth)
    if trec_folder is not None:
        _write_runs(trec_folder, matrices, named, force)
    return replace(report, remarks=[*named.remarks, *report.remarks]), named.of


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what the systems are called: their files' names, or whole paths where these do not differ.

    UsageError for a file that is named twice.
    """
    if len(set(paths)) < len(paths):
        raise UsageError("a file is named twice: each system has scores of its own")
    stems = [path.stem for path in paths]
    distinct = len(set(stems)) == len(stems) and FUSED not in stems
    return stems if distinct else [str(path) for path in paths]


def _truth(name: str, scores: FloatArray, choice: TruthChoice, progress: Progress) -> _NamedTruth:
    rows, columns = scores.shape
    numbers = [str(row) for row in range(rows)], [str(column) for column in range(columns)]
    if choice.data is not None:
        return _of_dataset(choice.data, progress)
    if choice.file is not None:
        return _NamedTruth(read_truth(choice.file, columns), *numbers, str(choice.file))
    if rows != columns:
        raise UsageError(
            f"{rows} captions and {columns} videos: without a square matrix, say what is right: a data set "
            "(evaluate NAME --similarities ...), or --ground-truth FILE with the column of each row"
        )
    return _NamedTruth(make_truth(None, columns), *numbers, f"the diagonal of {name}")


def _of_dataset(choice: DataChoice, progress: Progress) -> _NamedTruth:
    """Return what is right of a data set. A benchmark's annotation is enough: its videos need not be there."""
    remarks: list[str] = []
    entries: list[tuple[str, Hashable, Sequence[str]]]
    if choice.target in benchmark_names() and choice.annotations is not None:
        options = benchmark_options(choice.root or choice.annotations, choice.annotations, choice.option)
        listing = read_listing(choice.target, options | {"split": choice.split})
        entries = [(video.id, video.locations[:1], video.captions) for video in listing.videos[: choice.limit]]
        remarks = [*listing.remarks]
    else:
        dataset = load_data(choice, progress).dataset
        if isinstance(dataset, QueryDataset):
            raise UsageError(f"{choice.target} has queries of its own, not captions: a matrix has no rows for them")
        if isinstance(dataset, GradedDataset):
            raise UsageError(f"captions fit the videos of {choice.target} to a degree, and not as right or wrong")
        entries = [(sample.id, sample.video, sample.captions) for sample in dataset.samples()]
    videos = [video for _, video, _ in entries]
    right = columns_of_videos([video for _, video, captions in entries for _ in captions], videos)
    names = [f"{name}#{number}" for name, _, captions in entries for number in range(len(captions))]
    of = f"{choice.target} {choice.split}"
    if len(names) > len(videos):
        remarks.append("rows are read video by video: all captions of the first one, then all of the second, ...")
    return _NamedTruth(MatrixTruth(right, videos), names, [name for name, _, _ in entries], of, remarks)


def _write_runs(folder: Path, matrices: Mapping[str, FloatArray], named: _NamedTruth, force: bool) -> None:
    for name, scores in matrices.items():
        blocks = row_blocks(scores)
        names = trec.TrecNames(named.captions, named.videos, name)
        trec.write_runs(
            folder / trec.folder_name(name), DirectionBlocks(blocks, blocks), named.truth.ground_truth, names, force
        )
