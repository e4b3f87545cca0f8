"""Measure each stage against a named alternative in the same run."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import benches
from benches.earlier import BASELINE

_HELPERS = ("timing", "earlier", "real_clips", "_llava_checkpoint", "_corpus")  # of the parts


def main() -> None:
    parts = part_names()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which to run: {', '.join(parts)} (default: all)")
    parser.add_argument("--clips", type=Path, help="a folder of videos for the decoding parts (default: the demo's)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds per comparison")
    parser.add_argument("--engine", action="append", metavar="NAME", help="collection: this one alone (repeat it)")
    parser.add_argument("--width", type=int, help="collection: of the vectors alone (default: 192, then 512)")
    parser.add_argument("--library", type=Path, help="collection: the vectors of this library, not synthetic ones")
    parser.add_argument("--queries", type=Path, metavar="FILE", help="collection: what is asked of it, a line each")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that a part runs")
    parser.add_argument(
        "--against", metavar="COMMIT", default=BASELINE, help="what cold and index compare with (default: %(default)s)"
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(parts)}")
    for part in args.parts or parts:
        for line in importlib.import_module(f"benches.{part}").run(args):
            print(line, flush=True)


def part_names() -> list[str]:
    """Return the names of all parts."""
    return [part.name for part in pkgutil.iter_modules(benches.__path__) if part.name not in _HELPERS]


if __name__ == "__main__":
    main()
