"""Choose between settings by cross-validation: `cross_validate.py RUN RUN...`, folders that `evaluate --output` wrote.

Each time one video is left out, the run with the best mean reciprocal rank (MRR) on the captions of all others is
taken, and its ranks of the captions that were left out count. The last line is what this choice is worth on videos that
had no part in it; the best run's own line is too good by what was gained by choosing.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmi_tvr.cli._console import command
from mmi_tvr.errors import UsageError
from mmi_tvr.evaluation import saved
from mmi_tvr.types import FloatArray, IdArray
from mmi_tvr.utils.tables import markdown_table


def read_ranks(runs: Sequence[Path]) -> tuple[FloatArray, IdArray]:
    """Return the text-to-video ranks of every run (R, N) and the number of the video of each caption (N,).

    Raises UsageError where a run cannot be read, or has other captions than the first.
    """
    tables = [saved.read(run)["queries"]["t2v"] for run in runs]
    captions = [[(row["id"], row["caption"]) for row in table] for table in tables]
    for run, others in zip(runs, captions, strict=True):
        if others != captions[0]:
            raise UsageError(f"{run}: it has other captions than {runs[0]}")
    _, videos = np.unique([video for video, _ in captions[0]], return_inverse=True)
    return np.array([[row["rank"] for row in table] for table in tables], dtype=np.float64), videos


def cross_validated(ranks: FloatArray, videos: IdArray) -> tuple[FloatArray, IdArray]:
    """Return the rank of each caption (N,) in the run that all other videos choose, and the run chosen (N,).

    UsageError where there are no other videos.
    """
    if len(np.unique(videos)) < 2:
        raise UsageError("the runs are of a single video: a choice is judged by videos that had no part in it")
    chosen = np.zeros(len(videos), dtype=np.int64)
    for video in np.unique(videos):
        left_out = videos == video
        chosen[left_out] = (1 / ranks[:, ~left_out]).mean(axis=1).argmax()
    held_out: FloatArray = np.take_along_axis(ranks, chosen[None], axis=0)[0]
    return held_out, chosen


def report(names: Sequence[str], ranks: FloatArray, videos: IdArray) -> list[str]:
    """Return a table in Markdown: every run, how often it was chosen, and what choosing is worth."""
    held_out, chosen = cross_validated(ranks, videos)
    _, first = np.unique(videos, return_index=True)
    times = Counter(chosen[first].tolist())
    rows = [["run", "R@1", "R@5", "MRR", "times chosen"]]
    rows += [
        [name, *_numbers(row), str(times[number])] for number, (name, row) in enumerate(zip(names, ranks, strict=True))
    ]
    return markdown_table([*rows, ["what is chosen, on videos left out", *_numbers(held_out), ""]])


def _numbers(ranks: FloatArray) -> list[str]:
    return [f"{100 * (ranks <= 1).mean():.1f}", f"{100 * (ranks <= 5).mean():.1f}", f"{(1 / ranks).mean():.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder that evaluate --output wrote")
    args = parser.parse_args()
    print(*report([run.name for run in args.runs], *read_ranks(args.runs)), sep="\n")


if __name__ == "__main__":
    with command():
        main()
