"""How well a judge knows which skeletons belong together: `measure_judge.py --model moving-shapes`.

On moving shapes, where it is known. First p beside true skeletons of captions, by kind of video skeleton: the own
video, its twin, others, those that end with an order to answer otherwise, and noise. Then p beside queries that say one
event of a video, as the model itself answers. Last, how often captions prefer their own video to its twin, by what
differs: of the contrast sets, which have no other split.
"""

from __future__ import annotations

import argparse

from mmi_tvr import config
from mmi_tvr.cli import _reranking
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import ModelChoice, load_generated, load_model
from mmi_tvr.errors import UsageError
from mmi_tvr.experiments.pretrain.judge_measures import (
    answered_measures,
    judge_measures,
    measures_table,
    twin_preferences,
    twins_table,
)
from mmi_tvr.rerank.skeleton import SkeletonReranker
from mmi_tvr.utils.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moving-shapes", help="a bundled model, or a model folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="of moving shapes")
    parser.add_argument("--limit", type=int, default=100, help="so many captions, videos, and pairs of twins of a kind")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change one setting")
    args = parser.parse_args()
    if args.limit < 2:
        parser.error("--limit is 2 or more")
    with show_progress() as progress:
        tables = measured_tables(args.model, args.set, args.split, args.limit, progress)
    for table in tables:
        out.print("\n".join(table), markup=False)
        out.print()


def measured_tables(model: str, changes: list[str], split: str, limit: int, progress: Progress) -> list[list[str]]:
    """Return the three tables as rows. Raises UsageError where the settings name no judge of skeletons."""
    system = load_model(ModelChoice(model, None, False, config.load(None, changes)))
    ranker = _reranking.build_ranker(system.settings, system.model)
    if not isinstance(ranker, SkeletonReranker):
        raise UsageError("rerank.name: a look compares no skeletons; it has to be skeleton")
    by_kind = judge_measures(ranker.judge, limit, progress, split)
    dataset = load_generated(split, limit, progress)
    views = _reranking.video_views(dataset.samples(), system.model, system.method, progress)
    answered = answered_measures(dataset, ranker.describer, ranker.judge, views, progress)
    twins = twin_preferences(ranker.judge, limit, progress)
    return [measures_table(by_kind), measures_table(answered), twins_table(twins)]


if __name__ == "__main__":
    with command():
        main()
