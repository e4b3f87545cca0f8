"""How often "nothing found" is right: `nothing_found.py moving_shapes --model moving-shapes --sizes 10 100 1000`.

Captions of a test set are searched in collections of several sizes, once where their video is, and once where it is
not; beside them sentences about other things. Every caption has to be true of its own video alone. Of moving_shapes,
queries are searched as well that say a part of a video: single events, and short ones ("a red circle"). Of data sets
with queries of their own (moving_faces), these are searched, people by their faces; those that say everything first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmi_tvr import config, models, plugins
from mmi_tvr.cli._console import command, show_progress
from mmi_tvr.cli._evaluation_data import DataChoice, EvaluationModel, ModelChoice, load_data, load_model
from mmi_tvr.cli._query_evaluation import PersonCue, queries_with_faces
from mmi_tvr.errors import MediaError, UsageError
from mmi_tvr.evaluation import nothing_found, score_laws
from mmi_tvr.evaluation.nothing_found import Trials
from mmi_tvr.evaluation.query_sets import QuerySet, query_sets, sets_of_queries
from mmi_tvr.protocols import Dataset, QueryDataset
from mmi_tvr.scoring import matching, relevance
from mmi_tvr.scoring.decision import MATCHES
from mmi_tvr.types import Embeddings, FloatArray, MatchLaw, Query, ScoreLaw
from mmi_tvr.utils.installation import require
from mmi_tvr.utils.progress import Progress
from mmi_tvr.utils.textfiles import numbered_lines

SENTENCES = Path(__file__).parent / "benches" / "absent_sentences.txt"
TRAINING_CAPTIONS = (0, 1, 15, 16)  # of twenty: two English ones, two Chinese ones


def main() -> None:
    args = _arguments()
    with show_progress() as progress:
        chosen = load_model(ModelChoice(args.model, None, False, config.load(None, args.set)))
        if args.save:
            _model_folder(chosen)  # before hours of decoding
        measured, sets, videos = _measure_data(chosen, args, progress)
    shares = _shares(sets, args.lost, args.lost_parts)
    if shares:
        threshold = min(nothing_found.common_threshold(measured[kind], share) for kind, share in shares.items())
    elif args.threshold is not None:
        threshold = args.threshold
    else:
        threshold = MATCHES if matching.decides(chosen.model) else chosen.model.scoring.min_relevance
    whole = next(iter(sets))
    print(f"threshold {threshold:.4f}; {videos:,} videos")
    for kind, trials in measured.items():
        print("", f"{len(sets[kind].captions):,} {kind}", "", *nothing_found.table(trials, threshold), sep="\n")
        print("", *nothing_found.curve_table(trials), sep="\n")
    if args.folds and args.lost is not None:
        _print_folds(measured[whole], args.lost, args.folds)
    if args.output:
        curves = {kind: [trial.as_dict(threshold) for trial in trials] for kind, trials in measured.items()}
        document = {"threshold": threshold, "sizes": curves.pop(whole), "partial": curves}
        args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        _draw(measured[whole], threshold, f"{args.model} on {args.data}", args.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", help="moving_shapes, moving_faces or moving_things, or a folder of videos with --captions"
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--split", default="test", help="of moving_shapes")
    parser.add_argument("--seed", type=int, default=0, help="of moving_shapes: another one draws other videos")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    parser.add_argument("--captions", type=Path, help="the table of captions of a folder")
    parser.add_argument("--column", help="which columns hold captions: one name, several with commas, or * for all")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="videos of a collection")
    parser.add_argument("--shuffles", type=int, default=1, help="of the videos, where they are few")
    parser.add_argument("--sentences", type=Path, default=SENTENCES, help="a sentence a line, true of no video")
    parser.add_argument("--threshold", type=float, help="of relevance; default: the model's own")
    parser.add_argument("--lost", type=float, help="choose the threshold: at most so many percent lost at each size")
    parser.add_argument("--lost-parts", type=float, help="the same of kinds of queries that say a part; default: any")
    parser.add_argument(
        "--law", action="store_true", help="with --lost: measure what decides, print its law, and use it"
    )
    parser.add_argument("--save", action="store_true", help="with --law: write it into the model's folder")
    parser.add_argument("--score-weight", type=float, default=0.0, help="with --law, of a head: what the score counts")
    parser.add_argument("--train", type=int, help="with --law, moving_shapes: read queries, by so many training videos")
    parser.add_argument("--folds", type=int, help="with --lost: choose on other videos than are judged")
    parser.add_argument("--output", type=Path, help="write the curves as JSON")
    parser.add_argument("--plot", type=Path, help="draw those of captions (extra `plots`)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    args = parser.parse_args()
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together, or that no number can be; before hours of decoding."""
    if args.save and not args.law:
        raise UsageError("--save goes with --law: it writes one")
    if args.lost is None and (args.law or args.folds is not None):
        raise UsageError("--law and --folds go with --lost, by which the threshold is chosen")
    if args.train is not None and not (args.law and args.data == "moving_shapes"):
        raise UsageError("--train goes with --law, for which it fits one, and with moving_shapes")
    for option, value in {"--lost": args.lost, "--lost-parts": args.lost_parts}.items():
        if value is not None and not 0 <= value < 100:
            raise UsageError(f"{option} {value:g}: a percentage from 0 to below 100")
    if args.lost_parts is not None and (args.lost is None or args.captions or args.column):
        raise UsageError("--lost-parts goes with --lost and with data sets that have such queries, not with captions")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise UsageError(f"--threshold {args.threshold:g}: a relevance is a number from 0 to 1")
    least = {
        "--limit": (args.limit, 2),
        "--shuffles": (args.shuffles, 1),
        "--folds": (args.folds, 2),
        "--train": (args.train, 2),
    }
    for option, (value, minimum) in {**least, "--sizes": (min(args.sizes), 1)}.items():
        if value is not None and value < minimum:
            raise UsageError(f"{option} {value}: at least {minimum}")
    if not args.sentences.is_file():
        raise UsageError(f"{args.sentences}: no such file")


