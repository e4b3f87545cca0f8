"""Write the corpus of odd and broken media files, and say what indexing must make of each (a table, tab-separated)."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from media_damage import mutants, whole_files
from odd_media import corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; must not exist")
    parser.add_argument("--seed", type=int, default=0, help="of the random damage")
    parser.add_argument("--mutants", type=int, default=0, help="so many randomly damaged files in a folder beside them")
    args = parser.parse_args()
    if args.folder.exists():
        parser.error(f"{args.folder} is there already")
    print("kind", "file", "key images, or why there are none", sep="\t")
    for each in corpus(args.folder, args.seed):
        outcome = f"{each.outcome} or more" if each.damaged and isinstance(each.outcome, int) else each.outcome
        print(each.kind, ascii(each.name)[1:-1], "walked: it is a folder" if outcome is None else outcome, sep="\t")
    if args.mutants:
        (args.folder / "mutants").mkdir()
        for name, content in islice(mutants(whole_files(args.folder), args.seed), args.mutants):
            (args.folder / "mutants" / name).write_bytes(content)


if __name__ == "__main__":
    main()
