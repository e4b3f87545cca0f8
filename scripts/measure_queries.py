"""Measure a table of queries on a folder of videos: `measure_queries.py videos scripts/short_queries.tsv`.

The table has the columns `query`, `group` (rows of one group make a line of the result) and `files`: what is right in
the folder, separated by " | "; empty where nothing is. A query's rank is that of its first right video. Whether
anything is found is for the model's own threshold to say, as in every search.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmi_tvr import Library
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.errors import UsageError
from mmi_tvr.utils.intervals import wilson
from mmi_tvr.utils.printable import printable
from mmi_tvr.utils.tables import interval, markdown_table
from mmi_tvr.utils.textfiles import numbered_lines, tab_separated, with_header

COLUMNS = {"query", "group", "files"}
TOP = 5
ALL = "all"


@dataclass(frozen=True)
class ShortQuery:
    """A row of the table: what is searched for, and the files that are right, none where nothing is."""

    text: str
    group: str
    files: frozenset[Path]


@dataclass(frozen=True)
class Outcome:
    """What a search made of a query: the rank of the first right video (None: beyond TOP), and whether it answered."""

    query: ShortQuery
    rank: int | None
    answered: bool


def read_table(path: Path, root: Path) -> list[ShortQuery]:
    """Return the rows.

    Raises UsageError for a column, a query or a file that is missing, for a group with the name of the last line, and
    where there are no rows.
    """
    queries = []
    with path.open("rb") as stream:
        for line, row in with_header(tab_separated(numbered_lines(stream, path)), path):
            if missing := COLUMNS - set(row):
                raise UsageError(f"{path}: no column {', '.join(sorted(missing))}")
            if not row["query"].strip():
                raise UsageError(f"{path}, line {line}: the query is empty; write one, or leave out the line")
            if row["group"] == ALL:
                raise UsageError(f"{path}, line {line}: a group cannot be called {ALL}, which all groups together are")
            files = frozenset((root / name.strip()).resolve() for name in row["files"].split("|") if name.strip())
            if absent := sorted(file for file in files if not file.is_file()):
                raise UsageError(f"{path}, line {line}: {absent[0]} is not there")
            queries.append(ShortQuery(row["query"], row["group"], files))
    if not queries:
        raise UsageError(f"{path}: no queries; the first line names the columns {', '.join(sorted(COLUMNS))}")
    return queries


def search_all(library: Library, queries: Sequence[ShortQuery]) -> list[Outcome]:
    """Search for every query twice: for the ranks without a threshold, and as everybody searches."""
    texts = [query.text for query in queries]
    ranked, answers = library.search(texts, TOP, min_relevance=0.0), library.search(texts, TOP)
    outcomes = []
    for query, hits, answer in zip(queries, ranked, answers, strict=True):
        ranks = [rank for rank, hit in enumerate(hits, 1) if not query.files.isdisjoint({hit.path, *hit.copies})]
        outcomes.append(Outcome(query, ranks[0] if ranks else None, answer.is_found))
    return outcomes


def report(outcomes: Sequence[Outcome]) -> list[str]:
    """Return two tables in Markdown: queries that have a right video, and queries that have none."""
    present = [outcome for outcome in outcomes if outcome.query.files]
    absent = [outcome for outcome in outcomes if not outcome.query.files]
    shares: dict[str, Callable[[Outcome], bool]] = {
        "R@1": lambda outcome: outcome.rank == 1,
        f"R@{TOP}": lambda outcome: outcome.rank is not None,
        "something is found": lambda outcome: outcome.answered,
        "right first and found": lambda outcome: outcome.answered and outcome.rank == 1,
    }
    nothing: dict[str, Callable[[Outcome], bool]] = {"nothing is found": lambda outcome: not outcome.answered}
    return [*_table("right videos", present, shares), "", *_table("no right video", absent, nothing)]


def _table(title: str, outcomes: Sequence[Outcome], shares: dict[str, Callable[[Outcome], bool]]) -> list[str]:
    groups = list(dict.fromkeys(outcome.query.group for outcome in outcomes))
    rows = [[title, "n", *shares]]
    for group in [*groups, *([ALL] if len(groups) > 1 else [])]:
        members = [outcome for outcome in outcomes if group in (ALL, outcome.query.group)]
        rows.append([group, str(len(members)), *(_share(map(holds, members)) for holds in shares.values())])
    return markdown_table(rows)


def _share(values: Iterable[bool]) -> str:
    flags = list(values)
    share = sum(flags) / len(flags)
    return interval(100 * share, *wilson(share, len(flags)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the videos")
    parser.add_argument("table", type=Path, help="the queries (.tsv)")
    parser.add_argument("--model", default="label_bridge", help="as for mmi-tvr index")
    parser.add_argument("--verbose", action="store_true", help="also print the rank of every query")
    args = parser.parse_args()
    queries = read_table(args.table, args.folder)
    with (
        tempfile.TemporaryDirectory() as folder,
        show_progress() as progress,
        Library(Path(folder) / "library", model=args.model) as library,
    ):
        library.index(args.folder, progress=progress)
        outcomes = search_all(library, queries)
    if args.verbose:
        for outcome in outcomes:
            rank = outcome.rank or f"> {TOP}" if outcome.query.files else "-"
            print(
                printable(outcome.query.text),
                printable(outcome.query.group),
                rank,
                "" if outcome.answered else "nothing found",
                sep="\t",
            )
    print(*report(outcomes), sep="\n")


if __name__ == "__main__":
    with command():
        main()
