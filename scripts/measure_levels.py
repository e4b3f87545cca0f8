"""Measure what each level of a model adds to its search: `measure_levels.py`.

Of moving shapes, one caption each: recalls by all levels, without each of them, and by each of them alone; and by which
level the captions whose video was not first fell furthest behind. [low, high]: 95 % bootstrap over videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmi_tvr import config
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import GENERATED, ModelChoice, load_generated, load_model
from mmi_tvr.evaluation.evaluate import evaluate_model
from mmi_tvr.evaluation.level_ablation import level_rows, require_levels
from mmi_tvr.evaluation.report import Report
from mmi_tvr.utils.tables import markdown_table
from mmi_tvr.utils.wording import counted


def main(arguments: Sequence[str] | None = None) -> None:
    args = _arguments(arguments)
    system = load_model(ModelChoice(args.model, None, False, config.load()))
    require_levels(system.model.scoring)
    with show_progress() as progress:
        dataset = load_generated(args.split, args.limit, progress)
        report = evaluate_model(system.model, dataset.samples(), system.embedder(dataset, GENERATED, progress))
    out.print("\n".join(table(report)), markup=False)


def table(report: Report) -> list[str]:
    """Return the lines of the table, and one that counts by which level captions lost."""
    assert report.details is not None
    lost = ", ".join(f"{name} {count:,}" for name, count in report.lost_levels.items())
    late = int((report.details.t2v_ranks > 1).sum())
    captions = counted(late, "caption")
    return [*markdown_table(level_rows(report.details), padded=True), "", f"{captions} not first, behind by: {lost}"]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mcsan-shapes", help="one with levels")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--limit", type=int, help="only the first so many videos")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with command():
        main()
