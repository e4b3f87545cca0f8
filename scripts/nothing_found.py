"""How often "nothing found" is right: `nothing_found.py moving_shapes --model moving-shapes --sizes 10 100 1000`.

Captions of a test set are searched in collections of several sizes, once where their video is, and once where it is
not; beside them sentences about other things. Every caption has to be true of its own video alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mmi_tvr import config
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.cli._evaluation_data import DataChoice, EvaluationModel, ModelChoice, load_data, load_model
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation import nothing_found
from mmi_tvr.scoring import relevance
from mmi_tvr.types import Embeddings, Query, Sample
from mmi_tvr.utils.installation import require
from mmi_tvr.utils.textfiles import numbered_lines

SENTENCES = Path(__file__).parent / "benches" / "absent_sentences.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="moving_shapes, or a folder of videos with --captions")
    parser.add_argument("--model", required=True)
    parser.add_argument("--split", default="test", help="of moving_shapes")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    parser.add_argument("--captions", type=Path, help="the table of captions of a folder")
    parser.add_argument("--column", help="which columns hold captions: one name, several with commas, or * for all")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="videos of a collection")
    parser.add_argument("--shuffles", type=int, default=1, help="of the videos, where they are few")
    parser.add_argument("--sentences", type=Path, default=SENTENCES, help="a sentence a line, true of no video")
    parser.add_argument("--threshold", type=float, help="of relevance; default: the model's own")
    parser.add_argument("--lost", type=float, help="choose the threshold: at most so many percent lost at each size")
    parser.add_argument("--law", action="store_true", help="with --lost: measure scores, and print `score_law`")
    parser.add_argument("--folds", type=int, help="with --lost: choose on other videos than are judged")
    parser.add_argument("--output", type=Path, help="write the curves as JSON")
    parser.add_argument("--plot", type=Path, help="draw them (extra `plots`)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    args = parser.parse_args()
    _check(args)
    with show_progress() as progress:
        chosen = load_model(ModelChoice(args.model, None, False, config.load(None, args.set)))
        choice = DataChoice(args.data, captions=args.captions, column=args.column, split=args.split, limit=args.limit)
        samples = load_data(choice, progress).dataset.samples()
        progress.begin("videos", len(samples))
        embeddings = chosen.embed([sample.video for sample in samples], progress)
        readable = [n for n, result in enumerate(embeddings) if not isinstance(result, MediaError)]
        queries = _queries(chosen, [samples[number] for number in readable], args.sentences)
        vectors = [result for result in embeddings if isinstance(result, Embeddings)]
        calibrate = (lambda *_: nothing_found.RawScores()) if args.law else relevance.calibrate
        trials = [
            nothing_found.trials(chosen.model, vectors, queries, size, args.shuffles, calibrate) for size in args.sizes
        ]
    threshold = chosen.model.scoring.min_relevance if args.threshold is None else args.threshold
    if args.lost is not None:
        threshold = nothing_found.common_threshold(trials, args.lost / 100)
        if args.law:
            print("score_law:", json.dumps(asdict(nothing_found.fit(trials, args.lost / 100))))
    print(f"threshold {threshold:.4f}; {len(queries.captions):,} captions of {len(readable):,} videos")
    print(*nothing_found.table(trials, threshold), "", *nothing_found.curve_table(trials), sep="\n")
    if args.folds is not None:
        for trial in trials:
            lost, rejected = (100 * share for share in trial.cross_validated(args.lost / 100, args.folds))
            print(
                f"{trial.size:,} videos, chosen on other videos: {lost:.1f} % lost, {rejected:.1f} % of captions told"
            )
    document = {"threshold": threshold, "sizes": [trial.as_dict(threshold) for trial in trials]}
    if args.output:
        args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        _draw(trials, threshold, f"{args.model} on {args.data}", args.plot)


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together, or that no number can be; before hours of decoding."""
    if args.lost is None and (args.law or args.folds is not None):
        raise UsageError("--law and --folds go with --lost, by which the threshold is chosen")
    if args.lost is not None and not 0 <= args.lost < 100:
        raise UsageError(f"--lost {args.lost:g}: a percentage from 0 to below 100")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise UsageError(f"--threshold {args.threshold:g}: a relevance is a number from 0 to 1")
    least = {"--limit": (args.limit, 2), "--shuffles": (args.shuffles, 1), "--folds": (args.folds, 2)}
    for option, (value, minimum) in {**least, "--sizes": (min(args.sizes), 1)}.items():
        if value is not None and value < minimum:
            raise UsageError(f"{option} {value}: at least {minimum}")
    if not args.sentences.is_file():
        raise UsageError(f"{args.sentences}: no such file")


def _queries(chosen: EvaluationModel, samples: Sequence[Sample], sentences: Path) -> nothing_found.QuerySet:
    texts = [caption for sample in samples for caption in sample.captions]
    with sentences.open("rb") as stream:
        lines = [line for _, line in numbered_lines(stream, sentences) if line.strip()]
    if not texts or not lines:
        raise UsageError("there are no captions, or no sentences, to search for")
    vectors = chosen.model.embed_queries([Query(text) for text in (*texts, *lines)])
    owners = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    return nothing_found.QuerySet(vectors[: len(texts)], owners, {"sentences": vectors[len(texts) :]})


def _draw(trials: Sequence[nothing_found.Trials], threshold: float, title: str, path: Path) -> None:
    """Draw told against lost of each size; a dot marks the threshold."""
    figure = require("matplotlib.figure", "plots").Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for colour, trial in enumerate(trials):
        for name, style in zip(trial.absent, ("-", ":"), strict=False):
            lost, rejected = zip(*trial.curve(name), strict=True)
            label = f"{trial.size:,} videos: {name}"
            axes.plot([100 * x for x in lost], [100 * y for y in rejected], style, color=f"C{colour}", label=label)
            axes.plot(100 * trial.lost(threshold), 100 * trial.rejected(name, threshold), "o", color=f"C{colour}")
    axes.set(xlim=(0, 30), ylim=(0, 101), xlabel="present queries lost, percent", ylabel="absent queries told, percent")
    axes.set_title(title)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    with command():
        main()
