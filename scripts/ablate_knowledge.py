"""What the questions add: `ablate_knowledge.py --model moving-shapes --output runs/knowledge`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmi_tvr import config
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.cli._evaluation_data import ModelChoice, load_model
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments import question_ablation
from mmi_tvr.experiments.question_inputs import split_inputs
from mmi_tvr.questions import pool
from mmi_tvr.rerank import skeleton_options
from mmi_tvr.skeletons.store import SKELETONS_FILE, SkeletonStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a bundled model, or a model folder that training wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the table, the numbers and the curve")
    parser.add_argument("--split", default="test", help="of moving shapes")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    parser.add_argument("--seeds", type=int, default=3, help="draws of random questions")
    parser.add_argument("--weights", default="", metavar="A,B", help="also these weights lambda_s of the probability")
    parser.add_argument("--only", default="", metavar="A,B", help="only rows whose names begin so, such as lambda_s")
    parser.add_argument("--mean", action="store_true", help="search by the mean of key images: the model's own CLIP")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    parser.add_argument(
        "--pools",
        action="append",
        default=[],
        metavar="NAME=TEXT.yaml,VIDEO.yaml",
        help="two other pools, and their chosen questions if any are chosen; may be repeated",
    )
    args = parser.parse_args()
    pools = [_named_pools(text) for text in args.pools]
    weights = [_weight(text) for text in args.weights.split(",") if text]
    with show_progress() as progress:
        results = _run(args, pools, weights, progress)
    if any(name.startswith("videos-") for name in results):
        question_ablation.curve(results, args.output / "knowledge.png")
    print(question_ablation.table(results))


def _run(
    args: argparse.Namespace, pools: list[tuple[str, str, str]], weights: list[float], progress: show_progress
) -> dict[str, object]:
    system = load_model(ModelChoice(args.model, None, False, config.load(None, args.set)))
    options = skeleton_options(system.settings.rerank, system.model)
    cases = question_ablation.cases(
        pool.load(options.text),
        pool.load(options.video),
        system.model,
        seeds=args.seeds,
        other_pools={name: (pool.load(text), pool.load(video)) for name, text, video in pools},
        weights=weights,
    )
    prefixes = tuple(args.only.split(","))
    chosen = [case for case in cases if case.name.startswith(prefixes)]
    if not chosen:
        raise UsageError(f"--only {args.only}: there are {', '.join(case.name for case in cases)}")
    args.output.mkdir(parents=True, exist_ok=True)
    with SkeletonStore(args.output / SKELETONS_FILE) as store:
        shared = split_inputs(
            args.split, system.model, system.method, options, store, progress,
            limit=args.limit, mean=args.mean, device=system.settings.device,
        )  # fmt: skip
        return question_ablation.ablate(shared, chosen, args.output, progress)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--weights takes numbers with commas between them, not {text!r}") from None


def _named_pools(text: str) -> tuple[str, str, str]:
    name, _, files = text.partition("=")
    pair = files.split(",")
    if not name or len(pair) != 2:
        raise UsageError(f"--pools takes NAME=TEXT.yaml,VIDEO.yaml, not {text!r}")
    return name, pair[0], pair[1]


if __name__ == "__main__":
    with command():
        main()
