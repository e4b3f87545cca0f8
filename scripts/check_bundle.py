"""Measure whether a copy of the package's own model is good enough: `check_bundle.py FOLDER --output acceptance.json`.

The test split of moving shapes, its contrast sets of order, answers to questions about its first 300 videos, the search
with and without re-ranking, and what the judge makes of skeletons that say nothing. Exit code 1 where something that is
asked for is missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mmi_tvr import config, models
from mmi_tvr.cli import _reranking
from mmi_tvr.cli._console import command, out, show_progress
from mmi_tvr.cli._evaluation_data import EvaluationModel, ModelChoice, load_generated, load_model
from mmi_tvr.datasets.moving_shapes import contrast_accuracy
from mmi_tvr.evaluation.evaluate import evaluate_model, pair_scores
from mmi_tvr.experiments.pretrain import acceptance
from mmi_tvr.experiments.pretrain.bundle import package_megabytes
from mmi_tvr.experiments.pretrain.judge_measures import REPEATED, judge_measures
from mmi_tvr.judges.llava import LlavaJudge
from mmi_tvr.models import mmi
from mmi_tvr.utils.progress import Progress

_ANSWERED, _JUDGED = 300, 100  # test videos that are asked about, test captions beside which skeletons are judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the model; or the name of one that the package carries")
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    parser.add_argument("--limit", type=int, help="only the first so many videos, or captions, of each part")
    args = parser.parse_args()
    with show_progress() as progress:
        values = _measure(args.folder, args.limit, progress)
    if args.output:
        acceptance.write(args.output, values)
    out.print("\n".join(acceptance.table(values)), markup=False)
    sys.exit(1 if acceptance.missed(values) and args.limit is None else 0)


def _measure(folder: Path, limit: int | None, progress: Progress) -> dict[str, float]:
    system = load_model(ModelChoice(str(folder), None, False, config.load(None, ())))
    model = system.model
    assert isinstance(model, mmi.Mmi)
    values: dict[str, Any] = {}
    for kind in ("order", "order3"):
        dataset = load_generated(kind, limit, progress)
        embed = system.embedder(dataset, kind, progress)
        values[kind] = contrast_accuracy(pair_scores(model, dataset.samples(), embed)).accuracy
    values |= _retrieval(system, limit, progress)
    described = load_generated("test", limit or _ANSWERED, progress)
    answers, _ = _reranking.answers(system.settings, described, model, system.method, progress)
    values["video_answers"] = answers["answers"]["video"]["all"]["accuracy"]
    judged = judge_measures(LlavaJudge(model), limit or _JUDGED, progress)
    values["repeated"] = next(measure.mean for measure in judged if measure.kind == REPEATED)
    values["noise"] = max(measure.mean for measure in judged if measure.kind.startswith("noise"))
    values["megabytes"] = package_megabytes(models.find(str(folder)))
    return values


def _retrieval(system: EvaluationModel, limit: int | None, progress: Progress) -> dict[str, float]:
    """Return R@1 of the plain search, and what re-ranking adds to it, on the test split."""
    dataset = load_generated("test", limit, progress)
    report = evaluate_model(
        system.model,
        dataset.samples(),
        system.embedder(dataset, "test", progress),
        rerank=_reranking.reranking(system.settings, system.model, system.method, progress),
    )
    assert report.search_alone is not None
    plain, _ = report.search_alone
    gains = {f"{side}_gain": report.gains[side]["R@1"].value for side in ("t2v", "v2t")}
    return {"t2v_r1": plain.r1, **gains}


if __name__ == "__main__":
    with command():
        main()
