"""Videos -> vision features and embeddings, by any number of processes: docs/batch.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr import config, models
from mmi_tvr.batch import extract, program
from mmi_tvr.cli._console import ProgressBars, command, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", type=Path, nargs="?", help="folder of videos, or a list (txt, csv, tsv, jsonl, parquet)"
    )
    parser.add_argument("--dataset", metavar="YAML", help="a data set instead: NAME, or {name: ..., split: ..., ...}")
    parser.add_argument("--root", type=Path, help="folder that a list's paths are relative to; default: the list's own")
    parser.add_argument("--model", help="NAME, NAME:CHECKPOINT, or a checkpoint's folder or hub name; default: auto")
    parser.add_argument("--config", type=Path, help="settings file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    parser.add_argument("--only", choices=("features", "embeddings"), help="write one of the two")
    parser.add_argument("--features", type=Path, help="feature cache to read and write; default: OUTPUT/features")
    program.add_options(parser, shard=256)
    args = parser.parse_args()
    if args.worker:
        program.work(args.output, args.device, None, say)
        return
    folder = extract.create(
        args.output,
        args.source,
        dataset=program.section(args.dataset),
        column=args.column,
        ids=args.id_column,
        root=args.root,
        model=models.section(args.model) if args.model else None,
        settings=config.load(args.config, args.set),
        outputs=(args.only,) if args.only else (extract.FEATURES, extract.EMBEDDINGS),
        features=args.features,
        shard=args.shard,
    )
    with ProgressBars() as progress:
        state = program.run(folder, args, progress)
    if program.speaks():
        print(program.summary(folder, state))


if __name__ == "__main__":
    with command():
        main()