def _measure_data(
    chosen: EvaluationModel, args: argparse.Namespace, progress: Progress
) -> tuple[dict[str, list[Trials]], dict[str, QuerySet], int]:
    """Return the trials and the queries of each kind, and the number of videos; with --law, fit the law first."""
    others = {"sentences": _embed_texts(chosen, _lines(args.sentences))}
    about_videos = {"split": args.split, "limit": args.limit, "seed": args.seed}
    choice = DataChoice(args.data, captions=args.captions, column=args.column, **about_videos)
    dataset = load_data(choice, progress).dataset
    embeddings, numbers = _embed(chosen, dataset, progress)
    if isinstance(dataset, QueryDataset):
        queries, _ = queries_with_faces(dataset, chosen.model, PersonCue.face, progress)
        positions = {dataset.samples()[number].id: position for number, position in numbers.items()}
        sets = sets_of_queries(queries, positions, chosen.model.embed_queries, others)
    else:
        sets = query_sets(dataset, numbers, partial(_embed_texts, chosen), others)

    def measure(calibrate: nothing_found.Calibrate) -> dict[str, list[Trials]]:
        return _measure(chosen, embeddings, sets, args.sizes, args.shuffles, calibrate)

    calibrate = matching.calibrate
    if args.law:
        law = score_laws.RAW
        if args.train:
            law = _law_that_reads(chosen, args.train, args.sizes, progress)
        elif isinstance(dataset, QueryDataset):
            raw = measure(partial(score_laws.margins, law))
            law = score_laws.fit_partial([(sets[kind], raw[kind]) for kind in sets])
        calibrate = _fit_law(chosen, args, law, measure, _shares(sets, args.lost, args.lost_parts))
    return measure(calibrate), sets, len(embeddings)


def _fit_law(
    chosen: EvaluationModel,
    args: argparse.Namespace,
    law: ScoreLaw,
    measure: Callable[[nothing_found.Calibrate], dict[str, list[Trials]]],
    shares: Mapping[str, float],
) -> nothing_found.Calibrate:
    """Give the law of what decides its height, print it, with --save write it, and return what calibrates by it."""
    matches = matching.decides(chosen.model)
    if matches:
        unit = MatchLaw(0.0, 1.0, args.score_weight)
        chosen.model.scoring = replace(chosen.model.scoring, match_law=unit)
    law = score_laws.fit(law, measure(partial(score_laws.margins, law)), shares)
    printed = _rounded(asdict(MatchLaw(law.middle, law.slope, args.score_weight) if matches else law))
    name = "match_law" if matches else "score_law"
    print(f"{name}:", json.dumps(printed))
    if args.save:
        folder = _model_folder(chosen)
        settings = models.read(folder)
        options = {**settings.options, name: printed}
        plugins.options("models", settings.name, options)  # scores that tell nothing give a law that nobody can read
        models.write(folder, replace(settings, options=options))
        print(f"{folder / models.SETTINGS}: written")
    return lambda model, gallery, size: relevance.LogisticLaw(law, size)


