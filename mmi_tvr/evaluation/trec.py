"""Ranks as TREC's tools read them: a run and its qrels, for trec_eval, ir-measures and their like.

A run has a line `query Q0 document rank score tag` for each of the best candidates of a query, qrels a line
`query iteration document 1` for each right one. The tools read the scores and not the ranks, and put equal scores in
an order of their own (trec_eval: by the name of the document), where ours counts ties against the system: without ties
the numbers agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..types import FloatArray, IdArray
from ..utils import files
from .metrics import DirectionBlocks

DEPTH = 1000  # candidates of a query in a run, as usual at TREC
_TAG = "mmi-tvr-"  # of a run, before the system's name
RUN_MARK = f" {_TAG}".encode()  # by which a run is known as ours
QRELS_MARK = b" mmi-tvr "  # the second column of qrels, which the tools do not read


@dataclass(frozen=True, slots=True)
class TrecNames:
    """The names of captions (N,) and of videos (M,), each once, and of the system."""

    captions: Sequence[str]
    videos: Sequence[str]
    system: str


def run_line(query: str, document: str, rank: int, score: float, tag: str, digits: int = 9) -> str:
    r"""Return one line of a run; names become one word each.

    Args:
        query: Its name.
        document: The candidate's name.
        rank: From 1.
        score: Larger is better.
        tag: Of the system (`run_tag`).
        digits: Of the score: 9 tell all numbers of single precision apart, 17 those of double.

    >>> run_line("7", "a b.mp4", 2, 0.25, run_tag("mine"))
    '7 Q0 a%20b.mp4 2 0.25 mmi-tvr-mine\n'
    """
    return f"{one_word(query)} Q0 {one_word(document)} {rank} {score:.{digits}g} {tag}\n"


def run_tag(system: str) -> str:
    """Return the last column of a run."""
    return one_word(f"{_TAG}{system}")


def one_word(text: str) -> str:
    """Return the text as one word: white space, % and what cannot be printed are encoded."""
    return "".join(
        quote(character, errors="surrogateescape") if character in "% " or not character.isprintable() else character
        for character in text
    )


def folder_name(system: str) -> str:
    """Return what the folder of a system's runs is called; a system may be called by a path.

    >>> folder_name("runs/A.npy"), folder_name("..")
    ('runs%2FA.npy', '%2E%2E')
    """
    name = system.replace("%", "%25").replace("/", "%2F")
    return name if name.strip(".") else name.replace(".", "%2E")


def check_folder(folder: Path, force: bool = False) -> None:
    """Raise UsageError where the files could not be written: before the work."""
    files.check_folder(folder)
    if folder.is_dir():
        for path, mark in _outputs(folder):
            files.check_output(path, mark, force)


def write_runs(
    folder: Path,
    blocks: DirectionBlocks,
    ground_truth: Sequence[Collection[int]],
    names: TrecNames,
    force: bool = False,
) -> None:
    """Write `t2v.run`, `t2v.qrels`, `v2t.run` and `v2t.qrels`: the best `DEPTH` candidates of each query.

    Args:
        folder: Is made.
        blocks: Scores as in `metrics`.
        ground_truth: The columns that are right for each row.
        names: Of rows and columns.
        force: Write over files of others.

    Raises:
        UsageError: As `check_folder` does.
    """
    check_folder(folder, force)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(row, column) for row, right in enumerate(ground_truth) for column in sorted(right)]
    described = {column for _, column in pairs}
    tag = run_tag(names.system)
    t2v = _lines(_best_of_rows(blocks), names.captions, names.videos, tag)
    v2t = _lines(
        (best for best in _best_of_columns(blocks) if best[0] in described),
        names.videos,
        names.captions,
        tag,
    )
    t2v_pairs = [(names.captions[row], names.videos[column]) for row, column in pairs]
    v2t_pairs = sorted((column, row) for row, column in pairs)
    parts: list[Iterator[str]] = [
        t2v,
        _qrels(t2v_pairs),
        v2t,
        _qrels([(names.videos[column], names.captions[row]) for column, row in v2t_pairs]),
    ]
    for (path, mark), lines in zip(_outputs(folder), parts, strict=True):
        files.check_output(path, mark, force)
        with files.draft_of(path) as draft, draft.open("w", encoding="utf-8") as stream:
            stream.writelines(lines)


def _outputs(folder: Path) -> list[tuple[Path, bytes]]:
    return [
        (folder / f"{direction}.{suffix}", mark)
        for direction in ("t2v", "v2t")
        for suffix, mark in (("run", RUN_MARK), ("qrels", QRELS_MARK))
    ]


def _qrels(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for query, document in pairs:
        yield f"{one_word(query)}{QRELS_MARK.decode()}{one_word(document)} 1\n"


def _lines(
    best: Iterator[tuple[int, IdArray, FloatArray]], queries: Sequence[str], documents: Sequence[str], tag: str
) -> Iterator[str]:
    """Yield the lines of queries, of which `best` has the number, the candidates and their scores."""
    for query, candidates, scores in best:
        digits = 17 if scores.dtype == np.float64 else 9
        for rank, (candidate, score) in enumerate(zip(candidates.tolist(), scores.tolist(), strict=True), 1):
            yield run_line(queries[query], documents[candidate], rank, score, tag, digits)


def _best_of_rows(blocks: DirectionBlocks) -> Iterator[tuple[int, IdArray, FloatArray]]:
    row = 0
    for block in blocks.t2v():
        for scores in np.asarray(block):
            yield row, *_best(scores)
            row += 1


def _best_of_columns(blocks: DirectionBlocks) -> Iterator[tuple[int, IdArray, FloatArray]]:
    """Yield the best rows of each column; all scores are held in memory meanwhile."""
    scores = np.concatenate(list(blocks.v2t()))
    for column in range(scores.shape[1]):
        yield column, *_best(scores[:, column])


def _best(scores: FloatArray) -> tuple[IdArray, FloatArray]:
    """Return the candidates with the largest scores, at most `DEPTH`, best first."""
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return order, scores[order]
