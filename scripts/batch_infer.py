"""Queries -> ranked hits of a library or of embeddings, by any number of processes: docs/batch.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr import config
from mmi_tvr.batch import infer, program
from mmi_tvr.cli._console import ProgressBars, command, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queries", type=Path, help="txt (one a line), csv, tsv, jsonl or parquet")
    parser.add_argument("source", type=Path, help="a library, or what extract_features.py wrote")
    parser.add_argument("--top", type=int, default=10, help="hits of each query")
    parser.add_argument("--min-relevance", type=float, default=0.0, help="drop hits of smaller relevance (0..1)")
    parser.add_argument("--rerank", action="store_true", help="re-rank the best, as the library does")
    parser.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--trec", type=Path, metavar="FILE", help="write a TREC run, too")
    parser.add_argument("--config", type=Path, help="settings file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    program.add_options(parser, shard=1000)
    args = parser.parse_args()
    if args.worker:
        program.work(args.output, args.device, args.trec, say)
        return
    folder = infer.create(
        args.output,
        args.queries,
        args.source,
        column=args.column,
        ids=args.id_column,
        top=args.top,
        min_relevance=args.min_relevance,
        rerank=args.rerank,
        form=args.format,
        settings=config.load(args.config, args.set),
        shard=args.shard,
    )
    with ProgressBars() as progress:
        state = program.run(folder, args, progress, args.trec)
    if program.speaks():
        print(program.summary(folder, state))


if __name__ == "__main__":
    with command():
        main()