def _model_folder(chosen: EvaluationModel) -> Path:
    """Return the folder of the model's weights. UsageError where it has none."""
    weights = chosen.settings.model.options.get("weights")
    if not weights:
        raise UsageError("--save: the model has no folder; train it first")
    return models.find(str(weights))


def _print_folds(trials: Sequence[Trials], lost: float, folds: int) -> None:
    """Print what is lost and told of captions where the threshold is chosen on other videos."""
    for trial in trials:
        shares = trial.cross_validated(lost / 100, folds)
        lost_share, rejected = (100 * share for share in shares)
        print(
            f"{trial.size:,} videos, chosen on other videos: {lost_share:.1f} % lost, {rejected:.1f} % of captions told"
        )


def _embed(chosen: EvaluationModel, dataset: Dataset, progress: Progress) -> tuple[list[Embeddings], Mapping[int, int]]:
    """Return the embeddings of the readable videos, and their numbers among these by their numbers in the data set."""
    samples = dataset.samples()
    progress.begin("videos", len(samples))
    results = chosen.embed([sample.video for sample in samples], progress)
    readable = [number for number, result in enumerate(results) if not isinstance(result, MediaError)]
    vectors = [result for result in results if isinstance(result, Embeddings)]
    return vectors, {number: position for position, number in enumerate(readable)}


def _embed_texts(chosen: EvaluationModel, texts: Sequence[str]) -> FloatArray:
    return chosen.model.embed_queries([Query(text) for text in texts])


def _shares(kinds: Iterable[str], lost: float | None, lost_parts: float | None) -> dict[str, float]:
    """Return which shares (0..1) of the present queries of each kind, those that say everything first, may be lost;
    none where nothing is chosen."""
    percentages = {kind: lost_parts if number else lost for number, kind in enumerate(kinds)}
    return {kind: percentage / 100 for kind, percentage in percentages.items() if percentage is not None}


def _lines(path: Path) -> list[str]:
    with path.open("rb") as stream:
        lines = [line for _, line in numbered_lines(stream, path) if line.strip()]
    if not lines:
        raise UsageError(f"{path}: there are no sentences to search for")
    return lines


def _measure(
    chosen: EvaluationModel,
    embeddings: Sequence[Embeddings],
    sets: Mapping[str, QuerySet],
    sizes: Sequence[int],
    shuffles: int,
    calibrate: nothing_found.Calibrate,
) -> dict[str, list[Trials]]:
    """Return the trials of each kind of queries at each size; sizes beyond all videos are one."""
    sizes = list(dict.fromkeys(min(size, len(embeddings)) for size in sizes))
    return {
        kind: [nothing_found.trials(chosen.model, embeddings, queries, size, shuffles, calibrate) for size in sizes]
        for kind, queries in sets.items()
    }


def _law_that_reads(chosen: EvaluationModel, count: int, sizes: Sequence[int], progress: Progress) -> ScoreLaw:
    """Return a law that reads queries, of so many training videos; background sentences are about other things."""
    dataset = plugins.build("datasets", "moving_shapes", {"split": "train", "count": count})
    progress.begin("training videos", len(dataset.pending()))
    dataset.generate(advance=progress.advance)
    embeddings, numbers = _embed(chosen, dataset, progress)
    others = {"sentences": relevance.background_vectors(chosen.model)}
    sets = query_sets(
        dataset,
        numbers,
        partial(_embed_texts, chosen),
        others,
        lambda captions: [captions[number] for number in TRAINING_CAPTIONS],
    )
    raw = _measure(chosen, embeddings, sets, sizes, 1, partial(score_laws.margins, score_laws.RAW))
    return score_laws.fit_partial([(sets[kind], raw[kind]) for kind in sets])


def _rounded(value: Any) -> Any:
    """Return a law, or a part of it, with the digits that count."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _draw(trials: Sequence[nothing_found.Trials], threshold: float, title: str, path: Path) -> None:
    """Draw told against lost of each size; a dot marks the threshold."""
    figure = require("matplotlib.figure", "plots").Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for colour, trial in enumerate(trials):
        for name, style in zip(trial.absent, ("-", ":"), strict=False):
            lost, rejected = zip(*trial.curve(name), strict=True)
            label = f"{trial.size:,} videos: {nothing_found.title_of(name)}"
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
